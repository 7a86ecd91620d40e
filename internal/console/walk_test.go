package console_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// stage is a server with people.
type stage struct {
	*servertest.Server
	t *testing.T
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{servertest.New(t, servertest.Setup{}), t}
}

const password = "hedgehogs walk by night"

func (s *stage) member(name string, role behalf.Role) behalf.Member {
	s.t.Helper()
	_, link, err := s.System.InviteMember(s.t.Context(), behalf.Member{Email: name + "@behalf.example", Name: name, Role: role})
	require.NoError(s.t, err)
	m, err := s.DB.UseLink(s.t.Context(), link, store.Arrival{Name: name, Password: secret.New(password)})
	require.NoError(s.t, err)
	s.Secret(link.Reveal(), password)
	return m
}

// person is a browser without scripts and pictures.
type person struct {
	*stage
	client *http.Client
}

func (s *stage) person() *person {
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	return &person{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (p *person) do(method, path string, form url.Values, headers ...string) servertest.Answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.URL+path, strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := p.client.Do(r)
	require.NoError(p.t, err)
	defer func() { _ = res.Body.Close() }()
	var b strings.Builder
	_, err = io.Copy(&b, res.Body)
	require.NoError(p.t, err)
	return servertest.Answer{Status: res.StatusCode, Header: res.Header, Body: b.String()}
}

func (p *person) get(path string) servertest.Answer { return p.do("GET", path, nil) }

func (p *person) signsIn(m behalf.Member) *person {
	p.t.Helper()
	a := p.do("POST", "/console/sign-in", url.Values{"email": {m.Email}, "password": {password}})
	require.Equal(p.t, http.StatusSeeOther, a.Status, a.Body)
	return p
}

// TestEveryRoleIsHeldToItsPages walks the table of routes as each role, as
// nobody, with a key, and from another site.
func TestEveryRoleIsHeldToItsPages(t *testing.T) {
	for _, role := range []behalf.Role{behalf.RoleOwner, behalf.RoleAdministrator, behalf.RoleDeveloper, behalf.RoleViewer} {
		t.Run(string(role), func(t *testing.T) {
			s := newStage(t)
			me := s.member("me", role)
			p := s.person().signsIn(me)
			refused := 0
			for _, r := range console.Routes() {
				if r.Open {
					continue
				}
				path := s.fill(r.Path)
				before := s.audited()
				a := p.do(r.Method, path, url.Values{"version": {"0"}})
				if r.Needs == "" || me.Actor().May(r.Needs, "") {
					require.NotContains(t, []int{401, 403, 404, 405, 500}, a.Status, "%s %s: %.300s", r.Method, path, a.Body)
					require.NotContains(t, a.Header.Get("Location"), "sign-in", "%s %s", r.Method, path)
					continue
				}
				refused++
				require.Equal(t, http.StatusForbidden, a.Status, "%s %s", r.Method, path)
				require.Equal(t, before, s.audited(), "%s %s is refused, and something changed", r.Method, path)
			}
			if role == behalf.RoleViewer {
				require.Greater(t, refused, 10)
			}
		})
	}
	t.Run("nobody, another site, and keys", func(t *testing.T) {
		s := newStage(t)
		p := s.person().signsIn(s.member("me", behalf.RoleOwner))
		for _, r := range console.Routes() {
			path := s.fill(r.Path)
			if !r.Open {
				for name, headers := range map[string][]string{"nobody": nil, "a key": {"Authorization", "Bearer " + s.Owner}} {
					a := s.person().do(r.Method, path, nil, headers...)
					require.Equal(t, http.StatusSeeOther, a.Status, "%s: %s %s", name, r.Method, path)
					require.Contains(t, a.Header.Get("Location"), "/console/sign-in", "%s: %s %s", name, r.Method, path)
				}
			}
			if r.Method == "POST" {
				before := s.audited()
				for _, site := range []string{"cross-site", "same-site"} {
					require.Equal(t, http.StatusForbidden, p.do("POST", path, nil, "Sec-Fetch-Site", site).Status, "%s: %s", site, path)
				}
				a := p.do("POST", path, nil, "Sec-Fetch-Site", "", "Origin", "https://evil.example")
				require.Equal(t, http.StatusForbidden, a.Status, path)
				require.Equal(t, before, s.audited())
			}
		}
		require.Equal(t, http.StatusUnauthorized, p.get("/v1/assistants").Status, "a cookie does not open the API")
	})
}

// fill puts what exists into the path of a route, made anew so that one route
// may end what the next one needs.
func (s *stage) fill(path string) string {
	s.t.Helper()
	if strings.Contains(path, "{member}") {
		m, _, err := s.System.InviteMember(s.t.Context(), behalf.Member{Email: strings.ToLower(secret.Random().Reveal()[:12]) + "x@behalf.example", Role: behalf.RoleViewer})
		require.NoError(s.t, err)
		path = strings.ReplaceAll(path, "{member}", string(m.ID))
	}
	if strings.Contains(path, "{profile}/catalog") {
		path = strings.NewReplacer("{profile}", s.reserve(), "{provider}", "asana").Replace(path)
	}
	if strings.Contains(path, "{profile}") {
		p := s.NewProfile(s.Assistant, s.Definition("Profile "+secret.Random().Reveal()))
		path = strings.NewReplacer("{profile}", string(p.ID), "{trial}", string(s.trial(p).ID)).Replace(path)
	}
	if strings.Contains(path, "{connection}") {
		path = strings.NewReplacer("{connection}", string(s.Connected(s.Profile, secret.Random().Reveal(), "hazel").ID), "{generation}", "1").Replace(path)
	}
	if strings.Contains(path, "{key}") {
		path = strings.ReplaceAll(path, "{key}", string(s.key(path).ID))
	}
	if strings.Contains(path, "{variable}") {
		path = strings.NewReplacer("{namespace}", "env", "{variable}", s.variable(s.Assistant, "").Name).Replace(path)
	}
	if strings.Contains(path, "{webhook}") {
		w, d := s.webhook(s.Assistant)
		path = strings.NewReplacer("{webhook}", string(w.ID), "{delivery}", string(d.ID)).Replace(path)
	}
	if strings.Contains(path, "{connector}") {
		c, a := s.connector()
		path = strings.NewReplacer("{connector}", c.Name, "{agent}", string(a.ID)).Replace(path)
	}
	path = strings.NewReplacer("{assistant}", string(s.Assistant.ID), "{link}", "x", "{sign_in}", "x").Replace(path)
	require.NotRegexp(s.t, `\{`, path, "a placeholder that this test does not know: add it here")
	return "/console" + path
}

// trial is a test that has ended, at a provider that answers with what nobody
// is called.
func (s *stage) trial(p behalf.Profile) behalf.Transcript {
	s.t.Helper()
	now := s.DB.Now()
	t := behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: behalf.TrialTranscript, Assistant: p.Assistant, Profile: p.ID, Status: behalf.TranscriptFailed,
		CreatedAt: now, EndedAt: now, Steps: []behalf.TranscriptStep{{Name: behalf.StepTokenRequest, Title: "Token request", Status: behalf.StepFailed, Detail: hostile,
			Cause: hostile, Fix: hostile, Error: hostile, Request: &behalf.SentMessage{Method: "POST", URL: hostile, Headers: http.Header{"X": {hostile}}, Body: hostile},
			Response: &behalf.GotMessage{Status: 400, Headers: http.Header{"X": {hostile}}, Body: hostile}}}}
	require.NoError(s.t, s.System.CreateTranscript(s.t.Context(), t))
	return t
}

