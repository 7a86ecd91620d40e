package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/profilefile"
)

// catalogCommand needs no server: the catalogue is in the binary.
type catalogCommand struct {
	Search searchCatalogCommand `cmd:"" help:"Search the known providers by name."`
	Show   showCatalogCommand   `cmd:"" help:"Show what is known of a provider, and where it can be checked."`
	Drafts draftCatalogCommand  `cmd:"" help:"Write profiles for known providers as files, for behalf apply."`
}

type searchCatalogCommand struct {
	Words []string `arg:"" optional:"" help:"Words of a name (default: all providers)."`
	JSON  bool     `help:"Print JSON." name:"json"`
}

// Run prints one line for each provider, the best first.
func (c *searchCatalogCommand) Run() error {
	known, err := catalog.Open()
	if err != nil {
		return err
	}
	found := known.Search(strings.Join(c.Words, " "))
	if c.JSON {
		return printJSON(found)
	}
	if len(found) == 0 {
		return fmt.Errorf("the catalogue knows nothing of this name: describe the application in a profile of your own, or let behalf discover it")
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, e := range found {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Slug, e.Name, verified(e), strings.Join(e.Categories, ", "))
	}
	return w.Flush()
}

func verified(e catalog.Entry) string {
	if e.Verified {
		return "verified"
	}
	return "unverified"
}

type showCatalogCommand struct {
	Provider string `arg:"" help:"Slug, as search prints it."`
	Variant  string `help:"A variant, such as sandbox."`
	JSON     bool   `help:"Print JSON." name:"json"`
}

// Run prints what is known, and the profile as a file.
func (c *showCatalogCommand) Run() error {
	known, err := catalog.Open()
	if err != nil {
		return err
	}
	e, err := known.Get(c.Provider)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e)
	}
	file, _, err := draftFile(e, c.Variant, "")
	if err != nil {
		return err
	}
	fmt.Print(about(e) + "\n" + string(file))
	return nil
}

// about is what is known beside the profile, as comments of its file.
func about(e catalog.Entry) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "# "+format+"\n", args...) }
	line("%s (%s)", e.Name, verified(e))
	line("Documentation: %s", e.Docs)
	if e.RegisterURL != "" {
		line("Register a client: %s", e.RegisterURL)
	}
	for _, note := range e.Notes {
		line("Note: %s", note)
	}
	for _, v := range e.Variants {
		line("Variant: %s %s", v.Name, v.Title)
	}
	for _, s := range e.Scopes {
		line("Scope: %s (%s)", s.Value, s.Title)
	}
	for _, x := range e.Evidence {
		line("Evidence (%s): %s: %s %s", x.Kind, strings.Join(x.Knobs, ", "), x.URL, x.Note)
	}
	return b.String()
}

type draftCatalogCommand struct {
	Providers []string `arg:"" optional:"" help:"Slugs (default: the whole catalogue)."`
	Directory string   `help:"Directory to write to; made where it is not there." short:"o" name:"output" required:"" type:"path" placeholder:"DIR"`
	Sandbox   bool     `help:"Use the provider's sandbox where the catalogue knows one."`
	ClientID  string   `help:"Client ID to enter (default: one to be replaced)." default:"your-client-id"`
}

// Run writes one file for each provider. A file that is there already is left
// alone: somebody may have worked on it.
func (c *draftCatalogCommand) Run() error {
	known, err := catalog.Open()
	if err != nil {
		return err
	}
	entries := known.List()
	if len(c.Providers) > 0 {
		entries = nil
		for _, slug := range c.Providers {
			e, err := known.Get(slug)
			if err != nil {
				return fmt.Errorf("%s: %w", slug, err)
			}
			entries = append(entries, e)
		}
	}
	if err := os.MkdirAll(c.Directory, 0o755); err != nil {
		return err
	}
	var there []string
	for _, e := range entries {
		err := c.write(e)
		if p := (*fs.PathError)(nil); errors.As(err, &p) && errors.Is(err, fs.ErrExist) {
			there = append(there, p.Path)
			continue
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("%s in %s. Enter their client ids, set the variables that hold their secrets, and run behalf apply.\n",
		counted(int64(len(entries)-len(there)), "profile", "profiles"), c.Directory)
	if len(there) > 0 {
		return fmt.Errorf("left alone, because a file exists already: %s", strings.Join(there, ", "))
	}
	return nil
}

func (c *draftCatalogCommand) write(e catalog.Entry) error {
	variant := ""
	if c.Sandbox && slices.ContainsFunc(e.Variants, func(v catalog.Variant) bool { return v.Name == catalog.Sandbox }) {
		variant = catalog.Sandbox
	}
	text, slug, err := draftFile(e, variant, c.ClientID)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(c.Directory, slug+".yaml"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// draftFile is a draft as a profile file that names its client secret by a
// variable, env:ASANA_CLIENT_SECRET, and the slug that the profile will have.
func draftFile(e catalog.Entry, variant, clientID string) (text []byte, slug string, err error) {
	d, err := e.Draft(variant, clientID)
	if err != nil {
		return nil, "", err
	}
	if d.OAuth.ClientAuth != behalf.ClientAuthNone {
		d.ClientSecretFrom = "env:" + strings.ToUpper(strings.ReplaceAll(e.Slug, "-", "_")) + "_CLIENT_SECRET"
	}
	text, err = profilefile.Format(d)
	return text, behalf.Slug(d.Name), err
}
