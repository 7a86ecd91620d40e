package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file gives out the root key for a recovery kit. The rules are:
//
//   - That a kit was made is kept, and audited, before anybody has it.
//   - A kit holds the root key, which does not change when the keyring is
//     rotated; when it is replaced, the kit is void in the same transaction.

const metaKit = "kit"

// kitRow is the form in which it is kept that a kit was made.
type kitRow struct {
	MadeAt int64 `json:"made_at"`
	VoidAt int64 `json:"void_at,omitempty"`
}

// ID names this database for good; a backup that is restored has it too.
func (db *DB) ID() behalf.DatabaseID { return db.id }

// HeldBy returns the URI of the key management service's key that holds the root
// key, or "".
func (db *DB) HeldBy() string { return db.keyring.root.Load().HeldBy() }

// RecoveryKit tells of the newest recovery kit; nil where none was ever made.
func (s Scope) RecoveryKit(ctx context.Context) (*behalf.RecoveryKit, error) {
	if err := s.allow(behalf.ReadKeyring, "", "keyring"); err != nil {
		return nil, err
	}
	return kit(ctx, s.db.write)
}

func kit(ctx context.Context, q *query.Queries) (*behalf.RecoveryKit, error) {
	value, err := q.Meta(ctx, metaKit)
	switch {
	case isNoRows(err):
		return nil, nil
	case err != nil:
		return nil, unavailable(err)
	}
	var r kitRow
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, fmt.Errorf("store: the record of a recovery kit is damaged: %w", err)
	}
	return &behalf.RecoveryKit{MadeAt: at(r.MadeAt), VoidAt: at(r.VoidAt)}, nil
}

// TakeRecoveryKit returns the code of a new recovery kit, which holds the root
// key.
func (s Scope) TakeRecoveryKit(ctx context.Context) (code secret.Text, k behalf.RecoveryKit, err error) {
	if err := s.allow(behalf.WriteKeyring, "", "keyring"); err != nil {
		return code, k, err
	}
	root := *s.db.keyring.root.Load()
	if code, err = root.Kit(string(s.db.id)); err != nil {
		return code, k, err
	}
	err = s.change(ctx, func(c *change) error {
		k.MadeAt = at(micros(c.now))
		if err := c.stillWraps(ctx, root); err != nil {
			return err
		}
		c.audit("", "keyring.kit", metaKeyring, "a recovery kit was made")
		return c.putKit(ctx, kitRow{MadeAt: micros(c.now)})
	})
	if errors.Is(err, ErrStale) {
		err = conflictStale("keyring")
	}
	if err != nil {
		return secret.Text{}, behalf.RecoveryKit{}, err
	}
	return code, k, nil
}

// stillWraps returns an error where a root key was replaced meanwhile, and holds
// off who is about to replace it.
func (c *change) stillWraps(ctx context.Context, root vault.RootKey) error {
	wrapped, err := c.Meta(ctx, metaKeyring)
	if err != nil {
		return err
	}
	if _, err := vault.OpenKeyring(root, wrapped); err != nil {
		return err
	}
	return one(c.TurnMeta(ctx, query.TurnMetaParams{Name: metaKeyring, Value: wrapped, Was: wrapped}))
}

func (c *change) putKit(ctx context.Context, r kitRow) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("store: encode a recovery kit: %w", err)
	}
	return c.PutMeta(ctx, query.PutMetaParams{Name: metaKit, Value: value})
}

// voidKit marks the newest kit, where there is one, as of a root key that was
// replaced.
func (c *change) voidKit(ctx context.Context) error {
	k, err := kit(ctx, c.Queries)
	if err != nil || k == nil || !k.VoidAt.IsZero() {
		return err
	}
	return c.putKit(ctx, kitRow{MadeAt: micros(k.MadeAt), VoidAt: micros(c.now)})
}
