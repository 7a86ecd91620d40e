package behalf

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/expand"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// This file checks the shapes of a definition and parses what they fill. The
// rules are:
//
//   - What cannot work is named here, before anybody is sent anywhere.
//   - A name may be used where it exists: the code at the token request, the
//     access token once there is one, what a step captured in what follows it.
//   - The state is always sent and never renamed into something else of ours.
//   - What a provider tells may stand for a whole host only as an origin, which
//     is checked against the allowed hosts before it is kept.

// requestNames exist only when a request is made, and say since when.
var requestNames = map[string]string{
	"code": "in the token request and the steps before it", "state": "in the token request and the steps before it", "codeVerifier": "in the token request and the steps before it",
	"redirectUri": "in requests to the provider", "clientSecret": "in requests to the provider",
	"requestTime": "in requests to the provider", "requestTimeMs": "in requests to the provider",
	"refreshToken": "in requests to the provider once there is a token", "token": "in the revocation", "requestBody": "in the headers of a request",
}

// planShape is a shape with its texts parsed.
type planShape struct {
	Shape
	at      string
	headers []planText
}

// planStep is a step, parsed.
type planStep struct {
	Step
	at     string
	url    *expand.URL
	params []planText
	shape  planShape
}

// quirks is what is parsed of the shapes.
type quirks struct {
	introspectionURL *expand.URL
	reconnectParams  []planText
	token            planShape
	refresh          planShape
	revoke           planShape
	revokeParams     []planText
	derive           [][]planText // by slot
	before           []planStep
	after            []planStep
	post             []planStep
	captures         captureSet
}

// planCapture is a capture with where it stands.
type planCapture struct {
	Capture
	hidden bool // it is a secret though the profile does not say so
	keep   func(string) (string, error)
}

func (k *planCapture) secret() bool { return k != nil && (k.Secret || k.hidden) }

// tokenMembers are what token replies call what nobody may see.
var tokenMembers = []string{"access_token", "refresh_token", "id_token"}

// hides reports whether a capture keeps what is a secret whatever the profile
// says of it: a token, or a header that signs in.
func (o OAuthSettings) hides(k Capture) bool {
	pointer := k.JSON
	if k.Choose != nil {
		pointer = k.Choose.Value
	}
	member := pointer[strings.LastIndex(pointer, "/")+1:]
	switch strings.ToLower(k.Header) {
	case "set-cookie", "authorization":
		return true
	}
	return contains(tokenMembers, member) || contains(tokenMembers, k.Param) || k.JSON != "" && contains(o.tokenPointers(), k.JSON)
}

// tokenPointers are where the shapes say that tokens stand.
func (o OAuthSettings) tokenPointers() []string {
	replies := []Reply{o.Token.Reply, o.Refresh.Reply}
	o.eachStep(func(_ string, s Step) { replies = append(replies, s.Reply) })
	for _, s := range o.Slots {
		replies = append(replies, s.Reply)
	}
	var out []string
	for _, r := range replies {
		out = append(out, r.AccessToken, r.RefreshToken, r.IDToken)
	}
	return out
}

// The parameters that a standard request has.
var (
	authorizeNames = []string{"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"}
	tokenRequest   = []string{"grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret"}
	refreshRequest = []string{"grant_type", "refresh_token", "access_token", "client_id", "client_secret", "scope"}
	revokeRequest  = []string{"token", "token_type_hint", "client_id", "client_secret"}
	stepRequest    = []string{"client_id", "client_secret"} // where the step authenticates the client
)

const maxSteps = 10

// shapes checks everything in which the provider differs.
func (p *Plan) shapes(e *problems) {
	o := p.OAuth
	p.captures = captureSet{}
	p.introspectionURL = e.url("oauth.introspection_url", o.IntrospectionURL, false)
	p.authorizeShape(e)
	p.callbackShape(e)
	p.before = p.steps(e, "oauth.before_token", o.BeforeToken, stepBefore)
	p.token = p.shape(e, "oauth.token", o.Token, tokenRequest, false)
	p.after = p.steps(e, "oauth.after_token", o.AfterToken, stepAfter)
	p.refresh = p.shape(e, "oauth.refresh", o.Refresh.Shape.over(o.Token), refreshRequest, true)
	p.post = p.steps(e, "oauth.post_connect", o.PostConnect, stepPost)
	p.slots(e)
	p.revokeShape(e)
	p.refreshRules(e)
	for i, r := range p.AuthError {
		e.rule(indexed("auth_error", i), r)
	}
	e.line("oauth.grant_type", o.GrantType, maxName)
	e.oneOf("oauth.pkce_method", o.PKCEMethod, "", "S256", "S256-hex", "plain")
}

