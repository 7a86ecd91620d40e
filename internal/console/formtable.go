package console

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

var browserTypes = []behalf.AuthorizationType{behalf.OAuth2}

var tokenTypes = []behalf.AuthorizationType{behalf.OAuth2, behalf.OAuth2ClientCredentials, behalf.OAuth2Password, behalf.OAuth2Device, behalf.JWTBearer, behalf.TokenExchange}

// table is the form. The order is that of the page; a field's hint is its
// documentation's where none is given here.
func table() []formGroup {
	return []formGroup{
		{ID: "basics", Title: "The application", Fields: []formField{
			{Path: "type", Label: "Authorization Type", Kind: asChoice, Hint: "How a connection comes by its credential.", Options: typeOptions(), Needed: true},
			{Path: "name", Label: "Name", Hint: "Unique in the assistant. Its name in addresses is made of it.", Needed: true},
			{Path: "provider", Label: "Identity Provider Name", Hint: "The web application, for example Asana. People read it when they connect.", Needed: true},
			{Path: "description", Label: "Description", Hint: "For you and your colleagues.", Kind: asArea},
			{Path: "mode", Label: "Authorization mode", Kind: asChoice, Hint: "Each user authorizes for themselves, or an administrator once for all users of the assistant.", Options: []look.Option{
				{Value: "", Text: "Each user authorizes"}, {Value: string(behalf.ModePreauthorized), Text: "Pre-authorized"}}},
			{Path: "connector", Label: "Access Using a Connector", Kind: asChoice, Hint: "For an application that the internet cannot reach: which connector carries every call of this profile.", Unless: true},
		}},
		{ID: "client", Title: "Client", About: "What the application's administration calls an app, an OAuth client or an integration. Register the Callback Link there.", Fields: []formField{
			{Path: "client_id", Label: "Client ID", Hint: "At most 255 characters.", Needed: true, Code: true},
			{Path: "client_secret_from", Label: "Client secret from", Hint: "Where profiles as files take the secret from.", Code: true, Unless: true},
		}},
		{ID: "endpoints", Title: "Addresses", About: "At most 3000 characters each. {tenant} and {{field}} are filled for each person.", Fields: []formField{
			{Path: "authorization_url", Label: "Authorization URL", Hint: "Where the person signs in and agrees. It may carry a query.", Code: true, Types: browserTypes, Needed: true},
			{Path: "token_url", Label: "Token Request URL", Hint: "Where the code is exchanged for the access token.", Code: true, Types: tokenTypes, Needed: true},
			{Path: "refresh_url", Label: "Refresh Token URL", Hint: "Empty: the token URL.", Code: true, Types: tokenTypes},
		}},
		{ID: "scope", Title: "Scope", About: "The key scope holds scopes; any other key becomes a parameter of the authorization request.", Fields: []formField{
			{Path: "scope", Label: "Scope", Kind: asRows, Columns: []formField{
				{Path: "key", Label: "Key", Hint: "scope, or a parameter's name", Code: true, Usual: "scope"},
				{Path: "value", Label: "Value", Hint: "one or more", Code: true},
				{Path: "required", Label: "Required", Kind: asTick, Hint: "No connection where the provider grants less."},
			}},
		}},
		{ID: "tenancy", Title: "Subdomain (tenancy)", About: "Fill this in where each person belongs to an organization that stands in the addresses as {tenant}.", Fields: []formField{
			{Path: "tenancy.base_url", Label: "Base URL", Hint: "Holds {tenant}: https://{tenant}.service-now.com", Code: true},
			{Path: "tenancy.label", Label: "What people are asked for", Hint: "Such as: Your ServiceNow instance"},
			{Path: "tenancy.pattern", Label: "Pattern", Hint: "A regular expression that the whole tenant must match.", Code: true},
			{Path: "tenancy.default", Label: "Default", Code: true},
			{Path: "tenancy.allowed", Label: "Allowed tenants", Hint: "The only ones that are taken, one on each line. Empty: any that fits.", Kind: asLines},
		}},
		{ID: "additional_fields", Title: "Additional Fields", About: "What is asked of the person beside the login: a PIN, an account number. With a value a row is a default, or a constant where it is hidden or cannot be changed.", Fields: []formField{
			{Path: "additional_fields", Label: "Additional field", Kind: asRows, Columns: []formField{
				{Path: "key", Label: "Key", Hint: "its name in placeholders: {{pin}}", Code: true},
				{Path: "title", Label: "Title"},
				{Path: "type", Label: "Type", Kind: asChoice, Options: []look.Option{{Value: "", Text: "Text"}, {Value: string(behalf.FieldPassword), Text: "Password"}}},
				{Path: "visibility", Label: "Visibility", Kind: asChoice, Options: []look.Option{{Value: "", Text: "Visible"}, {Value: string(behalf.ReadOnly), Text: "Read-only"}, {Value: string(behalf.Hidden), Text: "Hidden"}}},
				{Path: "value", Label: "Value", Hint: "constant or default", Exact: true, Secret: func(row map[string]any) bool { return row["type"] == string(behalf.FieldPassword) }},
				{Path: "hint", Label: "Hint"},
				{Path: "pattern", Label: "Pattern", Hint: "the whole value must match", Code: true},
				{Path: "required", Label: "Required", Kind: asTick},
			}},
		}},
		{ID: "calls", Title: "Calls", About: "Where the assistant's calls go, and what is put on every one.", Fields: []formField{
			{Path: "api.base_url", Label: "API base URL", Hint: "What the path of a call is appended to.", Code: true},
			{Path: "api.allowed_hosts", Label: "Allowed hosts", Hint: "Hosts that may receive a credential, one on each line; * stands for one label. Empty: the hosts of the profile's own addresses.", Kind: asLines},
			{Path: "send_token", Label: "Send the access token as Authorization: Bearer", Kind: asTickOn, Hint: "A row for that header below replaces it."},
			{Path: "authorization_fields", Label: "Authorization field", Kind: asRows, Columns: []formField{
				{Path: "in", Label: "In", Kind: asChoice, Options: []look.Option{{Value: string(behalf.InHeader), Text: "Header"}, {Value: string(behalf.InPayload), Text: "Payload"}, {Value: string(behalf.InQuery), Text: "Query String"}, {Value: string(behalf.InPath), Text: "Path Param"}}},
				{Path: "key", Label: "Key", Code: true},
				{Path: "value", Label: "Value", Hint: "such as Bearer {{accessToken}}", Code: true, Exact: true, Secret: func(row map[string]any) bool { return row["secret"] == true && row["value"] == nil }},
				{Path: "secret", Label: "Secret", Kind: asTick, Hint: "Masked everywhere."},
				{Path: "methods", Label: "Methods", Hint: "empty: all", Kind: asWords, Code: true},
				{Path: "paths", Label: "Paths", Hint: "empty: all", Kind: asWords, Code: true},
				{Path: "value_from", Label: "Value from", Code: true, Unless: true},
			}},
		}},
		{ID: "validation", Title: "Validation", Advanced: true, About: "How a fresh token is checked before it becomes a connection.", Fields: []formField{
			{Path: "check_url", Label: "Check URL", Code: true},
			{Path: "oauth.issuer", Label: "Issuer", Code: true},
			{Path: "oauth.jwks_url", Label: "Key set URL", Code: true},
			{Path: "oauth.userinfo_url", Label: "Userinfo URL", Code: true},
			{Path: "oauth.introspection_url", Label: "Introspection URL", Code: true},
			{Path: "oauth.require_iss", Label: "iss is required", Kind: asTick},
			{Path: "auth_error", Label: "Authorization error statuses", Kind: asYAML, Hint: "Answers besides 401 that mean the token is bad, as a list: {status: 403, json: /error/message, equals: expired}"},
		}},
		{ID: "request", Title: "Requests", Advanced: true, About: "How this server proves itself, and what it sends.", Fields: []formField{
			{Path: "oauth.client_auth", Label: "Client authentication", Kind: asChoice, Hint: "How id and secret are sent.", Options: []look.Option{{Value: "", Text: "HTTP Basic"}, {Value: "post", Text: "In the body (post)"}, {Value: "none", Text: "None: a public client"},
				{Value: "basic_secret", Text: "HTTP Basic, secret only"}, {Value: "private_key_jwt", Text: "Signed by a private key"}, {Value: "client_secret_jwt", Text: "Signed by the secret"}, {Value: "mtls", Text: "Client certificate"}}},
			{Path: "oauth.basic_raw", Label: "Basic without encoding", Kind: asTick},
			{Path: "oauth.pkce", Label: "PKCE", Kind: asChoice, Hint: "Protects the code from being stolen.", Options: []look.Option{{Value: "", Text: "Required (S256)"}, {Value: "off", Text: "Off"}}},
			{Path: "oauth.pkce_method", Label: "PKCE method", Kind: asChoice, Options: []look.Option{{Value: "", Text: "S256"}, {Value: "S256-hex", Text: "S256 in hexadecimal"}, {Value: "plain", Text: "plain"}}},
			{Path: "oauth.response_type", Label: "Response type", Kind: asChoice, Hint: "token is the legacy implicit response, without refresh.", Options: []look.Option{{Value: "", Text: "code"}, {Value: "token", Text: "token (legacy)"}}},
			{Path: "oauth.scope_separator", Label: "Scope separator"},
			{Path: "oauth.token_body", Label: "Token request body", Kind: asChoice, Options: []look.Option{{Value: "", Text: "Form"}, {Value: "json", Text: "JSON"}, {Value: "query", Text: "In the query"}, {Value: "none", Text: "None"}}},
			{Path: "oauth.authorization_params", Label: "Authorization parameter", Kind: asRows, Columns: params()},
			{Path: "oauth.token_params", Label: "Token parameter", Kind: asRows, Columns: params()},
			{Path: "oauth.refresh_params", Label: "Refresh parameter", Kind: asRows, Columns: params()},
		}},
		{ID: "refresh", Title: "Refreshing and revoking", Advanced: true, About: "What is known of the provider's tokens. Times are in seconds.", Fields: []formField{
			{Path: "oauth.token_lifetime", Label: "Token lifetime", Kind: asNumber},
			{Path: "oauth.refresh.rotates", Label: "Refresh tokens rotate", Kind: asChoice, Hint: "Whether each refresh gives a new refresh token.", Options: []look.Option{{Value: "", Text: "Learn it from the first refresh"}, {Value: "yes", Text: "Yes"}, {Value: "no", Text: "No"}}},
			{Path: "oauth.refresh.replay_window", Label: "Replay window", Kind: asNumber},
			{Path: "oauth.refresh.min_age", Label: "Minimum age", Kind: asNumber},
			{Path: "oauth.refresh.buffer", Label: "Renew before the end", Kind: asNumber},
			{Path: "oauth.refresh.max_age", Label: "Maximum age of a refresh token", Kind: asNumber},
			{Path: "oauth.refresh.idle", Label: "Idle time of a refresh token", Kind: asNumber},
			{Path: "oauth.revocation_url", Label: "Revocation URL", Code: true},
		}},
	}
}

