package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/expand"
)

// filled is an address as it will be for somebody.
type filled struct {
	Label, URL, Problem string
}

func (v *visit) besideOf(d behalf.Definition, p behalf.Profile) beside {
	return beside{Warnings: behalf.Lint(d, v.known(d)), Filled: preview(d, v.db.Now)}
}

// preview fills a definition's addresses for a person who does not exist.
func preview(d behalf.Definition, now func() time.Time) []filled {
	var out []filled
	for _, u := range []struct{ label, raw string }{
		{"Authorization URL", d.AuthorizationURL}, {"Token Request URL", d.TokenURL}, {"Refresh Token URL", d.RefreshURL},
		{"API base URL", d.API.BaseURL}, {"Check URL", d.CheckURL}, {"Revocation URL", d.OAuth.RevocationURL},
	} {
		if !strings.Contains(u.raw, "{") {
			continue // it is what it says
		}
		f := filled{Label: u.label}
		if text, err := fill(u.raw, d, now); err != nil {
			f.Problem = "cannot be filled: " + err.Error()
		} else {
			f.URL = text
		}
		out = append(out, f)
	}
	return out
}

func fill(raw string, d behalf.Definition, now func() time.Time) (string, error) {
	u, err := expand.ParseURL(raw)
	if err != nil {
		return "", err
	}
	hosts, err := expand.ParseHosts([]string{u.HostPattern()})
	if err != nil {
		return "", err
	}
	got, err := u.Fill(func(name string) (expand.Value, bool) { return sample(d, name), true }, hosts, expand.Funcs{Now: now, UUID: func() string { return "00000000-0000-4000-8000-000000000000" }})
	if err != nil {
		return "", err
	}
	return got.String(), nil
}

// sample is the value of a placeholder for that person.
func sample(d behalf.Definition, name string) expand.Value {
	if name == "tenant" {
		return expand.Value{Text: sampleTenant(d), Enumerated: true}
	}
	for i, f := range d.AdditionalFields {
		if f.Key == name || name == fmt.Sprintf("authfield%d", i+1) {
			if f.Value != "" && f.Type != behalf.FieldPassword {
				return expand.Value{Text: f.Value}
			}
			name = f.Key
			break
		}
	}
	return expand.Value{Text: strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name))}
}

func sampleTenant(d behalf.Definition) string {
	switch {
	case d.Tenancy == nil:
		return "acme"
	case d.Tenancy.Default != "":
		return d.Tenancy.Default
	case len(d.Tenancy.Allowed) > 0:
		return d.Tenancy.Allowed[0]
	}
	return "acme"
}
