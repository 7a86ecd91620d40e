package egress

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file masks what a transcript is given. The rules are:
//
//   - What has the name of a secret is masked: a header, a cookie, a member of
//     JSON at any depth, a field of a form or query, also inside another text
//     (a URL in JSON, JSON in JSON, a URL in a query).
//   - What has the value of a secret is masked wherever it is (values.go).
//   - Documents are not parsed: a half, wrong or hostile one is masked as well as
//     a right one, and is shown as it came.
//   - In doubt it is masked.

// secretNames are names of secrets; secretWords make a secret of every name that holds one.
var (
	secretNames = []string{"code", "state", "nonce", "dpop", "device_code", "user_code", "pwd", "sig", "signature"}
	secretWords = []string{"token", "secret", "key", "auth", "cookie", "session", "passw", "assertion", "verifier"}

	// These hold such a word and are what a reader of a transcript looks for.
	publicNames    = []string{"www-authenticate", "proxy-authenticate", "token_type", "issued_token_type", "requested_token_type", "subject_token_type", "actor_token_type", "token_type_hint"}
	publicSuffixes = []string{"_endpoint", "_supported", "_auth_method", "_uri", "_expires_in"}

	// schemes of Authorization, the word before the secret.
	schemes = []string{"basic", "bearer", "digest", "dpop", "negotiate", "oauth", "token"}
)

func sensitive(name string) bool {
	name = strings.ToLower(name)
	if slices.Contains(secretNames, name) {
		return true
	}
	if slices.Contains(publicNames, name) || slices.ContainsFunc(publicSuffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
		return false
	}
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// masker masks one exchange.
type masker struct {
	needles []needle      // what to look for
	learned []secret.Text // what was found by its name, now or earlier
}

// maxLearned bounds the work that an answer full of tokens can make.
const maxLearned = 256

func newMasker(secrets, learned []secret.Text) *masker {
	m := &masker{learned: slices.Clone(learned)}
	for _, s := range slices.Concat(secrets, learned) {
		m.add(s.Reveal())
	}
	return m
}

// learn takes what stood under the name of a secret for a secret elsewhere too.
// Short values and plain words ("code": "insufficient_scope") are not: they would
// be masked where they say something else.
func (m *masker) learn(value string) {
	plain := strings.Trim(value, "abcdefghijklmnopqrstuvwxyz_-. ") == ""
	if len(value) < 16 || len(value) > 8192 || plain || len(m.learned) == maxLearned {
		return
	}
	if m.add(value) {
		m.learned = append(m.learned, secret.New(value))
	}
}

func (m *masker) text(s string) string { return m.values(m.names(s, 0), false) }

func (m *masker) header(h http.Header) http.Header {
	masked := http.Header{}
	for name, values := range h {
		for _, v := range values {
			key := m.values(name, false)
			masked[key] = append(masked[key], m.values(m.headerValue(name, v), false))
		}
	}
	return masked
}

func (m *masker) headerValue(name, value string) string {
	switch http.CanonicalHeaderKey(name) {
	case "Authorization", "Proxy-Authorization":
		scheme, credentials, found := strings.Cut(value, " ")
		if !found || !slices.Contains(schemes, strings.ToLower(scheme)) {
			m.learn(value)
			return secret.Mask
		}
		m.learn(credentials)
		return scheme + " " + secret.Mask
	case "Cookie":
		pairs := strings.Split(value, "; ")
		for i := range pairs {
			pairs[i] = m.cookie(pairs[i])
		}
		return strings.Join(pairs, "; ")
	case "Set-Cookie":
		pair, attributes, found := strings.Cut(value, ";")
		if !found {
			return m.cookie(pair)
		}
		return m.cookie(pair) + ";" + m.names(attributes, 0)
	}
	if sensitive(name) {
		m.learn(value)
		return secret.Mask
	}
	return m.names(value, 0)
}

func (m *masker) cookie(pair string) string {
	name, value, found := strings.Cut(pair, "=")
	if !found {
		return secret.Mask // a cookie without a name
	}
	m.learn(value)
	return name + "=" + secret.Mask
}

// form masks application/x-www-form-urlencoded, in which all up to the next & is value.
func (m *masker) form(s string) string {
	pairs := strings.Split(s, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if sensitive(decoded(name)) && value != "" {
			m.learn(decoded(value))
			pairs[i] = name + "=" + secret.Mask
		} else {
			pairs[i] = m.names(pair, 0)
		}
	}
	return strings.Join(pairs, "&")
}

// names masks what follows the name of a secret: name=value, "name":value, and
// both with any number of backslashes before the quotes, as in JSON within JSON.
func (m *masker) names(s string, depth int) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		if unicodeEscape(s[i:]) { // \u0026 ends what came before as & does
			out.WriteString(s[i : i+6])
			i += 6
			continue
		}
		end := i
		for end < len(s) && nameByte(s[end]) {
			end++
		}
		if end == i {
			out.WriteByte(s[i])
			i++
			continue
		}
		if strings.Contains(s[i:end], "%") {
			end = i + runEnd(s[i:])
		}
		i = m.named(&out, s, i, end, depth)
	}
	return out.String()
}

