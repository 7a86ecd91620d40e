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

// OnlyNames reports whether every placeholder is a bare name: {{pin}}, and
// neither a function nor a literal.
func (t *Text) OnlyNames() bool {
	for _, p := range t.parts {
		if p.expr != nil && p.expr.op != opName {
			return false
		}
	}
	return true
}

// LiteralText returns the text without its placeholders.
func (t *Text) LiteralText() string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.lit)
	}
	return b.String()
}
