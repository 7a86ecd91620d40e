// Package catalog turns what is known of providers into drafts of profiles.
//
// What is particular about a provider is data: one reviewed file for each, in
// providers/. The rules are:
//
//   - A file holds facts, each with the address where it can be checked, in
//     words of our own.
//   - What differs from the standards has evidence of its own, or the file is
//     refused.
//   - Verified means that somebody else's text agrees with the endpoints:
//     documentation, or a second implementation. Memory does not verify.
//   - Nothing of a person, a client or a secret is in here.
package catalog

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf"
)

//go:embed providers/*.yaml
var providers embed.FS

// Catalog is all known providers. It does not change and may be used by many
// at once.
type Catalog struct {
	entries []Entry // by name
	bySlug  map[string]int
}

// Open returns the catalogue that comes with the binary, and with it what is in
// folders of the operator's own. There a file replaces the one of the same name.
func Open(own ...fs.FS) (*Catalog, error) {
	files, err := fs.Sub(providers, "providers")
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	return Read(append([]fs.FS{files}, own...)...)
}

// Read returns the catalogue whose files are the *.yaml of folders, of which a
// later one comes over those before it. The error names every file that is not
// as it should be.
func Read(folders ...fs.FS) (*Catalog, error) {
	c := &Catalog{bySlug: map[string]int{}}
	var problems []error
	for _, files := range folders {
		wrong, err := c.read(files)
		if err != nil {
			return nil, err
		}
		problems = append(problems, wrong...)
	}
	if err := errors.Join(append(problems, c.index())...); err != nil {
		return nil, err
	}
	return c, nil
}

// read takes the files of one folder.
func (c *Catalog) read(files fs.FS) (problems []error, err error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	for _, name := range names {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
		e, err := parse(strings.TrimSuffix(path.Base(name), ".yaml"), raw)
		if err != nil {
			problems = append(problems, fmt.Errorf("catalog: %s: %w", name, err))
			continue
		}
		c.entries = append(slices.DeleteFunc(c.entries, func(old Entry) bool { return old.Slug == e.Slug }), e)
	}
	return problems, nil
}

// index sorts the entries and sees to it that no two answer to one word.
func (c *Catalog) index() error {
	slices.SortFunc(c.entries, func(a, b Entry) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	owner := map[string]string{}
	var problems []error
	for i, e := range c.entries {
		c.bySlug[e.Slug] = i
		for _, name := range e.names() {
			if other, taken := owner[name]; taken && other != e.Slug {
				problems = append(problems, fmt.Errorf("catalog: %s and %s both answer to %q", other, e.Slug, name))
			}
			owner[name] = e.Slug
		}
	}
	return errors.Join(problems...)
}

// List returns all providers, by name.
func (c *Catalog) List() []Entry { return slices.Clone(c.entries) }

// Get returns one provider.
func (c *Catalog) Get(slug string) (Entry, error) {
	i, ok := c.bySlug[strings.ToLower(slug)]
	if !ok {
		return Entry{}, behalf.Errorf(behalf.CodeNotFound, "The catalogue has no such provider. Search it by name, or write the profile by hand.")
	}
	return c.entries[i], nil
}

// Known returns what the linter may know of a definition's provider: it is the
// one that has the same authorization URL.
func (c *Catalog) Known(d behalf.Definition) behalf.Known {
	for _, e := range c.entries {
		if d.AuthorizationURL != "" && e.Profile.AuthorizationURL == d.AuthorizationURL {
			return e.Known()
		}
	}
	return behalf.Known{}
}
