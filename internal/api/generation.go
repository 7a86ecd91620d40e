package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Generation is one generation of a connection's credential on the wire. It
// holds no token.
type Generation struct {
	ID         string     `json:"id" doc:"Names it within its connection."`
	Generation int64      `json:"generation"`
	Origin     string     `json:"origin" enum:"connect,refresh,import,adopt,restore,unknown" doc:"How it came to be kept. adopt: it had come beside another, and was put in force when that was refused. unknown: it was kept before this was noted."`
	ObtainedAt time.Time  `json:"obtained_at" doc:"When the provider issued it."`
	KeptAt     *time.Time `json:"kept_at,omitempty" doc:"When it was kept here; absent where that was not noted."`
	Current    bool       `json:"current" doc:"It is the one in force."`
	Stray      bool       `json:"stray" doc:"It never was in force: it came when another was already."`
}

// GenerationPath names a generation of a connection.
type GenerationPath struct {
	ConnectionPath
	Generation string `path:"generation" doc:"Its id; or its number, where only one that is not a stray has it." maxLength:"41"`
}

func (a *API) listGenerations(ctx context.Context, db store.Scope, in *ConnectionPath) (*ListOutput[Generation], error) {
	c, err := a.connection(ctx, db, *in)
	if err != nil {
		return nil, err
	}
	all, err := db.Generations(ctx, c)
	return listOf(all, 0, behalf.Generation.ID, viewGeneration), err
}

func (a *API) restoreGeneration(ctx context.Context, db store.Scope, in *GenerationPath) (*Output[Connection], error) {
	c, err := a.connection(ctx, db, in.ConnectionPath)
	if err != nil {
		return nil, err
	}
	c, err = a.cfg.Broker.Restore(ctx, db, c, in.Generation)
	return output(viewConnection(c)), err
}

func viewGeneration(g behalf.Generation) Generation {
	v := Generation{ID: g.ID(), Generation: g.Number, Origin: string(g.Origin), ObtainedAt: g.ObtainedAt, KeptAt: told(g.KeptAt), Current: g.Current, Stray: g.Stray}
	if g.Origin == behalf.OriginUnknown {
		v.Origin = "unknown"
	}
	return v
}
