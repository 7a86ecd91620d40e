package behalf

import (
	"slices"
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

		AuthorizationURL: f.url("authorization_url", p.authorizationURL),
		TokenURL:         f.url("token_url", p.tokenURL),
		RefreshURL:       f.url("refresh_url", p.refreshURL),
		UserinfoURL:      f.url("oauth.userinfo_url", p.userinfoURL),
		RevocationURL:    f.url("oauth.revocation_url", p.revocationURL),
		JWKSURL:          f.url("oauth.jwks_url", p.jwksURL),
		Issuer:           f.issuer(),

		AuthorizationParams: f.params("oauth.authorization_params", p.authParams),
		TokenParams:         f.params("oauth.token_params", p.tokenParams),
		RefreshParams:       f.params("oauth.refresh_params", p.refreshParams),
	}
	for i, t := range p.scope {
		value := f.text(indexed("scope", i)+".value", t.text)
		if t.key == "scope" {
			c.Scopes = append(c.Scopes, splitScope(value, o.ScopeSeparator)...)
			continue
		}
		c.AuthorizationParams = append(c.AuthorizationParams, oauth.Param{Name: t.key, Value: value})
	}
	return c, f.err
}

var clientAuths = map[ClientAuth]oauth.ClientAuth{ClientAuthBasic: oauth.Basic, ClientAuthPost: oauth.Post, ClientAuthNone: oauth.None}

var pkces = map[PKCE]oauth.PKCE{PKCERequired: oauth.PKCERequired, PKCEOff: oauth.PKCEOff}

// CheckURLFor returns the filled authorization check URL, or "" where the profile
// has none.
func (p *Plan) CheckURLFor(v Values, now func() time.Time) (string, error) {
	f := filler{plan: p, values: v, now: now}
	u := f.url("check_url", p.checkURL)
	return u, f.err
}

// Origins returns where the secrets of a connection with these values are sent.
func (p *Plan) Origins(v Values, now func() time.Time) ([]string, error) {
	f := filler{plan: p, values: v, now: now}
	var out []string
	for field, u := range p.templates() {
		if field == "authorization_url" || field == "oauth.jwks_url" {
			continue // nothing secret goes there
		}
		if o := originOf(f.url(field, u)); !contains(out, o) {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out, f.err
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
	err    error
}

func (f *filler) url(field string, u *expand.URL) string {
	if u == nil || f.err != nil {
		return ""
	}
	filled, err := u.Fill(f.values.Lookup, f.plan.AllowedHosts, funcs(f.now))
	if err != nil {
		f.err = f.plan.Explain(field, err)
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
	filled, err := f.plan.issuer.Fill(f.values.Lookup, f.plan.issuerHosts, funcs(f.now))
	if err != nil {
		f.err = f.plan.Explain("oauth.issuer", err)
		return ""
	}
	return filled.String()
}

func (f *filler) text(field string, t *expand.Text) string {
	if t == nil || f.err != nil {
		return ""
	}
	s, _, err := t.Fill(f.values.Lookup, funcs(f.now))
	if err != nil {
		f.err = f.plan.Explain(field, err)
	}
	return s
}

func (f *filler) params(field string, texts []planText) []oauth.Param {
	var out []oauth.Param
	for i, t := range texts {
		out = append(out, oauth.Param{Name: t.key, Value: f.text(indexed(field, i)+".value", t.text)})
	}
	return out
}
