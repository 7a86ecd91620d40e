package expand

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// URL is a parsed http or https URL with placeholders. It does not change and
// may be used by many at once.
type URL struct {
	text     string // as it was written
	scheme   string // "https" or "http"
	origin   *expr  // instead of scheme and host: a captured origin
	host     host
	path     [][]part // segments, each after a "/"
	query    []param
	asks     bool // has a "?"
	fragment []part
	names    []string
	needs    []string
	fixed    *url.URL // of a URL without placeholders
}

// A param is name or name=value in a query.
type param struct {
	name, value []part
	equals      bool
}

// ParseURL parses an absolute URL, or one that begins with a placeholder for a
// captured origin ("{{instance_url}}/services"). Literal text of the path, the
// query and the fragment stays as written, except that characters which RFC 3986
// does not allow there are percent-encoded. The error is a *SyntaxError.
func ParseURL(text string) (*URL, error) {
	parts, err := parse(text)
	if err != nil {
		return nil, err
	}
	u := &URL{text: text, names: names(parts, false), needs: names(parts, true)}
	literal := isLiteral(parts)
	c := cursor{parts: parts, offset: len(text)}
	if err := u.parseOrigin(&c); err != nil {
		return nil, err
	}
	if err := u.parsePath(&c); err != nil {
		return nil, err
	}
	if err := u.parseQuery(&c); err != nil {
		return nil, err
	}
	if u.fragment, err = encodeLiterals(c.parts, Fragment); err != nil {
		return nil, err
	}
	if literal {
		u.fixed, err = u.fill(&filler{})
	}
	return u, err
}

const expectedScheme = `"https://" or "http://", or a placeholder for a captured origin`

func (u *URL) parseOrigin(c *cursor) error {
	if len(c.parts) == 0 {
		return &SyntaxError{0, expectedScheme}
	}
	if e := c.parts[0].expr; e != nil {
		if e.op == opName && e.text == tenant {
			return &SyntaxError{0, `"https://": a tenant is not an origin`}
		}
		u.origin, c.parts = e, c.parts[1:]
		return nil
	}
	scheme, rest, ok := strings.Cut(c.parts[0].lit, "://")
	u.scheme = strings.ToLower(scheme)
	if !ok || u.scheme != "https" && u.scheme != "http" {
		return &SyntaxError{0, expectedScheme}
	}
	c.replaceFirst(rest)
	begun := c.at()
	authority := c.before("/?#")
	var err error
	u.host, err = parseHost(authority, begun)
	return err
}

func (u *URL) parsePath(c *cursor) error {
	begun := c.at()
	path := c.before("?#")
	if len(path) == 0 {
		return nil
	}
	if !strings.HasPrefix(path[0].lit, "/") {
		return &SyntaxError{begun, `"/", "?" or "#" after the origin`}
	}
	for _, segment := range split(path, "/")[1:] {
		encoded, err := encodeLiterals(segment, Path)
		if err == nil {
			err = checkSegment(encoded)
		}
		if err != nil {
			return err
		}
		u.path = append(u.path, encoded)
	}
	return nil
}

// parseQuery leaves the fragment.
func (u *URL) parseQuery(c *cursor) error {
	if !c.take('?') {
		c.take('#')
		return nil
	}
	u.asks = true
	query, _ := c.until("#")
	for _, parts := range split(query, "&") {
		p, err := parseParam(parts)
		if err != nil {
			return err
		}
		u.query = append(u.query, p)
	}
	return nil
}

func parseParam(parts []part) (p param, err error) {
	c := cursor{parts: parts}
	name, delim := c.until("=")
	p.equals = delim != 0
	if p.name, err = encodeLiterals(name, QueryName); err != nil {
		return p, err
	}
	p.value, err = encodeLiterals(c.parts, Query)
	return p, err
}

// String returns the URL as it was written.
func (u *URL) String() string { return u.text }

// Literal reports whether there is no placeholder.
func (u *URL) Literal() bool { return u.fixed != nil }

// Names returns the names that filling may look up, each once, in the order of
// the text. The caller must not change the slice.
func (u *URL) Names() []string { return u.names }

// Needs returns those of the names without which Fill always fails: all that do
// not stand in a default. The caller must not change the slice.
func (u *URL) Needs() []string { return u.needs }

// Enumerated returns the names that stand in the registrable part of the host:
// Fill takes only Enumerated values for them.
func (u *URL) Enumerated() []string {
	if u.origin != nil {
		return nil
	}
	return names(slices.Concat(u.host.listed()...), false)
}

// Captured returns the names at the beginning of a URL that has no scheme of its
// own: Fill takes only Origin values for them.
func (u *URL) Captured() []string {
	if u.origin == nil {
		return nil
	}
	return names([]part{{expr: u.origin}}, false)
}

