package behalf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/secret"
)

// tokenNames are the built-ins that exist only once the person has authorized.
var tokenNames = []string{"accessToken", "tokenType", "idToken"}

var builtIns = append([]string{"tenant", "clientId", "user"}, tokenNames...)

// reserved reports whether a placeholder's name has a meaning of its own, which
// no additional field may take.
func reserved(name string) bool { return slices.Contains(builtIns, name) }

// Values is what the placeholders of a plan look up for one connection. A name
// means, in this order: an additional field by key, authfieldN, a built-in,
// something captured from the provider.
type Values struct {
	Plan       *Plan
	User       string
	Tenant     string
	Inputs     Inputs
	Credential *Credential // nil before the person has authorized
	Again      bool        // the person has authorized before
	Hop        Hop         // what is filled
	Serves     bool        // of a connection that serves all users
	Sent       Variables   // with this call
	Stored     Stored      // what is kept for the assistant and the user; nil where the plan uses none
}

// Lookup is an expand.Lookup.
func (v Values) Lookup(name string) (expand.Value, bool) {
	if f := v.Plan.field(name); f != nil {
		return v.field(f)
	}
	switch name {
	case "tenant":
		return expand.Value{Text: v.Tenant, Enumerated: v.Plan.Tenancy != nil && len(v.Plan.Tenancy.Allowed) > 0}, v.Tenant != ""
	case "clientId":
		return expand.Value{Text: v.Plan.ClientID}, true
	case "user":
		return expand.Value{Text: v.User}, v.User != ""
	}
	if isVariable(name) {
		return v.variable(name)
	}
	if c := v.Credential; c != nil {
		switch name {
		case "accessToken":
			return expand.Value{Text: c.AccessToken.Reveal(), Secret: true}, !c.AccessToken.Empty()
		case "idToken":
			return expand.Value{Text: c.IDToken.Reveal(), Secret: true}, !c.IDToken.Empty()
		case "tokenType":
			return expand.Value{Text: c.TokenType}, c.TokenType != ""
		}
		if slot, part, ok := slotPart(name); ok {
			return v.slot(slot, part)
		}
	}
	return v.captured(name)
}

func (v Values) field(f *AdditionalField) (expand.Value, bool) {
	value := expand.Value{Text: f.Value, Secret: f.Type == FieldPassword}
	if s, ok := v.Inputs.Fields[f.Key]; ok && f.Asked() {
		value.Text = s.Reveal()
	}
	value.Enumerated = f.offers(value.Text)
	return value, value.Text != ""
}

// secrets returns the values that must be kept out of errors and transcripts.
func (v Values) secrets() []secret.Text {
	var out []secret.Text
	for _, f := range v.Plan.Asks() {
		if value, ok := v.field(&f); ok && value.Secret {
			out = append(out, secret.New(value.Text))
		}
	}
	for _, value := range v.Stored {
		if value.Secret {
			out = append(out, secret.New(value.Text))
		}
	}
	return out
}

// funcs are what placeholders may call that is not pure.
func funcs(now func() time.Time) expand.Funcs {
	return expand.Funcs{Now: now, UUID: func() string { return uuid.NewString() }}
}

// Explain turns an error of filling a placeholder into one that says what to do
// about it; field names where the placeholder stands.
func (p *Plan) Explain(field string, err error) error {
	var missing *expand.MissingError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		return &Error{Code: CodeInvalid, Field: field, Message: p.missing(missing.Name), Err: err}
	}
	return &Error{Code: CodeInvalid, Field: field, Message: sentence(err), Err: err}
}

func (p *Plan) missing(name string) string {
	switch f := p.field(name); {
	case f != nil && f.Asked():
		return fmt.Sprintf("{{%s}} has no value: it is asked of the end user in the connect page.", name)
	case f != nil:
		return fmt.Sprintf("{{%s}} has no value: the profile's field %s is a constant without one.", name, f.Key)
	case name == "tenant":
		return "{tenant} has no value: the end user chooses it in the connect page, or the connect session names it."
	case slices.Contains(tokenNames, name):
		return fmt.Sprintf("{{%s}} has no value: the provider returned none.", name)
	}
	if isVariable(name) {
		return missingVariable(name)
	}
	return fmt.Sprintf("{{%s}} has no value.", name)
}

// Fields returns the authorization fields, parsed.
func (p *Plan) Fields() []PlanField { return p.fields }

// FieldName returns the name that a problem gives to the i-th authorization field.
func FieldName(i int) string { return indexed("authorization_fields", i) }

// MissingInputs returns the errors of what is still to be asked of the end
// user, by field name ("tenant" or the key of an additional field).
func (p *Plan) MissingInputs(v Values) []FieldError {
	var e problems
	if p.Tenancy != nil && v.Tenant == "" {
		e.add("tenant", "Required.")
	}
	for _, f := range p.Asks() {
		if _, ok := v.field(&f); !ok && f.Required && f.Asked() {
			e.add(f.Key, "Required.")
		}
	}
	return e
}

// TenantLabel returns what the end user is asked for.
func (p *Plan) TenantLabel() string {
	if p.Tenancy != nil && p.Tenancy.Label != "" {
		return p.Tenancy.Label
	}
	return "Your organization at " + strings.TrimSpace(p.Provider)
}
