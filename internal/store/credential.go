package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// keptGenerations is how many generations of a credential are kept for recovery.
const keptGenerations = 5

// sealedCredential is the form in which a credential is sealed.
type sealedCredential struct {
	AccessToken  string   `json:"access_token"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	IDToken      string   `json:"id_token,omitempty"`
	TokenType    string   `json:"token_type,omitempty"`
	Scopes       []string `json:"scopes"`
	ExpiresAt    int64    `json:"expires_at,omitempty"`
	ObtainedAt   int64    `json:"obtained_at"`

	RefreshExpiresAt int64                    `json:"refresh_expires_at,omitempty"`
	Slots            map[string]sealedSlotted `json:"slots,omitempty"`
	Captured         map[string]string        `json:"captured,omitempty"`
	Renewal          behalf.Renewal           `json:"renewal,omitempty"`
	Unfinished       bool                     `json:"unfinished,omitempty"`
}

// sealedSlotted is the form in which the token of a slot is sealed.
type sealedSlotted struct {
	AccessToken  string   `json:"access_token"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	TokenType    string   `json:"token_type,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	ExpiresAt    int64    `json:"expires_at,omitempty"`
	ObtainedAt   int64    `json:"obtained_at"`
	Derived      bool     `json:"derived,omitempty"`
}

// credentialPlace binds a credential to its connection, generation and fence.
func credentialPlace(id behalf.ConnectionID, generation, fence int64) vault.Place {
	return vault.Place{Table: "credentials", Row: fmt.Sprintf("%s/%d", id, fence), Column: "sealed", Generation: generation}
}

func (db *DB) sealCredential(id behalf.ConnectionID, generation, fence int64, c behalf.Credential) ([]byte, error) {
	return db.seal(sealCredential(c), credentialPlace(id, generation, fence))
}

func sealCredential(c behalf.Credential) sealedCredential {
	sealed := sealedCredential{AccessToken: c.AccessToken.Reveal(), RefreshToken: c.RefreshToken.Reveal(), IDToken: c.IDToken.Reveal(), TokenType: c.TokenType, Scopes: c.Scopes,
		ExpiresAt: micros(c.ExpiresAt), ObtainedAt: micros(c.ObtainedAt), RefreshExpiresAt: micros(c.RefreshExpiresAt), Captured: c.Captured, Renewal: c.Renewal, Unfinished: c.Unfinished}
	for name, t := range c.Slots {
		if sealed.Slots == nil {
			sealed.Slots = map[string]sealedSlotted{}
		}
		sealed.Slots[name] = sealedSlotted{t.AccessToken.Reveal(), t.RefreshToken.Reveal(), t.TokenType, t.Scopes, micros(t.ExpiresAt), micros(t.ObtainedAt), t.Derived}
	}
	return sealed
}

func (c sealedCredential) open() behalf.Credential {
	got := behalf.Credential{AccessToken: secret.New(c.AccessToken), RefreshToken: secret.New(c.RefreshToken), IDToken: secret.New(c.IDToken),
		TokenType: c.TokenType, Scopes: c.Scopes, ExpiresAt: at(c.ExpiresAt), ObtainedAt: at(c.ObtainedAt), RefreshExpiresAt: at(c.RefreshExpiresAt),
		Captured: c.Captured, Renewal: c.Renewal, Unfinished: c.Unfinished}
	for name, t := range c.Slots {
		if got.Slots == nil {
			got.Slots = map[string]behalf.Slotted{}
		}
		got.Slots[name] = behalf.Slotted{AccessToken: secret.New(t.AccessToken), RefreshToken: secret.New(t.RefreshToken), TokenType: t.TokenType, Scopes: t.Scopes,
			ExpiresAt: at(t.ExpiresAt), ObtainedAt: at(t.ObtainedAt), Derived: t.Derived}
	}
	return got
}

// insertCredential keeps the credential that a connection has from now on, and
// forgets what is older than the last generations.
func (s Scope) insertCredential(ctx context.Context, c *change, n behalf.Connection, got behalf.Credential, origin behalf.Origin) error {
	sealed, err := s.db.sealCredential(n.ID, n.Generation, n.Fence, got)
	if err != nil {
		return err
	}
	_, err = c.InsertCredential(ctx, query.InsertCredentialParams{Connection: string(n.ID), Generation: n.Generation, Fence: n.Fence, Sealed: sealed,
		ObtainedAt: micros(got.ObtainedAt), Origin: string(origin), KeptAt: micros(c.now)})
	if err != nil {
		return err
	}
	return c.TrimCredentials(ctx, query.TrimCredentialsParams{Connection: string(n.ID), Generation: n.Generation - keptGenerations})
}

func (s Scope) credential(ctx context.Context, id behalf.ConnectionID, generation, fence int64) (behalf.Credential, error) {
	return s.credentialIn(ctx, s.db.read, id, generation, fence)
}

func (s Scope) credentialIn(ctx context.Context, q *query.Queries, id behalf.ConnectionID, generation, fence int64) (behalf.Credential, error) {
	row, err := q.Credential(ctx, query.CredentialParams{Connection: string(id), Generation: generation, Fence: fence})
	if err := found(err, "credential"); err != nil {
		return behalf.Credential{}, err
	}
	var sealed sealedCredential
	err = s.db.unseal(row.Sealed, credentialPlace(id, generation, fence), &sealed)
	return sealed.open(), err
}

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
