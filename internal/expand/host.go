package expand

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

const (
	maxHost     = 253 // RFC 1035 §3.1, without the root's dot
	maxLabel    = 63
	registrable = 2 // labels at the end of a host that no free value may form

	expectedLabel  = "a DNS label: 1 to 63 letters, digits and hyphens, no hyphen first or last"
	expectedListed = "one of a closed list of values, because it stands in the registrable part of the host"
	expectedHost   = "a host name of at most 253 characters, not an IP address"
	expectedOrigin = "an https origin from the provider's reply: https://host"
)

// A host is labels between dots, or one label that is an IP address.
type host struct {
	labels [][]part
	port   string // "" for the scheme's own
}

// literal reports whether there is no placeholder.
func (h host) literal() bool { return areLiteral(h.labels) }

func areLiteral(labels [][]part) bool {
	return !slices.ContainsFunc(labels, func(l []part) bool { return !isLiteral(l) })
}

// listed returns the labels that only literal text and values of closed lists
// may form. Two labels stand for the registrable part: the list of public
// suffixes ("co.uk") would make it exact.
func (h host) listed() [][]part { return h.labels[max(0, len(h.labels)-registrable):] }

// name returns the host with "*" for each label that has a placeholder.
func (h host) name() string {
	labels := make([]string, len(h.labels))
	for i, l := range h.labels {
		labels[i] = "*"
		if isLiteral(l) {
			labels[i] = l[0].lit
		}
	}
	return strings.Join(labels, ".")
}

// parseHost parses host[:port], the authority of a URL without user information.
func parseHost(parts []part, offset int) (host, error) {
	if len(parts) > 0 {
		offset = parts[0].offset
	}
	for _, p := range parts {
		if i := strings.IndexByte(p.lit, '@'); i >= 0 {
			return host{}, &SyntaxError{p.offset + i, "no user information before the host"}
		}
	}
	if len(parts) > 0 && strings.HasPrefix(parts[0].lit, "[") {
		return parseIPv6(parts)
	}
	c := cursor{parts: parts}
	name, delim := c.until(":")
	h := host{labels: split(name, ".")}
	if delim != 0 {
		var err error
		if h.port, err = parsePort(c.parts, offset); err != nil {
			return host{}, err
		}
	}
	for i, l := range h.labels {
		lit, err := parseLabel(l, offset)
		if err != nil {
			return host{}, err
		}
		h.labels[i] = lit
	}
	return h, h.check(offset)
}

// check looks at the labels together.
func (h host) check(offset int) error {
	literal, n := h.literal(), 0
	for _, l := range h.labels {
		for _, p := range l {
			n += len(p.lit)
		}
		n++
	}
	last := h.labels[len(h.labels)-1]
	switch {
	case n-1 > maxHost:
		return &SyntaxError{offset, expectedHost}
	case !isLiteral(last) || !special(last[0].lit):
		return nil
	case !literal:
		return &SyntaxError{offset, "no placeholder in an IP address or below localhost"}
	case last[0].lit == "localhost":
		return nil
	}
	// What ends in a number is an IPv4 address to a resolver, in decimal, octal
	// or hexadecimal; only one way to write it is taken.
	if a, err := netip.ParseAddr(h.name()); err != nil || !a.Is4() {
		return &SyntaxError{offset, "an IPv4 address as four decimal numbers"}
	}
	return nil
}

// special reports whether a last label makes the host an address or this machine.
func special(label string) bool {
	if label == "localhost" {
		return true
	}
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func parseIPv6(parts []part) (host, error) {
	lit, offset := parts[0].lit, parts[0].offset
	address, port, ok := strings.Cut(lit[1:], "]")
	a, err := netip.ParseAddr(address)
	if !ok || err != nil || !a.Is6() || a.Zone() != "" || len(parts) > 1 {
		return host{}, &SyntaxError{offset, "a literal IPv6 address in brackets, without a zone"}
	}
	h := host{labels: [][]part{{{offset: offset, lit: "[" + a.String() + "]"}}}}
	if port != "" {
		at := offset + len(lit) - len(port)
		if port[0] != ':' {
			return host{}, &SyntaxError{at, "a port or a path after the address"}
		}
		h.port, err = parsePort([]part{{offset: at + 1, lit: port[1:]}}, at)
	}
	return h, err
}

func parsePort(parts []part, offset int) (string, error) {
	if len(parts) == 0 || !isLiteral(parts) {
		return "", &SyntaxError{offset, "a literal port: 1 to 65535"}
	}
	n, err := strconv.ParseUint(parts[0].lit, 10, 16)
	if err != nil || n == 0 {
		return "", &SyntaxError{parts[0].offset, "a literal port: 1 to 65535"}
	}
	return strconv.FormatUint(n, 10), nil
}

// parseLabel brings literal text into lower-case ASCII. A label that is literal
// as a whole may be in any script (RFC 5891); beside a placeholder it is ASCII.
func parseLabel(l []part, offset int) ([]part, error) {
	if len(l) == 0 {
		return nil, &SyntaxError{offset, "a host without empty labels"}
	}
	if isLiteral(l) {
		if len(l[0].lit) > maxHost || invalid(l[0].lit) >= 0 { // Punycode takes quadratic time
			return nil, &SyntaxError{l[0].offset, expectedLabel}
		}
		ascii, err := names2008.ToASCII(l[0].lit)
		if err != nil || !isLabel(ascii) {
			return nil, &SyntaxError{l[0].offset, expectedLabel}
		}
		return []part{{offset: l[0].offset, lit: ascii}}, nil
	}
	lowered := make([]part, len(l))
	for i, p := range l {
		lit, ok := lowerHost(p.lit)
		if !ok || len(lit) > maxLabel {
			return nil, &SyntaxError{p.offset, expectedLabel}
		}
		lowered[i] = part{p.offset, lit, p.expr}
	}
	return lowered, nil
}

// names2008 is idna.Lookup without its rule on hyphens: "acme--test.example" is in use.
var names2008 = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false))

