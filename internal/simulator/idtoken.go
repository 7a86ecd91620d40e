package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keys sign ID tokens. Each is made when it is first needed: an RSA key takes
// as long as the rest of a demo's start.
type keys struct {
	onceRSA, onceEC sync.Once
	rsa             *rsa.PrivateKey
	ec              *ecdsa.PrivateKey
}

const (
	rsaKeyID = "acorn-rs256"
	ecKeyID  = "acorn-es256"
)

func (k *keys) rs256() *rsa.PrivateKey {
	k.onceRSA.Do(func() {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err) // 2048 bits are always allowed
		}
		k.rsa = key
	})
	return k.rsa
}

func (k *keys) es256() *ecdsa.PrivateKey {
	k.onceEC.Do(func() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err) // P-256 always exists
		}
		k.ec = key
	})
	return k.ec
}

// jwks publishes both keys (RFC 7517 §5).
func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: s.keys.rs256().Public(), KeyID: rsaKeyID, Algorithm: "RS256", Use: "sig"},
		{Key: s.keys.es256().Public(), KeyID: ecKeyID, Algorithm: "ES256", Use: "sig"},
	}})
}

// idToken makes the ID token of an answer (OpenID Connect Core §2, §12.2).
func (s *Simulator) idToken(q tokenRequest, out issued, refreshing bool) string {
	now := s.cfg.Now().Add(time.Duration(q.sw.ClockOffsetSeconds) * time.Second)
	claims := map[string]any{
		"iss": s.issuer(q.http), "sub": out.grant.subject(), "aud": q.client.ID, "azp": q.client.ID,
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "auth_time": out.grant.authTime.Unix(),
		"at_hash": atHash(out.pair.access),
	}
	if out.grant.nonce != "" {
		claims["nonce"] = out.grant.nonce
	}
	s.addProfile(claims, out.grant.user, out.pair.scope)
	for _, f := range claimFaults {
		if f.on(q.sw) {
			f.do(claims)
		}
	}
	if refreshing && q.sw.IDTokenOtherSub {
		claims["sub"] = otherSubject
	}
	return s.sign(q, claims)
}

// otherSubject is nobody's.
const otherSubject = "somebody-else"

var claimFaults = []struct {
	on func(*Switches) bool
	do func(map[string]any)
}{
	{func(sw *Switches) bool { return sw.IDTokenWrongIss }, claim("iss", "https://issuer.invalid")},
	{func(sw *Switches) bool { return sw.IDTokenWrongAud }, claim("aud", "another-client")},
	{func(sw *Switches) bool { return sw.IDTokenWrongAzp }, claim("azp", "another-client")},
	{func(sw *Switches) bool { return sw.IDTokenWrongNonce }, claim("nonce", "another-nonce")},
	{func(sw *Switches) bool { return sw.IDTokenNoNonce }, noClaim("nonce")},
	{func(sw *Switches) bool { return sw.IDTokenExpired }, expired},
	{func(sw *Switches) bool { return sw.IDTokenNoSub }, noClaim("sub")},
	{func(sw *Switches) bool { return sw.IDTokenBadAtHash }, claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")},
}

func claim(name string, value any) func(map[string]any) {
	return func(c map[string]any) { c[name] = value }
}

func noClaim(name string) func(map[string]any) {
	return func(c map[string]any) { delete(c, name) }
}

// expired makes the token a day old.
func expired(c map[string]any) {
	c["iat"] = c["iat"].(int64) - 86400
	c["exp"] = c["exp"].(int64) - 86400
}

// atHash is the left half of the token's SHA-256 (OpenID Connect Core §3.1.3.6).
func atHash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (s *Simulator) sign(q tokenRequest, claims map[string]any) string {
	switch sw := q.sw; {
	case sw.IDTokenAlgNone:
		return unsigned(claims)
	case sw.IDTokenHS256Secret:
		return sign(jose.HS256, padded(q.client.Secret.Reveal()), rsaKeyID, claims)
	case sw.IDTokenHS256PublicKey:
		return sign(jose.HS256, publicPEM(s.keys.rs256().Public()), rsaKeyID, claims)
	case sw.IDTokenUnknownKid:
		return sign(jose.RS256, s.keys.rs256(), "acorn-unknown", claims)
	case sw.IDTokenBadSignature:
		return spoiled(sign(jose.RS256, s.keys.rs256(), rsaKeyID, claims))
	case sw.IDTokenES256:
		return sign(jose.ES256, s.keys.es256(), ecKeyID, claims)
	default:
		return sign(jose.RS256, s.keys.rs256(), rsaKeyID, claims)
	}
}

func sign(alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err) // the key is of the algorithm's kind
	}
	payload, _ := json.Marshal(claims) // texts and numbers
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return compact
}

