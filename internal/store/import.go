package store

import (
	"context"
	"errors"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// ImportAction is what became of one imported connection.
type ImportAction string

const (
	Imported ImportAction = "create"
	Replaced ImportAction = "replace" // the same account's connection has the imported credential now
	Skipped  ImportAction = "skip"    // the account has a connection already
)

// ImportedConnection is what became of one row of an import.
type ImportedConnection struct {
	Action     ImportAction
	Connection behalf.ConnectionID // empty where a dry run would create it
}

// errDry undoes the transaction of a dry run.
var errDry = errors.New("store: a dry run is undone")

// Import keeps connections that another broker held: all of them, or with an
// error none. What an account has here already stays, unless replace is set.
func (s Scope) Import(ctx context.Context, p behalf.Profile, rows []behalf.Import, inputs []behalf.Inputs, replace, dry bool) ([]ImportedConnection, error) {
	for _, permission := range []behalf.Permission{behalf.WriteProfiles, behalf.WriteConnections} { // it brings tokens for anybody
		if err := s.allow(permission, p.Assistant, "profile"); err != nil {
			return nil, err
		}
	}
	requested, _ := p.Plan.Scopes()
	out := make([]ImportedConnection, len(rows))
	err := s.change(ctx, func(c *change) (err error) {
		for i, n := range rows {
			if out[i], err = s.importOne(ctx, c, p, n, inputs[i], requested, replace); err != nil {
				return err
			}
		}
		if dry {
			return errDry
		}
		return nil
	})
	if errors.Is(err, errDry) {
		for i := range out {
			if out[i].Action == Imported {
				out[i].Connection = ""
			}
		}
		err = nil
	}
	return out, err
}

func (s Scope) importOne(ctx context.Context, c *change, p behalf.Profile, n behalf.Import, in behalf.Inputs, requested []string, replace bool) (ImportedConnection, error) {
	row, err := c.ConnectionOfAccount(ctx, query.ConnectionOfAccountParams{Assistant: string(p.Assistant), Profile: string(p.ID),
		EndUser: n.User, Tenant: n.Tenant, Subject: n.Account.Subject})
	result := behalf.SessionResult{Credential: n.Credential, Account: n.Account, Imported: true}
	switch {
	case isNoRows(err):
		made, err := s.insertConnection(ctx, c, behalf.ConnectSession{Assistant: p.Assistant, Profile: p.ID, User: n.User, Tenant: n.Tenant}, result, in, requested)
		return ImportedConnection{Imported, made.ID}, err
	case err != nil:
		return ImportedConnection{}, err
	case !replace:
		return ImportedConnection{Skipped, behalf.ConnectionID(row.ID)}, nil
	}
	kept, err := s.reconnect(ctx, c, row, result, in, requested)
	return ImportedConnection{Replaced, kept.ID}, err
}
