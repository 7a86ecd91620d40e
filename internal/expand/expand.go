// Package expand fills {tenant} and {{field}} placeholders with the escaping of
// their position, and lists what a text needs.
//
// The rules are:
//
//   - A text is parsed once, by whoever wrote the profile, into typed pieces. A
//     value is put into its piece and never parsed as part of the text.
//   - A placeholder without a value is a MissingError before anything else; an
//     empty value is no value, unless {{default name ""}} says so.
//   - Literal text forms the scheme, the port and the registrable part of a
//     host. Two kinds of values may stand there: one from a closed list
//     (Value.Enumerated), and a whole https origin that the provider itself
//     replied with (Value.Origin).
//   - A filled URL is parsed again and must have its template's structure and
//     one of the allowed hosts.
//   - No error holds a value or a piece of the text.
//
// The language inside {{ }} is a name, a literal in double quotes (with \" and
// \\), or a function before its arguments; parentheses nest:
//
//	{{pin}}  {{env.REGION}}  {{context.session.BotContext.userId}}
//	{{default pin "0000"}}   the first argument, or the second if it has no value
//	{{lower x}}              lower case
//	{{urlencode x}}          percent-encoding of all but RFC 3986 unreserved characters
//	{{base64 x}}             standard base64 with padding
//	{{sha256 x}}             SHA-256 in lower-case hexadecimal
//	{{hmac key x}}           HMAC-SHA-256 in lower-case hexadecimal
//	{{hmac_base64 key x}}    the same in standard base64 with padding
//	{{md5 x}}  {{hex x}}     MD5, or x itself, in lower-case hexadecimal
//	{{upper x}}              upper case
//	{{substr x 0 20}}        characters of x: from where (counted from 0), and how many (without: to the end);
//	                         of a secret at least 8
//	{{now}}  {{uuid}}        RFC 3339 time in UTC, to the second; what Funcs.UUID returns
//
// Where a function takes x it takes several, and joins them:
// {{base64 username ":" password}}. {{"{{"}} writes two braces. Of names in
// single braces only {tenant} is a placeholder; {key} is for FillPathParams.
package expand

import (
	"fmt"
	"io"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Value is what a name stands for.
type Value struct {
	Text       string
	Secret     bool // makes the filled text secret
	Enumerated bool // one of a closed list made by the profile's author; may stand in the registrable part of a host
	Origin     bool // captured from the provider's reply; may be a whole https origin
}

// Format writes the text, or secret.Mask in place of a secret one.
func (v Value) Format(f fmt.State, _ rune) {
	if v.Secret {
		_, _ = io.WriteString(f, secret.Mask)
		return
	}
	_, _ = io.WriteString(f, v.Text)
}

// Lookup returns the value of a name such as "tenant" or "env.REGION", or false
// if it has none. It is asked again for a name that stands in a text twice.
type Lookup func(name string) (Value, bool)

// Funcs are the functions that are not pure. One that is nil has no value.
type Funcs struct {
	Now  func() time.Time
	UUID func() string
	Hide func(text string) // is told what placeholders made of secret values; nil: nobody is
}

// Position is where a text or a placeholder stands; it decides what is refused
// and what is escaped. No position takes NUL or invalid UTF-8.
type Position int

const (
	Plain     Position = iota // a value that is encoded later; taken as it is
	Header                    // a header field's value (RFC 9110 §5.5); refuses control characters
	JSON                      // a JSON string, marshalled later; taken as it is
	Form                      // a form value, encoded later by url.Values; taken as it is
	Query                     // the value of a query parameter; percent-encoded
	QueryName                 // the name of a query parameter; percent-encoded
	Path                      // one segment of a path; percent-encoded, refuses "", "." and ".."
	Fragment                  // the part after "#"; percent-encoded
	Host                      // a DNS label, or a part of one
	Origin                    // https://host[:port] at the beginning of a URL
)

// String returns the words for p in an error message.
func (p Position) String() string {
	switch p {
	case Header:
		return "a header"
	case JSON:
		return "a JSON string"
	case Form:
		return "a form value"
	case Query:
		return "a query value"
	case QueryName:
		return "a query parameter's name"
	case Path:
		return "a path segment"
	case Fragment:
		return "a fragment"
	case Host:
		return "a host"
	case Origin:
		return "the origin of a URL"
	default:
		return "a value"
	}
}
