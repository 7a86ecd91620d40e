package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys    = 100
	keysKept   = time.Hour        // so that a key which the server withdrew ends
	keysPause  = 10 * time.Second // between fetches: an unknown kid costs an attacker nothing
	minRSABits = 2048             // RFC 7518 §3.3
	maxRSABits = 8192
)

// Keys keeps the signing keys of one JWKS URL between verifications, at most an
// hour. Its zero value is ready; it may be used by many goroutines. It belongs
// to one way out: the same URL may be another server elsewhere.
type Keys struct {
	mu      sync.Mutex
	url     string
	keys    []jose.JSONWebKey
	fetched time.Time
}

func (k *Keys) load(url string) ([]jose.JSONWebKey, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.url != url {
		return nil, time.Time{}
	}
	return k.keys, k.fetched
}

func (k *Keys) store(url string, keys []jose.JSONWebKey, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.url, k.keys, k.fetched = url, keys, now
}

// keySet checks one ID token's signature. It keeps what it read and why it
// failed: the verifier that calls it turns errors into text.
type keySet struct {
	Client
	algs    []string
	payload []byte
	claims  document
	err     *Error
}

// VerifySignature implements oidc.KeySet.
func (s *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	if s.payload, s.err = s.open(ctx, jwt); s.err != nil {
		return nil, s.err
	}
	var err error
	if s.claims, err = parseObject(s.payload); err != nil || !s.claims.plain() {
		s.err = idTokenError("its claims are not one JSON object with each claim once")
		return nil, s.err
	}
	return s.payload, nil
}

// plain reports whether no registered claim stands there twice, counting
// spellings in other cases: Go's decoder, which reads them next, takes the last.
func (doc document) plain() bool {
	for name, v := range doc {
		_, twice := v.(repeated)
		for _, claim := range []string{"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash"} {
			if strings.EqualFold(name, claim) && (twice || name != claim) {
				return false
			}
		}
	}
	return true
}

func (s *keySet) open(ctx context.Context, jwt string) ([]byte, *Error) {
	var algs []jose.SignatureAlgorithm
	for _, alg := range s.algs {
		algs = append(algs, jose.SignatureAlgorithm(alg))
	}
	jws, err := jose.ParseSignedCompact(jwt, algs)
	if err != nil {
		return nil, idTokenError("it is malformed")
	}
	cache := s.Keys
	if cache == nil {
		cache = new(Keys)
	}
	keys, fetched := cache.load(s.JWKSURL)
	age := s.Now().Sub(fetched)
	if age < keysKept {
		if payload := verifyWith(jws, keys); payload != nil {
			return payload, nil
		}
		if age < keysPause {
			return nil, idTokenError("no key of the server made its signature")
		}
	}
	keys, failure := s.fetchKeys(ctx)
	if failure != nil {
		return nil, failure
	}
	cache.store(s.JWKSURL, keys, s.Now())
	if payload := verifyWith(jws, keys); payload != nil {
		return payload, nil
	}
	return nil, idTokenError("no key of the server made its signature")
}

// verifyWith tries the keys that could have made the signature: those of its
// kid, of which there may be several, or all where it names none.
func verifyWith(jws *jose.JSONWebSignature, keys []jose.JSONWebKey) []byte {
	h := jws.Signatures[0].Header
	for _, k := range keys {
		if (h.KeyID != "" && k.KeyID != h.KeyID) || (k.Algorithm != "" && k.Algorithm != h.Algorithm) {
			continue
		}
		if payload, err := jws.Verify(k.Key); err == nil {
			return payload
		}
	}
	return nil
}

// fetchKeys gets the key set (RFC 7517 §5), leaving out what cannot verify.
func (c Client) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, *Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.JWKSURL, nil)
	if err != nil || req.URL.Host == "" {
		return nil, unsent(OpIDToken, "the JWKS URL is not an absolute URL")
	}
	r, err := c.send(OpIDToken, req)
	if err != nil {
		var e *Error
		errors.As(err, &e)
		return nil, e
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	switch err := json.Unmarshal(r.body, &set); {
	case !r.success():
		return nil, r.fail(kind(r.status, r.header, ""), "the server's keys cannot be had")
	case err != nil:
		return nil, r.fail(Invalid, "the server's key set is not a JSON object")
	case len(set.Keys) > maxKeys:
		return nil, r.fail(Invalid, "the server's key set is too long")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) == nil && usable(k) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func usable(k jose.JSONWebKey) bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return bits >= minRSABits && bits <= maxRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
