package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/profilefile"
)

// This file turns a definition into a form and what was typed into a
// definition. The rules are:
//
//   - Names of inputs are those that the JSON has and that errors name:
//     scope[0].value. So each error finds its field by itself.
//   - The table (formtable.go) puts fields in order and gives them words. What a
//     definition has beyond the table stands in the last group, with the words
//     of its documentation: nothing of a definition can be lost by editing it.
//   - What cannot be read as what it should be stays as it was typed.

// kind is how a field is asked.
type kind int

const (
	asLine   kind = iota // one line
	asArea               // some lines
	asNumber             // of seconds and the like
	asTick               // yes or no
	asTickOn             // yes unless it says no
	asChoice
	asLines // a list, one on each line
	asWords // a list in one line
	asYAML  // anything, as in a file
	asRows  // a list of things that have columns
)

// formField is one field of the form.
type formField struct {
	Path    string // as in the JSON; of a column, as in its row
	Label   string
	Hint    string
	Kind    kind
	Options []look.Option
	Code    bool
	Needed  bool
	Secret  func(row map[string]any) bool // whether a column's value never goes back
	Columns []formField
	Types   []behalf.AuthorizationType // that have the field; none: all
	Unless  bool                       // shown only where it has a value
	Exact   bool                       // the space around it is meant
	Usual   string                     // of a column: a row with nothing but this was not filled in
	of      reflect.Type
}

// formGroup is fields under a heading.
type formGroup struct {
	ID, Title, About string
	Advanced         bool
	Fields           []formField
}

// throughConnector is the field whose choices are the connectors there are. It is
// asked only where there is one.
const throughConnector = "connector"

// tree is a definition as its JSON.
type tree = map[string]any

func treeOf(d behalf.Definition) tree {
	encoded, err := json.Marshal(d)
	if err != nil {
		return tree{} // a definition always encodes
	}
	t := tree{}
	decoder := json.NewDecoder(strings.NewReader(string(encoded)))
	decoder.UseNumber()
	_ = decoder.Decode(&t) // it was encoded a moment ago
	return t
}

// lookUp returns what stands at a path, nil where nothing does.
func lookUp(t tree, path string) any {
	var v any = t
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(tree)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// put sets what stands at a path, and makes what lies before it.
func put(t tree, path string, v any) {
	name, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		t[name] = v
		return
	}
	below, ok := t[name].(tree)
	if !ok {
		below = tree{}
		t[name] = below
	}
	put(below, rest, v)
}

// profileForm is a definition in the making.
type profileForm struct {
	groups []formGroup
	tree   tree
	raw    map[string]string // what was typed and could not be read, by name
	ways   []look.Option     // that calls can take: none where there is no connector
	fixed  bool              // it is only looked at
	faults
}

func (c *Console) formOf(d behalf.Definition) profileForm {
	public, _ := d.SplitSecrets()
	return profileForm{groups: c.groups, tree: treeOf(public), raw: map[string]string{}}
}

// typed reads the form that was sent.
func (c *Console) typed(form url.Values) profileForm {
	f := profileForm{groups: c.groups, tree: tree{}, raw: map[string]string{}, faults: faults{Fields: map[string]string{}}}
	for _, g := range c.groups {
		for _, field := range g.Fields {
			if v := f.read(form, field, field.Path); v != nil {
				put(f.tree, field.Path, v)
			}
		}
	}
	return f
}

// read returns the value of a field as JSON has it, nil where there is none.
func (f *profileForm) read(form url.Values, field formField, name string) any {
	text := strings.ReplaceAll(form.Get(name), "\r\n", "\n")
	if !field.Exact && field.Kind != asArea && field.Kind != asYAML {
		text = strings.TrimSpace(text)
	}
	switch field.Kind {
	case asTick:
		if text != "" {
			return true
		}
		return nil
	case asTickOn:
		if text == "" && form.Has(name+":shown") {
			return false
		}
		return nil
	case asRows:
		return f.rows(form, field, name)
	}
	switch {
	case text == "":
		return nil
	case field.Kind == asNumber:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			f.wrong(name, text, "Expected a whole number.")
			return nil
		}
		return n
	case field.Kind == asLines:
		return list(strings.Split(text, "\n"))
	case field.Kind == asWords:
		return list(words(text))
	case field.Kind == asYAML:
		return f.yaml(field, name, text)
	}
	return text
}

