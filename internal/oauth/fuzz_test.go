package oauth

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/behalf-dev/behalf/internal/secret"
)

func FuzzParseTokenReply(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"a","expires_in":3600,"scope":"a b","refresh_token":"r"}`, `{"data":[{"t":1e9}],"data":null}`,
		"access_token=a&expires_in=1e12", `{"error":{"code":"x","message":"y"}}`, "\xef\xbb\xbf{}", `{"a":1,}`, `{"a" "b"}`, `{1:2}`, "{\"a\":[1}", "<html>",
	} {
		f.Add([]byte(s), "/data/0/t")
	}
	f.Fuzz(func(t *testing.T, body []byte, pointer string) {
		doc, err := parseReply(body)
		if err != nil {
			return
		}
		if trimmed := trim(body); trimmed[0] == '{' && !json.Valid(trimmed) {
			t.Fatal("what is not JSON was read")
		}
		now := time.Unix(0, 0)
		c := Config{Reply: ReplyPaths{AccessToken: pointer, ErrorDescription: pointer}}
		token, reason := c.token(c.Reply, doc, []string{"asked"}, now)
		if reason == "" && (token.AccessToken.Empty() || !visible(token.AccessToken.Reveal()) || len(token.AccessToken.Reveal()) > maxToken) {
			t.Fatal("an unusable token was taken")
		}
		if reason != "" && !token.AccessToken.Empty() {
			t.Fatal("a refused token was returned")
		}
		if !token.ExpiresAt.IsZero() && (token.ExpiresAt.Before(now) || token.ExpiresAt.After(now.Add(maxLife))) {
			t.Fatalf("expires at %v", token.ExpiresAt)
		}
		c.Reply.failed(doc)
		var e Error
		e.say(c.Reply.words(doc), secret.New("e"), secret.New("the-secret"))
		for _, word := range []string{e.Code, e.Description, e.URI} {
			if len([]rune(word)) > 500 || strings.Contains(word, "the-secret") || strings.ContainsFunc(word, unicode.IsControl) {
				t.Fatalf("words %q", word)
			}
		}
	})
}

// FuzzTokenReplyAgainstTheStandardDecoder compares what both make of a reply
// without repeated members.
func FuzzTokenReplyAgainstTheStandardDecoder(f *testing.F) {
	f.Add([]byte(`{"access_token":"a\u00e9\ud83d\ude00","b":{"c":[1,true,null,"x",{}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		doc, err := parseObject(body)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(trim(body)))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(doc)
		expected, _ := json.Marshal(want)
		if !bytes.Contains(got, []byte("{}")) && !bytes.Equal(got, expected) { // {} may stand for a repeated one
			t.Fatalf("read %s, the standard decoder %s", got, expected)
		}
	})
}

func FuzzParseCallback(f *testing.F) {
	for _, s := range []string{
		"code=c&state=s&iss=https://as.example", "error=access_denied&error_description=no%0d%0athanks&state=s", "code=a&code=b",
		"access_token=t&expires_in=1&state=s", "code=%00&state=%ff",
	} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, query string, implicit bool) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		cb, err := ParseCallback(v)
		if err != nil {
			return
		}
		c := Config{Issuer: "https://as.example", RequireIss: true, Now: func() time.Time { return time.Unix(0, 0) }}
		if implicit {
			c.ResponseType = ResponseToken
		}
		if err := c.CheckCallback(cb); err != nil {
			if s := err.Error(); strings.ContainsFunc(s, unicode.IsControl) || len([]rune(s)) > 1000 {
				t.Fatalf("error text %q", s)
			}
			return
		}
		if cb.Iss != c.Issuer || cb.Error != "" || cb.Code.Empty() == cb.AccessToken.Empty() {
			t.Fatalf("passed: %q", query)
		}
		if !visible(cb.Code.Reveal()) || len(v["code"]) > 1 || len(v["state"]) > 1 {
			t.Fatalf("passed: %q", query)
		}
		if token, err := c.ImplicitToken(cb); implicit && (err != nil || token.AccessToken.Empty()) {
			t.Fatal(err)
		}
	})
}

