package behalf

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName = 255  // characters; the same for client id and client secret
	maxURL  = 3000 // characters
	maxText = 4000 // characters of a free text
)

// name checks a required name of one line.
func (p *problems) name(field, s string) {
	switch {
	case strings.TrimSpace(s) == "":
		p.add(field, "Required.")
	default:
		p.line(field, s, maxName)
	}
}

// line checks an optional text of one line.
func (p *problems) line(field, s string, max int) {
	switch {
	case utf8.RuneCountInString(s) > max:
		p.add(field, "Expected at most %d characters.", max)
	case !clean(s):
		p.add(field, "Expected one line of valid UTF-8 without control characters.")
	}
}

// text checks an optional text that may have several lines.
func (p *problems) text(field, s string, max int) {
	switch {
	case utf8.RuneCountInString(s) > max:
		p.add(field, "Expected at most %d characters.", max)
	case !clean(strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(s)):
		p.add(field, "Expected valid UTF-8 without control characters.")
	}
}

// clean reports whether s is valid UTF-8 without control characters, those
// included that turn the direction of what follows: a name must read as it is.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	})
}

// isToken reports whether s is an RFC 9110 token: a header name, a method.
func isToken(s string) bool {
	for _, r := range s {
		if r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
			return false
		}
	}
	return s != ""
}

func indexed(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
