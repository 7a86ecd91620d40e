// Package oauth speaks OAuth 2.0 and OpenID Connect as a client.
//
// A Config says, as data, how one authorization server is spoken to; a Client
// does so over an *http.Client that the caller has bounded and guarded. What
// goes wrong is an *Error, whose Kind says what it means for the grant.
package oauth

import (
	"net/http"
	"slices"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// ClientAuth is how the client authenticates at the token and revocation
// endpoints: a token_endpoint_auth_method of RFC 7591 §2.
type ClientAuth string

const (
	Basic ClientAuth = "client_secret_basic" // the default, as in RFC 7591 §2
	Post  ClientAuth = "client_secret_post"
	None  ClientAuth = "none" // a public client: it only names itself

	BasicSecret ClientAuth = "basic_secret" // Basic with the secret as the user and no password
	Bearer      ClientAuth = "bearer"       // the access token, in a Shape only
)

// PKCE is the code challenge method of RFC 7636.
type PKCE string

const (
	PKCERequired PKCE = "S256" // the default
	PKCEOff      PKCE = "off"  // for servers that refuse an authorization request which carries a code challenge
)

// ResponseType is what the authorization endpoint is asked for.
type ResponseType string

const (
	ResponseCode  ResponseType = "code"  // the default
	ResponseToken ResponseType = "token" // legacy implicit grant, RFC 6749 §4.2: a token in the fragment, never a refresh token
)

// TokenBody is the format of the token request's body.
type TokenBody string

const (
	Form TokenBody = "form" // the default, RFC 6749 §4.1.3
	JSON TokenBody = "json"

	QueryBody TokenBody = "query" // the parameters stand in the URL, the body is empty
	NoBody    TokenBody = "none"  // no parameters are sent
)

// Param is one parameter of a request. Names may repeat (RFC 8707 §2). Text
// stands in for Value where that exists only once the request is made.
type Param struct {
	Name, Value string
	Text        Text
}

// Config is one client at one authorization server. URLs are absolute and hold
// no placeholders. The zero value of a field is the standard's behaviour.
type Config struct {
	ClientID     string
	ClientSecret secret.Text
	ClientAuth   ClientAuth
	// BasicRaw sends id and secret in the Basic scheme as they are. RFC 6749
	// §2.3.1 wants them form-encoded first; servers that do not decode exist.
	BasicRaw bool

	AuthorizationURL string
	TokenURL         string
	RefreshURL       string // empty: TokenURL
	UserinfoURL      string
	RevocationURL    string
	JWKSURL          string
	Issuer           string
	RedirectURI      string

	Scopes         []string
	ScopeSeparator string // default " "
	ScopeParam     string // parameter of the authorization request, default "scope"

	// Further parameters, in their order. One with an empty value is not sent
	// (RFC 6749 §3.1: it would mean the same), nor is what it replaces. What they
	// may replace is told at AuthorizationRequest, Exchange and Refresh.
	AuthorizationParams []Param
	TokenParams         []Param
	RefreshParams       []Param

	ResponseType ResponseType
	PKCE         PKCE
	PKCEMethod   string // S256 by default; S256-hex or plain
	// RequireIss refuses an authorization response without iss. True where the
	// server's metadata has authorization_response_iss_parameter_supported
	// (RFC 9207 §3).
	RequireIss bool
	TokenBody  TokenBody

	// Secrets that URLs and parameters were filled with, to be kept out of errors
	// together with those that this package knows by itself.
	Secrets []secret.Text

	// DefaultLifetime of an access token whose reply does not tell; 0: not known.
	DefaultLifetime time.Duration
	Reply           ReplyPaths // of token replies, unless a Shape has its own
	Identity        IdentityPaths

	// How this server differs from the RFCs.
	GrantType        string // of the token request; authorization_code by default
	RefreshGrantType string // refresh_token by default
	RefreshBody      TokenBody
	RefreshByAccess  bool // the access token renews itself: it is sent as access_token
	Authorize        AuthorizeShape
	CallbackShape    CallbackShape
	TokenShape       Shape
	RefreshShape     Shape
	RevokeShape      Shape
	RevokeBody       TokenBody
	RevokeParams     []Param
	IntrospectionURL string
	BeforeToken      []Step
	BeforeRefresh    []Step
	AfterToken       []Step // see Settle
	AfterRefresh     []Step
	PostConnect      []Step // see Step
	Slots            []Slot
	// Late fills, by its JSON name (token_url), a URL above that names what was
	// not known yet when the Config was made.
	Late map[string]Text

	// IDTokenAlgs are the signature algorithms taken from ID tokens; default
	// RS256, PS256, ES256, EdDSA. "none" and HMAC are never taken.
	IDTokenAlgs []string
	ClockSkew   time.Duration    // default one minute
	Now         func() time.Time // required
}

// ReplyPaths says where the parts of a token reply stand, as JSON pointers
// (RFC 6901) such as "/data/access_token". Empty means the standard place:
// the member of that name at the top.
type ReplyPaths struct {
	AccessToken, RefreshToken, IDToken, TokenType, ExpiresIn, Scope string
	Error, ErrorDescription, ErrorURI                               string

	ScopeSeparator   string // of granted scopes; spaces and commas are known without it
	ExpiresUnit      string // s (default), ms, min or h
	ExpiresFormat    string // in (default): from now; at: since 1970; rfc3339: a date; jwt: exp of the access token
	RefreshExpiresIn string // the refresh token's, in the same unit and format (in, where that is jwt)
	RetryAfter       string // a header, or a JSON pointer, that says when to come again
	RetryFormat      string // in (default), at or rfc3339
	RetryUnit        string // s (default) or ms
}

// IdentityPaths says where the reply of a check or userinfo request names the
// person, as JSON pointers. Empty means /sub, /email and /name.
type IdentityPaths struct{ Subject, Email, Name string }

// Client is a Config with the way out. HTTP bounds time and guards addresses;
// whatever it does about redirects, none is followed here.
type Client struct {
	Config
	HTTP *http.Client
	Keys *Keys // keeps the server's signing keys; nil: fetched at each verification
}

// OpenID reports whether the scopes make the authorization an OpenID one.
func (c Config) OpenID() bool { return slices.Contains(c.Scopes, "openid") }

func or[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}
