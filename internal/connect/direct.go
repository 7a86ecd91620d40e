package connect

import (
	"context"
	"errors"
	"net/http"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file connects where the person never leaves our page: an API key, a
// username with a password, or nothing but what the profile asks. The rules are:
//
//   - What was entered is tried before anything is kept of it.
//   - What the application does not take is forgotten at once, and the person
//     may correct it, but not try for ever.
//   - The browser is bound, and the assistant finishes, as with a redirect.

// maxAttempts is how often a person may enter what the application refuses.
const maxAttempts = 10

// direct connects with what the person has entered. Like proceed it reports
// whether it has answered.
func (c *Connect) direct(w http.ResponseWriter, r *http.Request, x run, last bool) bool {
	v := values(x.session, x.secrets, x.profile)
	cfg, err := c.oauthConfig(x.session, x.profile, v)
	if behalf.CodeOf(err) == behalf.CodeInvalid {
		c.unfillable(w, r, x, err)
		return true
	}
	if err != nil {
		c.unavailable(w, r, err)
		return true
	}
	s := x.session
	browser := c.held(r, s)
	fresh := browser.Empty()
	if fresh {
		browser = secret.Random()
	}
	if len(s.BrowserHash) == 0 {
		s.BrowserHash = secret.Hash(browser)
	}
	now := c.db.Now()
	s.Status, s.RedirectedAt, s.ReturnedAt, s.ProfileVersion = behalf.SessionReturned, now, now, x.profile.Version
	switch err := x.db.SaveSession(r.Context(), s, x.secrets); {
	case errors.Is(err, store.ErrStale) && !last:
		return false
	case errors.Is(err, store.ErrStale):
		x.outcome(w, r, busy, behalf.Outcome{})
		return true
	case err != nil:
		c.unavailable(w, r, err)
		return true
	}
	if fresh {
		c.give(w, s, browser)
		r.AddCookie(&http.Cookie{Name: c.cookie(s.ID), Value: browser.Reveal()}) // what is answered now is for this browser
	}
	s.Version++
	x.session = s
	if len(s.ReturnURL) > 0 {
		x.home = s.ReturnURL
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), exchangeDeadline)
	defer cancel()
	r = r.WithContext(ctx)
	f := c.flight(ctx, x, cfg)
	result, err := c.issue(ctx, f, x, &cfg, &v)
	if x.session.Trial != "" {
		c.conclude(w, r, x, f, cfg, v, result, err)
		return true
	}
	if why, mendable := c.mendable(r, err, x); mendable {
		c.retry(w, r, x, f, why)
		return true
	}
	c.bringHome(w, r, x, f, result, err)
	return true
}

// issue turns what was entered into a validated credential.
func (c *Connect) issue(ctx context.Context, f *flight, x run, cfg *oauth.Config, v *behalf.Values) (behalf.SessionResult, error) {
	plan := x.profile.Plan
	client := oauth.Client{Config: *cfg, HTTP: c.out(x.profile), Keys: c.keysOf(x.profile.ID)}
	var token oauth.Token
	if plan.Type.IssuesTokens() {
		err := f.do(ctx, behalf.StepTokenRequest, "Token request", func(ctx context.Context) (err error) {
			token, err = c.withSecrets(x.profile, client, func(client oauth.Client) (oauth.Token, error) { return broker.Issue(ctx, client, *v) })
			f.keep(token.AccessToken, token.RefreshToken, token.IDToken)
			f.facts.NoRefresh = err == nil && token.RefreshToken.Empty() && !plan.Reissues()
			return err
		})
		f.got = token
		if err == nil {
			token, err = c.follow(ctx, f, client, token)
		}
		if err != nil {
			return behalf.SessionResult{}, err
		}
	}
	return c.confirm(ctx, f, x, client, cfg, v, token, oauth.Attempt{})
}

// confirm checks a fresh token and learns whose account it is and what later
// calls need.
func (c *Connect) confirm(ctx context.Context, f *flight, x run, client oauth.Client, cfg *oauth.Config, v *behalf.Values, token oauth.Token, attempt oauth.Attempt) (behalf.SessionResult, error) {
	credential := x.profile.Plan.Credential(token, c.db.Now())
	v.Credential = &credential
	var err error
	if client.Config, err = c.oauthConfig(x.session, x.profile, *v); err != nil {
		return behalf.SessionResult{}, err
	}
	*cfg = client.Config
	f.keep(cfg.Secrets...)
	account, err := c.validate(ctx, f, client, x.profile, *v, token, attempt)
	if name := v.Inputs.Fields[behalf.FieldUsername]; !name.Empty() && !x.profile.Plan.Type.Redirects() {
		f.who = named(f.who, name.Reveal())
		account = f.who
	}
	if err != nil {
		return behalf.SessionResult{}, err
	}
	return c.explore(ctx, f, x, client, v, behalf.SessionResult{Credential: credential, Account: account}, 0)
}

