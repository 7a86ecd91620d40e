package oauth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// later is a text that is one fact of the request.
func later(name string) oauth.Text {
	return func(l oauth.Lookup) (oauth.Fact, error) {
		f, ok := l(name)
		if !ok {
			return f, errors.New(name + " has no value")
		}
		return f, nil
	}
}

func TestRequestsTakeTheProvidersShape(t *testing.T) {
	for _, test := range []struct {
		name   string
		config func(*oauth.Config)
		line   string // method and URI
		header map[string]string
		sent   string
	}{
		{"parameters have the provider's names", func(c *oauth.Config) {
			c.ClientAuth, c.PKCE = oauth.Post, oauth.PKCEOff
			c.TokenShape.Rename = map[string]string{"client_id": "client_key", "code": "auth_code", "redirect_uri": "redirectUri"}
		}, "POST /token", nil, "grant_type=authorization_code&redirectUri=https%3A%2F%2Fbehalf.example%2Fcallback%2Fprf_1&auth_code=the-code%2F%2B+1&client_key=client%3A1&client_secret=s3cr%3At%2F%2B+%25x"},
		{"parameters are left out, and set otherwise", func(c *oauth.Config) {
			c.TokenShape.Omit = []string{"redirect_uri", "grant_type", "code_verifier"}
			c.TokenParams = []oauth.Param{{Name: "grant_type", Value: "own"}}
		}, "POST /token", nil, "grant_type=own&code=the-code%2F%2B+1"},
		{"the query carries all", func(c *oauth.Config) {
			c.TokenURL += "?a=1"
			c.TokenBody, c.PKCE = oauth.QueryBody, oauth.PKCEOff
		}, "POST /token?a=1&grant_type=authorization_code&redirect_uri=https%3A%2F%2Fbehalf.example%2Fcallback%2Fprf_1&code=the-code%2F%2B+1", map[string]string{"Content-Type": ""}, ""},
		{"GET has them in the query by itself", func(c *oauth.Config) {
			c.TokenShape.Method, c.TokenShape.Omit, c.PKCE = "GET", []string{"redirect_uri"}, oauth.PKCEOff
		}, "GET /token?grant_type=authorization_code&code=the-code%2F%2B+1", nil, ""},
		{"no body at all", func(c *oauth.Config) {
			c.TokenBody, c.TokenShape.Headers = oauth.NoBody, []oauth.Param{{Name: "X-Code", Text: later("code")}}
		}, "POST /token", map[string]string{"X-Code": "the-code/+ 1"}, ""},
		{"the secret is the user of Basic", func(c *oauth.Config) {
			c.TokenShape.Auth, c.TokenBody = oauth.BasicSecret, oauth.NoBody
		}, "POST /token", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(oddSecret[:4]+":"))}, ""},
		{"one request proves the client in its own way", func(c *oauth.Config) {
			c.TokenShape.Auth, c.PKCE, c.TokenShape.Omit = oauth.None, oauth.PKCEOff, []string{"redirect_uri"}
		}, "POST /token", map[string]string{"Authorization": ""}, "grant_type=authorization_code&code=the-code%2F%2B+1&client_id=client%3A1"},
		{"headers may replace Accept and sign the body", func(c *oauth.Config) {
			c.TokenBody, c.PKCE, c.TokenShape.Omit = oauth.JSON, oauth.PKCEOff, []string{"redirect_uri"}
			c.TokenShape.Headers = []oauth.Param{{Name: "Accept", Value: "text/plain"}, {Name: "X-Time", Text: later("requestTimeMs")}, {Name: "X-Body", Text: later("requestBody")}}
		}, "POST /token", map[string]string{"Accept": "text/plain", "X-Time": fmt.Sprint(noon.UnixMilli()), "X-Body": `{"code":"the-code/+ 1","grant_type":"authorization_code"}`}, `{"code":"the-code/+ 1","grant_type":"authorization_code"}`},
		{"the provider's own grant and alias", func(c *oauth.Config) {
			c.GrantType, c.Authorize.RedirectURI, c.PKCE = "auth_code", "Our_RuName", oauth.PKCEOff
		}, "POST /token", nil, "grant_type=auth_code&redirect_uri=Our_RuName&code=the-code%2F%2B+1"},
		{"what the request knows can be a parameter", func(c *oauth.Config) {
			c.PKCE, c.TokenShape.Omit = oauth.PKCEOff, []string{"redirect_uri"}
			c.TokenParams = []oauth.Param{{Name: "state", Text: later("state")}, {Name: "at", Text: later("redirectUri")}}
		}, "POST /token", nil, "grant_type=authorization_code&state=" + url.QueryEscape(attempt.State.Reveal()) + "&at=https%3A%2F%2Fbehalf.example%2Fcallback%2Fprf_1&code=the-code%2F%2B+1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{body: granted}
			client := serve(t, server)
			if strings.Contains(test.name, "user of Basic") {
				client.ClientSecret = secret.New(oddSecret[:4])
			}
			test.config(&client.Config)
			if _, err := client.Exchange(t.Context(), code, attempt); err != nil {
				t.Fatal(err)
			}
			r := server.last(t)
			equal(t, "line", r.Method+" "+r.RequestURI, test.line)
			equal(t, "body", server.sent, test.sent)
			for name, want := range test.header {
				equal(t, name, r.Header.Get(name), want)
			}
		})
	}
}

