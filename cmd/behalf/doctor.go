package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/server"
)

type doctorCommand struct {
	storage
	PublicURL string `help:"URL by which browsers and providers reach the server." name:"public-url" env:"BEHALF_PUBLIC_URL"`
	JSON      bool   `help:"Print JSON." name:"json"`
}

// finding is one thing that was checked.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Run checks without changing anything, and fails where anything is wrong.
func (c *doctorCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	log, err := newLog("error")
	if err != nil {
		return err
	}
	var found []finding
	for _, f := range server.Examine(ctx, c.config(log)) {
		found = append(found, finding{f.Check, f.Err == nil, detail(f.Detail, f.Err)})
	}
	found = append(found, c.publicURL(ctx))
	bad := 0
	for _, f := range found {
		if !f.OK {
			bad++
		}
	}
	if err := c.print(found); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(found))
	}
	return nil
}

func (c *doctorCommand) print(found []finding) error {
	if c.JSON {
		return printJSON(found)
	}
	for _, f := range found {
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
		}
		if _, err := fmt.Printf("%s  %-12s  %s\n", mark, f.Check, f.Detail); err != nil {
			return err
		}
	}
	return nil
}

func detail(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// publicURL asks the server for itself, the way that a browser would.
func (c *doctorCommand) publicURL(ctx context.Context) finding {
	f := finding{Check: "public URL"}
	if c.PublicURL == "" {
		f.OK, f.Detail = true, "not set: only browsers on this machine can use the server"
		return f
	}
	err := answers(ctx, strings.TrimSuffix(c.PublicURL, "/")+"/healthz")
	f.OK, f.Detail = err == nil, detail("a Behalf server answers there", err)
	return f
}

func answers(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("it is not a valid URL")
	}
	res, err := client.Do(req)
	if err != nil {
		return unreachable(strings.TrimSuffix(address, "/healthz"), err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 100))
	if err != nil || res.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != "ok" {
		return fmt.Errorf("something else answers there (%s)", res.Status)
	}
	return nil
}