// HostPattern returns the entry of ParseHosts that stands for the URL's host,
// with "*" for each label that has a placeholder ("*.example.com"). It is ""
// where there is none, because the host is captured or a placeholder stands in
// its registrable part: then the allowed hosts have to be given.
func (u *URL) HostPattern() string {
	if u.origin != nil || !areLiteral(u.host.listed()) {
		return ""
	}
	if u.host.port == "" {
		return u.host.name()
	}
	return u.host.name() + ":" + u.host.port
}

// Fill returns the URL with its values. The error is a *MissingError or a
// *ValueError, the latter also if the host is not among the allowed ones.
func (u *URL) Fill(lookup Lookup, allowed Hosts, funcs Funcs) (*url.URL, error) {
	filled := new(url.URL)
	if u.fixed != nil {
		*filled = *u.fixed
	} else {
		var err error
		filled, err = u.fill(&filler{lookup: lookup, funcs: funcs})
		if err != nil {
			return nil, err
		}
	}
	if !allowed.Allows(filled) {
		return nil, &ValueError{u.hostName(), Host, "one of the profile's allowed hosts"}
	}
	return filled, nil
}

// hostName returns the first name in the host, or "".
func (u *URL) hostName() string {
	list := append(u.Captured(), names(slices.Concat(u.host.labels...), false)...)
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

var errStructure = errors.New("expand: the filled URL has not the structure of its template")

// fill builds the URL as text, parses it and requires that every component came
// back as it was built: no value has moved a border.
func (u *URL) fill(f *filler) (*url.URL, error) {
	var b strings.Builder
	if u.origin != nil {
		f.origin(&b, u.origin)
	} else {
		b.WriteString(u.scheme)
		b.WriteString("://")
		f.host(&b, u.host)
	}
	path := b.Len()
	for _, s := range u.path {
		b.WriteByte('/')
		f.segment(&b, s)
	}
	query := b.Len()
	if u.asks {
		b.WriteByte('?')
		f.query(&b, u.query)
	}
	fragment := b.Len()
	if len(u.fragment) > 0 {
		b.WriteByte('#')
		f.write(&b, u.fragment, Fragment)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	text := b.String()
	filled, err := url.Parse(text)
	if err != nil || filled.User != nil || filled.Opaque != "" ||
		filled.Scheme+"://"+filled.Host != text[:path] ||
		filled.EscapedPath() != text[path:query] ||
		filled.RawQuery != strings.TrimPrefix(text[query:fragment], "?") ||
		filled.EscapedFragment() != strings.TrimPrefix(text[fragment:], "#") {
		return nil, errStructure
	}
	return filled, nil
}

func (f *filler) query(b *strings.Builder, query []param) {
	for i, p := range query {
		if i > 0 {
			b.WriteByte('&')
		}
		f.write(b, p.name, QueryName)
		if p.equals {
			b.WriteByte('=')
			f.write(b, p.value, Query)
		}
	}
}

// A cursor cuts parts at characters of their literal text, and uses them up.
type cursor struct {
	parts  []part
	offset int // of the end of the text
}

// at returns the offset of what is next.
func (c *cursor) at() int {
	if len(c.parts) == 0 {
		return c.offset
	}
	return c.parts[0].offset
}

// before takes the parts in front of the first of the characters.
func (c *cursor) before(chars string) []part {
	var taken []part
	for len(c.parts) > 0 {
		p := c.parts[0]
		i := strings.IndexAny(p.lit, chars)
		if i < 0 {
			taken, c.parts = append(taken, p), c.parts[1:]
			continue
		}
		if i > 0 {
			taken = append(taken, part{offset: p.offset, lit: p.lit[:i]})
		}
		c.replaceFirst(p.lit[i:])
		break
	}
	return taken
}

// until is before, and takes the character too; 0 if there was none.
func (c *cursor) until(chars string) (taken []part, delim byte) {
	taken = c.before(chars)
	if len(c.parts) == 0 {
		return taken, 0
	}
	delim = c.parts[0].lit[0]
	c.take(delim)
	return taken, delim
}

func (c *cursor) take(char byte) bool {
	if len(c.parts) == 0 || c.parts[0].lit == "" || c.parts[0].lit[0] != char {
		return false
	}
	c.replaceFirst(c.parts[0].lit[1:])
	return true
}

// replaceFirst leaves only the end of the first part. It writes into the parts,
// because a copy for each cut would make parsing quadratic.
func (c *cursor) replaceFirst(end string) {
	if end == "" {
		c.parts = c.parts[1:]
		return
	}
	p := &c.parts[0]
	p.offset += len(p.lit) - len(end)
	p.lit = end
}

// split cuts parts at each of one character; like strings.Split it gives at
// least one piece.
func split(parts []part, char string) [][]part {
	c := cursor{parts: parts}
	var pieces [][]part
	for {
		piece, delim := c.until(char)
		pieces = append(pieces, piece)
		if delim == 0 {
			return pieces
		}
	}
}
