package server

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf/internal/store"
)

// OpenStore opens the database as the server would, for tools beside it.
func OpenStore(ctx context.Context, cfg Config) (*store.DB, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{URL: cfg.Database, RootKey: cfg.rootKey, Now: cfg.Now, Log: cfg.Log})
}

// Finding is the result of one check.
type Finding struct {
	Check  string
	Detail string
	Err    error
}

// Examine checks configuration, database and root key without changing any.
func Examine(ctx context.Context, cfg Config) []Finding {
	cfg, err := cfg.checked()
	if err != nil {
		return []Finding{{Check: "settings", Err: err}}
	}
	report := store.Inspect(ctx, store.Config{URL: cfg.Database, RootKey: cfg.rootKey, Now: time.Now, Log: cfg.Log})
	return []Finding{
		{"database", report.Database, report.DatabaseErr},
		{"schema", report.Schema, report.SchemaErr},
		{"root key", report.Key, report.KeyErr},
	}
}
