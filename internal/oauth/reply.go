package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file reads what a server answers. The rules are:
//
//   - The content decides what a reply is: JSON comes as text/html, forms come
//     as application/json.
//   - One parser reads it, once; of a member that stands there twice neither is
//     believed, and only where it is asked for.
//   - A token is taken as it is or not at all: never trimmed, never made of a
//     number.

const (
	maxReply = 1 << 20
	maxDepth = 32
	maxLife  = 10 * 365 * 24 * time.Hour
)

// document is a reply: a JSON object, or a form as one. Values are nil, bool,
// string, json.Number, []any, document and repeated.
type document map[string]any

// repeated stands in the place of a member that the reply has more than once.
type repeated struct{}

var (
	errNoDocument = errors.New("oauth: neither a JSON object nor a form")
	errDepth      = errors.New("oauth: nested too deeply")
)

// parseReply reads the body of a token reply.
func parseReply(body []byte) (document, error) {
	body = trim(body)
	switch {
	case len(body) == 0 || body[0] == '<' || body[0] == '[':
		return nil, errNoDocument
	case body[0] == '{':
		return parseObject(body)
	}
	return parseForm(string(body))
}

// trim takes off a byte order mark and the space around.
func trim(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
}

// parseObject reads one JSON object and nothing after it.
func parseObject(body []byte) (document, error) {
	d := json.NewDecoder(bytes.NewReader(trim(body)))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	doc, ok := v.(document)
	if _, err := d.Token(); !ok || err != io.EOF {
		return nil, errNoDocument
	}
	return doc, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, errDepth
	}
	if delim == '[' {
		return parseArray(d, depth)
	}
	return parseMembers(d, depth)
}

