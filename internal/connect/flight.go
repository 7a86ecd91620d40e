package connect

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// flight records one run of a session, step by step. The rules are:
//
//   - What is recorded is masked as it is recorded: with what the run knows to
//     be secret, and what answers call so.
//   - Recording changes nothing: a transcript that cannot be kept costs nobody
//     their connection.
//   - A trial's steps are kept as they happen, for whoever watches; those of a
//     real session once it has ended, off its path.
type flight struct {
	c     *Connect
	t     behalf.Transcript
	rec   *egress.Recorder
	seen  int // exchanges that are in the transcript
	facts behalf.Circumstances
	got   oauth.Token    // as far as one came
	who   behalf.Account // as far as that was told
}

// flight begins the record of the run that a callback brings to its end. What
// was done before, on whichever node, is made anew from the session.
func (c *Connect) flight(ctx context.Context, x run, cfg oauth.Config) *flight {
	s, now := x.session, c.db.Now()
	f := &flight{c: c, rec: &egress.Recorder{}, facts: behalf.Circumstances{Plan: x.profile.Plan, CallbackURL: c.CallbackURL(x.profile.ID), Tenant: s.Tenant}}
	f.t = behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: behalf.AuthorizationTranscript, Assistant: s.Assistant, Profile: s.Profile, Session: s.ID,
		User: s.User, Status: behalf.TranscriptWaiting, CreatedAt: now}
	if s.Trial != "" {
		if t, err := c.keeper().Transcript(ctx, s.Assistant, s.Trial); err == nil {
			f.t = t
		} else {
			c.cfg.Log.Warn("the transcript of a trial is not there", "transcript", s.Trial, "err", err)
		}
		f.t.Steps = nil
	}
	f.keep(cfg.ClientSecret, x.secrets.State, x.secrets.Nonce, x.secrets.CodeVerifier)
	f.keep(cfg.Secrets...)
	f.keep(x.profile.ClientSecrets(now)...)
	if x.profile.Plan.Type.Redirects() {
		f.departed(x, cfg)
	}
	return f
}

// brought is what the run has brought so far, for a session that ends without a
// connection; nil: nothing came.
func (f *flight) brought(x run, result behalf.SessionResult) *store.Forsaken {
	if result.Credential.AccessToken.Empty() && result.Credential.RefreshToken.Empty() {
		if f.got.AccessToken.Empty() && f.got.RefreshToken.Empty() {
			return nil
		}
		result.Credential = x.profile.Plan.Credential(f.got, f.c.db.Now())
	}
	if result.Account.Subject == "" {
		result.Account = f.who
	}
	if len(result.Origins) == 0 {
		v := values(x.session, x.secrets, x.profile)
		v.Credential = &result.Credential
		result.Origins, _ = x.profile.Plan.Origins(v, f.c.db.Now) // of what cannot be filled nothing is sent
	}
	return &store.Forsaken{Result: result, Fields: x.secrets.Fields}
}

// keep masks secrets from here on.
func (f *flight) keep(secrets ...secret.Text) {
	for _, t := range secrets {
		if !t.Empty() {
			f.rec.Secrets = append(f.rec.Secrets, t)
		}
	}
}

// departed is the step that sent the browser to the provider.
func (f *flight) departed(x run, cfg oauth.Config) {
	target, _, err := cfg.AuthorizationRequest(oauth.Attempt{State: x.secrets.State, CodeVerifier: x.secrets.CodeVerifier, Nonce: x.secrets.Nonce})
	if err != nil {
		return
	}
	f.browser(behalf.StepRedirect, "Redirect to the provider", x.session.RedirectedAt, target, nil)
}

// browser adds a step that a browser made.
func (f *flight) browser(name behalf.StepName, title string, at time.Time, address string, err error) {
	u, parseErr := url.Parse(address)
	if parseErr != nil {
		return
	}
	f.keep(secret.New(u.Query().Get("code_challenge")))
	exchange := egress.Exchange{StartedAt: at, Request: f.rec.Seen(http.MethodGet, u)}
	f.t.Steps = append(f.t.Steps, behalf.Ran(name, title, at, 0, []egress.Exchange{exchange}, err, f.facts)...)
}

// do runs a part of the run and records it. It returns what the part returned.
func (f *flight) do(ctx context.Context, name behalf.StepName, title string, part func(context.Context) error) error {
	began := f.c.db.Now()
	f.running(ctx, behalf.TranscriptStep{Name: name, Title: title, Status: behalf.StepRunning, StartedAt: began})
	err := part(egress.WithRecorder(ctx, f.rec))
	exchanges := f.rec.Transcript().Exchanges
	f.t.Steps = append(f.t.Steps, behalf.Ran(name, title, began, f.c.db.Now().Sub(began), exchanges[f.seen:], err, f.facts)...)
	f.seen = len(exchanges)
	return err
}

// remark says of the last step what its exchange does not show by itself.
func (f *flight) remark(detail string) {
	if n := len(f.t.Steps); n > 0 {
		f.t.Steps[n-1].Detail = detail
	}
}

// left adds a step that was not done.
func (f *flight) left(name behalf.StepName, title, why string) {
	f.t.Steps = append(f.t.Steps, behalf.TranscriptStep{Name: name, Title: title, Status: behalf.StepLeft, StartedAt: f.c.db.Now(), Detail: why})
}

// running shows a trial's watcher what is being done.
func (f *flight) running(ctx context.Context, now behalf.TranscriptStep) {
	if f.t.Kind != behalf.TrialTranscript && f.t.Kind != behalf.QuickTranscript {
		return
	}
	done := f.t.Steps
	f.t.Steps = append(done[:len(done):len(done)], now)
	f.save(ctx)
	f.t.Steps = done
}

func (f *flight) save(ctx context.Context) {
	if err := f.c.keeper().SaveTranscript(ctx, f.t); err != nil {
		f.c.cfg.Log.Warn("the transcript of a trial is not kept", "transcript", f.t.ID, "err", err)
		return
	}
	f.t.Version++
}

// end closes the record.
func (f *flight) end(ctx context.Context, failed bool) {
	f.t.Status, f.t.EndedAt = behalf.TranscriptPassed, f.c.db.Now()
	if failed {
		f.t.Status = behalf.TranscriptFailed
	}
	if f.t.Kind == behalf.AuthorizationTranscript {
		f.c.keeper().Record(f.t)
		return
	}
	f.save(ctx)
}
