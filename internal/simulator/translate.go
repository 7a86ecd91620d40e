package simulator

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// translated is the parameter that marks an authorization request which has met
// its dialect, and online one that brings no refresh token.
const (
	translated = "acorn_translated"
	online     = "acorn_online"
)

// does what a route does, once its demands are met.
func (s *Simulator) does(w http.ResponseWriter, q demanded) {
	switch q.route.Does {
	case "authorize":
		s.authorizeIn(w, q)
	case "api":
		s.apiIn(w, q)
	case "tell":
		s.tell(w, q)
	case "hash":
		hashPage(w, q.route.To)
	case "renew", "derive":
		s.issueIn(w, q)
	default:
		s.tokenIn(w, q)
	}
}

// authorizeIn hands the person on with the request as the RFC has it.
func (s *Simulator) authorizeIn(w http.ResponseWriter, q demanded) {
	in := url.Values{"response_type": {"code"}, "client_id": {q.client.ID}, translated: {s.sum("translated")}}
	for _, name := range []string{"state", "nonce", "redirect_uri"} {
		if value, ok := q.bound[name]; ok {
			in.Set(name, value)
		}
	}
	if q.d.RedirectAlias != "" {
		if in.Get("redirect_uri") != q.d.RedirectAlias {
			s.refuseDialect(w, q.route, "the redirect URI must be the alias that was registered")
			return
		}
		in.Set("redirect_uri", q.client.newest())
	}
	scope := q.bound["scope"]
	if sep := q.route.Wants.Scopes; sep != "" {
		if strings.Contains(scope, " ") {
			s.refuseDialect(w, q.route, fmt.Sprintf("scopes must be separated by %q", sep))
			return
		}
		scope = strings.ReplaceAll(scope, sep, " ")
	}
	in.Set("scope", scope)
	if challenge := q.bound["code_challenge"]; challenge != "" {
		in.Set("code_challenge", standardChallenge(q.d.pkce(), challenge))
		in.Set("code_challenge_method", "S256")
	}
	if !q.offline(s) {
		in.Set(online, "1")
	}
	r := q.http.Clone(q.http.Context())
	r.Method, r.URL.Path, r.URL.RawPath, r.URL.RawQuery = http.MethodGet, "/authorize", "", in.Encode()
	s.mux.ServeHTTP(w, r)
}

// newest is the redirect URI that was registered last.
func (c *client) newest() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.RedirectURIs) == 0 {
		return ""
	}
	return c.RedirectURIs[len(c.RedirectURIs)-1]
}

// standardChallenge is the S256 challenge (RFC 7636 §4.2) for one in a
// dialect's method. What is no such challenge can be met by no verifier.
func standardChallenge(method, challenge string) string {
	switch method {
	case "plain":
		return s256(challenge)
	case "S256-hex":
		sum, _ := hex.DecodeString(challenge)
		return base64.RawURLEncoding.EncodeToString(sum)
	}
	return challenge
}

// offline reports whether the request asks for a refresh token as it must.
func (q *demanded) offline(s *Simulator) bool {
	asked := q.http.URL.Query()
	for name, value := range q.d.Offline {
		if asked.Get(name) != value {
			return false
		}
	}
	again := false
	for _, g := range s.allGrants() {
		again = again || g.client == q.client
	}
	for name, value := range q.d.Reconsent {
		if again && asked.Get(name) != value {
			return false
		}
	}
	return true
}

func (s *Simulator) allGrants() []*grant {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*grant, 0, len(s.grants))
	for _, g := range s.grants {
		out = append(out, g)
	}
	return out
}

