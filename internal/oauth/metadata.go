package oauth

import (
	"net/netip"
	"net/url"
	"strings"
)

// This file reads what servers publish of themselves. The rules are:
//
//   - Metadata is somebody else's text that becomes a profile: a URL in it is
//     absolute, has no user, fragment or braces (to a profile those are a
//     placeholder, which could carry a secret out), and is https. Plain http is
//     for a server on this machine that speaks it to itself.
//   - A member of the wrong type, or one that stands there twice, spoils the
//     document: what it was meant to say is not guessed.
//   - Nothing here says whose document it is; discover.go does.

const (
	maxMember = 2 << 10 // of a URL or word in metadata
	maxList   = 2000    // entries; some servers list every scope of every product
)

// Metadata is what an authorization server publishes of itself (RFC 8414 §2,
// OpenID Connect Discovery 1.0 §3). URLs that are not there are empty. A list
// that the server does not give is nil: the standard's default then holds.
type Metadata struct {
	Issuer                string
	AuthorizationEndpoint string
	TokenEndpoint         string
	UserinfoEndpoint      string
	JWKSURI               string
	RevocationEndpoint    string
	IntrospectionEndpoint string
	RegistrationEndpoint  string
	DeviceEndpoint        string // device_authorization_endpoint, RFC 8628 §4
	PushedEndpoint        string // pushed_authorization_request_endpoint, RFC 9126 §5

	Scopes           []string // scopes_supported, without what is no scope-token (RFC 6749 §3.3)
	ResponseTypes    []string
	GrantTypes       []string
	TokenAuthMethods []string // token_endpoint_auth_methods_supported; nil means client_secret_basic
	ChallengeMethods []string // code_challenge_methods_supported, RFC 7636
	IDTokenAlgs      []string
	DPoPAlgs         []string // RFC 9449 §5.1
	Prompts          []string // prompt_values_supported

	IssParameter       bool // authorization_response_iss_parameter_supported, RFC 9207 §3
	RequirePushed      bool // require_pushed_authorization_requests, RFC 9126 §5
	RequireRequest     bool // require_signed_request_object, RFC 9101 §10.5
	CertificateBinding bool // tls_client_certificate_bound_access_tokens, RFC 8705 §3.3

	Resource Resource // zero unless the server was found through its resource
	Tried    []Try    // every address that was asked, in this order
}

// Resource is what a protected resource publishes of itself (RFC 9728 §2).
type Resource struct {
	Identifier string   // resource: a URL
	Name       string   // resource_name, for people; cleaned
	Servers    []string // authorization_servers: issuer identifiers
	Scopes     []string // scopes_supported
	Asked      []string // scope of the resource's 401, RFC 6750 §3
	Methods    []string // bearer_methods_supported; nil: not told
}

// parseMetadata reads an authorization server's document; wrong says what is
// wrong with it.
func parseMetadata(body []byte) (m Metadata, wrong string) {
	doc, err := parseObject(body)
	if err != nil {
		return Metadata{}, "it is not a JSON object"
	}
	r := members{doc: doc}
	if m.Issuer = r.issuer("issuer"); r.wrong != "" {
		return Metadata{}, r.wrong // what is wrong with the others may only follow from it
	}
	for name, to := range map[string]*string{
		"authorization_endpoint":                &m.AuthorizationEndpoint,
		"token_endpoint":                        &m.TokenEndpoint,
		"userinfo_endpoint":                     &m.UserinfoEndpoint,
		"jwks_uri":                              &m.JWKSURI,
		"revocation_endpoint":                   &m.RevocationEndpoint,
		"introspection_endpoint":                &m.IntrospectionEndpoint,
		"registration_endpoint":                 &m.RegistrationEndpoint,
		"device_authorization_endpoint":         &m.DeviceEndpoint,
		"pushed_authorization_request_endpoint": &m.PushedEndpoint,
	} {
		*to = r.endpoint(name, m.Issuer)
	}
	m.Scopes = scopeTokens(r.list("scopes_supported"))
	for name, to := range map[string]*[]string{
		"response_types_supported":              &m.ResponseTypes,
		"grant_types_supported":                 &m.GrantTypes,
		"token_endpoint_auth_methods_supported": &m.TokenAuthMethods,
		"code_challenge_methods_supported":      &m.ChallengeMethods,
		"id_token_signing_alg_values_supported": &m.IDTokenAlgs,
		"dpop_signing_alg_values_supported":     &m.DPoPAlgs,
		"prompt_values_supported":               &m.Prompts,
	} {
		*to = r.list(name)
	}
	m.IssParameter = r.flag("authorization_response_iss_parameter_supported")
	m.RequirePushed = r.flag("require_pushed_authorization_requests")
	m.RequireRequest = r.flag("require_signed_request_object")
	m.CertificateBinding = r.flag("tls_client_certificate_bound_access_tokens")
	switch {
	case r.wrong != "":
		return Metadata{}, r.wrong
	case m.Issuer == "":
		return Metadata{}, "it has no issuer"
	case m.AuthorizationEndpoint == "" && m.TokenEndpoint == "":
		return Metadata{}, "it has neither an authorization_endpoint nor a token_endpoint"
	}
	return m, ""
}

