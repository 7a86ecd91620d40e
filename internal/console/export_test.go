package console

import (
	"net/url"

	"github.com/behalf-dev/behalf"
)

// Route is a row of the table, for the test that walks it.
type Route struct {
	Method, Path string
	Needs        behalf.Permission
	Open         bool
}

// Routes returns the table.
func Routes() []Route {
	var out []Route
	for _, r := range routes() {
		out = append(out, Route{r.method, r.path, r.needs, r.open})
	}
	return out
}

// Unlabelled returns the fields of the form that only their documentation
// describes.
func Unlabelled() []string {
	var out []string
	all := groups()
	for _, f := range all[len(all)-1].Fields {
		out = append(out, f.Path)
	}
	return out
}

// Round turns a definition into the form and back.
func Round(d behalf.Definition) (behalf.Definition, error) {
	c := &Console{groups: groups()}
	shown := c.formOf(d)
	typed := c.typed(sent(&shown))
	return typed.definition()
}

// Typed reads a form that was sent.
func Typed(form url.Values) (behalf.Definition, error) {
	f := (&Console{groups: groups()}).typed(form)
	return f.definition()
}

// EventData is a text as the data of an event.
func EventData(s string) string { return eventData.Replace(s) }

// Next is where a sign-in leads.
func Next(raw string) string { return next(raw) }

// Identify is who somebody is by their claims.
func (s SSO) Identify(claims map[string]any) behalf.Identity { return s.identify("iss", "sub", claims) }

// UnexplainedEvents returns the events, and the kinds of them, that the console
// has no words for.
func UnexplainedEvents() []string {
	var out []string
	for _, k := range eventKinds() {
		if kindAbout[k.Kind] == "" {
			out = append(out, k.Kind)
		}
		for _, t := range k.Types {
			if eventWords[t] == "" {
				out = append(out, string(t))
			}
		}
	}
	return out
}

// Worded reports whether the console has words for an action of the audit log.
func Worded(action string) bool { return deeds[action] != "" }

// Plain says a text with the labels of the form.
func Plain(text string) string { return plain(text) }

// SecretID is what a client secret is removed by.
func SecretID(s behalf.ClientSecret) string { return secretID(s) }
