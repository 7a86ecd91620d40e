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
	forced  bool             // although the credential is not due
	refused bool             // the provider's API has refused the access token: it has ended
	minAge  time.Duration    // of the credential
	asked   time.Time        // when: what is newer need not be renewed
	further bool             // one of its tokens was renewed already
	planned bool             // nobody waits for it
	asking  *turns           // of a planned one: those of its host
	brief   bool             // who asks has a token that is good, and waits a moment only
	probes  bool             // of all connections of a failing profile it is this one that tries
	sent    behalf.Variables // by whoever asks
}

// flight is one refresh of one connection in this process, which everybody who
// asks meanwhile shares.
type flight struct {
	done   chan struct{}
	forced int64 // the generation that it refreshes in any case; 0: it may find that it need not
	kept   behalf.Connection
	err    error
}

// outcome is what a refresh has made of a connection: without an id where it
// made nothing of it, or somebody else has changed it too, and it must be read.
type outcome struct {
	behalf.Connection
	got *behalf.Credential
}

// refresh joins the refresh of the connection that is under way in this
// process, or begins one. The refresh outlives the caller. It returns the
// connection as it was kept, without an id where that is not known.
func (b *Broker) refresh(ctx context.Context, c behalf.Connection, w wants) (kept behalf.Connection, err error) {
	var moment <-chan time.Time
	if w.brief {
		moment = time.After(b.cfg.Moment)
	}
	for {
		f, mine, err := b.join(ctx, c, w)
		if err != nil {
			return kept, err
		}
		select {
		case <-f.done:
			if mine {
				return f.kept, f.err
			}
			// It may have found that it need not: look whether the generation moved.
			if now, err := b.keeper.Connection(ctx, c.ID); err != nil || now.Generation != c.Generation {
				return kept, err
			}
		case <-moment:
			return kept, inProgress()
		case <-ctx.Done():
			return kept, ctx.Err()
		}
	}
}

func inProgress() error {
	return &behalf.Error{Code: behalf.CodeRefreshInProgress, Message: "The credential is being refreshed and the provider has not answered yet; ask again.", RetryAfter: time.Second}
}

// join returns the flight of the connection. mine is false where it may end
// without having done what is wanted: a forced refresh names the generation that
// it is about, and does not take a flight that may do nothing for its own.
func (b *Broker) join(ctx context.Context, c behalf.Connection, w wants) (f *flight, mine bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.flights[c.ID]; ok {
		return f, !w.forced || f.forced == c.Generation, nil
	}
	if b.stopped {
		return nil, false, &behalf.Error{Code: behalf.CodeUnavailable, Message: "This server is stopping; ask again.", RetryAfter: time.Second}
	}
	f = &flight{done: make(chan struct{})}
	if w.forced {
		f.forced = c.Generation
	}
	b.flights[c.ID] = f
	b.working.Add(1)
	go func() {
		defer b.working.Done()
		f.kept, f.err = b.run(context.WithoutCancel(ctx), c, w)
		b.mu.Lock()
		delete(b.flights, c.ID)
		b.mu.Unlock()
		close(f.done)
	}()
	return f, true, nil
}

// generation refreshes one generation: it takes the lease, or waits for whoever
// holds it and looks again. What the caller has read is tried first: the lease is
// given only where nothing has happened since.
func (b *Broker) generation(ctx context.Context, seen behalf.Connection, w wants) (o outcome, err error) {
	giveUp := b.db.Now().Add(b.cfg.Patience)
	changed, forget := b.db.Changed(seen.ID)
	defer func() { forget() }()
	c, read := seen, false
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if read {
			if c, err = b.keeper.Connection(ctx, seen.ID); err != nil {
				return o, err
			}
			c.Buffer = seen.Buffer
		}
		done, err := b.settled(ctx, c, seen, w)
		if done && read {
			return o, err
		}
		lease := b.keeper.Lease
		if !read { // but by the caller, who knows when
			lease, read = b.keeper.LeaseUnread, true
		}
		if done {
			continue
		}
		if w.probes, err = b.mayAsk(ctx, c, w); err != nil {
			return o, err
		}
		l, err := lease(ctx, c, b.cfg.Lease)
		switch {
		case err == nil:
			return b.leased(ctx, l, c, w)
		case errors.Is(err, store.ErrStale):
			continue
		case !errors.Is(err, store.ErrBusy):
			return o, err
		case b.db.Now().After(giveUp):
			return o, inProgress()
		}
		select { // whoever holds the lease tells when it is given back
		case <-changed:
			changed, forget = b.db.Changed(seen.ID)
		case <-time.After(pause):
		}
	}
}

// mayAsk returns nil, or why the provider is not asked for any connection of the
// profile now: it refuses our client, and was asked a moment ago. probes is
// whether it is this one's turn to find out whether it still does.
func (b *Broker) mayAsk(ctx context.Context, c behalf.Connection, w wants) (probes bool, err error) {
	p, err := b.kept(ctx, c.Assistant, c.Profile)
	if err != nil || p.Status != behalf.ProfileFailing || w.probes {
		return w.probes, err
	}
	turn, err := b.keeper.Probe(ctx, *p)
	if err != nil || turn {
		return turn, err
	}
	return false, refusesClient()
}

