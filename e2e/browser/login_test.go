package browser

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/behalf-dev/behalf/e2e/servers"
)

const tokenTTL = 120 * time.Second

// TestBrowserSignsInAtEveryServer takes a person through each server's own
// pages, and checks with what comes back that the table of servers is true:
// how the client proves itself, what tokens it gets and what they open.
func TestBrowserSignsInAtEveryServer(t *testing.T) {
	for _, name := range servers.All() {
		for _, auth := range []string{"basic", "post", "none"} {
			t.Run(name+" with client authentication "+auth, func(t *testing.T) {
				callback := callbackPage(t)
				s := servers.Start(t, name, servers.Options{
					RedirectURIs: []string{callback, "http://127.0.0.1:9/another"},
					TokenTTL:     tokenTTL,
					ClientAuth:   auth,
				})
				signIn(t, New(t, Options{}), s, callback)
				for _, secret := range []string{s.Password, servers.ClientSecret} {
					if strings.Contains(s.Output(t), secret) {
						t.Errorf("the server prints %q", secret)
					}
				}
			})
		}
	}
}

func TestLoginFollowsAClickOnThePageItEndsAt(t *testing.T) {
	callback := callbackPage(t)
	s := servers.Start(t, "node-oauth", servers.Options{RedirectURIs: []string{callback}})
	base, _, _ := strings.Cut(callback, "/callback")
	b := New(t, Options{NoScript: true})
	b.Open(base + "/?to=" + url.QueryEscape(s.AuthorizationRequest(url.Values{
		"redirect_uri": {callback}, "state": {"a-state-of-some-length"},
	})))
	b.Click("Continue")
	if got := b.Login(s.Username, s.Password, base); !strings.HasPrefix(got, callback) {
		t.Errorf("login ended at %s", got)
	}
}

// callbackPage serves a page that links elsewhere, and one to come back to,
// whose address it returns.
func callbackPage(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `<!doctype html><form><button>Decoy</button></form><a href="%s">Continue</a>`,
			html.EscapeString(r.FormValue("to")))
	})
	mux.HandleFunc("GET /callback/prf_test", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "<!doctype html>You are back.")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/callback/prf_test"
}

func signIn(t *testing.T, b *Browser, s *servers.Server, callback string) {
	t.Helper()
	verifier, state, nonce := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	b.Open(s.AuthorizationRequest(url.Values{
		"redirect_uri":          {callback},
		"state":                 {state},
		"nonce":                 {nonce},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(verifier)},
		"code_challenge_method": {"S256"},
	}))
	back, err := url.Parse(b.Login(s.Username, s.Password, callback))
	if err != nil {
		t.Fatal(err)
	}
	b.WaitText("You are back.")
	if got := back.Query().Get("state"); got != state {
		t.Errorf("state is %q, sent was %q", got, state)
	}

	first := askForToken(t, s, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {back.Query().Get("code")},
		"redirect_uri":  {callback},
		"code_verifier": {verifier},
	})
	if s.Issuer != "" {
		checkIDToken(t, s, first.IDToken, nonce)
	}
	checkAPI(t, s, first.AccessToken)

	second := askForToken(t, s, url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {first.RefreshToken},
	})
	if second.RefreshToken == first.RefreshToken {
		t.Error("the refresh token is not rotated")
	}
	checkAPI(t, s, second.AccessToken)
}

type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	ExpiresIn    int    `json:"expires_in"`
}

// askForToken sends the form to the token endpoint as s says.
func askForToken(t *testing.T, s *servers.Server, form url.Values) tokens {
	t.Helper()
	if s.ClientAuth != "basic" {
		form.Set("client_id", s.ClientID)
	}
	if s.ClientAuth == "post" {
		form.Set("client_secret", s.ClientSecret)
	}
	request, err := http.NewRequestWithContext(t.Context(), "POST", s.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	switch {
	case s.ClientAuth == "basic" && s.BasicRaw:
		request.SetBasicAuth(s.ClientID, s.ClientSecret)
	case s.ClientAuth == "basic":
		request.SetBasicAuth(url.QueryEscape(s.ClientID), url.QueryEscape(s.ClientSecret))
	}

	var got tokens
	if err := json.Unmarshal(answer(t, request), &got); err != nil {
		t.Fatal(err)
	}
	if got.AccessToken == "" || got.RefreshToken == "" {
		t.Fatalf("%s gives an access token: %t, a refresh token: %t",
			form.Get("grant_type"), got.AccessToken != "", got.RefreshToken != "")
	}
	if want := int(tokenTTL.Seconds()); got.ExpiresIn < want-5 || got.ExpiresIn > want {
		t.Errorf("expires_in is %d, asked for were %d", got.ExpiresIn, want)
	}
	return got
}

func checkIDToken(t *testing.T, s *servers.Server, raw, nonce string) {
	t.Helper()
	keys := oidc.NewRemoteKeySet(t.Context(), s.JWKSURL)
	token, err := oidc.NewVerifier(s.Issuer, keys, &oidc.Config{ClientID: s.ClientID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if token.Nonce != nonce {
		t.Errorf("nonce is %q, sent was %q", token.Nonce, nonce)
	}
}

func checkAPI(t *testing.T, s *servers.Server, accessToken string) {
	t.Helper()
	for _, address := range []string{s.APIURL, s.UserinfoURL} {
		if address == "" {
			continue
		}
		request, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+accessToken)
		body := answer(t, request)
		if address == s.APIURL && !strings.Contains(string(body), s.Username) {
			t.Errorf("the API does not name %s:\n%s", s.Username, body)
		}
	}
}

// answer returns the body of the answer, which must be 200.
func answer(t *testing.T, request *http.Request) []byte {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s\n%s", request.Method, request.URL.Path, response.Status, body)
	}
	return body
}