func TestRepliesStandWhereTheProviderPutsThem(t *testing.T) {
	jwt := "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, noon.Add(2*time.Hour).Unix())) + ".x"
	never := time.Duration(-1)
	for _, test := range []struct {
		name    string
		config  func(*oauth.Config)
		status  int
		body    string
		access  string
		life    time.Duration
		refresh time.Duration // of the refresh token
		scopes  string
	}{
		{name: "a lifetime in milliseconds", config: func(c *oauth.Config) { c.Reply.ExpiresUnit = "ms" }, body: `{"access_token":"a","expires_in":3600000}`, access: "a", life: time.Hour},
		{name: "a lifetime in minutes, as text", config: func(c *oauth.Config) { c.Reply.ExpiresUnit = "min" }, body: `{"access_token":"a","expires_in":"90"}`, access: "a", life: 90 * time.Minute},
		{name: "a lifetime in hours", config: func(c *oauth.Config) { c.Reply.ExpiresUnit = "h" }, body: `{"access_token":"a","expires_in":2}`, access: "a", life: 2 * time.Hour},
		{name: "an end in seconds since 1970", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "at" }, body: fmt.Sprintf(`{"access_token":"a","expires_in":%d}`, noon.Unix()+60), access: "a", life: time.Minute},
		{name: "an end in milliseconds since 1970", config: func(c *oauth.Config) {
			c.Reply.ExpiresFormat, c.Reply.ExpiresUnit, c.Reply.ExpiresIn = "at", "ms", "/expiresAt"
		},
			body: fmt.Sprintf(`{"access_token":"a","expiresAt":"%d"}`, noon.UnixMilli()+1500), access: "a", life: 1500 * time.Millisecond},
		{name: "an end that has passed was not told", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "at" }, body: `{"access_token":"a","expires_in":1000}`, access: "a", life: never},
		{name: "a date", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "rfc3339" }, body: `{"access_token":"a","expires_in":"2026-01-02T14:00:00+01:00"}`, access: "a", life: time.Hour},
		{name: "a date without a zone", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "rfc3339" }, body: `{"access_token":"a","expires_in":"2026-01-02 13:00:00.5"}`, access: "a", life: time.Hour + 500*time.Millisecond},
		{name: "a date that is none", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "rfc3339" }, body: `{"access_token":"a","expires_in":"tomorrow"}`, access: "a", life: never},
		{name: "a date in a thousand years is ten years", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "rfc3339" }, body: `{"access_token":"a","expires_in":"3026-01-02T13:00:00Z"}`, access: "a", life: 3650 * 24 * time.Hour},
		{name: "the token's own exp", config: func(c *oauth.Config) { c.Reply.ExpiresFormat = "jwt" }, body: `{"access_token":"` + jwt + `","expires_in":5}`, access: jwt, life: 2 * time.Hour},
		{name: "no exp, and the default", config: func(c *oauth.Config) { c.Reply.ExpiresFormat, c.DefaultLifetime = "jwt", time.Minute }, body: `{"access_token":"a.b.c"}`, access: "a.b.c", life: time.Minute},
		{name: "the refresh token's lifetime", config: func(c *oauth.Config) { c.Reply.RefreshExpiresIn = "/refresh_token_expires_in" }, body: `{"access_token":"a","expires_in":60,"refresh_token":"r","refresh_token_expires_in":600}`, access: "a", life: time.Minute, refresh: 10 * time.Minute},
		{name: "the refresh token's lifetime beside a JWT", config: func(c *oauth.Config) { c.Reply.RefreshExpiresIn, c.Reply.ExpiresFormat = "/r", "jwt" }, body: `{"access_token":"` + jwt + `","r":600}`, access: jwt, life: 2 * time.Hour, refresh: 10 * time.Minute},
		{name: "scopes by a separator of its own", config: func(c *oauth.Config) { c.Reply.ScopeSeparator = "|" }, body: `{"access_token":"a","scope":"x:1|y,2"}`, access: "a", life: never, scopes: "[x:1 y,2]"},
		{name: "nested scopes", config: func(c *oauth.Config) { c.Reply.Scope = "/data/scopes" }, body: `{"access_token":"a","data":{"scopes":["x","y"]}}`, access: "a", life: never, scopes: "[x y]"},
		{name: "an array as the reply", config: func(c *oauth.Config) { c.Reply.AccessToken = "/0/token" }, body: `[{"token":"a"}]`, access: "a", life: never},
		{name: "text as the reply", config: func(c *oauth.Config) { c.Reply.AccessToken = "/" }, body: "abc.def\n", access: "abc.def", life: never},
		{name: "a JSON string as the reply", config: func(c *oauth.Config) { c.Reply.AccessToken = "/" }, body: `"abc"`, access: "abc", life: never},
		{name: "a success by a rule with another status", config: func(c *oauth.Config) {
			c.TokenShape.Success = []oauth.Rule{{Status: 400}, {JSON: "/ok", Equals: "true"}}
		}, status: 400, body: `{"ok":true,"access_token":"a","error":"x"}`, access: "a", life: never},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, &transcript{status: test.status, body: test.body})
			test.config(&client.Config)
			got, err := client.Exchange(t.Context(), code, attempt)
			if err != nil {
				t.Fatal(err)
			}
			life, refresh := never, time.Duration(0)
			if !got.ExpiresAt.IsZero() {
				life = got.ExpiresAt.Sub(noon)
			}
			if !got.RefreshExpiresAt.IsZero() {
				refresh = got.RefreshExpiresAt.Sub(noon)
			}
			equal(t, "token", []any{got.AccessToken.Reveal(), life, refresh}, []any{test.access, test.life, test.refresh})
			if test.scopes != "" {
				equal(t, "scopes", got.Scopes, test.scopes)
			}
		})
	}
}

