// Package connect takes an end user to a provider and back, and makes a
// connection of what they bring.
//
// The rules are:
//
//   - Who starts is who finishes: the browser that pressed Continue is the one
//     that returns, and where the assistant asks for it, its backend confirms
//     that the person who is signed in there is the one who authorized.
//   - A GET binds nothing: link previews fetch links. Only the Continue POST does.
//   - Each move of a session is one compare-and-swap, so that a second click, a
//     reload, the back button and two tabs are harmless.
//   - The state decides which session an answer belongs to, never the URL it
//     came to; the URL must then be the one that the session sent.
//   - Only a token that passed every check becomes a connection.
package connect

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Config is what Connect works with.
type Config struct {
	DB        *store.DB
	Broker    *broker.Broker // refreshes what a trial brought; nil: nothing is
	Egress    *egress.Egress
	PublicURL *url.URL // as browsers and providers reach us; never taken from a request
	Log       *slog.Logger
}

// Connect runs connect sessions.
type Connect struct {
	cfg  Config
	db   *store.DB
	keys sync.Map // *oauth.Keys by ProfileID: the provider's signing keys
}

// New returns a Connect.
func New(cfg Config) *Connect { return &Connect{cfg: cfg, db: cfg.DB} }

// out is the way out for calls of a profile: guarded and bounded, and through
// its connector where it has one.
func (c *Connect) out(p behalf.Profile) *http.Client {
	return c.cfg.Egress.Via(p.ConnectorName()).Client(egress.ClientOptions{})
}

// CallbackURL returns a profile's Callback Link: the redirect URI to register
// at the provider, one per profile, so that no answer can be mixed up.
func (c *Connect) CallbackURL(id behalf.ProfileID) string {
	return c.cfg.PublicURL.JoinPath("callback", string(id)).String()
}

// Begin makes a connect session and returns it with the link for the person.
func (c *Connect) Begin(ctx context.Context, db store.Scope, a behalf.Assistant, n behalf.NewSession) (behalf.ConnectSession, string, error) {
	p, err := db.Profile(ctx, a.ID, n.Profile)
	if behalf.CodeOf(err) == behalf.CodeNotFound {
		err = noProfile(err)
	}
	if err != nil {
		return behalf.ConnectSession{}, "", err
	}
	if p.Plan == nil {
		return behalf.ConnectSession{}, "", behalf.Invalid("profile", "This profile is only reserved; define it first.")
	}
	if err := n.Validate(a, p.Plan); err != nil {
		return behalf.ConnectSession{}, "", err
	}
	kept := behalf.SessionSecrets{Fields: n.Remembered()}
	if n.Connection != "" {
		if n, kept.Reconnect, err = renews(ctx, db, p, n); err != nil {
			return behalf.ConnectSession{}, "", err
		}
	}
	kept.TenantFixed = n.Tenant != ""
	now := c.db.Now()
	link := secret.Random()
	s := behalf.ConnectSession{
		ID: behalf.NewSessionID(now), Assistant: a.ID, Profile: p.ID, ProfileVersion: p.Version, User: n.User, UserName: n.UserName, Tenant: n.Tenant,
		Locale: n.Locale, ReturnURL: n.ReturnURL, Status: behalf.SessionCreated, FinishChallenge: n.FinishChallenge, LinkHash: secret.Hash(link),
		Version: 1, CreatedAt: now, ExpiresAt: now.Add(lifetime(n)),
	}
	if kept.Stored, err = stored(ctx, db, p, s); err == nil {
		err = p.Plan.MissingVariables(values(s, kept, p))
	}
	if err != nil {
		return behalf.ConnectSession{}, "", err
	}
	if err := db.CreateSession(ctx, s, kept); err != nil {
		return s, "", err
	}
	return s, c.cfg.PublicURL.JoinPath("connect", link.Reveal()).String(), nil
}

// noProfile is the error of whoever asks for a profile that is not there, or not
// any more.
func noProfile(err error) error {
	if e := (*behalf.Error)(nil); errors.As(err, &e) && e.Field == "profile" {
		return behalf.Invalid("profile", "%s", e.Message)
	}
	return behalf.Invalid("profile", "This assistant has no profile of this name.")
}

func lifetime(n behalf.NewSession) time.Duration {
	if n.Lifetime != 0 {
		return n.Lifetime
	}
	return behalf.SessionLifetime
}

