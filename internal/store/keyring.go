package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

const (
	metaKeyring  = "keyring"
	metaCanary   = "canary"
	metaDatabase = "database" // its id
)

// identify reads the database's id, and gives it one where it has none.
func (db *DB) identify(ctx context.Context) error {
	if _, err := db.write.InsertMeta(ctx, query.InsertMetaParams{Name: metaDatabase, Value: []byte(behalf.NewDatabaseID(db.Now()))}); err != nil {
		return err
	}
	id, err := db.write.Meta(ctx, metaDatabase)
	db.id = behalf.DatabaseID(id)
	return err
}

// openKeyring opens the keyring that the database holds, or makes one. Of two
// nodes that start on an empty database one makes it and the other opens it.
func (db *DB) openKeyring(ctx context.Context, rootKey func(context.Context, vault.Kept) (vault.RootKey, error)) error {
	wrapped, err := db.write.Meta(ctx, metaKeyring)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		root, err := rootKey(ctx, vault.Kept{Database: string(db.id)})
		if err != nil {
			return err
		}
		if err := db.makeKeyring(ctx, root); err != nil {
			return fmt.Errorf("store: make the keyring: %w", err)
		}
		return db.openKeyring(ctx, func(ctx context.Context, kept vault.Kept) (vault.RootKey, error) {
			if !bytes.Equal(kept.Held, root.Held()) { // another node's, which was first
				return rootKey(ctx, kept)
			}
			return root, nil
		})
	case err != nil:
		return unavailable(err)
	}
	held := vault.Held(wrapped)
	root, err := rootKey(ctx, vault.Kept{Keyring: true, Database: string(db.id), Held: held})
	if err != nil {
		return err
	}
	opened, err := vault.OpenKeyring(root, wrapped)
	if by := vault.HeldBy(held); err != nil && by != "" {
		return fmt.Errorf("%w. This database's root key is held by %s: start with --root-key or BEHALF_ROOT_KEY set to that, or with what its recovery kit gives", err, by)
	}
	if err != nil {
		return err
	}
	root = root.HeldAs(wrapped)
	db.keyring = &ring{db: db}
	db.keyring.root.Store(&root)
	db.keyring.now.Store(opened)
	canary, err := db.write.Meta(ctx, metaCanary)
	if err != nil {
		return fmt.Errorf("store: the database holds a keyring but no canary: it is damaged: %w", err)
	}
	return opened.CheckCanary(canary)
}

// ring is the keyring as this node has loaded it. Another node, or a command
// beside the server, may change the one in the database: it is loaded again when
// the change log tells, and where something does not open for want of a key.
type ring struct {
	db    *DB
	root  atomic.Pointer[vault.RootKey]
	now   atomic.Pointer[vault.Keyring]
	stale atomic.Bool // the change log told of a change
	one   sync.Mutex  // loads at a time
	tried time.Time   // the last load
}

const loadEvery = time.Second // for want of a key: bytes that nobody can open must not load it all the time

func (r *ring) Seal(plaintext []byte, at vault.Place) ([]byte, error) {
	if r.stale.Load() {
		r.again()
	}
	return r.now.Load().Seal(plaintext, at)
}

func (r *ring) MAC(data []byte, at vault.Place) ([]byte, error) { return r.now.Load().MAC(data, at) }

func (r *ring) Open(sealed []byte, at vault.Place) ([]byte, error) {
	plain, err := r.now.Load().Open(sealed, at)
	if errors.Is(err, vault.ErrUnknownKey) && r.again() {
		return r.now.Load().Open(sealed, at)
	}
	return plain, err
}

// CheckMAC loads the keyring again where a code does not match: which key made
// it cannot be told from the error.
func (r *ring) CheckMAC(code, data []byte, at vault.Place) error {
	err := r.now.Load().CheckMAC(code, data, at)
	if err != nil && r.again() {
		return r.now.Load().CheckMAC(code, data, at)
	}
	return err
}

// again loads the keyring for want of a key, and reports whether it is another.
func (r *ring) again() bool {
	r.one.Lock()
	defer r.one.Unlock()
	now := r.db.clock.local()
	if !r.tried.IsZero() && now.Sub(r.tried) < loadEvery {
		return false
	}
	r.tried = now
	before := r.now.Load()
	r.stale.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	if err := r.load(ctx); err != nil {
		r.db.log.Error("the keyring was not loaded again", "err", err)
	}
	return r.now.Load() != before
}

// refresh loads the keyring where the change log told of a change.
func (r *ring) refresh(ctx context.Context) error {
	if !r.stale.Swap(false) {
		return nil
	}
	r.one.Lock()
	defer r.one.Unlock()
	err := r.load(ctx)
	if err != nil && !errors.Is(err, vault.ErrWrongRootKey) {
		r.stale.Store(true)
	}
	return err
}

func (r *ring) load(ctx context.Context) error {
	wrapped, err := r.db.write.Meta(ctx, metaKeyring)
	if err != nil {
		return unavailable(err)
	}
	opened, err := vault.OpenKeyring(*r.root.Load(), wrapped)
	if err != nil {
		return fmt.Errorf("store: the keyring in the database is wrapped by another root key now: restart this server with that one: %w", err)
	}
	r.now.Store(opened)
	return nil
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