func parseArray(d *json.Decoder, depth int) (any, error) {
	array := []any{}
	for d.More() {
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := d.Token() // ]
	return array, err
}

func parseMembers(d *json.Decoder, depth int) (any, error) {
	doc := document{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		key := name.(string) // the decoder lets nothing else be a name
		if _, twice := doc[key]; twice {
			v = repeated{}
		}
		doc[key] = v
	}
	_, err := d.Token() // }
	return doc, err
}

// parseForm reads a form-encoded reply, as some servers send it whatever they
// are asked to accept. Text without any "=" is not one.
func parseForm(body string) (document, error) {
	values, err := url.ParseQuery(body)
	if err != nil || !strings.Contains(body, "=") {
		return nil, errNoDocument
	}
	doc := document{}
	for name, v := range values {
		doc[name] = v[0]
		if len(v) > 1 {
			doc[name] = repeated{}
		}
	}
	return doc, nil
}

// at returns the value that the JSON pointer names (RFC 6901), nil where there is none.
func (doc document) at(pointer string) any {
	var v any = doc
	for _, name := range strings.Split(pointer, "/")[1:] {
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		switch parent := v.(type) {
		case document:
			v = parent[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(parent) {
				return nil
			}
			v = parent[i]
		case repeated:
			return repeated{}
		default:
			return nil
		}
	}
	return v
}

// ValidPointer reports whether s can stand in ReplyPaths or IdentityPaths.
func ValidPointer(s string) bool {
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(s)
	return strings.HasPrefix(s, "/") && !strings.Contains(rest, "~")
}

// text returns a scalar as text, "" for anything else.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// firstText returns the first of the pointers' texts that is not empty.
func (doc document) firstText(pointers ...string) string {
	for _, p := range pointers {
		if s := text(doc.at(p)); s != "" {
			return s
		}
	}
	return ""
}

// failed reports whether the reply, whatever its status, says that it is an error.
func (r ReplyPaths) failed(doc document) bool {
	if r.SuccessAt != "" {
		return text(doc.at(r.SuccessAt)) != r.SuccessIs
	}
	switch v := doc.at(or(r.Error, "/error")).(type) {
	case nil:
		return false
	case document:
		return len(v) > 0
	case []any:
		return len(v) > 0
	case repeated:
		return true
	default:
		s := text(v)
		return s != "" && s != "false" && s != "0"
	}
}

// words returns what the reply says of its error (RFC 6749 §5.2), and what
// servers say in these members' stead.
func (r ReplyPaths) words(doc document) words {
	at := or(r.Error, "/error")
	return words{
		code:        doc.firstText(at, at+"/code", at+"/type"),
		description: doc.firstText(or(r.ErrorDescription, "/error_description"), at+"/message", "/message", "/error_message"),
		uri:         doc.firstText(or(r.ErrorURI, "/error_uri")),
	}
}

// token reads a successful reply; reason says why it is unusable.
func (c Config) token(doc document, requested []string, now time.Time) (t Token, reason string) {
	r := c.Reply
	for _, p := range []struct {
		name, pointer string
		to            *secret.Text
	}{
		{"access_token", or(r.AccessToken, "/access_token"), &t.AccessToken},
		{"refresh_token", or(r.RefreshToken, "/refresh_token"), &t.RefreshToken},
		{"id_token", or(r.IDToken, "/id_token"), &t.IDToken},
	} {
		if *p.to, reason = tokenAt(doc, p.pointer); reason != "" {
			return Token{}, p.name + " " + reason
		}
	}
	if t.AccessToken.Empty() {
		return Token{}, "the reply has no access_token"
	}
	lifetime := doc.at(or(r.ExpiresIn, "/expires_in"))
	if _, twice := lifetime.(repeated); twice {
		return Token{}, "expires_in stands in the reply more than once"
	}
	t.Type = clean(text(doc.at(or(r.TokenType, "/token_type"))), 100, nil)
	t.ExpiresAt, t.ExpiresGiven = c.expiry(lifetime, now)
	t.Scopes, t.ScopesGiven = c.scopes(doc.at(or(r.Scope, "/scope")), requested)
	return t, ""
}

func tokenAt(doc document, pointer string) (secret.Text, string) {
	switch v := doc.at(pointer).(type) {
	case nil:
		return secret.Text{}, ""
	case repeated:
		return secret.Text{}, "stands in the reply more than once"
	case string:
		switch {
		case len(v) > maxToken:
			return secret.Text{}, "is too long"
		case !visible(v):
			return secret.Text{}, "holds characters that are not allowed"
		}
		return secret.New(v), ""
	}
	return secret.Text{}, "is not a string"
}

// expiry reads expires_in: seconds as a number or its text. Servers send
// fractions, "" and 0 too; what is not a positive number was not told.
func (c Config) expiry(v any, now time.Time) (at time.Time, given bool) {
	seconds, err := strconv.ParseFloat(strings.TrimSpace(text(v)), 64)
	switch {
	case (err != nil && !math.IsInf(seconds, 1)) || math.IsNaN(seconds) || seconds <= 0:
		if c.DefaultLifetime > 0 {
			return now.Add(c.DefaultLifetime), false
		}
		return time.Time{}, false
	case seconds > maxLife.Seconds():
		return now.Add(maxLife), true
	}
	return now.Add(time.Duration(seconds * float64(time.Second))), true
}

// scopes reads the granted scopes, separated by spaces or commas, or an array.
// Absent or empty means as requested (RFC 6749 §5.1).
func (c Config) scopes(v any, requested []string) (granted []string, given bool) {
	separator := func(r rune) bool { return unicode.IsSpace(r) || r == ',' }
	if slices.ContainsFunc(requested, func(s string) bool { return strings.Contains(s, ",") }) {
		separator = unicode.IsSpace // a comma is part of a scope here
	}
	var parts []string
	switch v := v.(type) {
	case string:
		parts = strings.FieldsFunc(v, separator)
	case []any:
		for _, s := range v {
			parts = append(parts, strings.FieldsFunc(text(s), separator)...)
		}
	}
	for _, s := range parts {
		if !slices.Contains(granted, s) {
			granted = append(granted, s)
		}
	}
	if len(granted) == 0 {
		return slices.Clone(requested), false
	}
	return granted, true
}
