package console_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// issuer is a single sign-on whose ID tokens say what a test wants.
type issuer struct {
	*httptest.Server
	signer jose.Signer
	claims map[string]any // of the next ID token
}

func newIssuer(t *testing.T) *issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	require.NoError(t, err)
	i, mux := &issuer{signer: signer}, http.NewServeMux()
	tell := func(pattern string, what func() any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(what())
		})
	}
	tell("GET /.well-known/openid-configuration", func() any {
		return map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256"}}
	})
	tell("GET /keys", func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256", Use: "sig"}}}
	})
	tell("POST /token", func() any {
		return map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": i.idToken()}
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) idToken() string {
	payload, _ := json.Marshal(i.claims)
	signed, err := i.signer.Sign(payload)
	if err != nil {
		return err.Error()
	}
	token, _ := signed.CompactSerialize()
	return token
}

func TestAnIDTokenThatWasMadeForAnotherClientSignsNobodyIn(t *testing.T) {
	idp := newIssuer(t)
	s := &stage{servertest.New(t, servertest.Setup{Config: func(c *server.Config) {
		c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.SSO = console.SSO{Issuer: idp.URL, ClientID: "us", ClientSecret: secret.New("s3cret-of-the-issuer"), Emails: []string{"jane@acme.example"}, Role: behalf.RoleDeveloper}
	}}), t}
	for name, c := range map[string]struct {
		more map[string]any
		in   bool
	}{
		"one audience":                           {map[string]any{"aud": "us"}, true},
		"one audience and us":                    {map[string]any{"aud": "us", "azp": "us"}, true},
		"several audiences and us":               {map[string]any{"aud": []string{"other", "us"}, "azp": "us"}, true},
		"several audiences and nobody":           {map[string]any{"aud": []string{"us", "other"}}, false},
		"several audiences and another":          {map[string]any{"aud": []string{"us", "other"}, "azp": "other"}, false},
		"one audience and another":               {map[string]any{"aud": "us", "azp": "other"}, false},
		"an authorized party that is not a text": {map[string]any{"aud": "us", "azp": []string{"us"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.person()
			at, err := url.Parse(p.get("/console/sso").Header.Get("Location"))
			require.NoError(t, err)
			now := s.DB.Now()
			idp.claims = map[string]any{"iss": idp.URL, "sub": "jane", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": at.Query().Get("nonce"), "email": "jane@acme.example", "email_verified": true}
			for k, v := range c.more {
				idp.claims[k] = v
			}
			a := p.get("/console/sso/callback?" + url.Values{"code": {"c"}, "state": {at.Query().Get("state")}}.Encode())
			require.Equal(t, c.in, a.Status == http.StatusSeeOther, "%d %.400s", a.Status, a.Body)
			if !c.in {
				require.Contains(t, a.Body, "Single sign-on did not work")
			}
		})
	}
}
