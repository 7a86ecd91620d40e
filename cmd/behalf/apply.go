package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/profilefile"
)

type applyCommand struct {
	remote
	Files  []string `help:"Profile file, directory of them, or - for standard input. May be repeated." short:"f" name:"file" required:"" sep:"none" placeholder:"PATH"`
	DryRun bool     `help:"Check everything, show the difference, and change nothing."`
	Prune  bool     `help:"Delete the assistant's profiles that are in none of the files."`
	JSON   bool     `help:"Print JSON." name:"json"`
}

// Run brings the assistant's profiles into the state of the files.
func (c *applyCommand) Run(ctx context.Context) error {
	docs, err := readProfiles(c.Files)
	if err != nil {
		return err
	}
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	body, missing, err := c.body(docs)
	if err != nil {
		return err
	}
	before, err := c.profiles(ctx, base)
	if err != nil {
		return err
	}
	var out applied
	if err := c.do(ctx, http.MethodPut, base+"/profiles", body, &out); err != nil {
		return placed(err, docs)
	}
	if c.JSON {
		return printJSON(out)
	}
	return c.report(out, docs, before, missing)
}

type applied struct {
	Changes []struct {
		Action string `json:"action"`
		Slug   string `json:"slug"`
		Name   string `json:"name"`
		Was    string `json:"was,omitempty"`
	} `json:"changes"`
}

type appliedProfile struct {
	Was string `json:"was,omitempty"`
	behalf.Definition
	ClientSecret string `json:"client_secret,omitempty"`
}

// body checks the documents and puts the secrets in that they name. A dry run
// does without those that are not there.
func (c *applyCommand) body(docs []profilefile.Document) (in map[string]any, missing []string, err error) {
	var wrong profilefile.Problems
	list := []appliedProfile{}
	for _, doc := range docs {
		d, client, err := profilefile.Fill(doc.Definition, func(from string) (string, string) {
			value, problem := fetchSecret(from)
			if problem != "" && c.DryRun {
				missing = append(missing, from)
				return "", ""
			}
			return value, problem
		})
		if err == nil {
			_, err = behalf.Compile(d)
		}
		wrong = append(wrong, doc.Problems(err)...)
		list = append(list, appliedProfile{Was: slugOfFile(doc.File), Definition: d, ClientSecret: client})
	}
	if len(wrong) > 0 {
		return nil, nil, fmt.Errorf("nothing was changed\n%w", wrong)
	}
	return map[string]any{"profiles": list, "prune": c.Prune, "dry_run": c.DryRun}, missing, nil
}

// fetchSecret returns what env:NAME or file:/path holds, or a sentence that says
// why it cannot.
func fetchSecret(from string) (value, problem string) {
	if name, ok := strings.CutPrefix(from, "env:"); ok {
		value := os.Getenv(name)
		if value == "" {
			return "", fmt.Sprintf("The environment variable %s is not set.", name)
		}
		return value, ""
	}
	content, err := os.ReadFile(strings.TrimPrefix(from, "file:"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "There is no such file."
	case err != nil:
		return "", "The file cannot be read."
	}
	return strings.TrimRight(string(content), "\r\n"), ""
}

// readProfiles reads files, and the .yaml, .yml and .json files of directories.
func readProfiles(paths []string) ([]profilefile.Document, error) {
	var docs []profilefile.Document
	var wrong profilefile.Problems
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := readFile(file)
			if err != nil {
				return nil, err
			}
			some, err := profilefile.Parse(file, data)
			if problems := profilefile.Problems(nil); errors.As(err, &problems) {
				wrong = append(wrong, problems...)
			}
			docs = append(docs, some...)
		}
	}
	if len(wrong) > 0 {
		return docs, fmt.Errorf("nothing was changed\n%w", wrong)
	}
	return docs, nil
}

func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case path == "-":
		return []string{path}, nil
	case err != nil:
		return nil, fmt.Errorf("there is no file or directory %s", path)
	case !info.IsDir():
		return []string{path}, nil
	}
	var files []string
	for _, pattern := range []string{"*.yaml", "*.yml", "*.json"} {
		some, err := filepath.Glob(filepath.Join(path, pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, some...)
	}
	slices.Sort(files)
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no .yaml, .yml or .json file", path)
	}
	return files, nil
}

func readFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, 8<<20))
	}
	return os.ReadFile(path)
}

// slugOfFile returns the slug that a file's profile had when it was exported.
func slugOfFile(file string) string {
	name := filepath.Base(file)
	return behalf.Slug(strings.TrimSuffix(name, filepath.Ext(name)))
}

