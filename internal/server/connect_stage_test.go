package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/html"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) {
	file, err := trustTestServers()
	if err == nil {
		err = nameTestServers()
	}
	if err != nil {
		log.Fatal(err)
	}
	code := testdb.Run(m)
	_ = os.Remove(file)
	os.Exit(code)
}

// stage is a server with a provider, on which people connect. Its profile asks
// for no OpenID, but knows the issuer and expects iss.
type stage struct {
	*servertest.Server
	t *testing.T
	n *atomic.Int64
}

func newStage(t *testing.T, with servertest.Setup) *stage {
	t.Helper()
	change := with.Profile
	with.Profile = func(d *behalf.Definition) {
		plain(d)
		if change != nil {
			change(d)
		}
	}
	s := &stage{Server: servertest.New(t, with), t: t, n: &atomic.Int64{}}
	s.register(s.Profile)
	s.behaves(simulator.Switches{})
	return s
}

// plain completes a definition of servertest's.
func plain(d *behalf.Definition) {
	base := strings.TrimSuffix(d.TokenURL, "/token")
	d.CheckURL = base + "/userinfo"
	d.OAuth.Issuer, d.OAuth.RequireIss = base, true
}

// openID makes a plain definition one that asks for an ID token.
func openID(d *behalf.Definition) {
	d.Scope = append(d.Scope, behalf.ScopeParam{Key: "scope", Value: "openid email"})
	d.OAuth.JWKSURL, d.OAuth.UserinfoURL, d.CheckURL = d.OAuth.Issuer+"/jwks", d.OAuth.Issuer+"/userinfo", ""
}

// in is the stage in a subtest.
func (s *stage) in(t *testing.T) *stage { return &stage{s.Server, t, s.n} }

// behaves sets what the provider does wrong; everybody is hazel there, who
// agrees to everything, unless the switches say otherwise.
func (s *stage) behaves(sw simulator.Switches) {
	if sw.NoLogin == "" {
		sw.NoLogin = "hazel"
	}
	s.Sim.Set(sw)
}

// register tells the provider a profile's redirect URI.
func (s *stage) register(p behalf.Profile) {
	s.t.Helper()
	if err := s.Sim.AddRedirectURI("bot", s.callbackURL(p)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) callbackURL(p behalf.Profile) string { return s.URL + "/callback/" + string(p.ID) }

// profile makes one more profile of the assistant.
func (s *stage) profile(change ...func(*behalf.Definition)) behalf.Profile {
	s.t.Helper()
	d := s.Definition(fmt.Sprintf("Profile %d", s.n.Add(1)))
	plain(&d)
	for _, c := range change {
		c(&d)
	}
	p := s.NewProfile(s.Assistant, d)
	s.register(p)
	return p
}

// session is a connect session as the assistant has begun it.
type session struct {
	api.ConnectSession
	link    string
	profile behalf.Profile
}

// begin begins a session of a user who has no other; change is put into what
// the assistant asks for.
func (s *stage) begin(p behalf.Profile, change ...func(*api.SessionBody)) session {
	s.t.Helper()
	b := api.SessionBody{Profile: p.Slug, User: fmt.Sprintf("user-%d", s.n.Add(1)), UserName: "Hazel Birch"}
	for _, c := range change {
		c(&b)
	}
	var made api.ConnectSession
	s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), b).Into(s.t, &made)
	s.Secret(made.URL[strings.LastIndexByte(made.URL, '/')+1:])
	return session{made, made.URL, p}
}

// api is an address below the assistant.
func (s *stage) api(path string) string { return "/v1/assistants/" + s.Assistant.Slug + path }

// status reads a session as the assistant does.
func (s *stage) status(of session) api.ConnectSession {
	s.t.Helper()
	var got api.ConnectSession
	s.Do(s.Key, http.MethodGet, s.api("/connect-sessions/"+of.ID), nil).Into(s.t, &got)
	return got
}

// connections are those of the session's user.
func (s *stage) connections(of session) []api.Connection {
	s.t.Helper()
	var got api.List[api.Connection]
	s.Do(s.Key, http.MethodGet, s.api("/connections?user="+url.QueryEscape(of.User)), nil).Into(s.t, &got)
	return got.Items
}

// browser is one person's: it keeps cookies, also across ports as browsers do,
// and follows nothing by itself.
type browser struct {
	s      *stage
	client *http.Client
}

func (s *stage) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is an answer and what a person reads in it.
type page struct {
	servertest.Answer
	doc  *html.Node
	text string
}

func (b *browser) get(address string, headers ...string) page {
	b.s.t.Helper()
	return b.send(http.MethodGet, address, nil, headers)
}

