package behalf

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// Config fills the plan's URLs and parameters for one person and returns what
// the OAuth engine needs. Every host is checked against the allowed hosts after
// filling; the error names the field that could not be filled.
func (p *Plan) Config(v Values, redirectURI string, client secret.Text, now func() time.Time) (oauth.Config, error) {
	f := filler{plan: p, values: v, now: now}
	o := p.OAuth
	c := oauth.Config{
		ClientID:       p.ClientID,
		ClientSecret:   client,
		ClientAuth:     clientAuths[o.ClientAuth],
		BasicRaw:       o.BasicRaw,
		RedirectURI:    redirectURI,
		ScopeSeparator: o.ScopeSeparator,
		ResponseType:   oauth.ResponseType(o.ResponseType),
		PKCE:           pkces[o.PKCE],
		RequireIss:     o.RequireIss,
		TokenBody:      oauth.TokenBody(o.TokenBody),
		Secrets:        v.secrets(),

		DefaultLifetime: o.TokenLifetime.Duration(),
		Now:             now,

		Issuer: f.issuer(),

		TokenParams:   f.params("oauth.token_params", p.tokenParams),
		RefreshParams: f.params("oauth.refresh_params", p.refreshParams),
	}
	if v.Hop == HopConnect {
		c.AuthorizationURL, c.AuthorizationParams = f.url("authorization_url", p.authorizationURL), f.params("oauth.authorization_params", p.authParams)
	}
	c.TokenURL = f.endpoint(&c, "token_url", p.tokenURL)
	c.RefreshURL = f.endpoint(&c, "refresh_url", p.refreshURL)
	c.UserinfoURL = f.endpoint(&c, "oauth.userinfo_url", p.userinfoURL)
	c.RevocationURL = f.endpoint(&c, "oauth.revocation_url", p.revocationURL)
	c.JWKSURL = f.endpoint(&c, "oauth.jwks_url", p.jwksURL)
	for i, t := range p.scope {
		if t.key != "scope" && v.Hop != HopConnect {
			continue // a parameter of the authorization request
		}
		value := f.text(indexed("scope", i)+".value", t.text)
		if t.key == "scope" {
			c.Scopes = append(c.Scopes, splitScope(value, o.ScopeSeparator)...)
			continue
		}
		c.AuthorizationParams = append(c.AuthorizationParams, oauth.Param{Name: t.key, Value: value})
	}
	p.differ(&c, &f)
	for _, made := range f.hidden {
		if !slices.ContainsFunc(c.Secrets, made.Equal) {
			c.Secrets = append(c.Secrets, made)
		}
	}
	return c, f.err
}

var clientAuths = map[ClientAuth]oauth.ClientAuth{ClientAuthBasic: oauth.Basic, ClientAuthPost: oauth.Post, ClientAuthNone: oauth.None, ClientAuthBasicSecret: oauth.BasicSecret, ClientAuthBearer: oauth.Bearer}

var pkces = map[PKCE]oauth.PKCE{PKCERequired: oauth.PKCERequired, PKCEOff: oauth.PKCEOff}

// CheckURLFor returns the filled authorization check URL, or "" where the profile
// has none, and what in it was made of secrets.
func (p *Plan) CheckURLFor(v Values, now func() time.Time) (string, []secret.Text, error) {
	f := filler{plan: p, values: v, now: now}
	u := f.url("check_url", p.checkURL)
	return u, f.hidden, f.err
}

// Origins returns where the secrets of a connection with these values are sent.
// What the provider did not tell leads nowhere.
func (p *Plan) Origins(v Values, now func() time.Time) ([]string, error) {
	f := filler{plan: p, values: v, now: now}
	var out []string
	for field, u := range p.templates() {
		if field == "authorization_url" || field == "oauth.jwks_url" {
			continue // nothing secret goes there
		}
		filled, err := f.late(field, u)(atRequest)
		missing := (*expand.MissingError)(nil)
		switch errors.As(err, &missing); {
		case missing != nil && isVariable(missing.Name) && fixedHost(u):
			filled.Text = u.Scheme() + "://" + u.HostPattern() // it comes with the call, and moves nothing
		case missing != nil && p.captures[missing.Name] != nil:
			continue
		case err != nil:
			return nil, err
		}
		if o := originOf(filled.Text); !contains(out, o) {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out, nil
}

// fixedHost reports whether no placeholder has a say in where a URL leads.
func fixedHost(u *expand.URL) bool {
	return u.HostPattern() != "" && !strings.Contains(u.HostPattern(), "*")
}

// atRequest stands in for what exists only when a request is made; it decides
// no host.
func atRequest(name string) (oauth.Fact, bool) {
	_, ok := requestNames[name]
	return oauth.Fact{Text: "0"}, ok
}

// APIURL returns the template of the API base URL; nil where the profile has none.
func (p *Plan) APIURL() *expand.URL { return p.apiURL }

// IssuerFor returns the filled issuer identifier, "" where the profile has none.
func (p *Plan) IssuerFor(v Values, now func() time.Time) (string, error) {
	f := filler{plan: p, values: v, now: now}
	iss := f.issuer()
	return iss, f.err
}

// filler keeps the first error, so that filling reads as a list.
type filler struct {
	plan   *Plan
	values Values
	now    func() time.Time
	leaks  string        // a secret variable that a browser would have seen
	hidden []secret.Text // what placeholders have made of secrets
	err    error
}

// funcs are the functions of placeholders; what they make of secrets is kept to
// be masked.
func (f *filler) funcs() expand.Funcs {
	known := funcs(f.now)
	known.Hide = func(text string) { f.hidden = append(f.hidden, secret.New(text)) }
	return known
}

func (f *filler) url(field string, u *expand.URL) string {
	if u == nil || f.err != nil {
		return ""
	}
	filled, err := u.Fill(f.lookup(field), f.plan.AllowedHosts, f.funcs())
	if err != nil {
		f.err = f.explain(field, err)
		return ""
	}
	return filled.String()
}

// issuer fills the issuer identifier, which is compared and never dialled: it
// need not be among the allowed hosts.
func (f *filler) issuer() string {
	if f.plan.issuer == nil || f.err != nil {
		return ""
	}
	if f.plan.issuer.Literal() {
		return f.plan.OAuth.Issuer // compared to the letter (RFC 9207 §2.4)
	}
	filled, err := f.plan.issuer.Fill(f.lookup("oauth.issuer"), f.plan.issuerHosts, f.funcs())
	if err != nil {
		f.err = f.explain("oauth.issuer", err)
		return ""
	}
	return filled.String()
}

func (f *filler) text(field string, t *expand.Text) string {
	if t == nil || f.err != nil {
		return ""
	}
	s, _, err := t.Fill(f.lookup(field), f.funcs())
	if err != nil {
		f.err = f.explain(field, err)
	}
	return s
}

func (f *filler) params(field string, texts []planText) []oauth.Param {
	var out []oauth.Param
	for i, t := range texts {
		out = append(out, f.param(indexed(field, i)+".value", t))
	}
	return out
}
