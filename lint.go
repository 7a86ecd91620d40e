package behalf

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/behalf-dev/behalf/internal/expand"
)

// This file tells what is probably a mistake in a definition that may be right.
// The rules are:
//
//   - What cannot work is an error of Compile, not a warning. An unfinished
//     definition is linted too: the linter speaks beside the form.
//   - A rule is about data, never about one provider. What is known of a
//     provider is handed in.
//   - No warning holds a value.

// Warning is one thing that is probably not meant.
type Warning struct {
	Field   string      `json:"field" doc:"The field in dotted form: scope[0].value"`
	Code    WarningCode `json:"code" doc:"Stable."`
	Message string      `json:"message" doc:"What will happen."`
	Fix     string      `json:"fix" doc:"What to do, if that is not meant."`
}

// WarningCode is the stable name of a warning.
type WarningCode string

const (
	WarnNoRefreshToken  WarningCode = "no_refresh_token"
	WarnImplicit        WarningCode = "implicit_response"
	WarnPKCEOff         WarningCode = "pkce_off"
	WarnHardCodedState  WarningCode = "state_hard_coded"
	WarnOverridden      WarningCode = "parameter_overridden"
	WarnSeparator       WarningCode = "scope_separator"
	WarnScopeNotOffered WarningCode = "scope_not_offered"
	WarnRequiredIgnored WarningCode = "required_ignored"
	WarnIssuerNoOpenID  WarningCode = "issuer_without_openid"
	WarnOpenIDNoIssuer  WarningCode = "openid_without_issuer"
	WarnNotChecked      WarningCode = "token_not_checked"
	WarnNoLifetime      WarningCode = "token_lifetime_unknown"
	WarnMinAge          WarningCode = "min_age_exceeds_lifetime"
	WarnNoReplayPolicy  WarningCode = "replay_window_unknown"
	WarnNoRevocation    WarningCode = "revocation_missing"
	WarnBasicRaw        WarningCode = "basic_raw_ambiguous"
	WarnBasicEncoding   WarningCode = "basic_encoding"
	WarnBasicRawIgnored WarningCode = "basic_raw_ignored"
	WarnPlainHTTP       WarningCode = "plain_http"
	WarnHostsWide       WarningCode = "allowed_hosts_wide"
	WarnNoAPI           WarningCode = "api_base_url_missing"
	WarnTokenNotSent    WarningCode = "token_not_sent"
	WarnPlainSecret     WarningCode = "secret_in_plain_field"
	WarnPasswordUnused  WarningCode = "password_field_unused"
	WarnFieldUnused     WarningCode = "field_unused"
	WarnCaptureUnused   WarningCode = "captured_unused"
	WarnCaptureSecret   WarningCode = "captured_secret"
	WarnStateNotRead    WarningCode = "state_not_read"
	WarnPKCEPlain       WarningCode = "pkce_plain"
	WarnLateRenewal     WarningCode = "renewal_too_late"
	WarnBuffer          WarningCode = "buffer_exceeds_lifetime"
)

// Known is what is known of a provider beside the definition: from discovery or
// from the catalogue. Its zero value knows nothing.
type Known struct {
	ScopesSupported []string // the scopes that the provider offers; empty: not known
	Offline         []Param  // each makes the provider give a refresh token: {"access_type", "offline"}, {"scope", "offline_access"}
	Unasked         bool     // asking for offline access changes nothing: a refresh token comes by itself, or never
}

// Lint returns what is probably not meant in a definition, in the order of the
// form. It never fails: what it cannot read it leaves to Compile.
func Lint(d Definition, k Known) []Warning {
	l := &linter{d: d.Finished(), known: k}
	l.kinds()
	if l.authorizes() {
		l.authorizationURL()
		l.refreshToken()
		l.openID()
	}
	if l.issuesTokens() {
		l.scopes()
		l.client()
		l.lifetime()
		l.revocation()
		l.shapes()
	}
	l.checks()
	l.urls()
	l.hosts()
	l.calls()
	l.additional()
	return l.warnings
}

type linter struct {
	d        Definition
	known    Known
	warnings []Warning
}

