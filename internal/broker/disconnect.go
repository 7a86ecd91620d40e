package broker

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Disconnect ends a connection: from now on nothing uses it and its credential
// is erased. Then the provider is asked to revoke what it issued (RFC 7009),
// where the profile says how. That it could not be asked ends nothing less: it
// is asked again (sweep.go).
func (b *Broker) Disconnect(ctx context.Context, db store.Scope, c behalf.Connection, reason string) (behalf.Revocation, error) {
	p, err := b.kept(ctx, c.Assistant, c.Profile)
	switch {
	case err != nil && behalf.CodeOf(err) != behalf.CodeNotFound:
		return "", err // what is not kept as owed now is never revoked
	case c.Status == behalf.ConnectionRevoked || err != nil || p.Plan == nil || p.Plan.OAuth.RevocationURL == "":
		if err := db.Revoke(ctx, c, reason); err != nil {
			return "", err
		}
		return b.ended(ctx, c)
	}
	order := p.Plan.OAuth.Revoke.Tokens
	owed, ended, err := db.RevokeOwing(ctx, c, reason, holdOwed, func(got behalf.Credential) bool { return len(revocable(order, got)) > 0 })
	if err != nil {
		return "", err
	}
	if !ended {
		c.Status = behalf.ConnectionRevoked // by another, a moment ago
	}
	if len(owed) == 0 {
		return b.ended(ctx, c)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstTry)
	defer cancel()
	outcome := behalf.RevocationDone
	for _, o := range owed {
		if told := b.settle(ctx, c, o); told != behalf.RevocationDone {
			outcome = told
		}
	}
	return outcome, nil
}

// ended is the outcome where nothing is asked of the provider now.
func (b *Broker) ended(ctx context.Context, c behalf.Connection) (behalf.Revocation, error) {
	owes, err := b.keeper.Owes(ctx, c)
	switch {
	case err != nil:
		return "", err
	case owes:
		return behalf.RevocationRetrying, nil
	case c.Status == behalf.ConnectionRevoked:
		return behalf.RevocationEarlier, nil
	}
	return behalf.RevocationNotOffered, nil
}

// kept returns a profile, also where that was deleted: its connections are kept
// alive for as long as it can be restored.
func (b *Broker) kept(ctx context.Context, a behalf.AssistantID, id behalf.ProfileID) (*behalf.Profile, error) {
	p, err := b.keeper.HeldProfile(ctx, a, string(id))
	if behalf.CodeOf(err) != behalf.CodeNotFound {
		return p, err
	}
	gone, err := b.keeper.KeptProfile(ctx, a, id)
	return &gone, err
}

// revokeLate revokes what came when its connection had been ended already: that
// it is owed is kept with the answer. One that came second to another is left
// alone.
func (b *Broker) revokeLate(ctx context.Context, r *request) {
	c, err := b.keeper.Connection(ctx, r.c.ID)
	if err != nil || c.Status != behalf.ConnectionRevoked {
		return
	}
	owed, err := b.keeper.ClaimOwedOf(ctx, c, holdOwed)
	if err != nil {
		b.cfg.Log.Warn("a late credential is revoked later", "connection", c.ID, "err", err)
	}
	for _, o := range owed {
		b.settle(ctx, c, o)
	}
}

// revoke asks the provider to revoke a credential. It returns the host that was
// asked, and nil where that has taken all of it.
func (b *Broker) revoke(ctx context.Context, g Good) (host string, err error) {
	b.working.Add(1)
	defer b.working.Done()
	kept, err := b.kept(ctx, g.Assistant, g.Profile)
	switch {
	case err != nil:
		return "", err
	case kept.Plan == nil || kept.Plan.OAuth.RevocationURL == "":
		return "", errNoRevocation
	}
	p := *kept
	tokens := revocable(p.Plan.OAuth.Revoke.Tokens, g.Credential)
	if len(tokens) == 0 {
		return "", errNothingToRevoke
	}
	cfg, err := b.revocationConfig(ctx, &g, p)
	if err != nil {
		b.cfg.Log.Warn("revocation could not be sent", "connection", g.ID, "err", err)
		return "", err
	}
	client := oauth.Client{Config: cfg, HTTP: (&request{b: b, inputs: g.Inputs}).confined(b.cfg.Egress.Via(p.ConnectorName()).Client(egress.ClientOptions{}))}
	var failed error
	for _, t := range tokens {
		err := b.revokeOne(ctx, client, g, t)
		b.cfg.Log.Info("revocation", "connection", g.ID, "profile", g.Profile, "assistant", g.Assistant, "token", t.hint, "err", err)
		failed = errors.Join(failed, err)
	}
	return hostOf(cfg.RevocationURL), failed
}

func (b *Broker) revocationConfig(ctx context.Context, g *Good, p behalf.Profile) (oauth.Config, error) {
	if err := g.keptVariables(ctx, b.keeper, p); err != nil {
		return oauth.Config{}, err
	}
	values := g.Values(p)
	values.Hop = behalf.HopRevoke
	cfg, err := p.Plan.Config(values, "", newestSecret(p, b.db.Now())[0], b.db.Now)
	if err == nil {
		err = g.Inputs.MaySend(cfg.RevocationURL)
	}
	return cfg, err
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

var (
	errNoRevocation    = errors.New("broker: the profile has no revocation endpoint any more")
	errNothingToRevoke = errors.New("broker: the credential has no token that could be revoked")
)

func (b *Broker) revokeOne(ctx context.Context, client oauth.Client, g Good, t revocation) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	return client.RevokeOf(ctx, g.Credential.Token(), t.token, t.hint)
}

// revocation is one token that is taken back.
type revocation struct {
	hint  string
	token secret.Text
}

// revocable returns what is revoked, in the profile's order. By itself the
// refresh token is enough: revoking it ends its access tokens too (RFC 7009
// §2.1). The tokens of slots are part of the grant; one with a refresh token of
// its own is revoked as well.
func revocable(order []string, c behalf.Credential) []revocation {
	all := []behalf.Credential{c}
	for _, name := range slices.Sorted(maps.Keys(c.Slots)) {
		if s := c.Slots[name]; !s.RefreshToken.Empty() {
			all = append(all, c.Part(name))
		}
	}
	var out []revocation
	for _, one := range all {
		tokens := map[string]secret.Text{"refresh_token": one.RefreshToken, "access_token": one.AccessToken}
		mine := order
		if len(mine) == 0 {
			mine = []string{"refresh_token"}
			if one.RefreshToken.Empty() {
				mine = []string{"access_token"}
			}
		}
		for _, hint := range mine {
			if t := tokens[hint]; !t.Empty() {
				out = append(out, revocation{hint, t})
			}
		}
	}
	return out
}
