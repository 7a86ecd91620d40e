package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
)

type testCommand struct {
	remote
	Profile  string            `arg:"" help:"Authorization profile, by id or slug."`
	Tenant   string            `help:"The organization at the provider, where the profile has tenancy."`
	Field    map[string]string `help:"Value of an additional field, as KEY=VALUE. May be repeated." short:"f"`
	Variable map[string]string `help:"A variable as the assistant would send it, as context.NAME=VALUE. May be repeated."`
	Quick    bool              `help:"Without a person: whether the addresses answer, and whether client id and secret are right."`
	Open     bool              `help:"Open the link in this machine's browser."`
	History  bool              `help:"List the tests so far instead of testing." xor:"what"`
	Show     string            `help:"Print a test of before, by its id." placeholder:"TRIAL" xor:"what"`
	Curl     bool              `help:"Print each request as a curl command too."`
	JSON     bool              `help:"Print JSON." name:"json"`
}

// trial is a test as the server tells it.
type trial struct {
	ID        string      `json:"id"`
	Status    string      `json:"status"`
	Result    string      `json:"result"`
	URL       string      `json:"url"`
	Quick     bool        `json:"quick"`
	Steps     []trialStep `json:"steps"`
	CreatedAt time.Time   `json:"created_at"`
}

type trialStep struct {
	Title    string                `json:"title"`
	Status   string                `json:"status"`
	TookMS   int64                 `json:"took_ms"`
	Detail   string                `json:"detail"`
	Cause    string                `json:"cause"`
	Fix      string                `json:"fix"`
	Who      string                `json:"who"`
	Curl     string                `json:"curl"`
	Response *struct{ Status int } `json:"response"`
}

var errTestFailed = errors.New("the test failed")

// Run tests a profile and waits for what comes of it.
func (c *testCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	base += "/profiles/" + url.PathEscape(c.Profile) + "/trials"
	switch {
	case c.History:
		return c.history(ctx, base)
	case c.Show != "":
		return c.end(ctx, base, c.Show, 0)
	}
	in := map[string]any{"quick": c.Quick}
	if c.Tenant != "" {
		in["tenant"] = c.Tenant
	}
	if len(c.Field) > 0 {
		in["fields"] = c.Field
	}
	if len(c.Variable) > 0 {
		sent, err := contextObject(c.Variable)
		if err != nil {
			return err
		}
		in["variables"] = sent
	}
	var t trial
	if err := c.do(ctx, http.MethodPost, base, in, &t); err != nil {
		return filled(err)
	}
	if t.URL == "" {
		return c.end(ctx, base, t.ID, 0)
	}
	link := os.Stdout
	if c.JSON {
		link = os.Stderr // standard output is for the outcome
	}
	if _, err := fmt.Fprintf(link, "Open this link and go through with it, as a person would; nothing of it is kept:\n  %s\n\n", t.URL); err != nil {
		return err
	}
	if c.Open {
		open(t.URL)
	}
	shown, err := c.follow(ctx, base+"/"+t.ID)
	if err != nil {
		return err
	}
	return c.end(ctx, base, t.ID, shown)
}

// filled adds to what a test needs to know where it is entered.
func filled(err error) error {
	p := (*remoteProblem)(nil)
	if !errors.As(err, &p) || p.Code != string(behalf.CodeInvalid) || len(p.Errors) == 0 {
		return err
	}
	return fmt.Errorf("%w\nThe organization is --tenant NAME, a field --field KEY=VALUE, a variable of the session --variable context.NAME=VALUE", err)
}

// follow prints each step when it is done, until the test has ended. It returns
// how many it has printed.
func (c *testCommand) follow(ctx context.Context, path string) (int, error) {
	req, err := c.request(ctx, http.MethodGet, path+"/events", nil)
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, unreachable(c.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return 0, readProblem(res)
	}
	shown := 0
	in := bufio.NewReader(res.Body)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return shown, nil
		}
		if err != nil {
			return shown, fmt.Errorf("the server broke off: %w", err)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var t trial
		if err := json.Unmarshal([]byte(data), &t); err != nil {
			return shown, fmt.Errorf("%s does not answer like a Behalf server", c.URL)
		}
		for shown < len(t.Steps) && t.Steps[shown].Status != "running" {
			c.print(t.Steps[shown])
			shown++
		}
	}
}

// end prints what has not been printed yet, and fails where the test did.
func (c *testCommand) end(ctx context.Context, base, id string, shown int) error {
	var raw json.RawMessage
	if err := c.do(ctx, http.MethodGet, base+"/"+url.PathEscape(id), nil, &raw); err != nil {
		return err
	}
	var t trial
	if err := json.Unmarshal(raw, &t); err != nil {
		return fmt.Errorf("%s does not answer like a Behalf server", c.URL)
	}
	switch {
	case c.JSON:
		if err := printJSON(raw); err != nil {
			return err
		}
	default:
		for _, s := range t.Steps[min(shown, len(t.Steps)):] {
			c.print(s)
		}
		fmt.Printf("\n%s (%s)\n", t.Result, t.ID)
	}
	if t.Status == "failed" {
		return errTestFailed
	}
	return nil
}

var stepMarks = map[string]string{"passed": "ok  ", "failed": "FAIL", "left": "left", "running": "... "}

func (c *testCommand) print(s trialStep) {
	if c.JSON {
		return
	}
	fmt.Printf("%s  %-26s", stepMarks[s.Status], s.Title)
	if s.Response != nil {
		fmt.Printf("  %d", s.Response.Status)
	}
	if s.TookMS > 0 {
		fmt.Printf("  %d ms", s.TookMS)
	}
	fmt.Println()
	for _, line := range []struct{ label, text string }{{"", s.Detail}, {"Cause: ", s.Cause}, {"Fix:   ", s.Fix}, {"Who:   ", s.Who}} {
		if line.text != "" {
			fmt.Printf("      %s%s\n", line.label, line.text)
		}
	}
	if c.Curl && s.Curl != "" {
		fmt.Println("      " + strings.ReplaceAll(s.Curl, "\n", "\n      "))
	}
}

func (c *testCommand) history(ctx context.Context, base string) error {
	var list struct {
		Items []trial `json:"items"`
	}
	if err := c.do(ctx, http.MethodGet, base, nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list.Items)
	}
	if len(list.Items) == 0 {
		fmt.Println("This profile has not been tested yet.")
	}
	for _, t := range list.Items {
		kind, cause := "test", ""
		if t.Quick {
			kind = "quick"
		}
		for _, s := range t.Steps {
			if s.Status == "failed" {
				cause = "  " + s.Cause
			}
		}
		fmt.Printf("%s  %s  %-5s  %-7s%s\n", t.ID, t.CreatedAt.Local().Format("2006-01-02 15:04"), kind, t.Status, cause)
	}
	return nil
}

// open shows a link in this machine's browser, where it has one; the link
// stands on the screen in any case.
func open(link string) {
	name, args := "xdg-open", []string{link}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", link}
	}
	_ = exec.Command(name, args...).Start()
}
