package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

type connectionsCommand struct {
	List        listConnectionsCommand   `cmd:"" help:"List connections."`
	Generations listGenerationsCommand   `cmd:"" help:"List the last generations of a connection's credential."`
	Restore     restoreGenerationCommand `cmd:"" help:"Put an earlier generation of a connection's credential in force again."`
}

// connection is one as the server tells it.
type connection struct {
	ID      string `json:"id"`
	Profile string `json:"profile"`
	User    string `json:"user"`
	Tenant  string `json:"tenant,omitempty"`
	Account struct {
		Subject string `json:"subject,omitempty"`
		Label   string `json:"label,omitempty"`
	} `json:"account"`
	Status     string     `json:"status"`
	Reason     string     `json:"reason,omitempty"`
	Default    bool       `json:"default"`
	Generation int64      `json:"generation"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

type listConnectionsCommand struct {
	remote
	Profile string `help:"Only those of this profile, by id or slug." short:"p"`
	User    string `help:"Only those of this user." short:"u"`
	Status  string `help:"Only those in this state: active, lapsed or revoked." enum:",active,lapsed,revoked" default:""`
	JSON    bool   `help:"Print JSON, one connection a line." name:"json"`
}

// Run prints a line for each connection.
func (c *listConnectionsCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	q := url.Values{"limit": {"200"}}
	for key, value := range map[string]string{"profile": c.Profile, "user": c.User, "status": c.Status} {
		if value != "" {
			q.Set(key, value)
		}
	}
	for {
		var page struct {
			Items      []connection `json:"items"`
			NextCursor string       `json:"next_cursor"`
		}
		if err := c.do(ctx, http.MethodGet, base+"/connections?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		for _, one := range page.Items {
			if err := one.print(c.JSON); err != nil {
				return err
			}
		}
		if page.NextCursor == "" {
			return nil
		}
		q.Set("cursor", page.NextCursor)
	}
}

func (c connection) print(asJSON bool) error {
	if asJSON {
		return printJSON(c)
	}
	_, err := fmt.Printf("%s  %-16s  %-24s  %s\n", c.ID, c.User, cmp.Or(c.Account.Label, c.Account.Subject, "(not told)"), c.Status)
	return err
}

type listGenerationsCommand struct {
	remote
	Connection string `arg:"" help:"Id of the connection."`
	JSON       bool   `help:"Print JSON, one generation a line." name:"json"`
}

// generation is one as the server tells it.
type generation struct {
	ID         string     `json:"id"`
	Generation int64      `json:"generation"`
	Origin     string     `json:"origin"`
	ObtainedAt time.Time  `json:"obtained_at"`
	KeptAt     *time.Time `json:"kept_at,omitempty"`
	Current    bool       `json:"current"`
	Stray      bool       `json:"stray"`
}

// Run prints a line for each generation, the newest first.
func (c *listGenerationsCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	var list struct{ Items []generation }
	if err := c.do(ctx, http.MethodGet, base+"/connections/"+url.PathEscape(c.Connection)+"/generations", nil, &list); err != nil {
		return err
	}
	for _, g := range list.Items {
		if err := g.print(c.JSON); err != nil {
			return err
		}
	}
	return nil
}

func (g generation) print(asJSON bool) error {
	if asJSON {
		return printJSON(g)
	}
	state := ""
	switch {
	case g.Current:
		state = "in force"
	case g.Stray:
		state = "stray: it never was in force"
	}
	_, err := fmt.Printf("%-8s  %-8s  %s  %s\n", g.ID, g.Origin, g.ObtainedAt.Local().Format("2006-01-02 15:04:05"), state)
	return err
}

type restoreGenerationCommand struct {
	remote
	Connection string `arg:"" help:"Id of the connection."`
	Generation string `arg:"" help:"Id of the generation, or its number."`
	JSON       bool   `help:"Print JSON." name:"json"`
}

// Run restores a generation as the next one.
func (c *restoreGenerationCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	var out connection
	path := base + "/connections/" + url.PathEscape(c.Connection) + "/generations/" + url.PathEscape(c.Generation) + "/restore"
	if err := c.do(ctx, http.MethodPost, path, nil, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	_, err = fmt.Printf("Generation %s is in force again, as generation %d; the connection is %s.\n", c.Generation, out.Generation, out.Status)
	return err
}
