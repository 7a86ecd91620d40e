// Package profilefile reads and writes authorization profiles as files.
//
// The rules are:
//
//   - A file holds a definition in YAML (JSON is YAML too), several behind ---.
//   - No secret stands in a file: a secret is named by where it is, env:NAME or
//     file:/path, and fetched by whoever applies the file.
//   - What is written here reads back as the same definition; Format checks it.
//   - Everything that is wrong is told at once, with line and column.
package profilefile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf"
)

// Document is one definition of a file.
type Document struct {
	File       string // as it was given to Parse
	Definition behalf.Definition

	places map[string]Place
}

// Place is where something stands in a file, counted from one.
type Place struct{ Line, Column int }

// At returns where a field of the definition stands, in the form in which
// problems name it: oauth.token.success[0].json. Where the field itself is not
// in the file, it is the place of what would hold it.
func (d Document) At(field string) Place {
	for {
		if p, ok := d.places[field]; ok {
			return p
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			return d.places[""]
		}
		field = field[:i]
	}
}

// Problems returns an error of the definition with its places in the file.
func (d Document) Problems(err error) Problems {
	e, ok := err.(*behalf.Error)
	switch {
	case err == nil:
		return nil
	case !ok:
		return Problems{{File: d.File, Place: d.places[""], Message: err.Error()}}
	case len(e.Fields) == 0:
		return Problems{{File: d.File, Place: d.At(e.Field), Field: e.Field, Message: e.Message}}
	}
	var out Problems
	for _, f := range e.Fields {
		out = append(out, Problem{File: d.File, Place: d.At(f.Field), Field: f.Field, Message: f.Message})
	}
	return out.sorted()
}

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Place
	Field   string // empty: the file itself
	Message string
}

func (p Problem) Error() string {
	where := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Field != "" {
		where += p.Field + ": "
	}
	return where + p.Message
}

// Problems is everything that is wrong, in the order of the file.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, e := range p {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p
}

func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p.sorted()
}

// Secret is a secret that a definition names by where it is.
type Secret struct {
	Field string // where its value belongs: client_secret, authorization_fields[0].value
	From  string // env:NAME or file:/path
}

// Secrets lists the secrets that a definition names.
func Secrets(d behalf.Definition) []Secret {
	var out []Secret
	if d.ClientSecretFrom != "" {
		out = append(out, Secret{"client_secret", d.ClientSecretFrom})
	}
	for i, f := range d.AdditionalFields {
		if f.ValueFrom != "" {
			out = append(out, Secret{fmt.Sprintf("additional_fields[%d].value", i), f.ValueFrom})
		}
	}
	for i, f := range d.AuthorizationFields {
		if f.ValueFrom != "" {
			out = append(out, Secret{fmt.Sprintf("authorization_fields[%d].value", i), f.ValueFrom})
		}
	}
	return out
}

// Fill puts the values of secrets where they belong and returns the client
// secret apart, "" where the definition names none. What fetch has to say of a
// secret that it cannot bring is a sentence.
func Fill(d behalf.Definition, fetch func(from string) (value, problem string)) (behalf.Definition, string, error) {
	d.AdditionalFields, d.AuthorizationFields = slices.Clone(d.AdditionalFields), slices.Clone(d.AuthorizationFields)
	var client string
	for _, s := range Secrets(d) {
		value, problem := fetch(s.From)
		if problem != "" {
			return d, "", behalf.Invalid(s.Field, "%s", problem)
		}
		var i int
		switch {
		case s.Field == "client_secret":
			client = value
		case scan(s.Field, "additional_fields[%d]", &i):
			d.AdditionalFields[i].Value = value
		case scan(s.Field, "authorization_fields[%d]", &i):
			d.AuthorizationFields[i].Value = value
		}
	}
	return d, client, nil
}

func scan(field, format string, i *int) bool {
	_, err := fmt.Sscanf(field, format, i)
	return err == nil
}
