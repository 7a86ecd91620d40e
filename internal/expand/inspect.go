package expand

import "strings"

// Scheme returns "https" or "http". A URL that begins with a captured origin is
// always https.
func (u *URL) Scheme() string {
	if u.scheme == "" {
		return "https"
	}
	return u.scheme
}

// LiteralText returns the text without its placeholders.
func (t *Text) LiteralText() string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.lit)
	}
	return b.String()
}
