package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/simulator"
)

// put switches on over HTTP, so that their JSON names are what is tested.
func (p *provider) put(t *testing.T, switches string) {
	t.Helper()
	r, _ := http.NewRequest("PUT", p.url+"/_simulator/switches", strings.NewReader(switches))
	if a := p.send(p.browser, r); a.status != 200 {
		t.Fatalf("%s: %d %s", switches, a.status, a.body)
	}
}

// effect is what one switch does on the wire.
type effect struct {
	on   string // the switch's JSON value
	with string // other switches beside it
	see  func(t *testing.T, p *provider)
}

// effects has every switch; TestEverySwitchIsDocumentedAndTested sees to it.
var effects = map[string]effect{
	"times": {on: "2", with: `,"unavailable":"1"`, see: func(t *testing.T, p *provider) {
		var got []int
		for range 3 {
			got = append(got, p.clientCredentials().status)
		}
		same(t, "statuses", got, []int{503, 503, 200})
	}},

	"token_hang": {on: "true", see: func(t *testing.T, p *provider) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := p.try(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	}},
	"token_reset": {on: "true", see: func(t *testing.T, p *provider) {
		if _, err := p.try(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v", err)
		}
	}},
	"answer": {on: `{"status":418,"content_type":"text/x","headers":{"X-Pot":"short"},"body":"tea"}`, see: func(t *testing.T, p *provider) {
		a := p.clientCredentials()
		if a.status != 418 || a.body != "tea" || a.header.Get("Content-Type") != "text/x" || a.header.Get("X-Pot") != "short" {
			t.Errorf("%+v", a)
		}
	}},
	"redirect_token_endpoint": {on: `"/token/moved"`, see: func(t *testing.T, p *provider) {
		a := p.clientCredentials()
		if a.status != 307 || a.header.Get("Location") != "/token/moved" {
			t.Errorf("%+v", a)
		}
		p.Set(simulator.Switches{})
		if p.post("/token/moved", tokenForm("client_credentials")).status != 200 || p.Stats().RedirectsFollowed != 1 {
			t.Error("who follows gets a token and is counted")
		}
	}},
	"rate_limit": {on: `"17"`, see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); a.status != 429 || a.header.Get("Retry-After") != "17" {
			t.Errorf("%+v", a)
		}
		p.put(t, `{"rate_limit":"date"}`)
		if at, err := http.ParseTime(p.clientCredentials().header.Get("Retry-After")); err != nil || at.Before(p.clock.Now()) {
			t.Errorf("date %v %v", at, err)
		}
		p.put(t, `{"rate_limit":"absurd"}`)
		same(t, "absurd", p.clientCredentials().header.Get("Retry-After"), "315360000")
		p.put(t, `{"rate_limit":"none"}`)
		same(t, "none", p.clientCredentials().header.Values("Retry-After"), []string(nil))
	}},
	"unavailable": {on: `"17"`, see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); a.status != 503 || a.header.Get("Retry-After") != "17" {
			t.Errorf("%+v", a)
		}
	}},
	"invalid_client": {on: "true", see: func(t *testing.T, p *provider) {
		a := p.clientCredentials()
		wantError(t, a, 401, "invalid_client")
		if a.header.Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate")
		}
	}},
	"error_200": {on: `"invalid_grant"`, see: func(t *testing.T, p *provider) {
		wantError(t, p.clientCredentials(), 200, "invalid_grant")
	}},
	"refresh_error": {on: `"unauthorized_client"`, see: func(t *testing.T, p *provider) {
		rt := p.tokens()["refresh_token"].(string)
		wantError(t, p.refresh(rt), 400, "unauthorized_client")
		p.put(t, `{"refresh_error":"empty_400"}`)
		if a := p.refresh(rt); a.status != 400 || a.body != "" {
			t.Errorf("%+v", a)
		}
		p.put(t, `{"refresh_error":"html_500"}`)
		if a := p.refresh(rt); a.status != 500 || !strings.Contains(a.body, "<html>") {
			t.Errorf("%+v", a)
		}
		p.Set(simulator.Switches{})
		same(t, "status afterwards", p.refresh(rt).status, 200)
	}},
	"spurious_invalid_grant_once": {on: "true", see: func(t *testing.T, p *provider) {
		rt := p.tokens()["refresh_token"].(string)
		wantError(t, p.refresh(rt), 400, "invalid_grant")
		same(t, "second status", p.refresh(rt).status, 200)
	}},

	"token_delay_ms":       {on: "60", see: slowTokens},
	"token_delay_after_ms": {on: "60", see: slowTokens},
	"token_drip_ms":        {on: "1", see: slowTokens},
	"commit_then_close": {on: "true", see: func(t *testing.T, p *provider) {
		lost(t, p, func(rt string) {
			if _, err := p.browser.PostForm(p.url+"/token", tokenForm("refresh_token", "refresh_token", rt)); !errors.Is(err, io.EOF) {
				t.Errorf("error %v", err)
			}
		})
	}},
	"commit_then_500": {on: "true", see: func(t *testing.T, p *provider) {
		lost(t, p, func(rt string) { same(t, "status", p.refresh(rt).status, 500) })
	}},

	"garbage_html": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%+v", a)
		}
	}},
	"empty_body": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); a.status != 200 || a.body != "" {
			t.Errorf("%+v", a)
		}
	}},
	"truncated_json": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); a.body == "" || json.Valid([]byte(a.body)) {
			t.Errorf("%+v", a)
		}
	}},
	"big_body": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); len(a.body) < 10_000_000 || a.json(t)["access_token"] == nil {
			t.Errorf("%d bytes", len(a.body))
		}
	}},
	"gzip_bomb": {on: "true", see: func(t *testing.T, p *provider) {
		res, err := p.try(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		n, _ := io.Copy(io.Discard, res.Body)
		if !res.Uncompressed || n < 1<<30 {
			t.Errorf("%d bytes, uncompressed %v", n, res.Uncompressed)
		}
	}},
	"wrong_charset": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); !strings.Contains(a.body, "Bj\xf6rn") || !strings.Contains(a.header.Get("Content-Type"), "8859-1") {
			t.Errorf("%+v", a)
		}
	}},
	"deep_json": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); !strings.Contains(a.body, strings.Repeat("[", 100_000)) {
			t.Errorf("%.100s", a.body)
		}
	}},
	"duplicate_keys": {on: "true", see: func(t *testing.T, p *provider) {
		if a := p.clientCredentials(); strings.Count(a.body, `"access_token":`) != 2 {
			t.Errorf("%s", a.body)
		}
	}},
	"form_reply": {on: "true", see: func(t *testing.T, p *provider) {
		a := p.clientCredentials()
		q, err := url.ParseQuery(a.body)
		if err != nil || q.Get("access_token") == "" || q.Get("expires_in") != "3600" || a.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%+v", a)
		}
	}},
	"json_as_text_plain": {on: "true", see: func(t *testing.T, p *provider) {
		a := p.clientCredentials()
		if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || a.json(t)["access_token"] == nil {
			t.Errorf("%+v", a)
		}
	}},

	"success_status": {on: "201", see: func(t *testing.T, p *provider) { same(t, "status", p.clientCredentials().status, 201) }},
	"no_expires_in":  {on: "true", see: member("expires_in", nil)}, "expires_in_string": {on: "true", see: member("expires_in", "3600")},
	"expires_in_negative": {on: "true", see: member("expires_in", -1.0)}, "expires_in_huge": {on: "true", see: member("expires_in", 1e12)},
	"no_scope": {on: "true", see: member("scope", nil)}, "scope_comma": {on: "true", see: member("scope", "profile,notes:read")},
	"token_type_case": {on: "true", see: member("token_type", "bEARER")}, "no_token_type": {on: "true", see: member("token_type", nil)},
	"narrow_scope": {on: `"profile"`, see: func(t *testing.T, p *provider) {
		m := p.clientCredentials().json(t)
		same(t, "scope", m["scope"], any("profile"))
		same(t, "notes", p.api("GET", "/api/notes", m["access_token"].(string), "", "").status, 403)
	}},
	"nested_reply": {on: "true", see: func(t *testing.T, p *provider) {
		m := p.clientCredentials().json(t)
		if inner, _ := m["authed_user"].(map[string]any); inner["access_token"] == nil || m["access_token"] != nil {
			t.Errorf("%v", m)
		}
	}},
	"no_refresh_token_on_exchange": {on: "true", see: func(t *testing.T, p *provider) {
		same(t, "refresh_token", p.tokens()["refresh_token"], nil)
	}},
	"no_refresh_token_on_refresh": {on: "true", see: kept(nil)},
	"empty_refresh_token":         {on: "true", see: kept("")},

	"no_id_token":               {on: "true", see: func(t *testing.T, p *provider) { same(t, "id_token", p.tokens()["id_token"], nil) }},
	"id_token_alg_none":         {on: "true", see: idTokenHas("alg", "none")},
	"id_token_hs256_secret":     {on: "true", see: idTokenHas("alg", "HS256")},
	"id_token_hs256_public_key": {on: "true", see: idTokenHas("alg", "HS256")},
	"id_token_unknown_kid":      {on: "true", see: idTokenHas("kid", "acorn-unknown")},
	"id_token_bad_signature": {on: "true", see: func(t *testing.T, p *provider) {
		if _, err := p.verify(p.tokens()["id_token"].(string)); err == nil {
			t.Error("the signature is good")
		}
	}},
	"id_token_wrong_iss":   {on: "true", see: idTokenHas("iss", "https://issuer.invalid")},
	"id_token_wrong_aud":   {on: "true", see: idTokenHas("aud", "another-client")},
	"id_token_wrong_azp":   {on: "true", see: idTokenHas("azp", "another-client")},
	"id_token_wrong_nonce": {on: "true", see: idTokenHas("nonce", "another-nonce")},
	"id_token_no_nonce":    {on: "true", see: idTokenHas("nonce", nil)},
	"id_token_no_sub":      {on: "true", see: idTokenHas("sub", nil)},
	"id_token_bad_at_hash": {on: "true", see: idTokenHas("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")},
	"id_token_es256":       {on: "true", see: idTokenHas("alg", "ES256")},
	"id_token_expired": {on: "true", see: func(t *testing.T, p *provider) {
		if exp := p.idToken(p.tokens())["exp"].(float64); int64(exp) >= p.clock.Now().Unix() {
			t.Errorf("exp %v", exp)
		}
	}},
	"id_token_other_sub": {on: "true", see: func(t *testing.T, p *provider) {
		first := p.tokens()
		same(t, "sub on exchange", p.idToken(first)["sub"], any("u-1"))
		same(t, "sub on refresh", p.idToken(p.refresh(first["refresh_token"].(string)).json(t))["sub"], any("somebody-else"))
	}},

	"wrong_iss":      {on: "true", with: hazelIn, see: returns("iss", "https://issuer.invalid")},
	"missing_iss":    {on: "true", with: hazelIn, see: returns("iss", "")},
	"no_state":       {on: "true", with: hazelIn, see: returns("state", "")},
	"deny":           {on: "true", with: hazelIn, see: returns("error", "access_denied")},
	"error_callback": {on: `"temporarily_unavailable"`, with: hazelIn, see: returns("error", "temporarily_unavailable")},
	"wrong_state": {on: "true", with: hazelIn, see: func(t *testing.T, p *provider) {
		if s := p.redirected(p.get(request())).Get("state"); !strings.HasPrefix(s, "forged-") {
			t.Errorf("state %q", s)
		}
	}},
	"callback_slash": {on: "true", with: hazelIn, see: func(t *testing.T, p *provider) {
		a := p.get(request("redirect_uri", callbackURL+"?tenant=a"))
		if to := a.header.Get("Location"); !strings.HasPrefix(to, callbackURL+"/?tenant=a&code=") {
			t.Errorf("location %q", to)
		}
	}},

	"userinfo_other_sub": {on: "true", see: func(t *testing.T, p *provider) {
		same(t, "sub", p.api("GET", "/userinfo", p.tokens()["access_token"].(string), "", "").json(t)["sub"], any("somebody-else"))
	}},
	"api_always_401": {on: "true", see: func(t *testing.T, p *provider) {
		same(t, "status", p.api("GET", "/api/me", p.tokens()["access_token"].(string), "", "").status, 401)
		same(t, "refused", p.Stats().APIRefused, int64(1))
	}},
	"api_403_expired": {on: "true", see: func(t *testing.T, p *provider) {
		at := p.tokens()["access_token"].(string)
		same(t, "good token", p.api("GET", "/api/me", at, "", "").status, 200)
		p.clock.advance(time.Hour)
		a := p.api("GET", "/api/me", at, "", "")
		if a.status != 403 || a.header.Get("WWW-Authenticate") != "" || !strings.Contains(a.body, "expired") {
			t.Errorf("%+v", a)
		}
	}},
	"api_delay_ms": {on: "60", see: func(t *testing.T, p *provider) {
		at := p.tokens()["access_token"].(string)
		slowly(t, func() { p.api("GET", "/api/me", at, "", "") })
	}},

	"no_rotation": {on: "true", see: func(t *testing.T, p *provider) {
		first := p.tokens()
		for range 2 {
			same(t, "refresh_token", p.refresh(first["refresh_token"].(string)).json(t)["refresh_token"], first["refresh_token"])
		}
	}},
	"grace_seconds": {on: "10", see: func(t *testing.T, p *provider) {
		first := p.tokens()["refresh_token"].(string)
		second := p.refresh(first).json(t)
		p.clock.advance(9 * time.Second)
		again := p.refresh(first).json(t)
		same(t, "pair", []any{again["access_token"], again["refresh_token"]}, []any{second["access_token"], second["refresh_token"]})
		same(t, "grace replays", p.Stats().GraceReplays, int64(1))
		p.clock.advance(time.Second)
		wantError(t, p.refresh(first), 400, "invalid_grant")
		wantError(t, p.refresh(second["refresh_token"].(string)), 400, "invalid_grant")
	}},
	"grace_new_pair": {on: "true", with: `,"grace_seconds":10`, see: func(t *testing.T, p *provider) {
		first := p.tokens()["refresh_token"].(string)
		second := p.refresh(first).json(t)
		again := p.refresh(first).json(t)
		if again["refresh_token"] == nil || again["refresh_token"] == second["refresh_token"] {
			t.Errorf("%v", again)
		}
	}},
	"refresh_revokes_access": {on: "true", see: func(t *testing.T, p *provider) {
		first := p.tokens()
		second := p.refresh(first["refresh_token"].(string)).json(t)
		same(t, "old", p.api("GET", "/api/me", first["access_token"].(string), "", "").status, 401)
		same(t, "new", p.api("GET", "/api/me", second["access_token"].(string), "", "").status, 200)
	}},
	"no_login": {on: `"jay"`, see: func(t *testing.T, p *provider) {
		code := p.redirected(p.get(request())).Get("code")
		same(t, "sub", p.idToken(p.exchange(code).json(t))["sub"], any("jay"))
	}},
	"basic_raw": {on: "true", see: func(t *testing.T, p *provider) {
		r, _ := http.NewRequest("POST", p.url+"/token", strings.NewReader("grant_type=client_credentials"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("bot", botSecret)
		same(t, "status", p.send(p.browser, r).status, 200)
	}},
	"pkce_optional": {on: "true", with: hazelIn, see: func(t *testing.T, p *provider) {
		code := p.redirected(p.get(request("code_challenge", "", "code_challenge_method", ""))).Get("code")
		same(t, "status", p.exchange(code, "code_verifier", "").status, 200)
	}},
	"pkce_refused": {on: "true", with: hazelIn, see: func(t *testing.T, p *provider) {
		same(t, "with a challenge", p.redirected(p.get(request())).Get("error"), "invalid_request")
		code := p.redirected(p.get(request("code_challenge", "", "code_challenge_method", ""))).Get("code")
		same(t, "status", p.exchange(code, "code_verifier", "").status, 200)
	}},
	"client_auth": {on: `"post"`, see: func(t *testing.T, p *provider) {
		r, _ := http.NewRequest("POST", p.url+"/token", strings.NewReader("grant_type=client_credentials"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("bot", url.QueryEscape(botSecret))
		a := p.send(p.browser, r)
		same(t, "status", a.status, 401)
		same(t, "error", a.json(t)["error"], any("invalid_client"))
	}},
	"clock_offset_seconds": {on: "3600", see: func(t *testing.T, p *provider) {
		if iat := p.idToken(p.tokens())["iat"].(float64); int64(iat) < p.clock.Now().Add(59*time.Minute).Unix() {
			t.Errorf("iat %v", iat)
		}
		date, err := http.ParseTime(p.get("/jwks").header.Get("Date"))
		if err != nil || date.Before(p.clock.Now().Add(59*time.Minute)) {
			t.Errorf("Date %v, %v", date, err)
		}
	}},
	"implicit": {on: "true", with: hazelIn, see: func(t *testing.T, p *provider) {
		a := p.get(request("response_type", "token", "code_challenge", "", "code_challenge_method", ""))
		q := p.redirected(a)
		if !strings.HasPrefix(a.header.Get("Location"), callbackURL+"#") || q.Get("state") != "state-12345" || q.Get("expires_in") != "3600" {
			t.Fatalf("location %q", a.header.Get("Location"))
		}
		same(t, "me", p.api("GET", "/api/me", q.Get("access_token"), "", "").status, 200)
	}},
	"dialect": {on: `{"routes":[{"at":"GET /who","does":"tell","says":{"body":{"iss":"{issuer}"}}}]}`, see: func(t *testing.T, p *provider) {
		same(t, "iss", p.get("/who").json(t)["iss"], any(p.url))
	}},
	"log": {on: "true", see: func(t *testing.T, p *provider) {
		p.exchange("canary-code")
		a := p.get("/_simulator/log")
		if !strings.Contains(a.body, `"grant_type":"authorization_code"`) || !strings.Contains(a.body, `"code":"sha256:`) || !strings.Contains(a.body, `"status":400`) {
			t.Errorf("%s", a.body)
		}
		if strings.Contains(a.body, "canary-code") || strings.Contains(a.body, "s3cr") || strings.Contains(a.body, verifier) {
			t.Errorf("a secret in the log: %s", a.body)
		}
	}},
}

const hazelIn = `,"no_login":"hazel"`

func TestEverySwitchShowsOnTheWire(t *testing.T) {
	for name, e := range effects {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.put(t, `{"`+name+`":`+e.on+e.with+`}`)
			e.see(t, p)
		})
	}
}

func TestEverySwitchIsDocumentedAndTested(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[simulator.Switches]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, ok := effects[name]; !ok {
			t.Errorf("%s has no test", name)
		}
		if !bytes.Contains(doc, []byte("//\t"+name+" ")) {
			t.Errorf("%s is not in the package comment", name)
		}
		if name != "times" && f.Tag.Get("at") == "" {
			t.Errorf("%s touches nothing", name)
		}
	}
}