func TestErrorsMeanWhatTheProfileSays(t *testing.T) {
	lapsed := func(r oauth.Rule) func(*oauth.Config) {
		return func(c *oauth.Config) { c.RefreshShape.Errors = []oauth.ErrorRule{{Rule: r, Kind: oauth.Refused}} }
	}
	for _, test := range []struct {
		name   string
		config func(*oauth.Config)
		status int
		header http.Header
		body   string
		kind   oauth.Kind
		retry  time.Duration
	}{
		{name: "a word of its own", config: lapsed(oauth.Rule{JSON: "/error", Equals: "invalid_request"}), status: 400, body: `{"error":"invalid_request"}`, kind: oauth.Refused},
		{name: "a part of a sentence, whatever its case", config: lapsed(oauth.Rule{JSON: "/error_description", Contains: "REVOKED"}), status: 400, body: `{"error":"x","error_description":"Token was revoked."}`, kind: oauth.Refused},
		{name: "a part of a list", config: lapsed(oauth.Rule{JSON: "/error_codes", Contains: "7000222"}), status: 400, body: `{"error":"x","error_codes":[1,7000222]}`, kind: oauth.Refused},
		{name: "text in a body that is no JSON", config: lapsed(oauth.Rule{Status: 403, Contains: "session expired"}), status: 403, body: `<p>Session expired</p>`, kind: oauth.Refused},
		{name: "a header", config: lapsed(oauth.Rule{Header: "X-Error", Contains: "gone"}), status: 500, header: http.Header{"X-Error": {"it is gone"}}, kind: oauth.Refused},
		{name: "an error with 200 without an error member", config: lapsed(oauth.Rule{JSON: "/errors/0/code", Equals: "602"}), body: `{"errors":[{"code":"602"}]}`, kind: oauth.Refused},
		{name: "a rule that does not hold", config: lapsed(oauth.Rule{Status: 401, JSON: "/error", Equals: "invalid_request"}), status: 400, body: `{"error":"invalid_request"}`, kind: oauth.Ambiguous},
		{name: "the first rule decides", config: func(c *oauth.Config) {
			c.RefreshShape.Errors = []oauth.ErrorRule{{Rule: oauth.Rule{Status: 400}, Kind: oauth.Transient}, {Rule: oauth.Rule{JSON: "/error"}, Kind: oauth.Refused}}
		}, status: 400, body: `{"error":"invalid_grant"}`, kind: oauth.Transient},
		{name: "an empty rule never holds", config: lapsed(oauth.Rule{}), status: 400, body: `{"error":"x"}`, kind: oauth.Ambiguous},
		{name: "a success that is not said is an error", config: func(c *oauth.Config) { c.RefreshShape.Success = []oauth.Rule{{JSON: "/ok", Equals: "true"}} }, body: `{"access_token":"a","ok":false,"error":"invalid_grant"}`, kind: oauth.Refused},
		{name: "a wait in a header of its own", config: func(c *oauth.Config) {
			c.Reply.RetryAfter, c.Reply.RetryFormat, c.RefreshShape.Reply = "X-RateLimit-Reset", "at", c.Reply
		}, status: 429,
			header: http.Header{"X-Ratelimit-Reset": {fmt.Sprint(noon.Unix() + 40)}}, kind: oauth.Limited, retry: 40 * time.Second},
		{name: "a wait in the body, in milliseconds", config: func(c *oauth.Config) { c.Reply.RetryAfter, c.Reply.RetryUnit = "/retry/in", "ms" }, status: 429, body: `{"retry":{"in":2500}}`, kind: oauth.Limited, retry: 2500 * time.Millisecond},
		{name: "a wait that is not told is read from the standard header", config: func(c *oauth.Config) { c.Reply.RetryAfter = "X-Own" }, status: 429, header: http.Header{"Retry-After": {"3"}}, kind: oauth.Limited, retry: 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, &transcript{status: test.status, header: test.header, body: test.body})
			test.config(&client.Config)
			_, err := client.Refresh(t.Context(), refreshToken)
			equal(t, "retry", wantError(t, err, test.kind).RetryAfter, test.retry)
		})
	}
}

