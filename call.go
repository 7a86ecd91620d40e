package behalf

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/secret"
)

// Call is a request that an assistant wants to go out, before the credential is
// put in.
type Call struct {
	Method string
	Path   string // escaped, below the API base URL, with a leading slash
	Query  string // raw
}

// Authorized is what a call becomes: where it goes, and what is put on it.
type Authorized struct {
	URL     *url.URL
	Header  []Filled // set on the request, replacing what the assistant sent
	Payload []Filled // put into the JSON object or the form of the body
	Secrets []secret.Text
}

// Filled is an authorization field with its value.
type Filled struct {
	Field int // its place in the profile's list
	Key   string
	Value string
}

// Authorize fills the API base URL and the authorization fields for one call.
// The host is checked against the allowed hosts after everything is filled.
func (p *Plan) Authorize(v Values, c Call, now func() time.Time) (Authorized, error) {
	if p.apiURL == nil {
		return Authorized{}, Invalid("api.base_url", "The profile has no API base URL, so there is nowhere to send the call.")
	}
	f := filler{plan: p, values: v, now: now}
	base, err := p.apiURL.Fill(v.Lookup, p.AllowedHosts, f.funcs())
	if err != nil {
		return Authorized{}, p.Explain("api.base_url", err)
	}
	a, err := p.authorize(v, base, c, now)
	a.Secrets = append(a.Secrets, f.hidden...)
	return a, err
}

// AuthorizeURL is the same for a URL of the profile itself, such as the check URL.
func (p *Plan) AuthorizeURL(v Values, raw string, now func() time.Time) (Authorized, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Authorized{}, Invalid("check_url", "Expected a valid URL.")
	}
	return p.authorize(v, u, Call{Method: http.MethodGet}, now)
}

func (p *Plan) authorize(v Values, base *url.URL, c Call, now func() time.Time) (Authorized, error) {
	a := Authorized{Secrets: v.secrets()}
	made := filler{plan: p, values: v, now: now}
	path, query := pathFields{all: map[string]string{}, open: map[string]string{}}, [][2]string{}
	if value, secrets := p.authorizationHeader(v); value != "" {
		a.Header = append(a.Header, Filled{-1, "Authorization", value})
		a.Secrets = append(a.Secrets, secrets...)
	}
	for i, f := range p.fields {
		if !f.Applies(c.Method, c.Path) {
			continue
		}
		value, isSecret, err := f.Text.Fill(v.Lookup, made.funcs())
		if err != nil {
			return a, p.Explain(FieldName(i)+".value", err)
		}
		if isSecret || f.Secret {
			a.Secrets = append(a.Secrets, secret.New(value))
		}
		switch filled := (Filled{i, f.Key, value}); f.In {
		case InHeader:
			a.Header = append(a.Header, filled)
		case InPayload:
			a.Payload = append(a.Payload, filled)
		case InQuery:
			query = append(query, [2]string{f.Key, value})
		case InPath:
			path.all[f.Key] = value
			if !isSecret && !f.Secret {
				path.open[f.Key] = value
			}
		}
	}
	a.Secrets = append(a.Secrets, made.hidden...)
	var err error
	if a.URL, err = joined(base, c, path, query); err != nil {
		return a, err
	}
	if !p.AllowedHosts.Allows(a.URL) {
		return a, Invalid("api.base_url", "The call would go to a host that the profile does not allow.")
	}
	return a, nil
}

// pathFields fill {key} in a path: all of them where the profile has written
// it, and those that are not secret where the assistant has. An application may
// answer with the path that it was asked for.
type pathFields struct{ all, open map[string]string }

// joined puts the call's path and query behind the base URL's. Parameters that
// the profile sets replace those of the same name that the assistant sent.
func joined(base *url.URL, c Call, path pathFields, query [][2]string) (*url.URL, error) {
	u := *base
	escaped, _, err := expand.FillPathParams(base.EscapedPath(), path.all)
	if err != nil {
		return nil, Invalid("path", "%s", sentence(err))
	}
	if c.Path != "" && c.Path != "/" {
		escaped = strings.TrimSuffix(escaped, "/") + c.Path
	} else if c.Path == "/" && !strings.HasSuffix(escaped, "/") {
		escaped += "/"
	}
	filled, missing, err := expand.FillPathParams(escaped, path.open)
	switch {
	case err != nil:
		return nil, Invalid("path", "%s", sentence(err))
	case len(missing) > 0:
		return nil, Invalid("path", "It holds a name in braces that no authorization field fills.")
	case dotted(filled) || strings.Contains(filled, "\\"):
		return nil, Invalid("path", "Expected a path without . and .. segments.")
	}
	if u.Path, err = url.PathUnescape(filled); err != nil {
		return nil, Invalid("path", "Expected a correctly percent-encoded path.")
	}
	u.RawPath = filled
	if u.EscapedPath() != filled { // net/url would encode it anew, and slashes that were encoded would be slashes
		return nil, Invalid("path", "Expected a correctly percent-encoded path.")
	}
	u.RawQuery = joinQuery(base.RawQuery, c.Query, query)
	u.Fragment, u.RawFragment = "", ""
	return &u, nil
}

func joinQuery(base, sent string, set [][2]string) string {
	parts := make([]string, 0, 4)
	for _, q := range []string{base, sent} {
		for part := range strings.SplitSeq(q, "&") {
			if part != "" && !isSet(part, set) {
				parts = append(parts, part)
			}
		}
	}
	for _, kv := range set {
		parts = append(parts, url.QueryEscape(kv[0])+"="+kv[1]) // the value was escaped for its position
	}
	return strings.Join(parts, "&")
}

func isSet(part string, set [][2]string) bool {
	name, _, _ := strings.Cut(part, "=")
	if n, err := url.QueryUnescape(name); err == nil {
		name = n
	}
	for _, kv := range set {
		if kv[0] == name {
			return true
		}
	}
	return false
}