// over returns s with what it leaves out as another request has it: a provider
// refreshes in the manner in which it gives tokens.
func (s Shape) over(t Shape) Shape {
	if s.Method == "" {
		s.Method = t.Method
	}
	if s.Auth == "" {
		s.Auth = t.Auth
	}
	if s.Headers == nil {
		s.Headers = t.Headers
	}
	if s.Rename == nil {
		s.Rename = keptNames(t.Rename, refreshRequest)
	}
	if s.Omit == nil {
		s.Omit = slices.DeleteFunc(slices.Clone(t.Omit), func(n string) bool { return !contains(refreshRequest, n) })
	}
	if s.Success == nil {
		s.Success = t.Success
	}
	if s.Errors == nil {
		s.Errors = t.Errors
	}
	if s.Reply == (Reply{}) {
		s.Reply = t.Reply
	}
	if s.Capture == nil {
		s.Capture = optional(t.Capture)
	}
	return s
}

// optional are captures that need not be there: what the first reply told is
// known already, and a rotated token must not be lost for its sake.
func optional(captures []Capture) []Capture {
	out := slices.Clone(captures)
	for i := range out {
		out[i].Required = false
	}
	return out
}

func keptNames(rename map[string]string, names []string) map[string]string {
	kept := map[string]string{}
	for from, to := range rename {
		if contains(names, from) {
			kept[from] = to
		}
	}
	return kept
}

func (p *Plan) authorizeShape(e *problems) {
	a, at := p.OAuth.Authorize, "oauth.authorize"
	if a.ScopeParam != "" {
		e.paramName(at+".scope_param", a.ScopeParam)
		if contains(ours, a.ScopeParam) {
			e.add(at+".scope_param", "This parameter is set by Behalf itself.")
		}
	}
	e.renames(at+".rename", a.Rename, a.Omit, authorizeNames)
	e.omits(at+".omit", a.Omit, authorizeNames)
	for _, n := range a.Omit {
		switch n {
		case "state":
			e.add(at+".omit", "The state is always sent: without it anybody could complete somebody else's authorization. Rename it, if the provider calls it otherwise.")
		case "code_challenge", "code_challenge_method":
			e.add(at+".omit", "Switch PKCE off instead (oauth.pkce).")
		}
	}
	for i, n := range a.Raw {
		e.paramName(indexed(at+".raw", i), n)
	}
	scope := cmp.Or(a.ScopeParam, "scope")
	if to, ok := a.Rename["scope"]; ok {
		scope = to
	}
	if contains(a.Raw, scope) && p.OAuth.ScopeSeparator == " " {
		e.add(at+".raw", "A space cannot stand in a URL as it is. Set oauth.scope_separator to what the provider has there, such as +.")
	}
	e.line(at+".response_type", a.ResponseType, maxName)
	e.line(at+".redirect_uri", a.RedirectURI, maxName)
	if a.RedirectURI != "" && strings.ContainsAny(a.RedirectURI, "{}") {
		e.add(at+".redirect_uri", "Expected the alias as the provider has it, without placeholders.")
	}
	p.reconnectParams = e.params(at+".reconnect_params", a.ReconnectParams)
}

func (p *problems) paramName(field, s string) {
	if !isParamName(s) {
		p.add(field, "Expected the name of a parameter.")
	}
}

// renames checks that no two parameters end up under one name.
func (p *problems) renames(field string, rename map[string]string, omit, standard []string) {
	if len(rename) > maxRows {
		p.add(field, "Expected at most %d rows.", maxRows)
	}
	taken := map[string]bool{}
	for _, n := range standard {
		if _, moved := rename[n]; !moved && !contains(omit, n) {
			taken[n] = true
		}
	}
	for from, to := range rename {
		switch {
		case !contains(standard, from):
			p.add(field, "Expected names of standard parameters on the left: %s.", strings.Join(standard, ", "))
		case !isParamName(to):
			p.add(field, "Expected the name of a parameter on the right.")
		case taken[to]:
			p.add(field, "Two parameters would have the same name.")
		case contains(omit, from):
			p.add(field, "A parameter that is renamed cannot be left out as well.")
		}
		taken[to] = true
	}
}

