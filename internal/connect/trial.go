package connect

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file tests a profile. The rules are:
//
//   - A trial is a connect session with one value different, Trial: the link,
//     the page, the cookie, the callback and every check are those of any other.
//   - Nothing of it is kept as anybody's connection.
//   - Its token is revoked only where that cannot end a live connection of the
//     same account: at some providers a revocation ends the whole grant.

// NewTrial is what a test is asked for with.
type NewTrial struct {
	Profile   string // id or slug
	Tenant    string
	Fields    map[string]secret.Text
	Variables behalf.Variables
	Quick     bool // without a person
}

// Test begins a test of a profile. Where a person is needed it returns the link
// for them, like that of a connect session; else the test is over when it returns.
func (c *Connect) Test(ctx context.Context, db store.Scope, a behalf.Assistant, n NewTrial) (behalf.Transcript, string, error) {
	p, err := db.Profile(ctx, a.ID, n.Profile)
	switch {
	case err != nil:
		return behalf.Transcript{}, "", err
	case p.Plan == nil:
		return behalf.Transcript{}, "", behalf.Invalid("profile", "This profile is only reserved; define it first.")
	}
	a.Finish = false // nobody's connection is to be finished
	asked := behalf.NewSession{Profile: string(p.ID), User: "test", Tenant: n.Tenant, Fields: n.Fields}
	if p.Plan.Shared() {
		asked.User = ""
	}
	if err := asked.Validate(a, p.Plan); err != nil {
		return behalf.Transcript{}, "", err
	}
	now := c.db.Now()
	t := behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: behalf.TrialTranscript, Assistant: a.ID, Profile: p.ID, Actor: db.Actor().String(),
		Status: behalf.TranscriptWaiting, Version: 1, CreatedAt: now}
	if n.Quick {
		t.Kind = behalf.QuickTranscript
		return c.quick(ctx, db, p, t, n)
	}
	link := secret.Random()
	s := behalf.ConnectSession{ID: behalf.NewSessionID(now), Assistant: a.ID, Profile: p.ID, ProfileVersion: p.Version, User: "test", UserName: "a test: nothing is kept",
		Tenant: n.Tenant, Status: behalf.SessionCreated, FinishChallenge: nobodys(), LinkHash: secret.Hash(link), Trial: t.ID,
		Version: 1, CreatedAt: now, ExpiresAt: now.Add(behalf.SessionLifetime)}
	t.Session = s.ID
	t.Steps = []behalf.TranscriptStep{{Name: behalf.StepRedirect, Title: "Redirect to the provider", Status: behalf.StepRunning, StartedAt: now, Detail: "It waits for the link to be opened."}}
	kept := behalf.SessionSecrets{Fields: behalf.NewSession{Fields: n.Fields, Variables: n.Variables}.Remembered(), TenantFixed: n.Tenant != ""}
	if kept.Stored, err = stored(ctx, db, p, s); err == nil {
		err = p.Plan.MissingVariables(values(s, kept, p))
	}
	if err != nil {
		return t, "", err
	}
	if err := db.CreateTranscript(ctx, t); err != nil {
		return t, "", err
	}
	if err := db.CreateSession(ctx, s, kept); err != nil {
		return t, "", err
	}
	return t, c.cfg.PublicURL.JoinPath("connect", link.Reveal()).String(), nil
}

// nobodys is a challenge whose verifier nobody has: code that does not know
// trials would hold the result for ever, and forget it.
func nobodys() string { return base64.RawURLEncoding.EncodeToString(secret.Hash(secret.Random())) }

func (c *Connect) keeper() store.Scope { return c.db.As(behalf.System("connect")) }

