package behalf

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf/internal/expand"
)

// Plan is a definition made ready to run: placeholders parsed once, hosts and
// patterns compiled. It holds no value of any person and is safe to share.
type Plan struct {
	Definition
	AllowedHosts expand.Hosts
	HostPatterns []string // what AllowedHosts was made of

	issuerHosts expand.Hosts // an issuer is compared, never dialled
	tenantURL   *expand.URL
	tenantHosts expand.Hosts

	authorizationURL *expand.URL
	tokenURL         *expand.URL
	refreshURL       *expand.URL
	checkURL         *expand.URL
	userinfoURL      *expand.URL
	revocationURL    *expand.URL
	jwksURL          *expand.URL
	issuer           *expand.URL
	apiURL           *expand.URL
	scope            []planText
	authParams       []planText
	tokenParams      []planText
	refreshParams    []planText
	fields           []PlanField
	variables        []string      // that placeholders name, each once
	uses             []variableUse // where
	tenantPattern    *regexp.Regexp
	fieldPatterns    map[string]*regexp.Regexp
	quirks
}

type planText struct {
	key  string
	text *expand.Text
}

// PlanField is an authorization field with its value parsed for its placement.
type PlanField struct {
	AuthorizationField
	Text *expand.Text
}

// Compile checks a definition and makes its plan. The error is one CodeInvalid
// Error that names every field that is wrong.
func Compile(d Definition) (*Plan, error) {
	d = d.Finished()
	p := &Plan{Definition: d, fieldPatterns: map[string]*regexp.Regexp{}}
	var e problems
	if e.rows(d); len(e) > 0 {
		return nil, e.err() // before any work is done for them
	}
	p.general(&e)
	p.tenancy(&e)
	p.urls(&e)
	p.params(&e)
	p.additional(&e)
	p.authorization(&e)
	p.shapes(&e)
	p.hosts(&e)
	p.tenantDefault(&e)
	p.names(&e)
	if err := e.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// rows bounds the lists of a definition.
func (p *problems) rows(d Definition) {
	for field, n := range map[string]int{
		"scope": len(d.Scope), "additional_fields": len(d.AdditionalFields), "authorization_fields": len(d.AuthorizationFields), "auth_error": len(d.AuthError),
		"api.allowed_hosts": len(d.API.AllowedHosts), "oauth.authorization_params": len(d.OAuth.AuthorizationParams),
		"oauth.token_params": len(d.OAuth.TokenParams), "oauth.refresh_params": len(d.OAuth.RefreshParams),
		"oauth.authorize.reconnect_params": len(d.OAuth.Authorize.ReconnectParams),
	} {
		if n > maxRows {
			p.add(field, "Expected at most %d rows.", maxRows)
		}
	}
	if d.Tenancy != nil && len(d.Tenancy.Allowed) > 1000 {
		p.add("tenancy.allowed", "Expected at most 1000 tenants.")
	}
}

func (p *Plan) general(e *problems) {
	p.kind(e)
	e.name("name", p.Name)
	e.name("provider", p.Provider)
	e.text("description", p.Description, maxText)
	e.reference("client_secret_from", p.ClientSecretFrom)
	e.oneOf("mode", string(p.Mode), string(ModeUser), string(ModePreauthorized))
	if name := p.ConnectorName(); Slug(name) != name { // that there is one is for whoever saves the profile
		e.add("connector", "Expected a connector's name: lower-case letters, digits and single hyphens.")
	}
	o := p.OAuth
	e.oneOf("oauth.client_auth", string(o.ClientAuth), string(ClientAuthBasic), string(ClientAuthPost), string(ClientAuthNone), string(ClientAuthBasicSecret))
	e.oneOf("oauth.pkce", string(o.PKCE), string(PKCERequired), string(PKCEOff))
	e.oneOf("oauth.response_type", o.ResponseType, "code", "token")
	e.oneOf("oauth.token_body", o.TokenBody, "form", "json", "query", "none")
	e.oneOf("oauth.refresh.rotates", o.Refresh.Rotates, "", "yes", "no")
	if len([]rune(o.ScopeSeparator)) != 1 || o.ScopeSeparator != " " && !clean(o.ScopeSeparator) {
		e.add("oauth.scope_separator", "Expected one character.")
	}
	e.seconds("oauth.token_lifetime", o.TokenLifetime)
	e.seconds("oauth.refresh.replay_window", o.Refresh.ReplayWindow)
	e.seconds("oauth.refresh.min_age", o.Refresh.MinAge)
	if o.RequireIss && o.Issuer == "" {
		e.add("oauth.issuer", "Required when require_iss is set.")
	}
	if scopes, _ := p.Scopes(); o.Issuer != "" && contains(scopes, "openid") && o.JWKSURL == "" {
		e.add("oauth.jwks_url", "Required to check ID tokens: the profile has an issuer and asks for the openid scope.")
	}
}

func (p *problems) reference(field, s string) {
	if s != "" && !IsReference(s) {
		p.add(field, "Expected env:NAME or file:/path.")
	}
}

func (p *problems) oneOf(field, value string, allowed ...string) {
	if !contains(allowed, value) {
		p.add(field, "Expected %s.", strings.Join(slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" }), " or "))
	}
}

func (p *problems) seconds(field string, s Seconds) {
	if s < 0 || s > 10*365*24*3600 {
		p.add(field, "Expected seconds between 0 and ten years.")
	}
}

func (p *Plan) urls(e *problems) {
	p.authorizationURL = e.route("authorization_url", p.AuthorizationURL, p.Type.Redirects(), p.OAuth.Authorize.Fragment)
	p.tokenURL = e.url("token_url", p.TokenURL, p.Type.IssuesTokens() && p.OAuth.ResponseType != "token")
	p.refreshURL = e.url("refresh_url", p.RefreshURL, false)
	p.checkURL = e.url("check_url", p.CheckURL, false)
	p.userinfoURL = e.url("oauth.userinfo_url", p.OAuth.UserinfoURL, false)
	p.revocationURL = e.url("oauth.revocation_url", p.OAuth.RevocationURL, false)
	p.jwksURL = e.url("oauth.jwks_url", p.OAuth.JWKSURL, false)
	p.issuer = e.url("oauth.issuer", p.OAuth.Issuer, false)
	p.apiURL = e.url("api.base_url", p.API.BaseURL, false)
	if p.apiURL == nil && p.API.BaseURL == "" && p.Tenancy != nil {
		p.apiURL = e.url("tenancy.base_url", p.Tenancy.BaseURL, false)
	}
	if p.refreshURL == nil {
		p.refreshURL = p.tokenURL
	}
}

// route is url for an authorization endpoint that may stand behind "#".
func (p *problems) route(field, raw string, required, fragment bool) *expand.URL {
	switch {
	case !fragment, raw == "":
		return p.url(field, raw, required)
	case !strings.Contains(raw, "#"):
		p.add(field, "Expected a route behind #, as oauth.authorize.fragment says.")
		return nil
	}
	return p.parsed(field, raw)
}

func (p *problems) url(field, raw string, required bool) *expand.URL {
	switch {
	case raw == "" && required:
		p.add(field, "Required.")
		return nil
	case raw == "":
		return nil
	case len([]rune(raw)) > maxURL:
		p.add(field, "Expected at most %d characters.", maxURL)
		return nil
	}
	if strings.Contains(raw, "#") {
		p.add(field, "Expected a URL without a fragment (RFC 6749 §3.1 and §3.2).")
		return nil
	}
	return p.parsed(field, raw)
}

func (p *problems) parsed(field, raw string) *expand.URL {
	if len([]rune(raw)) > maxURL {
		p.add(field, "Expected at most %d characters.", maxURL)
		return nil
	}
	u, err := expand.ParseURL(raw)
	if wrong := (*expand.SyntaxError)(nil); errors.As(err, &wrong) && wrong.Offset == 0 {
		p.add(field, "Expected a valid http or https URL, which begins with %s.", wrong.Expected)
		return nil
	}
	if err != nil {
		p.add(field, "Expected a valid http or https URL: %s", sentence(err))
		return nil
	}
	return u
}

// sentence returns an error of expand as a sentence; it never holds a value.
func sentence(err error) string {
	s := err.Error()
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

func (p *Plan) params(e *problems) {
	for i, row := range p.Scope {
		field := indexed("scope", i)
		if !isParamName(row.Key) {
			e.add(field+".key", "Required: scope, or the name of a parameter.")
		}
		if row.Key != "scope" && contains(ours, row.Key) {
			e.add(field+".key", "This parameter is set by Behalf itself.")
		}
		if strings.TrimSpace(row.Value) == "" {
			e.add(field+".value", "Required.")
		}
		p.scope = append(p.scope, planText{row.Key, e.parse(field+".value", row.Value, expand.Plain)})
	}
	p.authParams = e.params("oauth.authorization_params", p.OAuth.AuthorizationParams)
	refresh := p.OAuth.Refresh.Shape.over(p.OAuth.Token)
	p.tokenParams = e.freeParams("oauth.token_params", p.OAuth.TokenParams, sentNames(tokenRequest, p.OAuth.Token))
	p.refreshParams = e.freeParams("oauth.refresh_params", p.OAuth.RefreshParams, sentNames(refreshRequest, refresh, "scope", "access_token"))
}

// ours are the parameters that no definition may set: a hard-coded state is a
// hole, and the others follow from the definition.
var ours = []string{"client_id", "client_secret", "redirect_uri", "response_type", "state", "code_challenge", "code_challenge_method", "code_verifier", "nonce", "code", "refresh_token", "grant_type"}

func (p *problems) params(field string, params []Param) []planText {
	var out []planText
	for i, row := range params {
		at := indexed(field, i)
		switch {
		case !isParamName(row.Key):
			p.add(at+".key", "Expected the name of a parameter.")
		case contains(ours, row.Key):
			p.add(at+".key", "This parameter is set by Behalf itself.")
		}
		out = append(out, planText{row.Key, p.parse(at+".value", row.Value, expand.Plain)})
	}
	return out
}

func isParamName(s string) bool {
	return s != "" && len(s) <= maxName && clean(s) && !strings.ContainsAny(s, "&=#? ")
}

func (p *problems) parse(field, text string, at expand.Position) *expand.Text {
	if len([]rune(text)) > maxText {
		p.add(field, "Expected at most %d characters.", maxText)
		return nil
	}
	t, err := expand.ParseText(text, at)
	if err != nil {
		p.add(field, "%s", sentence(err))
	}
	return t
}

func (p *Plan) tenancy(e *problems) {
	if p.Tenancy == nil {
		return
	}
	t := p.Tenancy
	p.tenantURL = e.url("tenancy.base_url", t.BaseURL, true)
	switch u := p.tenantURL; {
	case u != nil && !slices.Contains(u.Names(), "tenant"):
		e.add("tenancy.base_url", "Expected a URL that holds {tenant}.")
	}
	e.line("tenancy.label", t.Label, maxName)
	p.tenantPattern = e.pattern("tenancy.pattern", t.Pattern)
	for i, a := range t.Allowed {
		e.name(indexed("tenancy.allowed", i), a)
	}
}

const (
	maxProgram = 2000 // instructions of one pattern
	maxRows    = 50   // of each list of a definition
)

// pattern compiles a regular expression that must match the whole value. Go's
// engine runs in linear time; the bounds keep its programs small.
func (p *problems) pattern(field, text string) *regexp.Regexp {
	switch {
	case text == "":
		return nil
	case len(text) > 500:
		p.add(field, "Expected at most 500 characters.")
		return nil
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		p.add(field, "Expected a regular expression (RE2 syntax).")
		return nil
	}
	if prog, err := syntax.Compile(parsed.Simplify()); err != nil || len(prog.Inst) > maxProgram {
		p.add(field, "Expected a simpler regular expression: its repetitions make it too large.")
		return nil
	}
	whole, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil { // a quotation, \Q, that is not closed has taken in the end
		return regexp.MustCompile(`^(?:` + text + `\E)$`)
	}
	return whole
}

func (p *Plan) additional(e *problems) {
	seen := map[string]bool{}
	for i, f := range p.AdditionalFields {
		at := indexed("additional_fields", i)
		switch {
		case !isFieldKey(f.Key):
			e.add(at+".key", "Expected a letter, then letters, digits and underscores, at most 64.")
		case seen[f.Key]:
			e.add(at+".key", "Two fields have this key.")
		case reserved(f.Key):
			e.add(at+".key", "This name has a meaning of its own in placeholders.")
		}
		seen[f.Key] = true
		e.line(at+".title", f.Title, maxName)
		e.line(at+".hint", f.Hint, maxText)
		e.line(at+".value", f.Value, maxText)
		e.reference(at+".value_from", f.ValueFrom)
		if f.ValueFrom != "" && f.Type != FieldPassword {
			e.add(at+".value_from", "Only the value of a password field is taken from elsewhere.")
		}
		e.oneOf(at+".type", string(f.Type), "", string(FieldText), string(FieldPassword))
		e.oneOf(at+".visibility", string(f.Visibility), "", string(Visible), string(ReadOnly), string(Hidden))
		if re := e.pattern(at+".pattern", f.Pattern); re != nil {
			p.fieldPatterns[f.Key] = re
		}
		e.choices(at, f)
	}
}

func isFieldKey(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '_')) {
			return false
		}
	}
	return s != "" && len(s) <= 64 && expand.IsName(s)
}

func (p *Plan) authorization(e *problems) {
	seen := map[string]bool{}
	for i, f := range p.AuthorizationFields {
		at := indexed("authorization_fields", i)
		p.placement(e, at, f)
		key := string(f.In) + "|" + strings.ToLower(f.Key) + "|" + strings.Join(f.Methods, ",") + "|" + strings.Join(f.Paths, ",")
		if seen[key] {
			e.add(at+".key", "Two fields have this key.")
		}
		seen[key] = true
		e.reference(at+".value_from", f.ValueFrom)
		if f.ValueFrom != "" && (!f.Secret || f.Value != "" && !f.WriteOnly()) {
			e.add(at+".value_from", "Only a secret value is taken from elsewhere.")
		}
		pos := positions[f.In]
		p.fields = append(p.fields, PlanField{f, e.parse(at+".value", f.Value, pos)})
		for j, m := range f.Methods {
			if strings.ToUpper(m) != m || !isToken(m) {
				e.add(indexed(at+".methods", j), "Expected a method in upper case, such as GET.")
			}
		}
		for j, s := range f.Paths {
			if !strings.HasPrefix(s, "/") || !clean(s) {
				e.add(indexed(at+".paths", j), "Expected a path that begins with a slash.")
			}
		}
	}
}

var positions = map[Placement]expand.Position{InHeader: expand.Header, InPayload: expand.JSON, InQuery: expand.Query, InPath: expand.Plain}

// hopHeaders belong to one connection or to us; no profile may set them.
var hopHeaders = []string{"connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "via"}

func (p *Plan) placement(e *problems, at string, f AuthorizationField) {
	switch f.In {
	case InHeader:
		if lower := strings.ToLower(f.Key); !isToken(f.Key) || contains(hopHeaders, lower) || strings.HasPrefix(lower, "behalf-") {
			e.add(at+".key", "Expected the name of a header that may be set on a call.")
		}
	case InPayload, InQuery:
		if !isParamName(f.Key) {
			e.add(at+".key", "Expected the name of a parameter.")
		}
	case InPath:
		switch {
		case !isFieldKey(f.Key):
			e.add(at+".key", "Expected the name that stands in braces in the path.")
		case f.Key == "tenant":
			e.add(at+".key", "{tenant} is filled by the connection's tenant.")
		}
	default:
		e.add(at+".in", "Expected header, payload, query or path.")
	}
}

func (p *Plan) tenantDefault(e *problems) {
	if p.Tenancy == nil || p.tenantURL == nil {
		return
	}
	if t := p.Tenancy.Default; t != "" && p.CheckTenant(t) != nil {
		e.add("tenancy.default", "Expected a tenant that the pattern, the list and the base URL take.")
	}
	for i, t := range p.Tenancy.Allowed {
		if p.fillsTenant(t) != nil {
			e.add(indexed("tenancy.allowed", i), "Expected a name as it can stand in the base URL.")
		}
	}
}

func (p *Plan) hosts(e *problems) {
	patterns := p.API.AllowedHosts
	field := "api.allowed_hosts"
	if len(patterns) == 0 {
		for _, u := range p.templates() {
			if h := u.HostPattern(); h != "" && !slices.Contains(patterns, h) {
				patterns = append(patterns, h)
			}
		}
	}
	hosts, err := expand.ParseHosts(patterns)
	if err != nil {
		e.add(field, "%s", sentence(err))
		return
	}
	p.AllowedHosts, p.HostPatterns = hosts, patterns
	for name, u := range p.templates() {
		if pattern := u.HostPattern(); pattern != "" && !slices.Contains(patterns, pattern) && !covers(hosts, u) {
			e.add(name, "Its host is not among api.allowed_hosts.")
		}
	}
	p.issuerHosts = p.ownHosts(p.issuer)
	p.tenantHosts = p.ownHosts(p.tenantURL)
}

// covers reports whether the allowed hosts take a URL that is literal. One with
// a placeholder in its host is checked when it is filled.
func covers(hosts expand.Hosts, u *expand.URL) bool {
	if strings.Contains(u.HostPattern(), "*") {
		return true
	}
	parsed, err := url.Parse(u.Scheme() + "://" + u.HostPattern())
	return err == nil && hosts.Allows(parsed)
}

// ownHosts allows what the template itself can become.
func (p *Plan) ownHosts(u *expand.URL) expand.Hosts {
	if u == nil {
		return expand.Hosts{}
	}
	if u.HostPattern() == "" {
		return p.AllowedHosts // only those that were given can tell
	}
	hosts, err := expand.ParseHosts([]string{u.HostPattern()})
	if err != nil {
		return expand.Hosts{}
	}
	return hosts
}

// templates returns the profile's URLs by field. The authorization URL is one
// of them: the browser takes no secret there, but it names a host of the
// provider.
func (p *Plan) templates() map[string]*expand.URL {
	all := map[string]*expand.URL{
		"authorization_url": p.authorizationURL, "token_url": p.tokenURL, "check_url": p.checkURL, "api.base_url": p.apiURL,
		"oauth.userinfo_url": p.userinfoURL, "oauth.revocation_url": p.revocationURL, "oauth.jwks_url": p.jwksURL,
	}
	all["oauth.introspection_url"] = p.introspectionURL
	if p.RefreshURL != "" {
		all["refresh_url"] = p.refreshURL
	}
	for _, s := range p.allSteps() {
		all[s.at+".url"] = s.url
	}
	for name, u := range all {
		if u == nil {
			delete(all, name)
		}
	}
	return all
}

// names checks that every placeholder names something that exists there.
func (p *Plan) names(e *problems) {
	here := p.stages()
	check := func(field string, names, needs []string, known nameSet) {
		p.useVariables(field, names, needs)
		for _, n := range names {
			if err := p.known(n, known); err != "" {
				e.add(field, "%s", err)
			}
		}
	}
	list := func(field string, texts []planText, known nameSet) {
		for i, t := range texts {
			if t.text != nil {
				check(indexed(field, i)+".value", t.text.Names(), t.text.Needs(), known)
			}
		}
	}
	for field, u := range p.templates() {
		check(field, u.Names(), u.Needs(), here.url(field))
		p.wholeHosts(e, field, u)
	}
	p.browserSees(e)
	if p.issuer != nil {
		check("oauth.issuer", p.issuer.Names(), p.issuer.Needs(), nil)
	}
	list("scope", p.scope, nil)
	list("oauth.authorization_params", p.authParams, nil)
	list("oauth.authorize.reconnect_params", p.reconnectParams, nil)
	list("oauth.token_params", p.tokenParams, here.token)
	list("oauth.token.headers", p.token.headers, here.token.and("requestBody"))
	list("oauth.refresh_params", p.refreshParams, here.refresh)
	if p.OAuth.Refresh.Headers != nil {
		list("oauth.refresh.headers", p.refresh.headers, here.refresh.and("requestBody"))
	}
	list("oauth.revoke.params", p.revokeParams, here.revoke)
	list("oauth.revoke.headers", p.revoke.headers, here.revoke.and("requestBody"))
	for i, d := range p.derive {
		list(indexed("oauth.slots", i)+".derive", d, here.refresh)
	}
	for _, s := range p.allSteps() {
		list(s.at+".params", s.params, here.steps[s.at])
		list(s.at+".headers", s.shape.headers, here.steps[s.at].and("requestBody"))
	}
	for i, f := range p.fields {
		if f.Text != nil {
			check(indexed("authorization_fields", i)+".value", f.Text.Names(), f.Text.Needs(), here.call)
		}
	}
	slices.SortStableFunc(*e, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	slices.SortStableFunc(p.uses, func(a, b variableUse) int { return strings.Compare(a.field, b.field) })
}

// wholeHosts checks what a placeholder in the registrable part of a host needs:
// a closed list, or a value that the provider itself returned.
func (p *Plan) wholeHosts(e *problems, field string, u *expand.URL) {
	for _, n := range u.Enumerated() {
		if f := p.field(n); f != nil && f.closed() {
			continue
		}
		if n != "tenant" || p.Tenancy == nil || len(p.Tenancy.Allowed) == 0 {
			e.add(field, "A placeholder stands where it decides the whole host. Expected a literal domain, {tenant} with a list of allowed tenants, or an additional field with options.")
		}
	}
	for _, n := range u.Captured() {
		if c := p.captures[n]; c != nil && c.Kind != "origin" {
			e.add(field, "{{%s}} stands for a whole host. Capture it with the kind origin.", n)
		}
	}
	switch {
	case len(p.API.AllowedHosts) > 0:
	case len(u.Captured()) > 0:
		e.add("api.allowed_hosts", "Required: a URL begins with a value that the provider returns.")
	case len(u.Enumerated()) > 0:
		e.add("api.allowed_hosts", "Required: a placeholder decides the whole host of a URL.")
	}
}

// browserSees keeps password fields out of what goes through a browser: its
// history, its logs, and whoever edits a profile without knowing the value.
func (p *Plan) browserSees(e *problems) {
	refuse := func(field string, names []string) {
		for _, n := range names {
			if f := p.field(n); f != nil && f.Type == FieldPassword {
				e.add(field, "{{%s}} is a password field, and this goes through the browser.", n)
			}
		}
	}
	if p.authorizationURL != nil {
		refuse("authorization_url", p.authorizationURL.Names())
	}
	if p.issuer != nil {
		refuse("oauth.issuer", p.issuer.Names())
	}
	for i, t := range p.scope {
		if t.text != nil {
			refuse(indexed("scope", i)+".value", t.text.Names())
		}
	}
	for field, texts := range map[string][]planText{"oauth.authorization_params": p.authParams, "oauth.authorize.reconnect_params": p.reconnectParams} {
		for i, t := range texts {
			if t.text != nil {
				refuse(indexed(field, i)+".value", t.text.Names())
			}
		}
	}
}

// known returns why a placeholder's name means nothing here, or "".
func (p *Plan) known(name string, here nameSet) string {
	since, request := requestNames[name]
	switch {
	case name == "tenant" && p.Tenancy == nil:
		return "{tenant} has no value: the profile has no tenancy."
	case p.field(name) != nil, here[name]:
		return ""
	case isVariable(name):
		return unknownVariable(name)
	case slices.Contains(tokenNames, name), strings.HasPrefix(name, "slots."):
		if strings.HasPrefix(name, "slots.") && !p.slotName(name) {
			return "It has a placeholder that names no slot. Expected {{slots.name.accessToken}} or {{slots.name.tokenType}}."
		}
		return fmt.Sprintf("{{%s}} exists only on calls, once the person has authorized.", name)
	case reserved(name):
		return ""
	case request:
		return fmt.Sprintf("{{%s}} exists only %s.", name, since)
	case p.captures[name] != nil:
		return fmt.Sprintf("{{%s}} is captured later than this.", name)
	}
	return "It has a placeholder that names nothing: not an additional field, not a built-in, nothing that is captured."
}

// field returns the additional field that a placeholder names, by key or as
// authfield1, authfield2 …
func (p *Plan) field(name string) *AdditionalField {
	for i := range p.AdditionalFields {
		f := &p.AdditionalFields[i]
		if f.Key == name || name == fmt.Sprintf("authfield%d", i+1) {
			return f
		}
	}
	for _, f := range p.Type.own() {
		if f.Key == name {
			return &f
		}
	}
	return nil
}

// CheckTenant reports whether a tenant may stand in the profile's URLs.
func (p *Plan) CheckTenant(tenant string) error {
	switch {
	case p.Tenancy == nil:
		return Invalid("tenant", "This profile has no tenancy; leave it out.")
	case tenant == "" && len(p.Tenancy.Allowed) > 0:
		return Invalid("tenant", "Choose one.")
	case tenant == "" || len(tenant) > maxName || !clean(tenant):
		return Invalid("tenant", "Required, one line of at most 255 characters.")
	case p.tenantPattern != nil && !p.tenantPattern.MatchString(tenant):
		return Invalid("tenant", "It does not have the form that this application's tenants have.")
	case len(p.Tenancy.Allowed) > 0 && !contains(p.Tenancy.Allowed, tenant):
		return Invalid("tenant", "Expected one of the tenants that this profile allows.")
	}
	return p.fillsTenant(tenant)
}

// fillsTenant tries the tenant in the base URL, before any call is made.
func (p *Plan) fillsTenant(tenant string) error {
	_, err := p.tenantURL.Fill(Values{Plan: p, Tenant: tenant}.Lookup, p.tenantHosts, expand.Funcs{})
	if value := (*expand.ValueError)(nil); errors.As(err, &value) {
		return Invalid("tenant", "Expected a name as it stands in the address of the application: letters, digits and hyphens.")
	}
	return nil
}

// CheckField reports whether an additional field may have a value.
func (p *Plan) CheckField(key string, value interface{ Reveal() string }) error {
	f := p.field(key)
	switch {
	case f == nil || f.Key != key:
		return Invalid(key, "This profile has no additional field of this name.")
	case !f.Asked():
		return Invalid(key, "This field is a constant of the profile; leave it out.")
	}
	v := value.Reveal()
	switch re := p.fieldPatterns[key]; {
	case v == "" && f.Required:
		return Invalid(key, "Required.")
	case len(v) > maxText || re != nil && len(v) > maxName || !clean(v):
		return Invalid(key, "Expected one line of at most %d characters.", maxText)
	case v != "" && re != nil && !re.MatchString(v) && f.Hint != "":
		return Invalid(key, "It does not have the form that is expected here: %s.", strings.TrimSuffix(f.Hint, "."))
	case v != "" && re != nil && !re.MatchString(v):
		return Invalid(key, "It does not have the form that is expected here.")
	case p.Type == Basic && key == FieldUsername && strings.Contains(v, ":"):
		return Invalid(key, "Expected a username without a colon (RFC 7617 §2).")
	}
	if why := f.misfit(v); why != "" {
		return Invalid(key, "%s", why)
	}
	return nil
}

// nested adds the fields of err below prefix.
func (p *problems) nested(prefix string, err error) {
	if e, ok := err.(*Error); ok && e != nil {
		p.add(prefix+e.Field, "%s", e.Message)
	}
}

// origins returns what the templates can become, as scheme and host pattern.
// Where the tenant decides a part of the host, which tenants there are belongs
// to it; where it decides all of it, so do the allowed hosts.
func (p *Plan) origins(urls ...*expand.URL) []string {
	var out []string
	for _, u := range urls {
		if u == nil {
			continue
		}
		hosts := []string{u.HostPattern()}
		if hosts[0] == "" {
			hosts = p.HostPatterns
		}
		for _, h := range hosts {
			origin := u.Scheme() + "://" + h
			if p.Tenancy != nil && (u.HostPattern() == "" || strings.Contains(h, "*")) {
				origin += " " + p.Tenancy.Pattern + " " + strings.Join(p.Tenancy.Allowed, " ")
			}
			out = append(out, origin)
		}
	}
	return out
}

// SecretMoves reports whether next would send the client secret somewhere that
// p does not, or by another way: who runs a connector says where a name leads.
func (p *Plan) SecretMoves(next *Plan) bool {
	return p.ConnectorName() != next.ConnectorName() || moves(p.origins(p.provers()...), next.origins(next.provers()...))
}

func moves(old, now []string) bool {
	for _, o := range now {
		if !slices.Contains(old, o) {
			return true
		}
	}
	return false
}

// CallsMove is the same for secret fields, which any request of the profile may
// carry.
func (p *Plan) CallsMove(next *Plan) bool {
	return p.ConnectorName() != next.ConnectorName() || moves(p.origins(p.carriers()...), next.origins(next.carriers()...)) || moves(p.HostPatterns, next.HostPatterns)
}

// carriers are the URLs that a field of the profile may be sent to.
func (p *Plan) carriers() []*expand.URL {
	return append(p.provers(), p.userinfoURL, p.checkURL, p.apiURL, p.authorizationURL)
}

// provers are the URLs at which the client proves itself, or may: a step can
// send the client secret.
func (p *Plan) provers() []*expand.URL {
	urls := []*expand.URL{p.tokenURL, p.refreshURL, p.revocationURL, p.introspectionURL}
	for _, s := range p.allSteps() {
		urls = append(urls, s.url)
	}
	return urls
}
