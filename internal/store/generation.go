package store

import (
	"context"
	"fmt"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file puts an earlier generation of a credential in force again. The
// rules are:
//
//   - The pointer never goes back: what is restored is sealed again as the next
//     generation, of the same connection, and the pointer is signed there.
//   - It waits for a refresh that is under way, as another refresh would.
//   - A refresh that was begun before it cannot win: its fence is lower.

// Generations returns the generations that are kept of a connection, as it was
// read, the newest first.
func (s Scope) Generations(ctx context.Context, c behalf.Connection) ([]behalf.Generation, error) {
	row, err := s.connection(ctx, s.db.read, c.ID)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.read.Generations(ctx, row.ID)
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.Generation, 0, len(rows))
	for _, r := range rows {
		out = append(out, generationOf(row, r))
	}
	return out, nil
}

func generationOf(row query.Connection, r query.GenerationsRow) behalf.Generation {
	current := r.Generation == row.Generation && r.Fence == row.Fence
	return behalf.Generation{Number: r.Generation, Fence: r.Fence, Origin: behalf.Origin(r.Origin), ObtainedAt: at(r.ObtainedAt), KeptAt: at(r.KeptAt),
		Current: current, Stray: !current && (r.Stray != 0 || r.Generation >= row.Generation)}
}

// RestoreGeneration puts a generation of a connection, as it was read, in force
// again. It returns ErrBusy while a refresh is under way, or may still have an
// answer, and ErrStale where the connection has changed: look again.
func (s Scope) RestoreGeneration(ctx context.Context, c behalf.Connection, g behalf.Generation) (behalf.Connection, error) {
	for _, permission := range []behalf.Permission{behalf.WriteProfiles, behalf.WriteConnections} { // what it was authorized for may have been another account's
		if err := s.allow(permission, c.Assistant, "connection"); err != nil {
			return c, err
		}
	}
	switch {
	case c.Status == behalf.ConnectionRevoked:
		return c, behalf.Errorf(behalf.CodeConflict, "The connection was ended and its credentials are erased; the end user must authorize again.")
	case g.Number == c.Generation && g.Fence == c.Fence:
		return c, behalf.Errorf(behalf.CodeConflict, "This generation is in force already.")
	}
	var n behalf.Connection
	err := s.change(ctx, func(t *change) (err error) {
		n, err = s.restore(ctx, t, c, g)
		return err
	})
	return n, err
}

func (s Scope) restore(ctx context.Context, t *change, c behalf.Connection, g behalf.Generation) (behalf.Connection, error) {
	row, err := t.Connection(ctx, string(c.ID))
	if err := found(err, "connection"); err != nil {
		return c, err
	}
	got, err := s.credentialIn(ctx, t.Queries, c.ID, g.Number, g.Fence)
	if err != nil {
		return c, err
	}
	n := c.Restored(got)
	n.Fence = row.LeaseFence + 1
	signature, err := s.db.signPointer(string(n.ID), n.Generation, n.Fence)
	if err != nil {
		return c, err
	}
	moved, err := t.RestoreConnection(ctx, query.RestoreConnectionParams{Generation: n.Generation, Fence: n.Fence, ScopesGranted: joinScopes(n.ScopesGranted),
		ExpiresAt: micros(n.ExpiresAt), ObtainedAt: micros(n.ObtainedAt), Refreshable: flag(n.Refreshable), Signature: signature, Now: micros(t.now),
		ID: string(n.ID), Assistant: string(n.Assistant), Version: c.Version,
		Owner: string(s.db.Node), Alive: micros(t.now.Add(-nodeAlive)), Dead: micros(t.now.Add(-nodeSpill))})
	switch {
	case err != nil:
		return c, err
	case moved == 0 && row.Version != c.Version:
		return c, ErrStale
	case moved == 0:
		return c, ErrBusy
	}
	if err := s.insertCredential(ctx, t, n, got, behalf.OriginRestore); err != nil {
		return c, err
	}
	t.audit(n.Assistant, "connection.restore", string(n.ID), fmt.Sprintf("generation %s, as generation %d-%d", g.ID(), n.Generation, n.Fence))
	t.noteConnection(n)
	if c.Status == behalf.ConnectionLapsed {
		t.event(eventOf(n, behalf.EventConnectionRecovered, "An earlier generation of its credential was restored."))
	}
	n.Version++
	n.UpdatedAt = t.now
	return n, nil
}
