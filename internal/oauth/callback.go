package oauth

import (
	"maps"
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

// CallbackShape says how the authorization response differs from RFC 6749 §4.1.2.
type CallbackShape struct {
	CodeParam, StateParam string
	ErrorParams           []string // besides error; their values are the provider's words
	Decode                bool     // the code is percent-encoded once more than it should be
	EmptyDeclined         bool     // neither a code nor an error means that the person said no
	Capture               []Capture
}

// States returns what of a callback's parameters may be a state of ours,
// wherever this server puts it: state first. Which it is, whoever keeps the
// states knows.
func States(v url.Values) []secret.Text {
	var found []secret.Text
	names := slices.Sorted(maps.Keys(v))
	slices.SortStableFunc(names, func(a, b string) int { return compareFirst(a, b, "state") })
	for _, name := range names {
		if s := v.Get(name); len(v[name]) == 1 && (name == "state" && s != "" && len(s) <= maxWord || len(s) == stateLength) && visible(s) && len(found) < 4 {
			found = append(found, secret.New(s))
		}
	}
	return found
}

// stateLength is that of the states that NewAttempt makes.
const stateLength = 43

func compareFirst(a, b, first string) int {
	switch {
	case a == b:
		return 0
	case a == first:
		return -1
	case b == first:
		return 1
	}
	return 0
}

// ParseCallback reads the parameters of an authorization response, from the
// query, a form or a fragment. One of ours that comes twice (RFC 6749 §3.1), is
// too long, or holds what its syntax forbids (RFC 6749 appendix A) fails.
// Unknown ones are ignored.
func ParseCallback(v url.Values) (Callback, error) { return Config{}.ParseCallback(v) }

// ParseCallback is the same for the parameters of this server.
func (c Config) ParseCallback(v url.Values) (Callback, error) {
	var cb Callback
	shape := c.CallbackShape
	for _, p := range []struct {
		name string
		max  int
		text *string
		hide *secret.Text
	}{
		{or(shape.StateParam, "state"), maxWord, nil, &cb.State},
		{or(shape.CodeParam, "code"), maxCode, nil, &cb.Code},
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
	cb.refusal(v, shape.ErrorParams)
	if shape.Decode && !cb.Code.Empty() {
		code, err := url.QueryUnescape(cb.Code.Reveal())
		if err != nil || !visible(code) {
			return Callback{}, callbackError("the code is not encoded as this provider does it")
		}
		cb.Code = secret.New(code)
	}
	return cb, nil
}

// refusal reads the words of a refusal that come in parameters of the
// provider's own: the first is the code of the error, the others tell of it.
func (cb *Callback) refusal(v url.Values, params []string) {
	for _, name := range params {
		switch word := v.Get(name); {
		case word == "" || len(word) > maxToken:
		case cb.Error == "":
			cb.Error = word
		case cb.ErrorDescription == "":
			cb.ErrorDescription = word
		}
	}
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
	case granted.Empty() && c.CallbackShape.EmptyDeclined:
		return &Error{Op: OpCallback, Kind: Declined, Reason: "the person came back without an authorization"}
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
	t, reason := c.token(ReplyPaths{}, doc, c.Scopes, c.Now())
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