func TestAuthorizationRequestsTakeTheProvidersShape(t *testing.T) {
	sum := "S256-hex"
	for _, test := range []struct {
		name   string
		config func(*oauth.Config)
		want   string // a part of the URL
		not    string
	}{
		{"names of its own", func(c *oauth.Config) {
			c.Authorize.Rename = map[string]string{"client_id": "client_key", "state": "customField", "redirect_uri": "redirectUrl"}
		}, "client_key=client%3A1", "client_id"},
		{"the state is sent under its own name", func(c *oauth.Config) { c.Authorize.Rename = map[string]string{"state": "customField"} }, "customField=the-state", "&state="},
		{"response_type is left out", func(c *oauth.Config) { c.Authorize.Omit = []string{"response_type"} }, "client_id=", "response_type"},
		{"the state cannot be left out", func(c *oauth.Config) { c.Authorize.Omit = []string{"state"} }, "state=the-state", "§"},
		{"another response type", func(c *oauth.Config) { c.Authorize.ResponseType = "auth_code" }, "response_type=auth_code", "§"},
		{"an alias of the redirect URI", func(c *oauth.Config) { c.Authorize.RedirectURI = "My-RuName" }, "redirect_uri=My-RuName", "behalf.example"},
		{"scopes as they stand", func(c *oauth.Config) { c.ScopeSeparator, c.Authorize.Raw = "+", []string{"scope"} }, "scope=read+write", "%2B"},
		{"a route behind #", func(c *oauth.Config) {
			c.AuthorizationURL, c.Authorize.Fragment = "https://as.example/app?x=1#/oauth/authorize?y=2&state=fixed", true
		}, "https://as.example/app?x=1#/oauth/authorize?y=2&response_type=code", "fixed"},
		{"a plain challenge", func(c *oauth.Config) { c.PKCEMethod = "plain" }, "code_challenge=" + attempt.CodeVerifier.Reveal() + "&code_challenge_method=plain", "§"},
		{"a challenge in hexadecimal", func(c *oauth.Config) { c.PKCEMethod = sum }, "code_challenge_method=S256", "code_challenge=" + attempt.CodeVerifier.Reveal()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := oauth.Config{ClientID: "client:1", AuthorizationURL: "https://as.example/authorize", RedirectURI: "https://behalf.example/cb", Scopes: []string{"read", "write"}}
			test.config(&c)
			a := attempt
			a.State = secret.New("the-state")
			got, _, err := c.AuthorizationRequest(a)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got, test.want) || strings.Contains(got, test.not) {
				t.Fatalf("%s\nlacks %s or has %s", got, test.want, test.not)
			}
		})
	}
	raw := oauth.Config{AuthorizationURL: "https://as.example/", Scopes: []string{"a&state=x"}, Authorize: oauth.AuthorizeShape{Raw: []string{"scope"}}}
	if got, _, err := raw.AuthorizationRequest(attempt); err == nil {
		t.Fatal("a raw value moved a border:", got)
	}
}

