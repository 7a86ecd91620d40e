package simulator_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/simulator"
)

func TestACodeIsRefused(t *testing.T) {
	tests := []struct {
		name    string
		request []string // changes to the authorization request
		token   []string // changes to the token request
		after   time.Duration
		status  int
		code    string
	}{
		{"with another verifier", nil, []string{"code_verifier", "another-verifier-that-is-long-enough-for-rfc-7636"}, 0, 400, "invalid_grant"},
		{"without a verifier", nil, []string{"code_verifier", ""}, 0, 400, "invalid_grant"},
		{"with a verifier that no challenge asked for", []string{"code_challenge", "", "code_challenge_method", ""}, nil, 0, 400, "invalid_grant"},
		{"with another redirect URI", nil, []string{"redirect_uri", callbackURL + "/"}, 0, 400, "invalid_grant"},
		{"without its redirect URI", nil, []string{"redirect_uri", ""}, 0, 400, "invalid_grant"},
		{"after a minute", nil, nil, time.Minute, 400, "invalid_grant"},
		{"from another client", nil, []string{"client_id", "other", "client_secret", "other-secret"}, 0, 400, "invalid_grant"},
		{"when it is unknown", nil, []string{"code", "acorn_code_x"}, 0, 400, "invalid_grant"},
		{"when it is missing", nil, []string{"code", ""}, 0, 400, "invalid_request"},
		{"with a wrong client secret", nil, []string{"client_secret", "wrong"}, 0, 401, "invalid_client"},
		{"without a client secret", nil, []string{"client_secret", ""}, 0, 401, "invalid_client"},
		{"with an unknown grant type", nil, []string{"grant_type", "magic"}, 0, 400, "unsupported_grant_type"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t)
			code := p.code(c.request...)
			p.clock.advance(c.after)
			wantError(t, p.exchange(code, c.token...), c.status, c.code)
		})
	}
}

func TestACodeUsedTwiceRevokesItsTokens(t *testing.T) {
	p := newProvider(t)
	code := p.code()
	tokens := p.exchange(code).json(t)
	wantError(t, p.exchange(code), 400, "invalid_grant")
	wantError(t, p.refresh(tokens["refresh_token"].(string)), 400, "invalid_grant")
	if a := p.api("GET", "/api/me", tokens["access_token"].(string), "", ""); a.status != 401 {
		t.Errorf("the access token lives on: %d", a.status)
	}
	if n := p.Stats(); n.CodeReplays != 1 || n.FamiliesRevoked != 1 {
		t.Errorf("stats: %+v", n)
	}
}