// lowerHost returns s in lower case, or false if it has anything but letters,
// digits and hyphens of ASCII.
func lowerHost(s string) (string, bool) {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return "", false
		}
	}
	return strings.ToLower(s), true
}

// isLabel reports whether s is one DNS label in lower case.
func isLabel(s string) bool {
	lower, ok := lowerHost(s)
	return ok && lower == s && s != "" && len(s) <= maxLabel && s[0] != '-' && s[len(s)-1] != '-'
}

// host appends the filled host with its port.
func (f *filler) host(b *strings.Builder, h host) {
	begun := b.Len()
	var name string // of a value in the host
	for i, l := range h.labels {
		if i > 0 {
			b.WriteByte('.')
		}
		if n := f.label(b, l, i >= len(h.labels)-registrable); n != "" {
			name = n
		}
	}
	if !h.literal() && f.err() == nil && !isHostName(b.String()[begun:]) {
		f.refuse(name, Host, expectedHost)
	}
	if h.port != "" {
		b.WriteByte(':')
		b.WriteString(h.port)
	}
}

// label appends a filled label; the values of a closed list may make several of
// one. It returns the name of the last value.
func (f *filler) label(b *strings.Builder, l []part, inRegistrable bool) (name string) {
	if isLiteral(l) {
		b.WriteString(l[0].lit)
		return ""
	}
	begun := b.Len()
	for _, p := range l {
		if p.expr == nil {
			b.WriteString(p.lit)
			continue
		}
		v, ok := f.value(p.expr)
		if !ok {
			continue
		}
		name = v.name
		if inRegistrable && !v.Enumerated {
			f.refuse(name, Host, expectedListed)
			continue
		}
		s, ok := hostValue(v.Value)
		if !ok {
			f.refuse(name, Host, expectedLabel)
		}
		b.WriteString(s)
	}
	for s := range strings.SplitSeq(b.String()[begun:], ".") {
		if !isLabel(s) {
			f.refuse(name, Host, expectedLabel)
			break
		}
	}
	return name
}

// hostValue returns the value in lower case; one of a closed list may hold dots ("com.au").
func hostValue(v Value) (string, bool) {
	if len(v.Text) > maxHost {
		return "", false
	}
	if !v.Enumerated {
		return lowerHost(v.Text)
	}
	labels := strings.Split(v.Text, ".")
	for i, l := range labels {
		var ok bool
		if labels[i], ok = lowerHost(l); !ok {
			return "", false
		}
	}
	return strings.Join(labels, "."), true
}

// isHostName looks at the labels together once they are filled.
func isHostName(s string) bool {
	if len(s) > maxHost || !strings.Contains(s, ".") || special(s[strings.LastIndexByte(s, '.')+1:]) {
		return false
	}
	if !strings.Contains(s, "xn--") {
		return true
	}
	ascii, err := names2008.ToASCII(s)
	return err == nil && ascii == s
}

func notASCII(r rune) bool { return r > unicode.MaxASCII }

// origin appends the origin that stands for e, without a path.
func (f *filler) origin(b *strings.Builder, e *expr) {
	v, ok := f.value(e)
	if !ok {
		return
	}
	authority, https := strings.CutPrefix(v.Text, "https://")
	authority = strings.TrimSuffix(authority, "/")
	if !v.Origin || !https || strings.ContainsFunc(authority, notASCII) || len(authority) > maxHost+len(":65535") {
		f.refuse(v.name, Origin, expectedOrigin)
		return
	}
	h, err := parseHost([]part{{lit: authority}}, 0)
	if err != nil {
		f.refuse(v.name, Origin, expectedOrigin)
		return
	}
	b.WriteString("https://")
	f.host(b, h)
}
