package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Connection is a connection on the wire. It holds no token.
type Connection struct {
	ID      string `json:"id"`
	Profile string `json:"profile"`
	User    string `json:"user"`
	Tenant  string `json:"tenant,omitempty"`
	Account struct {
		Subject string `json:"subject,omitempty"`
		Label   string `json:"label,omitempty"`
	} `json:"account"`
	Status string `json:"status" enum:"active,pending,lapsed,revoked"`
	Reason string `json:"reason,omitempty" doc:"Why it lapsed or was revoked."`
	Scopes struct {
		Granted []string `json:"granted"`
		Missing []string `json:"missing"`
	} `json:"scopes"`
	Default     bool       `json:"default"`
	Refreshable bool       `json:"refreshable"`
	Generation  int64      `json:"generation" doc:"Of the credential; each refresh raises it."`
	ExpiresAt   *time.Time `json:"expires_at,omitempty" doc:"Of the access token; absent when the provider did not say."`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	LastUsedAt  *time.Time `json:"last_used_at,omitempty"`
}

// ConnectionPath names one of its connections.
type ConnectionPath struct {
	AssistantPath
	Connection string `path:"connection" maxLength:"80"`
}

func (a *API) connection(ctx context.Context, db store.Scope, in ConnectionPath) (behalf.Connection, error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return behalf.Connection{}, err
	}
	c, err := db.Connection(ctx, behalf.ConnectionID(in.Connection))
	if err == nil && c.Assistant != x.ID {
		err = behalf.NotFound("connection")
	}
	return c, err
}

func (a *API) listConnections(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Page
	Profile string `query:"profile" doc:"Only those of this profile (id or slug)." maxLength:"80"`
	User    string `query:"user" doc:"Only those of this end user." maxLength:"1020"`
	Tenant  string `query:"tenant" maxLength:"1020"`
	Status  string `query:"status" enum:"active,lapsed,revoked"`
}) (*ListOutput[Connection], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	f := store.ConnectionFilter{User: in.User, Tenant: in.Tenant, Status: behalf.ConnectionStatus(in.Status)}
	if in.Profile != "" {
		p, err := db.Profile(ctx, x.ID, in.Profile)
		if err != nil {
			return nil, err
		}
		f.Profile = p.ID
	}
	items, err := db.Connections(ctx, x.ID, f, in.page())
	return listOf(items, in.Limit, func(c behalf.Connection) string { return string(c.ID) }, viewConnection), err
}

func (a *API) getConnection(ctx context.Context, db store.Scope, in *ConnectionPath) (*Output[Connection], error) {
	c, err := a.connection(ctx, db, *in)
	return output(viewConnection(c)), err
}

func (a *API) changeConnection(ctx context.Context, db store.Scope, in *struct {
	ConnectionPath
	Body struct {
		Default bool `json:"default" doc:"True: this is the connection that is meant when its user has several."`
	}
}) (*Output[Connection], error) {
	c, err := a.connection(ctx, db, in.ConnectionPath)
	switch {
	case err != nil:
		return nil, err
	case !in.Body.Default:
		return nil, behalf.Invalid("default", "Expected true: make another connection the default instead.")
	}
	if err := db.MakeDefault(ctx, c); err != nil {
		return nil, err
	}
	c, err = db.Connection(ctx, c.ID)
	return output(viewConnection(c)), err
}

func (a *API) refreshConnection(ctx context.Context, db store.Scope, in *ConnectionPath) (*Output[Connection], error) {
	c, err := a.connection(ctx, db, *in)
	switch {
	case err != nil:
		return nil, err
	case !db.Actor().May(behalf.WriteConnections, c.Assistant): // the broker refreshes as itself
		return nil, behalf.Errorf(behalf.CodeForbidden, "This key may not do that (%s).", behalf.WriteConnections)
	}
	c, err = a.cfg.Broker.Refresh(ctx, db, c)
	return output(viewConnection(c)), err
}

func (a *API) deleteConnection(ctx context.Context, db store.Scope, in *ConnectionPath) (*struct{}, error) {
	c, err := a.connection(ctx, db, *in)
	if err != nil {
		return nil, err
	}
	return nil, a.cfg.Broker.Disconnect(ctx, db, c, "Ended through the API.")
}

func viewConnection(c behalf.Connection) Connection {
	v := Connection{ID: string(c.ID), Profile: string(c.Profile), User: c.User, Tenant: c.Tenant, Status: string(c.Status), Reason: c.Reason, Default: c.Default,
		Refreshable: c.Refreshable, Generation: c.Generation, ExpiresAt: told(c.ExpiresAt), CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, LastUsedAt: told(c.LastUsedAt)}
	v.Account.Subject, v.Account.Label = c.Account.Subject, c.Account.Label
	v.Scopes.Granted, v.Scopes.Missing = orNone(c.ScopesGranted), orNone(c.ScopesMissing)
	return v
}

func told(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
