package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// Report is what Inspect found: a sentence, or an error, for each part.
type Report struct {
	Database    string
	DatabaseErr error
	Schema      string
	SchemaErr   error
	Key         string
	KeyErr      error
	Kit         string
	KitErr      error

	ID behalf.DatabaseID // of the database; empty where it was not read
}

var errNotReached = errors.New("not checked: the database could not be opened")

// Inspect looks at a database without changing it: no migration, no new key.
func Inspect(ctx context.Context, cfg Config) Report {
	r := Report{SchemaErr: errNotReached, KeyErr: errNotReached, KitErr: errNotReached}
	if path, ok := strings.CutPrefix(cfg.URL, "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			r.DatabaseErr = errors.New("there is no database yet; behalf serve makes one")
			return r
		}
	}
	e, err := connect(ctx, cfg.URL)
	if err != nil {
		r.DatabaseErr = err
		return r
	}
	defer func() { _ = e.close() }()
	r.Database = e.name + " answers"
	r.Schema, r.SchemaErr = inspectSchema(ctx, e)
	if r.SchemaErr == nil {
		r.Kit, r.KitErr = inspectKit(ctx, e)
		r.ID, r.Key, r.KeyErr = inspectKey(ctx, e, cfg)
	}
	return r
}

func inspectKit(ctx context.Context, e engine) (string, error) {
	k, err := kit(ctx, query.New(e.writer))
	if err != nil {
		return "", err
	}
	return k.String(), nil
}

func inspectSchema(ctx context.Context, e engine) (string, error) {
	p, err := provider(e)
	if err != nil {
		return "", err
	}
	has, wants, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return "", err
	case has > wants:
		return "", fmt.Errorf("the database has schema %d and this binary knows %d: use the newer binary", has, wants)
	case has < wants:
		return fmt.Sprintf("schema %d; the next start brings it to %d", has, wants), nil
	}
	return fmt.Sprintf("schema %d, up to date", has), nil
}

func inspectKey(ctx context.Context, e engine, cfg Config) (behalf.DatabaseID, string, error) {
	db := &DB{engine: e, write: query.New(e.writer)}
	if _, err := db.write.Meta(ctx, metaKeyring); errors.Is(err, sql.ErrNoRows) {
		return "", "no keyring yet; behalf serve makes one", nil
	}
	id, err := db.write.Meta(ctx, metaDatabase)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // one of an older version has none yet
		return "", "", unavailable(err)
	}
	db.id = behalf.DatabaseID(id)
	if err := db.openKeyring(ctx, cfg.RootKey); err != nil {
		return db.id, "", err
	}
	if by := db.HeldBy(); by != "" {
		return db.id, "opens the database's keyring, and is held by " + by, nil
	}
	return db.id, "opens the database's keyring", nil
}
