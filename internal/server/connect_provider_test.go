package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// fault is a provider that does something wrong, and what comes of it.
type fault struct {
	name string
	sw   simulator.Switches
	want outcome
}

// suffer connects once for each fault.
func (s *stage) suffer(t *testing.T, p behalf.Profile, faults []fault) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s := s.in(t)
			s.behaves(f.sw)
			defer s.behaves(simulator.Switches{})
			of := s.begin(p)
			s.ends(of, s.browser().connects(of), f.want)
		})
	}
}

func TestAConnectSessionWhoseProviderSaysNo(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.suffer(t, s.Profile, []fault{
		{"because the person declined is declined, without fault", simulator.Switches{Deny: true}, outcome{http.StatusOK, saysDeclined, "declined", "declined", "the person said no"}},
		{"because nobody may sign in is declined", simulator.Switches{ErrorCallback: "login_required"}, outcome{http.StatusOK, saysDeclined, "declined", "declined", "login_required"}},
		{"for a fault of its own says so", simulator.Switches{ErrorCallback: "server_error"}, failed("transient", "server_error: said by a switch")},
		{"for now says to come later", simulator.Switches{ErrorCallback: "temporarily_unavailable"}, failed("limited", "temporarily_unavailable")},
		{"to the scope is for an administrator", simulator.Switches{ErrorCallback: "invalid_scope"}, failed("client_fault", "invalid_scope")},
		{"to the client is for an administrator", simulator.Switches{ErrorCallback: "unauthorized_client"}, failed("client_fault", "unauthorized_client")},
		{"in an unknown word keeps the word", simulator.Switches{ErrorCallback: "mars_is_in_the_way"}, failed("refused", "mars_is_in_the_way")},
		{"under another issuer's name is not believed", simulator.Switches{WrongIss: true}, failed("protocol", "iss is not the expected issuer")},
		{"and under another issuer's name does not decline", simulator.Switches{WrongIss: true, Deny: true}, failed("protocol", "iss is not the expected issuer")},
		{"without naming its issuer is not believed", simulator.Switches{MissingIss: true}, failed("protocol", "iss is missing")},
	})
	if n := s.Sim.Stats().TokenRequests; n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

func TestAnIssuerThatIsNotRequiredMayBeMissing(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: func(d *behalf.Definition) { d.OAuth.RequireIss = false }})
	s.behaves(simulator.Switches{MissingIss: true})
	of := s.begin(s.Profile)
	s.connected(of, s.browser().connects(of))

	s.behaves(simulator.Switches{WrongIss: true})
	of = s.begin(s.Profile)
	s.ends(of, s.browser().connects(of), failed("protocol", "iss is not the expected issuer"))
}

