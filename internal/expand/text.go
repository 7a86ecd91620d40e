package expand

import (
	"strings"
	"unicode"
)

// Text is the parsed text of one position other than a URL. It does not change
// and may be used by many at once.
type Text struct {
	text  string // as it was written
	fixed string // what it fills to when nothing is to be filled
	pos   Position
	parts []part
	names []string
	needs []string
}

// ParseText parses the text of one Position except Host and Origin. Literal text
// of Query, QueryName, Path and Fragment stands as it is in the URL, already
// percent-encoded. The error is a *SyntaxError.
func ParseText(text string, p Position) (*Text, error) {
	parts, err := parse(text)
	if err != nil {
		return nil, err
	}
	if parts, err = literals(parts, p); err != nil {
		return nil, err
	}
	t := &Text{text: text, pos: p, parts: parts, names: names(parts, false), needs: names(parts, true)}
	if t.Literal() {
		var b strings.Builder
		(&filler{}).write(&b, parts, p)
		t.fixed = b.String()
	}
	return t, nil
}

// literals checks the literal text of a position and brings it into its form.
func literals(parts []part, p Position) ([]part, error) {
	switch p {
	case Host, Origin:
		return nil, &SyntaxError{0, "a position other than a host: a host is parsed with its URL"}
	case Header:
		for _, part := range parts {
			if i := strings.IndexFunc(part.lit, unicode.IsControl); i >= 0 {
				return nil, &SyntaxError{part.offset + i, expectedHeader}
			}
		}
		return parts, nil
	case Path:
		encoded, err := encodeLiterals(parts, p)
		if err != nil {
			return nil, err
		}
		return encoded, checkSegment(encoded)
	case Query, QueryName, Fragment:
		return encodeLiterals(parts, p)
	default:
		return parts, nil
	}
}

// checkSegment refuses a literal dot segment; what values make is for filling.
func checkSegment(parts []part) error {
	if len(parts) > 0 && isLiteral(parts) && dotted(parts[0].lit) {
		return &SyntaxError{parts[0].offset, `a path without "." and ".."`}
	}
	return nil
}

// isLiteral reports whether there is no placeholder: parse leaves no two
// literals beside each other.
func isLiteral(parts []part) bool {
	return len(parts) == 0 || len(parts) == 1 && parts[0].expr == nil
}

// String returns the text as it was written.
func (t *Text) String() string { return t.text }

// Names returns the names that filling may look up, each once, in the order of
// the text. The caller must not change the slice.
func (t *Text) Names() []string { return t.names }

// Needs returns those of the names without which Fill always fails: all that do
// not stand in a default. The caller must not change the slice.
func (t *Text) Needs() []string { return t.needs }

// Literal reports whether there is no placeholder.
func (t *Text) Literal() bool { return isLiteral(t.parts) }

// Fill returns the text with its values, and whether one of them is secret. The
// error is a *MissingError or a *ValueError. A Literal text needs no Lookup.
func (t *Text) Fill(lookup Lookup, funcs Funcs) (filled string, secret bool, err error) {
	if t.Literal() {
		return t.fixed, false, nil
	}
	f := filler{lookup: lookup, funcs: funcs}
	var b strings.Builder
	if t.pos == Path {
		f.segment(&b, t.parts)
	} else {
		f.write(&b, t.parts, t.pos)
	}
	if err := f.err(); err != nil {
		return "", false, err
	}
	return b.String(), f.secret, nil
}