func TestCallbacksTakeTheProvidersShape(t *testing.T) {
	for _, test := range []struct {
		name  string
		shape oauth.CallbackShape
		query string
		code  string
		kind  oauth.Kind
	}{
		{"a code under another name", oauth.CallbackShape{CodeParam: "spapi_oauth_code"}, "spapi_oauth_code=c&state=s&code=other", "c", ""},
		{"a state under another name", oauth.CallbackShape{StateParam: "customField"}, "code=c&customField=s", "c", ""},
		{"a code that is encoded twice", oauth.CallbackShape{Decode: true}, "code=a%252Fb&state=s", "a/b", ""},
		{"a code that is wrongly encoded", oauth.CallbackShape{Decode: true}, "code=a%25zz&state=s", "", oauth.Protocol},
		{"a line break behind two encodings", oauth.CallbackShape{Decode: true}, "code=a%250a&state=s", "", oauth.Protocol},
		{"a refusal under another name", oauth.CallbackShape{ErrorParams: []string{"error_reason", "error_message"}}, "error_reason=user_denied&error_message=No&state=s", "", oauth.Declined},
		{"nothing means no", oauth.CallbackShape{EmptyDeclined: true}, "state=s", "", oauth.Declined},
		{"nothing means nothing where the profile does not say so", oauth.CallbackShape{}, "state=s", "", oauth.Protocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, _ := url.ParseQuery(test.query)
			c := oauth.Config{CallbackShape: test.shape}
			cb, err := c.ParseCallback(v)
			if err == nil {
				err = c.CheckCallback(cb)
			}
			if test.kind != "" {
				wantError(t, err, test.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "code and state", cb.Code.Reveal()+" "+cb.State.Reveal(), test.code+" s")
		})
	}
}

func TestAStateIsFoundWhereverTheProviderPutsIt(t *testing.T) {
	own := oauth.NewAttempt().State.Reveal()
	for query, want := range map[string]string{
		"code=c&state=s":                     "[s]",
		"code=c&customField=" + own:          "[" + own + "]",
		"a=" + own + "&state=s":              "[s " + own + "]",
		"code=c&customField=short":           "[]",
		"state=s&state=t":                    "[]",
		"a=" + own + "x&b=" + own[:42]:       "[]",
		"a=" + own[:42] + "%0a&code=c&state": "[]",
	} {
		v, _ := url.ParseQuery(query)
		var found []string
		for _, s := range oauth.States(v) {
			found = append(found, s.Reveal())
		}
		equal(t, query, found, want)
	}
}

func TestWhatACallbackTellsIsKept(t *testing.T) {
	c := oauth.Config{CallbackShape: oauth.CallbackShape{Capture: []oauth.Capture{{Name: "realm", Param: "realmId", Required: true, Check: func(s string) (string, error) {
		if s == "evil" {
			return "", errors.New("is evil")
		}
		return strings.ToUpper(s), nil
	}}, {Name: "region", Param: "region"}}}}
	for query, want := range map[string]string{"realmId=a1&x=y": "map[realm:{A1 false []}]", "realmId=a1&region=eu": "map[realm:{A1 false []} region:{eu false []}]",
		"": "error", "realmId=a&realmId=b": "error", "realmId=evil": "error", "realmId=a%0ab": "error", "realmId=" + strings.Repeat("x", 9<<10): "error"} {
		v, _ := url.ParseQuery(query)
		facts, err := c.Kept(v)
		got := fmt.Sprint(facts)
		if err != nil {
			got = "error"
			wantError(t, err, oauth.Protocol)
		}
		equal(t, query, got, want)
	}
}

// script answers one request after the other.
type script struct {
	answers []string // status space body
	header  http.Header
	asked   []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+r.Form.Encode()+" "+r.Header.Get("Authorization"))
	if len(s.asked) > len(s.answers) {
		http.Error(w, "no more", http.StatusTeapot)
		return
	}
	for name, values := range s.header {
		w.Header()[name] = values
	}
	_, _ = w.Write([]byte(s.answers[len(s.asked)-1]))
}

// below is a text for a URL of the server with a fact in its query.
func below(client oauth.Client, path, fact string) oauth.Text {
	base := strings.TrimSuffix(client.TokenURL, "/token")
	return func(l oauth.Lookup) (oauth.Fact, error) {
		if fact == "" {
			return oauth.Fact{Text: base + path}, nil
		}
		f, err := later(fact)(l)
		return oauth.Fact{Text: base + path + "?" + fact + "=" + url.QueryEscape(f.Text)}, err
	}
}

