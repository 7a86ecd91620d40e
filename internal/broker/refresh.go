package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file refreshes credentials. The rules are:
//
//   - One refresh per connection at a time, in all nodes together: rotating
//     servers take a second use of a refresh token for theft.
//   - Whoever waited for the lease looks again before it asks the provider.
//   - That a refresh was begun is durable before the provider is asked. Whoever
//     finds such an intent without an outcome does not just ask again.
//   - Once the provider is asked, its answer is saved even if the caller has
//     gone: a rotated token that is dropped is lost for good.
//   - Only the provider's own refusal lapses a connection; a network that
//     fails changes nothing.

// wants says why a refresh is asked for.
type wants struct {
	forced  bool          // although the credential is not due
	refused bool          // the provider's API has refused the access token: it has ended
	minAge  time.Duration // of the credential
}

// flight is one refresh of one connection in this process, which everybody who
// asks meanwhile shares.
type flight struct {
	done chan struct{}
	err  error
}

// refresh joins the refresh of the connection that is under way in this
// process, or begins one. The refresh outlives the caller.
func (b *Broker) refresh(ctx context.Context, c behalf.Connection, w wants) error {
	f, err := b.join(ctx, c, w)
	if err != nil {
		return err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Broker) join(ctx context.Context, c behalf.Connection, w wants) (*flight, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.flights[c.ID]; ok {
		return f, nil
	}
	if b.stopped {
		return nil, &behalf.Error{Code: behalf.CodeUnavailable, Message: "This server is stopping; ask again.", RetryAfter: time.Second}
	}
	f := &flight{done: make(chan struct{})}
	b.flights[c.ID] = f
	b.working.Add(1)
	go func() {
		defer b.working.Done()
		f.err = b.run(context.WithoutCancel(ctx), c, w)
		b.mu.Lock()
		delete(b.flights, c.ID)
		b.mu.Unlock()
		close(f.done)
	}()
	return f, nil
}

// run refreshes one generation: it takes the lease, or waits for whoever holds
// it and looks again.
func (b *Broker) run(ctx context.Context, seen behalf.Connection, w wants) error {
	giveUp := b.db.Now().Add(b.cfg.Patience)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		c, err := b.keeper.Connection(ctx, seen.ID)
		if err != nil {
			return err
		}
		if done, err := b.settled(ctx, c, seen, w); done {
			return err
		}
		l, err := b.keeper.Lease(ctx, c, b.cfg.Lease)
		switch {
		case err == nil:
			return b.leased(ctx, l, c, w)
		case errors.Is(err, store.ErrStale):
			continue
		case !errors.Is(err, store.ErrBusy):
			return err
		case b.db.Now().After(giveUp):
			return &behalf.Error{Code: behalf.CodeRefreshInProgress, Message: "The credential is being refreshed and the provider has not answered yet; ask again.", RetryAfter: time.Second}
		}
		time.Sleep(pause)
	}
}

// settled reports whether there is nothing to refresh (any more), or that it is
// too early to try.
func (b *Broker) settled(ctx context.Context, c, seen behalf.Connection, w wants) (bool, error) {
	now := b.db.Now()
	switch {
	case c.Status != behalf.ConnectionActive, c.Generation != seen.Generation, !c.Refreshable:
		return true, nil
	case !w.forced && !c.Due(now):
		return true, nil
	case w.forced && b.tooYoung(ctx, c, w, now):
		return true, behalf.Errorf(behalf.CodeConflict, "The credential is younger than the profile's minimum age for a refresh.")
	case now.Before(c.NextAttemptAt) && !(w.refused && !c.IntentAt.IsZero()): // a refused token has come to its end already
		return true, &behalf.Error{Code: behalf.CodeUnavailable, Message: "The provider could not refresh the credential a moment ago; it is asked again soon.", RetryAfter: c.NextAttemptAt.Sub(now)}
	}
	return false, nil
}

func (b *Broker) tooYoung(ctx context.Context, c behalf.Connection, w wants, now time.Time) bool {
	age := now.Sub(c.ObtainedAt)
	if age < w.minAge {
		return true
	}
	p, err := b.keeper.Profile(ctx, c.Assistant, string(c.Profile))
	return err == nil && age < p.Plan.OAuth.Refresh.MinAge.Duration()
}

