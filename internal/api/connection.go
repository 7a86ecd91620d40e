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

	Revocation *RevocationProof `json:"revocation,omitempty" doc:"Of one that was ended: how that went at the provider. Not in lists."`
}

// RevocationProof is what became of a revocation, on the wire.
type RevocationProof struct {
	Outcome   string     `json:"outcome" enum:"revoked,retrying,given_up,not_offered,left" doc:"revoked: the provider has taken the tokens back. retrying: it is asked again. given_up: it was asked for 7 days in vain, or has no address any more, and the person must end it there. not_offered: it has no way to be asked, or there was nothing to take back. left: of what no connection was made of; to revoke it might have ended a live one."`
	At        time.Time  `json:"at" doc:"When that was settled; while it is retrying, since when."`
	Host      string     `json:"host,omitempty" doc:"That was asked."`
	Answer    string     `json:"answer,omitempty" doc:"Class of the last answer's status, such as 2xx or 5xx. Absent: none came."`
	Attempts  int64      `json:"attempts"`
	NextAt    *time.Time `json:"next_at,omitempty" doc:"When the provider is asked again."`
	Detail    string     `json:"detail,omitempty"`
	ManageURL string     `json:"manage_url,omitempty" doc:"The provider's page of connected applications, where the person can end it."`
	Note      string     `json:"note,omitempty" doc:"What the person should know."`
}

func viewProof(p behalf.RevocationProof) *RevocationProof {
	return &RevocationProof{Outcome: string(p.Outcome), At: p.At, Host: p.Host, Answer: p.Answer, Attempts: p.Attempts, NextAt: told(p.NextAt), Detail: p.Detail}
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
	if err != nil {
		return nil, err
	}
	v := viewConnection(c)
	v.Revocation, err = revocationOf(ctx, db, c)
	return output(v), err
}

// revocationOf returns how the end of a connection went at the provider.
func revocationOf(ctx context.Context, db store.Scope, c behalf.Connection) (*RevocationProof, error) {
	if c.Status != behalf.ConnectionRevoked {
		return nil, nil
	}
	all, err := db.RevocationProofs(ctx, c)
	worst, ok := behalf.WorstRevocation(all)
	if err != nil || !ok {
		return nil, err
	}
	v := viewProof(worst)
	if p, err := db.Profile(ctx, c.Assistant, string(c.Profile)); err == nil && worst.Outcome != behalf.RevocationDone {
		v.ManageURL, v.Note = p.OAuth.Revoke.ManageURL, p.OAuth.Revoke.Note
	}
	return v, nil
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
		return nil, behalf.Forbidden(db.Actor(), behalf.WriteConnections)
	}
	c, err = a.cfg.Broker.Refresh(ctx, db, c)
	return output(viewConnection(c)), err
}

// Ended says how the end of a connection went at the provider, and what is left
// for the person to do there.
type Ended struct {
	Revocation string `json:"revocation" enum:"revoked,retrying,not_offered,earlier" doc:"revoked: the provider has taken its tokens back. retrying: it did not answer as it should, and is asked again for 7 days. not_offered: it has no way to be asked, or there was nothing to take back. earlier: the connection had ended before."`
	ManageURL  string `json:"manage_url,omitempty" doc:"The provider's page of connected applications."`
	Note       string `json:"note,omitempty" doc:"What the person should know, such as that the application stays listed there."`
}

func (a *API) deleteConnection(ctx context.Context, db store.Scope, in *ConnectionPath) (*Output[Ended], error) {
	c, err := a.connection(ctx, db, *in)
	if err != nil {
		return nil, err
	}
	p, unread := db.Profile(ctx, c.Assistant, string(c.Profile))
	revocation, err := a.cfg.Broker.Disconnect(ctx, db, c, "Ended through the API.")
	if err != nil {
		return nil, err
	}
	out := Ended{Revocation: string(revocation)}
	if unread == nil {
		out.ManageURL, out.Note = p.OAuth.Revoke.ManageURL, p.OAuth.Revoke.Note
	}
	return output(out), nil
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
