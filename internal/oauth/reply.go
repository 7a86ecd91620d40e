package oauth

import (
	"bytes"
	"encoding/base64"
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

// parseAnswer reads any reply: a JSON value, a form, or one line of text. It
// returns nil for what is none of them.
func parseAnswer(body []byte) any {
	body = trim(body)
	switch {
	case len(body) == 0 || body[0] == '<':
		return nil
	case body[0] == '[', body[0] == '"':
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		v, err := parseValue(d, 0)
		if _, more := d.Token(); err != nil || more != io.EOF {
			return nil
		}
		return v
	}
	doc, err := parseReply(body)
	switch {
	case err == nil:
		return doc
	case body[0] != '{' && visible(string(body)):
		return string(body)
	}
	return nil
}

// at returns the value that the JSON pointer names (RFC 6901), nil where there is none.
func (doc document) at(pointer string) any { return at(doc, pointer) }

// at is the same for any value; "/" is the value itself, which no reply hides
// behind an empty name.
func at(v any, pointer string) any {
	if pointer == "/" {
		return v
	}
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
func firstText(doc any, pointers ...string) string {
	for _, p := range pointers {
		if s := text(at(doc, p)); s != "" {
			return s
		}
	}
	return ""
}

// failed reports whether the reply, whatever its status, says that it is an error.
func (r ReplyPaths) failed(doc any) bool {
	switch v := at(doc, or(r.Error, "/error")).(type) {
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
func (r ReplyPaths) words(doc any) words {
	where := or(r.Error, "/error")
	return words{
		code:        firstText(doc, where, where+"/code", where+"/type"),
		description: firstText(doc, or(r.ErrorDescription, "/error_description"), where+"/message", "/message", "/error_message"),
		uri:         firstText(doc, or(r.ErrorURI, "/error_uri")),
	}
}

// token reads a successful reply; reason says why it is unusable.
func (c Config) token(r ReplyPaths, doc any, requested []string, now time.Time) (t Token, reason string) {
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
	if _, twice := at(doc, or(r.ExpiresIn, "/expires_in")).(repeated); twice {
		return Token{}, "expires_in stands in the reply more than once"
	}
	t.Type = clean(text(at(doc, or(r.TokenType, "/token_type"))), 100, nil)
	t.ExpiresAt, t.ExpiresGiven = c.expiry(r, doc, t.AccessToken, now)
	if r.RefreshExpiresIn != "" {
		format := r.ExpiresFormat
		if format == "jwt" {
			format = ""
		}
		t.RefreshExpiresAt, _ = moment(text(at(doc, r.RefreshExpiresIn)), format, r.ExpiresUnit, now)
	}
	t.Scopes, t.ScopesGiven = scopes(at(doc, or(r.Scope, "/scope")), r.ScopeSeparator, requested)
	return t, ""
}

func tokenAt(doc any, pointer string) (secret.Text, string) {
	switch v := at(doc, pointer).(type) {
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

// expiry reads how long the access token lives. What is not a moment to come
// was not told: servers send "", 0 and dates that have passed.
func (c Config) expiry(r ReplyPaths, doc any, accessToken secret.Text, now time.Time) (at time.Time, given bool) {
	if r.ExpiresFormat == "jwt" {
		at, given = jwtExpiry(accessToken, now)
	} else {
		at, given = moment(textAt(doc, or(r.ExpiresIn, "/expires_in")), r.ExpiresFormat, r.ExpiresUnit, now)
	}
	if !given && c.DefaultLifetime > 0 {
		return now.Add(c.DefaultLifetime), false
	}
	return at, given
}

func textAt(doc any, pointer string) string { return text(at(doc, pointer)) }

// units of the numbers that tell a time.
func unit(name string) time.Duration {
	switch name {
	case "ms":
		return time.Millisecond
	case "min":
		return time.Minute
	case "h":
		return time.Hour
	}
	return time.Second
}

// moment reads a moment to come, at most ten years away.
func moment(value, format, unitName string, now time.Time) (at time.Time, told bool) {
	value = strings.TrimSpace(value)
	if format == "rfc3339" {
		at, told = date(value)
		return bounded(at, now, told)
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil && !math.IsInf(n, 1) || math.IsNaN(n) || n <= 0 {
		return time.Time{}, false
	}
	seconds := n * unit(unitName).Seconds()
	if format == "at" {
		seconds -= float64(now.UnixMilli()) / 1000
	}
	if seconds <= 0 {
		return time.Time{}, false
	}
	return now.Add(time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second))), true
}

// date reads RFC 3339, and what servers send in its stead: no zone means UTC.
func date(value string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func bounded(at, now time.Time, told bool) (time.Time, bool) {
	switch {
	case !told || !at.After(now):
		return time.Time{}, false
	case at.Sub(now) > maxLife:
		return now.Add(maxLife), true
	}
	return at, true
}

// jwtExpiry reads exp of an access token that is a JWT. Nothing is proved by
// it: it only says when to renew.
func jwtExpiry(accessToken secret.Text, now time.Time) (time.Time, bool) {
	parts := strings.Split(accessToken.Reveal(), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	claims, err := parseObject(payload)
	if err != nil {
		return time.Time{}, false
	}
	return moment(text(claims["exp"]), "at", "", now)
}

// scopes reads the granted scopes, separated by spaces or commas or as the
// server does it, or an array. Absent or empty means as requested (RFC 6749
// §5.1).
func scopes(v any, own string, requested []string) (granted []string, given bool) {
	separator := func(r rune) bool { return unicode.IsSpace(r) || r == ',' }
	if slices.ContainsFunc(requested, func(s string) bool { return strings.Contains(s, ",") }) {
		separator = unicode.IsSpace // a comma is part of a scope here
	}
	if own != "" {
		separator = func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(own, r) }
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
