// Package broker hands out a credential that works, and refreshes it exactly
// once.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Config is what a Broker works with.
type Config struct {
	DB     *store.DB
	Egress *egress.Egress
	Log    *slog.Logger

	// Deadline bounds one request to a provider, and must be well inside Lease:
	// whoever holds a lease must have stopped asking when it ends.
	Deadline time.Duration // default 30 s
	Lease    time.Duration // default 45 s
	Patience time.Duration // how long a caller waits for another node's refresh; default 20 s
	Moment   time.Duration // how long a caller with a good token waits for a newer one; default 1 s
	MinAge   time.Duration // of a credential that an API has refused, before it is refreshed; default 30 s
}

// Broker refreshes credentials. Stop it before the database is closed.
type Broker struct {
	cfg     Config
	db      *store.DB
	keeper  store.Scope // our own work, whoever's call caused it
	mu      sync.Mutex
	flights map[behalf.ConnectionID]*flight
	stopped bool
	working sync.WaitGroup
}

// New returns a Broker.
func New(cfg Config) *Broker {
	cfg.Deadline = orElse(cfg.Deadline, 30*time.Second)
	cfg.Lease = orElse(cfg.Lease, 45*time.Second)
	cfg.Patience = orElse(cfg.Patience, 20*time.Second)
	cfg.Moment = orElse(cfg.Moment, time.Second)
	cfg.MinAge = orElse(cfg.MinAge, 30*time.Second)
	return &Broker{cfg: cfg, db: cfg.DB, keeper: cfg.DB.As(behalf.System("broker")), flights: map[behalf.ConnectionID]*flight{}}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Stop lets no new refresh begin and waits for those under way, as long as ctx
// lasts.
func (b *Broker) Stop(ctx context.Context) error {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	done := make(chan struct{})
	go func() { b.working.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Good is a connection with what is needed to call on its behalf.
type Good struct {
	behalf.Connection
	Credential behalf.Credential
	Inputs     behalf.Inputs
	Stored     behalf.Stored    // variables that are kept, where the profile uses any
	Sent       behalf.Variables // variables that came with the call
	For        string           // the user whom it is used for, where it serves all
}

// Connection returns the connection with a credential that is good now; the
// scope must be allowed to use it. A credential that is due is refreshed first.
// While it has not ended, a refresh that fails does not keep it from being
// used.
func (b *Broker) Connection(ctx context.Context, db store.Scope, c behalf.Connection) (Good, error) {
	return b.connection(ctx, db, c, nil)
}

// connection is Connection for a call that brought variables: a refresh that it
// causes may need them.
func (b *Broker) connection(ctx context.Context, db store.Scope, c behalf.Connection, sent behalf.Variables) (Good, error) {
	c, err := b.renew(ctx, db, c, sent)
	if err != nil {
		return Good{Connection: c}, err
	}
	return b.open(ctx, db, c)
}

// renew returns the connection as it is once its credential is good.
func (b *Broker) renew(ctx context.Context, db store.Scope, c behalf.Connection, sent behalf.Variables) (behalf.Connection, error) {
	if err := c.Usable(); err != nil {
		return c, err
	}
	now := b.db.Now()
	switch {
	case !c.Due(now):
		return c, nil
	case !c.Refreshable && c.Expired(now):
		return c, behalf.Errorf(behalf.CodeAuthorizationRequired, "The access token has ended and the provider gave no refresh token; the end user must authorize again.")
	case !c.Refreshable:
		return c, nil
	}
	kept, failed := b.refresh(ctx, c, wants{brief: !c.Expired(now), sent: sent})
	if unfilled(failed) && len(sent) > 0 { // perhaps of somebody who had sent nothing
		kept, failed = b.refresh(ctx, c, wants{brief: !c.Expired(now), sent: sent})
	}
	c, err := b.after(ctx, db, c, kept)
	if err == nil && failed == nil && c.Usable() == nil && c.Refreshable && c.Expired(b.db.Now()) { // an older answer was put in force
		kept, failed = b.refresh(ctx, c, wants{sent: sent})
		c, err = b.after(ctx, db, c, kept)
	}
	switch {
	case err != nil:
		return c, err
	case c.Usable() != nil:
		return c, c.Usable()
	case failed != nil && c.Expired(b.db.Now()):
		return c, failed
	}
	return c, nil
}

// after returns the connection as a refresh has left it.
func (b *Broker) after(ctx context.Context, db store.Scope, c, kept behalf.Connection) (behalf.Connection, error) {
	if kept.ID == "" || !db.Sees(kept) {
		return db.Connection(ctx, c.ID)
	}
	return kept, nil
}

// Refused is for a credential that the provider's API has refused although it
// had not ended: it returns a newer one, refreshing if need be. One generation
// is refreshed at most once for this, and none that is very young, or an API
// that refuses everything would rotate tokens with every call. It returns
// ErrNotRefreshed where there is nothing newer to try.
func (b *Broker) Refused(ctx context.Context, db store.Scope, g Good) (Good, error) {
	if !g.Refreshable {
		return g, ErrNotRefreshed
	}
	kept, err := b.refresh(ctx, g.Connection, wants{forced: true, refused: true, minAge: b.cfg.MinAge, sent: g.Sent})
	if err != nil {
		return g, errors.Join(ErrNotRefreshed, err)
	}
	c, err := b.after(ctx, db, g.Connection, kept)
	if err != nil || c.Usable() != nil || c.Generation == g.Generation {
		return g, ErrNotRefreshed
	}
	return b.open(ctx, db, c)
}

// ErrNotRefreshed says that there is no newer credential than the refused one.
var ErrNotRefreshed = errors.New("broker: there is no newer credential")

// Refresh refreshes a connection now, because somebody asked for it.
func (b *Broker) Refresh(ctx context.Context, db store.Scope, c behalf.Connection) (behalf.Connection, error) {
	if err := c.Usable(); err != nil {
		return c, err
	}
	if !c.Refreshable {
		return c, behalf.Errorf(behalf.CodeConflict, "There is nothing to renew this connection with, such as a refresh token; only the end user can.")
	}
	kept, failed := b.refresh(ctx, c, wants{forced: true})
	n, err := b.after(ctx, db, c, kept)
	switch {
	case err != nil:
		return c, err
	case n.Usable() != nil:
		return n, n.Usable()
	}
	return n, failed
}

// open reads the sealed part of a connection. Where the connection moved since
// it was read, it is read again.
func (b *Broker) open(ctx context.Context, db store.Scope, c behalf.Connection) (Good, error) {
	credential, inputs, err := db.Secrets(ctx, c)
	if behalf.CodeOf(err) == behalf.CodeNotFound {
		if c, err = db.Connection(ctx, c.ID); err != nil {
			return Good{Connection: c}, err
		}
		if err := c.Usable(); err != nil {
			return Good{Connection: c}, err
		}
		credential, inputs, err = db.Secrets(ctx, c)
	}
	return Good{Connection: c, Credential: credential, Inputs: inputs}, err
}

// Values returns what the placeholders of the connection's profile look up.
func (g Good) Values(p behalf.Profile) behalf.Values {
	user := g.User
	if user == "" {
		user = g.For
	}
	return behalf.Values{Plan: p.Plan, User: user, Tenant: g.Tenant, Inputs: g.Inputs, Credential: &g.Credential, Serves: g.User == "", Stored: g.Stored, Sent: g.Sent}
}

// newestSecret returns the client secrets to try, in order; a public client has
// one that is empty.
func newestSecret(p behalf.Profile, now time.Time) []secret.Text {
	if secrets := p.ClientSecrets(now); len(secrets) > 0 {
		return secrets
	}
	return []secret.Text{{}}
}
