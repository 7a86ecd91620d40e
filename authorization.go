package behalf

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// This file says what the authorization types differ in. The rules are:
//
//   - What a type needs of the person (a key, a username and a password) is a
//     field like those that a profile adds: the same page, checks, sealing and
//     placeholders.
//   - A type that needs nobody takes part in everything as the others do; only
//     who begins it differs.
//   - A password that is not needed again is not kept.

// known are the types that this version can run.
var known = []AuthorizationType{OAuth2, OAuth2ClientCredentials, OAuth2Password, APIKey, Basic}

// Redirects reports whether the person authorizes on a page of the provider.
func (t AuthorizationType) Redirects() bool { return t == OAuth2 || t == "" }

// IssuesTokens reports whether an OAuth server gives the credential.
func (t AuthorizationType) IssuesTokens() bool { return t != APIKey && t != Basic }

// Names of the fields that types ask for by themselves.
const (
	FieldKey      = "key"
	FieldUsername = "username"
	FieldSecret   = "password"
)

// own are the fields that a type asks for by itself.
func (t AuthorizationType) own() []AdditionalField {
	switch t {
	case APIKey:
		return []AdditionalField{{Key: FieldKey, Title: "API key", Type: FieldPassword, Required: true}}
	case Basic, OAuth2Password:
		return []AdditionalField{{Key: FieldUsername, Title: "Username", Required: true}, {Key: FieldSecret, Title: "Password", Type: FieldPassword, Required: true}}
	}
	return nil
}

// enters are the names of what a type asks for by itself.
func (t AuthorizationType) enters() (keys []string) {
	for _, f := range t.own() {
		keys = append(keys, f.Key)
	}
	return keys
}

// Asks returns what a person may be asked for beside the tenant: what the type
// needs, and the additional fields. An additional field with the name of one of
// the type's own describes it better and stands in its place.
func (d Definition) Asks() []AdditionalField {
	out := slices.DeleteFunc(d.Type.own(), func(f AdditionalField) bool { return d.declares(f.Key) })
	return append(out, d.AdditionalFields...)
}

func (d Definition) declares(key string) bool {
	return slices.ContainsFunc(d.AdditionalFields, func(f AdditionalField) bool { return f.Key == key })
}

// Reissues reports whether a credential is renewed by making the first request
// again: it needs no refresh token, and may be repeated at any time.
func (d Definition) Reissues() bool {
	return d.Type == OAuth2ClientCredentials || d.Type == OAuth2Password && d.OAuth.Refresh.Grant == "reissue"
}

// KeptFields returns the fields that stay with a connection: not a password
// that was only there to get a token once.
func (d Definition) KeptFields(given map[string]secret.Text) map[string]secret.Text {
	kept := make(map[string]secret.Text, len(given)) // variables among them
	for key, value := range given {
		if d.Type == OAuth2Password && key == FieldSecret && !d.Reissues() {
			continue
		}
		kept[key] = value
	}
	return kept
}

// GrantParams are what the first request of a grant without a redirect sends
// beside what the profile adds (RFC 6749 §4.3.2 and §4.4.2).
func (p *Plan) GrantParams(v Values) []oauth.Param {
	name := p.OAuth.GrantType // of the provider's own
	switch p.Type {
	case OAuth2Password:
	case OAuth2ClientCredentials:
		return []oauth.Param{{Name: "grant_type", Value: orElse(name, "client_credentials")}}
	default:
		return nil // as the profile says
	}
	return []oauth.Param{{Name: "grant_type", Value: orElse(name, "password")},
		{Name: "username", Value: v.Inputs.Fields[FieldUsername].Reveal()}, {Name: "password", Value: v.Inputs.Fields[FieldSecret].Reveal()}}
}

// Shared reports whether one connection serves all users of the assistant.
func (d Definition) Shared() bool { return d.Mode == ModePreauthorized }

// Unattended reports whether a connection can be made without anybody: our own
// client is all that authorizes, and nothing is to be asked.
func (p *Plan) Unattended(v Values) bool {
	return p.Type == OAuth2ClientCredentials && len(p.MissingInputs(v)) == 0
}

