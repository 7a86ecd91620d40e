package behalf

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// AuthorizationType is how a profile's connections come by their credential.
type AuthorizationType string

const (
	OAuth2                  AuthorizationType = "oauth2" // authorization code
	OAuth2ClientCredentials AuthorizationType = "oauth2_client_credentials"
	OAuth2Password          AuthorizationType = "oauth2_password"
	OAuth2Device            AuthorizationType = "oauth2_device"
	JWTBearer               AuthorizationType = "jwt_bearer"
	TokenExchange           AuthorizationType = "token_exchange"
	APIKey                  AuthorizationType = "api_key"
	Basic                   AuthorizationType = "basic"
)

// Mode is who authorizes.
type Mode string

const (
	ModeUser          Mode = "user"          // each end user for themselves
	ModePreauthorized Mode = "preauthorized" // an administrator once, for all users of the assistant
)

// Profile is an authorization profile: how an assistant's users authorize at
// one web application, and how the assistant then calls it.
type Profile struct {
	ID        ProfileID
	Assistant AssistantID
	Slug      string
	Definition
	Secrets   ProfileSecrets
	Plan      *Plan // nil while only reserved
	Status    ProfileStatus
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time // zero: it is not deleted
	PurgeAt   time.Time // of a deleted one: until when it can be restored
}

// ProfileStatus is what the reader of a list can do about a profile.
type ProfileStatus string

const (
	ProfileReserved   ProfileStatus = "reserved"   // only its id and Callback Link exist yet
	ProfileConfigured ProfileStatus = "configured" // ready
	ProfileFailing    ProfileStatus = "failing"    // the provider refuses our client id or secret
)

// ProfileSecrets is what of a profile is sealed: never shown, exported or logged.
type ProfileSecrets struct {
	Client []ClientSecret // newest first, tried in order
}