// profiles returns the definitions of all profiles by slug.
func (r *remote) profiles(ctx context.Context, base string) (map[string]remoteProfile, error) {
	all := map[string]remoteProfile{}
	cursor := ""
	for {
		var page struct {
			Items      []remoteProfile `json:"items"`
			NextCursor string          `json:"next_cursor"`
		}
		if err := r.do(ctx, http.MethodGet, base+"/profiles?limit=200"+cursor, nil, &page); err != nil {
			return nil, err
		}
		for _, p := range page.Items {
			all[p.Slug] = p
		}
		if page.NextCursor == "" {
			return all, nil
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

type remoteProfile struct {
	Slug string `json:"slug"`
	behalf.Definition
	ClientSecretSet bool     `json:"client_secret_set"`
	SecretsSet      []string `json:"secrets_set"`
}

var indexedProfile = regexp.MustCompile(`^(?:body\.)?profiles\[(\d+)\]\.?(.*)$`)

// placed puts the places of the files to the fields of a problem.
func placed(err error, docs []profilefile.Document) error {
	p := (*remoteProblem)(nil)
	if !errors.As(err, &p) || len(p.Errors) == 0 {
		return err
	}
	var wrong profilefile.Problems
	for _, e := range p.Errors {
		m := indexedProfile.FindStringSubmatch(e.Field)
		if m == nil {
			return err
		}
		i, _ := strconv.Atoi(m[1])
		if i >= len(docs) {
			return err
		}
		wrong = append(wrong, profilefile.Problem{File: docs[i].File, Place: docs[i].At(m[2]), Field: m[2], Message: e.Detail})
	}
	return fmt.Errorf("nothing was changed\n%w", wrong)
}

var signs = map[string]string{"create": "+", "update": "~", "delete": "-"}

// report prints what was changed, or would be, as a difference of files.
func (c *applyCommand) report(out applied, docs []profilefile.Document, before map[string]remoteProfile, missing []string) error {
	after := map[string]behalf.Definition{}
	for _, d := range docs {
		after[behalf.Slug(d.Definition.Name)] = d.Definition
	}
	counts := map[string]int{}
	for _, ch := range out.Changes {
		counts[ch.Action]++
		if ch.Action == "unchanged" {
			continue
		}
		fmt.Printf("%s %s (%s)\n", signs[ch.Action], ch.Name, ch.Slug)
		if ch.Action != "update" {
			continue
		}
		was := ch.Was
		if was == "" {
			was = ch.Slug
		}
		old, err := profilefile.Format(before[was].Definition)
		if err != nil {
			return err
		}
		now, err := profilefile.Format(after[ch.Slug])
		if err != nil {
			return err
		}
		text := diff.Diff("now", old, "file", now)
		if len(text) == 0 {
			fmt.Println("    a secret has another value")
		}
		for _, line := range strings.Split(strings.TrimSpace(string(body(text))), "\n") {
			if line != "" {
				fmt.Println("    " + line)
			}
		}
	}
	for _, from := range missing {
		fmt.Printf("! %s is not there; a dry run does without it\n", from)
	}
	verb := "Changed"
	if c.DryRun {
		verb = "Would be changed"
	}
	if counts["delete"] > 0 && !c.DryRun {
		fmt.Println("What was deleted can be restored for 30 days: behalf profiles list --deleted")
	}
	fmt.Printf("%s: %d created, %d updated, %d deleted; %d unchanged.\n", verb, counts["create"], counts["update"], counts["delete"], counts["unchanged"])
	return nil
}

// body takes off the three lines that name the files of a difference.
func body(text []byte) []byte {
	for range 3 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}

type exportCommand struct {
	remote
	Profiles  []string `arg:"" optional:"" help:"Profiles by slug (default: all)." name:"profile"`
	Directory string   `help:"Write a file for each into this directory, instead of all to standard output." short:"o" name:"output" placeholder:"DIR"`
}

// Run writes profiles as files that apply takes. Secrets are never in them.
func (c *exportCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	all, err := c.profiles(ctx, base)
	if err != nil {
		return err
	}
	var slugs []string
	for slug := range all {
		if len(c.Profiles) == 0 || slices.Contains(c.Profiles, slug) {
			slugs = append(slugs, slug)
		}
	}
	for _, want := range c.Profiles {
		if _, ok := all[want]; !ok {
			return fmt.Errorf("there is no profile %s", want)
		}
	}
	slices.Sort(slugs)
	if c.Directory != "" {
		if err := os.MkdirAll(c.Directory, 0o755); err != nil {
			return err
		}
	}
	for i, slug := range slugs {
		if err := c.write(all[slug], i == 0); err != nil {
			return err
		}
	}
	return nil
}

func (c *exportCommand) write(p remoteProfile, first bool) error {
	text, err := profilefile.Format(p.Definition)
	if err != nil {
		return err
	}
	if p.ClientSecretSet && p.ClientSecretFrom == "" {
		fmt.Fprintf(os.Stderr, "%s has a client secret, which is not exported. Name where it comes from to carry it elsewhere: client_secret: env:%s_SECRET\n",
			p.Slug, strings.ToUpper(strings.ReplaceAll(p.Slug, "-", "_")))
	}
	if c.Directory != "" {
		return os.WriteFile(filepath.Join(c.Directory, p.Slug+".yaml"), text, 0o644)
	}
	if !first {
		fmt.Println("---")
	}
	_, err = os.Stdout.Write(text)
	return err
}