func TestAConnectSessionWhoseTokenEndpoint(t *testing.T) {
	t.Parallel()
	thief := newThief(t)
	says := func(status int, body string) simulator.Switches {
		return simulator.Switches{Answer: &simulator.Answer{Status: status, Body: body}}
	}
	s := newStage(t, servertest.Setup{})
	s.suffer(t, s.Profile, []fault{
		{"breaks the connection off is ambiguous", simulator.Switches{TokenReset: true}, failed("ambiguous", "the connection ended without an answer")},
		{"issues and then breaks off is ambiguous", simulator.Switches{CommitThenClose: true}, failed("ambiguous", "the connection ended without an answer")},
		{"issues and then answers 500 is ambiguous", simulator.Switches{CommitThen500: true}, failed("ambiguous", "status 500")},
		{"answers with a page is ambiguous", simulator.Switches{GarbageHTML: true}, failed("ambiguous", "neither a JSON object nor a form")},
		{"answers with nothing is ambiguous", simulator.Switches{EmptyBody: true}, failed("ambiguous", "neither a JSON object nor a form")},
		{"answers with half of it is ambiguous", simulator.Switches{TruncatedJSON: true}, failed("ambiguous", "neither a JSON object nor a form")},
		{"answers with 10 MB is cut off", simulator.Switches{BigBody: true}, failed("ambiguous", "the reply")},
		{"answers with 1 GiB in 1 MiB of gzip is cut off", simulator.Switches{GzipBomb: true}, failed("ambiguous", "the reply")},
		{"nests deeper than anybody reads is ambiguous", simulator.Switches{DeepJSON: true}, failed("ambiguous", "neither a JSON object nor a form")},
		{"says the token twice is not believed", simulator.Switches{DuplicateKeys: true}, failed("invalid", "access_token stands in the reply more than once")},
		{"hides the token somewhere else has none", simulator.Switches{NestedReply: true}, failed("invalid", "no access_token")},
		{"gives a number for a token has none", says(200, `{"access_token":42,"token_type":"Bearer"}`), failed("invalid", "access_token is not a string")},
		{"puts a line end into the token has none", says(200, `{"access_token":"a\r\nX-Injected: 1","token_type":"Bearer"}`), failed("invalid", "access_token holds characters that are not allowed")},
		{"says an error with status 200 has failed", simulator.Switches{Error200: "invalid_grant"}, failed("refused", "invalid_grant: said with status 200")},
		{"refuses the code has refused", says(400, `{"error":"invalid_grant","error_description":"the code is unknown"}`), failed("refused", "invalid_grant: the code is unknown")},
		{"refuses the client is for an administrator", simulator.Switches{InvalidClient: true}, failed("client_fault", "invalid_client: the client secret has expired")},
		{"answers 401 with a page is for an administrator", says(401, `<h1>no</h1>`), failed("client_fault", "status 401")},
		{"is not there is for an administrator", says(404, `<h1>not found</h1>`), failed("client_fault", "status 404")},
		{"asks to come later says so", simulator.Switches{RateLimit: "30"}, failed("limited", "status 429")},
		{"is out of service says so", simulator.Switches{Unavailable: "30"}, failed("limited", "status 503")},
		{"repeats our secret does not get it repeated", says(401, `{"error":"invalid_client","error_description":"the secret `+storetest.ClientSecret+` is wrong"}`), failed("client_fault", "is wrong")},
		{"repeats our secret as a URL does, likewise", says(401, `{"error":"invalid_client","error_description":"`+url.QueryEscape(storetest.ClientSecret)+`"}`), failed("client_fault", "invalid_client")},
		{"redirects within itself is not followed", simulator.Switches{RedirectTokenEndpoint: "/token/moved"}, failed("client_fault", "status 307")},
		{"redirects elsewhere is not followed", simulator.Switches{RedirectTokenEndpoint: thief.URL + "/token"}, failed("client_fault", "status 307")},
	})
	if n := s.Sim.Stats().RedirectsFollowed; n != 0 || thief.visits() != 0 {
		t.Errorf("%d redirects were followed, the thief was called %d times", n, thief.visits())
	}
}

func TestAnOddButHonestTokenReplyConnects(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	for name, sw := range map[string]simulator.Switches{
		"a form":                          {FormReply: true},
		"JSON as plain text":              {JSONAsTextPlain: true},
		"no expires_in":                   {NoExpiresIn: true},
		"expires_in as a text":            {ExpiresInString: true},
		"a lifetime of 30,000 years":      {ExpiresInHuge: true},
		"a negative lifetime":             {ExpiresInNegative: true},
		"a token type in odd case":        {TokenTypeCase: true},
		"no token type":                   {NoTokenType: true},
		"no refresh token":                {NoRefreshTokenOnExchange: true},
		"no scope":                        {NoScope: true},
		"scopes between commas":           {ScopeComma: true},
		"bytes that are no UTF-8":         {WrongCharset: true},
		"status 201":                      {SuccessStatus: 201},
		"a slash behind the redirect URI": {CallbackSlash: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.behaves(sw)
			of := s.begin(s.Profile)
			c := s.connected(of, s.browser().connects(of))
			if c.Status != "active" || c.Account.Subject != "u-1" || c.Refreshable == sw.NoRefreshTokenOnExchange {
				t.Errorf("the connection is %+v", c)
			}
		})
	}
}

