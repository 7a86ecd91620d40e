package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file rotates the keyring while everything is served. The rules are:
//
//   - Each step is one transaction that also moves the rotation's own row from
//     what it was read as: whoever dies on the way is taken over from, and of two
//     who do the same one does nothing.
//   - The new key seals only when every node that is alive has loaded it. A node
//     that missed it all the same loads the keyring when something does not open.
//   - A row is written only where it still holds what was read: a refresh that
//     comes between is never undone.
//   - The rotation has ended when nothing waits, counted anew: what a frozen node
//     sealed late with the old key is found then.

const (
	metaRotation = "rotation"
	turnFor      = 15 * time.Second // for how long one process does the work before others may
	turnEvery    = 5 * time.Second  // somebody looks whether there is work
	settleFor    = 10 * time.Second // in which every node surely seals with the new key
)

// rotationRow is the form in which a rotation is kept.
type rotationRow struct {
	Key        uint32                  `json:"key"`
	Stage      behalf.KeyRotationStage `json:"stage"`
	StartedAt  int64                   `json:"started_at"`
	PromotedAt int64                   `json:"promoted_at,omitempty"`
	EndedAt    int64                   `json:"ended_at,omitempty"`
	Column     int                     `json:"column,omitempty"` // of sealedColumns, where the work goes on
	After      []string                `json:"after,omitempty"`  // behind the row with this key
	Done       int64                   `json:"done,omitempty"`
	Total      int64                   `json:"total,omitempty"`
	Damaged    int64                   `json:"damaged,omitempty"`
	Owner      behalf.NodeID           `json:"owner,omitempty"`
	Until      int64                   `json:"until,omitempty"`

	was []byte // as it was read
}

func keyName(id uint32) string { return fmt.Sprintf("%08x", id) }

func (r rotationRow) rotation() *behalf.KeyRotation {
	return &behalf.KeyRotation{Key: keyName(r.Key), Stage: r.Stage, StartedAt: at(r.StartedAt), PromotedAt: at(r.PromotedAt), EndedAt: at(r.EndedAt), Done: r.Done, Total: r.Total, Damaged: r.Damaged}
}

// rotation reads the newest rotation; ok is false where there was none.
func (db *DB) rotation(ctx context.Context) (r rotationRow, ok bool, err error) {
	r.was, err = db.write.Meta(ctx, metaRotation)
	switch {
	case isNoRows(err):
		return r, false, nil
	case err != nil:
		return r, false, unavailable(err)
	}
	if err := json.Unmarshal(r.was, &r); err != nil {
		return r, false, fmt.Errorf("store: the record of a rotation is damaged: %w", err)
	}
	return r, true, nil
}

// turn writes the rotation's row where it still is what was read.
func (c *change) turn(ctx context.Context, r rotationRow) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("store: encode a rotation: %w", err)
	}
	if len(r.was) == 0 {
		return one(c.InsertMeta(ctx, query.InsertMetaParams{Name: metaRotation, Value: value}))
	}
	return one(c.TurnMeta(ctx, query.TurnMetaParams{Name: metaRotation, Value: value, Was: r.was}))
}

// swap makes the next keyring of the one in the database and writes it, noted
// for all nodes.
func (c *change) swap(ctx context.Context, next func(*vault.Keyring, vault.RootKey) (*vault.Keyring, []byte, error)) (*vault.Keyring, error) {
	db := c.scope.db
	was, err := c.Meta(ctx, metaKeyring)
	if err != nil {
		return nil, err
	}
	kept, err := vault.OpenKeyring(*db.keyring.root.Load(), was)
	if err != nil {
		return nil, err
	}
	made, wrapped, err := next(kept, *db.keyring.root.Load())
	if err != nil {
		return nil, err
	}
	if err := one(c.TurnMeta(ctx, query.TurnMetaParams{Name: metaKeyring, Value: wrapped, Was: was})); err != nil {
		return nil, err
	}
	c.note(nounKeyring, metaKeyring, "")
	return made, nil
}