func list(lines []string) []any {
	var out []any
	for _, l := range lines {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

func (f *profileForm) wrong(name, typed, message string) {
	f.raw[name] = typed
	f.order = append(f.order, behalf.FieldError{Field: name, Message: message})
	f.Fields[name] = message
}

// maxFormRows bounds what a form may have of one list; the definition's own
// bound is lower.
const maxFormRows = 200

// rows reads a list. A row in which nothing was typed is none.
func (f *profileForm) rows(form url.Values, field formField, name string) any {
	var out []any
	working := form.Has("add") || form.Has("drop") || form.Has("do") // more is to be typed
	last := lastRow(form, name)
	for i := range maxFormRows {
		row, typed, there := tree{}, false, false
		target := fmt.Sprintf("%s[%d]", name, len(out))
		for _, c := range field.Columns {
			from := fmt.Sprintf("%s[%d].%s", name, i, c.Path)
			there = there || form.Has(from) || form.Has(from+":shown")
			sub := url.Values{target + "." + c.Path: form[from]}
			v := f.read(sub, c, target+"."+c.Path)
			if v == nil {
				continue
			}
			row[c.Path] = v
			typed = typed || c.Kind != asChoice && c.Kind != asTick && (c.Usual == "" || v != c.Usual)
		}
		if (typed || working && there) && form.Get("drop") != fmt.Sprintf("%s[%d]", name, i) {
			out = append(out, row)
		}
		if !there && i >= last {
			break
		}
	}
	if form.Get("add") == name {
		out = append(out, tree{})
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// lastRow is the number of the last row that was sent, so that one without
// any ticked box and text does not end the list.
func lastRow(form url.Values, name string) int {
	last := -1
	for key := range form {
		rest, ok := strings.CutPrefix(key, name+"[")
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, "]")
		if n, err := strconv.Atoi(digits); err == nil && n < maxFormRows {
			last = max(last, n)
		}
	}
	return last
}

// yaml reads a part of a definition that is written as in a file.
func (f *profileForm) yaml(field formField, name, text string) any {
	v, err := profilefile.Value(text)
	if err != nil {
		f.wrong(name, text, "Expected YAML: "+firstLine(yaml.FormatError(err, false, false))+".")
		return nil
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		f.wrong(name, text, "Expected the fields that the API's reference shows.")
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(encoded)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(reflect.New(field.of).Interface()); err != nil {
		f.wrong(name, text, "Expected the fields that the API's reference shows: "+misfit(err)+".")
		return nil
	}
	f.raw[name] = text
	var out any
	decoder = json.NewDecoder(strings.NewReader(string(encoded)))
	decoder.UseNumber()
	_ = decoder.Decode(&out) // it was read a moment ago
	return out
}

// misfit says what of a document does not fit, without its values.
func misfit(err error) string {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return wrong.Field + " is a " + wrong.Value
	}
	if text, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return "there is no " + text
	}
	return "it is something else"
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// definition returns what was typed, or an error that names every field that
// could not be read.
func (f *profileForm) definition() (behalf.Definition, error) {
	var d behalf.Definition
	if len(f.order) > 0 {
		return d, &behalf.Error{Code: behalf.CodeInvalid, Field: f.order[0].Field, Message: f.order[0].Message, Fields: f.order}
	}
	encoded, err := json.Marshal(f.tree)
	if err != nil {
		return d, err
	}
	decoder := json.NewDecoder(strings.NewReader(string(encoded)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return d, &behalf.Error{Code: behalf.CodeInvalid, Message: "Something in the form could not be read: " + misfit(err) + ".", Err: err}
	}
	return d, nil
}

// rough returns what of the form can be read, for the linter.
func (f *profileForm) rough() behalf.Definition {
	var d behalf.Definition
	if encoded, err := json.Marshal(f.tree); err == nil {
		_ = json.Unmarshal(encoded, &d) // as far as it goes
	}
	return d
}

// input returns a field with what stands in it.
func (f *profileForm) input(field formField, name string, v any, row tree) look.Input {
	in := look.Input{Name: name, Label: field.Label, Hint: field.Hint, Error: f.Fields[name], Required: field.Needed, Code: field.Code, ReadOnly: f.fixed}
	if field.Path == throughConnector {
		field.Options = f.ways
	}
	in.Options = field.Options
	in.Value = textOf(field.Kind, v)
	if raw, ok := f.raw[name]; ok {
		in.Value = raw
	}
	switch field.Kind {
	case asNumber:
		in.Type = "number"
	case asArea:
		in.Type = "textarea"
	case asLines:
		in.Type, in.Code = "textarea", true
	case asYAML:
		in.Type, in.Code, in.Rows = "textarea", true, min(12, 2+strings.Count(in.Value, "\n"))
	case asTick, asTickOn:
		in.Type = "checkbox"
	case asChoice:
		if in.Value != "" && !slices.ContainsFunc(field.Options, func(o look.Option) bool { return o.Value == in.Value }) {
			in.Options = append(slices.Clone(field.Options), look.Option{Value: in.Value, Text: in.Value})
		}
	}
	if field.Secret != nil && field.Secret(row) {
		in.Value, in.Hint = "", strings.TrimSpace(field.Hint+" Kept where it is left empty, and never shown.")
	}
	return in
}

func textOf(k kind, v any) string {
	switch v := v.(type) {
	case nil:
		return tick(k == asTickOn)
	case bool:
		return tick(v)
	case string:
		return v
	case []any:
		var parts []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				parts = append(parts, s)
			}
		}
		if k == asLines {
			return strings.Join(parts, "\n")
		}
		if k == asWords {
			return strings.Join(parts, " ")
		}
	}
	if k == asYAML {
		encoded, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		text, err := yaml.JSONToYAML(encoded)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	return fmt.Sprint(v)
}

// formRow is one row of a list.
type formRow struct {
	Name   string
	Inputs []look.Input
}

func (f *profileForm) rowsOf(field formField) []formRow {
	all, _ := lookUp(f.tree, field.Path).([]any)
	var out []formRow
	for i, v := range all {
		row, _ := v.(tree)
		r := formRow{Name: fmt.Sprintf("%s[%d]", field.Path, i)}
		for _, c := range field.Columns {
			if c.Unless && row[c.Path] == nil {
				continue
			}
			in := f.input(c, r.Name+"."+c.Path, row[c.Path], row)
			in.Bare = true
			r.Inputs = append(r.Inputs, in)
		}
		out = append(out, r)
	}
	return out
}

// shows reports whether a field is asked: one that the type does not have, or
// that is seldom set, only where it has a value or something is wrong with it.
func (f *profileForm) shows(field formField) bool {
	if lookUp(f.tree, field.Path) != nil || f.Fields[field.Path] != "" {
		return true
	}
	if field.Path == throughConnector && len(f.ways) > 0 {
		return true
	}
	t, _ := f.tree["type"].(string)
	if t == "" {
		t = string(behalf.OAuth2)
	}
	return !field.Unless && (len(field.Types) == 0 || slices.Contains(field.Types, behalf.AuthorizationType(t)))
}

// opened reports whether a folded group is shown open: something in it is set or
// wrong.
func (f *profileForm) opened(g formGroup) bool {
	for _, field := range g.Fields {
		for name := range f.Fields {
			if name == field.Path || strings.HasPrefix(name, field.Path+"[") || strings.HasPrefix(name, field.Path+".") {
				return true
			}
		}
	}
	return false
}

// set counts the fields of a group that have a value.
func (f *profileForm) set(g formGroup) int {
	n := 0
	for _, field := range g.Fields {
		if lookUp(f.tree, field.Path) != nil {
			n++
		}
	}
	return n
}

// wrongs lists what is wrong for the summary, with the labels of the fields.
func (f *profileForm) wrongs() []look.Wrong {
	var inputs []look.Input
	for _, g := range f.groups {
		for _, field := range g.Fields {
			if field.Kind == asRows {
				for i, r := range f.rowsOf(field) {
					for _, in := range r.Inputs {
						in.Label = fmt.Sprintf("%s %d, %s", field.Label, i+1, in.Label)
						inputs = append(inputs, in)
					}
				}
				inputs = append(inputs, look.Input{Name: field.Path, Label: field.Label})
				continue
			}
			inputs = append(inputs, look.Input{Name: field.Path, Label: field.Label})
		}
	}
	inputs = append(inputs, look.Input{Name: "client_secret", Label: "Client Secret Key"})
	f.near(inputs)
	place := map[string]int{"": -1}
	for i, in := range inputs {
		place[in.Name] = i
	}
	slices.SortStableFunc(f.order, func(a, b behalf.FieldError) int { return place[a.Field] - place[b.Field] })
	return f.all(inputs...)
}

// near gives errors about something within a field that is written as YAML to
// that field.
func (f *profileForm) near(inputs []look.Input) {
	known := map[string]bool{}
	for _, in := range inputs {
		known[in.Name] = true
	}
	for i, o := range f.order {
		for name := o.Field; !known[o.Field] && name != ""; {
			cut := strings.LastIndexAny(name, ".[")
			if cut < 0 {
				break
			}
			if name = name[:cut]; known[name] {
				f.order[i] = behalf.FieldError{Field: name, Message: within(strings.TrimPrefix(o.Field, name)) + ": " + o.Message}
				if f.Fields[name] == "" {
					f.Fields[name] = f.order[i].Message
				}
				break
			}
		}
	}
}

// within says where in a field something is: the third line of a list, or a
// part of what is written as YAML.
func within(path string) string {
	if digits, ok := strings.CutPrefix(strings.TrimSuffix(path, "]"), "["); ok {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return "Number " + number(n+1)
		}
	}
	return strings.TrimPrefix(path, ".")
}

// tell takes the errors of a definition into the form.
func (f *profileForm) tell(got faults) {
	f.faults = got
	f.wrongs() // moves errors to the fields that show them
}
