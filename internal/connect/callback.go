package connect

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// exchangeDeadline bounds everything that is asked of the provider between the
// return of the browser and the answer to it.
const exchangeDeadline = 60 * time.Second

// Callback serves GET /callback/{profile}, with and without a trailing slash:
// the provider's answer, brought by the browser.
func (c *Connect) Callback(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery == "" {
		c.fragment(w, r)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	c.answer(w, r, query)
}

// Fragment serves POST /callback/{profile}: the fragment of a legacy implicit
// response, handed over by the script of the page that fragment renders.
func (c *Connect) Fragment(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	values, err := url.ParseQuery(r.PostForm.Get("fragment"))
	if err != nil {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	c.answer(w, r, values)
}

// fragment answers a callback without a query. A browser keeps what stands
// behind # to itself, so only a script can bring it. Whether the profile has
// opted in to that is decided when it has come.
func (c *Connect) fragment(w http.ResponseWriter, r *http.Request) {
	renderFragment(w, r, fragmentPage{Action: "/callback/" + url.PathEscape(r.PathValue("profile"))}, "")
}

// answer takes an authorization response to the session it belongs to.
func (c *Connect) answer(w http.ResponseWriter, r *http.Request, response url.Values) {
	cb, err := oauth.ParseCallback(response)
	if err != nil || cb.State.Empty() {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	db, s, err := c.db.SessionByState(r.Context(), cb.State)
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	case err != nil:
		c.unavailable(w, r, err)
		return
	case s.RedirectURI != c.CallbackURL(behalf.ProfileID(r.PathValue("profile"))):
		// Somebody else's redirect URI with our state: another profile's provider
		// has bounced the browser here. The session stays as it is.
		c.cfg.Log.Warn("callback to the redirect URI of another profile", "session", s.ID, "profile", s.Profile)
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	case !c.sameBrowser(r, s):
		c.cfg.Log.Warn("callback in a browser that did not press Continue", "session", s.ID, "profile", s.Profile)
		renderOutcome(w, r, outcomePage{Kind: otherBrowser}, s.Locale)
		return
	}
	c.returned(w, r, db, s, cb)
}

// returned is the session's own browser with an answer to its own state.
func (c *Connect) returned(w http.ResponseWriter, r *http.Request, db store.Scope, s behalf.ConnectSession, cb oauth.Callback) {
	x, err := c.load(r, db, s)
	switch {
	case errors.Is(err, store.ErrStale):
		renderOutcome(w, r, outcomePage{Kind: busy}, s.Locale)
		return
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		c.deleted(w, r, x)
		return
	case err != nil:
		c.unavailable(w, r, err)
		return
	}
	switch {
	case s.Status.Ended():
		x.ended(w, r)
		return
	case s.Expired(c.db.Now()):
		c.end(w, r, x, behalf.SessionExpired, expiry(s))
		return
	case s.Status == behalf.SessionPending:
		x.outcome(w, r, finishPending, behalf.Outcome{})
		return
	case s.Status != behalf.SessionRedirected:
		c.stuck(w, r, x)
		return
	}
	// The state is consumed here: of two requests one wins.
	x.session.Status, x.session.ReturnedAt = behalf.SessionReturned, c.db.Now()
	if err := db.SaveSession(r.Context(), x.session, x.secrets); err != nil {
		if errors.Is(err, store.ErrStale) {
			x.outcome(w, r, busy, behalf.Outcome{})
			return
		}
		c.unavailable(w, r, err)
		return
	}
	x.session.Version++
	c.complete(w, r, x, cb)
}

// complete makes a connection of the answer. What the provider has been asked
// for is finished even if the browser has gone.
func (c *Connect) complete(w http.ResponseWriter, r *http.Request, x run, cb oauth.Callback) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), exchangeDeadline)
	defer cancel()
	r = r.WithContext(ctx)
	if x.session.ProfileVersion != x.profile.Version {
		c.end(w, r, x, behalf.SessionFailed, behalf.Outcome{Code: "profile", Detail: "The authorization profile was changed while the person was at the provider.", Fix: "Begin a new connect session."})
		return
	}
	v := values(x.session, x.secrets, x.profile)
	cfg, err := c.oauthConfig(x.session, x.profile, v)
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	result, err := c.authorize(ctx, x, cfg, v, cb)
	if err != nil {
		status, why := judge(err)
		c.cfg.Log.Warn("authorization failed", "session", x.session.ID, "profile", x.session.Profile, "code", why.Code, "err", err)
		c.end(w, r, x, status, why)
		return
	}
	if x.session.NeedsFinish() {
		c.hold(w, r, x, result)
		return
	}
	s, err := c.connect(ctx, x.db, x.session, x.profile, x.secrets, result)
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	x.session = s
	c.connected(w, r, x, result.Account)
}