// leased asks the provider with the lease in hand and brings the answer home.
func (b *Broker) leased(ctx context.Context, l store.Lease, c behalf.Connection, w wants) error {
	r, err := b.prepare(ctx, l, c)
	if err != nil {
		return b.release(ctx, l, b.untouched(c), err)
	}
	ended := w.refused || c.Expired(b.db.Now()) || w.forced && c.ExpiresAt.IsZero()
	if !l.Takeover.IsZero() && !r.mayRepeat(l.Takeover, b.db.Now()) && !ended {
		return b.wait(ctx, l, c)
	}
	for try := 1; ; try++ {
		token, err := r.ask(ctx)
		if err == nil {
			return b.keep(ctx, r, token)
		}
		asked := b.db.Now()
		if ambiguous(err) {
			r.unclear = asked
		}
		if ambiguous(err) && try < 3 && r.mayRepeat(asked, asked) && r.timeFor(asked) {
			continue
		}
		return b.failed(ctx, r, err)
	}
}

// wait leaves a connection alone whose earlier refresh may have been carried
// out: its access token is used to the end before the refresh token is risked.
func (b *Broker) wait(ctx context.Context, l store.Lease, c behalf.Connection) error {
	c.IntentAt = l.Takeover
	c.NextAttemptAt = c.ExpiresAt
	return b.release(ctx, l, c, &behalf.Error{Code: behalf.CodeUnavailable, Message: "It is not known whether the provider has carried out an earlier refresh; the access token is used to its end first.", RetryAfter: c.ExpiresAt.Sub(b.db.Now())})
}

// untouched is a connection about which the provider was not asked.
func (b *Broker) untouched(c behalf.Connection) behalf.Connection {
	c.NextAttemptAt = b.db.Now().Add(backoff(c.Failures))
	c.Failures++
	return c
}

// request is one refresh, ready to be sent.
type request struct {
	b       *Broker
	lease   store.Lease
	c       behalf.Connection
	profile behalf.Profile
	old     behalf.Credential
	inputs  behalf.Inputs
	configs []oauth.Config // one per client secret
	unclear time.Time      // since when it is not known whether the refresh token was used; zero: it was not
}

func (b *Broker) prepare(ctx context.Context, l store.Lease, c behalf.Connection) (*request, error) {
	p, err := b.keeper.Profile(ctx, c.Assistant, string(c.Profile))
	if err != nil {
		return nil, err
	}
	old, inputs, err := b.keeper.Secrets(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &request{b: b, lease: l, c: c, profile: p, old: old, inputs: inputs, unclear: l.Takeover}
	values := Good{c, old, inputs}.Values(p)
	for _, client := range newestSecret(p, b.db.Now()) {
		cfg, err := p.Plan.Config(values, "", client, b.db.Now)
		if err != nil {
			return nil, err
		}
		for _, target := range []string{cfg.TokenURL, cfg.RefreshURL} {
			if err := inputs.MaySend(target); err != nil {
				return nil, err
			}
		}
		r.configs = append(r.configs, cfg)
	}
	return r, nil
}

// mayRepeat reports whether a refresh token that may have been used at the time
// may be used again: the provider does not rotate, or replays its answer.
func (r *request) mayRepeat(used, now time.Time) bool {
	known := r.profile.Plan.OAuth.Refresh
	switch {
	case known.Rotates == "no", known.Rotates == "" && r.c.Rotates == behalf.RotationNo:
		return true
	}
	return known.ReplayWindow > 0 && now.Sub(used) < known.ReplayWindow.Duration()
}

// timeFor reports whether another request can end within the lease.
func (r *request) timeFor(now time.Time) bool {
	return now.Add(r.b.cfg.Deadline).Before(r.lease.Until)
}

// ask sends the refresh request, with the next client secret where the provider
// refuses one.
func (r *request) ask(ctx context.Context) (oauth.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, r.b.cfg.Deadline)
	defer cancel()
	var token oauth.Token
	var err error
	for _, cfg := range r.configs {
		client := oauth.Client{Config: cfg, HTTP: r.client()}
		token, err = client.Refresh(ctx, r.old.RefreshToken)
		if oauth.KindOf(err) != oauth.ClientFault {
			return token, err
		}
	}
	return token, err
}

