package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

type consoleCommand struct {
	Link linkCommand `cmd:"" help:"Make a link into the console: for the first owner, or for a member who cannot sign in."`
}

type linkCommand struct {
	storage
	Email     string `help:"Whom the link is for; leave it out to set up a new server."`
	PublicURL string `help:"URL by which browsers reach the server." name:"public-url" env:"BEHALF_PUBLIC_URL" default:"http://127.0.0.1:8788"`
}

// Run prints the link alone. It works beside a running server, and replaces the
// member's links before it.
func (c *linkCommand) Run(ctx context.Context) error {
	public, err := url.Parse(c.PublicURL)
	if err != nil || public.Host == "" {
		return errors.New("the public URL must be an absolute URL such as https://behalf.example.com")
	}
	return c.existing(ctx, func(db store.Scope) error {
		link, err := c.make(ctx, db)
		if err != nil {
			return err
		}
		_, err = fmt.Println(console.Link(public, link))
		return err
	})
}

func (c *linkCommand) make(ctx context.Context, db store.Scope) (secret.Text, error) {
	if c.Email == "" {
		link, err := db.SetUp(ctx)
		if err == nil && link.Empty() {
			err = errors.New("the console is set up already: say by --email whom the link is for")
		}
		return link, err
	}
	m, err := db.MemberByEmail(ctx, c.Email)
	if err != nil {
		return secret.Text{}, err
	}
	if !m.Good() {
		return secret.Text{}, errors.New("this member is disabled: an owner can enable them in the console")
	}
	purpose := behalf.LinkReset
	if m.Invited() {
		purpose = behalf.LinkInvite
	}
	return db.LinkMember(ctx, m.ID, purpose)
}
