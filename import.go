package behalf

import (
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Import is one connection that another broker held until now.
type Import struct {
	User       string
	Tenant     string
	Account    Account
	Credential Credential // with an access token, a refresh token, or both
	Fields     map[string]secret.Text
}

const maxTokenText = 64 << 10 // as the OAuth engine takes them from a provider

// Inputs checks what is imported against the profile and returns what the new
// connection keeps of it. Where its secrets may be sent follows from the
// profile as it is now.
func (n Import) Inputs(p *Plan, now func() time.Time) (Inputs, error) {
	var e problems
	e.name("user", n.User)
	e.line("subject", n.Account.Subject, maxName)
	e.line("label", n.Account.Label, maxName)
	if n.Credential.AccessToken.Empty() && n.Credential.RefreshToken.Empty() {
		e.add("access_token", "Required, or a refresh_token.")
	}
	e.token("access_token", n.Credential.AccessToken)
	e.token("refresh_token", n.Credential.RefreshToken)
	e.token("id_token", n.Credential.IDToken)
	if p.Tenancy != nil || n.Tenant != "" {
		e.nested("", p.CheckTenant(n.Tenant))
	}
	for key, value := range n.Fields {
		e.nested("fields.", p.CheckField(key, value))
	}
	in := Inputs{Fields: n.Fields}
	v := Values{Plan: p, User: n.User, Tenant: n.Tenant, Inputs: in, Credential: &n.Credential}
	for _, f := range p.MissingInputs(v) {
		if f.Field != "tenant" {
			e.add("fields."+f.Field, "%s", f.Message)
		}
	}
	if err := e.err(); err != nil {
		return in, err
	}
	var err error
	in.Origins, err = p.Origins(v, now)
	return in, err
}

// token checks that a token can stand in a header.
func (p *problems) token(field string, t secret.Text) {
	s := t.Reveal()
	if len(s) > maxTokenText {
		p.add(field, "Expected at most 64 KiB.")
		return
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			p.add(field, "Expected visible ASCII characters only.")
			return
		}
	}
}
