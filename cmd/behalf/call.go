package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
)

type callCommand struct {
	remote
	whose
	Path    string   `arg:"" help:"Path below the profile's API base URL, with a query if need be."`
	Method  string   `help:"HTTP method (default GET, or POST with data)." short:"X"`
	Data    string   `help:"Body, @FILE, or @- for standard input." short:"d"`
	Header  []string `help:"Header, as in 'Accept: text/csv'. May be repeated." short:"H" sep:"none"`
	Include bool     `help:"Print the answer's status and headers too." short:"i"`
}

// Run sends one call and prints the application's answer as it comes.
func (c *callCommand) Run(ctx context.Context) error {
	req, err := c.build(ctx)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return unreachable(c.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.Header.Get("Behalf-Error") != "" {
		return readProblem(res)
	}
	if c.Include {
		fmt.Println(res.Proto, res.Status)
		if err := res.Header.Write(os.Stdout); err != nil {
			return err
		}
		fmt.Println()
	}
	if _, err := io.Copy(os.Stdout, res.Body); err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("the application answered %s", res.Status)
	}
	return nil
}

func (c *callCommand) build(ctx context.Context) (*http.Request, error) {
	if c.Profile == "" {
		return nil, errors.New("name the profile with --profile")
	}
	base, err := c.assistant(ctx)
	if err != nil {
		return nil, err
	}
	body, method, err := c.body()
	if err != nil {
		return nil, err
	}
	path := strings.ReplaceAll(strings.TrimPrefix(c.Path, "/"), " ", "%20") // as people type it; net/http would send it so
	req, err := c.request(ctx, method, base+"/proxy/"+url.PathEscape(c.Profile)+"/"+path, body)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"Behalf-User": c.User, "Behalf-Tenant": c.Tenant, "Behalf-Connection": c.Connection} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if c.Data != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range c.Header {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New("a header looks like 'Name: value'")
		}
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return req, nil
}

// methods is what a method consists of (RFC 9110 §5.6.2).
var methods = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (c *callCommand) body() (io.Reader, string, error) {
	method := c.Method
	if method == "" {
		method = http.MethodGet
		if c.Data != "" {
			method = http.MethodPost
		}
	}
	if !methods.MatchString(method) {
		return nil, "", errors.New("this is not a method: --method is one such as GET or POST")
	}
	switch name, isFile := strings.CutPrefix(c.Data, "@"); {
	case c.Data == "":
		return nil, method, nil
	case isFile && name == "-":
		return os.Stdin, method, nil
	case isFile:
		content, err := os.ReadFile(name)
		return strings.NewReader(string(content)), method, err
	}
	return strings.NewReader(c.Data), method, nil
}
