package store

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file keeps one refresh per connection at a time, in all nodes together.
// The rules are:
//
//   - Lease and intent are one durable write, before the provider is asked. It
//     succeeds only for the generation that was read, where no lease is held.
//   - The fence only grows. It names the row that this lease may add.
//   - A good answer is kept whatever became of the lease: the row is added in
//     any case, and the pointer moves if nobody has moved it.
//   - A lease is given back only by its own fence.
//   - A node that has something to write which the database has not taken yet
//     takes no lease: what it holds may be what it would ask for.

// ErrBusy says that another refresh of the connection is under way, in this or
// another process, or that a process which died in one may still have its
// answer.
var ErrBusy = errors.New("store: the lease is held")

// How long a node counts as alive after it was seen, and for how long after its
// death what it may have spilled is waited for.
const (
	nodeAlive = 15 * time.Second
	nodeSpill = 10 * time.Minute
)

// Lease is the right of one refresh to ask the provider.
type Lease struct {
	Connection behalf.ConnectionID
	Generation int64 // that is to be replaced
	SeenFence  int64 // of that generation's row
	Fence      int64
	Until      time.Time // by the database's clock
	// Takeover is set where an earlier refresh of this generation was begun and
	// its outcome is not known: its owner died, or got no clear answer.
	Takeover time.Time

	ends  time.Time // by this process's monotonic clock, counted from before the lease was taken
	taken taken
}

// Over reports whether a lease has ended, by a clock that no jump of the time
// reaches: a process that was frozen, or whose clock was set, must not ask.
func (db *DB) Over(l Lease) bool {
	if l.ends.IsZero() { // of no connection: nobody else can have it
		return !db.Now().Before(l.Until)
	}
	return !db.clock.local().Before(l.ends)
}

// Lease takes the lease of a connection as it was read. It returns ErrBusy
// while another holds it and ErrStale where the connection has changed: look
// again.
func (s Scope) Lease(ctx context.Context, c behalf.Connection, d time.Duration) (Lease, error) {
	return s.lease(c, 0, d)
}

// LeaseUnread is Lease for who has not just read the connection: it returns
// ErrStale, too, where anything has happened to it since.
func (s Scope) LeaseUnread(ctx context.Context, c behalf.Connection, d time.Duration) (Lease, error) {
	return s.lease(c, c.Version, d)
}

// lease takes the lease; version is 0 or what it must be.
func (s Scope) lease(c behalf.Connection, version int64, d time.Duration) (Lease, error) {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return Lease{}, err
	}
	if err := s.db.unwritten.settle(); err != nil {
		return Lease{}, err
	}
	now, asked := s.db.Now(), s.db.clock.local()
	l := Lease{Connection: c.ID, Generation: c.Generation, SeenFence: c.Fence, Until: now.Add(d), ends: asked.Add(d)}
	j := &job{scope: s, c: c, lease: &leaseRow{id: string(c.ID), owner: string(s.db.Node), until: micros(l.Until), generation: c.Generation, fence: c.Fence, version: version,
		now: micros(now), alive: micros(now.Add(-nodeAlive)), dead: micros(now.Add(-nodeSpill))}}
	err := s.db.group.submit(j)
	l.Fence, l.Takeover, l.taken = j.taken.fence, at(j.taken.before), j.taken
	return l, err
}

// Leased is Secrets of a connection whose lease was just taken: they came with
// it.
func (s Scope) Leased(l Lease) (got behalf.Credential, inputs behalf.Inputs, err error) {
	row := l.taken.row
	if err := s.allow(behalf.UseConnections, behalf.AssistantID(row.Assistant), "connection"); err != nil {
		return got, inputs, err
	}
	switch err := s.db.checkSignature(row); {
	case err != nil:
		return got, inputs, err
	case l.taken.newest > row.Generation:
		return got, inputs, errNewer(row.ID)
	case l.taken.sealed == nil:
		return got, inputs, behalf.NotFound("credential")
	}
	if inputs, err = s.db.openInputs(row); err != nil {
		return got, inputs, err
	}
	var sealed sealedCredential
	err = s.db.unseal(l.taken.sealed, credentialPlace(l.Connection, row.Generation, row.Fence), &sealed)
	return sealed.open(), inputs, err
}

func (s Scope) whyNoLease(ctx context.Context, t *change, c behalf.Connection, version int64) error {
	row, err := t.Connection(ctx, string(c.ID))
	if err := found(err, "connection"); err != nil {
		return err
	}
	if row.Generation != c.Generation || row.Fence != c.Fence || row.Status != string(behalf.ConnectionActive) {
		return ErrStale
	}
	if version != 0 && row.Version != version && (row.LeaseOwner == "" || row.LeaseUntil <= micros(s.db.Now())) {
		return ErrStale
	}
	return ErrBusy
}

