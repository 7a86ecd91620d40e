package oauth_test

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

var (
	code         = secret.New("the-code/+ 1")
	refreshToken = secret.New("the-refresh-token/+ 1")
)

func TestTokenReplies(t *testing.T) {
	asked := "[read write]"
	never := time.Duration(-1)
	for _, test := range []struct {
		name   string
		config func(*oauth.Config)
		status int
		body   string
		token  string // access|refresh|id|type
		scopes string
		given  bool          // scopes
		life   time.Duration // never: not known
		told   bool          // lifetime
	}{
		{name: "the RFC's own example", body: `{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"example_value"}`,
			token: "2YotnFZFEjr1zCsicMWpAA|tGzv3JOkF0XG5Qx2TlKWIA||example", scopes: asked, life: time.Hour, told: true},
		{name: "the least there is", body: `{"access_token":"a"}`, token: "a|||", scopes: asked, life: never},
		{name: "nulls and empty texts are absent", body: `{"access_token":"a","refresh_token":null,"id_token":"","expires_in":null,"scope":"","token_type":null,"error":null}`, token: "a|||", scopes: asked, life: never},
		{name: "a status of 201", status: 201, body: `{"access_token":"a"}`, token: "a|||", scopes: asked, life: never},
		{name: "a default lifetime where none is told", config: func(c *oauth.Config) { c.DefaultLifetime = time.Minute }, body: `{"access_token":"a"}`, token: "a|||", scopes: asked, life: time.Minute},
		{name: "expires_in as text", body: `{"access_token":"a","expires_in":"3600"}`, token: "a|||", scopes: asked, life: time.Hour, told: true},
		{name: "expires_in with a fraction", body: `{"access_token":"a","expires_in":3599.5}`, token: "a|||", scopes: asked, life: 3599500 * time.Millisecond, told: true},
		{name: "expires_in with an exponent", body: `{"access_token":"a","expires_in":3.6e3}`, token: "a|||", scopes: asked, life: time.Hour, told: true},
		{name: "expires_in empty", body: `{"access_token":"a","expires_in":""}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in zero", body: `{"access_token":"a","expires_in":0}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in negative", body: `{"access_token":"a","expires_in":-5}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in a word", body: `{"access_token":"a","expires_in":"never"}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in no number", body: `{"access_token":"a","expires_in":"NaN"}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in true", body: `{"access_token":"a","expires_in":true}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in an object", body: `{"access_token":"a","expires_in":{"s":1}}`, token: "a|||", scopes: asked, life: never},
		{name: "expires_in absurd is ten years", body: `{"access_token":"a","expires_in":1e12}`, token: "a|||", scopes: asked, life: 3650 * 24 * time.Hour, told: true},
		{name: "expires_in beyond a float is ten years", body: `{"access_token":"a","expires_in":1e999}`, token: "a|||", scopes: asked, life: 3650 * 24 * time.Hour, told: true},
		{name: "scopes by spaces, once each, in their order", body: `{"access_token":"a","scope":" b  a b "}`, token: "a|||", scopes: "[b a]", given: true, life: never},
		{name: "scopes by commas", body: `{"access_token":"a","scope":"b,a, c"}`, token: "a|||", scopes: "[b a c]", given: true, life: never},
		{name: "scopes as an array", body: `{"access_token":"a","scope":["b","a"]}`, token: "a|||", scopes: "[b a]", given: true, life: never},
		{name: "a comma inside a scope", config: func(c *oauth.Config) { c.Scopes = []string{"x,y"} }, body: `{"access_token":"a","scope":"x,y z"}`, token: "a|||", scopes: "[x,y z]", given: true, life: never},
		{name: "a byte order mark and space around", body: "\xef\xbb\xbf \r\n{\"access_token\":\"a\"}\n\n", token: "a|||", scopes: asked, life: never},
		{name: "a form", body: "access_token=a%2Bb&expires_in=10&scope=x+y&token_type=bearer&refresh_token=r", token: "a+b|r||bearer", scopes: "[x y]", given: true, life: 10 * time.Second, told: true},
		{name: "another charset in a name", body: "{\"access_token\":\"a\",\"team\":\"M\xfcller\"}", token: "a|||", scopes: asked, life: never},
		{name: "an unrelated member twice", body: `{"x":1,"access_token":"a","x":2}`, token: "a|||", scopes: asked, life: never},
		{name: "an error that is none", body: `{"access_token":"a","error":"","error_description":""}`, token: "a|||", scopes: asked, life: never},
		{name: "an error number of zero", body: `{"access_token":"a","error":0}`, token: "a|||", scopes: asked, life: never},
		{name: "nested parts", config: func(c *oauth.Config) {
			c.Reply = oauth.ReplyPaths{AccessToken: "/data/0/accessToken", RefreshToken: "/data/0/a~1b~0c", ExpiresIn: "/ttl"}
		}, body: `{"data":[{"accessToken":"a","a/b~c":"r"}],"ttl":5,"access_token":"other"}`, token: "a|r||", scopes: asked, life: 5 * time.Second, told: true},
		{name: "success by rule", config: func(c *oauth.Config) { succeedsBy(c, "/ok", "true") },
			body: `{"ok":true,"error":"none","access_token":"a"}`, token: "a|||", scopes: asked, life: never},
		{name: "prototype names are just names", body: `{"__proto__":{"access_token":"evil"},"constructor":1,"access_token":"a"}`, token: "a|||", scopes: asked, life: never},
		{name: "a long token", body: `{"access_token":"` + strings.Repeat("x", 60<<10) + `"}`, token: strings.Repeat("x", 60<<10) + "|||", scopes: asked, life: never},
	} {
		for _, contentType := range []string{"application/json", "text/html; charset=utf-16", "application/x-www-form-urlencoded", ""} {
			t.Run(test.name+" as "+contentType, func(t *testing.T) {
				client := serve(t, &transcript{status: test.status, body: test.body, header: http.Header{"Content-Type": {contentType}}})
				if test.config != nil {
					test.config(&client.Config)
				}
				got, err := client.Exchange(t.Context(), code, attempt)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "token", fmt.Sprintf("%s|%s|%s|%s", got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.IDToken.Reveal(), got.Type), test.token)
				equal(t, "scopes", []any{got.Scopes, got.ScopesGiven}, []any{test.scopes, test.given})
				life := never
				if !got.ExpiresAt.IsZero() {
					life = got.ExpiresAt.Sub(noon)
				}
				equal(t, "lifetime", []any{life, got.ExpiresGiven}, []any{test.life, test.told})
				equal(t, "raw", got.Raw.Reveal(), test.body)
			})
		}
	}
}

