package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file takes a person from an authorization request back to the client.
// The rules are:
//
//   - The request stays in the address of each page. Every step reads and
//     checks it anew, so reload, back button and two tabs need no state of ours.
//   - Nobody is redirected to an address that is not registered character by
//     character (RFC 6749 §4.1.2.1, RFC 9700 §4.11): a page says so instead.
//   - A form is believed with a token bound to the cookie of the browser that
//     got it; signing in changes the cookie.

const (
	cookieName = "acorn_session" // cookies ignore the port: another server on this host must not collide
	remembered = 30 * 24 * time.Hour
	signedFor  = 12 * time.Hour
)

// signedIn is who uses a browser.
type signedIn struct {
	user    *User
	at      time.Time
	expires time.Time
}

// authorization is a valid authorization request (RFC 6749 §4.1.1).
type authorization struct {
	client       *client
	redirectURI  string
	responseType string
	scope        scopeSet
	state        string
	nonce        string
	challenge    string
	prompt       []string
	loginHint    string
	online       bool // no refresh token is asked for as a dialect wants it
}

// refusal is why an authorization request was not followed. Without a redirect
// URI that can be trusted the code is empty and a page shows the description.
type refusal struct{ code, description string }

// read checks the parameters of an authorization request.
func (s *Simulator) read(q url.Values) (authorization, *refusal) {
	a := authorization{client: s.clients[q.Get("client_id")], redirectURI: q.Get("redirect_uri")}
	switch {
	case a.client == nil || len(q["client_id"]) > 1:
		return a, &refusal{"", "The app that sent you here is not known to Acorn Notes."}
	case len(q["redirect_uri"]) > 1 || !a.client.allows(a.redirectURI):
		return a, &refusal{"", "The app that sent you here asks us to send you back to an address it has not registered."}
	}
	a.responseType, a.state, a.nonce = q.Get("response_type"), q.Get("state"), q.Get("nonce")
	a.challenge, a.loginHint = q.Get("code_challenge"), q.Get("login_hint")
	a.prompt, a.online = strings.Fields(q.Get("prompt")), q.Has(online)
	scope, known := s.scopes(q.Get("scope"))
	a.scope = s.orDefault(scope)
	set := s.settings()
	switch {
	case repeated(q):
		return a, &refusal{"invalid_request", "a parameter occurs more than once"}
	case a.responseType == "":
		return a, &refusal{"invalid_request", "response_type is missing"}
	case a.responseType != "code" && !(a.responseType == "token" && set.Implicit):
		return a, &refusal{"unsupported_response_type", "only the response type code is supported"}
	case !known:
		return a, &refusal{"invalid_scope", "a requested scope does not exist"}
	case a.challenge != "" && set.PKCERefused:
		return a, &refusal{"invalid_request", "the parameter code_challenge is not known here"}
	case a.challenge != "" && q.Get("code_challenge_method") != "S256":
		return a, &refusal{"invalid_request", "code_challenge_method must be S256"}
	case a.challenge == "" && a.responseType == "code" && !set.PKCEOptional && !set.PKCERefused && set.Dialect.pkce() != "off":
		return a, &refusal{"invalid_request", "code_challenge is missing"}
	}
	return a, nil
}

func repeated(q url.Values) bool {
	for _, values := range q {
		if len(values) > 1 {
			return true
		}
	}
	return false
}

func (c *client) allows(redirectURI string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return redirectURI != "" && slices.Contains(c.RedirectURIs, redirectURI)
}

// authorize shows what the person has to do next, or sends them back.
func (s *Simulator) authorize(w http.ResponseWriter, r *http.Request) {
	a, ok := s.start(w, r)
	if !ok {
		return
	}
	if u := s.users[s.settings().NoLogin]; u != nil {
		s.allow(w, r, a, signedIn{user: u, at: s.cfg.Now()})
		return
	}
	p, in := s.signedIn(r)
	in = in && !slices.Contains(a.prompt, "login")
	if slices.Contains(a.prompt, "none") {
		s.silently(w, r, a, p, in)
		return
	}
	if !in {
		s.signInPage(w, r, a, "", http.StatusOK)
		return
	}
	s.consentPage(w, r, a, p)
}