// authorizationHeader returns the value of Authorization where no field of the
// profile sets it: the access token or the key as Bearer (RFC 6750 §2.1), or
// username and password as Basic (RFC 7617 §2).
func (p *Plan) authorizationHeader(v Values) (value string, secrets []secret.Text) {
	if !p.SendsToken() || v.Credential == nil {
		return "", nil
	}
	text := func(name string) string {
		found, _ := v.Lookup(name)
		return found.Text
	}
	switch p.Type {
	case APIKey:
		return "Bearer " + text(FieldKey), nil
	case Basic:
		pair := base64.StdEncoding.EncodeToString([]byte(text(FieldUsername) + ":" + text(FieldSecret)))
		return "Basic " + pair, []secret.Text{secret.New(pair)}
	}
	return "Bearer " + v.Credential.AccessToken.Reveal(), []secret.Text{v.Credential.AccessToken}
}

// kind checks what belongs to the type.
func (p *Plan) kind(e *problems) {
	if p.Type.IssuesTokens() {
		e.name("client_id", p.ClientID)
	}
	switch {
	case p.Type == "":
		e.add("type", "Required: %s.", knownTypes())
		return
	case p.Type == OAuth2Device, p.Type == JWTBearer, p.Type == TokenExchange:
		e.add("type", "Not in this version. It takes %s.", knownTypes())
		return
	case !slices.Contains(known, p.Type):
		e.add("type", "Expected %s.", knownTypes())
		return
	}
	p.without(e)
	for i, f := range p.AdditionalFields {
		if !slices.ContainsFunc(p.Type.own(), func(own AdditionalField) bool { return own.Key == f.Key }) {
			continue
		}
		if !f.Asked() {
			e.add(indexed("additional_fields", i)+".visibility", "Expected visible: the person enters it. Where all users share one, set mode to preauthorized.")
		}
		if f.Key != FieldUsername && f.Type != FieldPassword {
			e.add(indexed("additional_fields", i)+".type", "Expected password: it is a secret of the person.")
		}
	}
	p.forgottenPassword(e)
}

func knownTypes() string {
	var names []string
	for _, t := range known {
		names = append(names, string(t))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// without checks that nothing is set which the type has no use for.
func (p *Plan) without(e *problems) {
	unused := map[string]bool{}
	if !p.Type.Redirects() {
		unused["authorization_url"] = p.AuthorizationURL != ""
		unused["oauth.response_type"] = p.OAuth.ResponseType != "code"
	}
	if !p.Type.IssuesTokens() {
		unused["client_id"], unused["token_url"], unused["refresh_url"] = p.ClientID != "", p.TokenURL != "", p.RefreshURL != ""
		unused["scope"], unused["oauth.revocation_url"], unused["oauth.userinfo_url"] = len(p.Scope) > 0, p.OAuth.RevocationURL != "", p.OAuth.UserinfoURL != ""
	}
	for field, set := range unused {
		if set {
			e.add(field, "The type %s has no use for it; leave it out.", p.Type)
		}
	}
}

// forgottenPassword refuses placeholders for a password that is not kept.
func (p *Plan) forgottenPassword(e *problems) {
	if p.Type != OAuth2Password || p.Reissues() {
		return
	}
	for i, f := range p.AuthorizationFields {
		if slices.Contains(names(f.Value), FieldSecret) {
			e.add(FieldName(i)+".value", "The password is forgotten once there is a token. Set oauth.refresh.grant to reissue, if it must be kept.")
		}
	}
}

// complete checks that a secret field has its value. It may have been left out
// because it is kept; where it cannot be found again, it must not be lost in
// silence.
func (p *problems) complete(d Definition) {
	for i, f := range d.AuthorizationFields {
		if f.Secret && f.Value == "" {
			p.add(FieldName(i)+".value", "Required: a secret field needs its value, and none that is kept could be told to be this one's. Enter it again.")
		}
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
