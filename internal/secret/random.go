package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// Random returns 256 random bits as 43 characters of base64url.
func Random() Text { return New(random()) }

// NewKey returns a key that is shown to us: the prefix, then what Random returns.
// The prefix lets scanners for leaked secrets recognise it.
func NewKey(prefix string) Text { return New(prefix + random()) }

func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash returns the SHA-256 of a secret that has at least 128 random bits of its
// own (a key, a state, a one-time code); a password wants a slow hash instead.
func Hash(t Text) []byte {
	h := sha256.Sum256([]byte(t.Reveal()))
	return h[:]
}

// HashEqual reports whether hash is Hash(t), in constant time.
func HashEqual(t Text, hash []byte) bool {
	return !t.Empty() && subtle.ConstantTimeCompare(Hash(t), hash) == 1
}