// Follow tells how a transcript stands, now and after every change, until it
// has ended or ctx has. The run may be on any node, so the database is asked.
func (c *Connect) Follow(ctx context.Context, db store.Scope, a behalf.AssistantID, id behalf.TranscriptID, tell func(behalf.Transcript) error) error {
	var told int64
	for {
		t, err := db.Transcript(ctx, a, id)
		if err != nil {
			return err
		}
		if t.Version != told {
			if err := tell(t); err != nil {
				return err
			}
			told = t.Version
		}
		if t.Status != behalf.TranscriptWaiting {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// onItsWay tells a trial's watcher that the browser has been sent to the provider.
func (c *Connect) onItsWay(ctx context.Context, x run, cfg oauth.Config) {
	if x.session.Trial == "" {
		return
	}
	f := c.flight(ctx, x, cfg)
	if len(f.t.Steps) == 0 || f.t.Status != behalf.TranscriptWaiting {
		return
	}
	f.running(ctx, behalf.TranscriptStep{Name: behalf.StepCallback, Title: "Callback", Status: behalf.StepRunning, StartedAt: c.db.Now(),
		Detail: "The person is at the provider. If it shows an error there instead of its login: register exactly " + f.facts.CallbackURL + " as redirect URI, and compare the client id."})
}

// conclude ends a trial: the rest is tried, and the token given back where that
// harms nobody.
func (c *Connect) conclude(w http.ResponseWriter, r *http.Request, x run, f *flight, cfg oauth.Config, v behalf.Values, result behalf.SessionResult, failed error) {
	ctx := r.Context()
	if failed == nil {
		failed = c.tryRefresh(ctx, x, f, v, &result)
	}
	if err := c.tryRevocation(ctx, f, x, cfg, result); failed == nil {
		failed = err
	}
	if failed != nil && f.t.Failed() == nil {
		f.note(behalf.StepValidation, "Validation", failed)
	}
	f.end(ctx, failed != nil)
	status, why := behalf.SessionTested, behalf.Outcome{Code: "tested", Detail: "The authorization was tested successfully."}
	if failed != nil {
		status, why = behalf.SessionFailed, behalf.Outcome{Code: "test_failed", Detail: "The test did not succeed."}
		if s := f.t.Failed(); s != nil {
			why.Detail, why.Fix = s.Cause, s.Fix
		}
	}
	c.end(w, r, x, status, why)
}

func (c *Connect) tryRefresh(ctx context.Context, x run, f *flight, v behalf.Values, result *behalf.SessionResult) error {
	const title = "Refresh"
	switch {
	case !result.Credential.Refreshable():
		f.left(behalf.StepRefresh, title, "No refresh token came, so there is nothing to refresh.")
		return nil
	case x.profile.Plan.OAuth.Refresh.MinAge > 0:
		f.left(behalf.StepRefresh, title, "The profile says that a token must be older before it may be refreshed (oauth.refresh.min_age).")
		return nil
	case c.cfg.Broker == nil:
		return nil
	}
	v.Credential = &result.Credential
	return f.do(ctx, behalf.StepRefresh, title, func(ctx context.Context) error {
		token, err := c.cfg.Broker.Try(ctx, x.profile, v, result.Credential)
		if err != nil {
			return err
		}
		f.keep(token.AccessToken, token.RefreshToken, token.IDToken)
		result.Credential = result.Credential.Merged(x.profile.Plan.Credential(token, c.db.Now()))
		return nil
	})
}

func (c *Connect) tryRevocation(ctx context.Context, f *flight, x run, cfg oauth.Config, result behalf.SessionResult) error {
	const title = "Revocation"
	brought := f.brought(x, result)
	if brought == nil {
		return nil // there is nothing to give back
	}
	if cfg.RevocationURL == "" {
		f.left(behalf.StepRevocation, title, "The profile has no revocation URL. The test's token was thrown away here, and ends by itself at the provider.")
		return nil
	}
	account := brought.Result.Account
	use, err := c.keeper().AccountUse(ctx, x.profile, account.Subject)
	switch {
	case account.Subject == "":
		f.left(behalf.StepRevocation, title, "The token was left: it is not known whose account it is, and revoking it could end a live connection of that account. It was thrown away here.")
		return nil
	case err != nil || use == store.AccountUsed:
		f.left(behalf.StepRevocation, title, "The token was left: this account has a live connection, which a revocation could end. It was thrown away here.")
		return nil
	case use == store.AccountWaits:
		f.left(behalf.StepRevocation, title, "The token was left for now: this account may be about to get a live connection. If it gets none, the token is revoked in a while.")
		_, err := c.keeper().Forsake(ctx, x.session, *brought, false)
		return err
	}
	owed, err := c.keeper().Forsake(ctx, x.session, *brought, true) // if this process dies, or the provider, another goes on
	if err != nil {
		return err
	}
	token, hint := brought.Result.Credential.RefreshToken, "refresh_token"
	if token.Empty() {
		token, hint = brought.Result.Credential.AccessToken, "access_token"
	}
	client := oauth.Client{Config: cfg, HTTP: c.out(x.profile)}
	if err := f.do(ctx, behalf.StepRevocation, title, func(ctx context.Context) error { return client.Revoke(ctx, token, hint) }); err != nil {
		return err
	}
	proof := behalf.RevocationProof{Outcome: behalf.RevocationDone, Answer: "2xx", Attempts: 1}
	if u, err := url.Parse(cfg.RevocationURL); err == nil {
		proof.Host = u.Host
	}
	if err := c.keeper().Settle(ctx, owed, proof); err != nil {
		c.cfg.Log.Warn("the outcome of a revocation was not kept", "transcript", x.session.Trial, "err", err)
	}
	return nil
}

// close ends the transcript of a trial whose session has ended without a
// callback that could be taken: the person declined, time ran out.
func (c *Connect) close(ctx context.Context, s behalf.ConnectSession, why behalf.Outcome) {
	if s.Trial == "" {
		return
	}
	t, err := c.keeper().Transcript(ctx, s.Assistant, s.Trial)
	if err != nil || t.Status != behalf.TranscriptWaiting {
		return
	}
	p, err := c.keeper().Profile(ctx, s.Assistant, string(s.Profile))
	if err != nil {
		p = behalf.Profile{ID: s.Profile}
	}
	f := &flight{c: c, t: t, rec: &egress.Recorder{}, facts: behalf.Circumstances{Plan: p.Plan, CallbackURL: c.CallbackURL(s.Profile), Tenant: s.Tenant}}
	f.settle()
	failure := &behalf.Error{Code: behalf.CodeProvider, Message: why.Detail}
	if why.Code == "expired" && s.Status == behalf.SessionExpired && !s.RedirectedAt.IsZero() {
		failure.Field = "callback"
	}
	f.note(behalf.StepCallback, "Callback", failure)
	f.end(ctx, true)
}

// settle takes away what is running: it is so no more.
func (f *flight) settle() {
	if n := len(f.t.Steps); n > 0 && f.t.Steps[n-1].Status == behalf.StepRunning {
		f.t.Steps = f.t.Steps[:n-1]
	}
}

func (f *flight) note(name behalf.StepName, title string, err error) {
	f.t.Steps = append(f.t.Steps, behalf.Ran(name, title, f.c.db.Now(), 0, nil, err, f.facts)...)
}

// strayed records for a trial that a callback came which cannot be believed. The
// trial goes on waiting: the right one may still come.
func (c *Connect) strayed(ctx context.Context, t behalf.Transcript, failure *behalf.Error) {
	f := &flight{c: c, t: t, rec: &egress.Recorder{}, facts: behalf.Circumstances{CallbackURL: c.CallbackURL(t.Profile)}}
	waiting := f.t.Steps
	f.settle()
	f.note(behalf.StepCallback, "Callback", failure)
	if n := len(waiting); n > 0 && waiting[n-1].Status == behalf.StepRunning {
		f.t.Steps = append(f.t.Steps, waiting[n-1])
	}
	if len(f.t.Steps) < 20 {
		f.save(ctx)
	}
}

// stateless finds the trial whose answer came back without its state: it is of
// this profile, and this browser holds its cookie.
func (c *Connect) stateless(r *http.Request) {
	open, err := c.keeper().OpenTrials(r.Context(), behalf.ProfileID(r.PathValue("profile")))
	if err != nil {
		return
	}
	for _, t := range open {
		if c.held(r, behalf.ConnectSession{ID: t.Session}).Empty() {
			continue
		}
		c.strayed(r.Context(), t, &behalf.Error{Code: behalf.CodeProvider, Field: "state", Message: "The answer has no state, or one that is not known."})
		return
	}
}

// foreign is an answer to a trial's state in a browser that did not begin it.
func (c *Connect) foreign(r *http.Request, s behalf.ConnectSession) {
	if s.Trial == "" {
		return
	}
	if t, err := c.keeper().Transcript(r.Context(), s.Assistant, s.Trial); err == nil && t.Status == behalf.TranscriptWaiting {
		c.strayed(r.Context(), t, &behalf.Error{Code: behalf.CodeProvider, Field: "cookie", Message: "The answer came in another browser than the one that began."})
	}
}

// quick asks the provider what can be known without a person: whether the
// addresses answer, whether the authorization request is taken, and whether
// client id and secret are right.
func (c *Connect) quick(ctx context.Context, db store.Scope, p behalf.Profile, t behalf.Transcript, n NewTrial) (behalf.Transcript, string, error) {
	s := behalf.ConnectSession{Assistant: p.Assistant, Profile: p.ID, User: "test", Tenant: n.Tenant}
	secrets := behalf.SessionSecrets{Fields: behalf.NewSession{Fields: n.Fields, Variables: n.Variables}.Remembered()}
	var err error
	if secrets.Stored, err = stored(ctx, db, p, s); err != nil {
		return t, "", err
	}
	v := values(s, secrets, p)
	v.Serves = v.Serves || p.Plan.Unattended(behalf.Values{Plan: p.Plan, Tenant: v.Tenant}) // as the connection that a call makes
	if missing := p.Plan.MissingInputs(v); len(missing) > 0 {
		return t, "", &behalf.Error{Code: behalf.CodeInvalid, Field: missing[0].Field, Message: missing[0].Message, Fields: missing}
	}
	cfg, err := c.oauthConfig(s, p, v)
	if err != nil {
		return t, "", err
	}
	if err := db.CreateTranscript(ctx, t); err != nil {
		return t, "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeDeadline)
	defer cancel()
	f := &flight{c: c, t: t, rec: &egress.Recorder{}, facts: behalf.Circumstances{Plan: p.Plan, CallbackURL: c.CallbackURL(p.ID), Tenant: v.Tenant}}
	f.keep(cfg.ClientSecret)
	f.keep(cfg.Secrets...)
	f.keep(p.ClientSecrets(c.db.Now())...)
	client := oauth.Client{Config: cfg, HTTP: c.out(p)}
	if !p.Plan.Type.Redirects() { // all of it can be tried without a person's browser
		s.Trial = t.ID
		x := run{db: db, session: s, profile: p, secrets: secrets}
		result, failed := c.issue(ctx, f, x, &cfg, &v)
		if brought := f.brought(x, result); brought != nil && !brought.Result.Credential.RefreshToken.Empty() {
			if _, err := c.keeper().Forsake(ctx, s, *brought, false); err != nil {
				return f.t, "", err
			}
		}
		f.end(ctx, failed != nil)
		return f.t, "", nil
	}
	failed := f.do(ctx, behalf.StepRedirect, "Authorization URL", func(ctx context.Context) error { return c.probeAuthorization(ctx, f, client) })
	if cfg.ResponseType != oauth.ResponseToken {
		refused := f.do(ctx, behalf.StepTokenRequest, "Client id and secret", func(ctx context.Context) error { return c.probeClient(ctx, f, client) })
		if refused == nil {
			f.remark("A code that was never issued was sent. The provider refuses that code, as it should, and takes the client.")
		}
		failed = errors.Join(failed, refused)
	}
	f.end(ctx, failed != nil)
	return f.t, "", nil
}

// probeAuthorization makes the authorization request as a browser would that is
// not signed in. Its login page, or a redirect to it, is what should come; many
// providers tell what they do not take before they ask for a login.
func (c *Connect) probeAuthorization(ctx context.Context, f *flight, client oauth.Client) error {
	attempt := oauth.NewAttempt()
	f.keep(attempt.State, attempt.Nonce, attempt.CodeVerifier)
	target, _, err := client.AuthorizationRequest(attempt)
	if err != nil {
		return &behalf.Error{Code: behalf.CodeInvalid, Field: "authorization_url", Message: "The authorization request cannot be made.", Err: err}
	}
	if u, err := url.Parse(target); err == nil {
		f.keep(secret.New(u.Query().Get("code_challenge")))
	}
	got, err := client.Visit(ctx, target)
	if err != nil {
		return err
	}
	back, err := url.Parse(got)
	if err != nil || !strings.HasPrefix(got, client.RedirectURI) {
		return nil // on to a login, wherever that is
	}
	cb, err := client.ParseCallback(back.Query())
	if err == nil && cb.Error != "" && !asksForLogin(cb.Error) {
		err = client.CheckCallback(cb)
	}
	return err
}

// asksForLogin reports whether an error only says that nobody is signed in.
func asksForLogin(code string) bool {
	return code == "login_required" || code == "consent_required" || code == "interaction_required" || code == "account_selection_required"
}

// probeClient redeems a code that was never issued. A provider that takes the
// client refuses the code; one that does not, refuses the client.
func (c *Connect) probeClient(ctx context.Context, f *flight, client oauth.Client) error {
	_, err := client.Exchange(ctx, neverIssued(), oauth.NewAttempt())
	e := (*oauth.Error)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && takesClient(e):
		return nil
	}
	f.facts.Takes = c.takes(ctx, client, err)
	return err
}

func neverIssued() secret.Text { return secret.New("behalf-test-no-code") }

// takesClient reports whether an error means that only the code is refused.
// Servers check the client first (RFC 6749 §5.2).
func takesClient(e *oauth.Error) bool {
	return e.Code == "invalid_grant" || e.Code == "bad_verification_code"
}

// takes looks whether a provider that refused the client takes it when it
// authenticates in another way. The code of the run is not at stake: the one
// that is sent was never issued.
func (c *Connect) takes(ctx context.Context, client oauth.Client, refusal error) behalf.ClientAuth {
	e := (*oauth.Error)(nil)
	if !errors.As(refusal, &e) || e.Kind != oauth.ClientFault || client.ClientSecret.Empty() || e.Status != http.StatusUnauthorized && e.Code != "invalid_client" {
		return ""
	}
	for name, auth := range map[behalf.ClientAuth]oauth.ClientAuth{behalf.ClientAuthBasic: oauth.Basic, behalf.ClientAuthPost: oauth.Post} {
		if auth == client.ClientAuth {
			continue
		}
		other := client
		other.ClientAuth = auth
		_, err := other.Exchange(egress.WithRecorder(ctx, nil), neverIssued(), oauth.NewAttempt())
		if answer := (*oauth.Error)(nil); err == nil || errors.As(err, &answer) && takesClient(answer) {
			return name
		}
	}
	return ""
}
