package simulator

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Dialect is how a provider wants to be spoken to and how it answers where that
// is not what the RFCs say. It is one table of routes; what it does not mention
// stays as it is. The rules are:
//
//   - A dialect is strict: what it demands is refused when it is not there, and
//     so is what it has not asked for. Each refusal is in Stats.Refused.
//   - What a route does is no longer done at its standard place.
//   - A dialect is spoken in front of the simulator: a request is translated
//     into that of the RFC, and the answer back. Faults come on top.
type Dialect struct {
	Routes []Route `json:"routes,omitempty"`
	// Callback is the query of a successful authorization response, Declined
	// that of an error: names with texts like those of Says.
	Callback map[string]string `json:"callback,omitempty"`
	Declined map[string]string `json:"declined,omitempty"`
	// PKCE is S256, S256-hex (the digest in hexadecimal), plain, or off: a
	// challenge is then refused.
	PKCE string `json:"pkce,omitempty"`
	// RedirectAlias stands for the client's newest redirect URI, everywhere.
	RedirectAlias string `json:"redirect_alias,omitempty"`
	// Offline are parameters of the authorization request without which no
	// refresh token is issued; Reconsent the same for a person who has agreed
	// before.
	Offline   map[string]string `json:"offline,omitempty"`
	Reconsent map[string]string `json:"reconsent,omitempty"`
}

// Route is one thing that the provider does, and where.
type Route struct {
	// At is a method and a path: "POST /oauth/token". In a segment {name}
	// stands for a value; a slash at the end takes everything below. Of routes
	// with one address the first whose demands are met answers.
	At string `json:"at"`
	// Does is one of
	//
	//	authorize, code, refresh, client_credentials, password, revoke, introspect
	//	renew    a new access token for {access_token}, which must be good
	//	derive   an access token for {refresh_token}, which stays as it is
	//	api      what is below stands below /api/
	//	tell     says its body; {token}, where it is asked for, must be good
	//	hash     a page whose script goes on to To, with the query behind #
	Does  string `json:"does"`
	To    string `json:"to,omitempty"`
	Grant bool   `json:"grant,omitempty"` // of revoke: the whole grant ends, whatever the token
	Wants Wants  `json:"wants,omitzero"`
	Says  Says   `json:"says,omitzero"`
	Fails Says   `json:"fails,omitzero"` // what an error or a bad token gets
}

