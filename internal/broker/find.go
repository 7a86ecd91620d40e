package broker

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Ask names the connection that a call or a token read means.
type Ask struct {
	Profile    string // id or slug; may be empty where Connection is given
	User       string // the assistant's id of the end user
	Tenant     string // empty: whichever the user has
	Connection behalf.ConnectionID
	Variables  behalf.Variables // that came with the call
}

// Find returns the one connection that is meant, and its profile. The error is
// CodeAuthorizationRequired where the user has none yet, and CodeConflict where
// several match and none is the default.
func (b *Broker) Find(ctx context.Context, db store.Scope, a behalf.Assistant, ask Ask) (behalf.Profile, behalf.Connection, error) {
	if ask.Connection != "" {
		return b.named(ctx, db, a, ask)
	}
	p, err := b.profile(ctx, db, a, ask.Profile)
	switch {
	case ask.User == "" && needsUser(p.Plan):
		return p, behalf.Connection{}, errNoUser()
	case err != nil:
		return p, behalf.Connection{}, err
	}
	if ask.Tenant != "" {
		if err := p.Plan.CheckTenant(ask.Tenant); err != nil {
			return p, behalf.Connection{}, err
		}
	}
	matching, err := matching(p.Plan, ask, func(user, tenant string) ([]behalf.Connection, error) {
		return db.ConnectionsOf(ctx, a.ID, p.ID, user, tenant)
	})
	switch {
	case err != nil:
		return p, behalf.Connection{}, err
	case len(matching) == 0:
		c, err := b.made(ctx, db, p, ask)
		return p, c, err
	case len(matching) == 1 || matching[0].Default:
		return p, matching[0], nil
	}
	return p, behalf.Connection{}, several(matching)
}

func (b *Broker) named(ctx context.Context, db store.Scope, a behalf.Assistant, ask Ask) (behalf.Profile, behalf.Connection, error) {
	c, err := db.Connection(ctx, ask.Connection)
	if err != nil {
		return behalf.Profile{}, c, err
	}
	if !ask.matches(a.ID, c) {
		return behalf.Profile{}, c, behalf.NotFound("connection")
	}
	p, err := b.profile(ctx, db, a, string(c.Profile))
	if err == nil && ask.Profile != "" && ask.Profile != string(p.ID) && ask.Profile != p.Slug {
		err = behalf.NotFound("connection")
	}
	return p, c, err
}

func (b *Broker) profile(ctx context.Context, db store.Scope, a behalf.Assistant, name string) (behalf.Profile, error) {
	if name == "" {
		return behalf.Profile{}, errNoProfile()
	}
	p, err := db.Profile(ctx, a.ID, name)
	if err == nil && p.Plan == nil {
		err = behalf.NotFound("profile")
	}
	return p, err
}

func errNoUser() error {
	return behalf.Invalid("user", "Required: the assistant's id of the end user, or a connection instead.")
}

func errNoProfile() error {
	return behalf.Invalid("profile", "Required: the id or the slug of an authorization profile.")
}

func errNotConnected() error {
	return behalf.Errorf(behalf.CodeAuthorizationRequired, "The end user has not connected this application yet.")
}

func several(matching []behalf.Connection) error {
	e := behalf.Errorf(behalf.CodeConflict, "The end user has several connections to this application and none is the default; name one of them.")
	for _, c := range matching {
		e.Candidates = append(e.Candidates, c.ID)
	}
	return e
}