// parseResource reads a protected resource's document.
func parseResource(body []byte) (res Resource, wrong string) {
	doc, err := parseObject(body)
	if err != nil {
		return Resource{}, "it is not a JSON object"
	}
	r := members{doc: doc}
	res = Resource{
		Identifier: r.issuer("resource"),
		Name:       clean(r.text("resource_name"), 100, nil),
		Scopes:     scopeTokens(r.list("scopes_supported")),
		Methods:    r.list("bearer_methods_supported"),
	}
	for _, s := range r.list("authorization_servers") {
		if u, ok := webURL(s); ok && u.RawQuery == "" && (u.Scheme == "https" || strings.HasPrefix(res.Identifier, "http:")) {
			res.Servers = append(res.Servers, s)
		}
	}
	switch {
	case r.wrong != "":
		return Resource{}, r.wrong
	case res.Identifier == "":
		return Resource{}, "it has no resource"
	case len(res.Servers) == 0:
		return Resource{}, "it names no authorization server that could be asked"
	}
	return res, ""
}

// members reads a document's members by their type, and keeps what is wrong
// with one of them.
type members struct {
	doc   document
	wrong string
}

func (r *members) spoil(name, why string) {
	// Maps have no order: the first name by the alphabet is told every time.
	if s := "its " + name + " " + why; r.wrong == "" || s < r.wrong {
		r.wrong = s
	}
}

// value returns nil for a member that is not there or is null.
func (r *members) value(name string) any {
	v := r.doc[name]
	if _, twice := v.(repeated); twice {
		r.spoil(name, "stands there twice")
		return nil
	}
	return v
}

func (r *members) text(name string) string {
	switch v := r.value(name).(type) {
	case nil:
	case string:
		if len(v) <= maxMember {
			return v
		}
		r.spoil(name, "is too long")
	default:
		r.spoil(name, "is not a string")
	}
	return ""
}

func (r *members) flag(name string) bool {
	switch v := r.value(name).(type) {
	case nil:
	case bool:
		return v
	default:
		r.spoil(name, "is neither true nor false")
	}
	return false
}

func (r *members) list(name string) []string {
	v := r.value(name)
	if v == nil {
		return nil
	}
	array, ok := v.([]any)
	if !ok || len(array) > maxList {
		r.spoil(name, "is not an array of at most 2000 strings")
		return nil
	}
	list := make([]string, 0, len(array))
	for _, v := range array {
		s, ok := v.(string)
		if !ok || len(s) > maxMember {
			r.spoil(name, "is not an array of at most 2000 strings")
			return nil
		}
		list = append(list, s)
	}
	return list
}

// issuer reads an identifier: a URL without query and fragment (RFC 8414 §2).
func (r *members) issuer(name string) string {
	s := r.text(name)
	if s == "" {
		return ""
	}
	if u, ok := webURL(s); !ok || u.RawQuery != "" || u.ForceQuery {
		r.spoil(name, "is not an https URL without query and fragment")
		return ""
	}
	return s
}

// endpoint reads a URL that is as safe as the issuer's.
func (r *members) endpoint(name, issuer string) string {
	s := r.text(name)
	if s == "" {
		return ""
	}
	u, ok := webURL(s)
	if !ok || u.Scheme == "http" && !strings.HasPrefix(issuer, "http:") {
		r.spoil(name, "is not an https URL without user, fragment and braces")
		return ""
	}
	return s
}

// scopeTokens leaves out what is no scope-token (RFC 6749 §3.3), and what a
// profile would take for a placeholder.
func scopeTokens(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" && len(s) <= 255 && visible(s) && !strings.ContainsAny(s, ` "\{}`) {
			out = append(out, s)
		}
	}
	return out
}

// webURL parses an absolute https URL, or an http one of this machine itself.
func webURL(raw string) (*url.URL, bool) {
	if len(raw) > maxMember || !visible(raw) || strings.ContainsAny(raw, " {}<>\"\\^`|#") {
		return nil, false
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "":
		return nil, false
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, false
	}
	for segment := range strings.SplitSeq(u.Path, "/") { // decoded
		if segment == "." || segment == ".." {
			return nil, false
		}
	}
	return u, true
}

func loopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}