// tokenIn asks the endpoint of the RFC, and answers in the dialect.
func (s *Simulator) tokenIn(w http.ResponseWriter, q demanded) {
	form := url.Values{}
	for _, name := range []string{"code", "redirect_uri", "code_verifier", "refresh_token", "scope", "username", "password", "token"} {
		if value, ok := q.bound[name]; ok {
			form.Set(name, s.plainToken(value))
		}
	}
	if q.d.RedirectAlias != "" && form.Get("redirect_uri") == q.d.RedirectAlias {
		form.Set("redirect_uri", q.client.newest())
	}
	if q.d.pkce() == "S256-hex" || q.d.pkce() == "plain" {
		form.Set("code_verifier", q.bound["code_verifier"])
	}
	if sep := q.route.Wants.Scopes; sep != "" && form.Has("scope") {
		form.Set("scope", strings.ReplaceAll(form.Get("scope"), sep, " "))
	}
	form.Set("client_id", q.client.ID)
	if !q.client.Public {
		form.Set("client_secret", q.client.Secret.Reveal())
	}
	if grant := grantTypes[q.route.Does]; grant != "" {
		form.Set("grant_type", grant)
	}
	if o, ok := s.unwrapped(q.bound["token"]); ok && q.route.Grant && o.grant.client == q.client {
		o.grant.revoke()
	}
	answer := s.inner(q.http, standardPlaces[q.route.Does], form)
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(answer.body.Bytes()))
	d.UseNumber()
	switch err := d.Decode(&m); {
	case err != nil && answer.body.Len() > 0 || answer.header.Get("Content-Encoding") != "":
		answer.copy(w) // a fault
	case answer.status >= 300 || m["error"] != nil:
		s.fail(w, q.route, answer.status, fmt.Sprint(m["error"]), fmt.Sprint(m["error_description"]), answer.header)
	case m["access_token"] == nil:
		s.say(w, q.route, max(answer.status, 200), m, q.values(s))
	default:
		s.sayToken(w, q, m)
	}
}

// plainToken takes a token out of its JWT.
func (s *Simulator) plainToken(value string) string {
	o, ok := s.unwrapped(value)
	if !ok || !strings.HasPrefix(value, "ey") {
		return value
	}
	return s.accessToken(o.grant, o.generation, o.scope, o.expires)
}

// issueIn issues an access token for a token that is shown.
func (s *Simulator) issueIn(w http.ResponseWriter, q demanded) {
	name := map[string]string{"renew": "access_token", "derive": "refresh_token"}[q.route.Does]
	o, ok := s.unwrapped(q.bound[name])
	if !ok || o.access != (name == "access_token") || o.grant.client != q.client || !s.good(o, s.settings()) {
		s.fail(w, q.route, http.StatusBadRequest, "invalid_grant", "the "+name+" is not good", nil)
		return
	}
	if name == "refresh_token" {
		s.counts.Load().request("refresh_token")
	}
	g := o.grant
	g.mu.Lock()
	p := s.issue(g, o.scope, false)
	g.mu.Unlock()
	s.sayToken(w, q, map[string]any{"access_token": p.access, "token_type": "Bearer", "scope": strings.Join(s.names(p.scope), " "),
		"expires_in": json.Number(seconds(s.cfg.AccessTokenTTL))})
}

// sayToken answers with what was issued.
func (s *Simulator) sayToken(w http.ResponseWriter, q demanded, m map[string]any) {
	access := fmt.Sprint(m["access_token"])
	o, _ := s.open(access)
	values := q.values(s)
	says := q.route.Says
	audience := says.Audience
	o.grant.mu.Lock()
	if audience == "" && q.route.Does == "refresh" {
		audience = o.grant.whom
	}
	o.grant.audience[o.generation] = audience
	o.grant.mu.Unlock()
	values["sub"] = o.grant.subject()
	for _, name := range []string{"refresh_token", "token_type", "scope", "id_token"} {
		if v, ok := m[name].(string); ok && v != "" {
			values[name] = v
		}
	}
	if scope, ok := values["scope"].(string); ok {
		values["scope_commas"] = strings.ReplaceAll(scope, " ", ",")
	}
	if n, err := strconv.ParseInt(fmt.Sprint(m["expires_in"]), 10, 64); err == nil {
		maps.Copy(values, lifetimes(q.now, n))
	}
	values["access_token"] = access
	if says.JWT || says.Pad > 0 {
		values["access_token"] = jwtOf(access, o.expires, says.Pad)
	}
	if says.Second != "" {
		s.second(o, says.Second, values)
	}
	body := any(m)
	if says.JWT || says.Pad > 0 {
		m["access_token"] = values["access_token"]
	}
	s.say(w, q.route, http.StatusOK, body, values)
}