func (l *linter) warn(field string, code WarningCode, message, fix string) {
	l.warnings = append(l.warnings, Warning{field, code, message, fix})
}

// authorizes reports whether the browser is sent to an authorization URL.
func (l *linter) authorizes() bool { return l.d.Type.Redirects() }

// issuesTokens reports whether an OAuth server gives the credential.
func (l *linter) issuesTokens() bool { return l.d.Type.IssuesTokens() }

// authorizationURL looks for parameters that are replaced when the browser is sent.
func (l *linter) authorizationURL() {
	scopes, _ := l.d.Scopes()
	for _, name := range queryNames(l.d.AuthorizationURL) {
		switch {
		case name == "state":
			l.warn("authorization_url", WarnHardCodedState, "The state in the URL is not sent: a new one is made for each person, or anybody could complete somebody else's authorization.", "Take state out of the URL.")
		case contains(authorizationOurs, name), name == "scope" && len(scopes) > 0:
			l.warn("authorization_url", WarnOverridden, "A parameter in the URL's query is not sent as it stands there: "+name+" is set by Behalf.", "Take it out of the URL.")
		}
	}
	for i, p := range l.d.OAuth.AuthorizationParams {
		if p.Key == "scope" && len(scopes) > 0 {
			l.warn(indexed("oauth.authorization_params", i)+".key", WarnOverridden, "The parameter is not sent: scope is made of the Scope table.", "Take it out, and put its scopes into the table.")
		}
	}
	if l.d.OAuth.ResponseType == "token" {
		l.warn("oauth.response_type", WarnImplicit, "With the legacy implicit response the token passes through the browser's address, and there is never a refresh token.", "Use the response type code, if the provider takes it.")
	}
	if l.d.OAuth.PKCE == PKCEOff && l.d.OAuth.ResponseType != "token" {
		l.warn("oauth.pkce", WarnPKCEOff, "PKCE is off: a stolen authorization code could be used.", "Switch it on, unless the provider refuses requests that carry a code challenge.")
	}
}

// authorizationOurs are the parameters of the authorization request that no
// definition sets.
var authorizationOurs = []string{"client_id", "redirect_uri", "response_type", "nonce", "code_challenge", "code_challenge_method"}

