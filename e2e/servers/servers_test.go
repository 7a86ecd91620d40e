package servers

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const redirectURI = "http://127.0.0.1:9/callback/prf_test"

func TestEveryServerStarts(t *testing.T) {
	for _, name := range All() {
		t.Run(name, func(t *testing.T) {
			s := Start(t, name, Options{RedirectURIs: []string{redirectURI}})
			if s.Issuer != "" {
				checkMetadata(t, s)
			}
			if page := loginPage(t, s, redirectURI); !strings.Contains(page, `name="password"`) {
				t.Errorf("this page asks for no password:\n%s", page)
			}
		})
	}
}

func TestAServerRefusesARedirectURIThatItWasNotTold(t *testing.T) {
	for _, name := range []string{"dex", "node-oauth"} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, name, Options{RedirectURIs: []string{redirectURI}})
			// node-oauth checks when the form comes back.
			response, err := http.PostForm(s.AuthorizationRequest(url.Values{"redirect_uri": {redirectURI + "x"}}),
				url.Values{"username": {s.Username}, "password": {s.Password}})
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode < 400 {
				t.Errorf("the answer is %s", response.Status)
			}
		})
	}
}

func TestAServerIsGoneAfterItsTest(t *testing.T) {
	var address string
	t.Run("the test", func(t *testing.T) {
		s := Start(t, "node-oauth", Options{})
		u, err := url.Parse(s.TokenURL)
		if err != nil {
			t.Fatal(err)
		}
		address = u.Host
	})
	if testing.Short() {
		t.Skip("nothing was started")
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Errorf("something still listens on %s", address)
	}
}

// checkMetadata compares the discovery document with the table.
func checkMetadata(t *testing.T, s *Server) {
	t.Helper()
	response, err := http.Get(s.MetadataURL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	type document struct {
		Issuer                string `json:"issuer"`
		AuthorizationEndpoint string `json:"authorization_endpoint"`
		TokenEndpoint         string `json:"token_endpoint"`
		UserinfoEndpoint      string `json:"userinfo_endpoint"`
		JWKSURI               string `json:"jwks_uri"`
	}
	var got document
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := document{s.Issuer, s.AuthorizationURL, s.TokenURL, s.UserinfoURL, s.JWKSURL}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table differs from the metadata (-table +metadata):\n%s", diff)
	}
}

// loginPage follows an authorization request to the page where it ends.
func loginPage(t *testing.T, s *Server, redirectURI string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Jar: jar}).Get(s.AuthorizationRequest(url.Values{
		"redirect_uri":          {redirectURI},
		"state":                 {"a-state-of-some-length"},
		"code_challenge":        {strings.Repeat("x", 43)},
		"code_challenge_method": {"S256"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the answer is %s\n%s", response.Status, body)
	}
	return string(body)
}