func TestFailedTokenReplies(t *testing.T) {
	page := "<!doctype html><title>Oops</title>"
	slack := func(c *oauth.Config) { succeedsBy(c, "/ok", "true") }
	for _, test := range []struct {
		name   string
		config func(*oauth.Config)
		status int
		header http.Header
		body   string
		kind   oauth.Kind
		words  string // code: description
		retry  time.Duration
	}{
		// refused
		{name: "invalid_grant", status: 400, body: `{"error":"invalid_grant","error_description":"Token has been revoked."}`, kind: oauth.Refused, words: "invalid_grant: Token has been revoked."},
		{name: "invalid_grant with 401", status: 401, body: `{"error":"invalid_grant"}`, kind: oauth.Refused, words: "invalid_grant: "},
		{name: "invalid_grant with 200", body: `{"error":"invalid_grant"}`, kind: oauth.Refused, words: "invalid_grant: "},
		{name: "invalid_grant as a form", status: 400, body: `error=invalid_grant&error_description=gone+now`, kind: oauth.Refused, words: "invalid_grant: gone now"},
		{name: "invalid_grant in another charset", status: 400, body: "{\"error\":\"invalid_grant\",\"error_description\":\"ung\xfcltig\"}", kind: oauth.Refused, words: "invalid_grant: ung\uFFFDltig"},
		{name: "a known dialect", body: `{"error":"bad_verification_code"}`, kind: oauth.Refused, words: "bad_verification_code: "},
		{name: "an error beside a token", body: `{"error":"invalid_grant","access_token":"a"}`, kind: oauth.Refused, words: "invalid_grant: "},
		{name: "a dialect by the profile's rule", config: func(c *oauth.Config) {
			c.RefreshShape.Errors = []oauth.ErrorRule{{Rule: oauth.Rule{Status: 400, JSON: "/error", Equals: "invalid_request"}, Kind: oauth.Refused}}
		},
			status: 400, body: `{"error":"invalid_request"}`, kind: oauth.Refused, words: "invalid_request: "},
		{name: "an empty 400 by the profile's rule", config: func(c *oauth.Config) {
			c.RefreshShape.Errors = []oauth.ErrorRule{{Rule: oauth.Rule{Status: 400}, Kind: oauth.Refused}}
		}, status: 400, kind: oauth.Refused, words: ": "},
		{name: "nested words by the profile's paths", config: func(c *oauth.Config) {
			c.Reply = oauth.ReplyPaths{Error: "/data/code", ErrorDescription: "/data/text"}
		}, body: `{"data":{"code":"invalid_grant","text":"gone"}}`, kind: oauth.Refused, words: "invalid_grant: gone"},
		// the client's fault
		{name: "invalid_client", status: 401, header: http.Header{"Www-Authenticate": {"Basic"}}, body: `{"error":"invalid_client"}`, kind: oauth.ClientFault, words: "invalid_client: "},
		{name: "invalid_client with 400", status: 400, body: `{"error":"invalid_client","error_description":"AADSTS7000222: expired"}`, kind: oauth.ClientFault, words: "invalid_client: AADSTS7000222: expired"},
		{name: "unauthorized_client", status: 400, body: `{"error":"unauthorized_client"}`, kind: oauth.ClientFault, words: "unauthorized_client: "},
		{name: "a bare 401", status: 401, kind: oauth.ClientFault, words: ": "},
		{name: "not found", status: 404, body: page, kind: oauth.ClientFault, words: ": "},
		{name: "a wrong method", status: 405, kind: oauth.ClientFault, words: ": "},
		{name: "a wrong body format", status: 415, kind: oauth.ClientFault, words: ": "},
		{name: "a scope that is not the client's", status: 400, body: `{"error":"invalid_scope"}`, kind: oauth.ClientFault, words: "invalid_scope: "},
		// limited
		{name: "429 with seconds", status: 429, header: http.Header{"Retry-After": {"7"}}, kind: oauth.Limited, words: ": ", retry: 7 * time.Second},
		{name: "429 with a date", status: 429, header: http.Header{"Retry-After": {"Fri, 02 Jan 2026 12:02:00 GMT"}}, kind: oauth.Limited, words: ": ", retry: 2 * time.Minute},
		{name: "429 with a past date", status: 429, header: http.Header{"Retry-After": {"Fri, 02 Jan 2015 12:02:00 GMT"}}, kind: oauth.Limited, words: ": "},
		{name: "429 with an absurd wait", status: 429, header: http.Header{"Retry-After": {"99999999999999999999"}}, kind: oauth.Limited, words: ": ", retry: time.Hour},
		{name: "429 with a far date", status: 429, header: http.Header{"Retry-After": {"Fri, 02 Jan 2099 12:02:00 GMT"}}, kind: oauth.Limited, words: ": ", retry: time.Hour},
		{name: "429 with nonsense", status: 429, header: http.Header{"Retry-After": {"-5"}}, kind: oauth.Limited, words: ": "},
		{name: "429 that says invalid_grant", status: 429, body: `{"error":"invalid_grant"}`, kind: oauth.Limited, words: "invalid_grant: "},
		{name: "503 with Retry-After", status: 503, header: http.Header{"Retry-After": {"1"}}, body: page, kind: oauth.Limited, words: ": ", retry: time.Second},
		{name: "a limit with 200", config: slack, body: `{"ok":false,"error":"ratelimited"}`, kind: oauth.Limited, words: "ratelimited: "},
		// ambiguous
		{name: "503 alone", status: 503, kind: oauth.Ambiguous, words: ": "},
		{name: "500 with a page", status: 500, body: page, kind: oauth.Ambiguous, words: ": "},
		{name: "500 that says invalid_grant", status: 500, body: `{"error":"invalid_grant"}`, kind: oauth.Ambiguous, words: "invalid_grant: "},
		{name: "a 400 page of a firewall", status: 400, body: page, kind: oauth.Ambiguous, words: ": "},
		{name: "a 403 page of a firewall", status: 403, body: page, kind: oauth.Ambiguous, words: ": "},
		{name: "an empty 400", status: 400, kind: oauth.Ambiguous, words: ": "},
		{name: "invalid_request without a rule", status: 400, body: `{"error":"invalid_request"}`, kind: oauth.Ambiguous, words: "invalid_request: "},
		{name: "a word that nobody knows", status: 400, body: `{"error":"internal_hiccup"}`, kind: oauth.Ambiguous, words: "internal_hiccup: "},
		{name: "a failure with 200 without a word", config: slack, body: `{"ok":false}`, kind: oauth.Ambiguous, words: ": "},
		{name: "a failure with 200 without the member", config: slack, body: `{"access_token":"a"}`, kind: oauth.Ambiguous, words: ": "},
		{name: "an error object with 200", body: `{"error":{"type":"OAuthException","message":"Session has expired","code":190}}`, kind: oauth.Ambiguous, words: "190: Session has expired"},
		{name: "an error twice", body: `{"error":"","error":"invalid_grant","access_token":"a"}`, kind: oauth.Ambiguous, words: ": "},
		{name: "a page with 200", body: page, kind: oauth.Ambiguous, words: ": "},
		{name: "nothing with 200", kind: oauth.Ambiguous, words: ": "},
		{name: "nothing with 204", status: 204, kind: oauth.Ambiguous, words: ": "},
		{name: "text with 200", body: "OK", kind: oauth.Ambiguous, words: ": "},
		{name: "an array", body: `[{"access_token":"a"}]`, kind: oauth.Ambiguous, words: ": "},
		{name: "JSON that breaks off", body: `{"access_token":"a","refresh_tok`, kind: oauth.Ambiguous, words: ": "},
		{name: "JSON with more behind it", body: `{"access_token":"a"}{"access_token":"b"}`, kind: oauth.Ambiguous, words: ": "},
		{name: "JSON that is too deep", body: `{"access_token":"a","x":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`, kind: oauth.Ambiguous, words: ": "},
		{name: "JSON in UTF-16", body: "\xff\xfe{\x00\"\x00a\x00\"\x00", kind: oauth.Ambiguous, words: ": "},
		{name: "10 MB", body: `{"access_token":"a","x":"` + strings.Repeat("x", 10<<20) + `"}`, kind: oauth.Ambiguous, words: ": "},
		// invalid
		{name: "no access_token", body: `{"token_type":"bearer","message":"half done"}`, kind: oauth.Invalid, words: ": half done"},
		{name: "a form without access_token", body: `a=b`, kind: oauth.Invalid, words: ": "},
		{name: "an empty access_token", body: `{"access_token":""}`, kind: oauth.Invalid, words: ": "},
		{name: "a number for a token", body: `{"access_token":12345678901234567890}`, kind: oauth.Invalid, words: ": "},
		{name: "an object for a token", body: `{"access_token":{"value":"a"}}`, kind: oauth.Invalid, words: ": "},
		{name: "a number for a refresh token", body: `{"access_token":"a","refresh_token":7}`, kind: oauth.Invalid, words: ": "},
		{name: "two access tokens", body: `{"access_token":"a","access_token":"b"}`, kind: oauth.Invalid, words: ": "},
		{name: "two access tokens in a form", body: `access_token=a&access_token=b`, kind: oauth.Invalid, words: ": "},
		{name: "two refresh tokens", body: `{"access_token":"a","refresh_token":"b","refresh_token":"b"}`, kind: oauth.Invalid, words: ": "},
		{name: "two parents of a token", config: func(c *oauth.Config) { c.Reply.AccessToken = "/d/t" }, body: `{"d":{"t":"a"},"d":{"t":"b"}}`, kind: oauth.Invalid, words: ": "},
		{name: "two lifetimes", body: `{"access_token":"a","expires_in":1,"expires_in":2}`, kind: oauth.Invalid, words: ": "},
		{name: "a line break in a token", body: `{"access_token":"a\r\nX-Evil: 1"}`, kind: oauth.Invalid, words: ": "},
		{name: "a NUL in a token", body: `{"access_token":"a\u0000"}`, kind: oauth.Invalid, words: ": "},
		{name: "a letter outside ASCII in a token", body: `{"access_token":"ä"}`, kind: oauth.Invalid, words: ": "},
		{name: "half a surrogate in a token", body: `{"access_token":"\ud800"}`, kind: oauth.Invalid, words: ": "},
		{name: "a token of 1 MB", body: `{"access_token":"` + strings.Repeat("x", 1000<<10) + `"}`, kind: oauth.Invalid, words: ": "},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{status: test.status, header: test.header, body: test.body}
			client := serve(t, server)
			if test.config != nil {
				test.config(&client.Config)
			}
			_, err := client.Refresh(t.Context(), refreshToken)
			e := wantError(t, err, test.kind)
			equal(t, "words", e.Code+": "+e.Description, test.words)
			equal(t, "retry after", e.RetryAfter, test.retry)
			equal(t, "status", e.Status, cmp.Or(server.status, http.StatusOK))
			equal(t, "op and written", []any{e.Op, e.Written}, []any{oauth.OpRefresh, true})
			server.last(t)
		})
	}
}

func TestMergeKeepsWhatARefreshLeavesOut(t *testing.T) {
	old := oauth.Token{AccessToken: secret.New("a1"), RefreshToken: secret.New("r1"), Scopes: []string{"x"}, ScopesGiven: true}
	for _, test := range []struct{ name, body, refresh, scopes string }{
		{"nothing new", `{"access_token":"a2"}`, "r1", "[x]"},
		{"rotated", `{"access_token":"a2","refresh_token":"r2"}`, "r2", "[x]"},
		{"narrowed", `{"access_token":"a2","scope":"y"}`, "r1", "[y]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := serve(t, &transcript{body: test.body}).Refresh(t.Context(), old.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			merged := got.Merge(old)
			equal(t, "access token", merged.AccessToken.Reveal(), "a2")
			equal(t, "refresh token", merged.RefreshToken.Reveal(), test.refresh)
			equal(t, "scopes", merged.Scopes, test.scopes)
		})
	}
}

func succeedsBy(c *oauth.Config, pointer, equals string) {
	c.TokenShape.Success = []oauth.Rule{{JSON: pointer, Equals: equals}}
	c.RefreshShape.Success = c.TokenShape.Success
}