// variable keeps one of a name that is free.
func (s *stage) variable(a behalf.Assistant, user string) behalf.Variable {
	s.t.Helper()
	x := behalf.Variable{Assistant: a.ID, Namespace: behalf.NamespaceEnv, Name: "V-" + secret.Random().Reveal(), Value: secret.New(hostile)}
	if user != "" {
		x.Namespace, x.User = behalf.NamespaceUser, user
	}
	x, err := s.System.PutVariable(s.t.Context(), x)
	require.NoError(s.t, err)
	return x
}

// key makes one of those that the path is about.
func (s *stage) key(path string) behalf.Key {
	s.t.Helper()
	k := behalf.Key{Name: hostile, Role: behalf.RoleViewer}
	if strings.HasPrefix(path, "/assistants/") {
		k.Role, k.Assistant = "", s.Assistant.ID
	}
	k, key, err := s.System.CreateKey(s.t.Context(), k)
	require.NoError(s.t, err)
	s.Secret(key.Reveal())
	return k
}

// webhook makes one, with a delivery that failed at an endpoint that says what
// nobody is called. Those before it make room: an assistant may have few.
func (s *stage) webhook(a behalf.Assistant) (behalf.Webhook, behalf.Delivery) {
	s.t.Helper()
	ctx := s.t.Context()
	old, err := s.System.Webhooks(ctx, a.ID, store.Page{})
	require.NoError(s.t, err)
	for _, w := range old {
		require.NoError(s.t, s.System.DeleteWebhook(ctx, w))
	}
	w, shown, err := s.System.CreateWebhook(ctx, behalf.Webhook{Assistant: a.ID, URL: "https://bot.example/?q=" + strings.ReplaceAll(hostile, " ", "+")})
	require.NoError(s.t, err)
	s.Secret(shown.Reveal())
	d, err := s.System.TestWebhook(ctx, w)
	require.NoError(s.t, err)
	x := &behalf.TranscriptStep{Name: behalf.StepDelivery, Title: hostile, Error: hostile, Request: &behalf.SentMessage{Method: "POST", URL: hostile, Headers: http.Header{"X": {hostile}}, Body: hostile},
		Response: &behalf.GotMessage{Status: 500, Headers: http.Header{"X": {hostile}}, Body: hostile}}
	require.NoError(s.t, s.System.SettleDelivery(ctx, d, behalf.Attempted{Answer: 500, Problem: hostile, Exchange: x}, 0))
	return w, d
}

