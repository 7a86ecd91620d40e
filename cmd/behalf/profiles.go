package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type profilesCommand struct {
	List    listProfilesCommand   `cmd:"" help:"List authorization profiles."`
	Delete  deleteProfileCommand  `cmd:"" help:"Stop a profile at once; it can be restored for 30 days."`
	Restore restoreProfileCommand `cmd:"" help:"Restore a profile that was deleted."`
}

type listProfilesCommand struct {
	remote
	Deleted bool `help:"Those that were deleted, instead."`
	JSON    bool `help:"Print JSON." name:"json"`
}

type listedProfile struct {
	ID              string     `json:"id"`
	Slug            string     `json:"slug"`
	Name            string     `json:"name"`
	Status          string     `json:"status"`
	DeletedAt       *time.Time `json:"deleted_at,omitempty"`
	RestorableUntil *time.Time `json:"restorable_until,omitempty"`
}

// Run prints a line for each profile.
func (c *listProfilesCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	query := "?limit=200"
	if c.Deleted {
		query += "&deleted=true"
	}
	for cursor := ""; ; {
		var page struct {
			Items      []listedProfile `json:"items"`
			NextCursor string          `json:"next_cursor"`
		}
		if err := c.do(ctx, http.MethodGet, base+"/profiles"+query+cursor, nil, &page); err != nil {
			return err
		}
		for _, p := range page.Items {
			if err := p.print(c.JSON); err != nil {
				return err
			}
		}
		if page.NextCursor == "" {
			return nil
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

func (p listedProfile) print(asJSON bool) error {
	if asJSON {
		return printJSON(p)
	}
	state := p.Status
	if p.RestorableUntil != nil {
		state = "deleted, restorable until " + p.RestorableUntil.Local().Format(time.DateOnly)
	}
	_, err := fmt.Printf("%s  %-32s  %s (%s)\n", p.ID, p.Slug, p.Name, state)
	return err
}

type deleteProfileCommand struct {
	remote
	Profile string `arg:"" help:"Id or slug."`
	DryRun  bool   `help:"Only say where it is used."`
	AtOnce  bool   `help:"Revoke its connections at the provider now: it cannot be restored then."`
	JSON    bool   `help:"Print JSON." name:"json"`
}

type deletedProfile struct {
	listedProfile
	Uses struct {
		Connections struct {
			Active int64 `json:"active"`
			Lapsed int64 `json:"lapsed"`
		} `json:"connections"`
		Users        int64    `json:"users"`
		ConnectLinks int64    `json:"connect_links"`
		Variables    []string `json:"variables"`
		Connector    string   `json:"connector,omitempty"`
	} `json:"uses"`
}

// Run deletes a profile and says what that means for whom.
func (c *deleteProfileCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	var out deletedProfile
	path := fmt.Sprintf("%s/profiles/%s?dry_run=%t&at_once=%t", base, url.PathEscape(c.Profile), c.DryRun, c.AtOnce)
	if err := c.do(ctx, http.MethodDelete, path, nil, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out)
	}
	out.report()
	switch {
	case c.DryRun:
		fmt.Println("Nothing was changed.")
	case out.RestorableUntil != nil:
		fmt.Printf("Deleted. Until %s its connections are kept alive and given to nobody, and behalf profiles restore %s brings it back; then they are revoked at the provider.\n",
			out.RestorableUntil.Local().Format(time.DateOnly), out.ID)
	default:
		fmt.Println("Deleted for good. Its connections are being revoked at the provider.")
	}
	return nil
}

func (d deletedProfile) report() {
	u := d.Uses
	fmt.Printf("%s (%s) has %d active and %s of %s, and %s.\n", d.Name, d.Slug, u.Connections.Active, counted(u.Connections.Lapsed, "lapsed connection", "lapsed connections"),
		counted(u.Users, "person", "people"), counted(u.ConnectLinks, "open connect link", "open connect links"))
	if len(u.Variables) > 0 {
		fmt.Printf("It is filled with the variables %s.\n", strings.Join(u.Variables, ", "))
	}
	if u.Connector != "" {
		fmt.Printf("Its calls go through the connector %s.\n", u.Connector)
	}
}

type restoreProfileCommand struct {
	remote
	Profile string `arg:"" help:"Id, or the slug that it had."`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Run restores a profile with its connections.
func (c *restoreProfileCommand) Run(ctx context.Context) error {
	base, err := c.assistant(ctx)
	if err != nil {
		return err
	}
	var p listedProfile
	if err := c.do(ctx, http.MethodPost, base+"/profiles/"+url.PathEscape(c.Profile)+"/restore", nil, &p); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(p)
	}
	fmt.Printf("Restored: %s (%s) and its connections work again.\n", p.Name, p.Slug)
	return nil
}
