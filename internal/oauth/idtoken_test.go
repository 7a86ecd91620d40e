package oauth_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func jwk(key any, kid, alg string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg, Use: "sig"}
}

func keySet(keys ...jose.JSONWebKey) string {
	return string(must(json.Marshal(jose.JSONWebKeySet{Keys: keys})))
}

// sign makes a JWT over the payload as it is.
func sign(alg jose.SignatureAlgorithm, key any, kid, payload string) string {
	options := &jose.SignerOptions{}
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options))
	return must(must(signer.Sign([]byte(payload))).CompactSerialize())
}

func hashOf(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// world is a server with a key, one of another server, and clients of it.
type world struct {
	server      *transcript
	client      oauth.Client
	honest, bad *ecdsa.PrivateKey
}

func newWorld(t *testing.T) *world {
	w := &world{server: &transcript{},
		honest: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		bad:    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	w.client = serve(t, w.server)
	w.server.body = keySet(jwk(&w.honest.PublicKey, "k1", "ES256"))
	return w
}

func (w *world) claims(change map[string]any) string {
	claims := map[string]any{"iss": w.client.Issuer, "sub": "jane", "aud": w.client.ClientID, "nonce": attempt.Nonce.Reveal(),
		"iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix(), "email": "jane@example.com", "name": "Jane"}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(claims)))
}

func (w *world) verify(t *testing.T, idToken string) (oauth.Claims, error) {
	token := oauth.Token{AccessToken: secret.New("access"), IDToken: secret.New(idToken)}
	return w.client.VerifyIDToken(t.Context(), token, attempt.Nonce)
}

func TestIDTokenClaims(t *testing.T) {
	w := newWorld(t)
	in := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	for _, test := range []struct {
		name   string
		claims map[string]any
		reason string // "": it passes
	}{
		{"all as it should be", nil, ""},
		{"an audience of one in an array", map[string]any{"aud": []string{w.client.ClientID}}, ""},
		{"several audiences and this authorized party", map[string]any{"aud": []string{"other", w.client.ClientID}, "azp": w.client.ClientID}, ""},
		{"the hash of the access token", map[string]any{"at_hash": hashOf("access")}, ""},
		{"expired within the skew", map[string]any{"exp": in(-30 * time.Second)}, ""},
		{"issued in the future within the skew", map[string]any{"iat": in(30 * time.Second)}, ""},
		{"another issuer", map[string]any{"iss": "https://evil.example"}, "iss is not the expected issuer"},
		{"the issuer with a slash", map[string]any{"iss": w.client.Issuer + "/"}, "iss is not the expected issuer"},
		{"the issuer without its scheme", map[string]any{"iss": strings.TrimPrefix(w.client.Issuer, "http://")}, "iss is not the expected issuer"},
		{"no issuer", map[string]any{"iss": nil}, "iss is not the expected issuer"},
		{"another audience", map[string]any{"aud": "other"}, "aud does not name this client"},
		{"an audience that begins alike", map[string]any{"aud": w.client.ClientID + "1"}, "aud does not name this client"},
		{"no audience", map[string]any{"aud": nil}, "aud does not name this client"},
		{"an empty audience", map[string]any{"aud": []string{}}, "aud does not name this client"},
		{"several audiences and no authorized party", map[string]any{"aud": []string{w.client.ClientID, "other"}}, "aud names others too, and azp is missing"},
		{"another authorized party", map[string]any{"azp": "other"}, "azp is not this client"},
		{"an authorized party that is no text", map[string]any{"azp": []string{"other"}}, "azp is not a string"},
		{"expired", map[string]any{"exp": in(-2 * time.Minute)}, "exp has passed or is missing"},
		{"no expiry", map[string]any{"exp": nil}, "exp has passed or is missing"},
		{"an expiry that is a word", map[string]any{"exp": "never"}, "it is malformed, from the future, or signed with an algorithm that is not allowed"},
		{"issued in the future", map[string]any{"iat": in(2 * time.Minute)}, "iat is in the future"},
		{"not valid yet", map[string]any{"nbf": in(time.Hour)}, "it is malformed, from the future, or signed with an algorithm that is not allowed"},
		{"no time of issue", map[string]any{"iat": nil}, "iat is missing"},
		{"another nonce", map[string]any{"nonce": "nonce-2"}, "nonce is not this request's"},
		{"no nonce", map[string]any{"nonce": nil}, "nonce is not this request's"},
		{"no subject", map[string]any{"sub": nil}, "sub is missing or malformed"},
		{"an empty subject", map[string]any{"sub": ""}, "sub is missing or malformed"},
		{"a subject with a line break", map[string]any{"sub": "ja\nne"}, "sub is missing or malformed"},
		{"a subject that is too long", map[string]any{"sub": strings.Repeat("x", 256)}, "sub is missing or malformed"},
		{"a subject that is a number", map[string]any{"sub": 7}, "it is malformed, from the future, or signed with an algorithm that is not allowed"},
		{"the hash of another access token", map[string]any{"at_hash": hashOf("injected")}, "at_hash is not of this access token"},
		{"a claim in another case", map[string]any{"Sub": "admin"}, "its claims are not one JSON object with each claim once"},
	} {
		t.Run(test.name, func(t *testing.T) {
			claims, err := w.verify(t, sign(jose.ES256, w.honest, "k1", w.claims(test.claims)))
			if test.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "claims", claims.Subject+claims.Email+claims.Name, "janejane@example.comJane")
				return
			}
			e := wantError(t, err, oauth.Protocol)
			equal(t, "reason", e.Reason, test.reason)
			wantSilence(t, err, "evil.example", "nonce-1", "nonce-2", "jane")
		})
	}
}

func TestIDTokenSignatures(t *testing.T) {
	w := newWorld(t)
	rsaKey, weak := must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 1024))
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	good := w.claims(nil)
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	valid := sign(jose.ES256, w.honest, "k1", good)
	parts := strings.Split(valid, ".")
	public := must(x509.MarshalPKIXPublicKey(&w.honest.PublicKey))
	embedding := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: w.bad}, &jose.SignerOptions{EmbedJWK: true}))
	encryption := jwk(&w.honest.PublicKey, "k1", "")
	encryption.Use = "enc"
	whole := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: w.honest}, nil))

	for _, test := range []struct {
		name  string
		keys  string // "": the server's own
		token string
		pass  bool
	}{
		{"ES256", "", valid, true},
		{"RS256", keySet(jwk(&rsaKey.PublicKey, "r", "RS256")), sign(jose.RS256, rsaKey, "r", good), true},
		{"PS256 by a key without alg", keySet(jwk(&rsaKey.PublicKey, "r", "")), sign(jose.PS256, rsaKey, "r", good), true},
		{"EdDSA", keySet(jwk(edPublic, "e", "EdDSA")), sign(jose.EdDSA, edKey, "e", good), true},
		{"no kid", keySet(jwk(&rsaKey.PublicKey, "r", ""), jwk(&w.honest.PublicKey, "k1", "")), sign(jose.ES256, w.honest, "", good), true},
		{"a kid twice", keySet(jwk(&w.bad.PublicKey, "k1", ""), jwk(&w.honest.PublicKey, "k1", "")), valid, true},
		{"keys that nobody understands beside it", `{"keys":[{"kty":"OKP","crv":"Ed448","x":"AA"},{"kty":"?"},7,` + strings.TrimPrefix(keySet(jwk(&w.honest.PublicKey, "k1", "")), `{"keys":[`), valid, true},
		{"alg none", "", encode(`{"alg":"none"}`) + "." + encode(good) + ".", false},
		{"alg none in another case", "", encode(`{"alg":"NoNe","kid":"k1"}`) + "." + encode(good) + ".", false},
		{"no alg", "", encode(`{}`) + "." + encode(good) + "." + parts[2], false},
		{"no signature", "", parts[0] + "." + parts[1] + ".", false},
		{"HS256 with the public key as its secret", "", sign(jose.HS256, public, "k1", good), false},
		{"HS256 with the client secret", "", sign(jose.HS256, []byte(strings.Repeat(oddSecret, 4)), "", good), false},
		{"an algorithm that is not on the list", keySet(jwk(&p384.PublicKey, "p", "")), sign(jose.ES384, p384, "p", good), false},
		{"another server's key under this kid", "", sign(jose.ES256, w.bad, "k1", good), false},
		{"another server's key in the token", "", must(must(embedding.Sign([]byte(good))).CompactSerialize()), false},
		{"a kid that nobody has", "", sign(jose.ES256, w.honest, "k9", good), false},
		{"changed claims", "", parts[0] + "." + encode(w.claims(map[string]any{"sub": "admin"})) + "." + parts[2], false},
		{"a key for encryption", keySet(encryption), valid, false},
		{"a key for another algorithm", keySet(jwk(&rsaKey.PublicKey, "r", "RS512")), sign(jose.RS256, rsaKey, "r", good), false},
		{"an RSA key of 1024 bits", keySet(jwk(&weak.PublicKey, "r", "RS256")), sign(jose.RS256, weak, "r", good), false},
		{"a private key in the set", keySet(jwk(w.honest, "k1", "ES256")), valid, false},
		{"JSON serialization", "", must(whole.Sign([]byte(good))).FullSerialize(), false},
		{"a claim twice", "", sign(jose.ES256, w.honest, "k1", strings.Replace(good, `"sub":`, `"sub":"admin","sub":`, 1)), false},
		{"claims that are no object", "", sign(jose.ES256, w.honest, "k1", `["iss"]`), false},
		{"claims that nest too deeply", "", sign(jose.ES256, w.honest, "k1", `{"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+"}"), false},
		{"nothing", "", "", false},
		{"not a JWT", "", "a.b.c", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.server.body = cmp.Or(test.keys, keySet(jwk(&w.honest.PublicKey, "k1", "ES256")))
			claims, err := w.verify(t, test.token)
			if test.pass {
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "subject", claims.Subject, "jane")
				return
			}
			wantError(t, err, oauth.Protocol)
		})
	}
}

func TestIDTokenAlgorithmsComeFromTheConfig(t *testing.T) {
	w := newWorld(t)
	token := sign(jose.ES256, w.honest, "k1", w.claims(nil))
	w.client.IDTokenAlgs = []string{"RS256"}
	_, err := w.verify(t, token)
	wantError(t, err, oauth.Protocol)
	for _, alg := range []string{"none", "HS256"} {
		w.client.IDTokenAlgs = []string{"ES256", alg}
		_, err = w.verify(t, token)
		wantError(t, err, oauth.ClientFault)
	}
}

func TestIDTokenNeedsANonceAndAnIssuer(t *testing.T) {
	w := newWorld(t)
	token := oauth.Token{IDToken: secret.New(sign(jose.ES256, w.honest, "k1", w.claims(map[string]any{"nonce": nil, "iss": nil})))}
	w.client.Issuer = ""
	_, err := w.client.VerifyIDToken(t.Context(), token, secret.Text{})
	wantError(t, err, oauth.Protocol)
	token.IDToken = secret.New(sign(jose.ES256, w.honest, "k1", w.claims(map[string]any{"nonce": nil, "iss": "x"})))
	w.client.Issuer = "x"
	_, err = w.client.VerifyIDToken(t.Context(), token, secret.Text{})
	wantError(t, err, oauth.Protocol)
}

func TestRefreshedIDTokenIsForTheSameSubject(t *testing.T) {
	w := newWorld(t)
	token := oauth.Token{IDToken: secret.New(sign(jose.ES256, w.honest, "k1", w.claims(map[string]any{"nonce": nil})))}
	if _, err := w.client.VerifyRefreshedIDToken(t.Context(), token, "jane"); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"", "joe", "Jane", "jane "} {
		_, err := w.client.VerifyRefreshedIDToken(t.Context(), token, subject)
		wantError(t, err, oauth.Protocol)
	}
}

func TestKeySetsThatCannotBeUsed(t *testing.T) {
	w := newWorld(t)
	token := sign(jose.ES256, w.honest, "k1", w.claims(nil))
	own := strings.TrimSuffix(strings.TrimPrefix(keySet(jwk(&w.honest.PublicKey, "k1", "")), `{"keys":[`), "]}")
	for _, test := range []struct {
		name   string
		status int
		body   string
		url    string
		kind   oauth.Kind
	}{
		{"a page", 200, "<p>", "", oauth.Invalid},
		{"not there", 404, "", "", oauth.ClientFault},
		{"broken", 500, "", "", oauth.Ambiguous},
		{"later", 429, "", "", oauth.Limited},
		{"too many keys", 200, `{"keys":[` + strings.Repeat(own+",", 100) + own + "]}", "", oauth.Invalid},
		{"too long", 200, strings.Repeat(" ", 2<<20) + keySet(), "", oauth.Ambiguous},
		{"no keys", 200, `{}`, "", oauth.Protocol},
		{"no connection", 200, "", "http://127.0.0.1:1/", oauth.Transient},
		{"no URL", 200, "", "jwks", oauth.ClientFault},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.server.status, w.server.body = test.status, test.body
			client := w.client
			client.JWKSURL = cmp.Or(test.url, client.JWKSURL)
			_, err := client.VerifyIDToken(t.Context(), oauth.Token{IDToken: secret.New(token)}, attempt.Nonce)
			wantError(t, err, test.kind)
		})
	}
}

func TestKeysAreKeptAndFetchedAgainForANewKey(t *testing.T) {
	w := newWorld(t)
	now := noon
	w.client.Now = func() time.Time { return now }
	w.client.Keys = new(oauth.Keys)
	long := map[string]any{"exp": noon.Add(24 * time.Hour).Unix()}
	old := sign(jose.ES256, w.honest, "k1", w.claims(long))
	rotated := sign(jose.ES256, w.bad, "k2", w.claims(long))
	step := func(what, token string, pass bool, fetches int) {
		t.Helper()
		_, err := w.verify(t, token)
		if (err == nil) != pass {
			t.Fatalf("%s: error %v", what, err)
		}
		equal(t, what+": fetches", len(w.server.requests), fetches)
	}
	step("the first needs the keys", old, true, 1)
	step("the second finds them", old, true, 1)
	step("an unknown kid at once asks nobody", rotated, false, 1)
	now = now.Add(11 * time.Second)
	step("an unknown kid later asks once", rotated, false, 2)
	step("and not again at once", rotated, false, 2)
	now = now.Add(11 * time.Second)
	w.server.body = keySet(jwk(&w.bad.PublicKey, "k2", "ES256"))
	step("the server has rotated", rotated, true, 3)
	now = now.Add(11 * time.Second)
	step("its old key is gone", old, false, 4)
	now = now.Add(2 * time.Hour)
	step("kept keys end", rotated, true, 5)
	w.client.JWKSURL += "?other"
	step("another URL has other keys", rotated, true, 6)
}

func TestUserinfo(t *testing.T) {
	for _, test := range []struct {
		name    string
		status  int
		body    string
		subject string
		kind    oauth.Kind // "": it passes
	}{
		{"the ID token's subject", 200, `{"sub":"jane","email":"jane@example.com"}`, "jane", ""},
		{"no ID token", 200, `{"sub":"jane"}`, "", ""},
		{"another subject", 200, `{"sub":"joe"}`, "jane", oauth.Protocol},
		{"a subject in another case", 200, `{"sub":"Jane"}`, "jane", oauth.Protocol},
		{"two subjects", 200, `{"sub":"jane","sub":"joe"}`, "jane", oauth.Invalid},
		{"no subject", 200, `{"email":"jane@example.com"}`, "", oauth.Invalid},
		{"a page", 200, "<p>sub=jane</p>", "", oauth.Invalid},
		{"a form", 200, "sub=jane", "", oauth.Invalid},
		{"an error with 200", 200, `{"error":"invalid_token","sub":"jane"}`, "", oauth.Refused},
		{"401", 401, `{"error":"invalid_token"}`, "", oauth.Refused},
		{"403 without a word", 403, "", "", oauth.Refused},
		{"429", 429, "", "", oauth.Limited},
		{"500", 500, "", "", oauth.Ambiguous},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{status: test.status, body: test.body}
			claims, err := serve(t, server).Userinfo(t.Context(), secret.New("access"), test.subject)
			equal(t, "request", server.last(t).URL.Path+" "+server.last(t).Header.Get("Authorization"), "/userinfo Bearer access")
			if test.kind != "" {
				wantError(t, err, test.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "subject", claims.Subject, "jane")
		})
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string     // subject
		kind   oauth.Kind // "": it passes
	}{
		{"the person at its own paths", 200, `{"user":{"gid":12345678901234567890,"mail":"jane@example.com"}}`, "12345678901234567890", ""},
		{"an empty 204", 204, "", "", ""},
		{"a page", 200, "<p>hello</p>", "", ""},
		{"a subject with a control character", 200, `{"user":{"gid":"a\u0000b"}}`, "", ""},
		{"401", 401, "the-key", "", oauth.Refused},
		{"403", 403, "", "", oauth.Refused},
		{"an error with 200", 200, `{"ok":false,"error":"token_revoked","error_description":"the-key is bad"}`, "", oauth.Refused},
		{"a redirect to a login page", 302, "", "", oauth.ClientFault},
		{"500", 500, "", "", oauth.Ambiguous},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &transcript{status: test.status, body: test.body, header: http.Header{"Location": {"/login"}}}
			client := serve(t, server)
			client.Identity = oauth.IdentityPaths{Subject: "/user/gid", Email: "/user/mail"}
			client.TokenShape.Success = []oauth.Rule{{JSON: "/token-replies-only", Equals: "true"}}
			req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, client.Issuer+"/me", nil))
			req.Header.Set("X-Key", "the-key")
			claims, err := client.Check(req, secret.New("the-key"))
			equal(t, "header", server.last(t).Header.Get("X-Key"), "the-key")
			if test.kind != "" {
				wantError(t, err, test.kind)
				wantSilence(t, err, "the-key")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "subject", claims.Subject, test.want)
			if strings.Contains(fmt.Sprintf("%+v", claims.Raw), "jane") {
				t.Fatal("the raw claims print")
			}
		})
	}
}