// post sends a form as a page of ours does.
func (b *browser) post(address string, form url.Values, headers ...string) page {
	b.s.t.Helper()
	own := []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", b.s.URL, "Sec-Fetch-Site", "same-origin"}
	return b.send(http.MethodPost, address, form, append(own, headers...))
}

func (b *browser) send(method, address string, form url.Values, headers []string) page {
	b.s.t.Helper()
	r, err := http.NewRequestWithContext(b.s.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		}
	}
	a, err := answerTo(b.client, r)
	if err != nil {
		b.s.t.Fatal(err)
	}
	p := page{Answer: a, doc: &html.Node{}}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		p.read(b.s.t)
	}
	if strings.HasPrefix(address, b.s.URL) {
		p.isSound(b.s.t)
	}
	return p
}

func (p *page) read(t *testing.T) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "script" && n.Parent.Data != "style" {
			text.WriteString(n.Data)
		}
	}
	p.doc, p.text = doc, strings.Join(strings.Fields(text.String()), " ")
}

// isSound checks what every page of ours must be, whatever it says.
func (p *page) isSound(t *testing.T) {
	t.Helper()
	if p.doc.FirstChild == nil && p.Status != http.StatusSeeOther {
		return // refused before it reached a page
	}
	csp := p.Header.Get("Content-Security-Policy")
	for _, rule := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action"} {
		if !strings.Contains(csp, rule) {
			t.Errorf("status %d: the policy %q lacks %s", p.Status, csp, rule)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("the policy %q lets scripts or styles in", csp)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin"} {
		if got := p.Header.Get(name); got != want {
			t.Errorf("status %d: %s is %q", p.Status, name, got)
		}
	}
	switch p.Header.Get("Referrer-Policy") {
	case "no-referrer", "same-origin":
	default:
		t.Errorf("status %d: Referrer-Policy is %q", p.Status, p.Header.Get("Referrer-Policy"))
	}
	for _, n := range p.elements("script") {
		if !strings.HasPrefix(attribute(n, "src"), "/") || n.FirstChild != nil {
			t.Errorf("status %d: the page has a script of its own", p.Status)
		}
	}
}

