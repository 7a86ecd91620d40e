package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// CreateKey makes a key and returns it, for the only time.
func (s Scope) CreateKey(ctx context.Context, k behalf.Key) (behalf.Key, secret.Text, error) {
	if err := s.mayWriteKey(k); err != nil {
		return k, secret.Text{}, err
	}
	now := s.db.Now()
	if err := k.Validate(now); err != nil {
		return k, secret.Text{}, err
	}
	if k.Assistant != "" {
		a, err := s.Assistant(ctx, string(k.Assistant))
		if err != nil {
			return k, secret.Text{}, err
		}
		k.Assistant = a.ID
	}
	k.ID, k.CreatedAt = behalf.NewKeyID(now), now
	key := secret.NewKey(behalf.KeyPrefix)
	err := s.change(ctx, func(c *change) error {
		c.audit(k.Assistant, "key.create", string(k.ID), k.Name)
		c.noteKey(secret.Hash(key))
		return c.InsertKey(ctx, query.InsertKeyParams{ID: string(k.ID), Assistant: string(k.Assistant), Role: string(k.Role), Name: k.Name,
			Hash: secret.Hash(key), CreatedAt: micros(now), ExpiresAt: micros(k.ExpiresAt)})
	})
	return k, key, err
}

func (s Scope) mayWriteKey(k behalf.Key) error {
	if k.Role == behalf.RoleOwner {
		return s.allow(behalf.WriteOwnerKeys, "", "key")
	}
	return s.allow(behalf.WriteKeys, "", "key")
}

// Keys returns all keys, oldest first, without what is secret of them.
func (s Scope) Keys(ctx context.Context, page Page) ([]behalf.Key, error) {
	if err := s.allow(behalf.ReadKeys, "", "key"); err != nil {
		return nil, err
	}
	if !text(page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Keys(ctx, query.KeysParams{After: page.After, Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]behalf.Key, 0, len(rows))
	for _, r := range rows {
		out = append(out, keyFrom(r))
	}
	return out, nil
}

// RevokeKey ends a key at once. Revoking one that has ended already is no error.
func (s Scope) RevokeKey(ctx context.Context, id behalf.KeyID) error {
	if err := s.allow(behalf.WriteKeys, "", "key"); err != nil {
		return err
	}
	if !text(string(id)) {
		return behalf.NotFound("key")
	}
	row, err := s.db.read.Key(ctx, string(id))
	if err := found(err, "key"); err != nil {
		return err
	}
	if err := s.mayWriteKey(keyFrom(row)); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.RevokeKey(ctx, query.RevokeKeyParams{RevokedAt: micros(c.now), ID: string(id)})
		if err == nil && rows > 0 {
			c.audit(behalf.AssistantID(row.Assistant), "key.revoke", string(id), row.Name)
			c.noteKey(row.Hash)
		}
		return err
	})
}

// HasKeys reports whether any key was ever made: the first start makes one.
func (s Scope) HasKeys(ctx context.Context) (bool, error) {
	if err := s.allow(behalf.ReadKeys, "", "key"); err != nil {
		return false, err
	}
	n, err := s.db.read.CountKeys(ctx)
	if err != nil {
		return false, unavailable(err)
	}
	return n > 0, nil
}

func keyFrom(row query.Key) behalf.Key {
	return behalf.Key{ID: behalf.KeyID(row.ID), Assistant: behalf.AssistantID(row.Assistant), Role: behalf.Role(row.Role), Name: row.Name,
		CreatedAt: at(row.CreatedAt), ExpiresAt: at(row.ExpiresAt), RevokedAt: at(row.RevokedAt), LastUsedAt: at(row.LastUsedAt)}
}
