package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/vault"
)

// OpenStore opens the database as the server would, for tools beside it.
func OpenStore(ctx context.Context, cfg Config) (*store.DB, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{URL: cfg.Database, RootKey: cfg.rootKey, Now: cfg.Now, Log: cfg.Log})
}

// Restore fills a new database with a backup. It needs the root key of the
// database that the backup was made of.
func Restore(ctx context.Context, cfg Config, r io.Reader, tell func(table string, rows int64)) (store.BackupReport, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return store.BackupReport{}, err
	}
	return store.Restore(ctx, store.Config{URL: cfg.Database, RootKey: cfg.rootKey, Now: cfg.Now, Log: cfg.Log}, r, tell)
}

// TryKit opens the database with a recovery kit, changing nothing, and returns
// the database's id.
func TryKit(ctx context.Context, cfg Config, kit vault.Kit) (string, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return "", err
	}
	root := func(context.Context, vault.Kept) (vault.RootKey, error) { return kit.Root, nil }
	r := store.Inspect(ctx, store.Config{URL: cfg.Database, RootKey: root, Now: cfg.Now, Log: cfg.Log})
	switch id := string(r.ID); {
	case r.DatabaseErr != nil || r.SchemaErr != nil:
		return "", cmp.Or(r.DatabaseErr, r.SchemaErr)
	case id == "":
		return "", errors.New("the kit is whole, but the database is empty: there is nothing that it could open")
	case !kit.Of(id):
		return "", fmt.Errorf("this is the kit of another database; this one is %s", id)
	case errors.Is(r.KeyErr, vault.ErrWrongRootKey):
		return "", errors.New("the kit is of this database, but void: the root key was replaced since (behalf keyring rewrap); it opens backups from before that only")
	default:
		return id, r.KeyErr
	}
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
		{"recovery kit", report.Kit, report.KitErr},
	}
}
