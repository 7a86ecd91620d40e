package broker

import (
	"context"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file is the way of every token read and proxied call. While the
// credential is good it asks the database nothing.

// Ready is a connection whose credential is good now, with its profile.
type Ready struct {
	*store.Held
	Profile *behalf.Profile
	db      store.Scope
	ask     Ask
}

// Use returns the one connection that is meant, refreshing its credential first
// where it is due. The error is CodeAuthorizationRequired where the user has
// none yet, and CodeConflict where several match and none is the default.
func (b *Broker) Use(ctx context.Context, db store.Scope, a *behalf.Assistant, ask Ask) (Ready, error) {
	r, err := b.find(ctx, db, a, ask)
	if err != nil {
		return r, err
	}
	if err := r.Usable(); err != nil {
		return r, err
	}
	now, c := b.db.Now(), r.buffered()
	switch {
	case !c.Due(now):
		return r, nil
	case !r.Expired(now) && (!r.Refreshable || now.Before(r.NextAttemptAt) || b.alone()):
		return r, nil // good to its end, and there is nothing to be had now
	}
	return b.renewed(ctx, db, a, ask, r)
}

// buffered is the connection with what its profile says of renewing it.
func (r Ready) buffered() behalf.Connection {
	c := r.Connection
	c.Buffer = r.Profile.Plan.OAuth.Refresh.Buffer.Duration()
	return c
}

// alone reports whether the database is away: no refresh can begin.
func (b *Broker) alone() bool {
	since, _ := b.db.Without()
	return since > 0
}

// renewed is Use for a credential that is due.
func (b *Broker) renewed(ctx context.Context, db store.Scope, a *behalf.Assistant, ask Ask, r Ready) (Ready, error) {
	good, err := b.renew(ctx, db, r.buffered(), ask.Variables)
	if behalf.CodeOf(err) == behalf.CodeUnavailable && !r.Expired(b.db.Now()) { // the database has gone away since it was asked last
		if held, heldErr := b.find(ctx, db, a, ask); heldErr == nil && held.Usable() == nil && !held.Expired(b.db.Now()) {
			return held, nil
		}
	}
	if err != nil {
		return r, err
	}
	ask.Connection = good.ID
	again, err := b.find(ctx, db, a, ask)
	if err == nil && again.Generation < good.Generation { // another node refreshed it, and its note is not read yet
		b.db.Forget(again.Held)
		again, err = b.find(ctx, db, a, ask)
	}
	if err == nil {
		err = again.Usable()
	}
	return again, err
}

// find is Find from memory.
func (b *Broker) find(ctx context.Context, db store.Scope, a *behalf.Assistant, ask Ask) (Ready, error) {
	r := Ready{db: db, ask: ask}
	if ask.Connection != "" {
		return b.findNamed(ctx, db, a, ask)
	}
	var err error
	r.Profile, err = b.heldProfile(ctx, db, a, ask.Profile)
	switch {
	case ask.User == "" && (err != nil || needsUser(r.Profile.Plan)):
		return r, errNoUser()
	case err != nil:
		return r, err
	}
	if ask.Tenant != "" {
		if err := r.Profile.Plan.CheckTenant(ask.Tenant); err != nil {
			return r, err
		}
	}
	matching, err := matching(r.Profile.Plan, ask, func(user, tenant string) ([]*store.Held, error) {
		return db.HeldConnections(ctx, a.ID, r.Profile.ID, user, tenant)
	})
	switch {
	case err != nil:
		return r, err
	case len(matching) == 0:
		c, err := b.made(ctx, db, *r.Profile, ask)
		if err != nil {
			return r, err
		}
		ask.Connection = c.ID
		return b.findNamed(ctx, db, a, ask)
	case len(matching) == 1 || matching[0].Default:
		r.Held = matching[0]
		return r, nil
	}
	all := make([]behalf.Connection, 0, len(matching))
	for _, m := range matching {
		all = append(all, m.Connection)
	}
	return r, several(all)
}

func (b *Broker) findNamed(ctx context.Context, db store.Scope, a *behalf.Assistant, ask Ask) (Ready, error) {
	r := Ready{db: db, ask: ask}
	c, err := db.HeldConnection(ctx, ask.Connection)
	if err != nil {
		return r, err
	}
	if !ask.matches(a.ID, c.Connection) {
		return r, behalf.NotFound("connection")
	}
	r.Held = c
	if r.Profile, err = b.heldProfile(ctx, db, a, string(c.Profile)); err != nil {
		return r, err
	}
	if ask.Profile != "" && ask.Profile != string(r.Profile.ID) && ask.Profile != r.Profile.Slug {
		return r, behalf.NotFound("connection")
	}
	return r, nil
}

func (b *Broker) heldProfile(ctx context.Context, db store.Scope, a *behalf.Assistant, name string) (*behalf.Profile, error) {
	if name == "" {
		return nil, errNoProfile()
	}
	p, err := db.HeldProfile(ctx, a.ID, name)
	if err == nil && p.Plan == nil {
		err = behalf.NotFound("profile")
	}
	return p, err
}

// Good returns the connection with its secrets opened.
func (r Ready) Good(ctx context.Context) (Good, error) {
	credential, inputs, err := r.db.HeldSecrets(ctx, r.Held)
	good := Good{Connection: r.Connection, Credential: credential, Inputs: inputs, Sent: r.ask.Variables, For: r.ask.User}
	if err == nil {
		err = good.keptVariables(ctx, r.db, *r.Profile)
	}
	return good, err
}

// matches reports whether a named connection is one that is asked for.
func (ask Ask) matches(a behalf.AssistantID, c behalf.Connection) bool {
	return c.Assistant == a && (ask.User == "" || c.User == "" || c.User == ask.User) && (ask.Tenant == "" || c.Tenant == ask.Tenant)
}

// ScopeText returns the granted scopes as RFC 6749 §3.3 writes them.
func (r Ready) ScopeText() string { return strings.Join(r.ScopesGranted, " ") }