// unsigned makes an unsecured token (RFC 7519 §6).
func unsigned(claims map[string]any) string {
	payload, _ := json.Marshal(claims)
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + e.EncodeToString(payload) + "."
}

// spoiled changes one character in the middle of the signature.
func spoiled(token string) string {
	at := (strings.LastIndexByte(token, '.') + len(token)) / 2
	b := byte('A')
	if token[at] == b {
		b = 'B'
	}
	return token[:at] + string(b) + token[at+1:]
}

// padded makes a key long enough for HS256 (RFC 7518 §3.2). HMAC itself pads
// with zeros (RFC 2104 §2), so the signature is that of the secret as it is.
func padded(text string) []byte {
	return append([]byte(text), make([]byte, max(0, 32-len(text)))...)
}

func publicPEM(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // RSA has a PKIX form
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// addProfile adds the claims that the scopes allow (OpenID Connect Core §5.4).
func (s *Simulator) addProfile(claims map[string]any, u *User, scope scopeSet) {
	if scope&s.scope("profile") != 0 {
		claims["name"], claims["preferred_username"] = u.FullName, u.Name
	}
	if scope&s.scope("email") != 0 && u.Email != "" {
		claims["email"], claims["email_verified"] = u.Email, true
	}
}

// userinfo answers GET and POST (OpenID Connect Core §5.3), and plain OAuth
// clients as well.
func (s *Simulator) userinfo(w http.ResponseWriter, r *http.Request, o opened) {
	claims := map[string]any{"sub": o.grant.subject()}
	if o.grant.user != nil {
		s.addProfile(claims, o.grant.user, o.scope)
	}
	if s.take(atUserinfo).UserinfoOtherSub {
		claims["sub"] = otherSubject
	}
	writeJSON(w, http.StatusOK, claims)
}

// metadata serves RFC 8414 and OpenID Connect Discovery alike.
func (s *Simulator) metadata(w http.ResponseWriter, r *http.Request) {
	iss := s.issuer(r)
	names := []string{}
	for _, sc := range s.cfg.Scopes {
		names = append(names, sc.Name)
	}
	types := []string{"code"}
	if s.settings().Implicit {
		types = append(types, "token")
	}
	auth := []string{"client_secret_basic", "client_secret_post", "none"}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         iss,
		"authorization_endpoint":                         iss + "/authorize",
		"token_endpoint":                                 iss + "/token",
		"userinfo_endpoint":                              iss + "/userinfo",
		"introspection_endpoint":                         iss + "/introspect",
		"revocation_endpoint":                            iss + "/revoke",
		"jwks_uri":                                       iss + "/jwks",
		"scopes_supported":                               names,
		"claims_supported":                               []string{"sub", "name", "preferred_username", "email", "email_verified", "auth_time"},
		"subject_types_supported":                        []string{"public"},
		"response_types_supported":                       types,
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", "client_credentials", "password"},
		"prompt_values_supported":                        []string{"none", "login", "consent"},
		"code_challenge_methods_supported":               []string{"S256"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "ES256"},
		"token_endpoint_auth_methods_supported":          auth,
		"introspection_endpoint_auth_methods_supported":  auth,
		"revocation_endpoint_auth_methods_supported":     auth,
		"authorization_response_iss_parameter_supported": true,
	})
}