func (p *problems) omits(field string, omit, standard []string) {
	for i, n := range omit {
		if !contains(standard, n) {
			p.add(indexed(field, i), "Expected a standard parameter: %s.", strings.Join(standard, ", "))
		}
	}
}

func (p *Plan) callbackShape(e *problems) {
	c, at := p.OAuth.Callback, "oauth.callback"
	for field, name := range map[string]string{".code_param": c.CodeParam, ".state_param": c.StateParam} {
		if name != "" {
			e.paramName(at+field, name)
		}
	}
	if c.StateParam != "" && (c.StateParam == c.CodeParam || c.StateParam == "code" && c.CodeParam == "") {
		e.add(at+".state_param", "The code and the state cannot come in one parameter.")
	}
	e.bounded(at+".error_params", len(c.ErrorParams))
	for i, n := range c.ErrorParams {
		e.paramName(indexed(at+".error_params", i), n)
	}
	for i, k := range p.captured(e, at+".capture", c.Capture) {
		field := indexed(at+".capture", i)
		if k.Param == "" || k.JSON != "" || k.Header != "" || k.Choose != nil {
			e.add(field+".param", "Required: a parameter of the callback, and nothing else.")
		}
		if slices.Contains([]string{"code", "state", c.CodeParam, c.StateParam, "access_token"}, k.Param) && k.Param != "" {
			e.add(field+".param", "The code, the state and tokens are not kept so.")
		}
	}
}

func (p *problems) bounded(field string, n int) {
	if n > maxRows {
		p.add(field, "Expected at most %d rows.", maxRows)
	}
}

// shape checks one shape; granted says that there is an access token already.
func (p *Plan) shape(e *problems, at string, s Shape, standard []string, granted bool) planShape {
	out := planShape{Shape: s, at: at}
	e.oneOf(at+".method", s.Method, "", http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete)
	auths := []string{"", string(ClientAuthBasic), string(ClientAuthPost), string(ClientAuthNone), string(ClientAuthBasicSecret)}
	if granted {
		auths = append(auths, string(ClientAuthBearer))
	}
	e.oneOf(at+".auth", string(s.Auth), auths...)
	seen := map[string]bool{}
	e.bounded(at+".headers", len(s.Headers))
	for i, h := range s.Headers {
		field, lower := indexed(at+".headers", i), strings.ToLower(h.Key)
		switch {
		case !isToken(h.Key), contains(hopHeaders, lower), strings.HasPrefix(lower, "behalf-"), strings.HasSuffix(lower, "idempotency-key"):
			e.add(field+".key", "Expected the name of a header that may be set on a request.")
		case seen[lower]:
			e.add(field+".key", "Two headers have this name.")
		case lower == "authorization" && s.Auth != ClientAuthNone && s.Auth != ClientAuthPost && !strings.HasPrefix(at, "oauth.before") && !strings.HasPrefix(at, "oauth.after") && !strings.HasPrefix(at, "oauth.post"):
			e.add(field+".key", "auth sets this header. Set auth to post or none to write it yourself.")
		case lower == "authorization" && s.Auth != "" && s.Auth != ClientAuthNone && s.Auth != ClientAuthPost:
			e.add(field+".key", "auth sets this header. Leave auth out to write it yourself.")
		}
		seen[lower] = true
		out.headers = append(out.headers, planText{h.Key, e.parse(field+".value", h.Value, expand.Header)})
	}
	e.renames(at+".rename", s.Rename, s.Omit, standard)
	e.omits(at+".omit", s.Omit, standard)
	e.bounded(at+".success", len(s.Success))
	for i, r := range s.Success {
		e.rule(indexed(at+".success", i), r)
	}
	e.bounded(at+".errors", len(s.Errors))
	for i, r := range s.Errors {
		e.rule(indexed(at+".errors", i), r.Rule)
		e.oneOf(indexed(at+".errors", i)+".class", string(r.Class), string(ClassLapsed), string(ClassClient), string(ClassLimited), string(ClassTransient), string(ClassAmbiguous))
	}
	e.reply(at+".reply", s.Reply)
	for i, k := range p.captured(e, at+".capture", s.Capture) {
		if k.Param != "" {
			e.add(indexed(at+".capture", i)+".param", "Only a callback has parameters.")
		}
	}
	return out
}