// Keyring returns the state of all keys and of the newest rotation.
func (s Scope) Keyring(ctx context.Context) (behalf.Keyring, error) {
	if err := s.allow(behalf.ReadKeyring, "", "keyring"); err != nil {
		return behalf.Keyring{}, err
	}
	if err := s.db.keyring.load(ctx); err != nil {
		return behalf.Keyring{}, err
	}
	rows, err := s.db.under(ctx)
	if err != nil {
		return behalf.Keyring{}, err
	}
	out := behalf.Keyring{Database: s.db.id, HeldBy: s.db.HeldBy()}
	if out.Kit, err = kit(ctx, s.db.write); err != nil {
		return out, err
	}
	for _, k := range s.db.keyring.now.Load().Keys() {
		out.Keys = append(out.Keys, behalf.KeyringKey{ID: keyName(k.ID), State: behalf.KeyringKeyState(k.State), Rows: rows[string(k.SealPrefix())] + rows[string(k.MACPrefix())]})
	}
	r, ok, err := s.db.rotation(ctx)
	if err != nil || !ok {
		return out, err
	}
	out.Rotation = r.rotation()
	if r.Stage == behalf.KeyRotationAdded {
		out.Waiting, err = s.db.without(ctx, s.db.keyring.now.Load())
	}
	return out, err
}

// without returns the nodes that have not loaded the newest key.
func (db *DB) without(ctx context.Context, k *vault.Keyring) ([]behalf.NodeID, error) {
	ids, err := db.read.NodesWithout(ctx, query.NodesWithoutParams{Since: micros(db.Now().Add(-nodeAlive)), Keyring: int64(k.Newest())})
	out := make([]behalf.NodeID, len(ids))
	for i, id := range ids {
		out[i] = behalf.NodeID(id)
	}
	return out, unavailableIf(err)
}

// RotateKeyring adds a key to the keyring. The servers go on from there by
// themselves, or whoever calls TurnKeyring. It returns CodeConflict where a
// rotation is under way.
func (s Scope) RotateKeyring(ctx context.Context) (behalf.KeyRotation, error) {
	if err := s.allow(behalf.WriteKeyring, "", "keyring"); err != nil {
		return behalf.KeyRotation{}, err
	}
	r, found, err := s.db.rotation(ctx)
	if err != nil {
		return behalf.KeyRotation{}, err
	}
	if found && r.Stage != behalf.KeyRotationDone {
		return behalf.KeyRotation{}, behalf.Errorf(behalf.CodeConflict, "A rotation is under way already. Wait until it has ended; the keyring's status shows how far it is.")
	}
	next := rotationRow{Stage: behalf.KeyRotationAdded, StartedAt: micros(s.db.Now()), was: r.was}
	err = s.change(ctx, func(c *change) error {
		made, err := c.swap(ctx, (*vault.Keyring).Rotate)
		if err != nil {
			return err
		}
		next.Key = made.Newest()
		c.audit("", "keyring.rotate", keyName(next.Key), "a key was added")
		return c.turn(ctx, next)
	})
	if errors.Is(err, ErrStale) {
		err = conflictStale("keyring")
	}
	return *next.rotation(), errors.Join(err, s.db.keyring.load(ctx))
}

// TurnKeyring does the next step of a rotation: a batch of rows at most. It
// returns where the rotation is then, and whether there is more to do now. Of
// several who call it, one works.
func (s Scope) TurnKeyring(ctx context.Context) (k behalf.KeyRotation, more bool, err error) {
	if err := s.allow(behalf.Maintain, "", "keyring"); err != nil {
		return k, false, err
	}
	db := s.db
	r, ok, err := db.rotation(ctx)
	now := micros(db.Now())
	if err != nil || !ok || r.Stage == behalf.KeyRotationDone || r.Owner != db.Node && r.Until > now {
		return *r.rotation(), false, err
	}
	if err := db.keyring.load(ctx); err != nil {
		return *r.rotation(), false, err
	}
	r.Owner, r.Until = db.Node, now+turnFor.Microseconds()
	switch r.Stage {
	case behalf.KeyRotationAdded:
		more, err = s.promote(ctx, &r)
	default:
		more, err = s.resealSome(ctx, &r)
	}
	if errors.Is(err, ErrStale) { // somebody else did it
		return *r.rotation(), false, nil
	}
	return *r.rotation(), more, err
}

