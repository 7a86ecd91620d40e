package expand

import (
	"net/url"
	"strings"
	"unicode"
)

const (
	expectedText    = "UTF-8 text without NUL"
	expectedHeader  = "text without line breaks and other control characters (RFC 9110 §5.5)"
	expectedSegment = `a path segment: not empty, no control characters, and not "." or ".." alone or between slashes`
)

// encode returns s as it stands at p, or what was expected instead.
func (p Position) encode(s string) (encoded, expected string) {
	if invalid(s) >= 0 {
		return "", expectedText
	}
	switch p {
	case Header:
		if strings.ContainsFunc(s, unicode.IsControl) {
			return "", expectedHeader
		}
		return s, ""
	case Path:
		if strings.ContainsFunc(s, unicode.IsControl) || hasDotSegment(s) {
			return "", expectedSegment
		}
		return percentEncode(s), ""
	case Query, QueryName, Fragment:
		return percentEncode(s), ""
	default:
		return s, ""
	}
}

// hasDotSegment reports whether a server that decodes more than it should would
// find "." or ".." between the slashes of s. Some drop what follows ";" first.
func hasDotSegment(s string) bool {
	for s != "" {
		var segment string
		i := strings.IndexAny(s, `/\`)
		if i < 0 {
			segment, s = s, ""
		} else {
			segment, s = s[:i], s[i+1:]
		}
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// dotted is hasDotSegment of a percent-encoded segment.
func dotted(encoded string) bool {
	s, err := url.PathUnescape(encoded)
	return err != nil || hasDotSegment(s)
}

const upperHex = "0123456789ABCDEF"

// percentEncode leaves the unreserved characters of RFC 3986 §2.3 and no others.
func percentEncode(s string) string {
	n := 0
	for i := range len(s) {
		if !unreserved(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		b = appendEncoded(b, s[i], unreserved(s[i]))
	}
	return string(b)
}

func appendEncoded(b []byte, c byte, plain bool) []byte {
	if plain {
		return append(b, c)
	}
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// encodeLiterals keeps the literal text of a component as the author wrote it,
// and percent-encodes what RFC 3986 has no place for, such as the braces of
// {key}. It refuses what would end the component or mean something else.
func encodeLiterals(parts []part, p Position) ([]part, error) {
	plain, ends := "!$&'()*+,;=:@[]/?", "#"
	switch p {
	case Path:
		plain, ends = "!$&'()*+,;=:@[]", "/?#"
	case Query:
		ends = "&#"
	case QueryName:
		ends = "&=#"
	case Fragment:
		ends = ""
	}
	var encoded []part
	for _, part := range parts {
		if part.expr == nil {
			var err error
			if part.lit, err = encodeLiteral(part, plain, ends); err != nil {
				return nil, err
			}
		}
		encoded = append(encoded, part)
	}
	return encoded, nil
}

func encodeLiteral(part part, plain, ends string) (string, error) {
	s := part.lit
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case c <= ' ' || c == 0x7f || c == '\\' || strings.IndexByte(ends, c) >= 0:
			return "", &SyntaxError{part.offset + i, "this character to be percent-encoded"}
		case c == '%' && !isEscape(s[i:]):
			return "", &SyntaxError{part.offset + i, `two hexadecimal digits after "%", or "%25"`}
		}
		b = appendEncoded(b, c, c == '%' || unreserved(c) || strings.IndexByte(plain, c) >= 0)
	}
	return string(b), nil
}

func isEscape(s string) bool { return len(s) >= 3 && isHex(s[1]) && isHex(s[2]) }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