func TestFaultsEndAndSettingsStay(t *testing.T) {
	p := newProvider(t)
	p.put(t, `{"times":1,"commit_then_500":true,"grace_seconds":30}`)
	p.api("GET", "/api/me", "", "", "") // touched by no fault: not counted
	rt := p.tokensDespite()
	same(t, "what is left", p.Switches(), simulator.Switches{GraceSeconds: 30})
	p.refresh(rt)
	same(t, "status within the grace", p.refresh(rt).status, 200)
	p.Update(func(sw *simulator.Switches) { sw.NoRotation = true })
	same(t, "switches", p.Switches(), simulator.Switches{GraceSeconds: 30, NoRotation: true})
}

func TestSwitchesAreStrict(t *testing.T) {
	p := newProvider(t)
	r, _ := http.NewRequest("PUT", p.url+"/_simulator/switches", strings.NewReader(`{"unavailable":"1","token_hangs":true}`))
	if a := p.send(p.browser, r); a.status != 400 || !strings.Contains(a.body, "token_hangs") {
		t.Errorf("%+v", a)
	}
	same(t, "switches", p.Switches(), simulator.Switches{})
	r, _ = http.NewRequest("POST", p.url+"/_simulator/reset", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	same(t, "a page of another site", p.send(p.browser, r).status, 403)
}

func TestARedirectURIIsRegisteredByACall(t *testing.T) {
	p := newProvider(t)
	for body, status := range map[string]int{
		`{"client_id":"bot","redirect_uri":"http://127.0.0.1:1/new"}`:           204,
		`{"client_id":"nobody","redirect_uri":"http://127.0.0.1:1/new"}`:        400,
		`{"client_id":"bot","redirect_uri":"not a URL"}`:                        400,
		`{"client_id":"bot","redirect_url":"http://127.0.0.1:1/misspelt"}`:      400,
		`{"client_id":"bot","redirect_uri":"http://127.0.0.1:1/%zz-unescaped"}`: 400,
	} {
		r, _ := http.NewRequest("POST", p.url+"/_simulator/redirect-uris", strings.NewReader(body))
		same(t, body, p.send(p.browser, r).status, status)
	}
}

func TestResetForgetsEverything(t *testing.T) {
	p := newProvider(t)
	tokens := p.tokens()
	p.put(t, `{"no_rotation":true}`)
	same(t, "status", p.post("/_simulator/reset", nil).status, 204)
	same(t, "stats", p.Stats(), simulator.Stats{})
	same(t, "switches", p.Switches(), simulator.Switches{})
	wantError(t, p.refresh(tokens["refresh_token"].(string)), 400, "invalid_grant")
}

func TestStatsOverHTTP(t *testing.T) {
	p := newProvider(t)
	p.tokens()
	var all, totals simulator.Stats
	_ = json.Unmarshal([]byte(p.get("/_simulator/stats").body), &all)
	_ = json.Unmarshal([]byte(p.get("/_simulator/stats?grants=false").body), &totals)
	same(t, "stats", all, p.Stats())
	same(t, "grants", [2]int{len(all.Grants), len(totals.Grants)}, [2]int{1, 0})
	same(t, "exchanges", totals.Exchanges, int64(1))
}

func (p *provider) clientCredentials() answer {
	p.t.Helper()
	return p.post("/token", tokenForm("client_credentials", "scope", "profile notes:read"))
}

// tokensDespite gets a refresh token by password after one failing request.
func (p *provider) tokensDespite() string {
	p.t.Helper()
	same(p.t, "faulty status", p.clientCredentials().status, 500)
	m := p.post("/token", tokenForm("password", "username", "hazel", "password", "acorns")).json(p.t)
	return m["refresh_token"].(string)
}

func (p *provider) try(ctx context.Context) (*http.Response, error) {
	form := tokenForm("client_credentials").Encode()
	r, _ := http.NewRequestWithContext(ctx, "POST", p.url+"/token", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.browser.Do(r)
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func slowly(t *testing.T, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func slowTokens(t *testing.T, p *provider) {
	slowly(t, func() { same(t, "status", p.clientCredentials().status, 200) })
}

// lost sees that a refresh whose answer is lost has spent the token.
func lost(t *testing.T, p *provider, refresh func(token string)) {
	on := p.Switches()
	p.Set(simulator.Switches{})
	rt := p.tokens()["refresh_token"].(string)
	p.Set(on)
	refresh(rt)
	p.Set(simulator.Switches{})
	same(t, "generation", p.Stats().Grants[0].Generation, 2)
	wantError(t, p.refresh(rt), 400, "invalid_grant")
	same(t, "families revoked", p.Stats().FamiliesRevoked, int64(1))
}

// kept sees what a refresh says and that the old token stays good.
func kept(want any) func(*testing.T, *provider) {
	return func(t *testing.T, p *provider) {
		first := p.tokens()["refresh_token"].(string)
		for range 2 {
			same(t, "refresh_token", p.refresh(first).json(t)["refresh_token"], want)
		}
	}
}

func member(name string, want any) func(*testing.T, *provider) {
	return func(t *testing.T, p *provider) {
		m := p.clientCredentials().json(t)
		same(t, name, m[name], want)
		if m["access_token"] == nil {
			t.Error("no access token")
		}
	}
}

func returns(name, want string) func(*testing.T, *provider) {
	return func(t *testing.T, p *provider) {
		same(t, name, p.redirected(p.get(request())).Get(name), want)
	}
}
