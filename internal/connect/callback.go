package connect

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/behalf-dev/behalf"
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
	db, s, err := c.byState(r.Context(), response)
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		c.stateless(r)
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
		c.foreign(r, s)
		renderOutcome(w, r, outcomePage{Kind: otherBrowser}, s.Locale)
		return
	}
	c.returned(w, r, db, s, response)
}

// returned is the session's own browser with an answer to its own state.
func (c *Connect) returned(w http.ResponseWriter, r *http.Request, db store.Scope, s behalf.ConnectSession, response url.Values) {
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
	case s.Status == behalf.SessionConnected && response.Get("error") == "":
		c.stillConnected(w, r, x)
		return
	case s.Status.Ended():
		x.ended(w, r)
		return
	case s.Expired(c.db.Now()):
		c.end(w, r, x, behalf.SessionExpired, expiry(s))
		return
	case s.Status == behalf.SessionPending:
		x.outcome(w, r, finishPending, behalf.Outcome{})
		return
	case s.Status == behalf.SessionChoosing:
		x.choose(w, r, false)
		return
	case s.Status != behalf.SessionRedirected:
		c.stuck(w, r, x)
		return
	}
	cb, err := oauth.Config{CallbackShape: x.profile.Plan.CallbackShape()}.ParseCallback(response)
	if err != nil || !secret.HashEqual(cb.State, s.StateHash) { // not an answer: the session stays as it is
		c.stateless(r)
		renderOutcome(w, r, outcomePage{Kind: unknown}, s.Locale)
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
	c.complete(w, r, x, cb, response)
}

// complete makes a connection of the answer. What the provider has been asked
// for is finished even if the browser has gone.
func (c *Connect) complete(w http.ResponseWriter, r *http.Request, x run, cb oauth.Callback, response url.Values) {
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
	f := c.flight(ctx, x, cfg)
	result, err := c.authorize(ctx, f, x, &cfg, &v, cb, response)
	if x.session.Trial != "" {
		c.conclude(w, r, x, f, cfg, v, result, err)
		return
	}
	c.bringHome(w, r, x, f, result, err)
}

// bringHome keeps what was authorized: asks the person what is still to be
// chosen, holds it back where the assistant finishes, or makes the connection.
func (c *Connect) bringHome(w http.ResponseWriter, r *http.Request, x run, f *flight, result behalf.SessionResult, err error) {
	ctx := r.Context()
	choose := (*choiceError)(nil)
	switch {
	case errors.As(err, &choose):
		f.end(ctx, false)
		c.ask(w, r, x, result, choose.Choosing)
		return
	case err != nil:
		c.fail(w, r, x, f, err)
		return
	}
	c.settle(w, r, x, f, result)
}

// authorize turns the answer into a validated credential. What the provider
// tells on the way goes into the config and the values.
func (c *Connect) authorize(ctx context.Context, f *flight, x run, cfg *oauth.Config, v *behalf.Values, cb oauth.Callback, response url.Values) (behalf.SessionResult, error) {
	err := c.told(f, x, cfg, v, cb, response)
	f.browser(behalf.StepCallback, "Callback", x.session.ReturnedAt, x.session.RedirectURI+"?"+response.Encode(), err)
	if err != nil {
		return behalf.SessionResult{}, err
	}
	client := oauth.Client{Config: *cfg, HTTP: c.out(x.profile), Keys: c.keysOf(x.profile.ID)}
	attempt := oauth.Attempt{State: x.secrets.State, Nonce: x.secrets.Nonce, CodeVerifier: x.secrets.CodeVerifier}
	token, err := c.exchange(ctx, f, x, client, cb, attempt)
	if err == nil {
		token, err = c.follow(ctx, f, client, token)
	}
	if err != nil {
		return behalf.SessionResult{}, err
	}
	return c.confirm(ctx, f, x, client, cfg, v, token, attempt)
}

// exchange gets the token that the answer stands for.
func (c *Connect) exchange(ctx context.Context, f *flight, x run, client oauth.Client, cb oauth.Callback, attempt oauth.Attempt) (oauth.Token, error) {
	if client.ResponseType == oauth.ResponseToken {
		return client.ImplicitToken(cb)
	}
	var token oauth.Token
	err := f.do(ctx, behalf.StepTokenRequest, "Token request", func(ctx context.Context) (err error) {
		token, err = c.withSecrets(x.profile, client, func(client oauth.Client) (oauth.Token, error) { return client.Exchange(ctx, cb.Code, attempt) })
		f.keep(token.AccessToken, token.RefreshToken, token.IDToken)
		f.facts.NoRefresh, f.facts.HasIDToken = err == nil && token.RefreshToken.Empty(), !token.IDToken.Empty()
		if x.session.Trial != "" {
			f.facts.Takes = c.takes(ctx, client, err)
		}
		return err
	})
	f.got, f.facts.Takes = token, ""
	return token, err
}

// hold seals the result into the session until the assistant's backend has
// finished it.
func (c *Connect) hold(w http.ResponseWriter, r *http.Request, x run, result behalf.SessionResult) {
	code := secret.Random()
	x.secrets = behalf.SessionSecrets{Fields: x.secrets.Fields, Result: &result}
	x.session.Status, x.session.FinishHash, x.session.FinishTries = behalf.SessionPending, secret.Hash(code), 0
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