func TestAConnectSessionThatIsGrantedLess(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: func(d *behalf.Definition) {
		d.Scope = []behalf.ScopeParam{{Key: "scope", Value: "notes:read offline_access"}, {Key: "scope", Value: "notes:write", Required: true}}
	}})
	s.suffer(t, s.Profile, []fault{
		{"than the profile requires is not connected", simulator.Switches{NarrowScope: "notes:read"}, failed("provider", "fewer scopes than the profile requires")},
	})
	t.Run("of what is not required is connected, and says what is missing", func(t *testing.T) {
		s := s.in(t)
		s.behaves(simulator.Switches{NarrowScope: "notes:write"})
		of := s.begin(s.Profile)
		c := s.connected(of, s.browser().connects(of))
		if strings.Join(c.Scopes.Granted, " ") != "notes:write" || strings.Join(c.Scopes.Missing, " ") != "notes:read offline_access" {
			t.Errorf("scopes %+v", c.Scopes)
		}
	})
}

func TestAConnectSessionWhoseIDToken(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: openID})
	s.suffer(t, s.Profile, []fault{
		{"is missing is not connected", simulator.Switches{NoIDToken: true}, failed("protocol", "malformed")},
		{"is not signed is not connected", simulator.Switches{IDTokenAlgNone: true}, failed("protocol", "The id_token did not succeed")},
		{"is signed with the client secret is not connected", simulator.Switches{IDTokenHS256Secret: true}, failed("protocol", "algorithm that is not allowed")},
		{"is signed with the public key as a secret is not connected", simulator.Switches{IDTokenHS256PublicKey: true}, failed("protocol", "algorithm that is not allowed")},
		{"is signed by an unknown key is not connected", simulator.Switches{IDTokenUnknownKid: true}, failed("protocol", "no key of the server made its signature")},
		{"has a broken signature is not connected", simulator.Switches{IDTokenBadSignature: true}, failed("protocol", "no key of the server made its signature")},
		{"is another issuer's is not connected", simulator.Switches{IDTokenWrongIss: true}, failed("protocol", "iss is not the expected issuer")},
		{"is for another client is not connected", simulator.Switches{IDTokenWrongAud: true}, failed("protocol", "aud does not name this client")},
		{"was given to another party is not connected", simulator.Switches{IDTokenWrongAzp: true}, failed("protocol", "azp is not this client")},
		{"answers another request is not connected", simulator.Switches{IDTokenWrongNonce: true}, failed("protocol", "nonce is not this request's")},
		{"answers no request is not connected", simulator.Switches{IDTokenNoNonce: true}, failed("protocol", "nonce is not this request's")},
		{"has expired is not connected", simulator.Switches{IDTokenExpired: true}, failed("protocol", "exp has passed")},
		{"names nobody is not connected", simulator.Switches{IDTokenNoSub: true}, failed("protocol", "sub is missing")},
		{"belongs to another access token is not connected", simulator.Switches{IDTokenBadAtHash: true}, failed("protocol", "at_hash is not of this access token")},
		{"names somebody else than userinfo is not connected", simulator.Switches{UserinfoOtherSub: true}, failed("protocol", "the reply's subject is not the ID token's")},
		{"is good, with a userinfo that refuses, is not connected", simulator.Switches{APIAlways401: true}, failed("refused", "userinfo")},
	})
	for name, sw := range map[string]simulator.Switches{"RS256": {}, "ES256": {IDTokenES256: true}} {
		t.Run("is signed with "+name+" is connected", func(t *testing.T) {
			s := s.in(t)
			s.behaves(sw)
			of := s.begin(s.Profile)
			p := s.browser().connects(of)
			if c := s.connected(of, p); c.Account.Subject != "u-1" || c.Account.Label != "hazel@acorn.example" {
				t.Errorf("the account is %+v", c.Account)
			}
			if !strings.Contains(p.text, "hazel@acorn.example") {
				t.Errorf("the page does not say which account: %s", p.text)
			}
		})
	}
}

