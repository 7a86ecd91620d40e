package behalf

// This file holds the shapes in which providers differ from the RFCs, as data.
// The rules are:
//
//   - The zero value of everything here is the standard's behaviour.
//   - One model describes every request that we make: the token request, the
//     refresh, the revocation and the steps around them are the same machine.
//   - Whatever is filled from a provider's reply is checked like input of a
//     person: a captured host must be among the allowed hosts.
//   - What a rule cannot say is not said: there is no scripting.

// Authorize says how the authorization request differs from RFC 6749 §4.1.1.
type Authorize struct {
	ScopeParam      string            `json:"scope_param,omitempty" doc:"The parameter that carries the scopes, scope by default."`
	Rename          map[string]string `json:"rename,omitempty" doc:"Names of the provider's own for standard parameters: {client_id: client_key}."`
	Omit            []string          `json:"omit,omitempty" doc:"Standard parameters that are not sent, such as response_type. Never state."`
	Raw             []string          `json:"raw,omitempty" doc:"Parameters whose values are sent as they stand, such as a scope with + between its parts."`
	ResponseType    string            `json:"response_type,omitempty" doc:"The value of response_type where the provider has one of its own for code."`
	RedirectURI     string            `json:"redirect_uri,omitempty" doc:"An alias that the provider knows our Callback Link by, sent in its place."`
	Fragment        bool              `json:"fragment,omitempty" doc:"The authorization URL is a route behind #; the parameters follow it there."`
	ReconnectParams []Param           `json:"reconnect_params,omitempty" doc:"Further parameters when the person has authorized before, such as prompt=consent."`
}

// Callback says how the authorization response differs from RFC 6749 §4.1.2.
type Callback struct {
	CodeParam     string    `json:"code_param,omitempty" doc:"The parameter that carries the code."`
	StateParam    string    `json:"state_param,omitempty" doc:"The parameter that carries our state."`
	ErrorParams   []string  `json:"error_params,omitempty" doc:"Parameters besides error that mean a refusal; their values are its words."`
	Decode        bool      `json:"decode,omitempty" doc:"The code is percent-encoded once more than it should be."`
	EmptyDeclined bool      `json:"empty_declined,omitempty" doc:"A return with neither code nor error means that the person said no."`
	Capture       []Capture `json:"capture,omitempty" doc:"Values of the callback's query to keep, such as realmId."`
}

// Shape says how one request to the provider and its reply differ from what
// the RFC of that request says.
type Shape struct {
	Method  string            `json:"method,omitempty" doc:"POST by default."`
	Auth    ClientAuth        `json:"auth,omitempty" doc:"Of this request alone; client_auth by default, nothing in a step. bearer sends the access token."`
	Headers []Param           `json:"headers,omitempty" doc:"Further headers; placeholders."`
	Rename  map[string]string `json:"rename,omitempty" doc:"Names of the provider's own for standard parameters: {client_id: appKey}."`
	Omit    []string          `json:"omit,omitempty" doc:"Standard parameters that are not sent, such as redirect_uri."`
	Success []Rule            `json:"success,omitempty" doc:"What a success must say, all of it; else it is an error whatever its status."`
	Errors  []ErrorRule       `json:"errors,omitempty" doc:"What errors mean; the first rule that holds decides."`
	Reply   Reply             `json:"reply,omitzero" doc:"Where things stand in the reply."`
	Capture []Capture         `json:"capture,omitempty" doc:"Values of the reply to keep for placeholders."`
}

// Step is a request of the profile's own, around the token request or after
// the person has connected.
type Step struct {
	Name   string   `json:"name" doc:"A letter, then letters, digits and underscores: how transcripts call the step."`
	URL    string   `json:"url" doc:"Placeholders."`
	Body   string   `json:"body,omitempty" doc:"form (default), json, query or none."`
	Params []Param  `json:"params,omitempty" doc:"What is sent; placeholders, {{accessToken}} and what earlier steps captured among them."`
	Token  bool     `json:"token,omitempty" doc:"The reply is a token reply that replaces the one before."`
	On     []string `json:"on,omitempty" doc:"connect (default) and refresh: when the step is made."`
	Shape
}

// Rule is one thing that an answer can say. All conditions that are set must hold.
type Rule struct {
	Status   int    `json:"status,omitempty"`
	Header   string `json:"header,omitempty" doc:"A header that must be there, or say equals."`
	JSON     string `json:"json,omitempty" doc:"JSON pointer (RFC 6901) into the answer."`
	Equals   string `json:"equals,omitempty" doc:"The whole text at json or header."`
	Contains string `json:"contains,omitempty" doc:"A part of that text, whatever its case."`
}

// ErrorRule gives a meaning to an answer.
type ErrorRule struct {
	Rule
	Class ErrorClass `json:"class" doc:"lapsed, client, limited, transient or ambiguous."`
}

