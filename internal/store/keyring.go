package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

const (
	metaKeyring = "keyring"
	metaCanary  = "canary"
)

// openKeyring opens the keyring that the database holds, or makes one. Of two
// nodes that start on an empty database one makes it and the other opens it.
func (db *DB) openKeyring(ctx context.Context, rootKey func(bool) (vault.RootKey, error)) error {
	wrapped, err := db.write.Meta(ctx, metaKeyring)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		root, err := rootKey(false)
		if err != nil {
			return err
		}
		if err := db.makeKeyring(ctx, root); err != nil {
			return fmt.Errorf("store: make the keyring: %w", err)
		}
		return db.openKeyring(ctx, func(bool) (vault.RootKey, error) { return root, nil })
	case err != nil:
		return unavailable(err)
	}
	root, err := rootKey(true)
	if err != nil {
		return err
	}
	if db.keyring, err = vault.OpenKeyring(root, wrapped); err != nil {
		return err
	}
	canary, err := db.write.Meta(ctx, metaCanary)
	if err != nil {
		return fmt.Errorf("store: the database holds a keyring but no canary: it is damaged: %w", err)
	}
	return db.keyring.CheckCanary(canary)
}

func (db *DB) makeKeyring(ctx context.Context, root vault.RootKey) error {
	keyring, wrapped, err := vault.NewKeyring(root)
	if err != nil {
		return err
	}
	canary, err := keyring.Canary()
	if err != nil {
		return err
	}
	tx, err := db.engine.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	q := db.write.WithTx(tx)
	made, err := q.InsertMeta(ctx, query.InsertMetaParams{Name: metaKeyring, Value: wrapped})
	if err != nil || made == 0 {
		return err // another node made it first
	}
	if _, err := q.InsertMeta(ctx, query.InsertMetaParams{Name: metaCanary, Value: canary}); err != nil {
		return err
	}
	return tx.Commit()
}