// named writes the name s[i:end], masked if it is itself a text in which there
// are secrets, and the mask for its value; it returns where the rest begins.
func (m *masker) named(out *strings.Builder, s string, i, end, depth int) int {
	name := decoded(s[i:end])
	out.WriteString(m.nested(s[i:end], name, depth))
	if !sensitive(lastName(name)) {
		return end
	}
	quote := quoteAt(s[end:]) // of the name; JSON has one
	at := end + len(quote)
	at += spaces(s[at:])
	pair := at < len(s) && s[at] == '='
	member := at < len(s) && s[at] == ':' && quote != ""
	if !pair && !member {
		return end
	}
	at++
	at += spaces(s[at:])
	out.WriteString(s[end:at])

	value := s[at : at+valueEnd(s[at:], member)]
	m.learnValue(value)
	out.WriteString(maskedValue(value, quote, member))
	return at + len(value)
}

// maskedValue puts the mask in quotes where the value had some or JSON needs
// them. That there is no value is no secret.
func maskedValue(value, nameQuote string, member bool) string {
	switch strings.Trim(value, `\"'`) {
	case "", "null", "true", "false":
		return value
	}
	quote := quoteAt(value)
	if quote == "" && member {
		quote = nameQuote
	}
	return quote + secret.Mask + quote
}

// nested masks a text that is percent-encoded in another one.
func (m *masker) nested(raw, text string, depth int) string {
	if raw == text {
		return raw
	}
	if depth == 3 {
		return secret.Mask
	}
	masked := m.values(m.names(text, depth+1), false)
	if masked == text {
		return raw
	}
	return strings.ReplaceAll(url.QueryEscape(masked), url.QueryEscape(secret.Mask), secret.Mask)
}

func (m *masker) learnValue(value string) {
	quote := quoteAt(value)
	inner := strings.TrimSuffix(strings.TrimPrefix(value, quote), quote)
	m.learn(inner)
	m.learn(decoded(inner))
	var text string
	if json.Unmarshal([]byte(`"`+inner+`"`), &text) == nil {
		m.learn(text)
	}
}

// decoded undoes percent-encoding, where that is what it is.
func decoded(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == '%' || c >= 0x80
}

// runEnd returns the length of percent-encoded text.
func runEnd(s string) int {
	if n := strings.IndexAny(s, "&#=\"'<>\\ \t\r\n"); n >= 0 {
		return n
	}
	return len(s)
}

func lastName(s string) string {
	i := len(s)
	for i > 0 && nameByte(s[i-1]) {
		i--
	}
	return s[i:]
}

func spaces(s string) int { return len(s) - len(strings.TrimLeft(s, " \t\r\n")) }

// quoteAt returns the quote that s begins with, with its backslashes, or "".
func quoteAt(s string) string {
	n := backslashes(s)
	if n < len(s) && (s[n] == '"' || s[n] == '\'') {
		return s[:n+1]
	}
	return ""
}

func backslashes(s string) int { return len(s) - len(strings.TrimLeft(s, `\`)) }

func unicodeEscape(s string) bool {
	return len(s) >= 6 && s[0] == '\\' && s[1] == 'u' && strings.Trim(s[2:6], "0123456789abcdefABCDEF") == ""
}

// valueEnd returns the length of the value that s begins with: a quoted one, or
// in JSON an object, array or scalar, or else what a query has up to the next &.
func valueEnd(s string, inJSON bool) int {
	switch quote := quoteAt(s); {
	case quote != "":
		return stringEnd(s, quote)
	case inJSON && s != "" && (s[0] == '{' || s[0] == '['):
		return bracketEnd(s)
	case inJSON:
		return indexAnyOrEnd(s, ",}]\\\" \t\r\n")
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] == '/' {
			continue // PHP's way of writing a slash in JSON
		}
		if strings.IndexByte("&#\"'<>\\ \t\r\n", s[i]) >= 0 {
			return i
		}
	}
	return len(s)
}

// stringEnd returns the length of a string with its quotes. With n backslashes
// before its quotes, one inside has n+1 more: \" within "…", \\\" within \"…\".
func stringEnd(s, quote string) int {
	n := len(quote) - 1
	for i := len(quote); i < len(s); i++ {
		run := backslashes(s[i:])
		i += run
		if i == len(s) {
			break
		}
		if s[i] == quote[n] && (run < n || (run-n)/(n+1)%2 == 0) {
			return i + 1
		}
	}
	return len(s)
}

// bracketEnd returns the length of a JSON object or array.
func bracketEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		if run := backslashes(s[i:]); run > 0 && quoteAt(s[i:]) == "" {
			i += run - 1 // at once, or a megabyte of them takes for ever
			continue
		}
		switch quote := quoteAt(s[i:]); {
		case quote != "":
			i += stringEnd(s[i:], quote) - 1
		case s[i] == '{' || s[i] == '[':
			depth++
		case s[i] == '}' || s[i] == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func indexAnyOrEnd(s, chars string) int {
	if n := strings.IndexAny(s, chars); n >= 0 {
		return n
	}
	return len(s)
}
