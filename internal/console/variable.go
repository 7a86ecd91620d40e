package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/store"
)

// variableList is one page of an assistant's variables.
type variableList struct {
	Filter  url.Values // as it was asked for, without what is empty
	Rows    []behalf.Variable
	Uses    variableUses
	Missing []string // {{env.…}} that a profile needs and nobody has set, by name
	Newer   bool     // this is not the first page
	Older   string   // the address of the next; empty: there is none
}

// variableUses are the profiles that have a place for a variable, by its
// placeholder.
type variableUses map[string][]behalf.Profile

// variableForm is a variable in the making, or being changed.
type variableForm struct {
	Namespace, User, Name string
	Value                 string // never one that is secret
	Secret                bool
	Ends                  string           // a day
	Kept                  *behalf.Variable // nil: it is new
	faults
}

var namespaceOptions = []look.Option{
	{Value: string(behalf.NamespaceEnv), Text: "env: of the assistant"},
	{Value: string(behalf.NamespaceEnterprise), Text: "EnterpriseContext: of the assistant"},
	{Value: string(behalf.NamespaceBot), Text: "BotContext: of the assistant, which may set it itself"},
	{Value: string(behalf.NamespaceUser), Text: "UserSession: of one user"},
	{Value: string(behalf.NamespaceBotUser), Text: "BotUserSession: of one user"},
}

func (v *visit) listVariables() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	l := variableList{Filter: v.asked("namespace", "user"), Newer: v.query("after") != ""}
	rows, err := v.db.Variables(v.ctx(), v.assistant.ID, behalf.Namespace(l.Filter.Get("namespace")), l.Filter.Get("user"), store.Page{After: v.query("after"), Limit: rowsShown + 1})
	if err != nil {
		return err
	}
	if len(rows) > rowsShown {
		rows = rows[:rowsShown]
		l.Older = "?" + with(l.Filter, "after", string(rows[rowsShown-1].ID))
	}
	l.Rows = rows
	if err := v.variableUses(&l); err != nil {
		return err
	}
	return v.show(http.StatusOK, "Variables", v.variablesPage(l))
}

// variableUses reads which profiles use which variables, and what they lack.
func (v *visit) variableUses(l *variableList) error {
	profiles, err := v.db.Profiles(v.ctx(), v.assistant.ID, store.Page{})
	if err != nil {
		return err
	}
	kept, err := v.db.Variables(v.ctx(), v.assistant.ID, behalf.NamespaceEnv, "", store.Page{})
	if err != nil {
		return err
	}
	set := map[string]bool{}
	for _, x := range kept {
		set[x.Placeholder()] = true
	}
	l.Uses = variableUses{}
	for _, p := range profiles {
		if p.Plan == nil {
			continue
		}
		for _, name := range p.Plan.UsedVariables() {
			l.Uses[name] = append(l.Uses[name], p)
		}
		for _, name := range p.Plan.Variables() {
			if env, ok := strings.CutPrefix(name, "env."); ok && !set[name] && !slices.Contains(l.Missing, env) {
				l.Missing = append(l.Missing, env)
			}
		}
	}
	slices.Sort(l.Missing)
	return nil
}

func (l variableList) inputs() []look.Input {
	all := []look.Option{{Text: "All namespaces"}}
	for _, o := range namespaceOptions {
		all = append(all, look.Option{Value: o.Value, Text: o.Value})
	}
	return []look.Input{
		{Name: "namespace", Label: "Namespace", Value: l.Filter.Get("namespace"), Options: all},
		{Name: "user", Label: "User", Value: l.Filter.Get("user"), Bare: true},
	}
}

// placeholder is how a profile uses a variable.
func placeholder(x behalf.Variable) string { return "{{" + x.Placeholder() + "}}" }

func (v *visit) variableURL(x behalf.Variable, more ...string) string {
	to := at(append([]string{"assistants", v.assistant.Slug, "variables", string(x.Namespace), x.Name}, more...)...)
	if x.User != "" {
		to += "?" + url.Values{"user": {x.User}}.Encode()
	}
	return to
}

func (v *visit) variableInputs(f variableForm) []look.Input {
	var in []look.Input
	if f.Kept == nil {
		in = append(in,
			look.Input{Name: "namespace", Label: "Namespace", Value: f.Namespace, Options: namespaceOptions, Required: true},
			look.Input{Name: "name", Label: "Name", Value: f.Name, Required: true, Code: true, Focus: f.Title == "" && f.Name == "", Autocomplete: "off", Hint: "Letters, digits, hyphens and underscores. REGION in env is {{env.REGION}} in a profile."},
			look.Input{Name: "user", Label: "User", Value: f.User, Autocomplete: "off", Hint: "With UserSession and BotUserSession: the assistant’s id of the person. Left empty with the others."})
	}
	value := look.Input{Name: "value", Label: "Value", Value: f.Value, Required: true, Code: true, Autocomplete: "off", Focus: f.Title == "" && (f.Kept != nil || f.Name != "")}
	if f.Kept != nil && f.Kept.Secret {
		value.Type, value.Hint = "password", "What is kept is not shown. Enter it anew."
	}
	return f.mark(append(in, value,
		look.Input{Name: "secret", Label: "Secret", Type: "checkbox", Value: tick(f.Secret), Hint: "Never shown again, masked in transcripts, and refused where it would go through a browser."},
		look.Input{Name: "expires_in", Label: "Ends on", Type: "date", Value: f.Ends, Hint: "Left empty: after a day with UserSession and BotUserSession, and never with the others."}))
}

