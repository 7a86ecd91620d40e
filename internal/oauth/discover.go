package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// This file finds a server's metadata. The rules are:
//
//   - A document is believed only for the issuer whose own metadata address it
//     was read from (RFC 8414 §3.3); of a resource likewise (RFC 9728 §3.3).
//     Who serves a copy of another's document gains nothing.
//   - A redirect is followed to the same host only: another host would speak
//     for this one.
//   - A search ends: so many requests and so much time, whatever the servers
//     say. A host that cannot be reached is asked once.

const (
	maxSearch    = 30 * time.Second
	maxRequests  = 32
	maxRedirects = 3
	maxServers   = 4 // of a resource's authorization servers
)

// Try is one address that was asked for metadata, told to people.
type Try struct {
	Form    string // which standard's address it is: "OpenID Connect Discovery"
	URL     string // without query
	Outcome string // "found", or why not
	Err     error  // of the network, where that is why; its own text is not cleaned
}

const found = "found"

// Discover finds an authorization server's metadata from its issuer, from the
// well-known URL of it or of a protected resource, or from the URL of a
// protected resource or of any page of the application: whatever a person would
// paste. A missing scheme means https; query and fragment are left out.
//
// It asks for OpenID Connect metadata first, which tells the most, then for RFC
// 8414's (§3: the well-known path before the issuer's path, and, as OpenID has
// it, behind it), then for RFC 9728's. It returns Metadata.Tried with an error
// too, which is an *Error: ClientFault where the URL cannot be asked, Invalid
// where nothing of use is published, Protocol where what is published must not
// be believed, and Transient and Ambiguous where a server cannot be reached.
func Discover(ctx context.Context, client *http.Client, rawURL string) (Metadata, error) {
	u, reason := pasted(rawURL)
	if reason != "" {
		return Metadata{}, unsent(OpDiscovery, reason)
	}
	ctx, cancel := context.WithTimeout(ctx, maxSearch)
	defer cancel()
	s := &search{
		client: Client{HTTP: client, Config: Config{Now: func() time.Time { return time.Time{} }}}, // no answer is told in time
		dead:   map[string]*Error{},
	}
	m, ok := s.from(ctx, u)
	m.Tried = s.tried
	if !ok {
		return m, s.failure()
	}
	return m, nil
}

// pasted reads what a person has pasted.
func pasted(raw string) (*url.URL, string) {
	raw = strings.TrimSpace(raw)
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	raw, _, _ = strings.Cut(raw, "#")
	raw, _, _ = strings.Cut(raw, "?")
	u, ok := webURL(raw)
	if !ok {
		return nil, "the URL is not an https URL without user and placeholders"
	}
	return u, ""
}

// search is one Discover.
type search struct {
	client   Client
	requests int
	tried    []Try
	dead     map[string]*Error // hosts that cannot be reached
	err      *Error            // the most telling so far
}

const wellKnown = "/.well-known/"

func (s *search) from(ctx context.Context, u *url.URL) (Metadata, bool) {
	before, after, is := strings.Cut(u.EscapedPath(), wellKnown)
	if !is {
		return s.page(ctx, u)
	}
	name, behind, _ := strings.Cut(after, "/")
	origin := u.Scheme + "://" + u.Host
	if name == "oauth-protected-resource" {
		return s.resource(ctx, "RFC 9728", u.String(), nil, nil)
	}
	if m, ok := s.server(ctx, "as given", u.String()); ok {
		return m, true
	}
	return s.issuer(ctx, strings.TrimSuffix(origin+before+"/"+behind, "/"))
}