// promote makes the added key the one that seals, once every node has it.
func (s Scope) promote(ctx context.Context, r *rotationRow) (bool, error) {
	db := s.db
	missing, err := db.without(ctx, db.keyring.now.Load())
	if err != nil || len(missing) > 0 {
		return false, err
	}
	err = s.change(ctx, func(c *change) error {
		_, err := c.swap(ctx, (*vault.Keyring).Promote)
		if err != nil {
			return err
		}
		r.Stage, r.PromotedAt = behalf.KeyRotationSealing, micros(c.now)
		c.audit("", "keyring.promote", keyName(r.Key), "everything is sealed with this key from now on")
		return c.turn(ctx, *r)
	})
	if err != nil {
		return false, err
	}
	if err := db.keyring.load(ctx); err != nil {
		return false, err
	}
	return true, nil
}

// resealSome seals a batch again, or ends the rotation where nothing waits.
func (s Scope) resealSome(ctx context.Context, r *rotationRow) (more bool, err error) {
	db := s.db
	if r.Column == 0 && r.After == nil {
		left, err := db.waiting(ctx)
		if err != nil {
			return false, err
		}
		if left <= r.Damaged { // a round found no more than what does not open
			if db.Now().Before(at(r.PromotedAt).Add(settleFor)) {
				return false, nil
			}
			return false, s.endRotation(ctx, r, left)
		}
		r.Total, r.Damaged = r.Done+left, 0
	}
	before := *r
	err = s.change(ctx, func(c *change) error {
		*r = before
		column := sealedColumns[r.Column]
		if r.After == nil {
			r.After = column.first()
		}
		last, done, damaged, err := column.reseal(ctx, c, r.After, column.prefix(db.keyring.now.Load()))
		if err != nil {
			return err
		}
		r.Done, r.Damaged, r.After = r.Done+done, r.Damaged+damaged, last
		if last == nil {
			r.Column = (r.Column + 1) % len(sealedColumns)
		}
		return c.turn(ctx, *r)
	})
	return err == nil, err
}

func (s Scope) endRotation(ctx context.Context, r *rotationRow, left int64) error {
	return s.change(ctx, func(c *change) error {
		if err := s.db.resealMeta(ctx, c); err != nil {
			return err
		}
		r.Stage, r.EndedAt, r.Damaged, r.Owner, r.Until = behalf.KeyRotationDone, micros(c.now), left, "", 0
		c.audit("", "keyring.rotated", keyName(r.Key), strconv.FormatInt(r.Done, 10)+" values were sealed again, "+strconv.FormatInt(left, 10)+" do not open")
		return c.turn(ctx, *r)
	})
}

// turn works on a rotation until ctx ends. It rests as long as it works, so that
// those who are served wait for little.
func (db *DB) turn(ctx context.Context) {
	system := db.As(behalf.System("keyring"))
	for rest := turnEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
		began := db.clock.local()
		_, more, err := system.TurnKeyring(ctx)
		if err != nil && ctx.Err() == nil {
			db.log.Warn("the rotation of the keyring waits", "err", err)
		}
		rest = turnEvery
		if more && err == nil {
			rest = min(time.Second, db.clock.local().Sub(began))
		}
	}
}

// DisableKey makes a key of the keyring open nothing; EnableKey takes that back.
// It returns CodeConflict for a key that seals, that anything is sealed under,
// or that a node which is gone may have left something under.
func (s Scope) DisableKey(ctx context.Context, id string) error {
	return s.changeKey(ctx, id, "keyring.disable", func(ctx context.Context, key vault.Key) error {
		if key.State == vault.KeyPrimary {
			return errKeyInUse()
		}
		rows, err := s.db.under(ctx)
		if err != nil {
			return err
		}
		if n := rows[string(key.SealPrefix())] + rows[string(key.MACPrefix())]; n > 0 {
			if err := s.resume(ctx); err != nil {
				return err
			}
			return behalf.Errorf(behalf.CodeConflict, "%d values are sealed under this key. Rotate the keyring, or where that was done wait a moment: they are sealed again now. What is damaged stays under it.", n)
		}
		lost, err := s.db.read.SpillingNodes(ctx, micros(s.db.Now().Add(-nodeAlive)))
		if err != nil {
			return unavailable(err)
		}
		if lost > 0 {
			return behalf.Errorf(behalf.CodeConflict, "A server that died lately may have left refreshed credentials in its data directory, sealed under this key. Start it again, or wait an hour.")
		}
		return nil
	}, (*vault.Keyring).Disable)
}