// values returns what a session's placeholders look up before anything was
// authorized.
func values(s behalf.ConnectSession, secrets behalf.SessionSecrets, p behalf.Profile) behalf.Values {
	tenant := s.Tenant
	if tenant == "" && p.Plan.Tenancy != nil {
		tenant = p.Plan.Tenancy.Default
	}
	return behalf.Values{Plan: p.Plan, User: s.User, Tenant: tenant, Inputs: behalf.Inputs{Fields: secrets.Fields}, Serves: s.User == "" || p.Plan.Shared(), Stored: secrets.Stored}
}

// stored reads the variables that are kept for the session's user, where the
// profile uses any.
func stored(ctx context.Context, db store.Scope, p behalf.Profile, s behalf.ConnectSession) (behalf.Stored, error) {
	if p.Plan == nil || !p.Plan.UsesVariables() {
		return nil, nil
	}
	return db.Stored(ctx, s.Assistant, s.User)
}

// renews completes what is asked for by the connection that it is to renew.
func renews(ctx context.Context, db store.Scope, p behalf.Profile, n behalf.NewSession) (behalf.NewSession, behalf.Reconnect, error) {
	old, err := db.Connection(ctx, n.Connection)
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound,
		err == nil && (old.Profile != p.ID || old.User != n.User || n.Tenant != "" && n.Tenant != old.Tenant || old.Status == behalf.ConnectionRevoked):
		return n, behalf.Reconnect{}, behalf.Invalid("connection", "Expected a connection of this user, under this profile, that has not been ended.")
	case err != nil:
		return n, behalf.Reconnect{}, err
	}
	n.Tenant = old.Tenant
	return n, behalf.Reconnect{Connection: old.ID, Subject: old.Account.Subject, AnyAccount: n.AnyAccount}, nil
}

// oauthConfig fills the profile's plan for a session, with the newest client
// secret; withSecrets tries the others.
func (c *Connect) oauthConfig(s behalf.ConnectSession, p behalf.Profile, v behalf.Values) (oauth.Config, error) {
	var client secret.Text
	if secrets := p.ClientSecrets(c.db.Now()); len(secrets) > 0 {
		client = secrets[0]
	}
	return p.Plan.Config(v, c.CallbackURL(p.ID), client, c.db.Now)
}

func (c *Connect) keysOf(id behalf.ProfileID) *oauth.Keys {
	keys, _ := c.keys.LoadOrStore(id, &oauth.Keys{})
	return keys.(*oauth.Keys)
}

// person returns the name that the page shows for whom the session is.
func person(s behalf.ConnectSession) string {
	if s.UserName != "" {
		return s.UserName
	}
	return s.User
}

// secure reports whether browsers reach us by https.
func (c *Connect) secure() bool { return strings.EqualFold(c.cfg.PublicURL.Scheme, "https") }

// Sweep ends what is overdue: sessions that nobody finished in time. What an
// unfinished one held is forgotten with it.
func (c *Connect) Sweep(ctx context.Context) error {
	db := c.db.As(behalf.System("sweep"))
	overdue, err := db.OverdueSessions(ctx)
	if err != nil {
		return err
	}
	now := c.db.Now()
	for _, s := range overdue {
		if !s.Expired(now) {
			continue
		}
		ended, err := db.EndSession(ctx, s, behalf.SessionExpired, expiry(s))
		if err == nil {
			c.close(ctx, ended, expiry(s))
		} else if err != store.ErrStale {
			return err
		}
	}
	if err := db.ForgetTranscripts(ctx, now.Add(-keptTranscripts)); err != nil {
		return err
	}
	if err := db.ForgetVariables(ctx); err != nil {
		return err
	}
	return db.ForgetSessions(ctx, now.Add(-kept))
}

// kept is how long an ended session can still be read.
const kept = 7 * 24 * time.Hour

// keptTranscripts is how long a transcript can be read.
const keptTranscripts = 14 * 24 * time.Hour

// Run sweeps every half minute until ctx ends.
func (c *Connect) Run(ctx context.Context) error {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.Sweep(ctx); err != nil {
			c.cfg.Log.Warn("sessions not swept", "err", err)
		}
	}
}

func expiry(s behalf.ConnectSession) behalf.Outcome {
	if s.Status == behalf.SessionPending {
		return behalf.Outcome{Code: "not_finished", Detail: "The person authorized, but the assistant did not finish the connection in time. What was authorized has been forgotten.", Fix: "Begin a new connect session, and finish it within 10 minutes of the person's return."}
	}
	return behalf.Outcome{Code: "expired", Detail: "The link was not used in time.", Fix: "Begin a new connect session."}
}