// ClientSecret is one secret of the profile's OAuth client.
type ClientSecret struct {
	Value     secret.Text
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// Definition is a profile as an administrator writes it: the form, the JSON and
// the file have these fields.
type Definition struct {
	Type                AuthorizationType    `json:"type,omitempty" doc:"How a connection comes by its credential: oauth2 (authorization code), oauth2_client_credentials, oauth2_password, api_key or basic."`
	Name                string               `json:"name,omitempty" doc:"Required, at most 255 characters, unique in the assistant."`
	Provider            string               `json:"provider,omitempty" doc:"Identity Provider Name: the web application, for example Asana. Required, at most 255 characters."`
	Description         string               `json:"description,omitempty" doc:"Free text, at most 4000 characters."`
	ClientID            string               `json:"client_id,omitempty" doc:"Required, at most 255 characters."`
	ClientSecretFrom    string               `json:"client_secret_from,omitempty" doc:"Where profiles as files take the client secret from: env:NAME or file:/path. The secret itself is sent as client_secret."`
	AuthorizationURL    string               `json:"authorization_url,omitempty" doc:"Required, at most 3000 characters; may carry a query and placeholders."`
	TokenURL            string               `json:"token_url,omitempty" doc:"Required for oauth2, at most 3000 characters, placeholders."`
	RefreshURL          string               `json:"refresh_url,omitempty" doc:"At most 3000 characters, placeholders. Empty means the token URL."`
	Scope               []ScopeParam         `json:"scope,omitempty" doc:"The key scope holds scopes; any other key becomes a parameter of the authorization request."`
	Connector           *string              `json:"connector,omitempty" doc:"Name of the connector that carries every call of this profile."`
	Mode                Mode                 `json:"mode,omitempty" doc:"user (default) or preauthorized."`
	Tenancy             *Tenancy             `json:"tenancy,omitempty" doc:"Set when each person belongs to an organization that stands in the URLs as {tenant}."`
	AdditionalFields    []AdditionalField    `json:"additional_fields,omitempty" doc:"What is asked of the end user beside the login."`
	AuthorizationFields []AuthorizationField `json:"authorization_fields,omitempty" doc:"What is put on every call. None: the access token goes as Authorization: Bearer."`
	SendToken           *bool                `json:"send_token,omitempty" doc:"False: the access token is not sent as Authorization: Bearer."`
	AuthError           []Rule               `json:"auth_error,omitempty" doc:"Answers besides 401 that mean the token is bad."`
	CheckURL            string               `json:"check_url,omitempty" doc:"Must answer 2xx with a fresh token, or the connection is not made."`
	API                 API                  `json:"api,omitzero" doc:"Where calls go."`
	OAuth               OAuthSettings        `json:"oauth,omitzero" doc:"The Advanced group."`
}

// ScopeParam is a row of the Scope table.
type ScopeParam struct {
	Key      string `json:"key" doc:"scope, or the name of a parameter of the authorization request."`
	Value    string `json:"value" doc:"One or more scopes, separated as scope_separator says; placeholders."`
	Required bool   `json:"required,omitempty" doc:"A connection is not made when the provider grants less."`
}

// Tenancy describes the person's organization at the provider.
type Tenancy struct {
	BaseURL string   `json:"base_url" doc:"Holds {tenant}: https://{tenant}.service-now.com"`
	Pattern string   `json:"pattern,omitempty" doc:"A regular expression that the whole tenant must match."`
	Allowed []string `json:"allowed,omitempty" doc:"The only tenants that are taken."`
	Default string   `json:"default,omitempty"`
	Label   string   `json:"label,omitempty" doc:"What the end user is asked for: Your ServiceNow instance"`
}

// API says where the assistant's calls go.
type API struct {
	BaseURL      string   `json:"base_url,omitempty" doc:"What a proxied path is appended to; placeholders."`
	AllowedHosts []string `json:"allowed_hosts,omitempty" doc:"Hosts that may receive a credential; * stands for one label. Default: the hosts of the profile's own URLs."`
}

// ClientAuth is how our client proves itself at the token endpoint, in the
// words of RFC 7591 without their client_secret_ prefix.
type ClientAuth string

const (
	ClientAuthBasic ClientAuth = "basic"
	ClientAuthPost  ClientAuth = "post"
	ClientAuthNone  ClientAuth = "none"

	ClientAuthBasicSecret ClientAuth = "basic_secret" // Basic with the secret as the user and no password
	ClientAuthBearer      ClientAuth = "bearer"       // the access token; only in a Shape
)

// PKCE says whether code_challenge is sent (RFC 7636, always S256).
type PKCE string

const (
	PKCERequired PKCE = "required"
	PKCEOff      PKCE = "off"
)

// OAuthSettings is the Advanced group. Its zero value is what RFC 6749 and RFC
// 9700 ask for.
type OAuthSettings struct {
	ClientAuth          ClientAuth `json:"client_auth,omitempty" doc:"basic (default), post, none or basic_secret."`
	BasicRaw            bool       `json:"basic_raw,omitempty" doc:"Send id and secret in Basic without form-encoding them first, as some providers want."`
	PKCE                PKCE       `json:"pkce,omitempty" doc:"required (default, S256) or off."`
	ResponseType        string     `json:"response_type,omitempty" doc:"code (default), or token: the legacy implicit response, without refresh, only by opt-in."`
	ScopeSeparator      string     `json:"scope_separator,omitempty" doc:"One character; a space by default."`
	Issuer              string     `json:"issuer,omitempty" doc:"The provider's issuer identifier; turns on iss and ID token validation."`
	RequireIss          bool       `json:"require_iss,omitempty" doc:"The provider always sends iss with the callback (RFC 9207)."`
	JWKSURL             string     `json:"jwks_url,omitempty" doc:"Keys of the ID token's signature; required with issuer when the openid scope is asked for."`
	UserinfoURL         string     `json:"userinfo_url,omitempty" doc:"Asked once after the exchange, for the account's subject and label."`
	RevocationURL       string     `json:"revocation_url,omitempty" doc:"RFC 7009."`
	TokenBody           string     `json:"token_body,omitempty" doc:"form (default), json, query or none."`
	AuthorizationParams []Param    `json:"authorization_params,omitempty" doc:"Extra parameters of the authorization request."`
	TokenParams         []Param    `json:"token_params,omitempty" doc:"Extra parameters of the token request."`
	RefreshParams       []Param    `json:"refresh_params,omitempty" doc:"Extra parameters of the refresh request."`
	TokenLifetime       Seconds    `json:"token_lifetime,omitempty" doc:"Seconds that an access token lives when the provider does not say."`
	Refresh             Refresh    `json:"refresh,omitzero"`

	PKCEMethod       string    `json:"pkce_method,omitempty" doc:"S256 (default); S256-hex or plain where a provider takes nothing else."`
	IntrospectionURL string    `json:"introspection_url,omitempty" doc:"RFC 7662: asked for the token's validity and end where the reply does not tell it."`
	GrantType        string    `json:"grant_type,omitempty" doc:"The value of grant_type where the provider has one of its own."`
	Authorize        Authorize `json:"authorize,omitzero" doc:"How the authorization request differs from the standard."`
	Callback         Callback  `json:"callback,omitzero" doc:"How the authorization response differs."`
	BeforeToken      []Step    `json:"before_token,omitempty" doc:"Requests that come before the token request."`
	Token            Shape     `json:"token,omitzero" doc:"How the token request and its reply differ."`
	AfterToken       []Step    `json:"after_token,omitempty" doc:"Requests that follow it before the token can be used, such as an exchange for a long-lived one."`
	PostConnect      []Step    `json:"post_connect,omitempty" doc:"Requests made once the token has been validated, to learn what later calls need."`
	Slots            []Slot    `json:"slots,omitempty" doc:"Further tokens of the same grant."`
	Revoke           Revoke    `json:"revoke,omitzero" doc:"How revocation differs from RFC 7009."`
}

// Param is one extra parameter; the value takes placeholders.
type Param struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Refresh is what is known of the provider's refresh tokens.
type Refresh struct {
	Rotates      string  `json:"rotates,omitempty" doc:"yes, no, or empty: learned from the first refresh."`
	ReplayWindow Seconds `json:"replay_window,omitempty" doc:"Seconds in which an old refresh token may be presented again."`
	MinAge       Seconds `json:"min_age,omitempty" doc:"Seconds that an access token must have lived before it may be refreshed."`
	Buffer       Seconds `json:"buffer,omitempty" doc:"Seconds before its end at which an access token is renewed. Default: a tenth of its life, 30 seconds to 5 minutes."`
	MaxAge       Seconds `json:"max_age,omitempty" doc:"Seconds after which a refresh token ends however it is used."`
	Idle         Seconds `json:"idle,omitempty" doc:"Seconds after which a refresh token ends that was not used."`
	Grant        string  `json:"grant,omitempty" doc:"refresh_token (default); access_token: the access token renews itself while it lives; reissue: the first request is made again; none."`
	GrantType    string  `json:"grant_type,omitempty" doc:"The value of grant_type where the provider has one of its own."`
	Body         string  `json:"body,omitempty" doc:"form, json, query or none; token_body by default."`
	Shape
}

// Seconds is a duration on the wire.
type Seconds int64

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// ClientSecrets returns the secrets that have not expired, newest first.
func (p Profile) ClientSecrets(now time.Time) []secret.Text {
	var out []secret.Text
	for _, s := range p.Secrets.Client {
		if s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt) {
			out = append(out, s.Value)
		}
	}
	return out
}

