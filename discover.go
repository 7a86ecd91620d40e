package behalf

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/oauth"
)

// Draft is a profile as far as a server's metadata can write it. What is left
// is the client id and secret, and what the notes say.
type Draft struct {
	Definition      Definition
	ScopesSupported []string // to choose from
	Notes           []Note
}

// Note tells about one field of a draft what the draft itself cannot.
type Note struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Drafted turns metadata into a draft. It asks for who the person is and for a
// refresh token where the server offers them; what else the assistant needs is
// for the administrator to choose from the scopes offered.
func Drafted(m oauth.Metadata) Draft {
	d := drafter{m: m, d: Definition{
		Type:             OAuth2,
		AuthorizationURL: m.AuthorizationEndpoint,
		TokenURL:         m.TokenEndpoint,
		OAuth: OAuthSettings{
			Issuer:        m.Issuer,
			RequireIss:    m.IssParameter,
			PKCE:          PKCERequired,
			RevocationURL: m.RevocationEndpoint,
		},
	}}
	d.named()
	d.flow()
	d.clientAuth()
	d.scopes()
	d.resource()
	d.pkce()
	d.hosts()
	d.unspoken()
	return Draft{Definition: d.d, ScopesSupported: d.offered(), Notes: d.notes}
}

// drafter writes a draft from metadata.
type drafter struct {
	m     oauth.Metadata
	d     Definition
	notes []Note
}

func (d *drafter) note(field, format string, args ...any) {
	d.notes = append(d.notes, Note{field, fmt.Sprintf(format, args...)})
}

