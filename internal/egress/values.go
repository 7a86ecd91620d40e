package egress

import (
	"bytes"
	"encoding/base64"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/behalf-dev/behalf/internal/secret"
)

// minSecret is the length from which a secret is looked for by its value, in
// bytes: a shorter one is also a part of ordinary words.
const minSecret = 4

// needle is one form of a secret.
type needle struct {
	text   string
	base64 bool // text is the part of base64 that does not depend on what surrounds the secret
}

// add takes a secret to look for, and reports whether it is new and long enough.
func (m *masker) add(s string) bool {
	if len(s) < minSecret || slices.Contains(m.needles, needle{s, false}) {
		return false
	}
	m.needles = append(m.needles, needle{s, false})
	for before := range 3 { // how many bytes of the group of three belong to what comes before
		core := base64Core(s, before)
		if len(core) < 6 {
			continue
		}
		m.needles = append(m.needles, needle{core, true})
		if other := strings.NewReplacer("+", "-", "/", "_").Replace(core); other != core {
			m.needles = append(m.needles, needle{other, true})
		}
	}
	return true
}

// base64Core leaves away the characters that hold bits of the neighbours.
func base64Core(s string, before int) string {
	encoded := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:before] + s))
	if (before+len(s))%3 != 0 {
		encoded = encoded[:len(encoded)-1]
	}
	return encoded[[...]int{0, 2, 3}[before]:]
}

// span is a part of a text, in bytes.
type span struct{ from, to int }

// values masks every secret in s, plain or encoded at most twice: for a URL, a
// form, JSON or HTML; and in base64. An incomplete text may end within a secret.
func (m *masker) values(s string, incomplete bool) string {
	if len(m.needles) == 0 || s == "" {
		return s
	}
	spans := m.find(nil, view{text: []byte(s)}, 2, incomplete)
	if len(spans) == 0 {
		return s
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	at := 0
	for _, found := range spans {
		if found.from >= at {
			out.WriteString(s[at:found.from])
			out.WriteString(secret.Mask)
		}
		at = max(at, found.to)
	}
	out.WriteString(s[at:])
	return out.String()
}

func (m *masker) find(spans []span, v view, depth int, incomplete bool) []span {
	for _, n := range m.needles {
		spans = v.find(spans, n)
		if incomplete {
			spans = v.findCut(spans, n.text)
		}
	}
	if depth == 0 {
		return spans
	}
	for _, unescape := range [...]unescape{unescapeURL, unescapeForm, unescapeJSON, unescapeHTML} {
		if decoded, changed := v.decode(unescape); changed {
			spans = m.find(spans, decoded, depth-1, incomplete)
		}
	}
	return spans
}

// view is a text as it is after decoding, and where each byte of it came from.
type view struct {
	text []byte
	from []int32 // one more than text has bytes; nil: the text itself
}

func (v view) origin(i int) int {
	if v.from == nil {
		return i
	}
	return int(v.from[i])
}

func (v view) find(spans []span, n needle) []span {
	for at := 0; ; {
		i := bytes.Index(v.text[at:], []byte(n.text))
		if i < 0 {
			return spans
		}
		from, to := at+i, at+i+len(n.text)
		if n.base64 {
			for from > 0 && base64Byte(v.text[from-1]) {
				from--
			}
			for to < len(v.text) && base64Byte(v.text[to]) {
				to++
			}
		}
		spans = append(spans, span{v.origin(from), v.origin(to)})
		at = to
	}
}

// findCut finds the beginning of a needle at the end of the text.
func (v view) findCut(spans []span, needle string) []span {
	for n := min(len(needle), len(v.text)); n >= minSecret; n-- {
		if from := len(v.text) - n; string(v.text[from:]) == needle[:n] {
			return append(spans, span{v.origin(from), v.origin(len(v.text))})
		}
	}
	return spans
}

func base64Byte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
}

// unescape returns what an escape at the beginning of b stands for, and its
// length: 0 where there is none.
type unescape func(b []byte) (string, int)

func (v view) decode(unescape unescape) (view, bool) {
	var d view
	for i := 0; i < len(v.text); {
		text, n := unescape(v.text[i:])
		switch {
		case n == 0 && d.from == nil: // nothing to copy yet
			i++
			continue
		case n == 0:
			text, n = string(v.text[i:i+1]), 1
		case d.from == nil:
			d = v.head(i)
		}
		for range len(text) {
			d.from = append(d.from, int32(v.origin(i)))
		}
		d.text = append(d.text, text...)
		i += n
	}
	if d.from == nil {
		return view{}, false
	}
	d.from = append(d.from, int32(v.origin(len(v.text))))
	return d, true
}

// head returns the first n bytes of a view, to be added to.
func (v view) head(n int) view {
	d := view{text: append(make([]byte, 0, len(v.text)), v.text[:n]...), from: make([]int32, n, len(v.text)+1)}
	for i := range n {
		d.from[i] = int32(v.origin(i))
	}
	return d
}

func unescapeURL(b []byte) (string, int) {
	if len(b) < 3 || b[0] != '%' {
		return "", 0
	}
	c, err := strconv.ParseUint(string(b[1:3]), 16, 8)
	if err != nil {
		return "", 0
	}
	return string([]byte{byte(c)}), 3
}

func unescapeForm(b []byte) (string, int) {
	if b[0] == '+' {
		return " ", 1
	}
	return unescapeURL(b)
}

func unescapeJSON(b []byte) (string, int) {
	if len(b) < 2 || b[0] != '\\' {
		return "", 0
	}
	if b[1] == 'u' {
		return unescapeUnicode(b)
	}
	i := strings.IndexByte(`"\/bfnrt`, b[1])
	if i < 0 {
		return "", 0
	}
	return "\"\\/\b\f\n\r\t"[i : i+1], 2
}

func unescapeUnicode(b []byte) (string, int) {
	r, ok := hexRune(b)
	if !ok {
		return "", 0
	}
	if utf16.IsSurrogate(r) && len(b) >= 12 {
		if low, ok := hexRune(b[6:]); ok {
			if whole := utf16.DecodeRune(r, low); whole != utf8.RuneError {
				return string(whole), 12
			}
		}
	}
	return string(r), 6
}

func hexRune(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return rune(n), err == nil
}

func unescapeHTML(b []byte) (string, int) {
	if b[0] != '&' {
		return "", 0
	}
	end := bytes.IndexByte(b[:min(len(b), 12)], ';')
	if end < 0 {
		return "", 0
	}
	entity := string(b[:end+1])
	if text := html.UnescapeString(entity); text != entity {
		return text, end + 1
	}
	return "", 0
}
