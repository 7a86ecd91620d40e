package connect

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// run is a request that runs a session: everything that its pages need.
type run struct {
	db        store.Scope
	session   behalf.ConnectSession
	assistant behalf.Assistant
	profile   behalf.Profile
	secrets   behalf.SessionSecrets
	home      string // the return URL, where the browser is the session's
	account   string // whom the person signed in as, where the page says it
}

// load reads what belongs to a session that a door has let in.
func (c *Connect) load(r *http.Request, db store.Scope, s behalf.ConnectSession) (run, error) {
	x := run{db: db, session: s}
	if c.sameBrowser(r, s) {
		x.home = s.ReturnURL
	}
	var err error
	if x.assistant, err = db.Assistant(r.Context(), string(s.Assistant)); err != nil {
		return x, err
	}
	if x.profile, err = db.Profile(r.Context(), s.Assistant, string(s.Profile)); err != nil {
		return x, err
	}
	if x.secrets, err = db.SessionSecrets(r.Context(), s); err != nil {
		return x, err
	}
	x.secrets.Stored, err = stored(r.Context(), db, x.profile, s)
	return x, err
}

// Open serves GET /connect/{link}: it shows what is asked, and changes nothing.
func (c *Connect) Open(w http.ResponseWriter, r *http.Request) {
	x, ok := c.enter(w, r)
	if !ok {
		return
	}
	if len(x.session.BrowserHash) > 0 && !c.sameBrowser(r, x.session) {
		x.outcome(w, r, otherBrowser, behalf.Outcome{}) // what was typed is not for this one to see
		return
	}
	if c.held(r, x.session).Empty() {
		c.give(w, x.session, secret.Random())
	}
	x.show(w, r, nil, http.StatusOK)
}

// Continue serves POST /connect/{link}: it takes what the person typed, binds
// the browser, and sends it to the provider.
func (c *Connect) Continue(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	for tries := 3; !c.proceed(w, r, tries == 1); tries-- {
	}
}

// proceed reports whether it has answered. It has not where another click of
// the same person was quicker: then the session is read again, unless this is
// the last try.
func (c *Connect) proceed(w http.ResponseWriter, r *http.Request, last bool) bool {
	x, ok := c.enter(w, r)
	if !ok {
		return true
	}
	if err := r.ParseForm(); err != nil {
		x.show(w, r, []behalf.FieldError{{Message: "The form could not be read; try again."}}, http.StatusBadRequest)
		return true
	}
	if len(x.session.BrowserHash) > 0 && !c.sameBrowser(r, x.session) {
		x.outcome(w, r, otherBrowser, behalf.Outcome{})
		return true
	}
	if r.PostForm.Has("decline") {
		c.end(w, r, x, behalf.SessionDeclined, behalf.Outcome{Code: "declined", Detail: "The person chose not to connect.", Fix: "Nothing is wrong. Offer a new link when they want to."})
		return true
	}
	changed, wrong := x.take(r)
	if len(wrong) > 0 {
		x.show(w, r, wrong, http.StatusUnprocessableEntity)
		return true
	}
	if !x.profile.Plan.Type.Redirects() {
		return c.direct(w, r, x, last)
	}
	target, err := c.depart(w, r, x, changed)
	switch {
	case errors.Is(err, store.ErrStale) && !last:
		return false
	case errors.Is(err, store.ErrStale):
		x.outcome(w, r, busy, behalf.Outcome{})
	case behalf.CodeOf(err) == behalf.CodeInvalid:
		c.unfillable(w, r, x, err)
	case err != nil:
		c.unavailable(w, r, err)
	default:
		renderGo(w, r, goPage{Provider: x.profile.Provider, URL: target, Brand: brandOf(x.assistant)}, x.session.Locale)
	}
	return true
}

func (c *Connect) byLink(r *http.Request) (run, error) {
	db, s, err := c.db.SessionByLink(r.Context(), secret.New(r.PathValue("link")))
	if err != nil {
		return run{}, err
	}
	return c.load(r, db, s)
}

// enter finds the session of a link, and answers itself where there is nothing
// to run any more.
func (c *Connect) enter(w http.ResponseWriter, r *http.Request) (run, bool) {
	x, err := c.byLink(r)
	for tries := 0; errors.Is(err, store.ErrStale) && tries < 5; tries++ {
		x, err = c.byLink(r) // another click moved it between two reads
	}
	s := x.session
	switch {
	case s.ID == "" && behalf.CodeOf(err) == behalf.CodeNotFound:
		renderOutcome(w, r, outcomePage{Kind: unknown}, "")
		return x, false
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		c.deleted(w, r, x)
		return x, false
	case errors.Is(err, store.ErrStale):
		renderOutcome(w, r, outcomePage{Kind: busy}, s.Locale)
		return x, false
	case err != nil:
		c.unavailable(w, r, err)
		return x, false
	}
	switch now := c.db.Now(); {
	case s.Status.Ended():
		x.ended(w, r)
		return x, false
	case s.Expired(now):
		c.end(w, r, x, behalf.SessionExpired, expiry(s))
		return x, false
	case s.Status == behalf.SessionPending:
		x.outcome(w, r, finishPending, behalf.Outcome{})
		return x, false
	case s.Status == behalf.SessionChoosing && !c.sameBrowser(r, s):
		x.outcome(w, r, otherBrowser, behalf.Outcome{})
		return x, false
	case s.Status == behalf.SessionChoosing:
		x.choose(w, r, false)
		return x, false
	case s.Status == behalf.SessionReturned:
		c.stuck(w, r, x)
		return x, false
	}
	return x, true
}

