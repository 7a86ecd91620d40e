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

// ErrBusy says that another refresh of the connection is under way, in this or
// another process.
var ErrBusy = errors.New("store: the lease is held")

// Lease is the right of one refresh to ask the provider.
type Lease struct {
	Connection behalf.ConnectionID
	Generation int64 // that is to be replaced
	SeenFence  int64 // of that generation's row
	Fence      int64
	Until      time.Time
	// Takeover is set where an earlier refresh of this generation was begun and
	// its outcome is not known: its owner died, or got no clear answer.
	Takeover time.Time
}

// Lease takes the lease of a connection as it was read. It returns ErrBusy
// while another holds it and ErrStale where the connection has changed: look
// again.
func (s Scope) Lease(ctx context.Context, c behalf.Connection, d time.Duration) (Lease, error) {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return Lease{}, err
	}
	now := s.db.Now()
	l := Lease{Connection: c.ID, Generation: c.Generation, SeenFence: c.Fence, Until: now.Add(d)}
	err := s.change(ctx, func(t *change) error {
		row, err := t.TakeLease(ctx, query.TakeLeaseParams{Owner: string(s.db.Node), Until: micros(l.Until), Now: micros(now),
			ID: string(c.ID), Generation: c.Generation, Fence: c.Fence})
		if isNoRows(err) {
			return s.whyNoLease(ctx, t, c)
		}
		l.Fence, l.Takeover = row.LeaseFence, at(row.IntentBefore)
		return err
	})
	return l, err
}

func (s Scope) whyNoLease(ctx context.Context, t *change, c behalf.Connection) error {
	row, err := t.Connection(ctx, string(c.ID))
	if err := found(err, "connection"); err != nil {
		return err
	}
	if row.Generation != c.Generation || row.Fence != c.Fence || row.Status != string(behalf.ConnectionActive) {
		return ErrStale
	}
	return ErrBusy
}

// Keep saves what a refresh brought: the row always, and the pointer where it
// still is at the generation that was refreshed. moved is false where somebody
// else moved it first; the row is then a stray, kept because it may be the only
// good one.
func (s Scope) Keep(ctx context.Context, l Lease, c behalf.Connection, got behalf.Credential) (moved bool, err error) {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return false, err
	}
	err = s.change(ctx, func(t *change) error {
		before, err := t.Connection(ctx, string(l.Connection))
		if err := found(err, "connection"); err != nil {
			return err
		}
		if err := s.insertCredential(ctx, t, l.Connection, c.Generation, l.Fence, got); err != nil {
			return err
		}
		rows, err := t.MovePointer(ctx, query.MovePointerParams{Generation: c.Generation, Fence: l.Fence, ScopesGranted: joinScopes(c.ScopesGranted),
			ExpiresAt: micros(c.ExpiresAt), ObtainedAt: micros(c.ObtainedAt), Refreshable: flag(c.Refreshable), Rotates: string(c.Rotates),
			UpdatedAt: micros(t.now), ID: string(l.Connection), Seen: l.Generation, SeenFence: l.SeenFence})
		if err != nil {
			return err
		}
		if moved = rows > 0; !moved {
			return s.stray(ctx, t, c)
		}
		t.audit(c.Assistant, "connection.refresh", string(c.ID), "")
		if before.Status == string(behalf.ConnectionLapsed) { // a quicker refresh was refused
			t.event(eventOf(c, behalf.EventConnectionRecovered, ""))
		}
		return t.TrimCredentials(ctx, query.TrimCredentialsParams{Connection: string(l.Connection), Generation: c.Generation - keptGenerations})
	})
	return moved, err
}

// stray leaves the row that was added beside the pointer, or erases it where
// the connection was revoked meanwhile: of what was ended nothing is kept.
func (s Scope) stray(ctx context.Context, t *change, c behalf.Connection) error {
	row, err := t.Connection(ctx, string(c.ID))
	if err != nil {
		return err
	}
	if row.Status == string(behalf.ConnectionRevoked) {
		t.audit(c.Assistant, "connection.stray", string(c.ID), "a refreshed credential came after the connection was ended, and was erased")
		return t.EraseCredentials(ctx, string(c.ID))
	}
	t.audit(c.Assistant, "connection.stray", string(c.ID), "a refreshed credential came after another was in force")
	return nil
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
	return s.change(ctx, func(t *change) error {
		if err := s.insertCredential(ctx, t, c.ID, n.Generation, l.Fence, got); err != nil {
			return err
		}
		t.audit(c.Assistant, "connection.adopt", string(c.ID), "")
		return one(t.MovePointer(ctx, query.MovePointerParams{Generation: n.Generation, Fence: l.Fence, ScopesGranted: joinScopes(n.ScopesGranted),
			ExpiresAt: micros(n.ExpiresAt), ObtainedAt: micros(n.ObtainedAt), Refreshable: flag(n.Refreshable), Rotates: string(n.Rotates),
			UpdatedAt: micros(t.now), ID: string(c.ID), Seen: c.Generation, SeenFence: c.Fence}))
	})
}

// Release gives a lease back without a new credential. c says how the
// connection stands now: its status and reason, IntentAt (kept where the
// outcome is not known), NextAttemptAt and Failures. A lease that another has
// taken meanwhile is left alone.
func (s Scope) Release(ctx context.Context, l Lease, c behalf.Connection) error {
	if err := s.allow(behalf.Maintain, c.Assistant, "connection"); err != nil {
		return err
	}
	return s.change(ctx, func(t *change) error {
		rows, err := t.ReleaseLease(ctx, query.ReleaseLeaseParams{IntentAt: micros(c.IntentAt), NextAttemptAt: micros(c.NextAttemptAt), Failures: c.Failures,
			Status: string(c.Status), Reason: c.Reason, UpdatedAt: micros(t.now), ID: string(l.Connection), LeaseFence: l.Fence, Generation: l.Generation})
		if err != nil || rows == 0 || c.Status != behalf.ConnectionLapsed {
			return err
		}
		t.audit(c.Assistant, "connection.lapse", string(c.ID), c.Reason)
		t.event(eventOf(c, behalf.EventConnectionLapsed, c.Reason))
		return nil
	})
}