func (p *problems) rule(field string, r Rule) {
	if r == (Rule{}) {
		p.add(field, "Expected at least one condition.")
	}
	if r.Status != 0 && (r.Status < 200 || r.Status > 599) {
		p.add(field+".status", "Expected a status of 200 to 599.")
	}
	if r.Header != "" && !isToken(r.Header) {
		p.add(field+".header", "Expected the name of a header.")
	}
	p.pointer(field+".json", r.JSON)
	p.text(field+".equals", r.Equals, maxText)
	p.text(field+".contains", r.Contains, maxText)
}

func (p *problems) pointer(field, s string) {
	if s != "" && (!oauth.ValidPointer(s) || len(s) > maxName) {
		p.add(field, "Expected a JSON pointer (RFC 6901), such as /data/access_token.")
	}
}

func (p *problems) reply(at string, r Reply) {
	for field, s := range map[string]string{".access_token": r.AccessToken, ".refresh_token": r.RefreshToken, ".id_token": r.IDToken, ".token_type": r.TokenType, ".scope": r.Scope,
		".expires_in": r.ExpiresIn, ".refresh_expires_in": r.RefreshExpiresIn, ".error": r.Error, ".error_description": r.ErrorDescription} {
		p.pointer(at+field, s)
	}
	if strings.HasPrefix(r.RetryAfter, "/") {
		p.pointer(at+".retry_after", r.RetryAfter)
	} else if r.RetryAfter != "" && !isToken(r.RetryAfter) {
		p.add(at+".retry_after", "Expected the name of a header, or a JSON pointer.")
	}
	if len([]rune(r.ScopeSeparator)) > 1 || !clean(r.ScopeSeparator) {
		p.add(at+".scope_separator", "Expected one character.")
	}
	p.oneOf(at+".expires_unit", r.ExpiresUnit, "", "s", "ms", "min", "h")
	p.oneOf(at+".expires_format", r.ExpiresFormat, "", "in", "at", "rfc3339", "jwt")
	p.oneOf(at+".retry_format", r.RetryFormat, "", "in", "at", "rfc3339")
	p.oneOf(at+".retry_unit", r.RetryUnit, "", "s", "ms")
}

// captured checks captures and takes their names. The same value may come with
// the token and with each refresh.
func (p *Plan) captured(e *problems, at string, list []Capture) []Capture {
	e.bounded(at, len(list))
	for i, k := range list {
		field := indexed(at, i)
		before := p.captures[k.Name]
		_, request := requestNames[k.Name]
		switch {
		case !isFieldKey(k.Name):
			e.add(field+".name", "Expected a letter, then letters, digits and underscores, at most 64.")
		case p.field(k.Name) != nil:
			e.add(field+".name", "An additional field has this name.")
		case reserved(k.Name), request:
			e.add(field+".name", "This name has a meaning of its own in placeholders.")
		case before != nil && (before.Kind != k.Kind || before.Secret != k.Secret):
			e.add(field+".name", "The same name is captured elsewhere with another kind.")
		}
		e.source(field, k)
		e.oneOf(field+".kind", k.Kind, "", "text", "origin")
		if k.Kind == "origin" && len(p.API.AllowedHosts) == 0 {
			e.add("api.allowed_hosts", "Required: the provider tells a host (%s), and these are the hosts that it may name.", field)
		}
		re := e.pattern(field+".pattern", k.Pattern)
		plan := p
		hidden := before != nil && before.hidden || p.OAuth.hides(k)
		p.captures[k.Name] = &planCapture{k, hidden, func(s string) (string, error) {
			if re != nil {
				found := re.FindStringSubmatch(s)
				if found == nil {
					return "", fmt.Errorf("has not the form that the profile expects")
				}
				if len(found) > 1 {
					s = found[1]
				}
			}
			if k.Kind == "origin" {
				return plan.origin(s)
			}
			return s, nil
		}}
	}
	return list
}

