package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/profilefile"
)

type lintCommand struct {
	Files  []string `help:"Profile file, directory of them, or - for standard input. May be repeated." short:"f" name:"file" required:"" sep:"none" placeholder:"PATH"`
	Strict bool     `help:"Fail on warnings too."`
	JSON   bool     `help:"Print JSON." name:"json"`
}

// lintFinding is one thing that is wrong or probably not meant.
type lintFinding struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"` // error or warning
	Field    string `json:"field,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix,omitempty"`
}

// Run looks at profile files without a server.
func (c *lintCommand) Run() error {
	docs, err := readProfiles(c.Files)
	var found []lintFinding
	if problems := profilefile.Problems(nil); errors.As(err, &problems) {
		found = append(found, failures(problems)...)
	} else if err != nil {
		return err
	}
	known, err := catalog.Open()
	if err != nil {
		return err
	}
	for _, doc := range docs {
		_, err := behalf.Compile(doc.Definition)
		found = append(found, failures(doc.Problems(err))...)
		for _, w := range behalf.Lint(doc.Definition, known.Known(doc.Definition)) {
			at := doc.At(w.Field)
			found = append(found, lintFinding{doc.File, at.Line, at.Column, "warning", w.Field, string(w.Code), w.Message, w.Fix})
		}
	}
	slices.SortStableFunc(found, func(a, b lintFinding) int { return strings.Compare(a.File, b.File) })
	return c.report(found)
}

func failures(problems profilefile.Problems) (out []lintFinding) {
	for _, p := range problems {
		out = append(out, lintFinding{p.File, p.Line, p.Column, "error", p.Field, "", p.Message, ""})
	}
	return out
}

func (c *lintCommand) report(found []lintFinding) error {
	counts := map[string]int{}
	for _, f := range found {
		counts[f.Severity]++
	}
	switch {
	case c.JSON && found == nil:
		fmt.Println("[]")
	case c.JSON:
		if err := printJSON(found); err != nil {
			return err
		}
	default:
		for _, f := range found {
			field := f.Field
			if field != "" {
				field += ": "
			}
			fmt.Printf("%s:%d:%d: %s: %s%s\n", f.File, f.Line, f.Column, f.Severity, field, f.Message)
			if f.Fix != "" {
				fmt.Println("    " + f.Fix)
			}
		}
	}
	if n := counts["error"]; n > 0 || c.Strict && counts["warning"] > 0 {
		return fmt.Errorf("%s, %s", counted(int64(n), "error", "errors"), counted(int64(counts["warning"]), "warning", "warnings"))
	}
	return nil
}

type discoverCommand struct {
	remote
	Address string `arg:"" help:"An issuer, its metadata's URL, a protected resource's URL, or any page of the application." name:"url"`
	JSON    bool   `help:"Print everything that was found." name:"json"`
}

// Run prints what a server publishes of itself as a profile file to go on from.
func (c *discoverCommand) Run(ctx context.Context) error {
	var out struct {
		Definition      behalf.Definition `json:"definition"`
		ScopesSupported []string          `json:"scopes_supported"`
		Notes           []behalf.Note     `json:"notes"`
		Tried           []struct{ Form, URL, Outcome string }
	}
	if c.JSON {
		var all map[string]any
		if err := c.do(ctx, http.MethodPost, "/v1/discover", map[string]string{"url": c.Address}, &all); err != nil {
			return err
		}
		return printJSON(all)
	}
	if err := c.do(ctx, http.MethodPost, "/v1/discover", map[string]string{"url": c.Address}, &out); err != nil {
		return err
	}
	for _, n := range out.Notes {
		fmt.Printf("# %s: %s\n", n.Field, n.Message)
	}
	if len(out.ScopesSupported) > 0 {
		fmt.Println("# scopes that it offers: " + strings.Join(out.ScopesSupported, " "))
	}
	text, err := profilefile.Format(out.Definition)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}