// named is an account of which nothing else may be known than what the person
// signs in as.
func named(a behalf.Account, username string) behalf.Account {
	if a.Subject == "" {
		a.Subject = username
	}
	if a.Label == "" {
		a.Label = username
	}
	return a
}

// withSecrets makes a request of the token endpoint with each client secret in
// turn, as long as the provider refuses the client itself: a secret that is
// being replaced must not keep anybody out. Nothing is spent by such a refusal.
func (c *Connect) withSecrets(p behalf.Profile, client oauth.Client, ask func(oauth.Client) (oauth.Token, error)) (oauth.Token, error) {
	token, err := ask(client)
	for _, other := range p.ClientSecrets(c.db.Now()) {
		if !oauth.ClientRefused(err) {
			break
		}
		if other.Equal(client.ClientSecret) {
			continue
		}
		client.ClientSecret = other
		token, err = ask(client)
	}
	return token, err
}

// mendable returns the message for a failure that the person can do something
// about by entering it again.
func (c *Connect) mendable(r *http.Request, err error, x run) (message string, ok bool) {
	e := (*oauth.Error)(nil)
	if !errors.As(err, &e) || len(x.profile.Plan.Asks()) == 0 {
		return "", false
	}
	say := wordsOf(r, x)
	switch e.Kind {
	case oauth.Refused:
		return say("direct.refused"), true
	case oauth.Limited, oauth.Transient, oauth.Ambiguous:
		return say("direct.unreached"), e.Op != oauth.OpCheck || e.Status == 0 || e.Status >= 500 || e.Status == http.StatusTooManyRequests
	}
	return "", false
}

// retry shows the form once more. What was refused is not kept.
func (c *Connect) retry(w http.ResponseWriter, r *http.Request, x run, f *flight, why string) {
	f.end(r.Context(), true)
	x.session.FinishTries++
	if x.session.FinishTries >= maxAttempts {
		c.forsake(w, r, x, behalf.SessionFailed, behalf.Outcome{Code: "refused", Detail: "The application refused what the person entered too often.", Fix: "Begin a new connect session once the person has what the application takes."}, f.brought(x, behalf.SessionResult{}))
		return
	}
	if brought := f.brought(x, behalf.SessionResult{}); brought != nil {
		if _, err := c.keeper().Forsake(r.Context(), x.session, *brought, false); err != nil {
			c.unavailable(w, r, err)
			return
		}
	}
	for _, f := range x.profile.Plan.Asks() {
		if f.Type == behalf.FieldPassword {
			delete(x.secrets.Fields, f.Key)
		}
	}
	x.session.Status = behalf.SessionCreated
	if err := x.db.SaveSession(r.Context(), x.session, x.secrets); err != nil {
		c.unavailable(w, r, err)
		return
	}
	x.session.Version++
	x.show(w, r, []behalf.FieldError{{Message: why}}, http.StatusUnprocessableEntity)
}

// fail ends a session whose authorization did not work out.
func (c *Connect) fail(w http.ResponseWriter, r *http.Request, x run, f *flight, err error) {
	f.end(r.Context(), true)
	status, why := judge(err)
	c.cfg.Log.Warn("authorization failed", "session", x.session.ID, "profile", x.session.Profile, "code", why.Code, "err", err)
	c.forsake(w, r, x, status, why, f.brought(x, behalf.SessionResult{}))
}

// settle keeps what was authorized: held back where the assistant finishes, or
// as a connection.
func (c *Connect) settle(w http.ResponseWriter, r *http.Request, x run, f *flight, result behalf.SessionResult) {
	if !x.secrets.Reconnect.Allows(result.Account) {
		f.end(r.Context(), true)
		c.wrongAccount(w, r, x, result.Account, f.brought(x, result))
		return
	}
	result.Into = x.secrets.Reconnect.Connection
	x.secrets.Fields = x.profile.Plan.KeptFields(x.secrets.Fields)
	if x.session.NeedsFinish() {
		f.end(r.Context(), false)
		c.hold(w, r, x, result)
		return
	}
	s, err := c.connect(r.Context(), x.db, x.session, x.profile, x.secrets, result)
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	f.t.Connection = s.Connection
	f.end(r.Context(), false)
	x.session = s
	c.connected(w, r, x, result.Account)
}

// wrongAccount ends a session that was to renew a connection and came back with
// somebody else's account. What was authorized is forgotten, and revoked where
// that cannot end a live connection of that account.
func (c *Connect) wrongAccount(w http.ResponseWriter, r *http.Request, x run, account behalf.Account, brought *store.Forsaken) {
	x.account = account.Label
	c.forsake(w, r, x, behalf.SessionWrongAccount, behalf.Outcome{Code: "wrong_account", Detail: "The person signed in with another account than the one that the connection is for. Nothing was changed.",
		Fix: "Begin a new connect session and let the person sign in with the account they used before, or allow another account (allow_other_account)."}, brought)
}
