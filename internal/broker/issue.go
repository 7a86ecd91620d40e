package broker

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file gets tokens without a person's browser. The rules are:
//
//   - A connection that needs nobody is made before its token: it begins with a
//     credential that has ended, and the first call renews it like any other.
//     So the lease that keeps refreshes apart keeps first requests apart too.
//   - Such a request spends nothing and may be repeated.

// Issue makes the first request of a type that needs no redirect, or makes it
// again. The fields are what the person entered.
func Issue(ctx context.Context, client oauth.Client, v behalf.Values) (oauth.Token, error) {
	return client.Grant(ctx, v.Plan.GrantParams(v), client.Scopes...)
}

// Unattended is a credential that has ended already, of a connection that
// needs nobody to be renewed.
func Unattended(now time.Time) behalf.Credential {
	return behalf.Credential{ExpiresAt: now.Add(-time.Second), ObtainedAt: now.Add(-time.Minute), Renewal: behalf.RenewByReissue}
}

// made returns the connection that serves a call of a profile for which nobody
// has to be there: an existing one, or a new one.
func (b *Broker) made(ctx context.Context, db store.Scope, p behalf.Profile, ask Ask) (behalf.Connection, error) {
	tenant := ask.Tenant
	if tenant == "" && p.Plan.Tenancy != nil {
		tenant = p.Plan.Tenancy.Default
	}
	v := behalf.Values{Plan: p.Plan, Tenant: tenant, Hop: behalf.HopRefresh, Serves: true}
	if p.Plan.UsesVariables() {
		var err error
		if v.Stored, err = db.Stored(ctx, p.Assistant, ""); err != nil {
			return behalf.Connection{}, err
		}
	}
	if !p.Plan.Unattended(v) {
		return behalf.Connection{}, notConnected(p)
	}
	origins, err := p.Plan.Origins(v, b.db.Now)
	if err != nil {
		return behalf.Connection{}, err
	}
	requested, _ := p.Plan.Scopes()
	return db.MakeConnection(ctx, p, tenant, Unattended(b.db.Now()), behalf.Inputs{Origins: origins}, requested)
}

// notConnected says who must authorize.
func notConnected(p behalf.Profile) error {
	if p.Plan.Shared() {
		return behalf.Errorf(behalf.CodeAuthorizationRequired, "An administrator must authorize this profile first, once for all users of the assistant.")
	}
	return errNotConnected()
}

// matching returns the connections that a call may mean: the user's own, or of
// a profile that needs nobody or was authorized for all those that serve all.
func matching[C any](p *behalf.Plan, ask Ask, list func(user, tenant string) ([]C, error)) ([]C, error) {
	if p.Shared() {
		return list("", ask.Tenant)
	}
	if ask.User != "" {
		own, err := list(ask.User, ask.Tenant)
		if err != nil || len(own) > 0 || needsUser(p) {
			return own, err
		}
	}
	if ask.Tenant == "" && p.Tenancy != nil {
		ask.Tenant = p.Tenancy.Default
	}
	return list("", ask.Tenant)
}

// needsUser reports whether a call must say for whom it is.
func needsUser(p *behalf.Plan) bool { return p == nil || p.Type != behalf.OAuth2ClientCredentials }

// Named returns what was asked for, with the connection that was found.
func (r Ready) Named(ask Ask) Ask {
	if r.Held != nil {
		ask.Connection = r.ID
	}
	return ask
}

// kind is what a failure means. Where our client is all that authorizes, it is
// the client that was refused: nobody could authorize again.
func (r *request) kind(err error) oauth.Kind {
	kind := oauth.KindOf(err)
	if kind == oauth.Refused && r.profile.Plan.Type == behalf.OAuth2ClientCredentials {
		return oauth.ClientFault
	}
	return kind
}

// keptVariables reads the variables that are kept for whom the connection is
// used for, where the profile uses any.
func (g *Good) keptVariables(ctx context.Context, db store.Scope, p behalf.Profile) (err error) {
	if p.Plan == nil || !p.Plan.UsesVariables() {
		return nil
	}
	user := g.User
	if user == "" {
		user = g.For
	}
	g.Stored, err = db.Stored(ctx, g.Assistant, user)
	return err
}
