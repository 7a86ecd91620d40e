package simulator_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
)

const (
	callbackURL = "http://127.0.0.1:9/callback"
	botSecret   = "s3cr:t/+ %x"
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	challenge   = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// provider is a simulator behind real HTTP with a browser and a client.
type provider struct {
	*simulator.Simulator
	t       *testing.T
	url     string
	browser *http.Client // keeps cookies, follows nothing
	clock   *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func config() simulator.Config {
	return simulator.Config{
		Users: []simulator.User{
			{Name: "hazel", Password: secret.New("acorns"), Subject: "u-1", Email: "hazel@acorn.example", FullName: "Hazel Birch"},
			{Name: "jay", Password: secret.New("feathers")},
		},
		Clients: []simulator.Client{
			{ID: "bot", Secret: secret.New(botSecret), Name: "Support Bot", RedirectURIs: []string{callbackURL, callbackURL + "?tenant=a"}},
			{ID: "other", Secret: secret.New("other-secret")},
			{ID: "app", Public: true, RedirectURIs: []string{callbackURL}},
		},
	}
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	cfg := config()
	c := &clock{now: time.Now()}
	cfg.Now = c.Now
	s := simulator.New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return &provider{Simulator: s, t: t, url: srv.URL, browser: newBrowser(t), clock: c}
}

func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a whole HTTP response.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("status %d, no JSON object: %.300s", a.status, a.body)
	}
	return m
}

func (p *provider) send(c *http.Client, r *http.Request) answer {
	p.t.Helper()
	res, err := c.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (p *provider) get(path string) answer {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.send(p.browser, r)
}

func (p *provider) post(path string, form url.Values) answer {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.send(p.browser, r)
}

// api calls the protected API.
func (p *provider) api(method, path, token, contentType, body string) answer {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return p.send(p.browser, r)
}

// request is a good authorization request; changes are name, value pairs, and
// an empty value drops the parameter.
func request(changes ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"bot"}, "redirect_uri": {callbackURL}, "state": {"state-12345"},
		"scope": {"openid profile email notes:read notes:write"}, "nonce": {"nonce-1"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	return "/authorize?" + q.Encode()
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	formToken  = regexp.MustCompile(`name="form_token" value="([^"]+)"`)
)

// submit fills the first form of a page.
func (p *provider) submit(page answer, fields ...string) answer {
	p.t.Helper()
	action, token := formAction.FindStringSubmatch(page.body), formToken.FindStringSubmatch(page.body)
	if action == nil || token == nil {
		p.t.Fatalf("status %d, no form: %.500s", page.status, page.body)
	}
	form := url.Values{"form_token": {html.UnescapeString(token[1])}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return p.post(html.UnescapeString(action[1]), form)
}

// signIn goes through the sign-in page and returns the consent page.
func (p *provider) signIn(path string) answer {
	p.t.Helper()
	a := p.submit(p.get(path), "username", "hazel", "password", "acorns")
	if a.status != http.StatusSeeOther {
		p.t.Fatalf("sign-in: status %d: %.300s", a.status, a.body)
	}
	return p.get(a.header.Get("Location"))
}

// redirected returns the parameters of a redirect to the client.
func (p *provider) redirected(a answer) url.Values {
	p.t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(u.String(), callbackURL) {
		p.t.Fatalf("status %d, location %q: %.300s", a.status, a.header.Get("Location"), a.body)
	}
	if u.Fragment != "" {
		q, _ := url.ParseQuery(u.Fragment)
		return q
	}
	return u.Query()
}

// code gets a code for hazel without pages.
func (p *provider) code(changes ...string) string {
	p.t.Helper()
	was := p.Switches()
	p.Set(simulator.Switches{NoLogin: "hazel", PKCEOptional: true})
	defer p.Set(was)
	return p.redirected(p.get(request(changes...))).Get("code")
}

// tokenForm adds the bot's client_secret_post; changes as in request.
func tokenForm(grantType string, changes ...string) url.Values {
	form := url.Values{"grant_type": {grantType}, "client_id": {"bot"}, "client_secret": {botSecret}}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			form.Del(changes[i])
		}
	}
	return form
}

func (p *provider) exchange(code string, changes ...string) answer {
	p.t.Helper()
	form := append([]string{"code", code, "redirect_uri", callbackURL, "code_verifier", verifier}, changes...)
	return p.post("/token", tokenForm("authorization_code", form...))
}

func (p *provider) refresh(token string, changes ...string) answer {
	p.t.Helper()
	return p.post("/token", tokenForm("refresh_token", append([]string{"refresh_token", token}, changes...)...))
}

// tokens connects hazel and returns the answer of the token endpoint.
func (p *provider) tokens() map[string]any {
	p.t.Helper()
	a := p.exchange(p.code())
	if a.status != http.StatusOK {
		p.t.Fatalf("exchange: %d %s", a.status, a.body)
	}
	return a.json(p.t)
}

func wantError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.json(t)["error"] != code {
		t.Errorf("got %d %.300s, want %d %s", a.status, a.body, status, code)
	}
}
