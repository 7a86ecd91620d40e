package secret

import "github.com/alexedwards/argon2id"

// cost is what RFC 9106 §4 and OWASP ask of argon2id where many may sign in at
// once: 19 MiB, two passes.
func cost() *argon2id.Params {
	return &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

// HashPassword returns a slow hash of a password, with its salt and cost (PHC
// string format).
func HashPassword(t Text) (string, error) { return argon2id.CreateHash(t.Reveal(), cost()) }

// nobody is the hash of a password that nobody has.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// IsPassword reports whether hash is HashPassword(t). It takes as long where
// there is no hash, so that the time does not tell who exists.
func IsPassword(t Text, hash string) bool {
	known := hash != ""
	if !known {
		hash = nobody
	}
	same, err := argon2id.ComparePasswordAndHash(t.Reveal(), hash)
	return err == nil && same && known && !t.Empty()
}
