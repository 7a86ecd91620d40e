package oauth_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestCallback(t *testing.T) {
	const issuer = "https://as.example"
	plain := oauth.Config{}
	known := oauth.Config{Issuer: issuer}
	strict := oauth.Config{Issuer: issuer, RequireIss: true}
	implicit := oauth.Config{ResponseType: oauth.ResponseToken}
	for _, test := range []struct {
		name   string
		config oauth.Config
		query  string
		kind   oauth.Kind // "": it passes
	}{
		{"a code passes", plain, "code=c&state=s", ""},
		{"unknown parameters are ignored", plain, "code=c&state=s&session_state=1&session_state=2&__proto__=x", ""},
		{"the right iss passes", strict, "code=c&state=s&iss=" + issuer, ""},
		{"a missing iss passes where the server never promised it", known, "code=c&state=s", ""},
		{"an iss passes where no issuer is known", plain, "code=c&state=s&iss=https://any.example", ""},
		{"the iss of another server is refused", known, "code=c&state=s&iss=https://evil.example", oauth.Protocol},
		{"an iss that differs by a slash is refused", known, "code=c&state=s&iss=" + issuer + "/", oauth.Protocol},
		{"a missing iss is refused where it was promised", strict, "code=c&state=s", oauth.Protocol},
		{"an empty iss is refused where it was promised", strict, "code=c&state=s&iss=", oauth.Protocol},
		{"a missing iss is refused where it was promised and no issuer is known", oauth.Config{RequireIss: true}, "code=c&state=s&iss=x", oauth.Protocol},
		{"another server's error is not this one's", known, "error=access_denied&state=s&iss=https://evil.example", oauth.Protocol},
		{"two codes are refused", plain, "code=c&code=d&state=s", oauth.Protocol},
		{"two states are refused", plain, "code=c&state=s&state=s", oauth.Protocol},
		{"two issuers are refused", known, "code=c&state=s&iss=" + issuer + "&iss=https://evil.example", oauth.Protocol},
		{"a code and an error are refused", plain, "code=c&state=s&error=access_denied", oauth.Protocol},
		{"nothing is refused", plain, "state=s", oauth.Protocol},
		{"an empty code is refused", plain, "state=s&code=", oauth.Protocol},
		{"a token that was not asked for is refused", plain, "state=s&code=c&access_token=injected", oauth.Protocol},
		{"a token instead of a code is refused", plain, "state=s&access_token=injected", oauth.Protocol},
		{"a code instead of a token is refused", implicit, "state=s&code=c", oauth.Protocol},
		{"a token passes where it was asked for", implicit, "state=s&access_token=t", ""},
		{"a code with a line break is refused", plain, "state=s&code=a%0d%0ab", oauth.Protocol},
		{"a state with a NUL is refused", plain, "state=s%00&code=a", oauth.Protocol},
		{"a huge code is refused", plain, "state=s&code=" + strings.Repeat("x", 9<<10), oauth.Protocol},
		{"a huge state is refused", plain, "code=c&state=" + strings.Repeat("x", 3<<10), oauth.Protocol},
		{"denied consent is declined", plain, "error=access_denied&state=s", oauth.Declined},
		{"consent required is declined", plain, "error=consent_required&state=s", oauth.Declined},
		{"a wrong scope is the client's", plain, "error=invalid_scope&state=s", oauth.ClientFault},
		{"a busy server is limited", plain, "error=temporarily_unavailable&state=s", oauth.Limited},
		{"a broken server may be tried again", plain, "error=server_error&state=s", oauth.Transient},
		{"any other error is a refusal", plain, "error=weird&state=s", oauth.Refused},
		{"a huge description is cut, not refused", plain, "error=access_denied&error_description=" + strings.Repeat("x", 60<<10), oauth.Declined},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := url.ParseQuery(test.query)
			if err != nil {
				t.Fatal(err)
			}
			cb, err := oauth.ParseCallback(v)
			if err == nil {
				err = test.config.CheckCallback(cb)
			}
			if test.kind == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := wantError(t, err, test.kind)
			if len([]rune(e.Description)) > 500 || e.Written {
				t.Fatalf("%+v", e)
			}
		})
	}
}

func TestCallbackErrorKeepsTheProvidersWordsAndNoSecret(t *testing.T) {
	cb, err := oauth.ParseCallback(url.Values{
		"state": {"the-state"}, "error": {"access_denied"},
		"error_description": {"No\r\nthank\u202eyou, the-state and the-secret"},
		"error_uri":         {"javascript:alert(1)"},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = oauth.Config{ClientSecret: secret.New("the-secret")}.CheckCallback(cb)
	e := wantError(t, err, oauth.Declined)
	equal(t, "description", e.Description, "No  thank you, [secret] and [secret]")
	equal(t, "code and uri", e.Code+e.URI, "access_denied")
	wantSilence(t, err, "the-state", "the-secret")
}

func TestImplicitToken(t *testing.T) {
	config := oauth.Config{ResponseType: oauth.ResponseToken, Scopes: []string{"a", "b"}, Now: func() time.Time { return noon },
		Reply: oauth.ReplyPaths{AccessToken: "/data/token"}}
	cb, err := oauth.ParseCallback(url.Values{"state": {"s"}, "access_token": {"tok"}, "token_type": {"bearer"}, "expires_in": {"60"}, "scope": {"a"}})
	if err != nil {
		t.Fatal(err)
	}
	token, err := config.ImplicitToken(cb)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "token", token.AccessToken.Reveal(), "tok")
	equal(t, "rest", []any{token.Type, token.Scopes, token.ScopesGiven, token.ExpiresAt.Sub(noon), token.RefreshToken.Empty()},
		[]any{"bearer", []string{"a"}, true, time.Minute, true})
}
