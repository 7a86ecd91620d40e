package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// Authenticate is the first door: it returns whose key this is. The error is
// the same for a key that never was, was revoked or has ended.
func (db *DB) Authenticate(ctx context.Context, key secret.Text) (behalf.Actor, error) {
	k, err := db.heldKey(ctx, hash32(key))
	if err != nil {
		return behalf.Actor{}, err
	}
	now := db.Now()
	if k.err != nil || !k.key.Good(now) {
		return behalf.Actor{}, behalf.Errorf(behalf.CodeUnauthenticated, "The key is not known, was revoked or has ended.")
	}
	db.uses.key(k.key.ID, now)
	return k.actor, nil
}

// SessionByLink is the second door: who holds the secret of a connect link may
// run that session, and nothing else.
func (db *DB) SessionByLink(ctx context.Context, link secret.Text) (Scope, behalf.ConnectSession, error) {
	row, err := db.read.SessionByLink(ctx, secret.Hash(link))
	if err := found(err, "connect session"); err != nil {
		return Scope{}, behalf.ConnectSession{}, err
	}
	s := sessionFrom(row)
	return db.As(runs(s)), s, nil
}

// SessionByState is the third door: whoever brings the state of a session back
// from the provider. The browser is checked by the caller.
func (db *DB) SessionByState(ctx context.Context, state secret.Text) (Scope, behalf.ConnectSession, error) {
	row, err := db.read.SessionByState(ctx, secret.Hash(state))
	if err := found(err, "connect session"); err != nil {
		return Scope{}, behalf.ConnectSession{}, err
	}
	s := sessionFrom(row)
	return db.As(runs(s)), s, nil
}

func runs(s behalf.ConnectSession) behalf.Actor {
	return behalf.Actor{Kind: behalf.ActorEndUser, ID: string(s.ID), Assistant: s.Assistant}
}