// Keep saves what a refresh brought: the row always, and the pointer where it
// still is at the generation that was refreshed. moved is false where somebody
// else moved it first; the row is then a stray, kept because it may be the only
// good one. Where the database does not take it, it is durable in the spill file
// when Keep returns; without such a file the error is CodeUnavailable.
func (s Scope) Keep(ctx context.Context, l Lease, c behalf.Connection, got behalf.Credential) (moved bool, err error) {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return false, err
	}
	_, moved, err = s.keep(l, c, got)
	return moved, err
}

// KeepOn is Keep for who goes on with the connection: now is the connection as
// it is in the database, without an id where that is not known because somebody
// else has changed it, too, since the lease was taken.
func (s Scope) KeepOn(ctx context.Context, l Lease, c behalf.Connection, got behalf.Credential) (now behalf.Connection, moved bool, err error) {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return now, false, err
	}
	return s.keep(l, c, got)
}

func (s Scope) keep(l Lease, c behalf.Connection, got behalf.Credential) (now behalf.Connection, moved bool, err error) {
	row, err := s.db.keepRowOf(l, c, got)
	if err != nil {
		return now, false, err
	}
	c.Fence = l.Fence
	j := &job{scope: s, c: c, keep: row}
	s.db.unwritten.hold(j)
	err = s.db.group.submit(j)
	if behalf.CodeOf(err) == behalf.CodeUnavailable && s.db.unwritten.spill(j, got) == nil {
		return now, true, nil
	}
	if behalf.CodeOf(err) == behalf.CodeUnavailable { // the next Keep writes another record
		return now, false, err
	}
	if letErr := s.db.unwritten.let(j); letErr != nil {
		s.db.log.Warn("the spill file was not emptied", "err", letErr)
	}
	if err != nil || !j.moved {
		return now, j.moved, err
	}
	s.db.tallies.add(c, CountRefresh, s.db.Now())
	if j.version == l.taken.row.Version+1 {
		now = c
		now.ScopesGranted, now.ExpiresAt, now.ObtainedAt, now.RefreshAt = splitScopes(row.Scopes), at(row.ExpiresAt), at(row.ObtainedAt), at(max(row.RefreshAt, 0))
		now.Version, now.UpdatedAt = j.version, at(row.Now)
	}
	return now, true, nil
}

// Adopt puts a stray in force, as the next generation, where the credential in
// force was refused: so neither of the two is tried a second time. It returns
// ErrStale where there is none.
func (s Scope) Adopt(ctx context.Context, l Lease, c behalf.Connection) error {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return err
	}
	row, err := s.db.read.Stray(ctx, query.StrayParams{Connection: string(c.ID), Generation: c.Generation, Fence: c.Fence})
	if isNoRows(err) {
		return ErrStale
	}
	if err != nil {
		return unavailable(err)
	}
	got, err := s.credential(ctx, c.ID, row.Generation, row.Fence)
	if err != nil {
		return err
	}
	n := c.Refreshed(behalf.Credential{}, got)
	kept, err := s.db.keepRowOf(l, n, got)
	if err != nil {
		return err
	}
	kept.RefreshAt = 0 // planned anew
	kept.Origin = string(behalf.OriginAdopt)
	j := &job{scope: s, c: n, keep: kept, action: "connection.adopt"}
	if err := s.db.group.submit(j); err != nil {
		return err
	}
	if !j.moved {
		return ErrStale
	}
	return nil
}

// Release gives a lease back without a new credential. c says how the
// connection stands now: its status and reason, IntentAt (kept where the
// outcome is not known), NextAttemptAt, RefreshAt and Failures. A lease that
// another has taken meanwhile is left alone. Where the database does not take
// it, it is given back when the database answers again.
func (s Scope) Release(ctx context.Context, l Lease, c behalf.Connection) error {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return err
	}
	j := &job{scope: s, c: c, release: &releaseRow{id: string(l.Connection), leaseFence: l.Fence, generation: l.Generation, intentAt: micros(c.IntentAt),
		nextAttemptAt: micros(c.NextAttemptAt), failures: c.Failures, lane: flag(c.Failures > 0), refreshAt: planned(c.RefreshAt), status: string(c.Status), reason: c.Reason, now: micros(s.db.Now())}}
	err := s.db.group.submit(j)
	if behalf.CodeOf(err) == behalf.CodeUnavailable {
		s.db.unwritten.add(j)
	}
	if err == nil && c.Failures > 0 {
		s.db.tallies.add(c, CountFailed, s.db.Now())
	}
	return err
}