// client returns the way out for one lease. Its requests are not written once
// the lease has ended: a process that was frozen must not wake up and spend a
// refresh token that another has spent meanwhile. Where a token may be used
// once only, the connection is a fresh one: on one that the provider has closed
// a request would have an unknown outcome.
func (r *request) client() *http.Client {
	now := r.b.db.Now()
	return r.b.cfg.Egress.Client(egress.ClientOptions{FreshConn: !r.mayRepeat(now, now), BeforeWrite: func() error {
		if r.b.db.Now().Before(r.lease.Until) {
			return nil
		}
		return errLeaseOver
	}})
}

var errLeaseOver = errors.New("broker: the lease ended before the request was written")

// keep saves a new credential, however long that takes: it may be the only good
// one in the world. Nobody sees it before it is durable.
func (b *Broker) keep(ctx context.Context, r *request, token oauth.Token) error {
	got := r.old.Merged(Credential(token, b.db.Now()))
	n := r.c.Refreshed(r.old, Credential(token, b.db.Now()))
	n.Refreshable = !got.RefreshToken.Empty()
	if err := r.sameAccount(token); err != nil {
		return b.lapse(ctx, r, "the provider answered a refresh with the token of another account", err)
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		moved, err := b.keeper.Keep(ctx, r.lease, n, got)
		switch {
		case err == nil && !moved:
			b.log(r, "refreshed", moved)
			b.revokeLate(ctx, r, got)
			return b.recovered(ctx, r)
		case err == nil:
			b.log(r, "refreshed", moved)
			return b.recovered(ctx, r)
		case behalf.CodeOf(err) != behalf.CodeUnavailable:
			return err // waiting would not make it better
		}
		b.cfg.Log.Error("a refreshed credential is not saved yet", "connection", r.c.ID, "err", err)
		time.Sleep(pause)
	}
}

// sameAccount reports whether the answer is for the account that was connected.
// Without an issuer no ID token was ever verified, and there is nothing to
// compare with.
func (r *request) sameAccount(token oauth.Token) error {
	if r.configs[0].Issuer == "" {
		return nil
	}
	return r.configs[0].SameSubject(token, r.c.Account.Subject)
}

func (b *Broker) log(r *request, outcome string, moved bool) {
	b.cfg.Log.Info("refresh", "connection", r.c.ID, "profile", r.c.Profile, "assistant", r.c.Assistant, "outcome", outcome, "generation", r.c.Generation+1, "in_force", moved)
}

// recovered tells that the provider takes our client again.
func (b *Broker) recovered(ctx context.Context, r *request) error {
	if r.profile.Status != behalf.ProfileFailing {
		return nil
	}
	if err := b.keeper.SetProfileStatus(ctx, r.profile, behalf.ProfileConfigured, "The provider takes the client id and secret again."); err != nil {
		b.cfg.Log.Warn("profile status not saved", "profile", r.profile.ID, "err", err)
	}
	return nil
}

// Credential returns a token reply as a credential.
func Credential(t oauth.Token, now time.Time) behalf.Credential {
	c := behalf.Credential{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, IDToken: t.IDToken, TokenType: t.Type, ExpiresAt: t.ExpiresAt, ObtainedAt: now}
	if t.ScopesGiven {
		c.Scopes = t.Scopes
	}
	return c
}

func ambiguous(err error) bool {
	switch oauth.KindOf(err) {
	case oauth.Ambiguous, oauth.Invalid, oauth.Protocol:
		return !errors.Is(err, errLeaseOver)
	}
	return false
}

