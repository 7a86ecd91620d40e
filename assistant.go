package behalf

import (
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Assistant is an AI assistant that acts for people through us.
type Assistant struct {
	ID   AssistantID
	Slug string
	Name string
	AssistantSettings
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// AssistantSettings is what an administrator decides about an assistant.
type AssistantSettings struct {
	// ReturnURLs are where a connect session may send the browser afterwards:
	// scheme, host, port and path must be the same, the query is free. A path
	// that ends in "/*" takes everything below it.
	ReturnURLs []string `json:"return_urls,omitempty"`
	// Finish makes a connection usable only once the assistant's backend has
	// confirmed, in the request of the person who is signed in there, that it
	// was that person who authorized. Off is weaker: cookie and named page only.
	Finish bool `json:"finish"`
	// TokenReads allows POST …/token. Off, the proxy is the only way to use a
	// connection, and no token ever leaves us.
	TokenReads bool `json:"token_reads"`
	// Calls limits what the proxy passes on.
	Calls CallPolicy `json:"calls"`
	// Branding is how it looks to the people who connect.
	Branding Branding `json:"branding,omitzero"`
}

// CallPolicy limits proxied calls; an empty list allows all.
type CallPolicy struct {
	Methods []string `json:"methods,omitempty"` // upper case: GET, POST
	Paths   []string `json:"paths,omitempty"`   // prefixes below the API base URL: "/v1/items"
}

// Allows reports whether a call may go out. The path is the one below the
// profile's API base URL, already free of dot segments.
func (c CallPolicy) Allows(method, path string) bool {
	return (len(c.Methods) == 0 || contains(c.Methods, method)) && (len(c.Paths) == 0 || underAny(c.Paths, path))
}

func underAny(prefixes []string, path string) bool {
	for _, p := range prefixes {
		if path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// NewAssistant returns an assistant with the safe settings: finish on, token
// reads off.
func NewAssistant(name string, now time.Time) Assistant {
	return Assistant{
		ID: NewAssistantID(now), Slug: Slug(name), Name: name,
		AssistantSettings: AssistantSettings{Finish: true},
		Version:           1, CreatedAt: now, UpdatedAt: now,
	}
}

// Validate checks everything that an administrator may set.
func (a Assistant) Validate() error {
	var p problems
	p.name("name", a.Name)
	switch {
	case a.Slug == "" && len(p) == 0:
		p.add("slug", "No address can be made of this name. Send a slug: lower-case letters, digits and single hyphens.")
	case Slug(a.Slug) != a.Slug:
		p.add("slug", "Expected lower-case letters, digits and single hyphens.")
	}
	for i, u := range a.ReturnURLs {
		if _, err := parseReturnURL(u); err != nil {
			p.add(indexed("return_urls", i), "Expected an absolute http or https URL without user, query or fragment; a path that ends in /* takes what is below it.")
		}
	}
	for i, m := range a.Calls.Methods {
		if m == "" || strings.ToUpper(m) != m || !isToken(m) {
			p.add(indexed("calls.methods", i), "Expected a method in upper case, such as GET.")
		}
	}
	for i, s := range a.Calls.Paths {
		if !strings.HasPrefix(s, "/") || !clean(s) {
			p.add(indexed("calls.paths", i), "Expected a path that begins with a slash.")
		}
	}
	a.Branding.check(&p)
	return p.err()
}

// AllowsReturn reports whether the browser may be sent to raw afterwards.
func (a Assistant) AllowsReturn(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || !u.IsAbs() || u.User != nil || u.Fragment != "" || !clean(raw) || strings.Contains(raw, "\\") {
		return false
	}
	for _, r := range a.ReturnURLs {
		if t, err := parseReturnURL(r); err == nil && matchReturn(t, u) {
			return true
		}
	}
	return false
}

func matchReturn(t, u *url.URL) bool {
	if t.Scheme != u.Scheme || !strings.EqualFold(t.Host, u.Host) {
		return false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if prefix, ok := strings.CutSuffix(t.EscapedPath(), "/*"); ok {
		return strings.HasPrefix(path, prefix+"/") && !dotted(path)
	}
	want := t.EscapedPath()
	if want == "" {
		want = "/"
	}
	return want == path
}

// dotted reports whether a server that decodes more than it should would find
// "." or ".." among the segments of an escaped path.
func dotted(path string) bool {
	for range 5 {
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			break
		}
		path = decoded
	}
	if strings.ContainsFunc(path, unicode.IsControl) {
		return true
	}
	for s := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		s, _, _ = strings.Cut(s, ";")
		if s = strings.TrimSpace(s); s == "." || s == ".." {
			return true
		}
	}
	return false
}

func parseReturnURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !clean(raw) {
		return nil, Invalid("return_urls", "not an allowed form")
	}
	return u, nil
}

// Slug derives the name that stands in URLs: lower case, letters and digits,
// single hyphens between, at most 60 characters.
func Slug(name string) string {
	var b strings.Builder
	hyphen := false
	for _, r := range strings.ToLower(name) {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			if hyphen && b.Len() > 0 {
				b.WriteByte('-')
			}
			hyphen = false
			b.WriteRune(r)
			continue
		}
		hyphen = true
	}
	s := b.String()
	if len(s) > 60 {
		s = strings.TrimRight(s[:60], "-")
	}
	return s
}
