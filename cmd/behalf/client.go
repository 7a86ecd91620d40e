package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
)

// remote is how a command reaches a running server.
type remote struct {
	URL       string     `help:"Base URL of the server." default:"http://127.0.0.1:8788" env:"BEHALF_URL"`
	Key       secretFlag `help:"Key, or file:PATH to it." required:"" env:"BEHALF_KEY" placeholder:"KEY"`
	Assistant string     `help:"Assistant, by id or slug (default: the key's own, or the only one)." env:"BEHALF_ASSISTANT"`
}

// request is one call of our own API.
func (r *remote) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	if u, err := url.Parse(r.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the server's URL is not valid: --url or BEHALF_URL is one such as https://behalf.example.com")
	}
	if !strings.HasPrefix(r.Key.Reveal(), behalf.KeyPrefix) {
		return nil, errors.New("this is not a key: what --key or BEHALF_KEY holds, or the file that it names, begins with " + behalf.KeyPrefix)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.URL, "/")+path, body)
	if err != nil {
		return nil, errors.New("this is not a path of a URL: write what is special in it as %XX")
	}
	req.Header.Set("Authorization", "Bearer "+r.Key.Reveal())
	return req, nil
}

// do sends in as JSON and reads the answer into out; either may be nil.
func (r *remote) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	req, err := r.request(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return unreachable(r.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 300 {
		return readProblem(res)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 8<<20)).Decode(out); err != nil {
		return fmt.Errorf("%s does not answer like a Behalf server", r.URL)
	}
	return nil
}

var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// remoteProblem is a problem document, as far as people want to read it.
type remoteProblem struct {
	Code       string `json:"code"`
	Title      string `json:"title"`
	Detail     string `json:"detail"`
	Field      string `json:"field"`
	ConnectURL string `json:"connect_url"`
	Errors     []struct{ Field, Detail string }
}

func (p *remoteProblem) Error() string {
	var b strings.Builder
	b.WriteString(p.Title)
	if p.Detail != "" && len(p.Errors) == 0 {
		b.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		b.WriteString("\n  " + e.Field + ": " + e.Detail)
	}
	if p.ConnectURL != "" {
		b.WriteString("\nShow this link to the end user: " + p.ConnectURL)
	}
	return b.String()
}

func readProblem(res *http.Response) error {
	p := &remoteProblem{}
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(p) != nil || p.Code == "" {
		server := res.Request.URL.Scheme + "://" + res.Request.URL.Host
		if to, err := res.Location(); err == nil {
			return fmt.Errorf("the server answered %s, which leads to %s://%s: is %s the address of a Behalf server?", res.Status, to.Scheme, to.Host, server)
		}
		return fmt.Errorf("the server answered %s and not as Behalf does: is %s the address of a Behalf server?", res.Status, server)
	}
	return p
}

// assistant returns the path of the assistant that is meant.
func (r *remote) assistant(ctx context.Context) (string, error) {
	if r.Assistant != "" {
		return "/v1/assistants/" + url.PathEscape(r.Assistant), nil
	}
	var list struct{ Items []struct{ ID, Slug string } }
	if err := r.do(ctx, http.MethodGet, "/v1/assistants?limit=10", nil, &list); err != nil {
		return "", err
	}
	var names []string
	for _, a := range list.Items {
		names = append(names, a.Slug)
	}
	switch len(names) {
	case 0:
		return "", errors.New("there is no assistant yet: make one in the console, or by POST /v1/assistants")
	case 1:
		return "/v1/assistants/" + list.Items[0].ID, nil
	}
	return "", fmt.Errorf("name the assistant with --assistant or BEHALF_ASSISTANT: this key reaches %s", strings.Join(names, ", "))
}

// whose says on whose behalf.
type whose struct {
	Profile    string `help:"Authorization profile, by id or slug." short:"p"`
	User       string `help:"The assistant's id of the end user." short:"u"`
	Tenant     string `help:"The person's organization at the provider."`
	Connection string `help:"A connection, instead of profile and user."`
}

type connectCommand struct {
	remote
	Profile         string        `help:"Authorization profile, by id or slug." short:"p" required:""`
	User            string        `help:"The assistant's id of the end user; left out for a profile that is authorized once for all users." short:"u"`
	UserName        string        `help:"What the page calls the person."`
	Tenant          string        `help:"The person's organization at the provider."`
	ReturnURL       string        `help:"Where the browser goes afterwards." name:"return-url"`
	FinishChallenge string        `help:"Challenge, where the assistant finishes its connections."`
	Wait            bool          `help:"Wait until the person is done, and print the outcome." negatable:"" default:"true"`
	JSON            bool          `help:"Print JSON." name:"json"`
	For             time.Duration `help:"How long the link is good." default:"15m"`
}

// Run prints a link and waits for what becomes of it.
func (c *connectCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	in := map[string]any{"profile": c.Profile, "expires_in": int(c.For.Seconds())}
	for key, value := range map[string]string{"user": c.User, "user_name": c.UserName, "tenant": c.Tenant, "return_url": c.ReturnURL, "finish_challenge": c.FinishChallenge} {
		if value != "" {
			in[key] = value
		}
	}
	var s session
	if err := c.do(ctx, http.MethodPost, base+"/connect-sessions", in, &s); err != nil {
		return err
	}
	switch {
	case c.JSON && !c.Wait:
		return printJSON(s)
	case !c.JSON:
		fmt.Printf("Open this link, good until %s:\n  %s\n", s.ExpiresAt.Local().Format("15:04"), s.URL)
	}
	if !c.Wait {
		return nil
	}
	return c.wait(ctx, base, s)
}

type session struct {
	ID         string    `json:"id"`
	URL        string    `json:"url,omitempty"`
	Status     string    `json:"status"`
	Connection string    `json:"connection,omitempty"`
	ExpiresAt  time.Time `json:"expires_at"`
	Problem    *struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Fix    string `json:"fix,omitempty"`
	} `json:"problem,omitempty"`
}

func (c *connectCommand) wait(ctx context.Context, base string, s session) error {
	link := s.URL
	for s.Status == "waiting" {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		if err := c.do(ctx, http.MethodGet, base+"/connect-sessions/"+s.ID, nil, &s); err != nil {
			return err
		}
	}
	s.URL = link
	if c.JSON {
		return printJSON(s)
	}
	switch {
	case s.Status == "connected":
		fmt.Println("Connected:", s.Connection)
	case s.Status == "pending":
		fmt.Println("The person authorized; the assistant's backend must finish the session now.")
	case s.Problem != nil:
		return fmt.Errorf("%s: %s %s", s.Status, s.Problem.Detail, s.Problem.Fix)
	default:
		return errors.New(s.Status)
	}
	return nil
}

type tokenCommand struct {
	remote
	whose
	JSON bool `help:"Print everything that is known of the token." name:"json"`
}

// Run prints the access token alone, so that it can be used in a pipe.
func (c *tokenCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	in := map[string]string{}
	for key, value := range map[string]string{"profile": c.Profile, "user": c.User, "tenant": c.Tenant, "connection": c.Connection} {
		if value != "" {
			in[key] = value
		}
	}
	var out map[string]any
	if err := c.do(ctx, http.MethodPost, base+"/token", in, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	_, err = fmt.Println(out["access_token"])
	return err
}