func TestStepsStandAroundTheTokenRequest(t *testing.T) {
	server := &script{answers: []string{`{"session":"s1"}`, `{"access_token":"short","refresh_token":"r","realm":"x9"}`, `{"access_token":"long","expires_in":60}`, `{"rest":"https://r9.example"}`}}
	client := serve(t, server)
	client.ClientAuth, client.PKCE = oauth.Post, oauth.PKCEOff
	client.BeforeToken = []oauth.Step{{Name: "discover", URL: below(client, "/discover", "code"), Shape: oauth.Shape{Method: "GET", Capture: []oauth.Capture{{Name: "session", JSON: "/session", Required: true, Secret: true}}}}}
	client.TokenParams = []oauth.Param{{Name: "session", Text: later("session")}}
	client.TokenShape = oauth.Shape{Omit: []string{"redirect_uri", "client_secret"}, Capture: []oauth.Capture{{Name: "realm", JSON: "/realm"}}}
	after := []oauth.Step{
		{Name: "extend", URL: below(client, "/extend", ""), Token: true, Params: []oauth.Param{{Name: "secret", Text: later("clientSecret")}, {Name: "old", Text: later("accessToken")}}},
		{Name: "login", URL: below(client, "/login", "realm"), Shape: oauth.Shape{Method: "GET", Auth: oauth.Bearer, Capture: []oauth.Capture{{Name: "rest", JSON: "/rest"}}}},
	}
	got, err := client.Exchange(t.Context(), code, attempt)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = client.Settle(t.Context(), got, after); err != nil {
		t.Fatal(err)
	}
	equal(t, "asked", strings.Join(server.asked, "\n"), `GET /discover code=the-code%2F%2B+1 
POST /token client_id=client%3A1&code=the-code%2F%2B+1&grant_type=authorization_code&session=s1 
POST /extend old=short&secret=s3cr%3At%2F%2B+%25x 
GET /login realm=x9 Bearer long`)
	equal(t, "token", []any{got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.ExpiresAt.Sub(noon), got.Captured["rest"].Text, got.Captured["realm"].Text}, []any{"long", "r", time.Minute, "https://r9.example", "x9"})
}

func TestAStepThatFailsKeepsTheToken(t *testing.T) {
	server := &script{answers: []string{`{"error":"invalid_grant"}`}}
	client := serve(t, server)
	old := oauth.Token{AccessToken: secret.New("good"), RefreshToken: secret.New("r")}
	got, err := client.Settle(t.Context(), old, []oauth.Step{{Name: "login", URL: below(client, "/login", "")}})
	e := wantError(t, err, oauth.Refused)
	equal(t, "op", e.Op, "step login")
	equal(t, "token", got.AccessToken.Reveal()+got.RefreshToken.Reveal(), "goodr")
	_, err = client.Settle(t.Context(), old, []oauth.Step{{Name: "nowhere", URL: later("unknown")}})
	equal(t, "written", wantError(t, err, oauth.ClientFault).Written, false)
}

func TestSlotsHaveTokensOfTheirOwn(t *testing.T) {
	server := &transcript{body: `{"access_token":"bot","refresh_token":"rb","expires_in":100,"scope":"chat","authed_user":{"access_token":"user","refresh_token":"ru","expires_in":50,"scope":"me,you"}}`}
	client := serve(t, server)
	client.Slots = []oauth.Slot{{Name: "user", Reply: oauth.ReplyPaths{AccessToken: "/authed_user/access_token", RefreshToken: "/authed_user/refresh_token", ExpiresIn: "/authed_user/expires_in", Scope: "/authed_user/scope"}},
		{Name: "admin", Reply: oauth.ReplyPaths{AccessToken: "/admin/access_token"}}}
	got, err := client.Exchange(t.Context(), code, attempt)
	if err != nil {
		t.Fatal(err)
	}
	user := got.Slots["user"]
	equal(t, "slots", []any{len(got.Slots), user.AccessToken.Reveal(), user.RefreshToken.Reveal(), user.Scopes, user.ExpiresAt.Sub(noon), got.EndsFirst().Sub(noon)}, []any{1, "user", "ru", "[me you]", 50 * time.Second, 50 * time.Second})
	server.body = `{"access_token":"bot","refresh_token":"rb","authed_user":{"access_token":"user"}}`
	client.Slots[0].Reply = oauth.ReplyPaths{AccessToken: "/authed_user/access_token"}
	if got, err = client.Exchange(t.Context(), code, attempt); err != nil {
		t.Fatal(err)
	}
	equal(t, "a slot never takes the grant's refresh token", got.Slots["user"].RefreshToken.Empty(), true)
}