// Same reports whether the profile has the definition and the client secrets of
// another, as if it had been saved and read.
func (p Profile) Same(o Profile) bool {
	mine, err := json.Marshal(p.Definition)
	theirs, err2 := json.Marshal(o.Definition)
	return err == nil && err2 == nil && bytes.Equal(mine, theirs) && slices.EqualFunc(p.Secrets.Client, o.Secrets.Client, func(a, b ClientSecret) bool {
		return a.Value.Equal(b.Value) && a.ExpiresAt.Equal(b.ExpiresAt)
	})
}

// Finished returns the definition with the defaults filled in.
func (d Definition) Finished() Definition {
	if d.Mode == "" {
		d.Mode = ModeUser
	}
	o := &d.OAuth
	if o.ClientAuth == "" {
		o.ClientAuth = ClientAuthBasic
	}
	if o.PKCE == "" {
		o.PKCE = PKCERequired
	}
	if o.ResponseType == "" {
		o.ResponseType = "code"
	}
	if o.ScopeSeparator == "" {
		o.ScopeSeparator = " "
	}
	if o.TokenBody == "" {
		o.TokenBody = "form"
	}
	return d
}

// Scopes returns the scopes of the rows with key scope, and those that are required.
func (d Definition) Scopes() (all, required []string) {
	for _, row := range d.Scope {
		if row.Key != "scope" {
			continue
		}
		for _, s := range splitScope(row.Value, d.OAuth.ScopeSeparator) {
			if contains(all, s) {
				continue
			}
			all = append(all, s)
			if row.Required {
				required = append(required, s)
			}
		}
	}
	return all, required
}