func params() []formField {
	return []formField{{Path: "key", Label: "Name", Code: true}, {Path: "value", Label: "Value", Code: true, Exact: true}}
}

// typeOptions are the authorization types that this version takes.
func typeOptions() []look.Option {
	var out []look.Option
	for _, t := range []behalf.AuthorizationType{behalf.OAuth2, behalf.OAuth2ClientCredentials, behalf.OAuth2Password, behalf.OAuth2Device, behalf.JWTBearer, behalf.TokenExchange, behalf.APIKey, behalf.Basic} {
		out = append(out, look.Option{Value: string(t), Text: typeNames[t]})
	}
	return out
}

// groups completes the table from the definition itself: the type and the
// documentation of each field, the choices that are taken, and a last group of
// everything that the table does not name.
func groups() []formGroup {
	all := leaves(reflect.TypeFor[behalf.Definition](), "")
	out := table()
	named := map[string]bool{}
	for g := range out {
		for i := range out[g].Fields {
			field := &out[g].Fields[i]
			named[field.Path] = true
			complete(field, all[field.Path])
		}
	}
	rest := formGroup{ID: "more", Title: "What this provider does differently", Advanced: true, About: "Each as in a file. The API's reference at /docs shows what belongs where."}
	for _, path := range sortedPaths(all) {
		if !named[path] && !slices.ContainsFunc(sortedPaths(all), func(p string) bool { return named[p] && strings.HasPrefix(p, path+".") }) {
			field := formField{Path: path, Label: sentence(path)}
			guess(&field, all[path])
			complete(&field, all[path])
			rest.Fields = append(rest.Fields, field)
		}
	}
	return append(out, rest)
}