func (p *page) elements(name string) []*html.Node {
	var found []*html.Node
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// input returns the input of a name; nil where there is none.
func (p *page) input(name string) *html.Node {
	for _, n := range append(p.elements("input"), p.elements("select")...) {
		if attribute(n, "name") == name {
			return n
		}
	}
	return nil
}

// onward is where a page sends the browser by itself.
func (p *page) onward() string {
	for _, n := range p.elements("meta") {
		if _, to, ok := strings.Cut(attribute(n, "content"), "url="); ok && strings.EqualFold(attribute(n, "http-equiv"), "refresh") {
			return strings.Trim(to, `'"`)
		}
	}
	return ""
}

// presses presses Continue, and returns the provider's address that the page
// leads to.
func (b *browser) presses(of session, form ...string) string {
	b.s.t.Helper()
	p := b.post(of.link, values(form...))
	if p.Status != http.StatusOK || !strings.HasPrefix(p.onward(), b.s.Provider+"/authorize?") {
		b.s.t.Fatalf("Continue: status %d, on to %q: %.600s", p.Status, p.onward(), p.text)
	}
	b.s.Secret(param(p.onward(), "state"))
	return p.onward()
}

// agrees is the person at the provider; it returns where they are sent back to.
func (b *browser) agrees(authorization string) string {
	b.s.t.Helper()
	p := b.get(authorization)
	back := p.Header.Get("Location")
	if p.Status != http.StatusSeeOther || !strings.HasPrefix(back, b.s.URL+"/callback/") {
		b.s.t.Fatalf("the provider: status %d to %q: %.300s", p.Status, back, p.Body)
	}
	return back
}

// connects is the whole way, and returns the page at its end.
func (b *browser) connects(of session, form ...string) page {
	b.s.t.Helper()
	return b.get(b.agrees(b.presses(of, form...)))
}

// values are names and values in turn.
func values(form ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(form); i += 2 {
		v.Set(form[i], form[i+1])
	}
	return v
}

// param reads a parameter of an address.
func param(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Query().Get(name)
}

// with returns the address with parameters changed; an empty value takes one out.
func with(address string, changes ...string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	q := u.Query()
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// outcome is how a session ends, or stands, for everybody who looks.
type outcome struct {
	status int      // of the page
	says   []string // that it says
	is     string   // the session's status in the API
	code   string   // of its problem; "": it has none
	detail string   // that the problem's detail holds
}

// The pages, by what they say.
var (
	saysFailed   = []string{"Acorn Notes could not be connected", "Nothing was connected", "Ask Support Bot for a new link", "For whoever looks after Support Bot"}
	saysDeclined = []string{"Nothing was connected", "Access was declined", "ask Support Bot for a new link"}
	saysExpired  = []string{"This link has expired", "Ask Support Bot for a new link"}
	saysUnknown  = []string{"We don’t know this link", "ask it for a new link"}
	saysOther    = []string{"Please go on where you began", "Nothing was connected here", "Go back to the browser where you pressed Continue"}
	saysUsed     = []string{"This link was already used", "it will give you a new link"}
	saysBusy     = []string{"One moment, please", "Wait a few seconds, then reload this page"}
	saysAlmost   = []string{"Almost done", "Go back to Support Bot"}
)

func failed(code, detail string) outcome {
	return outcome{http.StatusUnprocessableEntity, saysFailed, "failed", code, detail}
}

// still is a page that changed nothing of a session that is under way.
func still(status int, says []string) outcome {
	return outcome{status: status, says: says, is: "waiting"}
}

// ends checks the page, the session as the assistant sees it, that there is no
// connection, and that nothing secret is in what anybody was told.
func (s *stage) ends(of session, p page, want outcome) {
	s.t.Helper()
	got := s.shows(of, p, want)
	if got.Connection != "" || len(s.connections(of)) != 0 {
		s.t.Errorf("there is a connection: %+v", s.connections(of))
	}
}

func (s *stage) shows(of session, p page, want outcome) api.ConnectSession {
	s.t.Helper()
	if p.Status != want.status {
		s.t.Errorf("the page has status %d, want %d: %.600s", p.Status, want.status, p.text)
	}
	for _, say := range want.says {
		if !strings.Contains(p.text, say) {
			s.t.Errorf("the page does not say %q: %.900s", say, p.text)
		}
	}
	if p.Status != http.StatusSeeOther && len(p.elements("form")) == 0 && !strings.Contains(p.text, "What to do now") {
		s.t.Errorf("the page does not say what to do: %.600s", p.text)
	}
	raw := s.Do(s.Key, http.MethodGet, s.api("/connect-sessions/"+of.ID), nil)
	var got api.ConnectSession
	raw.Into(s.t, &got)
	s.holdsNoSecret("the page", p.Body)
	s.holdsNoSecret("the API", raw.Body)
	problem := behalf.Outcome{}
	if got.Problem != nil {
		problem = *got.Problem
	}
	if got.Status != want.is || problem.Code != want.code || !strings.Contains(problem.Detail, want.detail) {
		s.t.Errorf("the session is %s with %+v, want %s with %s: %s", got.Status, problem, want.is, want.code, want.detail)
	}
	if got.Problem != nil && (problem.Detail == "" || problem.Fix == "") {
		s.t.Errorf("the problem does not say what happened or who can act: %+v", problem)
	}
	return got
}

// holdsNoSecret looks for what belongs to us and the provider alone.
func (s *stage) holdsNoSecret(what, text string) {
	s.t.Helper()
	for _, value := range []string{storetest.ClientSecret, url.QueryEscape(storetest.ClientSecret), html.EscapeString(storetest.ClientSecret), "acorn_at_", "acorn_rt_", "acorn_code_"} {
		if strings.Contains(text, value) {
			s.t.Errorf("%s holds the secret %q: %.900s", what, value, text)
		}
	}
}

// connected checks that the session has connected, and returns the connection.
func (s *stage) connected(of session, p page) api.Connection {
	s.t.Helper()
	got := s.shows(of, p, outcome{http.StatusOK, []string{"Acorn Notes is connected", "Support Bot can now act for you"}, "connected", "", ""})
	for _, c := range s.connections(of) {
		if c.ID == got.Connection {
			return c
		}
	}
	s.t.Fatalf("there is no connection %q", got.Connection)
	return api.Connection{}
}

// challenge is the S256 challenge of a verifier.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sweep does once what the server does every half minute.
func (s *stage) sweep() error {
	public, err := url.Parse(s.URL)
	if err != nil {
		return err
	}
	return connect.New(connect.Config{DB: s.DB, PublicURL: public, Log: slog.New(slog.DiscardHandler)}).Sweep(s.t.Context())
}

// untouched checks that the provider was asked for nothing since the switch
// log was set.
func (s *stage) untouched() {
	s.t.Helper()
	if log := s.Sim.Log(); len(log) > 0 {
		s.t.Errorf("the provider was asked: %+v", log)
	}
}

// answerTo sends a request and reads the whole answer.
func answerTo(c *http.Client, r *http.Request) (servertest.Answer, error) {
	res, err := c.Do(r)
	if err != nil {
		return servertest.Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return servertest.Answer{Status: res.StatusCode, Header: res.Header, Body: string(body)}, err
}