// source checks that a capture says in one way where its value stands.
func (p *problems) source(field string, k Capture) {
	n := 0
	for _, s := range []string{k.JSON, k.Header, k.Param} {
		if s != "" {
			n++
		}
	}
	if k.Choose != nil {
		n++
		for name, pointer := range map[string]string{".items": k.Choose.Items, ".value": k.Choose.Value} {
			if pointer == "" {
				p.add(field+".choose"+name, "Required.")
			}
			p.pointer(field+".choose"+name, pointer)
		}
		p.pointer(field+".choose.label", k.Choose.Label)
		p.line(field+".choose.title", k.Choose.Title, maxName)
	}
	if n != 1 {
		p.add(field, "Expected one of json, header, param and choose.")
	}
	p.pointer(field+".json", k.JSON)
	if k.Header != "" && !isToken(k.Header) {
		p.add(field+".header", "Expected the name of a header.")
	}
	if k.Param != "" {
		p.paramName(field+".param", k.Param)
	}
}

// origin returns an https origin that the provider named, if the profile
// allows its host. A bare host means https.
func (p *Plan) origin(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("is not an https origin such as https://eu.example.com")
	}
	if !p.AllowedHosts.Allows(u) {
		return "", fmt.Errorf("names a host that the profile does not allow")
	}
	return "https://" + strings.ToLower(u.Host), nil
}

// stepList is where steps stand.
type stepList int

const (
	stepBefore stepList = iota
	stepAfter
	stepPost
)

func (p *Plan) steps(e *problems, at string, steps []Step, list stepList) []planStep {
	if len(steps) > maxSteps {
		e.add(at, "Expected at most %d steps.", maxSteps)
		return nil
	}
	var out []planStep
	seen := map[string]bool{}
	for i, s := range steps {
		field := indexed(at, i)
		switch {
		case !isFieldKey(s.Name):
			e.add(field+".name", "Expected a letter, then letters, digits and underscores, at most 64.")
		case seen[s.Name]:
			e.add(field+".name", "Two steps have this name.")
		}
		seen[s.Name] = true
		e.oneOf(field+".body", s.Body, "", "form", "json", "query", "none")
		for j, on := range s.On {
			e.oneOf(indexed(field+".on", j), on, "connect", "refresh")
		}
		if list == stepPost && contains(s.On, "refresh") {
			e.add(field+".on", "A step after connecting is not made with a refresh. Put it into after_token.")
		}
		if s.Token && list != stepAfter {
			e.add(field+".token", "Only a step of after_token can replace the token.")
		}
		for j, k := range s.Capture {
			if k.Choose != nil && list != stepPost {
				e.add(indexed(field+".capture", j)+".choose", "Only a step of post_connect can ask the person.")
			}
		}
		step := planStep{Step: s, at: field, url: e.url(field+".url", s.URL, true), shape: p.shape(e, field, s.Shape, stepRequest, list != stepBefore)}
		step.params = e.freeParams(field+".params", s.Params, sentNames(s.proves(), s.Shape))
		out = append(out, step)
	}
	return out
}

// proves returns the parameters by which the step authenticates the client.
// Basic and bearer do it in a header, and without auth nothing is sent.
func (s Step) proves() []string {
	switch s.Auth {
	case ClientAuthPost:
		return stepRequest
	case ClientAuthNone:
		return stepRequest[:1]
	}
	return nil
}

// freeParams are parameters of a request, except those that it has already.
func (p *problems) freeParams(field string, params []Param, standard []string) []planText {
	var out []planText
	p.bounded(field, len(params))
	for i, row := range params {
		at := indexed(field, i)
		switch {
		case !isParamName(row.Key):
			p.add(at+".key", "Expected the name of a parameter.")
		case contains(standard, row.Key):
			p.add(at+".key", "This parameter is set by Behalf itself. To set it otherwise, leave the standard one out (omit).")
		}
		out = append(out, planText{row.Key, p.parse(at+".value", row.Value, expand.Plain)})
	}
	return out
}

// sentNames are the standard names that a request still has.
func sentNames(standard []string, s Shape, replaceable ...string) []string {
	return slices.DeleteFunc(slices.Clone(standard), func(n string) bool {
		_, moved := s.Rename[n]
		return moved || contains(s.Omit, n) || contains(replaceable, n)
	})
}