// queryNames returns the names of the parameters in a URL's query, each once.
// Some servers separate them by semicolons.
func queryNames(raw string) []string {
	raw, _, _ = strings.Cut(raw, "#")
	_, query, _ := strings.Cut(raw, "?")
	var names []string
	for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(name); err == nil && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// refreshToken looks for what makes a server give a refresh token: what is
// known to, or else what usually does with an OpenID server.
func (l *linter) refreshToken() {
	const message = "No refresh token will be issued: the person must authorize again whenever the access token ends."
	switch {
	case l.d.OAuth.ResponseType == "token", contains([]string{"access_token", "reissue", "none"}, l.d.OAuth.Refresh.Grant):
	case len(l.known.Offline) > 0 && !slices.ContainsFunc(l.known.Offline, l.sends):
		p := l.known.Offline[0]
		l.warn(offlineField(p), WarnNoRefreshToken, message, "Add "+p.Key+"="+p.Value+".")
	case len(l.known.Offline) > 0, l.asksOffline():
	case contains(l.known.ScopesSupported, offlineAccess):
		l.warn("scope", WarnNoRefreshToken, message, "Add the scope offline_access, which the provider offers.")
	case l.known.Unasked:
	case len(l.known.ScopesSupported) == 0 && l.openIDAsked():
		l.warn("scope", WarnNoRefreshToken, "Perhaps no refresh token will be issued: most OpenID providers give one only when offline access is asked for.",
			"Add the scope offline_access, or the provider's own parameter, such as access_type=offline.")
	}
}

func offlineField(p Param) string {
	if p.Key == "scope" {
		return "scope"
	}
	return "oauth.authorization_params"
}

// asksOffline reports whether anything asks for offline access in the words
// that are in use.
func (l *linter) asksOffline() bool {
	scopes, _ := l.d.Scopes()
	return slices.ContainsFunc(scopes, func(s string) bool { return contains([]string{offlineAccess, "offline", "refresh_token"}, s) }) ||
		slices.ContainsFunc(l.sent(), func(p Param) bool { return p.Value == "offline" || p.Value == "permanent" })
}

// sends reports whether the authorization request carries the scope or parameter.
func (l *linter) sends(p Param) bool {
	scopes, _ := l.d.Scopes()
	return p.Key == "scope" && contains(scopes, p.Value) || slices.Contains(l.sent(), p)
}

// sent are the extra parameters of the authorization request, wherever they stand.
func (l *linter) sent() []Param {
	sent := slices.Clone(l.d.OAuth.AuthorizationParams)
	for _, row := range l.d.Scope {
		sent = append(sent, Param{row.Key, row.Value})
	}
	if u, err := url.Parse(l.d.AuthorizationURL); err == nil {
		for name, values := range u.Query() {
			sent = append(sent, Param{name, values[0]})
		}
	}
	return sent
}

func (l *linter) openIDAsked() bool {
	scopes, _ := l.d.Scopes()
	return contains(scopes, "openid")
}

func (l *linter) openID() {
	switch o := l.d.OAuth; {
	case o.Issuer != "" && !o.RequireIss && !l.openIDAsked():
		l.warn("oauth.issuer", WarnIssuerNoOpenID, "No ID token will come: the profile has an issuer and does not ask for the scope openid. The issuer is only compared where the provider names it in the callback.",
			"Add the scope openid, if the provider speaks OpenID Connect.")
	case o.Issuer == "" && l.openIDAsked():
		l.warn("oauth.issuer", WarnOpenIDNoIssuer, "The ID token is not checked, and the answer of another server could be taken for this one's: the profile has no issuer.", "Enter the issuer and the URL of its keys; discovery finds both.")
	}
}

func (l *linter) scopes() {
	separator := l.d.OAuth.ScopeSeparator
	for i, row := range l.d.Scope {
		if row.Key != "scope" {
			if row.Required {
				l.warn(indexed("scope", i)+".required", WarnRequiredIgnored, "Required has no effect here: only scopes are granted, parameters are not.", "Take it off this row.")
			}
			continue
		}
		if strings.Contains(row.Value, "{{") {
			continue // what it will be is not known
		}
		l.separator(i, row.Value, separator)
		for _, s := range splitScope(row.Value, separator) {
			if len(l.known.ScopesSupported) == 0 || contains(l.known.ScopesSupported, s) {
				continue
			}
			message, fix := "The provider does not list a scope that is asked for, and may refuse the authorization.", "Compare the scope with the provider's list."
			if row.Required {
				message = "The provider does not list a scope that is required: it may never be granted, and then no connection is made."
			}
			l.warn(indexed("scope", i)+".value", WarnScopeNotOffered, message, fix)
			break
		}
	}
}

// separator looks for a value that was written with another separator.
func (l *linter) separator(i int, value, separator string) {
	other := map[string]string{" ": ",", ",": " "}[separator]
	for _, s := range splitScope(value, separator) {
		if other != "" && strings.Contains(s, other) || other == "" && strings.ContainsAny(s, ", ") {
			l.warn(indexed("scope", i)+".value", WarnSeparator, "Several scopes will be sent as one: they are not separated as scope_separator says.", "Separate them by the scope separator, or set it to the one that the provider wants.")
			return
		}
	}
}

// client looks at how id and secret are sent.
func (l *linter) client() {
	o, id := l.d.OAuth, l.d.ClientID
	switch {
	case o.BasicRaw && o.ClientAuth != ClientAuthBasic:
		l.warn("oauth.basic_raw", WarnBasicRawIgnored, "basic_raw has no effect: the client does not prove itself by Basic.", "Take it off.")
	case o.BasicRaw && strings.Contains(id, ":"):
		l.warn("client_id", WarnBasicRaw, "The server will split id and secret at the wrong place: a colon in the client id ends it when Basic is sent raw.", "Switch basic_raw off, or send id and secret in the body (client_auth: post).")
	case o.ClientAuth == ClientAuthBasic && !o.BasicRaw && url.QueryEscape(id) != id:
		l.warn("client_id", WarnBasicEncoding, "The client id has characters that Basic sends encoded (RFC 6749 §2.3.1), which some servers do not decode.", "If the server answers invalid_client, set basic_raw, or client_auth to post.")
	}
}

func (l *linter) lifetime() {
	o := l.d.OAuth
	if o.TokenLifetime == 0 && o.Issuer == "" && o.IntrospectionURL == "" && o.Token.Reply.ExpiresIn == "" && o.Token.Reply.ExpiresFormat == "" {
		l.warn("oauth.token_lifetime", WarnNoLifetime, "If the provider does not say how long a token lives, it is used until a call fails.", "Enter the lifetime that the provider documents, in seconds.")
	}
	if o.TokenLifetime > 0 && o.Refresh.MinAge >= o.TokenLifetime {
		l.warn("oauth.refresh.min_age", WarnMinAge, "A token will end before it may be refreshed: min_age is not shorter than the token lifetime.", "Enter a shorter min_age.")
	}
	if o.Refresh.Rotates == "yes" && o.Refresh.ReplayWindow == 0 {
		l.warn("oauth.refresh.replay_window", WarnNoReplayPolicy, "If the answer to a refresh is lost, the old refresh token is not tried again, and the person may have to authorize anew: the provider rotates and no replay window is known.",
			"Enter the seconds in which the provider takes a used refresh token again, if it documents any.")
	}
}

func (l *linter) revocation() {
	if l.d.OAuth.RevocationURL == "" && l.d.OAuth.Revoke.ManageURL == "" {
		l.warn("oauth.revocation_url", WarnNoRevocation, "A connection that ends here lives on at the provider until its tokens end.", "Enter the provider's revocation URL, if it has one (RFC 7009).")
	}
}

func (l *linter) checks() {
	if l.d.CheckURL == "" && l.d.OAuth.UserinfoURL == "" {
		l.warn("check_url", WarnNotChecked, "A token is taken as it comes: nothing is asked with it before it becomes a connection, and no account is known.", "Enter an address of the API that answers 2xx to a good token, or the userinfo URL.")
	}
}

// all returns the definition's URLs by field, in the order of the form.
func (l *linter) all() []Param {
	d := l.d
	all := []Param{{"authorization_url", d.AuthorizationURL}, {"token_url", d.TokenURL}, {"refresh_url", d.RefreshURL}, {"check_url", d.CheckURL},
		{"api.base_url", d.API.BaseURL}, {"oauth.userinfo_url", d.OAuth.UserinfoURL}, {"oauth.revocation_url", d.OAuth.RevocationURL}, {"oauth.jwks_url", d.OAuth.JWKSURL}}
	if d.Tenancy != nil {
		all = append(all, Param{"tenancy.base_url", d.Tenancy.BaseURL})
	}
	all = append(all, Param{"oauth.introspection_url", d.OAuth.IntrospectionURL})
	d.OAuth.eachStep(func(at string, s Step) { all = append(all, Param{at + ".url", s.URL}) })
	return slices.DeleteFunc(all, func(p Param) bool { return p.Value == "" })
}

func (l *linter) urls() {
	for _, u := range l.all() {
		t, err := expand.ParseURL(u.Value)
		if err == nil && t.Scheme() == "http" && !thisMachine(t.HostPattern()) {
			l.warn(u.Key, WarnPlainHTTP, "Whoever is on the way can read and change what is sent: the URL is plain http.", "Use https.")
		}
	}
}

func thisMachine(hostPattern string) bool {
	host := (&url.URL{Host: hostPattern}).Hostname()
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}

// hosts looks for allowed hosts that no URL of the profile has.
func (l *linter) hosts() {
	var own []string
	for _, u := range l.all() {
		if t, err := expand.ParseURL(u.Value); err == nil {
			own = append(own, t.HostPattern())
		}
	}
	for i, h := range l.d.API.AllowedHosts {
		if !slices.Contains(own, strings.ToLower(h)) {
			l.warn(indexed("api.allowed_hosts", i), WarnHostsWide, "Credentials may go to a host that no URL of the profile names.", "Take it out, unless the application's API is there.")
		}
	}
	if l.d.API.BaseURL == "" && l.d.Tenancy == nil {
		l.warn("api.base_url", WarnNoAPI, "No call can go through the proxy: the profile does not say where the API is.", "Enter the API base URL.")
	}
}

// calls looks at what is put on every call.
func (l *linter) calls() {
	sends := l.d.SendsToken()
	for i, f := range l.d.AuthorizationFields {
		if !f.Secret && looksSecret(f.Key, f.Value) {
			l.warn(indexed("authorization_fields", i)+".secret", WarnPlainSecret, "The value looks like a secret, and is shown to everybody who may read the profile, and in transcripts.", "Mark the field as secret.")
		}
		sends = sends || slices.ContainsFunc(names(f.Value), func(n string) bool {
			return !l.asked(n) && n != "tenant" && n != "clientId" && n != "user" && !isVariable(n)
		})
	}
	if l.issuesTokens() && !sends {
		l.warn("authorization_fields", WarnTokenNotSent, "Calls go out without the token: it is not sent as Bearer, and no authorization field holds it.", "Add a field with {{accessToken}}, or leave send_token on.")
	}
}

// asked reports whether a placeholder names an additional field.
func (l *linter) asked(name string) bool { return (&Plan{Definition: l.d}).field(name) != nil }

// looksSecret reports whether the literal part of a value is one that nobody
// should see: under a name that says so, or by its looks.
func looksSecret(key, value string) bool {
	t, err := expand.ParseText(value, expand.Plain)
	if err != nil || !writeOnly(value) {
		return false
	}
	key = strings.ToLower(key)
	named := slices.ContainsFunc([]string{"authorization", "token", "secret", "password", "passwd", "apikey", "api-key", "api_key", "subscription-key"}, func(s string) bool { return strings.Contains(key, s) })
	return named || slices.ContainsFunc(strings.FieldsFunc(t.LiteralText(), outsideKey), randomLooking)
}

func outsideKey(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_+=~", r)
}

// randomLooking reports whether a word is as long as keys are, and mixes
// letters and digits as they do.
func randomLooking(word string) bool {
	return len(word) >= 20 && strings.ContainsFunc(word, unicode.IsDigit) && strings.ContainsFunc(word, unicode.IsLetter)
}

// additional looks for fields that are asked for nothing.
func (l *linter) additional() {
	used := l.used()
	for i, f := range l.d.AdditionalFields {
		switch {
		case used[f.Key] || used[fmt.Sprintf("authfield%d", i+1)]:
		case slices.ContainsFunc(l.d.Type.own(), func(own AdditionalField) bool { return own.Key == f.Key }): // the type itself uses it
		case f.Type == FieldPassword:
			l.warn(indexed("additional_fields", i), WarnPasswordUnused, "A secret is kept for nothing: no placeholder uses the field.", "Use it in a placeholder, or take the field out.")
		default:
			l.warn(indexed("additional_fields", i), WarnFieldUnused, "The field has no effect: no placeholder uses it.", "Use it in a placeholder, or take the field out.")
		}
	}
}

// used are the names of all placeholders.
func (l *linter) used() map[string]bool {
	texts := []string{l.d.OAuth.Issuer}
	for _, u := range l.all() {
		texts = append(texts, u.Value)
	}
	for _, row := range l.d.Scope {
		texts = append(texts, row.Value)
	}
	for _, p := range slices.Concat(l.d.OAuth.AuthorizationParams, l.d.OAuth.Authorize.ReconnectParams) {
		texts = append(texts, p.Value)
	}
	l.d.eachParam(func(_ string, p *Param) { texts = append(texts, p.Value) })
	for _, f := range l.d.AuthorizationFields {
		texts = append(texts, f.Value)
	}
	used := map[string]bool{}
	for _, text := range texts {
		for _, n := range names(text) {
			used[n] = true
		}
	}
	return used
}

// names returns the placeholders of any text, none where it cannot be read.
func names(text string) []string {
	t, err := expand.ParseText(text, expand.Plain)
	if err != nil {
		return nil
	}
	return t.Names()
}
