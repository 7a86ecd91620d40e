package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Key is a key on the wire, without what is secret of it.
type Key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Assistant  string     `json:"assistant,omitempty"`
	Role       string     `json:"role,omitempty"`
	Status     string     `json:"status" enum:"active,expired,revoked"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// NewKey is a key that was just made; Key is shown this once.
type NewKey struct {
	Key
	Secret string `json:"key" doc:"Shown once: only a hash of it is kept."`
}

// KeyBody is what a key is made of.
type KeyBody struct {
	Name      string     `json:"name" doc:"What it is for, at most 255 characters."`
	Assistant string     `json:"assistant,omitempty" doc:"Id or slug: the key of that assistant. Left out: an administrator's key."`
	Role      string     `json:"role,omitempty" doc:"Of an administrator's key: owner, administrator, developer or viewer."`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func (a *API) listKeys(ctx context.Context, db store.Scope, in *Page) (*ListOutput[Key], error) {
	items, err := db.Keys(ctx, in.page())
	return listOf(items, in.Limit, func(k behalf.Key) string { return string(k.ID) }, func(k behalf.Key) Key { return viewKey(k, db.Now()) }), err
}

func (a *API) createKey(ctx context.Context, db store.Scope, in *struct{ Body KeyBody }) (*Output[NewKey], error) {
	k := behalf.Key{Name: in.Body.Name, Role: behalf.Role(in.Body.Role)}
	if in.Body.ExpiresAt != nil {
		k.ExpiresAt = *in.Body.ExpiresAt
	}
	if in.Body.Assistant != "" {
		x, err := db.Assistant(ctx, in.Body.Assistant)
		if behalf.CodeOf(err) == behalf.CodeNotFound {
			err = behalf.Invalid("assistant", "There is no such assistant.")
		}
		if err != nil {
			return nil, err
		}
		k.Assistant = x.ID
	}
	k, key, err := db.CreateKey(ctx, k)
	return output(NewKey{viewKey(k, db.Now()), key.Reveal()}), err
}

func (a *API) deleteKey(ctx context.Context, db store.Scope, in *struct {
	Key string `path:"key" maxLength:"80"`
}) (*struct{}, error) {
	return nil, db.RevokeKey(ctx, behalf.KeyID(in.Key))
}

func viewKey(k behalf.Key, now time.Time) Key {
	v := Key{ID: string(k.ID), Name: k.Name, Assistant: string(k.Assistant), Role: string(k.Role), Status: "active", CreatedAt: k.CreatedAt,
		ExpiresAt: told(k.ExpiresAt), LastUsedAt: told(k.LastUsedAt)}
	switch {
	case !k.RevokedAt.IsZero():
		v.Status = "revoked"
	case !k.Good(now):
		v.Status = "expired"
	}
	return v
}