// connector makes one, with an agent that has been attached and said things.
func (s *stage) connector() (behalf.Connector, behalf.ConnectorAgent) {
	s.t.Helper()
	c, err := s.System.CreateConnector(s.t.Context(), behalf.Connector{Name: behalf.Slug("office " + secret.Random().Reveal()[:8])})
	require.NoError(s.t, err)
	token, _, err := s.System.EnrolToken(s.t.Context(), c)
	require.NoError(s.t, err)
	s.Secret(token.Reveal())
	a, _, err := s.DB.EnrolAgent(s.t.Context(), token, make([]byte, 32), hostile)
	require.NoError(s.t, err)
	a.Version, a.System, a.Address = hostile, hostile, hostile
	a.Published, err = json.Marshal(map[string]any{"rows": []map[string]any{{"kind": "tcp", "host": hostile, "port": 443}}})
	require.NoError(s.t, err)
	require.NoError(s.t, s.System.AttachTunnel(s.t.Context(), "tun_"+string(a.ID), a))
	return c, a
}

// audited counts what was changed.
func (s *stage) audited() int {
	s.t.Helper()
	entries, err := s.System.Audit(s.t.Context(), "", time.Time{}, store.Page{})
	require.NoError(s.t, err)
	n := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Actor, "system") {
			n++
		}
	}
	return n
}

// reserve makes the id of a profile that nobody has defined yet.
func (s *stage) reserve() string {
	s.t.Helper()
	id, err := s.System.ReserveProfile(s.t.Context(), s.Assistant.ID)
	require.NoError(s.t, err)
	return string(id)
}

// hostile is what nobody is called.
const hostile = `"><img src=x onerror="xss=1"><script>xss=1</script>{{x}}`

