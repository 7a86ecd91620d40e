package broker

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Left is what was done about an end user who has left.
type Left struct {
	Connections []LeftConnection
	Sessions    int64
	Variables   int64
}

// LeftConnection is a connection that was ended, and how that went at the
// provider.
type LeftConnection struct {
	Connection behalf.Connection
	Revocation behalf.Revocation
}

const leaving = 8 // connections of one user that are ended at a time

// Leave ends everything of an end user. It can be repeated where it has failed
// half way: what was ended stays so.
func (b *Broker) Leave(ctx context.Context, db store.Scope, assistant behalf.AssistantID, user string) (Left, error) {
	if user == "" { // it would be those that serve all users
		return Left{}, behalf.NotFound("user")
	}
	var left Left
	if err := b.leaveAll(ctx, db, assistant, user, &left); err != nil {
		return left, err
	}
	var err error
	if left.Sessions, left.Variables, err = db.ForgetUser(ctx, assistant, user); err != nil {
		return left, err
	}
	return left, b.leaveAll(ctx, db, assistant, user, &left) // those that a session has become meanwhile
}

// leaveAll ends all connections of a user that have not ended yet.
func (b *Broker) leaveAll(ctx context.Context, db store.Scope, assistant behalf.AssistantID, user string, left *Left) error {
	return pages(func(page store.Page) (last string, err error) {
		all, err := db.Connections(ctx, assistant, store.ConnectionFilter{User: user}, page)
		if err != nil {
			return "", err
		}
		var ending errgroup.Group
		ending.SetLimit(leaving)
		var mu sync.Mutex
		var failed error
		for _, c := range all {
			last = string(c.ID)
			if c.Status == behalf.ConnectionRevoked {
				continue
			}
			ending.Go(func() error {
				r, err := b.Disconnect(ctx, db, c, "The user was deleted.")
				mu.Lock()
				defer mu.Unlock()
				if failed = errors.Join(failed, err); err == nil {
					left.Connections = append(left.Connections, LeftConnection{c, r})
				}
				return nil // one that fails stops no other
			})
		}
		return last, errors.Join(ending.Wait(), failed)
	})
}
