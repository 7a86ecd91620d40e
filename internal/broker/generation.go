package broker

import (
	"context"
	"errors"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Restore puts an earlier generation of a connection's credential in force
// again, by its id or its number. While a refresh is under way the error is
// CodeRefreshInProgress.
func (b *Broker) Restore(ctx context.Context, db store.Scope, c behalf.Connection, generation string) (behalf.Connection, error) {
	all, err := db.Generations(ctx, c)
	if err != nil {
		return c, err
	}
	g, err := behalf.FindGeneration(all, generation)
	if err != nil {
		return c, err
	}
	n, err := db.RestoreGeneration(ctx, c, g)
	switch {
	case errors.Is(err, store.ErrBusy):
		return c, inProgress()
	case errors.Is(err, store.ErrStale):
		return c, behalf.Errorf(behalf.CodeConflict, "The connection was changed meanwhile. Read it again, and restore a generation if that is still wanted.")
	}
	return n, err
}