func TestAConnectSessionWhoseCheckURL(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	thief := newThief(t)
	for _, check := range []struct {
		name   string
		status int
		body   string
		want   outcome
	}{
		{"answers 403 is refused", 403, `{"error":{"message":"no seat in this plan"}}`, failed("refused", "The check did not succeed: the provider answered with an error (status 403)")},
		{"answers 401 is refused", 401, ``, failed("refused", "status 401")},
		{"answers 500 is ambiguous", 500, `<h1>oops</h1>`, failed("ambiguous", "status 500")},
		{"says an error with status 200 has failed", 200, `{"error":"account_suspended"}`, failed("ambiguous", "account_suspended")},
		{"redirects is not followed", 302, ``, failed("client_fault", "status 302")},
	} {
		t.Run(check.name, func(t *testing.T) {
			s := s.in(t)
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer acorn_at_") {
					t.Errorf("the check carries %q", r.Header.Get("Authorization"))
				}
				w.Header().Set("Location", thief.URL)
				w.WriteHeader(check.status)
				_, _ = w.Write([]byte(check.body))
			}))
			t.Cleanup(api.Close)
			of := s.begin(s.profile(func(d *behalf.Definition) { d.CheckURL = api.URL + "/me" }))
			s.ends(of, s.browser().connects(of), check.want)
		})
	}
	if thief.visits() != 0 {
		t.Error("the token was carried to another host")
	}
}

// The words of an error come from an address that anybody can write.
func TestAHostileErrorIsShownAsTextAndCut(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	const script = `<script>alert(1)</script>"><img src=x onerror=alert(1)>`
	for _, hostile := range []struct {
		name, code, description string
		says                    string
	}{
		{"a script", script, script, "<script>alert(1)</script>"},
		{"control characters", "server_error", "one\r\ntwo\x00three\x1b[31m\u202efour", "one two three [31m four"},
		{"what is no UTF-8", "server_error", "\xff\xfe\xfd", "server_error"},
		{"60,000 characters", "server_error", strings.Repeat("ä", 10_000) + strings.Repeat("x", 10_000), "äää"},
	} {
		t.Run(hostile.name, func(t *testing.T) {
			s := s.in(t)
			of := s.begin(s.Profile)
			b := s.browser()
			back := b.agrees(b.presses(of))
			p := b.get(with(back, "code", "", "error", hostile.code, "error_description", hostile.description))
			s.ends(of, p, outcome{http.StatusUnprocessableEntity, append([]string{hostile.says}, saysFailed...), "failed", s.status(of).Problem.Code, ""})
			if detail := s.status(of).Problem.Detail; len([]rune(detail)) > 900 || strings.ContainsAny(detail, "\r\n\x00\x1b\u202e") {
				t.Errorf("the detail is not clean: %q", detail)
			}
			if len(p.elements("script")) != 0 || len(p.elements("img")) != 0 {
				t.Errorf("the page took an element: %s", p.Body)
			}
		})
	}
	t.Run("a megabyte reaches nothing", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		r, err := http.NewRequest(http.MethodGet, with(back, "code", "", "error", "server_error", "error_description", strings.Repeat("x", 1<<20)), nil)
		if err != nil {
			t.Fatal(err)
		}
		// The server may close before the client has written everything.
		if a, err := answerTo(b.client, r); err == nil && a.Status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", a.Status)
		}
		s.connected(of, b.get(back))
	})
	t.Run("a parameter that comes twice is not believed, and ends nothing", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		for _, twice := range []string{"state=" + param(back, "state"), "code=x", "iss=x"} {
			s.ends(of, b.get(back+"&"+twice), still(http.StatusNotFound, saysUnknown))
		}
		s.connected(of, b.get(back))
	})
}

// thief is a server that no credential of ours should ever reach.
type thief struct {
	*httptest.Server
	seen chan struct{}
}

func newThief(t *testing.T) *thief {
	th := &thief{seen: make(chan struct{}, 1000)}
	th.Server = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { th.seen <- struct{}{} }))
	t.Cleanup(th.Close)
	return th
}

func (th *thief) visits() int { return len(th.seen) }
