package server_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// edge stands before the simulator: it writes down what comes, and takes
// /v/anything off the path.
type edge struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newEdge(t *testing.T, provider string) *edge {
	t.Helper()
	to, err := url.Parse(provider)
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{}
	e.Server = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		e.mu.Lock()
		e.seen = append(e.seen, r.In.URL.EscapedPath()+" plan="+r.In.Header.Get("X-Plan")+r.In.Header.Get("Behalf-Variables"))
		e.mu.Unlock()
		r.SetURL(to)
		if rest, ok := strings.CutPrefix(r.In.URL.Path, "/v/"); ok {
			_, rest, _ = strings.Cut(rest, "/")
			r.Out.URL.Path, r.Out.URL.RawPath = "/"+rest, ""
		}
		r.Out.Host = to.Host
	}})
	t.Cleanup(e.Close)
	return e
}

// took returns what came since it was asked last.
func (e *edge) took() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := strings.Join(e.seen, "; ")
	e.seen = nil
	return got
}

func sent(object string) string { return base64.RawURLEncoding.EncodeToString([]byte(object)) }

func (s *stage) put(key, path string, body map[string]any) {
	s.t.Helper()
	s.Do(key, http.MethodPut, s.api("/variables/"+path), body).Into(s.t, &api.Variable{})
}

// withVariables is a profile that has a variable on every hop.
func (s *stage) withVariables(e *edge) behalf.Profile {
	s.t.Helper()
	return s.profile(func(d *behalf.Definition) {
		d.AuthorizationURL, d.TokenURL = e.URL+"/v/{{context.session.BotContext.realm}}/authorize", e.URL+"/v/{{env.REGION}}/token"
		d.RefreshURL, d.CheckURL = e.URL+"/v/{{context.renewal}}/token", e.URL+"/v/{{context.session.UserSession.cart}}/userinfo"
		d.OAuth.RevocationURL, d.API.BaseURL = e.URL+"/v/{{env.REGION}}/revoke", e.URL+"/v/{{env.REGION}}/api"
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Plan", Value: "{{context.session.BotContext.plan}} of {{context.session.UserContext.user_name}}"}}
	})
}

func TestVariablesFillEveryHop(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		e := newEdge(s.t, s.Provider)
		p := s.withVariables(e)
		asks := func(b *api.SessionBody) {
			b.User, b.Variables = "jane", map[string]any{"session": map[string]any{"BotContext": map[string]any{"realm": "r1", "plan": "gold"}}}
		}
		begin := func() servertest.Answer {
			b := api.SessionBody{Profile: p.Slug, UserName: "Hazel Birch"}
			asks(&b)
			return s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), b)
		}
		lacks := func(a servertest.Answer, name string) {
			s.t.Helper()
			if q := a.Problem(s.t, http.StatusUnprocessableEntity, behalf.CodeInvalid); !strings.Contains(q.Detail, name) {
				s.t.Errorf("%q does not name %s", q.Detail, name)
			}
		}
		lacks(begin(), "{{context.session.UserSession.cart}}")
		s.put(s.Key, "UserSession/cart?user=jane", map[string]any{"value": "c-1", "expires_in": 3000})
		lacks(begin(), "{{env.REGION}}")
		s.put(s.Owner, "env/REGION", map[string]any{"value": "eu"})

		s.Provider = e.URL + "/v/r1" // where the browser has to be sent
		of := s.begin(p, asks)
		c := s.connected(of, s.browser().connects(of))
		if got := e.took(); got != "/v/r1/authorize plan=; /v/eu/token plan=; /v/c-1/userinfo plan=gold of Hazel Birch" {
			s.t.Fatal(got)
		}
		call := func(headers ...string) servertest.Answer {
			return s.Do(s.Key, http.MethodGet, s.api("/proxy/"+p.Slug+"/me"), nil, append([]string{"Behalf-User", "jane"}, headers...)...)
		}
		goes := func(want string, headers ...string) {
			s.t.Helper()
			if a := call(headers...); a.Status != http.StatusOK {
				s.t.Fatalf("status %d: %s", a.Status, a.Body)
			}
			if got := e.took(); got != want {
				s.t.Errorf("%s, want %s", got, want)
			}
		}
		goes("/v/eu/api/me plan=gold of Hazel Birch")
		goes("/v/eu/api/me plan=iron of Hazel Birch", "Behalf-Variables", sent(`{"session":{"BotContext":{"plan":"iron"}}}`))
		goes("/v/eu/api/me plan=gold of Hazel Birch") // what a call brought is gone with it
		s.put(s.Owner, "env/REGION", map[string]any{"value": "us", "secret": true})
		goes("/v/us/api/me plan=gold of Hazel Birch")

		// The session's user variable has ended, and the refresh needs what only a call says.
		s.Clock.Advance(time.Hour)
		lacks(s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil), "{{context.renewal}}")
		lacks(call(), "{{context.renewal}}")
		lacks(s.Do(s.Key, http.MethodPost, s.api("/token"), map[string]any{"profile": p.Slug, "user": "jane"}), "{{context.renewal}}")
		if got := e.took(); got != "" {
			s.t.Errorf("it was asked: %s", got)
		}
		goes("/v/n1/token plan=; /v/us/api/me plan=gold of Hazel Birch", "Behalf-Variables", sent(`{"renewal":"n1"}`))
		s.Clock.Advance(time.Hour)
		var token api.Token
		s.Do(s.Key, http.MethodPost, s.api("/token"), map[string]any{"profile": p.Slug, "user": "jane", "variables": map[string]any{"renewal": "n2"}}).Into(s.t, &token)
		s.Secret(token.AccessToken)
		if got := e.took(); got != "/v/n2/token plan=" {
			s.t.Error(got)
		}
		if a := s.Do(s.Key, http.MethodDelete, s.api("/connections/"+c.ID), nil); a.Status >= 300 || e.took() != "/v/us/revoke plan=" {
			s.t.Errorf("status %d: %s", a.Status, a.Body)
		}
	})
}