// resume lets a rotation that has ended look again: a node that was frozen at its
// end may have sealed with the old key when it woke up.
func (s Scope) resume(ctx context.Context) error {
	r, ok, err := s.db.rotation(ctx)
	if err != nil || !ok || r.Stage != behalf.KeyRotationDone {
		return err
	}
	r.Stage, r.EndedAt, r.Column, r.After, r.Damaged = behalf.KeyRotationSealing, 0, 0, nil, 0
	err = s.change(ctx, func(c *change) error {
		c.audit("", "keyring.resume", keyName(r.Key), "something is sealed with an older key")
		return c.turn(ctx, r)
	})
	if errors.Is(err, ErrStale) {
		return nil // somebody else did it
	}
	return err
}

func errKeyInUse() error {
	return behalf.Errorf(behalf.CodeConflict, "This key is in use: rotate the keyring before you disable the key that seals, and disable a key before you destroy it.")
}

// EnableKey makes a disabled key open again.
func (s Scope) EnableKey(ctx context.Context, id string) error {
	return s.changeKey(ctx, id, "keyring.enable", nil, (*vault.Keyring).Enable)
}

// DestroyKey removes a disabled key for ever. It returns CodeConflict for one
// that is not disabled.
func (s Scope) DestroyKey(ctx context.Context, id string) error {
	return s.changeKey(ctx, id, "keyring.destroy", nil, (*vault.Keyring).Destroy)
}

func (s Scope) changeKey(ctx context.Context, id, action string, may func(context.Context, vault.Key) error,
	do func(*vault.Keyring, vault.RootKey, uint32) (*vault.Keyring, []byte, error)) error {
	if err := s.allow(behalf.WriteKeyring, "", "keyring"); err != nil {
		return err
	}
	n, err := strconv.ParseUint(id, 16, 32)
	if err != nil {
		return behalf.NotFound("key")
	}
	if err := s.db.keyring.load(ctx); err != nil {
		return err
	}
	for _, key := range s.db.keyring.now.Load().Keys() {
		if key.ID == uint32(n) && may != nil {
			if err := may(ctx, key); err != nil {
				return err
			}
		}
	}
	err = s.change(ctx, func(c *change) error {
		_, err := c.swap(ctx, func(k *vault.Keyring, root vault.RootKey) (*vault.Keyring, []byte, error) {
			return do(k, root, uint32(n))
		})
		switch {
		case errors.Is(err, vault.ErrNoKey):
			return behalf.NotFound("key")
		case errors.Is(err, vault.ErrKeyInUse):
			return errKeyInUse()
		case err != nil:
			return err
		}
		c.audit("", action, id, "")
		return nil
	})
	if errors.Is(err, ErrStale) {
		err = conflictStale("keyring")
	}
	return errors.Join(err, s.db.keyring.load(ctx))
}

// RewrapKeyring wraps the keyring with another root key. Servers that run go on
// with what they have loaded; they start again only with the new one.
func (s Scope) RewrapKeyring(ctx context.Context, root vault.RootKey) error {
	if err := s.allow(behalf.WriteKeyring, "", "keyring"); err != nil {
		return err
	}
	err := s.change(ctx, func(c *change) error {
		_, err := c.swap(ctx, func(k *vault.Keyring, _ vault.RootKey) (*vault.Keyring, []byte, error) {
			wrapped, err := k.Wrap(root)
			return k, wrapped, err
		})
		if err != nil {
			return err
		}
		c.audit("", "keyring.rewrap", metaKeyring, strings.TrimSpace("the keyring is wrapped with another root key "+root.HeldBy()))
		return c.voidKit(ctx)
	})
	if errors.Is(err, ErrStale) {
		return conflictStale("keyring")
	}
	if err == nil {
		s.db.keyring.root.Store(&root)
	}
	return err
}
