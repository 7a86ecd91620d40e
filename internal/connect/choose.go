package connect

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file lets the person choose what their connection is for: a site, an
// organization. The rules are:
//
//   - Meanwhile the result is sealed in the session, so that a reload, another
//     click on the link and another node show the same question.
//   - Only what the provider listed for this session can be chosen, by the
//     browser that authorized.

// choiceError says that the person has to choose first.
type choiceError struct{ behalf.Choosing }

func (e *choiceError) Error() string { return "connect: the person has to choose" }

// ask keeps the result and shows the question.
func (c *Connect) ask(w http.ResponseWriter, r *http.Request, x run, result behalf.SessionResult, asks behalf.Choosing) {
	x.session.Status = behalf.SessionChoosing
	x.secrets.Result, x.secrets.Choosing = &result, &asks
	x.secrets.CodeVerifier, x.secrets.Nonce = secret.Text{}, secret.Text{} // they have served
	if err := patiently(r.Context(), func() error { return x.db.SaveSession(r.Context(), x.session, x.secrets) }); err != nil {
		c.unavailable(w, r, err)
		return
	}
	x.session.Version++
	x.choose(w, r, false)
}

// choosePage asks the person to choose.
type choosePage struct {
	Assistant, Provider string
	Action, State       string
	Questions           []behalf.Question
	Wrong               bool // nothing, or something else, was chosen
	Brand               look.Brand
}

func (p choosePage) values(l look.Language) look.Values { return names(l, p.Assistant, p.Provider, "") }

// title returns the question of one, or words for it.
func (p choosePage) title(l look.Language, q behalf.Question) string {
	if q.Title != "" {
		return q.Title
	}
	return l.Text("choose.question", p.values(l))
}

// ambiguous reports whether another option is called the same: then the value,
// which is often only an id, tells them apart.
func ambiguous(q behalf.Question, o behalf.Option) bool {
	return slices.ContainsFunc(q.Options, func(other behalf.Option) bool { return other.Label == o.Label && other.Value != o.Value })
}

// choose renders the question.
func (x run) choose(w http.ResponseWriter, r *http.Request, wrong bool) {
	page := choosePage{Assistant: x.assistant.Name, Provider: x.profile.Provider, Action: "/callback/" + url.PathEscape(string(x.profile.ID)) + "/choose",
		State: x.secrets.State.Reveal(), Questions: x.secrets.Choosing.Questions, Wrong: wrong, Brand: brandOf(x.assistant)}
	status := http.StatusOK
	if wrong {
		status = http.StatusUnprocessableEntity
	}
	writePage(w, r, status, look.Policy{Form: true}, page.page(spoken(r, x.session.Locale)))
}

// Choose serves POST /callback/{profile}/choose: what the person chose.
func (c *Connect) Choose(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("state") == "" {
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	}
	db, s, err := c.db.SessionByState(r.Context(), secret.New(r.PostForm.Get("state")))
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	case err != nil:
		c.unavailable(w, r, err)
		return
	case s.RedirectURI != c.CallbackURL(behalf.ProfileID(r.PathValue("profile"))):
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return
	case !c.sameBrowser(r, s):
		renderOutcome(w, r, outcomePage{Kind: otherBrowser}, s.Locale)
		return
	}
	c.chosen(w, r, db, s)
}

// chosen goes on with what the person chose.
func (c *Connect) chosen(w http.ResponseWriter, r *http.Request, db store.Scope, s behalf.ConnectSession) {
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
	case s.Status.Ended():
		x.ended(w, r)
		return
	case s.Expired(c.db.Now()):
		c.end(w, r, x, behalf.SessionExpired, expiry(s))
		return
	case s.Status == behalf.SessionPending: // a second click
		x.outcome(w, r, finishPending, behalf.Outcome{})
		return
	case s.Status == behalf.SessionReturned:
		c.stuck(w, r, x)
		return
	case s.Status != behalf.SessionChoosing:
		renderOutcome(w, r, outcomePage{Kind: unknown}, s.Locale)
		return
	case s.ProfileVersion != x.profile.Version:
		c.end(w, r, x, behalf.SessionFailed, behalf.Outcome{Code: "profile", Detail: "The authorization profile was changed while the person chose.", Fix: "Begin a new connect session."})
		return
	}
	facts := oauth.Facts{}
	for _, q := range x.secrets.Choosing.Questions {
		value := r.PostForm.Get("choice." + q.Name)
		if !q.Answered(value) {
			x.choose(w, r, true)
			return
		}
		facts[q.Name] = oauth.Fact{Text: value}
	}
	result, next := *x.secrets.Result, x.secrets.Choosing.Next
	x.session.Status, x.session.ReturnedAt = behalf.SessionReturned, c.db.Now() // of two clicks one wins
	if err := db.SaveSession(r.Context(), x.session, x.secrets); err != nil {
		if errors.Is(err, store.ErrStale) {
			x.outcome(w, r, busy, behalf.Outcome{})
			return
		}
		c.unavailable(w, r, err)
		return
	}
	x.session.Version++
	x.secrets.Result, x.secrets.Choosing = nil, nil
	c.goOn(w, r, x, result, facts, next)
}

// goOn makes the steps after a choice.
func (c *Connect) goOn(w http.ResponseWriter, r *http.Request, x run, result behalf.SessionResult, facts oauth.Facts, next int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), exchangeDeadline)
	defer cancel()
	r = r.WithContext(ctx)
	v := values(x.session, x.secrets, x.profile)
	v.Inputs.Captured, v.Credential = result.Captured, &result.Credential
	v = v.Told(facts)
	cfg, err := c.oauthConfig(x.session, x.profile, v)
	if err != nil {
		c.unavailable(w, r, err)
		return
	}
	f := c.flight(ctx, x, cfg)
	f.keep(result.Credential.AccessToken, result.Credential.RefreshToken, result.Credential.IDToken)
	f.secrets(v.Facts())
	client := oauth.Client{Config: cfg, HTTP: c.out(x.profile), Keys: c.keysOf(x.profile.ID)}
	result, err = c.explore(ctx, f, x, client, &v, result, next)
	c.bringHome(w, r, x, f, result, err)
}
