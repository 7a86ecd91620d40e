package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"

	"github.com/behalf-dev/behalf/internal/secret"
)

// yamlFile reads flags from a YAML file, by their names with underscores:
// public_url: https://behalf.example.com. The order is flag, environment, file,
// default; kong would put the file before the environment.
func yamlFile(r io.Reader) (kong.Resolver, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.UnmarshalWithOptions(raw, &values, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("configuration file: %s", yaml.FormatError(err, false, false))
	}
	asJSON, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	flags, err := kong.JSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	return &fileResolver{flags: flags, values: values}, nil
}

type fileResolver struct {
	flags  kong.Resolver
	values map[string]any
}

// Validate refuses keys that name no flag of any command: a misspelt setting
// must not be passed over.
func (f *fileResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, flag := range n.Flags {
			known[strings.ReplaceAll(flag.Name, "-", "_")] = true
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(app.Node)
	for key := range f.values {
		if !known[key] {
			return fmt.Errorf("configuration file: there is no setting %q", key)
		}
	}
	return nil
}

func (f *fileResolver) Resolve(c *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	return f.flags.Resolve(c, parent, flag)
}

// secretFlag is a secret given as it is, or as file:/path to it.
type secretFlag struct{ secret.Text }

func (s *secretFlag) UnmarshalText(b []byte) error {
	value := string(b)
	if path, ok := strings.CutPrefix(value, "file:"); ok {
		content, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return errors.New("there is no such file as the one that it names")
		case err != nil:
			return errors.New("the file that it names cannot be read") // not its name: it may be the secret itself
		}
		value = strings.TrimSpace(string(content))
	}
	s.Text = secret.New(value)
	return nil
}
