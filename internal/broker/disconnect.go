package broker

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/store"
)

// Disconnect ends a connection: from now on nothing uses it and its credential
// is erased. Then the provider is asked to revoke what it issued (RFC 7009),
// where the profile says how; that it could not be asked ends nothing less.
func (b *Broker) Disconnect(ctx context.Context, db store.Scope, c behalf.Connection, reason string) error {
	old, inputs, unread := b.keeper.Secrets(ctx, c)
	if err := db.Revoke(ctx, c, reason); err != nil {
		return err
	}
	if unread == nil && c.Status != behalf.ConnectionRevoked {
		b.revoke(context.WithoutCancel(ctx), Good{c, old, inputs})
	}
	return nil
}

// revokeLate revokes a credential that came when its connection had been ended
// already. One that came second to another is left alone.
func (b *Broker) revokeLate(ctx context.Context, r *request, got behalf.Credential) {
	c, err := b.keeper.Connection(ctx, r.c.ID)
	if err == nil && c.Status == behalf.ConnectionRevoked {
		b.revoke(ctx, Good{Connection: c, Credential: got, Inputs: r.inputs})
	}
}

func (b *Broker) revoke(ctx context.Context, g Good) {
	b.working.Add(1)
	defer b.working.Done()
	p, err := b.keeper.Profile(ctx, g.Assistant, string(g.Profile))
	if err != nil || p.Plan.OAuth.RevocationURL == "" {
		return
	}
	cfg, err := p.Plan.Config(g.Values(p), "", newestSecret(p, b.db.Now())[0], b.db.Now)
	if err == nil {
		err = g.Inputs.MaySend(cfg.RevocationURL)
	}
	if err != nil {
		b.cfg.Log.Warn("revocation could not be sent", "connection", g.ID, "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	client := oauth.Client{Config: cfg, HTTP: b.cfg.Egress.Client(egress.ClientOptions{})}
	token, hint := g.Credential.RefreshToken, "refresh_token" // revoking it ends its access tokens too (RFC 7009 §2.1)
	if token.Empty() {
		token, hint = g.Credential.AccessToken, "access_token"
	}
	err = client.Revoke(ctx, token, hint)
	b.cfg.Log.Info("revocation", "connection", g.ID, "profile", g.Profile, "assistant", g.Assistant, "err", err)
}
