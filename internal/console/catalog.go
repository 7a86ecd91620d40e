package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/look"
)

// This file begins a profile from what is known of its provider. The rules are:
//
//   - What is picked fills a profile that was only reserved: its Callback Link is
//     known before, and nothing is kept before Save.
//   - Nobody is asked for what the catalogue knows: the client's id and secret,
//     and what is different for each customer of the provider.

// maxFound is how many providers a search shows; more words narrow it.
const maxFound = 30

// picker is the search of the catalogue.
type picker struct {
	Query string
	Found []catalog.Entry // of a search the best, otherwise all, by name
	More  int             // found and not shown
	Of    string          // the address of the profile
}

// reserved returns a profile that nobody has defined yet. Others are edited.
func (v *visit) reserved() (p behalf.Profile, fresh bool, err error) {
	if p, err = v.profile(); err != nil || p.Status == behalf.ProfileReserved {
		return p, true, err
	}
	return p, false, v.to("assistants", v.assistant.Slug, "profiles", string(p.ID))
}

func (v *visit) pickProvider() error {
	p, fresh, err := v.reserved()
	if err != nil || !fresh {
		return err
	}
	known, err := v.cfg.Catalog()
	if err != nil {
		return err
	}
	q := strings.TrimSpace(v.r.URL.Query().Get("q"))
	found := picker{Query: q, Found: known.Search(q), Of: v.of(p)}
	if q != "" && len(found.Found) > maxFound {
		found.Found, found.More = found.Found[:maxFound], len(found.Found)-maxFound
	}
	if v.r.Header.Get("HX-Request") != "" { // the script asks for the list alone, as somebody types
		return v.write(http.StatusOK, found.list())
	}
	return v.show(http.StatusOK, "Known applications", v.pickerPage(p, found))
}

// known is what the catalogue knows of a definition's provider, for the linter.
func (v *visit) known(d behalf.Definition) behalf.Known {
	known, err := v.cfg.Catalog()
	if err != nil {
		return behalf.Known{}
	}
	return known.Known(d)
}

// picked is a provider whose profile is being made.
type picked struct {
	catalog.Entry
	Profile behalf.Profile
	Variant string
	Draft   behalf.Definition
	Secret  bool // a secret was typed, and must be typed again
	faults
}

func (v *visit) picked() (x picked, fresh bool, err error) {
	if x.Profile, fresh, err = v.reserved(); err != nil || !fresh {
		return x, fresh, err
	}
	known, err := v.cfg.Catalog()
	if err != nil {
		return x, fresh, err
	}
	if x.Entry, err = known.Get(v.r.PathValue("provider")); err != nil {
		return x, fresh, err
	}
	x.Variant = v.r.URL.Query().Get("variant")
	x.Draft, err = x.Entry.Draft(x.Variant, "")
	return x, fresh, err
}

func (v *visit) askPicked() error {
	x, fresh, err := v.picked()
	if err != nil || !fresh {
		return err
	}
	return v.show(http.StatusOK, x.Name, v.pickedPage(x))
}

// savePicked keeps the profile, or leads to the form with everything in it.
func (v *visit) savePicked() error {
	x, fresh, err := v.picked()
	if err != nil || !fresh {
		return err
	}
	x.read(v)
	e := v.editorOf(x.Profile)
	if v.form("do") == "edit" {
		e.Form, e.Secret = v.formOf(x.Draft), x.Secret
		e.Found = "Everything that the catalogue knows of " + x.Name + " is filled in. Nothing is saved yet."
		return v.showEditor(http.StatusOK, e)
	}
	if err = x.complete(); err == nil {
		_, err = v.keep(e, x.Draft)
	}
	if f, ok := faultsOf(err, "The profile is not saved yet"); ok {
		x.faults = f
		return v.show(statusOf(err), x.Name, v.pickedPage(x))
	}
	return err
}

// read puts what was typed into the draft.
func (x *picked) read(v *visit) {
	x.Draft.Name, x.Draft.ClientID, x.Secret = v.line("name"), v.line("client_id"), v.form("client_secret") != ""
	if x.Draft.Tenancy != nil {
		t := *x.Draft.Tenancy
		t.Default = v.line("tenancy.default")
		x.Draft.Tenancy = &t
	}
	for _, i := range x.constants() {
		x.Draft.AdditionalFields[i].Value = v.line(constantName(i))
	}
}

