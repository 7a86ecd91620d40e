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
const keptGenerations = 3

// sealedCredential is the form in which a credential is sealed.
type sealedCredential struct {
	AccessToken  string   `json:"access_token"`
	RefreshToken string   `json:"refresh_token,omitempty"`
	IDToken      string   `json:"id_token,omitempty"`
	TokenType    string   `json:"token_type,omitempty"`
	Scopes       []string `json:"scopes"`
	ExpiresAt    int64    `json:"expires_at,omitempty"`
	ObtainedAt   int64    `json:"obtained_at"`
}

// credentialPlace binds a credential to its connection, generation and fence.
func credentialPlace(id behalf.ConnectionID, generation, fence int64) vault.Place {
	return vault.Place{Table: "credentials", Row: fmt.Sprintf("%s/%d", id, fence), Column: "sealed", Generation: generation}
}

func (db *DB) sealCredential(id behalf.ConnectionID, generation, fence int64, c behalf.Credential) ([]byte, error) {
	return db.seal(sealCredential(c), credentialPlace(id, generation, fence))
}

func sealCredential(c behalf.Credential) sealedCredential {
	return sealedCredential{c.AccessToken.Reveal(), c.RefreshToken.Reveal(), c.IDToken.Reveal(), c.TokenType, c.Scopes, micros(c.ExpiresAt), micros(c.ObtainedAt)}
}

func (c sealedCredential) open() behalf.Credential {
	return behalf.Credential{AccessToken: secret.New(c.AccessToken), RefreshToken: secret.New(c.RefreshToken), IDToken: secret.New(c.IDToken),
		TokenType: c.TokenType, Scopes: c.Scopes, ExpiresAt: at(c.ExpiresAt), ObtainedAt: at(c.ObtainedAt)}
}

func (s Scope) insertCredential(ctx context.Context, c *change, id behalf.ConnectionID, generation, fence int64, got behalf.Credential) error {
	sealed, err := s.db.sealCredential(id, generation, fence, got)
	if err != nil {
		return err
	}
	_, err = c.InsertCredential(ctx, query.InsertCredentialParams{Connection: string(id), Generation: generation, Fence: fence, Sealed: sealed, ObtainedAt: micros(got.ObtainedAt)})
	return err
}

func (s Scope) credential(ctx context.Context, id behalf.ConnectionID, generation, fence int64) (behalf.Credential, error) {
	row, err := s.db.read.Credential(ctx, query.CredentialParams{Connection: string(id), Generation: generation, Fence: fence})
	if err := found(err, "credential"); err != nil {
		return behalf.Credential{}, err
	}
	var sealed sealedCredential
	err = s.db.unseal(row.Sealed, credentialPlace(id, generation, fence), &sealed)
	return sealed.open(), err
}

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