func TestWhatWasTypedIsTextEverywhere(t *testing.T) {
	s := newStage(t)
	owner := s.member("owner", behalf.RoleOwner)
	a := behalf.NewAssistant(hostile, s.DB.Now())
	a.Slug = "hostile"
	a = s.NewAssistant(a)
	d := s.Definition(hostile)
	d.Provider, d.Description = hostile, hostile
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Title: hostile, Hint: hostile, Value: hostile}}
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InQuery, Key: "k", Value: `"><script>xss=1</script>{{pin}}`}}
	profile := s.NewProfile(a, d)
	m, _, err := s.System.InviteMember(t.Context(), behalf.Member{Email: "x@behalf.example", Name: hostile, Role: behalf.RoleViewer})
	require.NoError(t, err)
	trial, connection := s.trial(profile), s.Connected(profile, hostile, "hazel")
	s.variable(a, hostile)
	variable := s.variable(a, "")
	keys := map[bool]string{}
	for _, of := range []behalf.Key{{Name: hostile, Role: behalf.RoleViewer}, {Name: hostile, Assistant: a.ID}} {
		k, _, err := s.System.CreateKey(t.Context(), of)
		require.NoError(t, err)
		keys[k.Assistant != ""] = string(k.ID)
	}
	connector, agent := s.connector()
	webhook, delivery := s.webhook(a)
	p := s.person().signsIn(owner)
	safe := func(name string, a servertest.Answer) {
		t.Helper()
		isText(t, name, a)
	}
	for _, r := range console.Routes() {
		if r.Method != "GET" || strings.HasPrefix(r.Path, "/link") || strings.HasPrefix(r.Path, "/sso") {
			continue
		}
		path := "/console" + strings.NewReplacer("{assistant}", a.Slug, "{profile}", string(profile.ID), "{trial}", string(trial.ID), "{connection}", string(connection.ID), "{namespace}", "env", "{variable}", variable.Name, "{member}", string(m.ID), "{webhook}", string(webhook.ID), "{delivery}", string(delivery.ID), "{generation}", "1", "{connector}", connector.Name, "{agent}", string(agent.ID), "{key}", keys[strings.HasPrefix(r.Path, "/assistants/")]).Replace(r.Path)
		got := p.get(path)
		if got.Status == http.StatusSeeOther {
			continue
		}
		require.Equal(t, http.StatusOK, got.Status, path)
		safe(path, got)
	}
	form := url.Values{}
	for _, name := range []string{"name", "slug", "return_urls", "calls.methods", "calls.paths", "version", "email", "role", "type", "provider", "client_id", "authorization_url", "scope[0].key",
		"scope[0].value", "tenancy.base_url", "additional_fields[0].key", "authorization_fields[0].in", "authorization_fields[0].key", "oauth.token", "oauth.token_lifetime", "oauth.pkce", "file", "discover", "expires_at", "next", "namespace", "user", "value", "expires_in", "url", "events", "overlap", "since", "which", "event"} {
		form.Set(name, hostile)
	}
	for _, r := range console.Routes() {
		if r.Method != "POST" || strings.HasPrefix(r.Path, "/link") || strings.HasSuffix(r.Path, "sign-out") || strings.HasSuffix(r.Path, "/remove") || strings.HasSuffix(r.Path, "/revoke") || strings.HasSuffix(r.Path, "/disconnect") {
			continue
		}
		path := "/console" + strings.NewReplacer("{assistant}", a.Slug, "{profile}", string(profile.ID), "{trial}", string(trial.ID), "{connection}", string(connection.ID), "{namespace}", "env", "{variable}", variable.Name, "{member}", string(m.ID), "{webhook}", string(webhook.ID), "{delivery}", string(delivery.ID), "{generation}", "1", "{connector}", connector.Name, "{agent}", string(agent.ID), "{key}", keys[strings.HasPrefix(r.Path, "/assistants/")]).Replace(r.Path)
		for _, query := range []string{"", "?view=file"} {
			if got := p.do("POST", path+query, form); got.Status != http.StatusSeeOther {
				require.Less(t, got.Status, 500, "%s: %.300s", path, got.Body)
				safe("POST "+path+query, got)
			}
		}
	}
}

// isText holds that nothing in a page runs that somebody typed.
func isText(t *testing.T, name string, a servertest.Answer) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.Body))
	require.NoError(t, err)
	for n := range doc.Descendants() {
		require.NotEqual(t, "img", n.Data, name)
		for _, attribute := range n.Attr {
			require.False(t, strings.HasPrefix(attribute.Key, "on") || attribute.Key == "style", "%s: %s", name, attribute.Key)
		}
		if n.Data == "script" {
			require.Nil(t, n.FirstChild, name)
		}
	}
	csp := a.Header.Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'", name)
	require.Contains(t, csp, "frame-ancestors 'none'", name)
	require.NotContains(t, csp, "unsafe", name)
	require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"), name)
	require.Equal(t, "same-origin", a.Header.Get("Cross-Origin-Opener-Policy"), name)
}

// formInput is a field of a form, as a browser would send it.
type formInput struct {
	name, value string
	required    bool
}

// inputsOf returns the text fields of the page's form that posts.
func inputsOf(t *testing.T, page string) []formInput {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	var out []formInput
	for n := range doc.Descendants() {
		if n.Data != "input" && n.Data != "select" {
			continue
		}
		in := formInput{}
		for _, a := range n.Attr {
			switch a.Key {
			case "name":
				in.name = a.Val
			case "value":
				in.value = a.Val
			case "required":
				in.required = true
			}
		}
		out = append(out, in)
	}
	return out
}
