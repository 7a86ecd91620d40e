package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/behalf-dev/behalf"
)

// parse reads one provider's file and checks all that can be seen in it alone.
func parse(slug string, raw []byte) (Entry, error) {
	var e Entry
	asJSON, err := toJSON(raw)
	if err != nil {
		return e, err
	}
	if err := strict(asJSON, &e); err != nil {
		return e, err
	}
	var file struct{ Profile json.RawMessage }
	if err := json.Unmarshal(asJSON, &file); err != nil {
		return e, err
	}
	e.raw = file.Profile
	if e.Slug != slug {
		return e, fmt.Errorf("slug is %q: expected the name of the file", e.Slug)
	}
	return e, e.check()
}

// toJSON turns YAML into JSON. A key that stands twice is an error with line
// and column.
func toJSON(raw []byte) ([]byte, error) {
	var value map[string]any
	if err := yaml.UnmarshalWithOptions(raw, &value, yaml.Strict()); err != nil {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	return json.Marshal(value)
}

// strict decodes one JSON document whose keys are all known.
func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one document")
	}
	return nil
}

var isSlug = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// check returns everything that is wrong with an entry.
func (e Entry) check() error {
	var problems []error
	say := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case !isSlug.MatchString(e.Slug):
		say("slug: expected lower case letters, digits and hyphens")
	case e.Name == "" || e.Name != strings.TrimSpace(e.Name):
		say("name: required, without space around it")
	case len(e.Categories) == 0:
		say("categories: at least one is required")
	case e.Profile.Name != "" || e.Profile.ClientID != "":
		say("profile: name and client_id are the administrator's")
	}
	links := map[string]string{"docs": e.Docs}
	if e.RegisterURL != "" {
		links["register_url"] = e.RegisterURL
	}
	for i, row := range e.Evidence {
		links[fmt.Sprintf("evidence[%d].url", i)] = row.URL
		if len(row.Knobs) == 0 || !slices.Contains([]Kind{Documentation, Code, Thread, Unchecked}, row.Kind) {
			say("evidence[%d]: expected knobs, and one of the kinds", i)
		}
	}
	for field, link := range links {
		if u, err := url.Parse(link); err != nil || u.Scheme != "https" || u.Host == "" {
			say("%s: expected an https URL", field)
		}
	}
	if e.Verified && !e.proven("endpoints") {
		say("verified: there is no evidence for the endpoints")
	}
	problems = append(problems, e.checkVariants()...)
	return errors.Join(append(problems, e.checkKnobs()...)...)
}

// checkVariants drafts the provider and each of its variants.
func (e Entry) checkVariants() []error {
	var problems []error
	names := []string{""}
	for _, v := range e.Variants {
		if slices.Contains(names, v.Name) || !isSlug.MatchString(v.Name) {
			problems = append(problems, fmt.Errorf("variants: expected short names, each once"))
		}
		names = append(names, v.Name)
	}
	for _, name := range names {
		d, err := e.Draft(name, "client-id")
		if err == nil {
			_, err = behalf.Compile(d)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("profile %s: %s", name, explain(err)))
		}
	}
	return problems
}

// explain names the fields of an error.
func explain(err error) string {
	e := (*behalf.Error)(nil)
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		return err.Error()
	}
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Field+": "+f.Message)
	}
	return strings.Join(all, " ")
}

// checkKnobs wants evidence for everything in which a profile differs from
// what the standards say.
func (e Entry) checkKnobs() []error {
	var problems []error
	knobs := map[string]bool{}
	for _, name := range append([]string{""}, e.variantNames()...) {
		if raw, err := e.variant(name); err == nil {
			quirks(knobs, "", raw)
		}
	}
	for _, knob := range slices.Sorted(maps.Keys(knobs)) {
		if !e.evident(knob) {
			problems = append(problems, fmt.Errorf("evidence: none for %s", knob))
		}
	}
	for i, row := range e.Evidence {
		for _, k := range row.Knobs {
			if k != "endpoints" && !slices.ContainsFunc(slices.Collect(maps.Keys(knobs)), func(knob string) bool { return covers(k, knob) }) {
				problems = append(problems, fmt.Errorf("evidence[%d]: the profile does not set %s", i, k))
			}
		}
	}
	return problems
}

func (e Entry) variantNames() []string {
	var names []string
	for _, v := range e.Variants {
		names = append(names, v.Name)
	}
	return names
}

// plain are fields that every profile has, or that say nothing which a
// standard says otherwise.
var plain = []string{
	"type", "provider", "description", "authorization_url", "token_url", "scope", "tenancy", "additional_fields", "check_url", "api",
	"oauth.issuer", "oauth.require_iss", "oauth.jwks_url", "oauth.userinfo_url", "oauth.revoke.manage_url", "oauth.revoke.note",
}

// quirks collects the fields that a profile sets beside the plain ones, in
// dotted form. A list is one field.
func quirks(into map[string]bool, prefix string, raw json.RawMessage) {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		into[prefix] = true
		return
	}
	for key, value := range object {
		field := strings.TrimPrefix(prefix+"."+key, ".")
		if !slices.Contains(plain, field) {
			quirks(into, field, value)
		}
	}
}

// covers reports whether what is said of knob is said of field.
func covers(knob, field string) bool {
	return field == knob || strings.HasPrefix(field, knob+".")
}

// evident reports whether there is evidence of any kind.
func (e Entry) evident(field string) bool {
	return slices.ContainsFunc(e.Evidence, func(row Evidence) bool {
		return slices.ContainsFunc(row.Knobs, func(k string) bool { return covers(k, field) })
	})
}

// proven reports whether somebody else's text says so.
func (e Entry) proven(field string) bool {
	return slices.ContainsFunc(e.Evidence, func(row Evidence) bool {
		return (row.Kind == Documentation || row.Kind == Code) && slices.ContainsFunc(row.Knobs, func(k string) bool { return covers(k, field) })
	})
}
