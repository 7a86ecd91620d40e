package simulator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/simulator"
)

func TestAPersonSignsInAllowsAndIsSentBack(t *testing.T) {
	p := newProvider(t)
	login := p.get(request())
	if login.status != http.StatusOK || !strings.Contains(login.body, "Support Bot") {
		t.Fatalf("sign-in page: %d %s", login.status, login.body)
	}
	consent := p.signIn(request())
	for _, want := range []string{"Hazel Birch", "hazel@acorn.example", "Read your notes", "notes:write", "127.0.0.1:9"} {
		if !strings.Contains(consent.body, want) {
			t.Errorf("the consent page lacks %q", want)
		}
	}
	back := p.redirected(p.submit(consent, "answer", "allow"))
	if back.Get("state") != "state-12345" || back.Get("iss") != p.url || back.Get("code") == "" {
		t.Fatalf("callback: %v", back)
	}
	tokens := p.exchange(back.Get("code")).json(t)
	if tokens["token_type"] != "Bearer" || tokens["expires_in"] != 3600.0 || tokens["scope"] != "openid profile email notes:read notes:write" {
		t.Errorf("tokens: %v", tokens)
	}
	me := p.api("GET", "/api/me", tokens["access_token"].(string), "", "")
	if me.json(t)["email"] != "hazel@acorn.example" {
		t.Errorf("me: %s", me.body)
	}
}

func TestAPersonSaysNo(t *testing.T) {
	p := newProvider(t)
	back := p.redirected(p.submit(p.signIn(request()), "answer", "deny"))
	if back.Get("error") != "access_denied" || back.Get("state") != "state-12345" || back.Get("iss") != p.url {
		t.Errorf("callback: %v", back)
	}
}