// lifetimes are the ways to say when a token ends.
func lifetimes(now time.Time, n int64) map[string]any {
	at := now.Add(time.Duration(n) * time.Second)
	return map[string]any{
		"expires_in": n, "expires_in_text": strconv.FormatInt(n, 10), "expires_ms": n * 1000, "expires_min": n / 60,
		"expires_at": at.Unix(), "expires_at_ms": at.UnixMilli(), "expires_rfc3339": at.UTC().Format(time.RFC3339),
	}
}

// second issues the further pair of a grant: the first time as a grant of its
// own, then as its next generation.
func (s *Simulator) second(o opened, audience string, values map[string]any) {
	o.grant.mu.Lock()
	twin := o.grant.twin
	if twin == nil {
		twin = s.keep(&grant{client: o.grant.client, user: o.grant.user, scope: o.grant.scope, authTime: o.grant.authTime, whom: audience})
		o.grant.twin = twin
	}
	o.grant.mu.Unlock()
	twin.mu.Lock()
	defer twin.mu.Unlock()
	p := s.issue(twin, twin.scope, true)
	twin.audience[p.generation] = audience
	values["second_access_token"], values["second_refresh_token"] = p.access, p.refresh
}

// jwtOf wraps an access token in a JWT, whose signature nobody checks.
func jwtOf(access string, expires time.Time, pad int) string {
	claims, _ := json.Marshal(map[string]any{"exp": expires.Unix(), "acorn": access, "groups": strings.Repeat("acorn ", pad/6)})
	b := base64.RawURLEncoding
	return b.EncodeToString([]byte(`{"alg":"RS256","typ":"at+jwt"}`)) + "." + b.EncodeToString(claims) + ".c2lnbmVk"
}

// apiIn looks at the token and hands the call to the API.
func (s *Simulator) apiIn(w http.ResponseWriter, q demanded) {
	o, ok := s.unwrapped(q.bound["token"])
	if !ok || !o.access || !s.good(o, s.settings()) || o.grant.audienceOf(o.generation) != q.route.Wants.Audience {
		s.counts.Load().apiRequests.Add(1)
		s.counts.Load().apiRefused.Add(1)
		s.fail(w, q.route, http.StatusUnauthorized, "invalid_token", "The access token is expired, revoked or unknown.", nil)
		return
	}
	r := q.http.Clone(q.http.Context())
	r.Body = io.NopCloser(bytes.NewReader(q.body))
	r.URL.Path, r.URL.RawPath = "/api/"+q.rest, ""
	r.Header.Set("Authorization", "Bearer "+s.accessToken(o.grant, o.generation, o.scope, o.expires))
	s.mux.ServeHTTP(w, r)
}

func (g *grant) audienceOf(generation int) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.audience[generation]
}

// tell says what it was told to say, to whoever shows a good token if one is asked for.
func (s *Simulator) tell(w http.ResponseWriter, q demanded) {
	values := q.values(s)
	for _, name := range []string{"token", "access_token"} {
		shown, asked := q.bound[name]
		if !asked {
			continue
		}
		o, ok := s.unwrapped(shown)
		if !ok || !o.access || !s.good(o, s.settings()) {
			s.fail(w, q.route, http.StatusUnauthorized, "invalid_token", "The access token is expired, revoked or unknown.", nil)
			return
		}
		values["sub"] = o.grant.subject()
	}
	s.say(w, q.route, http.StatusOK, nil, values)
}

// values are those that any answer may hold.
func (q *demanded) values(s *Simulator) map[string]any {
	out := map[string]any{"issuer": s.issuer(q.http)}
	for name, v := range q.bound {
		out[name] = v
	}
	return out
}

// say answers a success.
func (s *Simulator) say(w http.ResponseWriter, route Route, status int, standard any, values map[string]any) {
	send(w, route.Says, status, standard, values)
}

