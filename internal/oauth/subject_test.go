package oauth_test

import (
	"encoding/base64"
	"testing"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestSameSubject(t *testing.T) {
	jwt := func(payload string) secret.Text {
		return secret.New("e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x")
	}
	cfg := oauth.Config{Issuer: "https://as.example"}
	for name, c := range map[string]struct {
		token secret.Text
		good  bool
	}{
		"no ID token came":                  {secret.Text{}, true},
		"the same subject":                  {jwt(`{"iss":"https://as.example","sub":"jane"}`), true},
		"another subject":                   {jwt(`{"iss":"https://as.example","sub":"mallory"}`), false},
		"another issuer":                    {jwt(`{"iss":"https://evil.example","sub":"jane"}`), false},
		"a second sub behind the first":     {jwt(`{"iss":"https://as.example","sub":"mallory","sub":"jane"}`), false},
		"sub in another case":               {jwt(`{"iss":"https://as.example","Sub":"jane"}`), false},
		"no subject":                        {jwt(`{"iss":"https://as.example"}`), false},
		"not a JWT":                         {secret.New("abc"), false},
		"a payload that is not base64url":   {secret.New("a.%%%.c"), false},
		"a payload that is not JSON at all": {secret.New("a.bm8.c"), false},
	} {
		t.Run(name, func(t *testing.T) {
			err := cfg.SameSubject(oauth.Token{IDToken: c.token}, "jane")
			if (err == nil) != c.good {
				t.Fatal(err)
			}
			if err != nil && oauth.KindOf(err) != oauth.Protocol {
				t.Fatal(oauth.KindOf(err))
			}
		})
	}
}

func TestTextAt(t *testing.T) {
	body := []byte(`{"error":{"message":"expired","code":40001},"a":1,"a":2,"list":[{"x":true}]}`)
	for pointer, want := range map[string]string{"/error/message": "expired", "/error/code": "40001", "/list/0/x": "true"} {
		if got, ok := oauth.TextAt(body, pointer); !ok || got != want {
			t.Fatal(pointer, got, ok)
		}
	}
	for _, pointer := range []string{"/a", "/none", "/list/7"} {
		if _, ok := oauth.TextAt(body, pointer); ok {
			t.Fatal(pointer)
		}
	}
}

func TestAnErrorSaysTheSameToPeople(t *testing.T) {
	for want, e := range map[string]oauth.Error{
		"The refresh did not succeed: no connection.": {Op: oauth.OpRefresh, Reason: "no connection"},
		"The code exchange did not succeed: the provider answered with an error (status 400). It says: invalid_grant: expired.": {Op: oauth.OpExchange, Reason: "the provider answered with an error", Status: 400, Code: "invalid_grant", Description: "expired."},
		"The refresh did not succeed: refused. It says: gone.":                                                                  {Op: oauth.OpRefresh, Reason: "refused", Description: "gone"},
		"The refresh did not succeed: refused. It says: invalid_grant.":                                                         {Op: oauth.OpRefresh, Reason: "refused", Code: "invalid_grant"},
	} {
		if got := e.Sentence(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
