package simulator_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/behalf-dev/behalf/internal/simulator"
)

// verify checks an ID token against the published keys and returns its claims.
func (p *provider) verify(token string) (map[string]any, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(p.get("/jwks").body), &set); err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return nil, err
	}
	keys := set.Key(signed.Signatures[0].Header.KeyID)
	if len(keys) != 1 {
		return nil, errors.New("no such key")
	}
	payload, err := signed.Verify(keys[0])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, json.Unmarshal(payload, &claims)
}

// idToken reads header and claims of an answer's ID token without any check.
func (p *provider) idToken(tokens map[string]any) map[string]any {
	p.t.Helper()
	out := map[string]any{}
	for _, part := range strings.Split(tokens["id_token"].(string), ".")[:2] {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			p.t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &out); err != nil {
			p.t.Fatal(err)
		}
	}
	return out
}

func idTokenHas(name string, want any) func(*testing.T, *provider) {
	return func(t *testing.T, p *provider) { same(t, name, p.idToken(p.tokens())[name], want) }
}

func TestAnIDTokenSaysWhoSignedIn(t *testing.T) {
	for name, sw := range map[string]simulator.Switches{"RS256": {}, "ES256": {IDTokenES256: true}} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.Set(sw)
			tokens := p.tokens()
			token := tokens["id_token"].(string)
			claims, err := p.verify(token)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256([]byte(tokens["access_token"].(string)))
			want := map[string]any{
				"iss": p.url, "sub": "u-1", "aud": "bot", "azp": "bot", "nonce": "nonce-1", "name": "Hazel Birch",
				"preferred_username": "hazel", "email": "hazel@acorn.example", "email_verified": true,
				"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
				"iat":     float64(p.clock.Now().Unix()), "exp": float64(p.clock.Now().Unix() + 600), "auth_time": float64(p.clock.Now().Unix()),
			}
			same(t, "claims", claims, want)
			refreshed := p.refresh(tokens["refresh_token"].(string)).json(t)
			if _, err := p.verify(refreshed["id_token"].(string)); err != nil {
				t.Errorf("after a refresh: %v", err)
			}
		})
	}
}

func TestForgedIDTokensAreSignedWithWhatTheyClaim(t *testing.T) {
	p := newProvider(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(p.get("/jwks").body), &set); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(set.Key("acorn-rs256")[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		on   simulator.Switches
		key  []byte
	}{
		{"the client secret", simulator.Switches{IDTokenHS256Secret: true}, append([]byte(botSecret), make([]byte, 32-len(botSecret))...)}, // HMAC pads with zeros anyway
		{"the public key", simulator.Switches{IDTokenHS256PublicKey: true}, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			p.Set(c.on)
			signed, err := jose.ParseSignedCompact(p.tokens()["id_token"].(string), []jose.SignatureAlgorithm{jose.HS256})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := signed.Verify(c.key); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	p := newProvider(t)
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		m := p.get(path).json(t)
		if m["issuer"] != p.url || m["token_endpoint"] != p.url+"/token" || m["authorization_response_iss_parameter_supported"] != true {
			t.Errorf("%s: %v", path, m)
		}
	}
}

func TestUserinfoShowsWhatTheScopesAllow(t *testing.T) {
	p := newProvider(t)
	tokens := p.exchange(p.code("scope", "openid email")).json(t)
	for _, method := range []string{"GET", "POST"} {
		got := p.api(method, "/userinfo", tokens["access_token"].(string), "", "").json(t)
		same(t, method, got, map[string]any{"sub": "u-1", "email": "hazel@acorn.example", "email_verified": true})
	}
}
