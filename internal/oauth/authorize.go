package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/behalf-dev/behalf/internal/secret"
)

// AuthorizeShape says how the authorization request differs from RFC 6749 §4.1.1.
type AuthorizeShape struct {
	Rename       map[string]string // standard parameters by their RFC's name
	Omit         []string          // never state
	Raw          []string          // parameters whose values stand in the URL as they are
	ResponseType string            // in the place of code
	RedirectURI  string            // an alias that is sent in the place of ours
	Fragment     bool              // the endpoint is a route behind "#", which the parameters follow
}

// Attempt is what one authorization request must not be guessed by others.
type Attempt struct{ State, Nonce, CodeVerifier secret.Text }

// NewAttempt returns three fresh values of 256 random bits.
func NewAttempt() Attempt {
	return Attempt{
		State:        secret.Random(),
		Nonce:        secret.Random(),
		CodeVerifier: secret.New(oauth2.GenerateVerifier()),
	}
}

// reserved are the parameters of the authorization request that only this
// package may set: a fixed state, nonce or code_challenge is a hole.
func reserved(name string) bool {
	switch name {
	case "client_id", "redirect_uri", "response_type", "state", "nonce",
		"code_challenge", "code_challenge_method":
		return true
	}
	return false
}

var (
	errAuthorizationURL      = errors.New("oauth: the authorization URL is not an absolute http or https URL without user and fragment")
	errRaw                   = errors.New("oauth: a parameter that is sent raw holds what cannot stand in a URL")
	errAuthorizationURLQuery = errors.New("oauth: the authorization URL's query is not form-encoded")
)

// AuthorizationRequest returns the URL to send the browser to (RFC 6749 §4.1.1).
//
// The authorization URL's own query keeps its order and spelling, the
// AuthorizationParams follow and replace what it has under the same name, ours
// come last. A parameter of ours that either already had is taken out, and its
// name is in overridden; so is scope where Scopes are set.
func (c Config) AuthorizationRequest(a Attempt) (rawURL string, overridden []string, err error) {
	base, own, err := c.authorizationBase()
	if err != nil {
		return "", nil, err
	}
	ours := c.authorizationParams(a)
	var params []Param
	for _, p := range c.AuthorizationParams {
		switch {
		case p.Value == "":
		case c.reserved(p.Name) || has(ours, p.Name):
			overridden = append(overridden, p.Name)
		default:
			params = append(params, p)
		}
	}
	query, replaced, err := prune(own, func(name string) bool {
		return c.reserved(name) || has(ours, name) || has(params, name)
	})
	if err != nil {
		return "", nil, err
	}
	for _, name := range replaced {
		if !has(params, name) {
			overridden = append(overridden, name)
		}
	}
	for _, p := range slices.Concat(params, ours) {
		value := escape(p.Value)
		if slices.Contains(c.Authorize.Raw, p.Name) {
			if value = p.Value; !standsAsItIs(value) {
				return "", nil, errRaw
			}
		}
		query = append(query, escape(p.Name)+"="+value)
	}
	slices.Sort(overridden)
	return base + strings.Join(query, "&"), slices.Compact(overridden), nil
}

// authorizationBase returns the authorization URL up to its query, and the query.
func (c Config) authorizationBase() (base, query string, err error) {
	u, err := url.Parse(c.AuthorizationURL)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") ||
		u.Fragment != "" && !c.Authorize.Fragment { // RFC 6749 §3.1
		return "", "", errAuthorizationURL
	}
	if c.Authorize.Fragment { // what stands before "#" is the page's, and stays
		before, route, _ := strings.Cut(u.String(), "#")
		route, query, _ = strings.Cut(route, "?")
		return before + "#" + route + "?", query, nil
	}
	query = u.RawQuery
	u.RawQuery, u.ForceQuery = "", true
	return u.String(), query, nil
}

// reserved reports whether only this package may set a parameter: one of those
// that are, under the name that this server has for it.
func (c Config) reserved(name string) bool {
	if slices.Contains(c.Authorize.Omit, name) && name != "state" {
		return false
	}
	if _, renamed := c.Authorize.Rename[name]; renamed && name != "state" {
		return false
	}
	return reserved(name)
}

// standsAsItIs reports whether a value can stand in a query without being
// escaped: it ends neither the parameter nor the query.
func standsAsItIs(s string) bool {
	return visible(s) && !strings.ContainsAny(s, "&#;\"<>\\^`{|} ")
}

func (c Config) authorizationParams(a Attempt) []Param {
	responseType := or(c.ResponseType, ResponseCode)
	if responseType == ResponseCode && c.Authorize.ResponseType != "" {
		responseType = ResponseType(c.Authorize.ResponseType)
	}
	params := []Param{
		{Name: "response_type", Value: string(responseType)},
		{Name: "client_id", Value: c.ClientID},
		{Name: "redirect_uri", Value: c.redirectURI()},
	}
	scope := or(c.ScopeParam, "scope")
	if len(c.Scopes) > 0 {
		params = append(params, Param{Name: scope, Value: c.scope(c.Scopes)})
	}
	params = append(params, Param{Name: "state", Value: a.State.Reveal()})
	if c.OpenID() {
		params = append(params, Param{Name: "nonce", Value: a.Nonce.Reveal()})
	}
	if c.usesPKCE() {
		challenge, method := c.challenge(a.CodeVerifier)
		params = append(params, Param{Name: "code_challenge", Value: challenge}, Param{Name: "code_challenge_method", Value: method})
	}
	params = slices.DeleteFunc(params, func(p Param) bool { return p.Name != "state" && slices.Contains(c.Authorize.Omit, p.Name) })
	for i, p := range params {
		if name, ok := c.Authorize.Rename[p.Name]; ok && name != "" {
			params[i].Name = name
		}
	}
	return params
}

// challenge returns the code challenge and its method (RFC 7636 §4.2), or what
// a server takes in its stead.
func (c Config) challenge(verifier secret.Text) (challenge, method string) {
	switch c.PKCEMethod {
	case "plain":
		return verifier.Reveal(), "plain"
	case "S256-hex":
		sum := sha256.Sum256([]byte(verifier.Reveal()))
		return hex.EncodeToString(sum[:]), "S256"
	}
	return oauth2.S256ChallengeFromVerifier(verifier.Reveal()), "S256"
}

// usesPKCE reports whether there is a code for the challenge to protect.
func (c Config) usesPKCE() bool {
	return c.PKCE != PKCEOff && or(c.ResponseType, ResponseCode) == ResponseCode
}

func (c Config) scope(scopes []string) string {
	return strings.Join(scopes, or(c.ScopeSeparator, " "))
}

// prune splits a raw query and takes out the parameters that drop names. It
// looks behind semicolons too: some servers still separate parameters by them.
func prune(raw string, drop func(name string) bool) (kept, dropped []string, err error) {
	for _, pair := range strings.Split(raw, "&") {
		var parts []string
		for _, part := range strings.Split(pair, ";") {
			name, _, _ := strings.Cut(part, "=")
			name, err := url.QueryUnescape(name)
			if err != nil {
				return nil, nil, errAuthorizationURLQuery
			}
			if drop(name) {
				dropped = append(dropped, name)
				continue
			}
			parts = append(parts, part)
		}
		if pair = strings.Join(parts, ";"); pair != "" {
			kept = append(kept, pair)
		}
	}
	return kept, dropped, nil
}

func has(params []Param, name string) bool {
	return slices.ContainsFunc(params, func(p Param) bool { return p.Name == name })
}

// escape encodes a query value with %20 for a space: a server that does not
// know the form encoding's plus reads it too.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