// Wants is what a route demands of a request.
//
// A demanded text is literal but for names in braces, which stand for what the
// client has to send there: {client_id}, {client_secret}, {redirect_uri},
// {scope}, {state}, {nonce}, {code_challenge}, {code}, {code_verifier},
// {refresh_token}, {access_token}, {token}, {username}, {password}, {sign}. A
// text that is "*" takes anything but nothing, and one that begins with "?" may
// be absent.
type Wants struct {
	// Params are all the parameters; nil: those of the RFC. Of api and tell they
	// are among the parameters.
	Params map[string]string `json:"params,omitempty"`
	Body   string            `json:"body,omitempty"` // form (the default), json, query
	// Auth is basic (the default, but of renew), post, none, basic_raw, basic_secret (the
	// secret is the user's name) or bearer. Where Params or Headers
	// have {client_id} or {client_secret}, it is nothing else.
	Auth    string            `json:"auth,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Host    string            `json:"host,omitempty"`
	Raw     []string          `json:"raw,omitempty"`    // what the query must hold as it stands
	Scopes  string            `json:"scopes,omitempty"` // what separates scopes; a space by default
	// Sign is what {sign} is an HMAC-SHA-256 of, in hexadecimal and with the
	// client's secret; {body} is the whole body, beside what was demanded.
	Sign     string   `json:"sign,omitempty"`
	Audience string   `json:"audience,omitempty"` // of the token; see Says
	MinAge   int      `json:"min_age,omitempty"`  // seconds since the last access token was issued
	Order    []string `json:"order,omitempty"`    // in which tokens are revoked: access_token, refresh_token
	Reusable bool     `json:"reusable,omitempty"` // the code is good for ever
}

// Says is how a route answers.
//
// The texts in Body and Headers may hold {access_token}, {refresh_token},
// {token_type}, {expires_in}, {expires_in_text}, {expires_ms}, {expires_min},
// {expires_at}, {expires_at_ms}, {expires_rfc3339}, {scope}, {scope_commas},
// {id_token}, {second_access_token}, {second_refresh_token}, {sub}, {issuer},
// {error}, {error_description}, and what the request was bound to. Callbacks
// have {code}, {code_encoded}, {state}, {iss} and the errors. A text that is
// nothing but a name has the type of its value; a member whose value there is
// none of is left out.
type Says struct {
	Status  int               `json:"status,omitempty"`
	Format  string            `json:"format,omitempty"` // json (the default), form or text
	Body    any               `json:"body,omitempty"`   // nil: that of the RFC
	Headers map[string]string `json:"headers,omitempty"`
	JWT     bool              `json:"jwt,omitempty"` // the access token is a JWT with exp
	Pad     int               `json:"pad,omitempty"` // and so many bytes longer
	// Audience is whom the access token is for: the API of the same name.
	Audience string `json:"audience,omitempty"`
	// Second issues a further pair of the same person for that audience.
	Second string `json:"second,omitempty"`
}

// places of the RFCs; what a route does is closed there.
var standardPlaces = map[string]string{
	"authorize": "/authorize", "code": "/token", "refresh": "/token", "client_credentials": "/token", "password": "/token",
	"revoke": "/revoke", "introspect": "/introspect", "api": "/api/",
}

// grantTypes are those of RFC 6749.
var grantTypes = map[string]string{
	"code": "authorization_code", "refresh": "refresh_token", "client_credentials": "client_credentials", "password": "password",
}

// standardParams are what the RFC of a route asks for.
var standardParams = map[string]map[string]string{
	"authorize": {"response_type": "code", "client_id": "{client_id}", "redirect_uri": "{redirect_uri}", "scope": "?{scope}", "state": "{state}",
		"code_challenge": "{code_challenge}", "code_challenge_method": "S256", "nonce": "?{nonce}"},
	"code":               {"grant_type": "authorization_code", "code": "{code}", "redirect_uri": "{redirect_uri}", "code_verifier": "{code_verifier}"},
	"refresh":            {"grant_type": "refresh_token", "refresh_token": "{refresh_token}", "scope": "?{scope}"},
	"derive":             {"grant_type": "refresh_token", "refresh_token": "{refresh_token}"},
	"renew":              {"access_token": "{access_token}"},
	"client_credentials": {"grant_type": "client_credentials", "scope": "?{scope}"},
	"password":           {"grant_type": "password", "username": "{username}", "password": "{password}", "scope": "?{scope}"},
	"revoke":             {"token": "{token}", "token_type_hint": "?{hint}"},
	"introspect":         {"token": "{token}", "token_type_hint": "?{hint}"},
}

// check reports what of a dialect means nothing.
func (d *Dialect) check() error {
	if d == nil {
		return nil
	}
	for i, r := range d.Routes {
		method, path, ok := strings.Cut(r.At, " ")
		_, known := standardParams[r.Does]
		switch {
		case !ok || method == "" || !strings.HasPrefix(path, "/"):
			return fmt.Errorf("dialect: routes[%d].at: expected a method and a path", i)
		case !known && r.Does != "api" && r.Does != "tell" && r.Does != "hash":
			return fmt.Errorf("dialect: routes[%d].does: no such thing", i)
		}
	}
	return nil
}

// pkce is the dialect's, S256 by default.
func (d *Dialect) pkce() string {
	if d == nil || d.PKCE == "" {
		return "S256"
	}
	return d.PKCE
}

// wanted are the parameters of a route; all reports whether there may be no others.
func (d *Dialect) wanted(r Route) (params map[string]string, all bool) {
	open := r.Does == "api" || r.Does == "tell" || r.Does == "hash"
	if r.Wants.Params != nil || open {
		return r.Wants.Params, !open
	}
	params = map[string]string{}
	for name, text := range standardParams[r.Does] {
		params[name] = text
	}
	if d.pkce() == "off" {
		delete(params, "code_challenge")
		delete(params, "code_challenge_method")
		delete(params, "code_verifier")
	}
	if r.Does == "authorize" {
		for name := range d.Offline {
			params[name] = "?*"
		}
		for name := range d.Reconsent {
			params[name] = "?*"
		}
		if d.pkce() == "plain" {
			params["code_challenge_method"] = "plain"
		}
	}
	switch r.Wants.Auth {
	case "post":
		params["client_id"], params["client_secret"] = "{client_id}", "{client_secret}"
	case "none":
		params["client_id"] = "{client_id}"
	}
	return params, true
}

// speak answers a request in the dialect. It reports false for what the dialect
// does not speak of.
func (s *Simulator) speak(w http.ResponseWriter, r *http.Request, d *Dialect) bool {
	if r.URL.Path == "/authorize" && s.sumEqual("translated", r.URL.Query().Get(translated)) {
		return false // a page of ours on its way
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		body = nil
	}
	var why []string
	var first *Route
	for i := range d.Routes {
		route := &d.Routes[i]
		rest, bound, here := matchPath(route.At, r)
		if !here {
			continue
		}
		if first == nil {
			first = route
		}
		q, no := s.demand(d, *route, r, body, bound)
		if no != "" {
			why = append(why, route.Does+": "+no)
			continue
		}
		q.rest = rest
		s.does(w, q)
		return true
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	switch {
	case d.leaves(r, body):
		return false
	case first != nil:
		s.refuseDialect(w, *first, strings.Join(why, "; "))
	case d.closes(r, body):
		s.refuseDialect(w, Route{}, "this is not done at "+r.URL.Path)
	default:
		return false
	}
	return true
}

// closes reports whether the request is for the standard place of something
// that a route does elsewhere.
func (d *Dialect) closes(r *http.Request, body []byte) bool {
	form, _ := url.ParseQuery(string(body))
	for _, route := range d.Routes {
		place := standardPlaces[route.Does]
		grant, isToken := grantTypes[route.Does]
		switch {
		case place == "" || isToken && form.Get("grant_type") != grant:
		case r.URL.Path == place, strings.HasSuffix(place, "/") && strings.HasPrefix(r.URL.Path, place):
			return true
		}
	}
	return false
}

// leaves reports whether the request is for a grant type of which no route
// speaks, at the place of the RFC.
func (d *Dialect) leaves(r *http.Request, body []byte) bool {
	form, _ := url.ParseQuery(string(body))
	for does, grant := range grantTypes {
		if r.URL.Path == standardPlaces[does] && form.Get("grant_type") == grant {
			return !slices.ContainsFunc(d.Routes, func(r Route) bool { return r.Does == does })
		}
	}
	return false
}

// refuseDialect says what was not met, and remembers it.
func (s *Simulator) refuseDialect(w http.ResponseWriter, route Route, why string) {
	s.refusals.add(why)
	switch route.Does {
	case "api":
		route = Route{} // not to be taken for a token that has expired
	case "authorize":
		s.errorPage(w, nil, http.StatusBadRequest, "This link does not work", "The app that sent you here does not ask as we expect it: "+why)
		return
	}
	s.fail(w, route, http.StatusBadRequest, "invalid_request", why, nil)
}
