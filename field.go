package behalf

import (
	"net/textproto"
	"strings"

	"github.com/behalf-dev/behalf/internal/expand"
)

// FieldType is how an additional field is asked.
type FieldType string

const (
	FieldText     FieldType = "text"
	FieldPassword FieldType = "password"
)

// Visibility is how an additional field stands on the connect page.
type Visibility string

const (
	Visible  Visibility = "visible"
	ReadOnly Visibility = "read_only"
	Hidden   Visibility = "hidden"
)

// AdditionalField is asked of the end user beside the login: a PIN, an account
// number. A row with a value is a default where it can be seen and changed, and
// a constant otherwise.
type AdditionalField struct {
	Key        string     `json:"key" doc:"Its name in placeholders: {{pin}}"`
	Title      string     `json:"title,omitempty"`
	Hint       string     `json:"hint,omitempty"`
	Type       FieldType  `json:"type,omitempty" doc:"text (default) or password."`
	Required   bool       `json:"required,omitempty"`
	Pattern    string     `json:"pattern,omitempty" doc:"A regular expression that the whole value must match."`
	DataType   DataType   `json:"data_type,omitempty" doc:"text (default), number, integer, boolean, email, url or date: what a value must read as."`
	Options    []Option   `json:"options,omitempty" doc:"The only values; the person chooses one. Such a field may decide the whole host of a URL."`
	Visibility Visibility `json:"visibility,omitempty" doc:"visible (default), read_only or hidden. A field that is not visible is a constant and needs its value."`
	Value      string     `json:"value,omitempty" doc:"Constant or default. Of a password field it is write-only."`
	ValueFrom  string     `json:"value_from,omitempty" doc:"Where profiles as files take a secret value from: env:NAME or file:/path."`
}

// Asked reports whether the end user is asked for the field.
func (f AdditionalField) Asked() bool { return f.Visibility == "" || f.Visibility == Visible }

// Label returns what the field is called on a page.
func (f AdditionalField) Label() string {
	if f.Title != "" {
		return f.Title
	}
	return f.Key
}

// Placement is where an authorization field goes.
type Placement string

const (
	InHeader  Placement = "header"
	InPayload Placement = "payload" // a JSON object or a form in the body
	InQuery   Placement = "query"   // the URL's query, not a form body
	InPath    Placement = "path"    // fills {key} in the API base URL's or the call's path
)

// AuthorizationField is put on every call.
type AuthorizationField struct {
	In        Placement `json:"in" doc:"header, payload, query or path."`
	Key       string    `json:"key"`
	Value     string    `json:"value,omitempty" doc:"Placeholders. The literal value of a secret field is write-only."`
	ValueFrom string    `json:"value_from,omitempty" doc:"Where profiles as files take a secret value from: env:NAME or file:/path."`
	Secret    bool      `json:"secret,omitempty" doc:"Masked in every transcript."`
	Methods   []string  `json:"methods,omitempty" doc:"Only for calls with these methods."`
	Paths     []string  `json:"paths,omitempty" doc:"Only for calls to these paths and what is below them."`
}

// Applies reports whether the field goes on a call.
func (f AuthorizationField) Applies(method, path string) bool {
	return (len(f.Methods) == 0 || contains(f.Methods, method)) && (len(f.Paths) == 0 || underAny(f.Paths, path))
}

// WriteOnly reports whether the field's value is never shown.
func (f AuthorizationField) WriteOnly() bool { return f.Secret && writeOnly(f.Value) }

// IsReference reports whether s says where a secret is: env:NAME or file:/path.
func IsReference(s string) bool {
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool {
			return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
		})
	}
	path, ok := strings.CutPrefix(s, "file:")
	return ok && strings.HasPrefix(path, "/") && clean(path) && len(path) <= maxText
}

// FieldSecretKey names a field's literal secret value in ProfileSecrets.Fields.
func FieldSecretKey(list, in, key string) string { return list + "\x00" + in + "\x00" + key } // no field holds a NUL

// writeOnly reports whether the value of a secret field must never be shown: it
// is, unless it is nothing but placeholders behind the name of a scheme.
func writeOnly(value string) bool {
	t, err := expand.ParseText(value, expand.Header)
	if err != nil {
		return true
	}
	literal := strings.ToLower(strings.TrimSpace(t.LiteralText()))
	switch {
	case t.Literal():
		return value != ""
	case !t.OnlyNames(): // {{base64 "id:secret"}}
		return true
	case literal == "", literal == "bearer", literal == "basic", literal == "token", literal == "bot", literal == "oauth", literal == "oauth2":
		return false
	}
	return true
}

func equalHeader(a, b string) bool {
	return textproto.CanonicalMIMEHeaderKey(a) == textproto.CanonicalMIMEHeaderKey(b)
}

func splitScope(value, separator string) []string {
	if separator == "" {
		separator = " "
	}
	var out []string
	for s := range strings.SplitSeq(value, separator) {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}