// deleted is a session whose profile is gone: nothing can come of it any more.
func (c *Connect) deleted(w http.ResponseWriter, r *http.Request, x run) {
	if x.session.Status.Ended() {
		x.ended(w, r)
		return
	}
	c.end(w, r, x, behalf.SessionFailed, behalf.Outcome{Code: "profile", Detail: "The authorization profile was deleted meanwhile.", Fix: "Begin a new connect session, with another profile."})
}

// stuck is a session whose callback is being worked on, or was when a process
// ended: a code cannot be exchanged twice, so after a while it has failed.
func (c *Connect) stuck(w http.ResponseWriter, r *http.Request, x run) {
	if c.db.Now().Sub(x.session.ReturnedAt) < time.Minute {
		x.outcome(w, r, busy, behalf.Outcome{})
		return
	}
	c.end(w, r, x, behalf.SessionFailed, behalf.Outcome{Code: "interrupted", Detail: "The server was interrupted while it took the provider's answer.", Fix: "Nothing was connected. Begin a new connect session."})
}

// show renders the page that asks.
func (x run) show(w http.ResponseWriter, r *http.Request, wrong []behalf.FieldError, status int) {
	renderAsk(w, r, x.page(r, wrong), status, x.session.Locale)
}

func (x run) page(r *http.Request, wrong []behalf.FieldError) askPage {
	scopes, _ := x.profile.Plan.Scopes()
	l := spoken(r, x.session.Locale)
	page := askPage{Assistant: x.assistant.Name, Provider: x.profile.Provider, Person: person(x.session), Action: r.URL.EscapedPath(), Scopes: scopes, Way: wayOf(x.profile.Plan), Shared: x.profile.Plan.Shared(), Brand: brandOf(x.assistant), ExpiresIn: minutes(l, x.session.ExpiresAt.Sub(x.db.Now()))}
	problem := map[string]string{}
	for _, e := range wrong {
		problem[e.Field] = said(l, e.Message)
	}
	page.Problem = problem[""]
	if t := x.profile.Plan.Tenancy; t != nil {
		in := input{Name: "tenant", Label: x.profile.Plan.TenantLabel(), Value: x.typed(r, "tenant", x.session.Tenant), Required: true, Options: listed(t.Allowed), Error: problem["tenant"]}
		if x.secrets.TenantFixed {
			in.Value, in.ReadOnly, in.Options = x.session.Tenant, true, nil
		}
		if in.Value == "" {
			in.Value = t.Default
		}
		page.Inputs = append(page.Inputs, in)
	}
	for _, f := range x.profile.Plan.Asks() {
		if f.Visibility == behalf.Hidden {
			continue
		}
		page.Inputs = append(page.Inputs, x.input(r, f, problem[f.Key]).in(l, x.profile.Plan, f))
	}
	return page
}

// minutes writes a time that is left.
func minutes(l look.Language, d time.Duration) string {
	if n := int(d.Round(time.Minute) / time.Minute); n != 1 {
		return l.Text("time.minutes", look.Values{"count": strconv.Itoa(n)})
	}
	return l.Text("time.minute", nil)
}

func (x run) input(r *http.Request, f behalf.AdditionalField, problem string) input {
	in := input{Name: "field." + f.Key, Label: f.Label(), Hint: f.Hint, Password: f.Type == behalf.FieldPassword, Required: f.Required,
		ReadOnly: f.Visibility == behalf.ReadOnly, Error: problem, Data: f.DataType, Options: f.Choices()}
	if in.Password {
		return in // never sent back to a browser, typed or not
	}
	in.Value = f.Value
	if v, ok := x.secrets.Fields[f.Key]; ok && f.Asked() {
		in.Value = v.Reveal()
	}
	if f.Asked() {
		in.Value = x.typed(r, in.Name, in.Value)
	}
	return in
}

// typed returns what was posted under the name, or otherwise.
func (x run) typed(r *http.Request, name, otherwise string) string {
	if r.PostForm.Has(name) {
		return r.PostForm.Get(name)
	}
	return otherwise
}

