package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

var attempt = oauth.Attempt{
	State:        secret.New("state-1"),
	Nonce:        secret.New("nonce-1"),
	CodeVerifier: secret.New("verifier-verifier-verifier-verifier-verifier"),
}

func TestAuthorizationRequest(t *testing.T) {
	challenge := "code_challenge=" + oauth2.S256ChallengeFromVerifier(attempt.CodeVerifier.Reveal()) + "&code_challenge_method=S256"
	const ours = "response_type=code&client_id=id%201&redirect_uri=https%3A%2F%2Fb.example%2Fcb"
	for _, test := range []struct {
		name       string
		config     oauth.Config
		want       string
		overridden string
	}{
		{"a plain URL gets the standard parameters",
			oauth.Config{AuthorizationURL: "https://as.example/authorize"},
			"https://as.example/authorize?" + ours + "&state=state-1&" + challenge, "[]"},
		{"its own query keeps order and spelling",
			oauth.Config{AuthorizationURL: "https://as.example/odata/x/?$format=json&b=%7e&a=1+2&flag"},
			"https://as.example/odata/x/?$format=json&b=%7e&a=1+2&flag&" + ours + "&state=state-1&" + challenge, "[]"},
		{"an empty query is the same as none",
			oauth.Config{AuthorizationURL: "https://as.example/?"},
			"https://as.example/?" + ours + "&state=state-1&" + challenge, "[]"},
		{"what is ours is taken out of its query, however it is spelled",
			oauth.Config{AuthorizationURL: "https://as.example/?x=1&state=fixed&st%61te=again&code_challenge=c&nonce=n&redirect_uri=https://evil.example"},
			"https://as.example/?x=1&" + ours + "&state=state-1&" + challenge, "[code_challenge nonce redirect_uri state]"},
		{"what is ours is found behind a semicolon",
			oauth.Config{AuthorizationURL: "https://as.example/?x=1;state=fixed;y=2"},
			"https://as.example/?x=1;y=2&" + ours + "&state=state-1&" + challenge, "[state]"},
		{"scopes replace a fixed scope, with a space as %20",
			oauth.Config{AuthorizationURL: "https://as.example/?scope=all", Scopes: []string{"a", "b:c"}},
			"https://as.example/?" + ours + "&scope=a%20b%3Ac&state=state-1&" + challenge, "[scope]"},
		{"a fixed scope stays where none are set",
			oauth.Config{AuthorizationURL: "https://as.example/?scope=all"},
			"https://as.example/?scope=all&" + ours + "&state=state-1&" + challenge, "[]"},
		{"scopes go under another name with another separator",
			oauth.Config{AuthorizationURL: "https://as.example/", Scopes: []string{"a", "b"}, ScopeParam: "perms", ScopeSeparator: ","},
			"https://as.example/?" + ours + "&perms=a%2Cb&state=state-1&" + challenge, "[]"},
		{"openid brings a nonce",
			oauth.Config{AuthorizationURL: "https://as.example/", Scopes: []string{"openid"}},
			"https://as.example/?" + ours + "&scope=openid&state=state-1&nonce=nonce-1&" + challenge, "[]"},
		{"extra parameters keep their order, may repeat, replace the query's, and are left out when empty",
			oauth.Config{AuthorizationURL: "https://as.example/?prompt=none&z=1", AuthorizationParams: []oauth.Param{
				{Name: "resource", Value: "https://b"}, {Name: "resource", Value: "https://a"}, {Name: "prompt", Value: "consent"}, {Name: "empty"}}},
			"https://as.example/?z=1&resource=https%3A%2F%2Fb&resource=https%3A%2F%2Fa&prompt=consent&" + ours + "&state=state-1&" + challenge, "[]"},
		{"extra parameters cannot fix what is ours",
			oauth.Config{AuthorizationURL: "https://as.example/", AuthorizationParams: []oauth.Param{{Name: "state", Value: "x"}, {Name: "code_challenge_method", Value: "plain"}}},
			"https://as.example/?" + ours + "&state=state-1&" + challenge, "[code_challenge_method state]"},
		{"PKCE can be off, and a fixed challenge still does not stay",
			oauth.Config{AuthorizationURL: "https://as.example/?code_challenge=fixed", PKCE: oauth.PKCEOff},
			"https://as.example/?" + ours + "&state=state-1", "[code_challenge]"},
		{"the implicit grant has no code to protect",
			oauth.Config{AuthorizationURL: "https://as.example/", ResponseType: oauth.ResponseToken},
			"https://as.example/?" + strings.Replace(ours, "=code", "=token", 1) + "&state=state-1", "[]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.ClientID, test.config.RedirectURI = "id 1", "https://b.example/cb"
			got, overridden, err := test.config.AuthorizationRequest(attempt)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "URL", got, test.want)
			equal(t, "overridden", overridden, test.overridden)
		})
	}
}

func TestAuthorizationRequestRefusesWhatIsNoEndpoint(t *testing.T) {
	for name, raw := range map[string]string{
		"relative":             "/authorize",
		"without a host":       "https:///authorize",
		"another scheme":       "javascript:alert(1)//canary",
		"with a user":          "https://canary@as.example/",
		"with a fragment":      "https://as.example/#/canary",
		"with a broken escape": "https://as.example/?canary%zz=1",
		"not a URL":            "https://as.example:canary/",
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := oauth.Config{AuthorizationURL: raw}.AuthorizationRequest(attempt)
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Fatalf("error %v, want one that does not repeat the URL", err)
			}
		})
	}
}

func TestAttemptsAreFreshAndLongEnough(t *testing.T) {
	a, b := oauth.NewAttempt(), oauth.NewAttempt()
	seen := map[string]bool{}
	for _, s := range []secret.Text{a.State, a.Nonce, a.CodeVerifier, b.State, b.Nonce, b.CodeVerifier} {
		if seen[s.Reveal()] || len(s.Reveal()) < 43 { // RFC 7636 §4.1
			t.Fatal("a value repeats or is too short")
		}
		seen[s.Reveal()] = true
	}
}

func TestAuthorizationRequestAgreesWithTheLibrary(t *testing.T) {
	config := oauth.Config{
		ClientID: "a b&c", RedirectURI: "https://b.example/cb?x=1", AuthorizationURL: "https://as.example/a?q=1",
		Scopes: []string{"openid", "e&f"},
	}
	library := oauth2.Config{
		ClientID: config.ClientID, RedirectURL: config.RedirectURI, Scopes: config.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: config.AuthorizationURL},
	}
	got, _, err := config.AuthorizationRequest(attempt)
	if err != nil {
		t.Fatal(err)
	}
	want := library.AuthCodeURL(attempt.State.Reveal(), oauth2.S256ChallengeOption(attempt.CodeVerifier.Reveal()),
		oauth2.SetAuthURLParam("nonce", attempt.Nonce.Reveal()))
	equal(t, "query", query(t, got).Encode(), query(t, want).Encode())
}

func query(t *testing.T, raw string) url.Values {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	v, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