func FuzzAuthorizationRequest(f *testing.F) {
	for _, s := range []string{
		"https://as.example/authorize?a=1&state=fixed", "https://as.example/?$format=json;nonce=1&&x", "https://[::1]:1/a%2fb?%73tate=1", "http://a/?=&=&&",
	} {
		f.Add(s, "prompt", "consent")
	}
	f.Fuzz(func(t *testing.T, raw, name, value string) {
		c := Config{
			AuthorizationURL: raw, ClientID: "id", RedirectURI: "https://b.example/cb", Scopes: []string{"openid", "x"},
			AuthorizationParams: []Param{{Name: name, Value: value}},
		}
		a := Attempt{secret.New("state-state"), secret.New("nonce-nonce"), secret.New("verifier")}
		got, _, err := c.AuthorizationRequest(a)
		if err != nil {
			return
		}
		before, _ := url.Parse(raw)
		after, err := url.Parse(got)
		if err != nil || after.Host != before.Host || after.Scheme != before.Scheme || after.EscapedPath() != before.EscapedPath() || after.Fragment != "" {
			t.Fatalf("%q became %q", raw, got)
		}
		// Whatever separates parameters at the server, ours stand there once and are ours.
		values := map[string][]string{}
		for _, pair := range strings.FieldsFunc(after.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
			k, v, _ := strings.Cut(pair, "=")
			k, _ = url.QueryUnescape(k)
			v, _ = url.QueryUnescape(v)
			values[k] = append(values[k], v)
		}
		for k, want := range map[string]string{"state": "state-state", "nonce": "nonce-nonce", "client_id": "id", "redirect_uri": c.RedirectURI,
			"response_type": "code", "code_challenge_method": "S256", "scope": "openid x"} {
			if v := values[k]; len(v) != 1 || v[0] != want {
				t.Fatalf("%q became %q: %s is %q", raw, got, k, v)
			}
		}
	})
}

// FuzzParseMetadata holds that whatever a server publishes, what is taken from
// it can stand in a profile: safe URLs, nothing that reads as a placeholder.
func FuzzParseMetadata(f *testing.F) {
	for _, s := range []string{
		`{"issuer":"https://as.example/t","token_endpoint":"https://as.example/token","scopes_supported":["openid","a b"],"jwks_uri":null}`,
		`{"issuer":"http://127.0.0.1:1","authorization_endpoint":"http://[::1]:1/a?b=c","require_signed_request_object":true}`,
		`{"issuer":"https://a","issuer":"https://b"}`, `{"issuer":"https://as.example/{tenant}","token_endpoint":"https://x/{{accessToken}}"}`,
		`{"resource":"https://api.example/mcp","authorization_servers":["https://as.example"],"resource_name":"N\u0000\u202e"}`, `<html>`, `[{}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if res, wrong := parseResource(body); wrong == "" {
			safe(t, res.Identifier, res.Identifier)
			for _, s := range res.Servers {
				safe(t, s, res.Identifier)
			}
			if strings.ContainsFunc(res.Name, unicode.IsControl) || len([]rune(res.Name)) > 100 {
				t.Fatalf("name %q", res.Name)
			}
		}
		m, wrong := parseMetadata(body)
		if again, same := parseMetadata(body); wrong != same || again.Issuer != m.Issuer {
			t.Fatalf("%q, then %q", wrong, same)
		}
		if wrong != "" {
			if m.Issuer != "" || len(wrong) > 200 {
				t.Fatalf("%q with %+v", wrong, m)
			}
			return
		}
		if m.Issuer == "" || m.AuthorizationEndpoint == "" && m.TokenEndpoint == "" || !json.Valid(trim(body)) {
			t.Fatalf("taken: %q", body)
		}
		for _, u := range []string{m.Issuer, m.AuthorizationEndpoint, m.TokenEndpoint, m.UserinfoEndpoint, m.JWKSURI, m.RevocationEndpoint,
			m.IntrospectionEndpoint, m.RegistrationEndpoint, m.DeviceEndpoint, m.PushedEndpoint} {
			if u != "" {
				safe(t, u, m.Issuer)
			}
		}
		for _, s := range m.Scopes {
			if s == "" || strings.ContainsAny(s, " {}\"\\") || !visible(s) {
				t.Fatalf("scope %q", s)
			}
		}
		for _, form := range forms {
			if !published(m.Issuer, form.address(m.Issuer)) {
				t.Fatalf("%q does not publish its own metadata", m.Issuer)
			}
		}
	})
}

func safe(t *testing.T, raw, issuer string) {
	t.Helper()
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(raw, "{}#\\ \r\n") || len(raw) > maxMember:
		t.Fatalf("taken: %q", raw)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()) || !strings.HasPrefix(issuer, "http:")):
		t.Fatalf("taken: %q of %q", raw, issuer)
	}
}

func FuzzChallenge(f *testing.F) {
	for _, s := range []string{`Bearer realm="a\"b", resource_metadata="https://x/y" , scope="a b"`, `Basic abc==,Bearer resource_metadata=https://x`, `"`, `= , = "a`, `a="\`, "\xb7=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		size := 0
		for name, value := range challenge(http.Header{"Www-Authenticate": {header}}) {
			size += len(name) + len(value)
		}
		if size > len(header) {
			t.Fatalf("made %d bytes of %q", size, header)
		}
	})
}