// page searches from a URL that may be an issuer, a resource or neither.
func (s *search) page(ctx context.Context, u *url.URL) (Metadata, bool) {
	if m, ok := s.issuer(ctx, u.String()); ok {
		return m, true
	}
	if m, ok := s.challenged(ctx, u); ok {
		return m, true
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	for _, at := range slices.Compact([]string{origin + resourcePath + path, origin + resourcePath}) {
		if m, ok := s.resource(ctx, "RFC 9728", at, nil, nil); ok {
			return m, true
		}
	}
	if path == "" {
		return Metadata{}, false
	}
	return s.issuer(ctx, origin)
}

// form is one way to make a metadata address of an issuer.
type form struct {
	name     string
	suffix   string
	inserted bool // between host and path, as RFC 8414 §3.1 has it; else behind the path
}

var forms = []form{
	{"OpenID Connect Discovery", "openid-configuration", false},
	{"RFC 8414", "oauth-authorization-server", true},
	{"RFC 8414 for OpenID", "openid-configuration", true},
	{"RFC 8414, behind the path", "oauth-authorization-server", false},
	{"OpenID Connect Discovery with a slash", "openid-configuration/", false}, // some frameworks know it only so
}

func (f form) address(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	origin, path := u.Scheme+"://"+strings.ToLower(u.Host), strings.TrimSuffix(u.EscapedPath(), "/")
	if f.inserted {
		return origin + wellKnown + f.suffix + path
	}
	return origin + path + wellKnown + f.suffix
}

// published reports whether the address is one of the issuer's own. An issuer
// with a slash at its end has the same addresses as one without (RFC 8414 §3.1).
func published(issuer, at string) bool {
	u, err := url.Parse(at)
	if err != nil {
		return false
	}
	u.Host = strings.ToLower(u.Host)
	return slices.ContainsFunc(forms, func(f form) bool {
		return strings.TrimSuffix(f.address(issuer), "/") == strings.TrimSuffix(u.String(), "/")
	})
}

// issuer asks all addresses of an issuer.
func (s *search) issuer(ctx context.Context, issuer string) (Metadata, bool) {
	for _, f := range forms {
		if m, ok := s.server(ctx, f.name, f.address(issuer)); ok {
			return m, true
		}
	}
	return Metadata{}, false
}

// server reads an authorization server's metadata.
func (s *search) server(ctx context.Context, form, at string) (Metadata, bool) {
	r, ok := s.document(ctx, form, at)
	if !ok {
		return Metadata{}, false
	}
	m, wrong := parseMetadata(r.body)
	switch {
	case wrong != "":
		return Metadata{}, s.reject(r.fail(Invalid, wrong))
	case !published(m.Issuer, at):
		return Metadata{}, s.reject(r.fail(Protocol, "its issuer is another one, which does not publish it here"))
	}
	return m, s.accept()
}

const resourcePath = wellKnown + "oauth-protected-resource"

// resource reads a protected resource's metadata and then that of the
// authorization server it names. With a page, it must be that page's (RFC 9728
// §3.3), and scopes are what the page asked for.
func (s *search) resource(ctx context.Context, form, at string, page *url.URL, scopes []string) (Metadata, bool) {
	r, ok := s.document(ctx, form, at)
	if !ok {
		return Metadata{}, false
	}
	res, wrong := parseResource(r.body)
	switch {
	case wrong != "":
		return Metadata{}, s.reject(r.fail(Invalid, wrong))
	case page == nil && !publishedResource(res.Identifier, at), page != nil && !covers(res.Identifier, page):
		return Metadata{}, s.reject(r.fail(Protocol, "its resource is another one, which does not publish it here"))
	}
	s.accept()
	res.Asked = scopes
	for _, issuer := range res.Servers[:min(len(res.Servers), maxServers)] {
		if m, ok := s.issuer(ctx, issuer); ok {
			m.Resource = res
			return m, true
		}
	}
	return Metadata{}, false
}

func publishedResource(resource, at string) bool {
	u, err := url.Parse(resource)
	if err != nil {
		return false
	}
	own := u.Scheme + "://" + u.Host + resourcePath + u.EscapedPath()
	return strings.EqualFold(strings.TrimSuffix(own, "/"), strings.TrimSuffix(at, "/"))
}

// covers reports whether the page is the resource or below it.
func covers(resource string, page *url.URL) bool {
	u, err := url.Parse(resource)
	if err != nil || u.Scheme != page.Scheme || !strings.EqualFold(u.Host, page.Host) {
		return false
	}
	above, path := strings.TrimSuffix(u.EscapedPath(), "/"), strings.TrimSuffix(page.EscapedPath(), "/")
	return path == above || strings.HasPrefix(path, above+"/")
}

// challenged asks the page itself: a resource answers 401 and says where its
// metadata is (RFC 9728 §5.1).
func (s *search) challenged(ctx context.Context, page *url.URL) (Metadata, bool) {
	const form = "the URL itself"
	r, ok := s.get(ctx, form, page.String())
	if !ok {
		return Metadata{}, false
	}
	params := challenge(r.header)
	hint, ok := webURL(params["resource_metadata"])
	switch {
	case r.status != http.StatusUnauthorized:
		return Metadata{}, s.pass("it does not ask for authorization (RFC 9728 has it answer 401)")
	case params["resource_metadata"] == "":
		return Metadata{}, s.pass("its 401 does not say where its metadata is")
	case !ok || hint.Scheme == "http" && page.Scheme != "http":
		return Metadata{}, s.reject(r.fail(Protocol, "its 401 names a metadata address that is not an https URL"))
	}
	s.accept()
	return s.resource(ctx, "RFC 9728, as the 401 says", hint.String(), page, scopeTokens(strings.Fields(params["scope"])))
}

// document gets an address that should hold a JSON object.
func (s *search) document(ctx context.Context, form, at string) (reply, bool) {
	r, ok := s.get(ctx, form, at)
	switch {
	case !ok:
		return reply{}, false
	case r.status == http.StatusNotFound, r.status == http.StatusGone:
		return reply{}, s.pass("there is nothing")
	case r.status != http.StatusOK:
		return reply{}, s.reject(r.fail(Invalid, "the answer is not a document"))
	}
	return r, true
}

// get asks an address that was not asked before, and begins its Try.
func (s *search) get(ctx context.Context, form, at string) (reply, bool) {
	u, err := url.Parse(at)
	if err != nil || s.asked(at) {
		return reply{}, false
	}
	s.tried = append(s.tried, Try{Form: form, URL: at})
	if e := s.dead[u.Host]; e != nil {
		return reply{}, s.pass("not asked again: the host cannot be reached")
	}
	for range maxRedirects + 1 {
		if s.requests++; s.requests > maxRequests {
			return reply{}, s.reject(unsent(OpDiscovery, "the search took too many requests"))
		}
		r, err := s.send(ctx, u)
		if err != nil {
			s.dead[u.Host] = err
			return reply{}, s.reject(err)
		}
		to, err2 := r.redirect(u)
		switch {
		case to == nil && err2 == nil:
			return r, true
		case err2 != nil:
			return reply{}, s.reject(err2)
		}
		u = to
	}
	return reply{}, s.reject(unsent(OpDiscovery, "it redirects in a circle"))
}

func (s *search) send(ctx context.Context, u *url.URL) (reply, *Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return reply{}, unsent(OpDiscovery, "it is not a URL that can be asked")
	}
	r, err := s.client.send(OpDiscovery, req)
	if err != nil {
		return reply{}, err.(*Error) // send returns no other
	}
	return r, nil
}