// SendsToken reports whether the access token goes as Authorization: Bearer.
// A row for that header replaces it.
func (d Definition) SendsToken() bool {
	if d.SendToken != nil && !*d.SendToken {
		return false
	}
	for _, f := range d.AuthorizationFields {
		if f.In == InHeader && equalHeader(f.Key, "Authorization") {
			return false
		}
	}
	return true
}

// SplitSecrets returns the definition as it may be shown, and what was taken
// out of it: the literal values of secret authorization fields and of password
// fields, and those of headers and parameters of requests to the provider that
// look secret, by FieldSecretKey.
func (d Definition) SplitSecrets() (Definition, map[string]secret.Text) {
	taken := map[string]secret.Text{}
	d.AuthorizationFields = slices.Clone(d.AuthorizationFields)
	for i := range d.AuthorizationFields {
		f := &d.AuthorizationFields[i]
		if f.Secret && writeOnly(f.Value) {
			taken[authorizationKey(*f)] = secret.New(f.Value)
			f.Value = ""
		}
	}
	d.AdditionalFields = slices.Clone(d.AdditionalFields)
	for i := range d.AdditionalFields {
		f := &d.AdditionalFields[i]
		if f.Type == FieldPassword && f.Value != "" {
			taken[FieldSecretKey("additional_fields", "", f.Key)] = secret.New(f.Value)
			f.Value = ""
		}
	}
	return d.eachParam(func(list string, p *Param) {
		if hiddenParam(*p) {
			taken[FieldSecretKey(list, "", p.Key)] = secret.New(p.Value)
			p.Value = ""
		}
	}), taken
}

// JoinSecrets is the inverse of SplitSecrets: it fills in the values that are
// absent, so that a definition which was read and sent back keeps its secrets.
func (d Definition) JoinSecrets(taken map[string]secret.Text) Definition {
	d.AuthorizationFields = slices.Clone(d.AuthorizationFields)
	for i := range d.AuthorizationFields {
		f := &d.AuthorizationFields[i]
		if v, ok := taken[d.keptKey(*f, taken)]; ok && f.Secret && f.Value == "" {
			f.Value = v.Reveal()
		}
	}
	d.AdditionalFields = slices.Clone(d.AdditionalFields)
	for i := range d.AdditionalFields {
		f := &d.AdditionalFields[i]
		if v, ok := taken[FieldSecretKey("additional_fields", "", f.Key)]; ok && f.Type == FieldPassword && f.Value == "" {
			f.Value = v.Reveal()
		}
	}
	return d.eachParam(func(list string, p *Param) {
		if v, ok := taken[FieldSecretKey(list, "", p.Key)]; ok && p.Value == "" {
			p.Value = v.Reveal()
		}
	})
}