// start reads the request and answers one that cannot be followed.
func (s *Simulator) start(w http.ResponseWriter, r *http.Request) (authorization, bool) {
	a, no := s.read(r.URL.Query())
	switch {
	case no == nil:
		return a, true
	case no.code == "":
		s.errorPage(w, r, http.StatusBadRequest, "This link does not work", no.description)
	default:
		s.refuse(w, r, a, no.code, no.description)
	}
	return a, false
}

// silently answers prompt=none (OpenID Connect Core §3.1.2.1).
func (s *Simulator) silently(w http.ResponseWriter, r *http.Request, a authorization, p signedIn, in bool) {
	switch {
	case !in:
		s.refuse(w, r, a, "login_required", "nobody is signed in")
	case a.scope&^s.agreedTo(p.user, a.client) != 0:
		s.refuse(w, r, a, "consent_required", "the person has not agreed to this yet")
	default:
		s.allow(w, r, a, p)
	}
}

// signIn takes the sign-in form.
func (s *Simulator) signIn(w http.ResponseWriter, r *http.Request) {
	a, ok := s.start(w, r)
	if !ok || !s.ours(w, r) {
		return
	}
	u := s.users[r.PostForm.Get("username")]
	if u == nil || !u.Password.Equal(secret.New(r.PostForm.Get("password"))) {
		s.signInPage(w, r, a, "That username and password do not match.", http.StatusUnauthorized)
		return
	}
	s.remember(w, r, u, r.PostForm.Get("remember") != "")
	q := r.URL.Query()
	q.Del("prompt") // else prompt=login would ask again
	http.Redirect(w, r, "/authorize?"+q.Encode(), http.StatusSeeOther)
}

// consent takes the answer of the consent form.
func (s *Simulator) consent(w http.ResponseWriter, r *http.Request) {
	a, ok := s.start(w, r)
	if !ok || !s.ours(w, r) {
		return
	}
	p, in := s.signedIn(r)
	switch {
	case !in:
		http.Redirect(w, r, "/authorize?"+r.URL.RawQuery, http.StatusSeeOther)
	case r.PostForm.Get("answer") != "allow":
		s.refuse(w, r, a, "access_denied", "the person said no")
	default:
		s.agree(p.user, a.client, a.scope)
		s.allow(w, r, a, p)
	}
}

// allow sends the person back with a code, or with a token in the fragment
// where the legacy implicit response (RFC 6749 §4.2) is switched on.
func (s *Simulator) allow(w http.ResponseWriter, r *http.Request, a authorization, p signedIn) {
	sw := s.take(atCallback)
	out := url.Values{}
	switch {
	case sw.Deny:
		out.Set("error", "access_denied")
		out.Set("error_description", "the person said no")
	case sw.ErrorCallback != "":
		out.Set("error", sw.ErrorCallback)
		out.Set("error_description", "said by a switch")
	case a.responseType == "token":
		s.implicit(out, a, p)
	default:
		out.Set("code", s.newCode(a, p))
	}
	s.back(w, r, a, out, sw)
}

func (s *Simulator) implicit(out url.Values, a authorization, p signedIn) {
	g := s.keep(&grant{client: a.client, user: p.user, scope: a.scope, authTime: p.at})
	g.mu.Lock()
	defer g.mu.Unlock()
	issued := s.issue(g, g.scope, false)
	out.Set("access_token", issued.access)
	out.Set("token_type", "Bearer")
	out.Set("expires_in", seconds(s.cfg.AccessTokenTTL))
	out.Set("scope", strings.Join(s.names(issued.scope), " "))
}

// refuse sends the person back with an error (RFC 6749 §4.1.2.1).
func (s *Simulator) refuse(w http.ResponseWriter, r *http.Request, a authorization, code, description string) {
	out := url.Values{"error": {code}, "error_description": {description}}
	s.back(w, r, a, out, s.take(atCallback))
}