// failed judges a failure and gives the lease back accordingly.
func (b *Broker) failed(ctx context.Context, r *request, err error) error {
	c, now := r.c, b.db.Now()
	e := (*oauth.Error)(nil)
	errors.As(err, &e)
	c.NextAttemptAt, c.IntentAt = now.Add(backoff(c.Failures)), r.unclear
	c.Failures++
	switch {
	case errors.Is(err, errLeaseOver):
		return b.release(ctx, r.lease, c, unavailable("The refresh could not be sent in time; it is tried again.", c, now, err))
	case ambiguous(err):
		return b.release(ctx, r.lease, c, unavailable("It is not known whether the provider carried out the refresh. "+words(e), c, now, err))
	}
	switch oauth.KindOf(err) {
	case oauth.Refused:
		return b.refused(ctx, r, err)
	case oauth.ClientFault:
		detail := "The provider refuses this profile's client id or secret. " + words(e)
		if err := b.keeper.SetProfileStatus(ctx, r.profile, behalf.ProfileFailing, detail); err != nil {
			b.cfg.Log.Warn("profile status not saved", "profile", r.profile.ID, "err", err)
		}
		return b.release(ctx, r.lease, c, &behalf.Error{Code: behalf.CodeProvider, Message: detail + " An administrator must mend the profile; no connection is lost.", Err: err})
	case oauth.Limited:
		c.NextAttemptAt = later(c.NextAttemptAt, now.Add(e.RetryAfter))
		return b.release(ctx, r.lease, c, &behalf.Error{Code: behalf.CodeLimited, Message: "The provider asks to come later.", RetryAfter: c.NextAttemptAt.Sub(now), Err: err})
	}
	return b.release(ctx, r.lease, c, unavailable("The provider could not be reached. "+words(e), c, now, err))
}

func unavailable(message string, c behalf.Connection, now time.Time, err error) error {
	return &behalf.Error{Code: behalf.CodeUnavailable, Message: message, RetryAfter: c.NextAttemptAt.Sub(now), Err: err}
}

// words returns what the provider said, or what was wrong.
func words(e *oauth.Error) string {
	if e == nil {
		return "No answer came."
	}
	return e.Sentence()
}

// refused is for a provider that says that the grant is dead. It may be wrong:
// somebody else may have refreshed meanwhile, or a good answer may have been
// saved beside the pointer. So look again.
func (b *Broker) refused(ctx context.Context, r *request, err error) error {
	c, readErr := b.keeper.Connection(ctx, r.c.ID)
	if readErr == nil && (c.Generation != r.c.Generation || c.Fence != r.c.Fence) {
		return nil
	}
	if adoptErr := b.keeper.Adopt(ctx, r.lease, r.c); adoptErr == nil {
		return nil
	}
	reason := "The provider refused to refresh the authorization."
	if !r.unclear.IsZero() {
		reason = "The outcome of an earlier refresh is unknown, and the provider refuses the refresh token now."
	}
	e := (*oauth.Error)(nil)
	if errors.As(err, &e) {
		reason += " " + e.Sentence()
	}
	return b.lapse(ctx, r, reason, err)
}

func (b *Broker) lapse(ctx context.Context, r *request, reason string, err error) error {
	c := r.c.Lapse(reason)
	c.IntentAt, c.Failures = time.Time{}, c.Failures+1
	return b.release(ctx, r.lease, c, &behalf.Error{Code: behalf.CodeAuthorizationRequired, Message: reason + " The end user must authorize again.", Err: err})
}

// release gives the lease back and returns why. A lease that cannot be given
// back ends by itself; its intent then stays, which is the careful side.
func (b *Broker) release(ctx context.Context, l store.Lease, c behalf.Connection, why error) error {
	if err := b.keeper.Release(ctx, l, c); err != nil {
		b.cfg.Log.Warn("lease not given back; it ends by itself", "connection", c.ID, "err", err)
	}
	b.cfg.Log.Info("refresh", "connection", c.ID, "profile", c.Profile, "assistant", c.Assistant, "outcome", string(behalf.CodeOf(why)), "status", c.Status, "err", why)
	return why
}

// backoff doubles from a second to five minutes, spread by a fifth.
func backoff(failures int64) time.Duration {
	d := 5 * time.Minute
	if failures < 9 {
		d = time.Second << failures
	}
	return d - time.Duration(rand.Int64N(int64(d)/5))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