// authorize turns the answer into a validated credential.
func (c *Connect) authorize(ctx context.Context, x run, cfg oauth.Config, v behalf.Values, cb oauth.Callback) (behalf.SessionResult, error) {
	if err := cfg.CheckCallback(cb); err != nil {
		return behalf.SessionResult{}, err
	}
	client := oauth.Client{Config: cfg, HTTP: c.cfg.HTTP, Keys: c.keysOf(x.profile.ID)}
	attempt := oauth.Attempt{State: x.secrets.State, Nonce: x.secrets.Nonce, CodeVerifier: x.secrets.CodeVerifier}
	var token oauth.Token
	var err error
	if cfg.ResponseType == oauth.ResponseToken {
		token, err = cfg.ImplicitToken(cb)
	} else {
		token, err = client.Exchange(ctx, cb.Code, attempt)
	}
	if err != nil {
		return behalf.SessionResult{}, err
	}
	account, err := c.validate(ctx, client, x.profile, v, token, attempt)
	if err != nil {
		return behalf.SessionResult{}, err
	}
	result := behalf.SessionResult{Credential: broker.Credential(token, c.db.Now()), Account: account}
	v.Credential = &result.Credential
	result.Origins, err = x.profile.Plan.Origins(v, c.db.Now)
	return result, err
}

// hold seals the result into the session until the assistant's backend has
// finished it.
func (c *Connect) hold(w http.ResponseWriter, r *http.Request, x run, result behalf.SessionResult) {
	code := secret.Random()
	x.secrets = behalf.SessionSecrets{Fields: x.secrets.Fields, Result: &result}
	x.session.Status, x.session.FinishHash = behalf.SessionPending, secret.Hash(code)
	err := patiently(r.Context(), func() error { return x.db.SaveSession(r.Context(), x.session, x.secrets) })
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	x.session.Version++
	c.handBack(w, r, x, code)
}

// connect makes or renews the connection. Two sessions of one person for one
// account may end at the same moment: the second looks again.
func (c *Connect) connect(ctx context.Context, db store.Scope, s behalf.ConnectSession, p behalf.Profile, secrets behalf.SessionSecrets, result behalf.SessionResult) (behalf.ConnectSession, error) {
	requested, _ := p.Plan.Scopes()
	inputs := behalf.Inputs{Fields: secrets.Fields, Captured: result.Captured, Origins: result.Origins}
	var made behalf.Connection
	err := patiently(ctx, func() (err error) {
		for range 5 {
			if made, err = db.Connect(ctx, s, result, inputs, requested); !errors.Is(err, store.ErrStale) {
				break
			}
		}
		return err
	})
	if err != nil {
		return s, err
	}
	s.Status, s.Connection = behalf.SessionConnected, made.ID
	return s, nil
}

// patiently repeats a save while the database does not answer and ctx lasts: a
// code can be exchanged once, so what it brought is not dropped for a restart
// of the database.
func patiently(ctx context.Context, save func() error) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := save()
		if behalf.CodeOf(err) != behalf.CodeUnavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
