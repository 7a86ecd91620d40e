package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// reply is a successful answer of the token endpoint (RFC 6749 §5.1).
type reply struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
}

// oauthError is an error answer (RFC 6749 §5.2).
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func invalidRequest(description string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_request", description}
}

func invalidGrant(description string) *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_grant", description}
}

func invalidClient(description string) *oauthError {
	return &oauthError{http.StatusUnauthorized, "invalid_client", description}
}

func invalidScope() *oauthError {
	return &oauthError{http.StatusBadRequest, "invalid_scope", "a requested scope does not exist or was not granted"}
}

func unauthorizedClient(description string) *oauthError {
	return &oauthError{http.StatusBadRequest, "unauthorized_client", description}
}

func (e *oauthError) write(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Acorn Notes"`)
	}
	writeJSON(w, e.status, e)
}

// tokenRequest is a request to the token endpoint whose client is known.
type tokenRequest struct {
	http   *http.Request
	form   url.Values
	client *client
	sw     *Switches
}

// issued is what the token endpoint committed.
type issued struct {
	grant *grant
	pair  pair
}

// granters are the grant types, each with its requests' place.
var granters = map[string]struct {
	at    place
	issue func(*Simulator, tokenRequest) (issued, *oauthError)
}{
	"authorization_code": {atToken | atExchange, (*Simulator).exchange},
	"refresh_token":      {atToken | atRefresh, (*Simulator).refresh},
	"client_credentials": {atToken, (*Simulator).clientCredentials},
	"password":           {atToken, (*Simulator).password},
}

func (s *Simulator) token(w http.ResponseWriter, r *http.Request) {
	form, fail := readForm(w, r)
	if fail != nil {
		fail.write(w)
		return
	}
	s.counts.Load().request(form.Get("grant_type"))
	granter := granters[form.Get("grant_type")]
	sw := s.take(granter.at | atToken)
	time.Sleep(milliseconds(sw.TokenDelayMS)) // also for a client that has gone: providers do not notice
	if answerInstead(s, w, r, sw) {
		return
	}
	c, fail := s.authenticate(r, form, sw)
	if fail != nil {
		fail.write(w)
		return
	}
	if granter.issue == nil {
		(&oauthError{http.StatusBadRequest, "unsupported_grant_type", "the grant_type is not supported"}).write(w)
		return
	}
	q := tokenRequest{r, form, c, sw}
	out, fail := granter.issue(s, q)
	if fail != nil {
		fail.write(w)
		return
	}
	s.send(w, q, out)
}

// tokenMoved is where redirect_token_endpoint points by default. It works, so
// that a client that follows the redirect gives its secrets away and is counted.
func (s *Simulator) tokenMoved(w http.ResponseWriter, r *http.Request) {
	s.counts.Load().redirectsFollowed.Add(1)
	s.token(w, r)
}

// readForm returns the parameters of a POST. Each may occur once (RFC 6749 §3.2).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return nil, invalidRequest("the body is not application/x-www-form-urlencoded")
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, invalidRequest("a parameter occurs more than once")
		}
	}
	return r.PostForm, nil
}

// authenticate finds the client by client_secret_basic, client_secret_post or,
// for a public client, its client_id alone (RFC 6749 §2.3.1).
func (s *Simulator) authenticate(r *http.Request, form url.Values, sw *Switches) (*client, *oauthError) {
	id, password := form.Get("client_id"), form.Get("client_secret")
	if r.Header.Get("Authorization") != "" {
		basicID, basicPassword, ok := basic(r, sw.BasicRaw)
		switch {
		case !ok:
			return nil, invalidClient("the Authorization header is malformed")
		case form.Has("client_secret"), id != "" && id != basicID:
			return nil, invalidRequest("the client authenticates in more than one way")
		}
		id, password = basicID, basicPassword
	}
	if by := map[bool]string{true: "basic", false: "post"}[r.Header.Get("Authorization") != ""]; sw.ClientAuth != "" && sw.ClientAuth != by {
		return nil, invalidClient("the client could not be authenticated")
	}
	c := s.clients[id]
	switch {
	case c == nil:
		return nil, invalidClient("the client is unknown")
	case c.Public && password == "":
		return c, nil
	case c.Public || c.Secret.Empty() || !c.Secret.Equal(secret.New(password)):
		return nil, invalidClient("the client could not be authenticated")
	}
	return c, nil
}

// basic reads HTTP Basic. Both halves are form-encoded first (RFC 6749 §2.3.1),
// which many providers have never heard of: those are raw.
func basic(r *http.Request, raw bool) (id, password string, ok bool) {
	id, password, ok = r.BasicAuth()
	if !ok || raw {
		return id, password, ok
	}
	id, err := url.QueryUnescape(id)
	if err != nil {
		return "", "", false
	}
	password, err = url.QueryUnescape(password)
	return id, password, err == nil
}

// exchange redeems an authorization code (RFC 6749 §4.1.3).
func (s *Simulator) exchange(q tokenRequest) (issued, *oauthError) {
	if !q.form.Has("code") {
		return issued{}, invalidRequest("code is missing")
	}
	g, fail := s.redeem(q.client, q.form.Get("code"), q.form.Get("redirect_uri"), q.form.Get("code_verifier"))
	if fail != nil {
		return issued{}, fail
	}
	g.mu.Lock() // a replay of the code may have come between
	defer g.mu.Unlock()
	if g.revoked {
		return issued{}, invalidGrant("the code was used twice")
	}
	return issued{g, s.issue(g, s.narrow(g.scope, q.sw), !q.sw.NoRefreshTokenOnExchange && !g.online)}, nil
}