// back redirects to the client with state and iss (RFC 9207). The status is
// 303, so that no browser repeats the form with the password (RFC 9700 §4.12).
func (s *Simulator) back(w http.ResponseWriter, r *http.Request, a authorization, out url.Values, sw *Switches) {
	if a.state != "" && !sw.NoState {
		out.Set("state", a.state)
	}
	if sw.WrongState {
		out.Set("state", "forged-"+random())
	}
	if !sw.MissingIss {
		out.Set("iss", s.issuer(r))
	}
	if sw.WrongIss {
		out.Set("iss", "https://issuer.invalid")
	}
	if sw.Dialect != nil {
		out = sw.Dialect.callbackIn(out)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", callback(a, out, sw))
	w.WriteHeader(http.StatusSeeOther)
}

// callback adds the response to the redirect URI, keeping its own query.
func callback(a authorization, out url.Values, sw *Switches) string {
	base, query, had := strings.Cut(a.redirectURI, "?")
	if sw.CallbackSlash {
		base += "/"
	}
	switch {
	case a.responseType == "token":
		return strings.TrimSuffix(base+"?"+query, "?") + "#" + out.Encode()
	case had && query != "":
		return base + "?" + query + "&" + out.Encode()
	default:
		return base + "?" + out.Encode()
	}
}

func (s *Simulator) agree(u *User, c *client, scope scopeSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agreed[[2]string{u.Name, c.ID}] |= scope
}

func (s *Simulator) agreedTo(u *User, c *client) scopeSet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.agreed[[2]string{u.Name, c.ID}]
}

// signedIn tells who uses this browser.
func (s *Simulator) signedIn(r *http.Request) (signedIn, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return signedIn{}, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.people[c.Value]
	return p, ok && s.cfg.Now().Before(p.expires)
}

// remember signs a person in under a new cookie: one that was planted in the
// browser before is worth nothing.
func (s *Simulator) remember(w http.ResponseWriter, r *http.Request, u *User, long bool) {
	now, ttl := s.cfg.Now(), signedFor
	if long {
		ttl = remembered
	}
	id := random() + random()
	s.mu.Lock()
	for old, p := range s.people {
		if !now.Before(p.expires) {
			delete(s.people, old)
		}
	}
	s.people[id] = signedIn{user: u, at: now, expires: now.Add(ttl)}
	s.mu.Unlock()
	c := s.cookie(r, id)
	if long {
		c.MaxAge = int(remembered / time.Second)
	}
	http.SetCookie(w, c)
}

func (s *Simulator) cookie(r *http.Request, value string) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.issuer(r), "https:"),
	}
}

// signOut ends the sign-in, not the grants.
func (s *Simulator) signOut(w http.ResponseWriter, r *http.Request) {
	if !s.ours(w, r) {
		return
	}
	if c, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		delete(s.people, c.Value)
		s.mu.Unlock()
	}
	gone := s.cookie(r, "")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// disconnect takes an app's access away, from the home page.
func (s *Simulator) disconnect(w http.ResponseWriter, r *http.Request) {
	if !s.ours(w, r) {
		return
	}
	if p, in := s.signedIn(r); in {
		s.Disconnect(r.PostForm.Get("client"), p.user.Name)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// ours reports whether a form was shown to this very browser, and answers if not.
func (s *Simulator) ours(w http.ResponseWriter, r *http.Request) bool {
	_, fail := readForm(w, r)
	c, err := r.Cookie(cookieName)
	if fail == nil && err == nil && s.sumEqual("form "+c.Value, r.PostForm.Get("form_token")) {
		return true
	}
	s.errorPage(w, r, http.StatusForbidden, "This page is out of date",
		"Go back, reload the page and try once more. Acorn Notes needs cookies to know that it is you who answers.")
	return false
}

// formToken returns what proves that a form is ours, and gives a browser that
// has no cookie yet one to bind it to.
func (s *Simulator) formToken(w http.ResponseWriter, r *http.Request) string {
	if c, err := r.Cookie(cookieName); err == nil && c.Value != "" {
		return s.sum("form " + c.Value)
	}
	id := random() + random()
	http.SetCookie(w, s.cookie(r, id))
	return s.sum("form " + id)
}