func (p *Plan) slots(e *problems) {
	seen := map[string]bool{}
	if len(p.OAuth.Slots) > maxSteps {
		e.add("oauth.slots", "Expected at most %d slots.", maxSteps)
		return
	}
	for i, s := range p.OAuth.Slots {
		at := indexed("oauth.slots", i)
		switch {
		case !isFieldKey(s.Name):
			e.add(at+".name", "Expected a letter, then letters, digits and underscores, at most 64.")
		case seen[s.Name]:
			e.add(at+".name", "Two slots have this name.")
		}
		seen[s.Name] = true
		e.reply(at+".reply", s.Reply)
		if (s.Reply.AccessToken == "") == (len(s.Derive) == 0) {
			e.add(at+".reply.access_token", "Required: where the token stands in the token reply; or derive instead, where it comes by a refresh request.")
		}
		p.derive = append(p.derive, e.freeParams(at+".derive", s.Derive, sentNames(refreshRequest, p.refresh.Shape, "scope", "access_token")))
	}
}

func (p *Plan) revokeShape(e *problems) {
	r, at := p.OAuth.Revoke, "oauth.revoke"
	p.revoke = p.shape(e, at, r.Shape, revokeRequest, true)
	if len(r.Capture) > 0 {
		e.add(at+".capture", "Nothing is kept of a revocation.")
	}
	e.oneOf(at+".body", r.Body, "", "form", "json", "query", "none")
	for i, t := range r.Tokens {
		e.oneOf(indexed(at+".tokens", i), t, "refresh_token", "access_token")
		if slices.Index(r.Tokens, t) != i {
			e.add(indexed(at+".tokens", i), "It stands there twice.")
		}
	}
	p.revokeParams = e.freeParams(at+".params", r.Params, sentNames(revokeRequest, r.Shape))
	if u := e.url(at+".manage_url", r.ManageURL, false); u != nil && (!u.Literal() || u.Scheme() != "https") {
		e.add(at+".manage_url", "Expected an https URL without placeholders.")
	}
	e.text(at+".note", r.Note, maxText)
}

func (p *Plan) refreshRules(e *problems) {
	r, at := p.OAuth.Refresh, "oauth.refresh"
	e.oneOf(at+".grant", r.Grant, "", "refresh_token", "access_token", "reissue", "none")
	e.line(at+".grant_type", r.GrantType, maxName)
	e.oneOf(at+".body", r.Body, "", "form", "json", "query", "none")
	e.seconds(at+".buffer", r.Buffer)
	e.seconds(at+".max_age", r.MaxAge)
	e.seconds(at+".idle", r.Idle)
}

// eachParam returns the definition with do done to each header and parameter
// of the requests that only the provider sees. The lists are new ones.
func (d Definition) eachParam(do func(list string, p *Param)) Definition {
	each := func(at string, list *[]Param) {
		*list = slices.Clone(*list)
		for i := range *list {
			do(at, &(*list)[i])
		}
	}
	o := &d.OAuth
	each("oauth.token_params", &o.TokenParams)
	each("oauth.refresh_params", &o.RefreshParams)
	each("oauth.token.headers", &o.Token.Headers)
	each("oauth.refresh.headers", &o.Refresh.Headers)
	each("oauth.revoke.headers", &o.Revoke.Headers)
	each("oauth.revoke.params", &o.Revoke.Params)
	steps := func(at string, list *[]Step) {
		*list = slices.Clone(*list)
		for i := range *list {
			s := &(*list)[i]
			each(at+"."+s.Name+".headers", &s.Headers)
			each(at+"."+s.Name+".params", &s.Params)
		}
	}
	steps("oauth.before_token", &o.BeforeToken)
	steps("oauth.after_token", &o.AfterToken)
	steps("oauth.post_connect", &o.PostConnect)
	o.Slots = slices.Clone(o.Slots)
	for i := range o.Slots {
		each("oauth.slots."+o.Slots[i].Name+".derive", &o.Slots[i].Derive)
	}
	return d
}

// hiddenParam reports whether a header or a parameter holds a key of the
// provider that is not for everybody who may read the profile.
func hiddenParam(p Param) bool {
	t, err := expand.ParseText(p.Value, expand.Plain)
	if err != nil || p.Value == "" || t.OnlyNames() && t.LiteralText() == "" {
		return false
	}
	key := strings.ToLower(p.Key)
	named := slices.ContainsFunc([]string{"secret", "password", "passwd", "apikey", "api-key", "api_key", "subscription-key"}, func(s string) bool { return strings.Contains(key, s) })
	return (named || key == "authorization") && writeOnly(p.Value) || slices.ContainsFunc(strings.FieldsFunc(t.LiteralText(), outsideKey), randomLooking)
}
