package oauth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// SameSubject returns nil where the token came without an ID token or with one
// for the subject, and a Protocol error otherwise. It makes no request, so that
// nothing stands between a refresh and the keeping of its answer: what comes
// from the token endpoint itself needs no signature (OpenID Connect Core
// §3.1.3.7, item 6), and §12.2 asks for the same sub.
func SameSubject(t Token, subject string) error {
	if t.IDToken.Empty() || subject == "" {
		return nil
	}
	parts := strings.Split(t.IDToken.Reveal(), ".")
	if len(parts) != 3 {
		return idTokenError("it is not a signed JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return idTokenError("its payload is not base64url")
	}
	var claims struct {
		Sub string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Sub != subject {
		return idTokenError("sub is not the connection's")
	}
	return nil
}
