package oauth

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/behalf-dev/behalf/internal/secret"
)

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
	errAuthorizationURLQuery = errors.New("oauth: the authorization URL's query is not form-encoded")
)

// AuthorizationRequest returns the URL to send the browser to (RFC 6749 §4.1.1).
//
// The authorization URL's own query keeps its order and spelling, the
// AuthorizationParams follow and replace what it has under the same name, ours
// come last. A parameter of ours that either already had is taken out, and its
// name is in overridden; so is scope where Scopes are set.
func (c Config) AuthorizationRequest(a Attempt) (rawURL string, overridden []string, err error) {
	u, err := url.Parse(c.AuthorizationURL)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") ||
		u.Fragment != "" { // RFC 6749 §3.1
		return "", nil, errAuthorizationURL
	}
	ours := c.authorizationParams(a)
	var params []Param
	for _, p := range c.AuthorizationParams {
		switch {
		case p.Value == "":
		case reserved(p.Name) || has(ours, p.Name):
			overridden = append(overridden, p.Name)
		default:
			params = append(params, p)
		}
	}
	query, replaced, err := prune(u.RawQuery, func(name string) bool {
		return reserved(name) || has(ours, name) || has(params, name)
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
		query = append(query, escape(p.Name)+"="+escape(p.Value))
	}
	u.RawQuery, u.ForceQuery = strings.Join(query, "&"), false
	slices.Sort(overridden)
	return u.String(), slices.Compact(overridden), nil
}

func (c Config) authorizationParams(a Attempt) []Param {
	params := []Param{
		{"response_type", string(or(c.ResponseType, ResponseCode))},
		{"client_id", c.ClientID},
		{"redirect_uri", c.RedirectURI},
	}
	if len(c.Scopes) > 0 {
		params = append(params, Param{or(c.ScopeParam, "scope"), c.scope(c.Scopes)})
	}
	params = append(params, Param{"state", a.State.Reveal()})
	if c.OpenID() {
		params = append(params, Param{"nonce", a.Nonce.Reveal()})
	}
	if c.usesPKCE() {
		params = append(params,
			Param{"code_challenge", oauth2.S256ChallengeFromVerifier(a.CodeVerifier.Reveal())},
			Param{"code_challenge_method", "S256"})
	}
	return params
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
