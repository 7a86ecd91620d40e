package oauth

import (
	"encoding/base64"
	"strings"
)

// SameSubject returns nil where the token came without an ID token or with one
// of the issuer for the subject, and a Protocol error otherwise. It makes no
// request, so that nothing stands between a refresh and the keeping of its
// answer: what comes from the token endpoint itself needs no signature (OpenID
// Connect Core §3.1.3.7, item 6), and §12.2 asks for the same iss and sub.
func (c Config) SameSubject(t Token, subject string) error {
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
	claims, err := parseObject(payload)
	switch {
	case err != nil:
		return idTokenError("its payload is not a JSON object")
	case claims.claim("/iss") != c.Issuer:
		return idTokenError("iss is not the issuer")
	case claims.claim("/sub") != subject:
		return idTokenError("sub is not the connection's")
	}
	return nil
}

// TextAt returns the text of the scalar that a JSON pointer (RFC 6901) names in
// a JSON object, and whether there is one.
func TextAt(body []byte, pointer string) (string, bool) {
	doc, err := parseObject(body)
	if err != nil {
		return "", false
	}
	v := doc.at(pointer)
	if _, twice := v.(repeated); v == nil || twice {
		return "", false
	}
	return text(v), true
}
