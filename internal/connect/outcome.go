package connect

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// outcome renders a page of the session that changes nothing.
func (x run) outcome(w http.ResponseWriter, r *http.Request, kind outcomeKind, why behalf.Outcome) {
	renderOutcome(w, r, outcomePage{Kind: kind, Assistant: x.assistant.Name, Provider: x.profile.Provider, Person: person(x.session), Account: x.account, Detail: why.Detail, Fix: why.Fix, ReturnURL: x.home, Brand: brandOf(x.assistant)}, x.session.Locale)
}

var outcomeOf = map[behalf.SessionStatus]outcomeKind{
	behalf.SessionConnected: used, behalf.SessionDeclined: declined, behalf.SessionExpired: expired,
	behalf.SessionFailed: failed, behalf.SessionWrongAccount: wrongAccount,
}

// ended explains a session that has come to its end: a second click, a reload.
func (x run) ended(w http.ResponseWriter, r *http.Request) {
	why := behalf.Outcome{}
	if x.session.Problem != nil {
		why = *x.session.Problem
	}
	x.outcome(w, r, x.kind(), why)
}

// stillConnected is the last page, reloaded in the browser that has seen it: what it said
// is still so while the connection is there, and nothing is done a second time.
// The person's own scope reads no connections.
func (c *Connect) stillConnected(w http.ResponseWriter, r *http.Request, x run) {
	conn, err := c.keeper().Connection(r.Context(), x.session.Connection)
	if err != nil || conn.Status != behalf.ConnectionActive {
		x.ended(w, r)
		return
	}
	x.account = conn.Account.Label
	x.outcome(w, r, connected, behalf.Outcome{})
}

// kind is the page of a session that has ended. A trial's is for who tests.
func (x run) kind() outcomeKind {
	switch {
	case x.session.Status == behalf.SessionTested:
		return tested
	case x.session.Trial != "" && x.session.Status == behalf.SessionFailed:
		return testFailed
	}
	return outcomeOf[x.session.Status]
}

// end ends a session without a connection and tells the person: by the return
// URL where the assistant gave one, else by a page.
func (c *Connect) end(w http.ResponseWriter, r *http.Request, x run, status behalf.SessionStatus, why behalf.Outcome) {
	c.forsake(w, r, x, status, why, nil)
}

// forsake is end for a session that brought something of which no connection is
// made.
func (c *Connect) forsake(w http.ResponseWriter, r *http.Request, x run, status behalf.SessionStatus, why behalf.Outcome, brought *store.Forsaken) {
	s, err := c.over(r.Context(), x, status, why, brought)
	switch {
	case errors.Is(err, store.ErrStale):
		x.outcome(w, r, busy, behalf.Outcome{})
		return
	case err != nil:
		c.unavailable(w, r, err)
		return
	}
	x.session = s
	c.close(r.Context(), s, why)
	c.cfg.Log.Info("connect session", "session", s.ID, "assistant", s.Assistant, "profile", s.Profile, "outcome", status, "code", why.Code)
	if c.goHome(w, r, x, nil) {
		return
	}
	x.outcome(w, r, x.kind(), why)
}

// over ends a session. What it brought is in no database yet: that it may have
// to be revoked is kept patiently.
func (c *Connect) over(ctx context.Context, x run, status behalf.SessionStatus, why behalf.Outcome, brought *store.Forsaken) (s behalf.ConnectSession, err error) {
	if brought == nil {
		return x.db.EndSession(ctx, x.session, status, why)
	}
	err = patiently(ctx, func() error {
		s, err = x.db.ForsakeSession(ctx, x.session, status, why, *brought)
		return err
	})
	return s, err
}

// goHome sends the browser to the return URL, if there is one and the browser
// is the session's. The assistant learns the outcome from us, not from the URL:
// the status there is only for what it shows first.
func (c *Connect) goHome(w http.ResponseWriter, r *http.Request, x run, more url.Values) bool {
	s, assistant := x.session, x.assistant.Name
	if s.ReturnURL == "" || len(s.BrowserHash) > 0 && !c.sameBrowser(r, s) {
		return false
	}
	u, err := url.Parse(s.ReturnURL)
	if err != nil {
		return false
	}
	q := u.Query()
	q.Set("session", string(s.ID))
	q.Set("status", s.Status.Public())
	for k, v := range more {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	if r.Method == http.MethodPost {
		// A page and not a redirect: Chromium holds a redirect after a form to the
		// form-action of the page that the form was on.
		renderGo(w, r, goPage{Provider: assistant, URL: u.String(), Brand: brandOf(x.assistant)}, s.Locale)
		return true
	}
	look.Headers(w, look.Policy{})
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
	return true
}

// connected tells the person that it worked.
func (c *Connect) connected(w http.ResponseWriter, r *http.Request, x run, account behalf.Account) {
	c.cfg.Log.Info("connect session", "session", x.session.ID, "assistant", x.session.Assistant, "profile", x.session.Profile, "outcome", "connected", "connection", x.session.Connection)
	if c.goHome(w, r, x, nil) {
		return
	}
	renderOutcome(w, r, outcomePage{Kind: connected, Assistant: x.assistant.Name, Provider: x.profile.Provider, Person: person(x.session), Account: account.Label, Brand: brandOf(x.assistant)}, x.session.Locale)
}

// handBack sends the browser to the assistant with a one-time code. Only the
// browser gets it: a backend that merely polls cannot finish what another
// person's browser completed.
func (c *Connect) handBack(w http.ResponseWriter, r *http.Request, x run, code secret.Text) {
	c.cfg.Log.Info("connect session", "session", x.session.ID, "assistant", x.session.Assistant, "profile", x.session.Profile, "outcome", "pending")
	if !c.goHome(w, r, x, url.Values{"finish_code": {code.Reveal()}}) {
		x.outcome(w, r, finishPending, behalf.Outcome{})
	}
}

// unavailable is for what is our own fault and will pass.
func (c *Connect) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	c.cfg.Log.Error("connect page", "path", r.Pattern, "err", err)
	renderOutcome(w, r, outcomePage{Kind: unavailable}, "")
}