// FuzzShapes holds that no reply, read by any profile's rules, makes a token
// that cannot be sent, a lifetime without end, or a captured value that could
// break out of a header.
func FuzzShapes(f *testing.F) {
	f.Add([]byte(`{"data":{"t":"a","at":"2026-01-02T00:00:00Z"},"list":[{"id":1,"n":"x"}]}`), "/data/t", "/data/at", "rfc3339", "ms", "true")
	f.Add([]byte(`[{"t":"a"}]`), "/0/t", "/", "at", "min", "")
	f.Add([]byte("plain-token"), "/", "/x", "jwt", "h", "plain")
	f.Add([]byte("access_token=a&expires_in=1e300"), "/access_token", "/expires_in", "in", "h", "a")
	f.Fuzz(func(t *testing.T, body []byte, token, expires, format, unitName, word string) {
		now := time.Unix(1700000000, 0)
		paths := ReplyPaths{AccessToken: token, ExpiresIn: expires, ExpiresFormat: format, ExpiresUnit: unitName, RefreshExpiresIn: expires, RetryAfter: expires, RetryFormat: format}
		c := Config{Slots: []Slot{{Name: "s", Reply: paths}}, Now: func() time.Time { return now }}
		shape := Shape{Reply: paths, Errors: []ErrorRule{{Rule{JSON: expires, Contains: word}, Refused}, {Rule{Contains: word, Status: 400}, Limited}},
			Capture: []Capture{{Name: "c", JSON: token}, {Name: "l", Choose: &Choose{Items: expires, Value: token, Label: token}}}}
		r := reply{op: OpExchange, status: http.StatusOK, header: http.Header{}, body: body, now: now}
		got, err := c.readToken(r, shape, nil, now)
		if err != nil {
			if e := err.(*Error); e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
				t.Fatal(e.RetryAfter)
			}
			return
		}
		for _, token := range []Token{got, got.Slots["s"]} {
			if !visible(token.AccessToken.Reveal()) || len(token.AccessToken.Reveal()) > maxToken {
				t.Fatal("an unusable token was taken")
			}
			for _, end := range []time.Time{token.ExpiresAt, token.RefreshExpiresAt} {
				if !end.IsZero() && (end.Before(now) || end.After(now.Add(maxLife))) {
					t.Fatalf("ends at %v", end)
				}
			}
		}
		for _, fact := range got.Captured {
			if len(fact.Text) > maxCaptured || strings.ContainsFunc(fact.Text, unicode.IsControl) {
				t.Fatalf("captured %q", fact.Text)
			}
		}
	})
}