// complete says what is missing beyond what every definition needs.
func (x *picked) complete() error {
	_, err := behalf.Compile(x.Draft)
	if x.asksSecret() && !x.Secret {
		err = behalf.Together(err, behalf.Invalid("client_secret", "Required: %s gives one out with the client id.", x.Name))
	}
	for _, i := range x.constants() {
		if x.Draft.AdditionalFields[i].Value == "" {
			err = behalf.Together(err, behalf.Invalid(constantName(i), "Required: addresses of %s are made of it.", x.Name))
		}
	}
	return err
}

// asksSecret reports whether the provider's clients prove themselves by a
// secret.
func (x *picked) asksSecret() bool { return x.Draft.OAuth.ClientAuth != behalf.ClientAuthNone }

// constants are the additional fields whose value is the same for everybody who
// connects, and different for each customer of the provider: a region, a
// landscape.
func (x *picked) constants() []int {
	var out []int
	for i, f := range x.Draft.AdditionalFields {
		if f.Visibility == behalf.Hidden {
			out = append(out, i)
		}
	}
	return out
}

func constantName(i int) string { return "additional_fields[" + number(int64(i)) + "].value" }

func (x *picked) inputs() []look.Input {
	in := []look.Input{
		{Name: "name", Label: "Name", Value: x.Draft.Name, Required: true, Hint: "Unique in the assistant."},
		{Name: "client_id", Label: "Client ID", Value: x.Draft.ClientID, Required: true, Code: true, Hint: "At most 255 characters.", Focus: x.Title == ""},
	}
	if x.asksSecret() {
		in = append(in, look.Input{Name: "client_secret", Label: "Client Secret Key", Type: "password", Autocomplete: "new-password", Required: true, Hint: "At most 255 characters. It is sealed, and never shown again."})
	}
	if t := x.Draft.Tenancy; t != nil {
		tenant := look.Input{Name: "tenancy.default", Label: t.Label, Value: t.Default, Code: true, Hint: "Where all your people have the same one. Each person is asked, and this is what stands there already."}
		if tenant.Label == "" {
			tenant.Label = "Tenant"
		}
		for _, allowed := range t.Allowed {
			tenant.Options = append(tenant.Options, look.Option{Value: allowed, Text: allowed})
		}
		if len(tenant.Options) > 0 {
			tenant.Options = append([]look.Option{{Text: "Nothing: each person chooses"}}, tenant.Options...)
		}
		in = append(in, tenant)
	}
	for _, i := range x.constants() {
		f := x.Draft.AdditionalFields[i]
		in = append(in, look.Input{Name: constantName(i), Label: f.Title, Value: f.Value, Required: true, Code: true, Hint: strings.TrimSpace(f.Hint + " The same for everybody who connects.")})
	}
	in = x.mark(in)
	for i := range in {
		if in[i].Name == "client_secret" && in[i].Error == "" && x.Secret {
			in[i].Error = "Enter the secret again: it is not sent back to the browser."
		}
	}
	return in
}

// places are the provider's, where it has several.
func (v *visit) places(x picked) []look.Tab {
	if len(x.Variants) == 0 {
		return nil
	}
	here := v.of(x.Profile, "catalog", x.Slug)
	tabs := []look.Tab{{Text: x.Name, URL: here, Current: x.Variant == ""}}
	for _, o := range x.Variants {
		title := o.Title
		if title == "" {
			title = sentence(o.Name)
		}
		tabs = append(tabs, look.Tab{Text: title, URL: here + "?variant=" + url.QueryEscape(o.Name), Current: x.Variant == o.Name})
	}
	return tabs
}

// scopes are those that the draft asks for, with what they mean where it is
// known.
func (x *picked) scopes() []catalog.Scope {
	titles := map[string]string{}
	for _, s := range x.Scopes {
		titles[s.Value] = s.Title
	}
	var out []catalog.Scope
	for _, p := range x.Draft.Scope {
		if p.Key != "scope" {
			continue
		}
		for _, value := range words(p.Value) {
			out = append(out, catalog.Scope{Value: value, Title: titles[value]})
		}
	}
	return out
}

// hostOf is where an address leads, for its link.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "there"
	}
	return u.Hostname()
}

func sayCategories(all []string) string { return strings.Join(all, ", ") }

// sayKnobs says what can be checked there.
func sayKnobs(all []string) string {
	var out []string
	for _, k := range all {
		out = append(out, strings.ToLower(sentence(k)))
	}
	return strings.Join(out, "; ")
}