// refresh rotates a refresh token (RFC 6749 §6).
func (s *Simulator) refresh(q tokenRequest) (issued, *oauthError) {
	o, ok := s.open(q.form.Get("refresh_token"))
	if !ok || o.access || o.grant.client != q.client {
		return issued{}, invalidGrant("the refresh token is unknown")
	}
	scope := o.grant.scope
	if asked := q.form.Get("scope"); asked != "" {
		set, ok := s.scopes(asked)
		if !ok || set&^scope != 0 {
			return issued{}, invalidScope()
		}
		scope = set
	}
	p, fail := s.renew(o.grant, o.generation, s.narrow(scope, q.sw), q.sw, q.http.UserAgent())
	return issued{o.grant, p}, fail
}

// clientCredentials lets a client act for itself (RFC 6749 §4.4).
func (s *Simulator) clientCredentials(q tokenRequest) (issued, *oauthError) {
	if q.client.Public {
		return issued{}, unauthorizedClient("a public client cannot act for itself")
	}
	return s.begin(q, nil, false)
}

// password signs a person in by name and password (RFC 6749 §4.3).
func (s *Simulator) password(q tokenRequest) (issued, *oauthError) {
	u := s.users[q.form.Get("username")]
	if u == nil || !u.Password.Equal(secret.New(q.form.Get("password"))) {
		return issued{}, invalidGrant("the username or password is wrong")
	}
	return s.begin(q, u, true)
}

// begin makes a grant that needs no authorization code.
func (s *Simulator) begin(q tokenRequest, u *User, rotate bool) (issued, *oauthError) {
	scope, ok := s.scopes(q.form.Get("scope"))
	if !ok {
		return issued{}, invalidScope()
	}
	g := &grant{client: q.client, user: u, scope: s.orDefault(scope), authTime: s.cfg.Now()}
	s.keep(g)
	g.mu.Lock()
	defer g.mu.Unlock()
	return issued{g, s.issue(g, s.narrow(g.scope, q.sw), rotate)}, nil
}

// orDefault is what a request without scope gets (RFC 6749 §3.3).
func (s *Simulator) orDefault(set scopeSet) scopeSet {
	if set == 0 {
		return s.scope("profile") | s.scope("notes:read")
	}
	return set
}

func (s *Simulator) narrow(set scopeSet, sw *Switches) scopeSet {
	if sw.NarrowScope == "" {
		return set
	}
	only, _ := s.scopes(sw.NarrowScope)
	return set & only
}

// reply makes the answer to what was issued.
func (s *Simulator) reply(q tokenRequest, out issued) reply {
	refreshing := q.form.Get("grant_type") == "refresh_token"
	rep := reply{
		AccessToken:  out.pair.access,
		TokenType:    "Bearer",
		ExpiresIn:    int64(s.cfg.AccessTokenTTL / time.Second),
		RefreshToken: out.pair.refresh,
		Scope:        strings.Join(s.names(out.pair.scope), " "),
	}
	if refreshing && q.sw.NoRefreshTokenOnRefresh {
		rep.RefreshToken = ""
	}
	if out.grant.user != nil && out.pair.scope&s.scope("openid") != 0 && !q.sw.NoIDToken {
		rep.IDToken = s.idToken(q, out, refreshing)
	}
	return rep
}

// introspect tells a client about a token of its own (RFC 7662).
func (s *Simulator) introspect(w http.ResponseWriter, r *http.Request) {
	form, c, fail := s.clientRequest(w, r)
	if fail != nil {
		fail.write(w)
		return
	}
	o, ok := s.open(form.Get("token"))
	if !ok || o.grant.client != c || !s.good(o, s.settings()) {
		writeJSON(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	about := map[string]any{
		"active": true, "iss": s.issuer(r), "client_id": c.ID, "sub": o.grant.subject(),
		"scope": strings.Join(s.names(o.scope), " "),
	}
	if o.grant.user != nil {
		about["username"] = o.grant.user.Name
	}
	if o.access {
		about["token_type"], about["exp"] = "Bearer", o.expires.Unix()
	}
	writeJSON(w, http.StatusOK, about)
}

// revoke ends a token, and with a refresh token its grant (RFC 7009). A token
// that is unknown is as good as revoked.
func (s *Simulator) revoke(w http.ResponseWriter, r *http.Request) {
	form, c, fail := s.clientRequest(w, r)
	if fail != nil {
		fail.write(w)
		return
	}
	s.counts.Load().revocations.Add(1)
	if !form.Has("token") {
		invalidRequest("token is missing").write(w)
		return
	}
	if o, ok := s.open(form.Get("token")); ok {
		if o.grant.client != c {
			unauthorizedClient("the token belongs to another client").write(w)
			return
		}
		s.withdraw(o)
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Simulator) clientRequest(w http.ResponseWriter, r *http.Request) (url.Values, *client, *oauthError) {
	form, fail := readForm(w, r)
	if fail != nil {
		return nil, nil, fail
	}
	c, fail := s.authenticate(r, form, s.settings())
	return form, c, fail
}

// s256 is the transformation of RFC 7636 §4.2.
func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