// named calls the draft after the application, or else after its host.
func (d *drafter) named() {
	name := d.m.Resource.Name
	for _, raw := range []string{d.m.Resource.Identifier, d.m.Issuer} {
		if name == "" {
			name = (&url.URL{Host: hostOf(raw)}).Hostname()
		}
	}
	d.d.Name, d.d.Provider = name, name
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// flow chooses the authorization type, and says which kind of grant is missing.
func (d *drafter) flow() {
	grants := d.m.GrantTypes
	switch {
	case d.m.AuthorizationEndpoint != "":
	case slices.Contains(grants, "urn:ietf:params:oauth:grant-type:device_code"):
		d.d.Type = OAuth2Device
		d.note("type", "The server has no authorization endpoint; it offers the device flow.")
	case slices.Contains(grants, "client_credentials"):
		d.d.Type = OAuth2ClientCredentials
		d.note("type", "The server has no authorization endpoint; it gives tokens to the client itself (client credentials).")
	default:
		d.note("authorization_url", "The server publishes no authorization endpoint. Enter it by hand.")
	}
	if d.m.TokenEndpoint == "" {
		d.note("token_url", "The server publishes no token endpoint. Enter it by hand.")
	}
	if d.m.ResponseTypes != nil && d.d.Type == OAuth2 && !slices.ContainsFunc(d.m.ResponseTypes, hasCode) {
		d.note("oauth.response_type", "The server does not say that it takes the response type code.")
	}
	if grants != nil && d.d.Type == OAuth2 && !slices.Contains(grants, "refresh_token") {
		d.note("scope", "The server does not say that it gives refresh tokens: people may have to authorize again whenever a token ends.")
	}
}

func hasCode(responseType string) bool {
	return slices.Contains(strings.Fields(responseType), "code")
}

// clientAuth takes the first way that we speak. A server that does not tell
// takes Basic (RFC 8414 §2).
func (d *drafter) clientAuth() {
	methods := d.m.TokenAuthMethods
	switch {
	case methods == nil, slices.Contains(methods, string(oauth.Basic)):
		d.d.OAuth.ClientAuth = ClientAuthBasic
	case slices.Contains(methods, string(oauth.Post)):
		d.d.OAuth.ClientAuth = ClientAuthPost
	case slices.Contains(methods, string(oauth.None)):
		d.d.OAuth.ClientAuth = ClientAuthNone
	default:
		d.d.OAuth.ClientAuth = ClientAuthBasic
		d.note("oauth.client_auth", "The server takes none of the ways in which this version proves the client: %s.", listed(methods))
	}
}

// listed joins a server's words for a note, not too many of them.
func listed(words []string) string {
	const most = 8
	var short []string
	for _, w := range words {
		if clean(w) && len(w) <= 100 && len(short) < most {
			short = append(short, w)
		}
	}
	if len(short) < len(words) {
		short = append(short, "…")
	}
	return strings.Join(short, ", ")
}

// offered are the scopes to choose from: the resource's before the server's.
func (d *drafter) offered() []string {
	var all []string
	for _, s := range slices.Concat(d.m.Resource.Asked, d.m.Resource.Scopes, d.m.Scopes) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// scopes asks for what the resource wants, for who the person is, and for a
// refresh token.
func (d *drafter) scopes() {
	ask := slices.Clone(d.m.Resource.Asked)
	if len(ask) == 0 {
		ask = slices.Clone(d.m.Resource.Scopes)
		if len(ask) > 1 {
			d.note("scope", "All scopes of the resource are asked for. Take out what the assistant does not need.")
		}
	}
	openid := d.openid()
	if openid {
		ask = append(ask, "openid")
		d.d.OAuth.JWKSURL, d.d.OAuth.UserinfoURL = d.m.JWKSURI, d.m.UserinfoEndpoint
		if slices.Contains(d.m.Scopes, "email") {
			ask = append(ask, "email") // what a connection is labelled by
		}
	}
	if d.d.Type == OAuth2 && slices.Contains(d.m.Scopes, offlineAccess) {
		ask = append(ask, offlineAccess)
		if openid {
			d.consent()
		}
	}
	slices.Sort(ask)
	if ask = slices.Compact(ask); len(ask) > 0 {
		d.d.Scope = []ScopeParam{{Key: "scope", Value: strings.Join(ask, " ")}}
	}
}

const offlineAccess = "offline_access"

// openid reports whether ID tokens are offered that we can verify.
func (d *drafter) openid() bool {
	switch {
	case d.d.Type != OAuth2 || !slices.Contains(d.m.Scopes, "openid") && (d.m.Scopes != nil || d.m.UserinfoEndpoint == ""):
		return false
	case d.m.JWKSURI == "":
		d.note("oauth.jwks_url", "The server offers openid and publishes no keys, so ID tokens could not be checked: openid is not asked for.")
		return false
	case d.m.IDTokenAlgs != nil && !slices.ContainsFunc(d.m.IDTokenAlgs, oauth.VerifiesAlg):
		d.note("scope", "The server signs ID tokens by %s only, which is not taken: openid is not asked for.", listed(d.m.IDTokenAlgs))
		return false
	}
	return true
}

// consent asks the person each time: with offline_access OpenID Connect Core
// §11 wants prompt=consent, and some servers give no refresh token without it.
func (d *drafter) consent() {
	if d.m.Prompts != nil && !slices.Contains(d.m.Prompts, "consent") {
		return
	}
	d.d.OAuth.AuthorizationParams = append(d.d.OAuth.AuthorizationParams, Param{"prompt", "consent"})
	d.note("oauth.authorization_params", "prompt=consent is sent because OpenID Connect asks for it with offline_access (Core §11). Take it out if the server gives refresh tokens without it and people should not be asked again.")
}

// resource says to the server what the token is for (RFC 8707 §2), and sends
// calls there.
func (d *drafter) resource() {
	id := d.m.Resource.Identifier
	if id == "" {
		d.note("api.base_url", "Metadata does not say where the application's API is. Enter its base URL.")
		return
	}
	d.d.API.BaseURL = id
	o, p := &d.d.OAuth, Param{"resource", id}
	o.AuthorizationParams = append(o.AuthorizationParams, p)
	o.TokenParams, o.RefreshParams = append(o.TokenParams, p), append(o.RefreshParams, p)
	d.note("oauth.authorization_params", "resource names what the token is for (RFC 8707). Take it out here, in token_params and in refresh_params if the server refuses it.")
	if d.m.Resource.Methods != nil && !slices.Contains(d.m.Resource.Methods, "header") {
		d.note("authorization_fields", "The resource does not take the token in the Authorization header, but: %s. Add an authorization field.", listed(d.m.Resource.Methods))
	}
	if n := len(d.m.Resource.Servers); n > 1 {
		d.note("oauth.issuer", "The resource names %d authorization servers; this is the first that could be read.", n)
	}
}

func (d *drafter) pkce() {
	switch methods := d.m.ChallengeMethods; {
	case d.d.Type != OAuth2:
	case methods == nil:
		d.note("oauth.pkce", "The server does not say that it checks PKCE. It is sent all the same: a server that does not know it ignores it.")
	case !slices.Contains(methods, "S256"):
		d.note("oauth.pkce", "The server does not list the method S256, the only one that is sent. If it refuses the authorization request, PKCE must be switched off.")
	}
}

// hosts tells which endpoints are not at the issuer's host. Standards allow it,
// and a hostile server would name an honest one's endpoint, or the other way
// round: who registers the client should see where its secret goes.
func (d *drafter) hosts() {
	issuer := hostOf(d.m.Issuer)
	for _, e := range []struct{ field, url, name string }{
		{"authorization_url", d.d.AuthorizationURL, "authorization endpoint"},
		{"token_url", d.d.TokenURL, "token endpoint, which receives the client secret,"},
		{"oauth.jwks_url", d.d.OAuth.JWKSURL, "key set"},
		{"oauth.userinfo_url", d.d.OAuth.UserinfoURL, "userinfo endpoint, which receives access tokens,"},
		{"oauth.revocation_url", d.d.OAuth.RevocationURL, "revocation endpoint, which receives the client secret,"},
	} {
		if host := hostOf(e.url); host != "" && host != issuer {
			d.note(e.field, "The %s is at %s and not at the issuer's host %s. Make sure that it is meant to be.", e.name, host, issuer)
		}
	}
}

// unspoken tells what the server offers, or insists on, that this version does
// not speak.
func (d *drafter) unspoken() {
	m := d.m
	for _, x := range []struct {
		is             bool
		field, message string
	}{
		{m.RequirePushed, "authorization_url", "The server takes pushed authorization requests only (RFC 9126), which this version does not send: authorization will be refused unless the client is registered as an exception."},
		{m.PushedEndpoint != "" && !m.RequirePushed, "authorization_url", "The server also takes pushed authorization requests (RFC 9126); this version does not send them."},
		{m.RequireRequest, "authorization_url", "The server takes signed authorization requests only (RFC 9101), which this version does not send: authorization will be refused unless the client is registered as an exception."},
		{len(m.DPoPAlgs) > 0, "oauth", "The server can bind tokens to a key (DPoP, RFC 9449); this version uses bearer tokens."},
		{m.CertificateBinding, "oauth", "The server can bind tokens to a client certificate (RFC 8705); this version uses bearer tokens."},
		{slices.Contains(m.TokenAuthMethods, "private_key_jwt"), "oauth.client_auth", "The server also takes private_key_jwt, which keeps no secret at the provider; this version does not send it."},
		{m.RegistrationEndpoint != "", "client_id", "The server registers clients by itself (RFC 7591); this version needs a client that you register."},
		{m.DeviceEndpoint != "" && d.d.Type != OAuth2Device, "type", "The server also offers the device flow (RFC 8628)."},
		{m.RevocationEndpoint == "", "oauth.revocation_url", "The server publishes no revocation endpoint: a connection that ends here may live on there."},
	} {
		if x.is {
			d.note(x.field, "%s", x.message)
		}
	}
}
