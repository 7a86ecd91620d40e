package behalf

import (
	"net/url"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Credential is the secret part of a connection. Each refresh makes a new
// generation; the last ones are kept.
type Credential struct {
	AccessToken  secret.Text
	RefreshToken secret.Text
	IDToken      secret.Text
	TokenType    string    // as the provider wrote it
	Scopes       []string  // as granted; nil when the provider did not say
	ExpiresAt    time.Time // zero: never told
	ObtainedAt   time.Time
}

// Merged returns got with what a refresh leaves out filled in from c: most
// providers send no new refresh token, and some no scope (RFC 6749 §6).
func (c Credential) Merged(got Credential) Credential {
	if got.RefreshToken.Empty() {
		got.RefreshToken = c.RefreshToken
	}
	if got.IDToken.Empty() {
		got.IDToken = c.IDToken
	}
	if got.Scopes == nil {
		got.Scopes = c.Scopes
	}
	return got
}

// Inputs is what an end user and the assistant gave for one connection: it
// fills placeholders for as long as the connection lives, and is sealed.
type Inputs struct {
	Fields   map[string]secret.Text // additional fields by key
	Captured map[string]string      // what the provider returned and the profile keeps
	Origins  []string               // where the connection's secrets may be sent; none: it was not made by a session
}

// MaySend returns nil where the connection was authorized for the origin of a
// URL. A profile whose hosts were changed afterwards does not take the tokens
// of its users with it.
func (in Inputs) MaySend(raw string) error {
	if len(in.Origins) == 0 || raw == "" || contains(in.Origins, originOf(raw)) {
		return nil
	}
	return Errorf(CodeAuthorizationRequired, "The profile names another host now than when the end user authorized; they must authorize again.")
}

// originOf returns the scheme, host and port of a filled URL.
func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