// leaf is a field of a definition.
type leaf struct {
	of    reflect.Type
	doc   string
	order int
}

// leaves returns the fields of a definition by path. Structs of it are gone
// through where the table does, which names fields within them.
func leaves(t reflect.Type, prefix string) map[string]leaf {
	out := map[string]leaf{}
	collect(t, prefix, out)
	return out
}

func collect(t reflect.Type, prefix string, out map[string]leaf) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		of := f.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if f.Anonymous && name == "" {
			collect(of, prefix, out)
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		path := prefix + name
		if of.Kind() == reflect.Struct && opened[path] {
			collect(of, path+".", out)
			continue
		}
		out[path] = leaf{of, f.Tag.Get("doc"), len(out)}
	}
}

// opened are the structs of a definition whose fields stand in the form one by
// one; others are written as in a file.
var opened = map[string]bool{"tenancy": true, "api": true, "oauth": true, "oauth.refresh": true}

func sortedPaths(all map[string]leaf) []string {
	var paths []string
	for p := range all {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return all[a].order - all[b].order })
	return paths
}

// guess says how a field is asked that the table does not name.
func guess(field *formField, l leaf) {
	switch l.of.Kind() {
	case reflect.String:
		field.Code = true
	case reflect.Bool:
		field.Kind = asTick
	case reflect.Int, reflect.Int64:
		field.Kind = asNumber
	case reflect.Slice:
		field.Kind = asYAML
		if l.of.Elem().Kind() == reflect.String {
			field.Kind = asLines
		}
	default:
		field.Kind = asYAML
	}
}

func complete(field *formField, l leaf) {
	field.of = l.of
	if field.Hint == "" {
		field.Hint = l.doc
	}
	if field.Kind == asChoice {
		field.Options = slices.DeleteFunc(slices.Clone(field.Options), func(o look.Option) bool { return !takes(field.Path, o.Value) })
	}
}

// takes reports whether this version knows a value of a choice: the definition
// itself says so.
func takes(path, value string) bool {
	t := tree{"type": string(behalf.OAuth2)}
	put(t, path, value)
	f := profileForm{tree: t}
	_, err := behalf.Compile(f.rough())
	e := (*behalf.Error)(nil)
	return !errors.As(err, &e) || !slices.ContainsFunc(e.Fields, func(f behalf.FieldError) bool { return f.Field == path })
}

// sentence makes a label of a path: oauth.before_token is "Before token".
func sentence(path string) string {
	path = strings.TrimPrefix(path, "oauth.")
	s := []rune(strings.NewReplacer("_", " ", ".", ": ").Replace(path))
	s[0] = unicode.ToUpper(s[0])
	return string(s)
}