// fail answers an error, in the words of the dialect.
func (s *Simulator) fail(w http.ResponseWriter, route Route, status int, code, description string, header http.Header) {
	for _, name := range []string{"Retry-After", "WWW-Authenticate"} {
		if v := header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	send(w, route.Fails, status, map[string]string{"error": code, "error_description": description},
		map[string]any{"error": code, "error_description": description})
}

func send(w http.ResponseWriter, says Says, status int, standard any, values map[string]any) {
	for name, text := range says.Headers {
		if v, ok := fill(text, values); ok {
			w.Header().Set(name, fmt.Sprint(v))
		}
	}
	if says.Status != 0 {
		status = says.Status
	}
	body := standard
	if says.Body != nil {
		body, _ = fill(says.Body, values)
	}
	w.Header().Set("Cache-Control", "no-store")
	switch says.Format {
	case "text":
		write(w, status, "text/plain; charset=utf-8", []byte(fmt.Sprint(body)))
	case "form":
		form := url.Values{}
		m, _ := body.(map[string]any)
		for name, v := range m {
			form.Set(name, fmt.Sprint(v))
		}
		write(w, status, "application/x-www-form-urlencoded", []byte(form.Encode()))
	default:
		if body == nil {
			w.WriteHeader(status)
			return
		}
		writeJSON(w, status, body)
	}
}

// fill puts values into a template; false is a value that there is none of.
func fill(template any, values map[string]any) (any, bool) {
	switch t := template.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range t {
			if v, ok := fill(member, values); ok {
				out[name] = v
			}
		}
		return out, true
	case []any:
		var out []any
		for _, member := range t {
			if v, ok := fill(member, values); ok {
				out = append(out, v)
			}
		}
		return out, true
	case string:
		return fillText(t, values)
	}
	return template, true
}

func fillText(text string, values map[string]any) (any, bool) {
	if whole := braces.FindString(text); whole != "" && whole == text {
		v, ok := values[strings.Trim(text, "{}")]
		return v, ok
	}
	there := true
	filled := braces.ReplaceAllStringFunc(text, func(name string) string {
		v, ok := values[strings.Trim(name, "{}")]
		there = there && ok
		return fmt.Sprint(v)
	})
	return filled, there
}

// heard is an answer of the simulator to itself.
type heard struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heard) Header() http.Header         { return h.header }
func (h *heard) WriteHeader(status int)      { h.status = status }
func (h *heard) Write(b []byte) (int, error) { return h.body.Write(b) }

func (h *heard) copy(w http.ResponseWriter) {
	maps.Copy(w.Header(), h.header)
	w.WriteHeader(max(h.status, 200))
	_, _ = w.Write(h.body.Bytes())
}

// inner asks an endpoint of the RFCs.
func (s *Simulator) inner(r *http.Request, path string, form url.Values) *heard {
	in := r.Clone(r.Context())
	in.Method, in.URL.Path, in.URL.RawPath, in.URL.RawQuery = http.MethodPost, path, "", ""
	in.Form, in.PostForm = nil, nil
	in.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	in.Body = io.NopCloser(strings.NewReader(form.Encode()))
	out := &heard{header: http.Header{}}
	s.mux.ServeHTTP(out, in)
	return out
}

// callbackIn is the query of an authorization response in a dialect.
func (d *Dialect) callbackIn(out url.Values) url.Values {
	template := d.Callback
	if out.Has("error") {
		template = d.Declined
	}
	if template == nil {
		return out
	}
	values := map[string]any{"code_encoded": url.QueryEscape(out.Get("code"))}
	for name := range out {
		values[name] = out.Get(name)
	}
	said := url.Values{}
	for name, text := range template {
		if v, ok := fill(text, values); ok {
			said.Set(name, fmt.Sprint(v))
		}
	}
	return said
}

var routePage = template.Must(template.New("route").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Acorn Notes</title></head>` +
	`<body data-to="{{.}}"><p>One moment.</p><script src="/route.js"></script></body></html>`))

// hashPage is the page of an application whose routes stand behind #.
func hashPage(w http.ResponseWriter, to string) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = routePage.Execute(w, to)
}