func refusesClient() error {
	return &behalf.Error{Code: behalf.CodeProvider, RetryAfter: 30 * time.Second,
		Message: "The provider refuses this profile's client id or secret. An administrator must mend the profile; no connection is lost, and all go on by themselves."}
}

// stillMay looks again after a request has waited for its place: the provider
// may have refused our client to those before it.
func (b *Broker) stillMay(ctx context.Context, c behalf.Connection, w wants) error {
	p, err := b.kept(ctx, c.Assistant, c.Profile)
	if err == nil && p.Status == behalf.ProfileFailing && !w.probes {
		return refusesClient()
	}
	return err
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
	if w.further || c.Expired(now) {
		return false
	}
	age := now.Sub(c.ObtainedAt)
	if age < w.minAge {
		return true
	}
	p, err := b.kept(ctx, c.Assistant, c.Profile)
	return err == nil && age < p.Plan.OAuth.Refresh.MinAge.Duration()
}

// leased asks the provider with the lease in hand and brings the answer home.
func (b *Broker) leased(ctx context.Context, l store.Lease, c behalf.Connection, w wants) (o outcome, err error) {
	c.IntentAt = l.Takeover // as the lease found it: it may be newer than what was read, and stays as long as nobody is asked
	r, err := b.prepare(ctx, l, c, w.sent)
	if unfilled(err) { // the next who asks may bring what it lacks
		return o, b.release(ctx, l, c, err)
	}
	if err == nil {
		err = r.choose(w)
	}
	if err != nil {
		return o, b.release(ctx, l, b.untouched(c), err)
	}
	if why := r.hopeless(b.db.Now()); why != "" {
		return o, b.lapse(ctx, r, why, nil)
	}
	ended := w.refused || c.Expired(b.db.Now()) || w.forced && c.ExpiresAt.IsZero()
	if !l.Takeover.IsZero() && !r.mayRepeat(l.Takeover, b.db.Now()) && !ended {
		return o, b.wait(ctx, l, c)
	}
	done, ok := b.turn(w.asking)
	if !ok {
		return o, b.release(ctx, l, c, inProgress())
	}
	defer func() { done() }()
	if err := b.stillMay(ctx, c, w); err != nil {
		return o, b.release(ctx, l, c, err)
	}
	for try := 1; ; try++ {
		token, err := r.ask(ctx)
		if err == nil || r.gained(token) {
			done() // the next may ask while this one is kept
			done = func() {}
			o, failed := b.keep(ctx, r, token, err != nil)
			err = errors.Join(failed, err)
			r.rec.Secrets = append(r.rec.Secrets, token.AccessToken, token.RefreshToken, token.IDToken)
			b.record(r, err)
			return o, err
		}
		asked := b.db.Now()
		if ambiguous(err) {
			r.unclear = asked
		}
		if ambiguous(err) && try < 3 && r.mayRepeat(asked, asked) && r.timeFor(asked) {
			continue
		}
		b.record(r, err)
		return o, b.failed(ctx, r, err)
	}
}

// wait leaves a connection alone whose earlier refresh may have been carried
// out: its access token is used to the end before the refresh token is risked.
func (b *Broker) wait(ctx context.Context, l store.Lease, c behalf.Connection) error {
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
	slot    string // whose token is renewed; "": the grant's own
	values  behalf.Values
	configs []oauth.Config // one per client secret
	rec     *egress.Recorder
	began   time.Time
	unclear time.Time // since when it is not known whether the refresh token was used; zero: it was not
}