func TestASlotIsDerivedWithTheGrantsRefreshToken(t *testing.T) {
	server := &script{answers: []string{`{"access_token":"for-graph","refresh_token":"r2","expires_in":10}`}}
	client := serve(t, server)
	client.RefreshParams = []oauth.Param{{Name: "resource", Value: "one"}}
	client.Slots = []oauth.Slot{{Name: "graph", Derive: []oauth.Param{{Name: "resource", Value: "two"}}}}
	got, err := client.Settle(t.Context(), oauth.Token{AccessToken: secret.New("a"), RefreshToken: secret.New("r1")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(server.asked[0], "grant_type=refresh_token&refresh_token=r1&resource=two ") {
		t.Fatal(server.asked)
	}
	equal(t, "tokens", []any{got.AccessToken.Reveal(), got.RefreshToken.Reveal(), got.Slots["graph"].AccessToken.Reveal(), got.Slots["graph"].RefreshToken.Empty()}, []any{"a", "r2", "for-graph", true})
}

func TestTheAccessTokenCanRenewItself(t *testing.T) {
	server := &script{answers: []string{granted}}
	client := serve(t, server)
	client.RefreshByAccess, client.RefreshGrantType, client.ClientAuth = true, "ig_refresh_token", oauth.Post
	client.RefreshShape = oauth.Shape{Method: "GET", Omit: []string{"client_id", "client_secret"}}
	if _, err := client.Renew(t.Context(), oauth.Token{AccessToken: secret.New("a1")}); err != nil {
		t.Fatal(err)
	}
	equal(t, "asked", server.asked[0], "GET /token access_token=a1&grant_type=ig_refresh_token ")
}

func TestTheFirstRequestCanBeMadeAgain(t *testing.T) {
	server := &script{answers: []string{granted}}
	client := serve(t, server)
	client.ClientAuth, client.GrantType = oauth.Post, "client_credentials"
	client.TokenShape.Omit = []string{"client_id", "client_secret"}
	client.TokenParams = []oauth.Param{{Name: "account", Value: "7"}}
	if _, err := client.Grant(t.Context(), nil, "a", "b"); err != nil {
		t.Fatal(err)
	}
	equal(t, "asked", server.asked[0], "POST /token account=7&grant_type=client_credentials&scope=a+b ")
}

func TestARevocationFollowsTheRecipe(t *testing.T) {
	server := &transcript{body: `{"ok":true,"revoked":true}`}
	client := serve(t, server)
	client.RevokeBody = oauth.JSON
	client.RevokeShape = oauth.Shape{Method: "DELETE", Rename: map[string]string{"token": "access_token"}, Omit: []string{"token_type_hint"}, Success: []oauth.Rule{{JSON: "/ok", Equals: "true"}}}
	client.RevokeParams = []oauth.Param{{Name: "and", Text: later("refreshToken")}}
	grant := oauth.Token{AccessToken: secret.New("a"), RefreshToken: secret.New("r")}
	if err := client.RevokeOf(t.Context(), grant, grant.AccessToken, "access_token"); err != nil {
		t.Fatal(err)
	}
	r := server.last(t)
	equal(t, "request", r.Method+" "+server.sent, `DELETE {"access_token":"a","and":"r"}`)
	if user, _, ok := r.BasicAuth(); !ok || user == "" {
		t.Fatal("the client did not prove itself")
	}
	server.body, server.requests = `{"ok":false,"error":"token_revoked"}`, nil
	wantError(t, client.RevokeOf(t.Context(), grant, grant.AccessToken, ""), oauth.Refused)
}

func TestIntrospection(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
		want       string
		kind       oauth.Kind
	}{
		{"an active token", fmt.Sprintf(`{"active":true,"exp":%d,"sub":"u1","scope":"a b"}`, noon.Unix()+90), 200, "true 1m30s u1 [a b]", ""},
		{"a token that is not", `{"active":false}`, 200, "false 0s  []", ""},
		{"an answer that does not tell", `{}`, 200, "", oauth.Invalid},
		{"an answer that is no JSON", `<html>`, 200, "", oauth.Invalid},
		{"active as a text", `{"active":"true"}`, 200, "", oauth.Invalid},
		{"a refused client", `{"error":"invalid_client"}`, 401, "", oauth.ClientFault},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{status: test.status, body: test.body}
			client := serve(t, server)
			client.IntrospectionURL = strings.TrimSuffix(client.TokenURL, "token") + "introspect"
			got, err := client.Introspect(t.Context(), secret.New("a/b"))
			equal(t, "request", server.last(t).URL.Path+" "+server.sent, "/introspect token=a%2Fb&token_type_hint=access_token")
			if test.kind != "" {
				wantError(t, err, test.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var left time.Duration
			if !got.ExpiresAt.IsZero() {
				left = got.ExpiresAt.Sub(noon)
			}
			equal(t, "got", fmt.Sprint(got.Active, left, " ", got.Subject, " ", got.Scopes), strings.Replace(test.want, "  []", "  []", 1))
		})
	}
}

func TestCapturesAreCheckedBeforeTheyAreKept(t *testing.T) {
	capture := func(k oauth.Capture) []oauth.Capture { return []oauth.Capture{k} }
	for _, test := range []struct {
		name    string
		capture oauth.Capture
		want    string // "": refused
	}{
		{"a number", oauth.Capture{JSON: "/n"}, "12345678901234567890"},
		{"nested in a list", oauth.Capture{JSON: "/list/1/id"}, "b"},
		{"nothing", oauth.Capture{JSON: "/none"}, "-"},
		{"nothing where it is required", oauth.Capture{JSON: "/none", Required: true}, ""},
		{"an object is no value", oauth.Capture{JSON: "/list", Required: true}, ""},
		{"a member that is there twice", oauth.Capture{JSON: "/twice", Required: true}, ""},
		{"a line break", oauth.Capture{JSON: "/lines"}, ""},
		{"too long", oauth.Capture{JSON: "/long"}, ""},
		{"a header", oauth.Capture{Header: "X-Tenant"}, "t1"},
		{"cookies", oauth.Capture{Header: "Set-Cookie", Secret: true}, "sid=abc; node=3"},
		{"one that the profile does not take", oauth.Capture{JSON: "/n", Check: func(string) (string, error) { return "", errors.New("is not allowed") }}, ""},
		{"the only one of a list", oauth.Capture{Choose: &oauth.Choose{Items: "/one", Value: "/id"}}, "z"},
		{"none of a list", oauth.Capture{Required: true, Choose: &oauth.Choose{Items: "/empty", Value: "/id"}}, ""},
		{"no list", oauth.Capture{Required: true, Choose: &oauth.Choose{Items: "/n", Value: "/id"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{header: http.Header{"X-Tenant": {"t1"}, "Set-Cookie": {"sid=abc; HttpOnly", "gone=x; Max-Age=0", "node=3; Path=/"}},
				body: `{"n":12345678901234567890,"list":[{"id":"a"},{"id":"b"}],"one":[{"id":"z"},{"id":"z"},{}],"empty":[],"twice":1,"twice":2,"lines":"a\nb","long":"` + strings.Repeat("x", 9<<10) + `"}`}
			client := serve(t, server)
			test.capture.Name = "it"
			done, err := client.Step(t.Context(), oauth.Step{Name: "s", URL: below(client, "/s", ""), Shape: oauth.Shape{Capture: capture(test.capture)}}, oauth.Token{}, nil)
			if test.want == "" {
				wantError(t, err, oauth.Invalid)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := done.Facts["it"].Text
			if got == "" {
				got = "-"
			}
			equal(t, "value", got, test.want)
		})
	}
}

func TestAListIsForThePersonToChooseFrom(t *testing.T) {
	server := &transcript{body: `[{"id":"1","name":"Site one"},{"id":"2","name":"\u202eTwo"},{"id":"3"},{"id":"1","name":"again"},{"name":"no id"}]`}
	client := serve(t, server)
	step := oauth.Step{Name: "sites", URL: below(client, "/sites", ""), Shape: oauth.Shape{Method: "GET", Auth: oauth.Bearer, Capture: []oauth.Capture{{Name: "site", Choose: &oauth.Choose{Items: "/", Value: "/id", Label: "/name"}}}}}
	done, err := client.Step(t.Context(), step, oauth.Token{AccessToken: secret.New("a")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "choices", done.Choices, "[{site [{1 Site one} {2 Two} {3 3}]}]")
	equal(t, "facts", len(done.Facts), 0)
	equal(t, "authorization", server.last(t).Header.Get("Authorization"), "Bearer a")
}

func TestAStepSendsWhatItsProfileSaysAndItsOwnProofOnce(t *testing.T) {
	for auth, want := range map[oauth.ClientAuth]string{
		"":         "token=t&client_secret=own",
		oauth.Post: "token=t&client_id=client%3A1&client_secret=s3cr%3At%2F%2B+%25x",
	} {
		server := &transcript{body: `{}`}
		client := serve(t, server)
		step := oauth.Step{Name: "s", URL: below(client, "/s", ""), Params: []oauth.Param{{Name: "token", Value: "t"}, {Name: "client_secret", Value: "own"}}, Shape: oauth.Shape{Auth: auth}}
		if _, err := client.Step(t.Context(), step, oauth.Token{}, nil); err != nil {
			t.Fatal(err)
		}
		equal(t, "sent with "+string(auth), server.sent, want)
	}
}

func TestErrorsOfStepsNeverEchoASecret(t *testing.T) {
	server := &transcript{handle: func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"bad","error_description":"` + r.FormValue("a") + " " + r.FormValue("b") + `"}`))
	}}
	client := serve(t, server)
	client.ClientSecret = secret.New("the-secret")
	hashed := func(oauth.Lookup) (oauth.Fact, error) { return oauth.Fact{Text: "hash-of-it", Secret: true}, nil }
	_, err := client.Step(t.Context(), oauth.Step{Name: "s", URL: below(client, "/s", ""), Params: []oauth.Param{{Name: "a", Text: later("clientSecret")}, {Name: "b", Text: hashed}}}, oauth.Token{}, nil)
	wantError(t, err, oauth.Ambiguous)
	wantSilence(t, err, "the-secret", "hash-of-it")
	if !slices.Contains(strings.Fields(err.Error()), secret.Mask) {
		t.Fatal(err)
	}
}