func TestAPublicClientNeedsNoSecret(t *testing.T) {
	p := newProvider(t)
	a := p.exchange(p.code("client_id", "app"), "client_id", "app", "client_secret", "")
	if a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantError(t, p.post("/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}}), 400, "unauthorized_client")
}

func TestHTTPBasic(t *testing.T) {
	tests := []struct {
		name         string
		raw          bool
		id, password string
		form         url.Values
		status       int
	}{
		{"form-encoded by default", false, "bot", url.QueryEscape(botSecret), nil, 200},
		{"raw is refused by default", false, "bot", botSecret, nil, 401},
		{"raw with the switch", true, "bot", botSecret, nil, 200},
		{"encoded is refused with the switch", true, "bot", url.QueryEscape(botSecret), nil, 401},
		{"and a secret in the body is one too many", false, "bot", url.QueryEscape(botSecret), url.Values{"client_secret": {botSecret}}, 400},
		{"and another client_id in the body", false, "bot", url.QueryEscape(botSecret), url.Values{"client_id": {"other"}}, 400},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t)
			p.Set(simulator.Switches{BasicRaw: c.raw})
			form := url.Values{"grant_type": {"client_credentials"}}
			for name := range c.form {
				form.Set(name, c.form.Get(name))
			}
			r, _ := http.NewRequest("POST", p.url+"/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(c.id, c.password)
			if a := p.send(p.browser, r); a.status != c.status {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestARefreshRotatesAndReuseEndsTheFamily(t *testing.T) {
	p := newProvider(t)
	first := p.tokens()
	second := p.refresh(first["refresh_token"].(string)).json(t)
	if second["refresh_token"] == first["refresh_token"] || second["access_token"] == first["access_token"] {
		t.Fatal("nothing rotated")
	}
	wantError(t, p.refresh(first["refresh_token"].(string)), 400, "invalid_grant")
	wantError(t, p.refresh(second["refresh_token"].(string)), 400, "invalid_grant")
	if a := p.api("GET", "/api/me", second["access_token"].(string), "", ""); a.status != 401 {
		t.Errorf("the access token lives on: %d", a.status)
	}
	n := p.Stats()
	if n.Duplicates != 1 || n.FamiliesRevoked != 1 || n.Refreshes != 3 || n.Exchanges != 1 || n.TokenRequests != 4 {
		t.Errorf("stats: %+v", n)
	}
	if g := n.Grants[0]; g.Generation != 2 || !g.Revoked || g.Duplicates != 1 || g.CommittedUS != p.clock.Now().UnixMicro() {
		t.Errorf("grant: %+v", g)
	}
}

func TestOfFiftyRefreshesAtOnceOneWinsAndTheFamilyEnds(t *testing.T) {
	p := newProvider(t)
	token := p.tokens()["refresh_token"].(string)
	answers := make([]answer, 50)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = p.refresh(token) })
	}
	all.Wait()
	var won []answer
	for _, a := range answers {
		if a.status == 200 {
			won = append(won, a)
		} else if a.json(t)["error"] != "invalid_grant" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d won", len(won))
	}
	wantError(t, p.refresh(won[0].json(t)["refresh_token"].(string)), 400, "invalid_grant")
	if n := p.Stats(); n.FamiliesRevoked != 1 || n.Grants[0].Generation != 2 {
		t.Errorf("stats: %+v", n)
	}
}

func TestARefreshMayNarrowTheScope(t *testing.T) {
	p := newProvider(t)
	first := p.tokens()["refresh_token"].(string)
	wantError(t, p.refresh(first, "scope", "offline_access"), 400, "invalid_scope")
	narrow := p.refresh(first, "scope", "profile").json(t)
	if narrow["scope"] != "profile" {
		t.Errorf("scope %v", narrow["scope"])
	}
	if a := p.api("GET", "/api/notes", narrow["access_token"].(string), "", ""); a.status != 403 {
		t.Errorf("notes: %d", a.status)
	}
	wide := p.refresh(narrow["refresh_token"].(string)).json(t)
	if a := p.api("GET", "/api/notes", wide["access_token"].(string), "", ""); a.status != 200 {
		t.Errorf("notes: %d", a.status)
	}
}

func TestTokensOfOthersAreRefused(t *testing.T) {
	p := newProvider(t)
	tokens := p.tokens()
	rt := tokens["refresh_token"].(string)
	wantError(t, p.refresh(rt, "client_id", "other", "client_secret", "other-secret"), 400, "invalid_grant")
	wantError(t, p.refresh(tokens["access_token"].(string)), 400, "invalid_grant")
	wantError(t, p.refresh(rt[:len(rt)-1]+"!"), 400, "invalid_grant")
	wantError(t, p.refresh(""), 400, "invalid_grant")
	if a := p.refresh(rt); a.status != 200 {
		t.Errorf("the owner is refused: %s", a.body)
	}
}

func TestAParameterMayOccurOnce(t *testing.T) {
	p := newProvider(t)
	form := tokenForm("client_credentials")
	form.Add("scope", "profile")
	form.Add("scope", "email")
	wantError(t, p.post("/token", form), 400, "invalid_request")
}

func TestPasswordAndClientCredentials(t *testing.T) {
	p := newProvider(t)
	a := p.post("/token", tokenForm("password", "username", "hazel", "password", "acorns", "scope", "profile"))
	if m := a.json(t); a.status != 200 || m["refresh_token"] == nil || m["scope"] != "profile" {
		t.Errorf("password: %s", a.body)
	}
	wantError(t, p.post("/token", tokenForm("password", "username", "hazel", "password", "wrong")), 400, "invalid_grant")
	a = p.post("/token", tokenForm("client_credentials", "scope", "notes:read"))
	m := a.json(t)
	if a.status != 200 || m["refresh_token"] != nil {
		t.Fatalf("client credentials: %s", a.body)
	}
	if me := p.api("GET", "/api/me", m["access_token"].(string), "", "").json(t); me["id"] != "bot" {
		t.Errorf("me: %v", me)
	}
}

func TestIntrospectionAndRevocation(t *testing.T) {
	p := newProvider(t)
	tokens := p.tokens()
	at, rt := tokens["access_token"].(string), tokens["refresh_token"].(string)
	active := func(token string) map[string]any { return p.post("/introspect", tokenForm("", "token", token)).json(t) }
	if m := active(at); m["active"] != true || m["username"] != "hazel" || m["sub"] != "u-1" || m["exp"] == nil {
		t.Errorf("access token: %v", m)
	}
	if m := active("unknown"); m["active"] != false || len(m) != 1 {
		t.Errorf("unknown token: %v", m)
	}
	wantError(t, p.post("/revoke", tokenForm("", "token", rt, "client_id", "other", "client_secret", "other-secret")), 400, "unauthorized_client")
	if p.post("/revoke", tokenForm("", "token", at)).status != 200 || active(at)["active"] != false || active(rt)["active"] != true {
		t.Error("revoking an access token ends it and nothing else")
	}
	next := p.refresh(rt).json(t)
	if p.post("/revoke", tokenForm("", "token", next["refresh_token"].(string))).status != 200 || active(next["access_token"].(string))["active"] != false {
		t.Error("revoking a refresh token ends the grant")
	}
	if p.post("/revoke", tokenForm("", "token", "unknown")).status != 200 {
		t.Error("an unknown token is as good as revoked")
	}
}

func TestTokensExpire(t *testing.T) {
	p := newProvider(t)
	tokens := p.tokens()
	p.clock.advance(time.Hour)
	a := p.api("GET", "/api/me", tokens["access_token"].(string), "", "")
	if a.status != 401 || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%d %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	cfg := config()
	cfg.RefreshTokenTTL, cfg.Now = time.Hour, p.clock.Now
	srv := httptest.NewServer(simulator.New(cfg))
	defer srv.Close()
	p.url = srv.URL
	rt := p.post("/token", tokenForm("password", "username", "hazel", "password", "acorns")).json(t)["refresh_token"].(string)
	p.clock.advance(time.Hour)
	wantError(t, p.refresh(rt), 400, "invalid_grant")
}

// BenchmarkRefresh rotates one grant per worker: the handler alone, and over
// HTTP with the client's work in the same process.
func BenchmarkRefresh(b *testing.B) {
	s := simulator.New(config())
	srv := httptest.NewServer(s)
	b.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Run("handler", func(b *testing.B) {
		rotate(b, srv.URL+"/token", func(r *http.Request) ([]byte, error) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Body.Bytes(), nil
		})
	})
	b.Run("http", func(b *testing.B) {
		rotate(b, srv.URL+"/token", func(r *http.Request) ([]byte, error) {
			res, err := client.Do(r)
			if err != nil {
				return nil, err
			}
			defer func() { _ = res.Body.Close() }()
			return io.ReadAll(res.Body)
		})
	})
}

// rotate gets a refresh token and exchanges it for the next, over and over.
func rotate(b *testing.B, target string, do func(*http.Request) ([]byte, error)) {
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		ask := func(form url.Values) string {
			r, err := http.NewRequest("POST", target, strings.NewReader(form.Encode()))
			if err != nil {
				b.Error(err)
				return ""
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			body, err := do(r)
			_, rest, ok := bytes.Cut(body, []byte(`"refresh_token":"`))
			if err != nil || !ok {
				b.Errorf("%v %s", err, body)
			}
			token, _, _ := bytes.Cut(rest, []byte(`"`))
			return string(token)
		}
		token := ask(tokenForm("password", "username", "hazel", "password", "acorns"))
		for pb.Next() && !b.Failed() {
			token = ask(tokenForm("refresh_token", "refresh_token", token))
		}
	})
}