func (b *Broker) prepare(ctx context.Context, l store.Lease, c behalf.Connection, sent behalf.Variables) (*request, error) {
	kept, err := b.kept(ctx, c.Assistant, c.Profile)
	if err != nil {
		return nil, err
	}
	p := *kept
	old, inputs, err := b.keeper.Leased(l)
	if err != nil {
		return nil, err
	}
	r := &request{b: b, lease: l, c: c, profile: p, old: old, inputs: inputs, unclear: l.Takeover, rec: recorder(p, old, b.db.Now()), began: b.db.Now()}
	good := Good{Connection: c, Credential: old, Inputs: inputs}
	if c.User != "" { // what serves all is not filled with what one of them says
		good.Sent = sent
	}
	if err := good.keptVariables(ctx, b.keeper, p); err != nil {
		return nil, err
	}
	values := good.Values(p)
	values.Hop = behalf.HopRefresh
	r.values = values
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
	case r.spendsNothing():
		return true
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
	if r.rec != nil {
		ctx = egress.WithRecorder(ctx, r.rec)
	}
	for _, cfg := range r.configs {
		client := oauth.Client{Config: cfg, HTTP: r.client()}
		token, err = r.send(ctx, client)
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
	return r.confined(r.b.cfg.Egress.Via(r.profile.ConnectorName()).Client(egress.ClientOptions{FreshConn: !r.mayRepeat(now, now), BeforeWrite: func() error {
		if r.b.db.Over(r.lease) {
			return errLeaseOver
		}
		return nil
	}}))
}

var errLeaseOver = errors.New("broker: the lease ended before the request was written")

// keep saves a new credential, however long that takes: it may be the only good
// one in the world. Nobody sees it before it is durable.
func (b *Broker) keep(ctx context.Context, r *request, token oauth.Token, unfinished bool) (o outcome, err error) {
	if err := r.sameAccount(token); err != nil {
		return o, b.lapse(ctx, r, "the provider answered a refresh with the token of another account", err)
	}
	came := b.db.Now()
	n, got := r.brought(token, unfinished, came)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		now, moved, err := b.keeper.KeepOn(ctx, r.lease, n, got)
		switch {
		case err == nil && !moved:
			b.log(r, moved, came)
			b.revokeLate(ctx, r)
			return o, b.recovered(ctx, r)
		case err == nil:
			b.log(r, moved, came)
			if now.ID != "" {
				o = outcome{now, &got}
			}
			return o, b.recovered(ctx, r)
		case behalf.CodeOf(err) != behalf.CodeUnavailable:
			return o, err // waiting would not make it better
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

// log tells of a saved answer, and for how long it was on its way from the
// provider's hands to the disk.
func (b *Broker) log(r *request, moved bool, came time.Time) {
	b.cfg.Log.Info("refresh", "connection", r.c.ID, "profile", r.c.Profile, "assistant", r.c.Assistant, "outcome", "refreshed", "generation", r.c.Generation+1, "in_force", moved,
		"took", b.db.Now().Sub(came))
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

// unfilled reports whether a placeholder kept a request from being made.
func unfilled(err error) bool { return behalf.CodeOf(err) == behalf.CodeInvalid }

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
	case behalf.CodeOf(err) == behalf.CodeAuthorizationRequired: // it would have gone to another host
		return b.release(ctx, r.lease, c, err)
	case unfilled(err): // nothing was sent
		c.NextAttemptAt, c.Failures = r.c.NextAttemptAt, r.c.Failures
		return b.release(ctx, r.lease, c, err)
	case errors.Is(err, errLeaseOver): // nothing was sent either
		c.NextAttemptAt, c.Failures = r.c.NextAttemptAt, r.c.Failures
		return b.release(ctx, r.lease, c, &behalf.Error{Code: behalf.CodeUnavailable, Message: "The refresh could not be sent in time; it is tried again.", RetryAfter: time.Second, Err: err})
	case ambiguous(err):
		return b.release(ctx, r.lease, c, unavailable("It is not known whether the provider carried out the refresh. "+words(e), c, now, err))
	}
	switch r.kind(err) {
	case oauth.Refused:
		return b.refused(ctx, r, err)
	case oauth.ClientFault:
		detail := "The provider refuses this profile's client id or secret. " + words(e)
		if err := b.keeper.SetProfileStatus(ctx, r.profile, behalf.ProfileFailing, detail); err != nil {
			b.cfg.Log.Warn("profile status not saved", "profile", r.profile.ID, "err", err)
		}
		c = r.c // no connection is at fault
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
	if end := r.old.RefreshExpiresAt; !end.IsZero() && b.db.Now().After(end) {
		reason = "The refresh token had come to the end of its life, and the provider refuses it now."
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

// again plans when a connection is looked after that was not renewed: as soon as
// it may be asked for again.
func again(c behalf.Connection, now time.Time) behalf.Connection {
	switch {
	case c.Status != behalf.ConnectionActive:
		c.RefreshAt = time.Time{}
	case c.NextAttemptAt.After(now):
		c.RefreshAt = c.NextAttemptAt
	default:
		c.RefreshAt = later(c.RefreshAt, now.Add(claimFor))
	}
	return c
}

// release gives the lease back and returns why. A lease that cannot be given
// back ends by itself; its intent then stays, which is the careful side.
func (b *Broker) release(ctx context.Context, l store.Lease, c behalf.Connection, why error) error {
	if err := b.keeper.Release(ctx, l, again(c, b.db.Now())); err != nil {
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

// Try refreshes a credential that is nobody's connection, as a refresh of one
// would, so that a test of a profile knows whether that works.
func (b *Broker) Try(ctx context.Context, p behalf.Profile, v behalf.Values, c behalf.Credential) (oauth.Token, error) {
	b.working.Add(1)
	defer b.working.Done()
	v.Hop = behalf.HopRefresh
	r := &request{b: b, profile: p, old: c, values: v, lease: store.Lease{Until: b.db.Now().Add(b.cfg.Lease)}}
	for _, client := range newestSecret(p, b.db.Now()) {
		cfg, err := p.Plan.Config(v, "", client, b.db.Now)
		if err != nil {
			return oauth.Token{}, err
		}
		r.configs = append(r.configs, cfg)
	}
	token, err := r.ask(ctx)
	if err != nil || !p.Plan.Follows() {
		return token, err
	}
	_, r.old = r.brought(token, false, b.db.Now())
	return r.ask(ctx)
}