// keptKey returns where the kept value of a secret field is found: under its
// own key, or, where its methods or paths have been changed, under the only one
// of the same place and name that no other field claims.
func (d Definition) keptKey(f AuthorizationField, taken map[string]secret.Text) string {
	own := authorizationKey(f)
	if _, ok := taken[own]; ok {
		return own
	}
	same := func(key string) bool {
		return strings.HasPrefix(key, FieldSecretKey("authorization_fields", string(f.In), "")) && strings.HasSuffix(key, "\x00"+strings.ToLower(f.Key))
	}
	var free []string
	for key := range taken {
		if same(key) {
			free = append(free, key)
		}
	}
	asking := 0
	for _, other := range d.AuthorizationFields {
		key := authorizationKey(other)
		if !other.Secret || !same(key) {
			continue
		}
		if _, ok := taken[key]; ok {
			free = slices.DeleteFunc(free, func(s string) bool { return s == key })
		} else if other.Value == "" {
			asking++
		}
	}
	if len(free) != 1 || asking != 1 {
		return own
	}
	return free[0]
}

func authorizationKey(f AuthorizationField) string {
	return FieldSecretKey("authorization_fields", string(f.In)+"\x00"+strings.Join(f.Methods, ",")+"\x00"+strings.Join(f.Paths, ","), strings.ToLower(f.Key))
}

// Validate checks the secrets of a profile.
func (s ProfileSecrets) Validate() error {
	var e problems
	for _, c := range s.Client {
		e.line("client_secret", c.Value.Reveal(), maxName)
	}
	return e.err()
}

// Edited returns the profile with a new definition and, where client is not
// nil, new client secrets. What the new definition leaves out of its secret
// values stays as it was: but not when they would then go to other hosts, or a
// secret could be taken out by somebody who does not know it.
func (p Profile) Edited(d Definition, client []ClientSecret) (Profile, error) {
	_, kept := p.Definition.SplitSecrets()
	joined := d.JoinSecrets(kept)
	next, err := Compile(joined)
	if err != nil {
		return p, err
	}
	var e problems
	e.complete(joined)
	if p.Plan != nil {
		if client == nil && len(p.Secrets.Client) > 0 && p.Plan.SecretMoves(next) {
			e.add("client_secret", "Required: the secret was given for other hosts, or another connector, than it would now be sent to. Enter it again.")
		}
		if p.Plan.CallsMove(next) {
			p.rejoined(&e, d, joined)
		}
	}
	if err := e.err(); err != nil {
		return p, err
	}
	p.Definition, p.Plan = joined, next
	if client != nil {
		p.Secrets.Client = client
	}
	return p, nil
}

func (p Profile) rejoined(e *problems, d, joined Definition) {
	for i, f := range joined.AuthorizationFields {
		if f.Value != d.AuthorizationFields[i].Value {
			e.add(FieldName(i)+".value", "Required: the value was given for other hosts, or another connector, than it would now be sent to. Enter it again.")
		}
	}
	var given []string
	d.eachParam(func(_ string, p *Param) { given = append(given, p.Value) })
	at := 0
	joined.eachParam(func(list string, p *Param) {
		if p.Value != given[at] {
			e.add(list, "Required: the value of %s was given for other hosts, or another connector, than it would now be sent to. Enter it again.", p.Key)
		}
		at++
	})
	for i, f := range joined.AdditionalFields {
		if f.Value != d.AdditionalFields[i].Value {
			e.add(indexed("additional_fields", i)+".value", "Required: the value was given for other hosts, or another connector, than it would now be sent to. Enter it again.")
		}
	}
}
