package connect

import (
	"regexp"

	"github.com/behalf-dev/behalf/internal/look"
)

// sayings are the sentences in which the vocabulary refuses what a person
// typed, with the ids of their translations. What is not among them is said in
// English.
var sayings = []struct {
	sentence *regexp.Regexp // with the groups that values fills
	id       string
	values   []string
}{
	{regexp.MustCompile(`^Required\.$`), "error.required", nil},
	{regexp.MustCompile(`^Choose one\.$`), "error.choose", nil},
	{regexp.MustCompile(`^It does not have the form that is expected here\.$`), "error.form", nil},
	{regexp.MustCompile(`^It does not have the form that is expected here: (.*)\.$`), "error.form.hint", []string{"hint"}},
	{regexp.MustCompile(`^It does not have the form that this application's tenants have\.$`), "error.tenant", nil},
	{regexp.MustCompile(`^Expected one of the tenants that this profile allows\.$`), "error.tenant.allowed", nil},
	{regexp.MustCompile(`^Expected a name as it stands in the address of the application: letters, digits and hyphens\.$`), "error.tenant.address", nil},
	{regexp.MustCompile(`^(?:Required, o|Expected o|O)ne line of at most (\d+) characters\.$`), "error.line", []string{"count"}},
	{regexp.MustCompile(`^The form could not be read; try again\.$`), "error.read", nil},
	{regexp.MustCompile(`^Choose one of the list\.$`), "error.listed", nil},
	{regexp.MustCompile(`^Expected a number, such as 12\.5\.$`), "error.number", nil},
	{regexp.MustCompile(`^Expected a whole number, such as 12\.$`), "error.integer", nil},
	{regexp.MustCompile(`^Expected an email address, such as jane@example\.com\.$`), "error.email", nil},
	{regexp.MustCompile(`^Expected a web address that begins with https://\.$`), "error.url", nil},
	{regexp.MustCompile(`^Expected a date as year, month and day: 2026-03-31\.$`), "error.date", nil},
	{regexp.MustCompile(`^Expected a username without a colon \(RFC 7617 §2\)\.$`), "error.colon", nil},
	{regexp.MustCompile(`^It cannot be taken\.$`), "error.other", nil},
}

// said returns a refusal in the reader's language.
func said(l look.Language, message string) string {
	for _, s := range sayings {
		m := s.sentence.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		values := look.Values{}
		for i, name := range s.values {
			values[name] = m[i+1]
		}
		return l.Text(s.id, values)
	}
	return message
}