// take moves what the person typed into the session, and returns whether
// anything changed and what is wrong with it. A password field left empty keeps
// what was given before.
func (x *run) take(r *http.Request) (changed bool, wrong []behalf.FieldError) {
	fields := maps.Clone(x.secrets.Fields)
	if fields == nil {
		fields = map[string]secret.Text{}
	}
	for _, f := range x.profile.Plan.Asks() {
		name := "field." + f.Key
		if !f.Asked() || !r.PostForm.Has(name) {
			continue
		}
		typed := secret.New(strings.TrimSpace(r.PostForm.Get(name)))
		if typed.Empty() && f.Type == behalf.FieldPassword {
			continue
		}
		if err := x.profile.Plan.CheckField(f.Key, typed); err != nil {
			wrong = append(wrong, fieldError(err, f.Key))
			continue
		}
		changed = changed || !typed.Equal(fields[f.Key])
		fields[f.Key] = typed
	}
	if x.profile.Plan.Tenancy != nil && !x.secrets.TenantFixed {
		tenant := strings.TrimSpace(x.typed(r, "tenant", x.session.Tenant))
		if err := x.profile.Plan.CheckTenant(tenant); err != nil {
			wrong = append(wrong, fieldError(err, "tenant"))
		}
		changed = changed || tenant != x.session.Tenant
		x.session.Tenant = tenant
	}
	x.secrets.Fields = fields
	for _, e := range x.profile.Plan.MissingInputs(values(x.session, x.secrets, x.profile)) {
		if !slices.ContainsFunc(wrong, func(w behalf.FieldError) bool { return w.Field == e.Field }) {
			wrong = append(wrong, e)
		}
	}
	return changed, wrong
}

func fieldError(err error, field string) behalf.FieldError {
	if e := (*behalf.Error)(nil); errors.As(err, &e) {
		return behalf.FieldError{Field: field, Message: e.Message}
	}
	return behalf.FieldError{Field: field, Message: "It cannot be taken."}
}

// depart binds the browser and returns the provider's URL. Pressing Continue
// again with the same input leads to the same state, so that two tabs do not
// spoil each other; other input makes a new one, and the old is worth nothing.
func (c *Connect) depart(w http.ResponseWriter, r *http.Request, x run, changed bool) (string, error) {
	v := values(x.session, x.secrets, x.profile)
	v.Again = c.again(r.Context(), x)
	cfg, err := c.oauthConfig(x.session, x.profile, v)
	if err != nil {
		return "", err
	}
	s := x.session
	again := !changed && !x.secrets.State.Empty() && s.ProfileVersion == x.profile.Version
	if !again {
		a := oauth.NewAttempt()
		x.secrets.State, x.secrets.CodeVerifier, x.secrets.Nonce = a.State, a.CodeVerifier, a.Nonce
	}
	target, overridden, err := cfg.AuthorizationRequest(oauth.Attempt{State: x.secrets.State, CodeVerifier: x.secrets.CodeVerifier, Nonce: x.secrets.Nonce})
	if err != nil {
		return "", &behalf.Error{Code: behalf.CodeInvalid, Field: "authorization_url", Message: "The authorization request cannot be made.", Err: err}
	}
	if len(overridden) > 0 {
		c.cfg.Log.Warn("the authorization URL sets parameters that are ours; they were replaced", "profile", s.Profile, "parameters", overridden)
	}
	if again && s.Status == behalf.SessionRedirected {
		return target, nil // as it was kept by the click before
	}
	browser := c.held(r, s)
	fresh := browser.Empty()
	if fresh {
		browser = secret.Random() // of a browser that shows no cookie it was given
	}
	if len(s.BrowserHash) == 0 {
		s.BrowserHash = secret.Hash(browser)
	}
	s.Status, s.RedirectedAt, s.ProfileVersion = behalf.SessionRedirected, c.db.Now(), x.profile.Version
	s.StateHash, s.RedirectURI, s.Issuer = secret.Hash(x.secrets.State), cfg.RedirectURI, cfg.Issuer
	if err := x.db.SaveSession(r.Context(), s, x.secrets); err != nil {
		return "", err
	}
	if fresh {
		c.give(w, s, browser) // not before it is kept: of two clicks the loser must not take the winner's place
	}
	x.session = s
	c.onItsWay(r.Context(), x, cfg)
	return target, nil
}

// unfillable tells the person what to correct, where it is theirs to correct.
func (c *Connect) unfillable(w http.ResponseWriter, r *http.Request, x run, err error) {
	c.cfg.Log.Warn("profile cannot be filled", "profile", x.session.Profile, "session", x.session.ID, "err", err)
	e := (*behalf.Error)(nil)
	errors.As(err, &e)
	if x.profile.Plan.Tenancy != nil || len(x.profile.Plan.Asks()) > 0 {
		x.show(w, r, []behalf.FieldError{{Message: "The address of the application cannot be made of what was entered: " + e.Message}}, http.StatusUnprocessableEntity)
		return
	}
	c.end(w, r, x, behalf.SessionFailed, behalf.Outcome{Code: "profile", Detail: e.Message, Fix: "An administrator must mend the authorization profile."})
}