// ErrorClass is what a failure means for the grant.
type ErrorClass string

const (
	ClassLapsed    ErrorClass = "lapsed"    // this grant is refused: the person must authorize again
	ClassClient    ErrorClass = "client"    // our id or secret, or how we ask: no connection is at fault
	ClassLimited   ErrorClass = "limited"   // come later
	ClassTransient ErrorClass = "transient" // nothing was done
	ClassAmbiguous ErrorClass = "ambiguous" // it cannot be told whether the grant was used
)

// Reply says where the parts of a token reply stand, as JSON pointers (RFC
// 6901) such as /data/access_token. Empty means the standard place.
type Reply struct {
	AccessToken      string `json:"access_token,omitempty"`
	RefreshToken     string `json:"refresh_token,omitempty"`
	IDToken          string `json:"id_token,omitempty"`
	TokenType        string `json:"token_type,omitempty"`
	Scope            string `json:"scope,omitempty"`
	ScopeSeparator   string `json:"scope_separator,omitempty" doc:"Of the granted scopes; spaces and commas are known without it."`
	ExpiresIn        string `json:"expires_in,omitempty" doc:"Where the lifetime or the end stands."`
	ExpiresUnit      string `json:"expires_unit,omitempty" doc:"s (default), ms, min or h."`
	ExpiresFormat    string `json:"expires_format,omitempty" doc:"in (default): counted from now; at: since 1970; rfc3339: a date; jwt: exp of the access token."`
	RefreshExpiresIn string `json:"refresh_expires_in,omitempty" doc:"Where the refresh token's lifetime stands, in the same unit and format."`
	Error            string `json:"error,omitempty"`
	ErrorDescription string `json:"error_description,omitempty"`
	RetryAfter       string `json:"retry_after,omitempty" doc:"A header, or a JSON pointer, that says when to come again; Retry-After is known without it."`
	RetryFormat      string `json:"retry_format,omitempty" doc:"in (default) or at, in retry_unit; or rfc3339."`
	RetryUnit        string `json:"retry_unit,omitempty" doc:"s (default) or ms."`
}

// Capture keeps a value that the provider returned. It is a placeholder of its
// name from then on.
type Capture struct {
	Name     string  `json:"name" doc:"A letter, then letters, digits and underscores."`
	JSON     string  `json:"json,omitempty" doc:"JSON pointer into the reply."`
	Header   string  `json:"header,omitempty" doc:"A header of the reply; Set-Cookie gives the cookies as a Cookie header has them."`
	Param    string  `json:"param,omitempty" doc:"A parameter of the callback."`
	Kind     string  `json:"kind,omitempty" doc:"text (default), or origin: an https origin that may stand for the whole host of a URL and must be among the allowed hosts."`
	Required bool    `json:"required,omitempty" doc:"Without it the step has failed."`
	Secret   bool    `json:"secret,omitempty" doc:"Masked wherever it is recorded."`
	Pattern  string  `json:"pattern,omitempty" doc:"A regular expression that the whole value must match; of one with a group the group is kept."`
	Choose   *Choose `json:"choose,omitempty" doc:"The reply lists several; the person chooses one."`
}

// Choose says how the entries of a list are told apart.
type Choose struct {
	Items string `json:"items" doc:"JSON pointer to the list, / for the reply itself being one."`
	Value string `json:"value" doc:"JSON pointer from an entry to its value."`
	Label string `json:"label,omitempty" doc:"JSON pointer from an entry to what a person reads."`
	Title string `json:"title,omitempty" doc:"What the person is asked: Which site?"`
}

// Slot is a further token of the same grant: a user's token beside the bot's.
// Its placeholders are {{slots.name.accessToken}} and {{slots.name.tokenType}}.
type Slot struct {
	Name   string  `json:"name" doc:"A letter, then letters, digits and underscores."`
	Reply  Reply   `json:"reply,omitzero" doc:"Where its parts stand in the token reply."`
	Derive []Param `json:"derive,omitempty" doc:"Parameters of a refresh request with the grant's refresh token that brings this token, for another audience."`
}

// Revoke says how a grant is taken back where that differs from RFC 7009.
type Revoke struct {
	Tokens    []string `json:"tokens,omitempty" doc:"refresh_token and access_token, in the order in which they are revoked. Default: the refresh token, else the access token."`
	Body      string   `json:"body,omitempty" doc:"form (default), json, query or none."`
	Params    []Param  `json:"params,omitempty" doc:"Further parameters; {{token}} is what is revoked."`
	ManageURL string   `json:"manage_url,omitempty" doc:"The provider's page of connected applications, shown where revoking is not possible or not enough."`
	Note      string   `json:"note,omitempty" doc:"What the person should know, such as that the application stays listed."`
	Shape
}
