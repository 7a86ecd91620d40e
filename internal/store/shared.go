package store

import (
	"context"
	"errors"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file keeps connections that serve all users of an assistant: those that
// an administrator has authorized, and those that need nobody. Their user is
// empty.

// mayBegin decides who may begin a session: one for all users is an
// administrator's.
func (s Scope) mayBegin(n behalf.ConnectSession) error {
	if n.User == "" {
		return s.allow(behalf.Preauthorize, n.Assistant, "connect session")
	}
	return s.allow(behalf.BeginSessions, n.Assistant, "connect session")
}

// mayChange decides who may end a connection or make it the default.
func (s Scope) mayChange(c behalf.Connection) error {
	if c.User == "" {
		if err := s.allow(behalf.Preauthorize, c.Assistant, "connection"); err != nil {
			return err
		}
	}
	return s.allow(behalf.WriteConnections, c.Assistant, "connection")
}

// MakeConnection keeps a connection for which nobody had to be there, or returns
// the one that another call has made a moment ago.
func (s Scope) MakeConnection(ctx context.Context, p behalf.Profile, tenant string, credential behalf.Credential, inputs behalf.Inputs, requested []string) (behalf.Connection, error) {
	if err := s.allow(behalf.UseConnections, p.Assistant, "connection"); err != nil {
		return behalf.Connection{}, err
	}
	var made behalf.Connection
	err := s.change(ctx, func(c *change) (err error) {
		of := behalf.ConnectSession{Assistant: p.Assistant, Profile: p.ID, Tenant: tenant}
		made, err = s.insertConnection(ctx, c, of, behalf.SessionResult{Credential: credential}, inputs, requested)
		return err
	})
	if !s.db.engine.unique(errors.Unwrap(err)) {
		return made, err
	}
	row, err := s.db.write.ConnectionOfAccount(ctx, query.ConnectionOfAccountParams{Assistant: string(p.Assistant), Profile: string(p.ID), Tenant: tenant})
	if err := found(err, "connection"); err != nil {
		return behalf.Connection{}, err
	}
	return connectionFrom(row), nil
}

// vacates reports whether a connection is the one that is meant, but does not
// work any more: a new one takes its place, or no call would ever reach it.
func vacates(row query.Connection) bool {
	return row.IsDefault != 0 && row.Status != string(behalf.ConnectionActive)
}

// connectAnew is for an account that has no connection yet: it becomes a new
// one, or the account of the connection that the session renews, where that
// one's was not known.
func (s Scope) connectAnew(ctx context.Context, c *change, session behalf.ConnectSession, result behalf.SessionResult, inputs behalf.Inputs, requested []string) (behalf.Connection, error) {
	if result.Into != "" {
		row, err := c.Connection(ctx, string(result.Into))
		if err != nil && !isNoRows(err) {
			return behalf.Connection{}, err
		}
		same := row.Assistant == string(session.Assistant) && row.Profile == string(session.Profile) && row.EndUser == session.User && row.Tenant == session.Tenant
		if err == nil && same && row.Subject == "" && row.Status != string(behalf.ConnectionRevoked) {
			return s.reconnect(ctx, c, row, result, inputs, requested)
		}
	}
	return s.insertConnection(ctx, c, session, result, inputs, requested)
}