func (v *visit) askVariable() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	return v.showVariable(http.StatusOK, variableForm{Namespace: nameOr(v.query("namespace"), string(behalf.NamespaceEnv)), Name: v.query("name")})
}

func (v *visit) showVariable(status int, f variableForm) error {
	if f.Secret {
		f.Value = "" // it does not go back
	}
	title := "New variable"
	if f.Kept != nil {
		title = placeholder(*f.Kept)
	}
	return v.show(status, title, v.variablePage(title, f))
}

// typedVariable reads the form that was sent. The days of a form are whole, in
// UTC; an end that was not touched stays as exact as it was.
func (v *visit) typedVariable(f *variableForm) (behalf.Variable, error) {
	f.Value, f.Secret, f.Ends = v.form("value"), v.form("secret") != "", v.line("expires_in")
	x := behalf.Variable{Assistant: v.assistant.ID, Namespace: behalf.Namespace(f.Namespace), User: f.User, Name: f.Name, Value: v.password("value"), Secret: f.Secret}
	switch {
	case f.Ends == "":
		return x, nil
	case f.Kept != nil && f.Ends == endDay(*f.Kept):
		x.ExpiresAt = f.Kept.ExpiresAt
		return x, nil
	}
	end, err := time.Parse(time.DateOnly, f.Ends)
	if err != nil {
		return x, behalf.Invalid("expires_in", "Expected a day.")
	}
	x.ExpiresAt = end
	if !x.ExpiresAt.After(v.db.Now()) {
		err = behalf.Invalid("expires_in", "Expected a day that is to come.")
	}
	return x, err
}

func endDay(x behalf.Variable) string {
	if x.ExpiresAt.IsZero() {
		return ""
	}
	return x.ExpiresAt.UTC().Format(time.DateOnly)
}

func (v *visit) addVariable() error {
	if err := v.inAssistant(); err != nil {
		return err
	}
	f := variableForm{Namespace: v.line("namespace"), User: v.line("user"), Name: v.line("name")}
	x, err := v.typedVariable(&f)
	if err == nil {
		err = v.free(x)
	}
	return v.keepVariable(x, f, err)
}

// free refuses to put a new variable in the place of another unseen.
func (v *visit) free(x behalf.Variable) error {
	_, err := v.db.Variable(v.ctx(), x.Assistant, x.Namespace, x.User, x.Name)
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		return nil
	case err != nil:
		return err
	}
	return behalf.Invalid("name", "There is a variable of this name already. Change that one, or choose another name.")
}

// keepVariable keeps a variable unless something is wrong with its form.
func (v *visit) keepVariable(x behalf.Variable, f variableForm, err error) error {
	if err == nil {
		_, err = v.db.PutVariable(v.ctx(), x)
	}
	if err == nil {
		v.done(placeholder(x) + " is kept. It counts from the next request on.")
		return v.to("assistants", v.assistant.Slug, "variables")
	}
	wrong, ok := faultsOf(err, "The variable is not kept yet")
	if !ok {
		return err
	}
	f.faults = wrong
	return v.showVariable(statusOf(err), f)
}

// variable reads the variable of the path.
func (v *visit) variable() (behalf.Variable, error) {
	if err := v.inAssistant(); err != nil {
		return behalf.Variable{}, err
	}
	return v.db.Variable(v.ctx(), v.assistant.ID, behalf.Namespace(v.r.PathValue("namespace")), v.query("user"), v.r.PathValue("variable"))
}

// variableFormOf is what may be changed of a variable.
func variableFormOf(x behalf.Variable) variableForm {
	return variableForm{Namespace: string(x.Namespace), User: x.User, Name: x.Name, Value: x.Value.Reveal(), Secret: x.Secret, Ends: endDay(x), Kept: &x}
}

func (v *visit) editVariable() error {
	x, err := v.variable()
	if err != nil {
		return err
	}
	return v.showVariable(http.StatusOK, variableFormOf(x))
}

func (v *visit) saveVariable() error {
	x, err := v.variable()
	if err != nil {
		return err
	}
	f := variableFormOf(x)
	typed, err := v.typedVariable(&f)
	return v.keepVariable(typed, f, err)
}

func (v *visit) askDeleteVariable() error {
	x, err := v.variable()
	if err != nil {
		return err
	}
	l := variableList{}
	if err := v.variableUses(&l); err != nil {
		return err
	}
	return v.show(http.StatusOK, "Delete "+placeholder(x), v.deleteVariablePage(x, l.Uses[x.Placeholder()]))
}

func (v *visit) deleteVariable() error {
	x, err := v.variable()
	if err != nil {
		return err
	}
	if err := v.db.DeleteVariable(v.ctx(), x); err != nil {
		return err
	}
	v.done(placeholder(x) + " is deleted.")
	return v.to("assistants", v.assistant.Slug, "variables")
}
