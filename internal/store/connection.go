package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// Connection returns a connection by id.
func (s Scope) Connection(ctx context.Context, id behalf.ConnectionID) (behalf.Connection, error) {
	row, err := s.connection(ctx, s.db.read, id)
	return connectionFrom(row), err
}

func (s Scope) connection(ctx context.Context, q *query.Queries, id behalf.ConnectionID) (query.Connection, error) {
	if !text(string(id)) {
		return query.Connection{}, behalf.NotFound("connection")
	}
	row, err := q.Connection(ctx, string(id))
	if err := found(err, "connection"); err != nil {
		return query.Connection{}, err
	}
	if err := s.allow(behalf.ReadConnections, behalf.AssistantID(row.Assistant), "connection"); err != nil {
		return query.Connection{}, err
	}
	return row, nil
}

// Sees reports whether the connection may be read in this scope.
func (s Scope) Sees(c behalf.Connection) bool {
	return s.allow(behalf.ReadConnections, c.Assistant, "connection") == nil
}

// ConnectionFilter narrows a list; empty fields take everything.
type ConnectionFilter struct {
	Profile behalf.ProfileID
	User    string
	Tenant  string
	Status  behalf.ConnectionStatus
}

// Connections returns an assistant's connections, oldest first.
func (s Scope) Connections(ctx context.Context, assistant behalf.AssistantID, f ConnectionFilter, page Page) ([]behalf.Connection, error) {
	if err := s.allow(behalf.ReadConnections, assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(string(assistant), page.After, string(f.Profile), f.User, f.Tenant, string(f.Status)) {
		return nil, nil
	}
	rows, err := s.db.read.Connections(ctx, query.ConnectionsParams{Assistant: string(assistant), After: page.After, Profile: string(f.Profile),
		EndUser: f.User, Tenant: f.Tenant, Status: string(f.Status), Max: page.limit()})
	return connectionsFrom(rows), unavailableIf(err)
}

// LatestConnections is Connections, newest first: page.After is the id of the
// last connection of the page before.
func (s Scope) LatestConnections(ctx context.Context, assistant behalf.AssistantID, f ConnectionFilter, page Page) ([]behalf.Connection, error) {
	if err := s.allow(behalf.ReadConnections, assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(string(assistant), page.After, string(f.Profile), f.User, f.Tenant, string(f.Status)) {
		return nil, nil
	}
	rows, err := s.db.read.LatestConnections(ctx, query.LatestConnectionsParams{Assistant: string(assistant), Before: page.After, Profile: string(f.Profile),
		EndUser: f.User, Tenant: f.Tenant, Status: string(f.Status), Max: page.limit()})
	return connectionsFrom(rows), unavailableIf(err)
}

// ConnectionsOf returns the connections that a call on behalf of the user may
// mean, the default one first. An empty tenant means any.
func (s Scope) ConnectionsOf(ctx context.Context, assistant behalf.AssistantID, profile behalf.ProfileID, user, tenant string) ([]behalf.Connection, error) {
	if err := s.allow(behalf.UseConnections, assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(string(assistant), string(profile), user, tenant) {
		return nil, nil
	}
	rows, err := s.db.read.ConnectionsOf(ctx, query.ConnectionsOfParams{Assistant: string(assistant), Profile: string(profile), EndUser: user, Tenant: tenant})
	return connectionsFrom(rows), unavailableIf(err)
}

func connectionsFrom(rows []query.Connection) []behalf.Connection {
	out := make([]behalf.Connection, 0, len(rows))
	for _, r := range rows {
		out = append(out, connectionFrom(r))
	}
	return out
}

func unavailableIf(err error) error {
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// Secrets returns what is sealed of a connection as it was read: the credential
// in force and the inputs. It needs the permission to use the connection.
func (s Scope) Secrets(ctx context.Context, c behalf.Connection) (behalf.Credential, behalf.Inputs, error) {
	if err := s.allow(behalf.UseConnections, c.Assistant, "connection"); err != nil {
		return behalf.Credential{}, behalf.Inputs{}, err
	}
	row, err := s.db.read.Connection(ctx, string(c.ID))
	if err := found(err, "connection"); err != nil {
		return behalf.Credential{}, behalf.Inputs{}, err
	}
	if row.Assistant != string(c.Assistant) {
		return behalf.Credential{}, behalf.Inputs{}, behalf.NotFound("connection")
	}
	if err := s.db.checkPointer(ctx, row); err != nil {
		return behalf.Credential{}, behalf.Inputs{}, err
	}
	inputs, err := s.db.openInputs(row)
	if err != nil {
		return behalf.Credential{}, inputs, err
	}
	got, err := s.credential(ctx, c.ID, c.Generation, c.Fence)
	return got, inputs, err
}

// Connect keeps what a finished authorization brought, in one transaction with
// the session's end: as a new connection, or as the next generation of the one
// that the same person has for the same account.
func (s Scope) Connect(ctx context.Context, session behalf.ConnectSession, result behalf.SessionResult, inputs behalf.Inputs, requested []string) (behalf.Connection, error) {
	if err := s.mayRun(session); err != nil {
		return behalf.Connection{}, err
	}
	var kept behalf.Connection
	err := s.change(ctx, func(c *change) error {
		row, err := c.ConnectionOfAccount(ctx, query.ConnectionOfAccountParams{Assistant: string(session.Assistant), Profile: string(session.Profile),
			EndUser: session.User, Tenant: session.Tenant, Subject: result.Account.Subject})
		switch {
		case err == nil:
			kept, err = s.reconnect(ctx, c, row, result, inputs, requested)
		case isNoRows(err):
			kept, err = s.connectAnew(ctx, c, session, result, inputs, requested)
		}
		if err != nil {
			return err
		}
		session.Status, session.Connection, session.EndedAt = behalf.SessionConnected, kept.ID, c.now
		return s.updateSession(ctx, c, session, behalf.SessionSecrets{})
	})
	if s.db.engine.unique(errors.Unwrap(err)) {
		return kept, ErrStale // another session made it a moment ago: look again
	}
	return kept, err
}

func (s Scope) insertConnection(ctx context.Context, c *change, session behalf.ConnectSession, result behalf.SessionResult, inputs behalf.Inputs, requested []string) (behalf.Connection, error) {
	others, err := c.ConnectionsOf(ctx, query.ConnectionsOfParams{Assistant: string(session.Assistant), Profile: string(session.Profile), EndUser: session.User})
	if err != nil {
		return behalf.Connection{}, err
	}
	n := behalf.Connection{ID: behalf.NewConnectionID(c.now), Assistant: session.Assistant, Profile: session.Profile, User: session.User,
		Tenant: session.Tenant, Default: len(others) == 0 || slices.ContainsFunc(others, vacates), CreatedAt: c.now, UpdatedAt: c.now, Version: 1, Fence: 1}
	n = n.Connected(result.Credential, result.Account, requested)
	n.GrantedAt = c.now
	sealedInputs, err := s.db.sealInputs(n, inputs)
	if err != nil {
		return n, err
	}
	if err := c.InsertConnection(ctx, query.InsertConnectionParams{ID: string(n.ID), Assistant: string(n.Assistant), Profile: string(n.Profile),
		EndUser: n.User, Tenant: n.Tenant, Subject: n.Account.Subject, Label: n.Account.Label, Status: string(n.Status), Reason: n.Reason,
		IsDefault: flag(n.Default), ScopesGranted: joinScopes(n.ScopesGranted), ScopesMissing: joinScopes(n.ScopesMissing), SealedInputs: sealedInputs,
		Generation: n.Generation, Fence: n.Fence, ExpiresAt: micros(n.ExpiresAt), ObtainedAt: micros(n.ObtainedAt), Refreshable: flag(n.Refreshable),
		Rotates: string(n.Rotates), CreatedAt: micros(c.now), UpdatedAt: micros(c.now)}); err != nil {
		return n, err
	}
	if err := s.sign(ctx, c, n); err != nil {
		return n, err
	}
	if err := s.insertCredential(ctx, c, n, result.Credential, result.Origin()); err != nil {
		return n, err
	}
	if n.Default && len(others) > 0 {
		if err := c.SetDefaultConnection(ctx, query.SetDefaultConnectionParams{ID: string(n.ID), Assistant: string(n.Assistant), Profile: string(n.Profile), EndUser: n.User}); err != nil {
			return n, err
		}
	}
	c.audit(n.Assistant, "connection.create", string(n.ID), "")
	c.noteConnection(n)
	c.event(eventOf(n, behalf.EventConnectionCreated, ""))
	return n, nil
}

// reconnect moves an existing connection to the new credential. It raises the
// fence, so that a refresh which is under way with the old one cannot win.
func (s Scope) reconnect(ctx context.Context, c *change, row query.Connection, result behalf.SessionResult, inputs behalf.Inputs, requested []string) (behalf.Connection, error) {
	old := connectionFrom(row)
	n := old.Connected(result.Credential, result.Account, requested)
	n.Fence, n.GrantedAt, n.WarnedAt = row.LeaseFence+1, c.now, time.Time{}
	sealedInputs, err := s.db.sealInputs(n, inputs)
	if err != nil {
		return n, err
	}
	if err := one(c.UpdateConnection(ctx, query.UpdateConnectionParams{Subject: n.Account.Subject, Label: n.Account.Label, Status: string(n.Status), Reason: n.Reason,
		IsDefault: flag(n.Default), ScopesGranted: joinScopes(n.ScopesGranted), ScopesMissing: joinScopes(n.ScopesMissing), SealedInputs: sealedInputs,
		Generation: n.Generation, Fence: n.Fence, ExpiresAt: micros(n.ExpiresAt), ObtainedAt: micros(n.ObtainedAt), Refreshable: flag(n.Refreshable),
		Rotates: string(n.Rotates), UpdatedAt: micros(c.now), ID: string(n.ID), Version: old.Version})); err != nil {
		return n, err
	}
	if err := s.sign(ctx, c, n); err != nil {
		return n, err
	}
	if err := s.insertCredential(ctx, c, n, result.Credential, result.Origin()); err != nil {
		return n, err
	}
	event := behalf.EventConnectionRenewed
	if old.Status == behalf.ConnectionLapsed {
		event = behalf.EventConnectionRecovered
	}
	c.audit(n.Assistant, "connection.reconnect", string(n.ID), "")
	c.noteConnection(n)
	c.event(eventOf(n, event, ""))
	return n, nil
}

// sign signs where the pointer of a connection is, which a person has just
// authorized; when it is refreshed is planned anew.
func (s Scope) sign(ctx context.Context, c *change, n behalf.Connection) error {
	signature, err := s.db.signPointer(string(n.ID), n.Generation, n.Fence)
	if err != nil {
		return err
	}
	return c.SignGranted(ctx, query.SignGrantedParams{Generation: n.Generation, Fence: n.Fence, Signature: signature, GrantedAt: micros(c.now),
		RefreshEndsAt: micros(n.RefreshEndsAt), RefreshLife: n.RefreshLife.Microseconds(), ID: string(n.ID)})
}

// Revoke ends a connection: its credentials are erased in the same transaction.
// Ending one that has ended is no error.
func (s Scope) Revoke(ctx context.Context, c behalf.Connection, reason string) error {
	if err := s.mayChange(c); err != nil {
		return err
	}
	return s.change(ctx, func(t *change) error {
		ended, err := s.ending(ctx, t, c, reason)
		if err != nil || !ended {
			return err
		}
		if err := t.outcome(ctx, owedOf(c), notOffered("The profile has no revocation address.")); err != nil {
			return err
		}
		return t.EraseCredentials(ctx, string(c.ID))
	})
}

// ending ends a connection, but for its credentials. It reports whether it had
// not ended before.
func (s Scope) ending(ctx context.Context, t *change, c behalf.Connection, reason string) (bool, error) {
	rows, err := t.RevokeConnection(ctx, query.RevokeConnectionParams{Reason: reason, UpdatedAt: micros(t.now), ID: string(c.ID), Assistant: string(c.Assistant)})
	if err != nil || rows == 0 {
		return false, err
	}
	t.audit(c.Assistant, "connection.revoke", string(c.ID), reason)
	t.noteConnection(c)
	t.event(eventOf(c, behalf.EventConnectionRevoked, reason))
	return true, nil
}

// MakeDefault makes a connection the one that is meant when its user has several.
func (s Scope) MakeDefault(ctx context.Context, c behalf.Connection) error {
	if err := s.mayChange(c); err != nil {
		return err
	}
	return s.change(ctx, func(t *change) error {
		row, err := s.connection(ctx, t.Queries, c.ID)
		switch {
		case err != nil:
			return err
		case row.Status == string(behalf.ConnectionRevoked):
			return behalf.Errorf(behalf.CodeConflict, "The connection was ended and cannot be the one that is meant.")
		}
		t.audit(behalf.AssistantID(row.Assistant), "connection.default", row.ID, "")
		t.noteConnection(connectionFrom(row))
		return t.SetDefaultConnection(ctx, query.SetDefaultConnectionParams{ID: row.ID, Assistant: row.Assistant, Profile: row.Profile, EndUser: row.EndUser})
	})
}

func eventOf(c behalf.Connection, t behalf.EventType, detail string) behalf.Event {
	return behalf.Event{Assistant: c.Assistant, Type: t, Profile: c.Profile, Connection: c.ID, User: c.User, Detail: detail}
}

// sealedInputs is the form in which inputs are sealed.
type sealedInputs struct {
	Fields   map[string]string `json:"fields,omitempty"`
	Captured map[string]string `json:"captured,omitempty"`
	Origins  []string          `json:"origins,omitempty"`
}

// inputsPlace binds a connection's inputs to whose connection it is: a row that
// was given to another user, profile or assistant behind our back does not open.
func inputsPlace(c behalf.Connection) vault.Place {
	row := strings.Join([]string{string(c.ID), string(c.Assistant), string(c.Profile), c.User, c.Tenant}, "\x00")
	return vault.Place{Table: "connections", Row: row, Column: "sealed_inputs"}
}

func (db *DB) sealInputs(c behalf.Connection, in behalf.Inputs) ([]byte, error) {
	return db.seal(sealInputs(in), inputsPlace(c))
}

func sealInputs(in behalf.Inputs) sealedInputs {
	return sealedInputs{revealed(in.Fields), in.Captured, in.Origins}
}

func (in sealedInputs) open() behalf.Inputs {
	return behalf.Inputs{Fields: concealed(in.Fields), Captured: in.Captured, Origins: in.Origins}
}

func (db *DB) openInputs(row query.Connection) (behalf.Inputs, error) {
	var in sealedInputs
	err := db.unseal(row.SealedInputs, inputsPlace(connectionFrom(row)), &in)
	return in.open(), err
}

func revealed(m map[string]secret.Text) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v.Reveal()
	}
	return out
}

func concealed(m map[string]string) map[string]secret.Text {
	out := make(map[string]secret.Text, len(m))
	for k, v := range m {
		out[k] = secret.New(v)
	}
	return out
}

func connectionFrom(row query.Connection) behalf.Connection {
	return behalf.Connection{ID: behalf.ConnectionID(row.ID), Assistant: behalf.AssistantID(row.Assistant), Profile: behalf.ProfileID(row.Profile), User: row.EndUser,
		Tenant: row.Tenant, Account: behalf.Account{Subject: row.Subject, Label: row.Label}, Status: behalf.ConnectionStatus(row.Status), Reason: row.Reason,
		Default: row.IsDefault != 0, ScopesGranted: splitScopes(row.ScopesGranted), ScopesMissing: splitScopes(row.ScopesMissing),
		Generation: row.Generation, Fence: row.Fence, ExpiresAt: at(row.ExpiresAt), ObtainedAt: at(row.ObtainedAt), Refreshable: row.Refreshable != 0,
		Rotates: behalf.Rotation(row.Rotates), IntentAt: at(row.IntentAt), NextAttemptAt: at(row.NextAttemptAt), Failures: row.Failures,
		RefreshAt: at(max(row.RefreshAt, 0)), GrantedAt: at(cmp.Or(row.GrantedAt, row.CreatedAt)), WarnedAt: at(row.WarnedAt),
		RefreshEndsAt: at(row.RefreshEndsAt), RefreshLife: time.Duration(row.RefreshLife) * time.Microsecond,
		Version: row.Version, CreatedAt: at(row.CreatedAt), UpdatedAt: at(row.UpdatedAt), LastUsedAt: at(row.LastUsedAt)}
}

// Scopes are kept as one line: RFC 6749 §3.3 lets no space into a scope.
func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }

func splitScopes(s string) []string { return strings.Fields(s) }