func TestSignIn(t *testing.T) {
	t.Run("a wrong password is refused and the page says so", func(t *testing.T) {
		p := newProvider(t)
		a := p.submit(p.get(request()), "username", "hazel", "password", "feathers")
		if a.status != http.StatusUnauthorized || !strings.Contains(a.body, "do not match") {
			t.Errorf("%d %.300s", a.status, a.body)
		}
	})
	t.Run("it is remembered, and prompt=login asks again", func(t *testing.T) {
		p := newProvider(t)
		p.signIn(request())
		if a := p.get(request()); !strings.Contains(a.body, "Allow") {
			t.Errorf("no consent page: %.300s", a.body)
		}
		if a := p.get(request("prompt", "login")); !strings.Contains(a.body, "current-password") {
			t.Errorf("no sign-in page: %.300s", a.body)
		}
	})
	t.Run("it ends after twelve hours", func(t *testing.T) {
		p := newProvider(t)
		p.signIn(request())
		p.clock.advance(12 * time.Hour)
		if a := p.get(request()); !strings.Contains(a.body, "current-password") {
			t.Errorf("no sign-in page: %.300s", a.body)
		}
	})
	t.Run("prompt=none never shows a page", func(t *testing.T) {
		p := newProvider(t)
		if e := p.redirected(p.get(request("prompt", "none"))).Get("error"); e != "login_required" {
			t.Errorf("signed out: %q", e)
		}
		consent := p.signIn(request())
		if e := p.redirected(p.get(request("prompt", "none"))).Get("error"); e != "consent_required" {
			t.Errorf("before consent: %q", e)
		}
		p.submit(consent, "answer", "allow")
		if p.redirected(p.get(request("prompt", "none"))).Get("code") == "" {
			t.Error("no code after consent")
		}
	})
	t.Run("a form of another browser is refused", func(t *testing.T) {
		p := newProvider(t)
		page := p.get(request())
		p.browser = newBrowser(t)
		p.get(request())
		if a := p.submit(page, "username", "hazel", "password", "acorns"); a.status != http.StatusForbidden {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("signing in changes the cookie", func(t *testing.T) {
		p := newProvider(t)
		before := p.get(request()).header.Get("Set-Cookie")
		after := p.submit(p.get(request()), "username", "hazel", "password", "acorns", "remember", "yes").header.Get("Set-Cookie")
		if !strings.HasPrefix(after, "acorn_session=") || !strings.Contains(after, "HttpOnly") || !strings.Contains(after, "Max-Age") || before == after {
			t.Errorf("%q then %q", before, after)
		}
	})
}

func TestAuthorizationRequestsThatAreRefused(t *testing.T) {
	p := newProvider(t)
	onPage := map[string]string{
		"an unknown client":                       request("client_id", "nobody"),
		"a redirect URI that is not registered":   request("redirect_uri", callbackURL+"/"),
		"a redirect URI in other case":            request("redirect_uri", strings.ToUpper(callbackURL)),
		"no redirect URI":                         request("redirect_uri", ""),
		"two redirect URIs, the first registered": request() + "&redirect_uri=https%3A%2F%2Fevil.example",
	}
	for name, path := range onPage {
		t.Run(name+" gets a page and no redirect", func(t *testing.T) {
			if a := p.get(path); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
				t.Errorf("%d %q", a.status, a.header.Get("Location"))
			}
		})
	}
	redirected := []struct{ name, path, code string }{
		{"no response type", request("response_type", ""), "invalid_request"},
		{"an unknown response type", request("response_type", "id_token"), "unsupported_response_type"},
		{"the implicit response without the switch", request("response_type", "token"), "unsupported_response_type"},
		{"an unknown scope", request("scope", "openid everything"), "invalid_scope"},
		{"no code challenge", request("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		{"the plain challenge method", request("code_challenge_method", "plain"), "invalid_request"},
		{"a parameter twice", request() + "&state=again", "invalid_request"},
	}
	for _, c := range redirected {
		t.Run(c.name+" is told to the client", func(t *testing.T) {
			if q := p.redirected(p.get(c.path)); q.Get("error") != c.code || q.Get("iss") != p.url {
				t.Errorf("callback %v, want %s", q, c.code)
			}
		})
	}
}

func TestARedirectURIKeepsItsOwnQuery(t *testing.T) {
	p := newProvider(t)
	p.Set(simulator.Switches{NoLogin: "hazel"})
	q := p.redirected(p.get(request("redirect_uri", callbackURL+"?tenant=a")))
	if q.Get("tenant") != "a" || q.Get("code") == "" {
		t.Errorf("callback: %v", q)
	}
}

func TestARedirectURICanBeAdded(t *testing.T) {
	p := newProvider(t)
	if p.AddRedirectURI("nobody", callbackURL) == nil {
		t.Error("an unknown client was taken")
	}
	if err := p.AddRedirectURI("bot", callbackURL+"/new"); err != nil {
		t.Fatal(err)
	}
	if a := p.get(request("redirect_uri", callbackURL+"/new")); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
}

func TestAPersonTakesAccessAway(t *testing.T) {
	p := newProvider(t)
	p.submit(p.signIn(request()), "answer", "allow")
	tokens := p.tokens()
	home := p.get("/")
	at := strings.Index(home.body, `action="/disconnect"`)
	if at < 0 {
		t.Fatalf("no connected app: %s", home.body)
	}
	home.body = home.body[at-len(`<form method="post" `):]
	if a := p.submit(home, "client", "bot"); a.status != http.StatusSeeOther {
		t.Fatalf("disconnect: %d", a.status)
	}
	wantError(t, p.refresh(tokens["refresh_token"].(string)), 400, "invalid_grant")
	if a := p.api("GET", "/api/me", tokens["access_token"].(string), "", ""); a.status != http.StatusUnauthorized {
		t.Errorf("me: %d", a.status)
	}
	if strings.Contains(p.get("/").body, "Support Bot") {
		t.Error("the app is still listed")
	}
}

func TestPagesRunNothingAndAreNotFramed(t *testing.T) {
	p := newProvider(t)
	a := p.get(request("state", `"><script>alert(1)</script>`))
	csp := a.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("policy %q", csp)
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "style=") {
		t.Error("the page has script or inline style")
	}
	for path, kind := range map[string]string{"/style.css": "text/css", "/acorn.svg": "image/svg"} {
		if a := p.get(path); a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, a.status, a.header.Get("Content-Type"))
		}
	}
}