func TestABackgroundRefreshIsFilledWithWhatIsKept(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	e := newEdge(t, s.Provider)
	p := s.profile(func(d *behalf.Definition) { d.RefreshURL = e.URL + "/v/{{context.session.BotUserSession.shard}}/token" })
	of := s.begin(p)
	c := s.connected(of, s.browser().connects(of))
	s.put(s.Key, "BotUserSession/shard?user="+of.User, map[string]any{"value": "s-7"})
	s.put(s.Key, "BotUserSession/shard?user=somebody-else", map[string]any{"value": "s-8"})
	s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil).Into(t, &api.Connection{})
	if got := e.took(); got != "/v/s-7/token plan=" {
		t.Error(got)
	}
}

func TestVariablesThatAttackAreRefusedAndNothingIsSent(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	e := newEdge(t, s.Provider)
	p := s.profile(func(d *behalf.Definition) {
		d.API.BaseURL = e.URL + "/v/{{default context.part \"x\"}}/api"
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Plan", Value: "{{default context.plan \"none\"}}"}}
	})
	of := s.begin(p)
	s.connected(of, s.browser().connects(of))
	for name, object := range map[string]string{
		"a line break":   `{"plan":"a\r\nX-Admin: evil"}`,
		"NUL":            `{"plan":"evil\u0000"}`,
		"invalid UTF-8":  "{\"plan\":\"evil\xff\"}",
		"a way up":       `{"part":"../evil"}`,
		"two dots":       `{"part":".."}`,
		"too much":       `{"plan":"` + strings.Repeat("evil", 5000) + `"}`,
		"another's name": `{"session":{"UserContext":{"user":"evil"}}}`,
	} {
		a := s.Do(s.Key, http.MethodGet, s.api("/proxy/"+p.Slug+"/me"), nil, "Behalf-User", of.User, "Behalf-Variables", sent(object))
		a.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
		if strings.Contains(a.Body, "evil") || e.took() != "" {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	for _, value := range []string{"a\r\nb", "a\x00", strings.Repeat("x", 4001)} {
		s.Do(s.Owner, http.MethodPut, s.api("/variables/env/X"), map[string]any{"value": value}).Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
	}
}

func TestAConnectionThatServesAllIsFilledWithNothingOfOneUser(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	e := newEdge(t, s.Provider)
	p := s.profile(func(d *behalf.Definition) {
		d.Type, d.CheckURL, d.AuthorizationURL = behalf.OAuth2ClientCredentials, "", ""
		d.OAuth.Issuer, d.OAuth.RequireIss = "", false
		d.Scope = []behalf.ScopeParam{{Key: "scope", Value: "notes:read"}}
		d.TokenURL, d.API.BaseURL = e.URL+"/v/{{context.session.UserSession.cart}}/token", e.URL+"/api"
	})
	s.put(s.Key, "UserSession/cart?user=jane", map[string]any{"value": "c-1"})
	a := s.Do(s.Key, http.MethodGet, s.api("/proxy/"+p.Slug+"/me"), nil, "Behalf-User", "jane", "Behalf-Variables", sent(`{"session":{"UserSession":{"cart":"c-2"}}}`))
	if q := a.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); !strings.Contains(q.Detail, "serves all users") || e.took() != "" {
		t.Error(q.Detail)
	}
}