// redirect returns where a reply leads to on the same host; nil: nowhere.
func (r reply) redirect(from *url.URL) (*url.URL, *Error) {
	switch r.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	to, err := from.Parse(r.header.Get("Location"))
	switch {
	case err != nil || r.header.Get("Location") == "":
		return nil, r.fail(Invalid, "it redirects to nowhere")
	case to.Scheme != from.Scheme || !strings.EqualFold(to.Host, from.Host) || to.User != nil:
		return nil, r.fail(Protocol, "it redirects to another host, which is not followed: "+clean(to.Scheme+"://"+to.Host, 200, nil))
	}
	to.Fragment, to.RawFragment = "", ""
	return to, nil
}

func (s *search) asked(at string) bool {
	return slices.ContainsFunc(s.tried, func(t Try) bool { return t.URL == at })
}

// accept, pass and reject end the latest Try. What was passed over is how a
// search goes; what was rejected explains why it fails.
func (s *search) accept() bool {
	s.tried[len(s.tried)-1].Outcome = found
	return true
}

func (s *search) pass(outcome string) bool {
	s.tried[len(s.tried)-1].Outcome = outcome
	return false
}

func (s *search) reject(e *Error) bool {
	t := &s.tried[len(s.tried)-1]
	t.Outcome, t.Err = strings.TrimPrefix(e.Error(), "oauth: "+string(OpDiscovery)+": "), e.Err
	if s.err == nil || rank[e.Kind] > rank[s.err.Kind] {
		s.err = e
	}
	return false
}

// rank says which failure explains most.
var rank = map[Kind]int{Invalid: 1, ClientFault: 2, Transient: 3, Ambiguous: 3, Limited: 3, Protocol: 4}

func (s *search) failure() *Error {
	if s.err != nil {
		return s.err
	}
	return &Error{Op: OpDiscovery, Kind: Invalid, Reason: "no metadata is published there", Written: true}
}

// challenge reads the parameters of the challenges in WWW-Authenticate (RFC
// 9110 §11.6.1). Of a name that comes twice the first one counts.
func challenge(h http.Header) map[string]string {
	params := map[string]string{}
	for _, v := range h.Values("WWW-Authenticate") {
		for v != "" {
			var name, value string
			name, v = token(v)
			rest, has := strings.CutPrefix(strings.TrimLeft(v, " \t"), "=")
			switch {
			case name == "" && strings.HasPrefix(v, `"`):
				_, v = quoted(v)
				continue
			case name == "":
				v = v[1:]
				continue
			case !has: // a scheme
				continue
			}
			if rest = strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, `"`) {
				value, v = quoted(rest)
			} else {
				value, v = token(rest)
			}
			if name = strings.ToLower(name); visible(name) && params[name] == "" {
				params[name] = value
			}
		}
	}
	return params
}

// token splits off what stands before a delimiter.
func token(s string) (string, string) {
	if i := strings.IndexAny(s, " \t,=\""); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// quoted splits off a quoted-string; one without an end is none.
func quoted(s string) (string, string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", ""
}
