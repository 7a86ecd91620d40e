package oauth

import (
	"net/url"
	"slices"

	"github.com/behalf-dev/behalf/internal/secret"
)

const (
	maxCode  = 8 << 10  // some servers' codes are encrypted tokens
	maxWord  = 2 << 10  // state, iss
	maxToken = 64 << 10 // more than any server takes in a header
)

// Callback is an authorization response (RFC 6749 §4.1.2 and §4.2.2). Nothing
// in it is true before the caller has found its own State in it and
// CheckCallback has passed.
type Callback struct {
	State secret.Text
	Code  secret.Text
	Iss   string
	// The provider's words, not yet cleaned: shown only through CheckCallback.
	Error, ErrorDescription, ErrorURI string

	// Of the implicit grant only.
	AccessToken                 secret.Text
	TokenType, ExpiresIn, Scope string
}

// ParseCallback reads the parameters of an authorization response, from the
// query, a form or a fragment. One of ours that comes twice (RFC 6749 §3.1), is
// too long, or holds what its syntax forbids (RFC 6749 appendix A) fails.
// Unknown ones are ignored.
func ParseCallback(v url.Values) (Callback, error) {
	var cb Callback
	for _, p := range []struct {
		name string
		max  int
		text *string
		hide *secret.Text
	}{
		{"state", maxWord, nil, &cb.State},
		{"code", maxCode, nil, &cb.Code},
		{"iss", maxWord, &cb.Iss, nil},
		{"error", maxToken, &cb.Error, nil}, // cut when shown
		{"error_description", maxToken, &cb.ErrorDescription, nil},
		{"error_uri", maxToken, &cb.ErrorURI, nil},
		{"access_token", maxToken, nil, &cb.AccessToken},
		{"token_type", maxWord, &cb.TokenType, nil},
		{"expires_in", maxWord, &cb.ExpiresIn, nil},
		{"scope", maxCode, &cb.Scope, nil},
	} {
		values := v[p.name]
		switch {
		case len(values) == 0:
			continue
		case len(values) > 1:
			return Callback{}, callbackError(p.name + " came more than once")
		case len(values[0]) > p.max:
			return Callback{}, callbackError(p.name + " is too long")
		case p.hide == nil:
			*p.text = values[0]
		case !visible(values[0]):
			return Callback{}, callbackError(p.name + " holds characters that are not allowed")
		default:
			*p.hide = secret.New(values[0])
		}
	}
	return cb, nil
}

// CheckCallback reports whether the response is from this server and grants
// what was asked for. A provider's error comes back in its own words: Declined
// where the person said no.
func (c Config) CheckCallback(cb Callback) error {
	if err := c.checkIssuer(cb); err != nil {
		return err // first: the error of another server is none of ours
	}
	granted, other := cb.Code, cb.AccessToken
	if or(c.ResponseType, ResponseCode) == ResponseToken {
		granted, other = other, granted
	}
	switch {
	case !other.Empty():
		return callbackError("it grants what was not asked for")
	case cb.Error != "" && !granted.Empty():
		return callbackError("it grants and refuses at once")
	case cb.Error != "":
		return c.callbackRefused(cb)
	case granted.Empty():
		return callbackError("it neither grants nor refuses")
	}
	return nil
}

// checkIssuer compares iss as RFC 9207 §2.4 wants it: by simple string
// comparison. Without a known issuer there is nothing to compare.
func (c Config) checkIssuer(cb Callback) error {
	switch {
	case c.Issuer == "" && !c.RequireIss:
		return nil
	case cb.Iss == "" && c.RequireIss:
		return callbackError("iss is missing")
	case cb.Iss != "" && cb.Iss != c.Issuer:
		return callbackError("iss is not the expected issuer")
	}
	return nil
}

func (c Config) callbackRefused(cb Callback) error {
	e := &Error{Op: OpCallback, Kind: callbackKind(cb.Error), Reason: "the provider answered with an error"}
	e.say(words{cb.Error, cb.ErrorDescription, cb.ErrorURI}, c.secrets(cb.State)...)
	return e
}

// callbackKind follows RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6.
func callbackKind(code string) Kind {
	switch code {
	case "access_denied", "user_denied", "user_cancelled_login", "user_cancelled_authorize",
		"login_required", "consent_required", "interaction_required", "account_selection_required":
		return Declined
	case "temporarily_unavailable":
		return Limited
	case "server_error":
		return Transient
	case "unauthorized_client", "invalid_client", "invalid_request", "invalid_scope",
		"unsupported_response_type", "invalid_target":
		return ClientFault
	}
	return Refused
}

// ImplicitToken returns the token of a response that passed CheckCallback.
func (c Config) ImplicitToken(cb Callback) (Token, error) {
	doc := document{
		"access_token": cb.AccessToken.Reveal(),
		"token_type":   cb.TokenType,
		"expires_in":   cb.ExpiresIn,
		"scope":        cb.Scope,
	}
	t, reason := c.standard().token(doc, c.Scopes, c.Now())
	if reason != "" {
		return Token{}, callbackError(reason)
	}
	return t, nil
}

func callbackError(reason string) *Error {
	return &Error{Op: OpCallback, Kind: Protocol, Reason: reason}
}

// visible reports whether s is made of VSCHAR only (RFC 6749 appendix A): what
// passes can stand in a header.
func visible(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b < 0x20 || b > 0x7e })
}
