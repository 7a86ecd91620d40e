package console

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// This file signs members in by OpenID Connect. The rules are:
//
//   - Who starts is who returns: state, nonce and PKCE verifier are kept under
//     the browser's cookie, and used once, within minutes.
//   - Somebody is known by issuer and subject. An address counts only where the
//     issuer says that it has verified it.
//   - Nobody new is taken in unless the operator said who: by domain, by address
//     or by a claim that names a role.
//   - Every call goes out by the guarded client.

// SSO is single sign-on as the operator sets it up. Its zero value is none.
type SSO struct {
	Issuer       string
	ClientID     string
	ClientSecret secret.Text
	Label        string   // of the button: "Sign in with Acme"
	Scopes       []string // beside openid, email and profile
	Domains      []string // whose verified addresses are taken in
	Emails       []string // that are taken in
	Role         behalf.Role
	RoleClaim    string                 // the claim that names roles or groups
	Roles        map[string]behalf.Role // role by value of that claim
}

// Check reports what is missing.
func (s SSO) Check() error {
	u, err := url.Parse(s.Issuer)
	switch {
	case s.Issuer == "":
		return nil
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("single sign-on: the issuer must be an absolute URL such as https://id.example.com")
	case s.ClientID == "":
		return errors.New("single sign-on: the client id is missing (set --sso-client-id)")
	case s.Role != "" && !s.Role.Valid():
		return errors.New("single sign-on: the role must be owner, administrator, developer or viewer")
	case len(s.Roles) > 0 && s.RoleClaim == "":
		return errors.New("single sign-on: roles are mapped, and the claim that names them is missing (set --sso-role-claim)")
	}
	for _, r := range s.Roles {
		if !r.Valid() {
			return errors.New("single sign-on: a claim's value must be mapped to owner, administrator, developer or viewer")
		}
	}
	return nil
}

// button is what the link to the single sign-on says.
func (s SSO) button() string {
	if s.Label != "" {
		return s.Label
	}
	return "Sign in with single sign-on"
}

// sso is a single sign-on whose issuer was asked.
type sso struct {
	mu       sync.Mutex
	provider *oidc.Provider
	asked    time.Time
}

// ssoPending is what a browser that was sent to the issuer must bring back.
type ssoPending struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Next     string    `json:"next"`
	Since    time.Time `json:"since"`
}

const (
	ssoPatience = 10 * time.Minute // to sign in at the issuer
	ssoTimeout  = 20 * time.Second // for all of our calls
	ssoAgain    = time.Hour        // after which metadata is read anew
)

func ssoFailed(err error) error {
	return &behalf.Error{Code: behalf.CodeProvider, Message: "Single sign-on did not work: the issuer could not be asked, or its answer was not what it should be. It was logged; try again, or sign in by password.", Err: err}
}

// discovered returns the issuer's endpoints and keys.
func (c *Console) discovered(ctx context.Context) (*oidc.Provider, error) {
	c.sso.mu.Lock()
	defer c.sso.mu.Unlock()
	now := c.db.Now()
	if c.sso.provider != nil && now.Sub(c.sso.asked) < ssoAgain {
		return c.sso.provider, nil
	}
	// The keys are fetched later by the context of this call: it must not end.
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), bounded(c.cfg.HTTP)), c.cfg.SSO.Issuer)
	if err != nil {
		return nil, ssoFailed(err)
	}
	c.sso.provider, c.sso.asked = p, now
	return p, nil
}

// bounded returns the client with a limit for each call.
func bounded(client *http.Client) *http.Client {
	limited := *client
	limited.Timeout = ssoTimeout
	return &limited
}

func (c *Console) ssoConfig(p *oidc.Provider) oauth2.Config {
	endpoint := p.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // probing would send the code twice
	var told struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if p.Claims(&told) == nil && len(told.Methods) > 0 && !slices.Contains(told.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return oauth2.Config{ClientID: c.cfg.SSO.ClientID, ClientSecret: c.cfg.SSO.ClientSecret.Reveal(), Endpoint: endpoint,
		RedirectURL: c.cfg.PublicURL.JoinPath(Prefix, "sso", "callback").String(),
		Scopes:      append([]string{oidc.ScopeOpenID, "email", "profile"}, c.cfg.SSO.Scopes...)}
}

func (v *visit) noSSO() error {
	if v.cfg.SSO.Issuer == "" {
		return behalf.Errorf(behalf.CodeNotFound, "There is no such page.")
	}
	return nil
}

// startSSO sends the browser to the issuer. It is a link and not a form, whose
// redirect the content security policy would stop.
func (v *visit) startSSO() error {
	if err := v.noSSO(); err != nil {
		return err
	}
	if err := v.limits.start(v.address()); err != nil {
		return err
	}
	p, err := v.discovered(v.ctx())
	if err != nil {
		return err
	}
	pending := ssoPending{State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Next: next(v.r.URL.Query().Get("next")), Since: v.Console.db.Now()}
	kept, err := json.Marshal(pending)
	if err != nil {
		return err
	}
	v.signIns.Put(v.ctx(), keySSO, string(kept))
	cfg := v.ssoConfig(p)
	http.Redirect(v.w, v.r, cfg.AuthCodeURL(pending.State, oidc.Nonce(pending.Nonce), oauth2.S256ChallengeOption(pending.Verifier)), http.StatusSeeOther)
	return nil
}

// endSSO takes the browser back.
func (v *visit) endSSO() error {
	if err := v.noSSO(); err != nil {
		return err
	}
	var pending ssoPending
	q := v.r.URL.Query()
	kept := v.signIns.PopString(v.ctx(), keySSO)
	if json.Unmarshal([]byte(kept), &pending) != nil || pending.State == "" || subtle.ConstantTimeCompare([]byte(pending.State), []byte(q.Get("state"))) != 1 ||
		v.Console.db.Now().Sub(pending.Since) > ssoPatience {
		return behalf.Errorf(behalf.CodeConflict, "This sign-in was not begun in this browser, or took too long. Begin again.")
	}
	if code := q.Get("error"); code != "" {
		v.log.Warn("single sign-on refused", "error", printable(code))
		return behalf.Errorf(behalf.CodeForbidden, "The single sign-on did not let you in. Begin again, or ask its administrators.")
	}
	if iss := q.Get("iss"); iss != "" && iss != v.cfg.SSO.Issuer {
		return ssoFailed(errors.New("the answer names another issuer (RFC 9207)"))
	}
	i, err := v.identity(pending, q.Get("code"))
	if err != nil {
		return err
	}
	m, err := v.Console.db.MemberByIdentity(v.ctx(), i)
	if behalf.CodeOf(err) == behalf.CodeInvalid {
		err = behalf.Errorf(behalf.CodeForbidden, "The single sign-on says too little about you: your email address or your role is missing. Ask its administrators.")
	}
	if err != nil {
		return err
	}
	return v.comeIn(m, pending.Next)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), 60)])
}

// identity exchanges the code and verifies the ID token.
func (v *visit) identity(pending ssoPending, code string) (behalf.Identity, error) {
	p, err := v.discovered(v.ctx())
	if err != nil {
		return behalf.Identity{}, err
	}
	ctx := oidc.ClientContext(v.ctx(), bounded(v.cfg.HTTP))
	cfg := v.ssoConfig(p)
	token, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(pending.Verifier))
	if err != nil {
		return behalf.Identity{}, ssoFailed(exchangeError(err))
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := p.VerifierContext(ctx, &oidc.Config{ClientID: cfg.ClientID, Now: v.Console.db.Now}).Verify(ctx, raw)
	if err != nil {
		return behalf.Identity{}, ssoFailed(fmt.Errorf("the ID token: %w", err))
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(pending.Nonce)) != 1 {
		return behalf.Identity{}, ssoFailed(errors.New("the ID token has another nonce"))
	}
	if reason := unmeant(id, cfg.ClientID); reason != "" {
		return behalf.Identity{}, ssoFailed(errors.New("the ID token: " + reason))
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return behalf.Identity{}, ssoFailed(errors.New("the ID token's claims cannot be read"))
	}
	if _, told := claims["email"]; !told {
		if err := userinfo(ctx, p, token, id.Subject, claims); err != nil {
			return behalf.Identity{}, err
		}
	}
	return v.cfg.SSO.identify(id.Issuer, id.Subject, claims), nil
}

// unmeant says why an ID token was made for somebody else, though its audience
// names us: "" where it was not (OpenID Connect Core §3.1.3.7, 4 and 5).
func unmeant(id *oidc.IDToken, client string) string {
	var party struct {
		AuthorizedParty string `json:"azp"`
	}
	switch err := id.Claims(&party); {
	case err != nil:
		return "azp is not a string"
	case len(id.Audience) > 1 && party.AuthorizedParty == "":
		return "aud names others too, and azp is missing"
	case party.AuthorizedParty != "" && party.AuthorizedParty != client:
		return "azp is not this client"
	}
	return ""
}

// userinfo adds what the ID token does not tell (OpenID Connect Core §5.4).
func userinfo(ctx context.Context, p *oidc.Provider, token *oauth2.Token, subject string, claims map[string]any) error {
	if p.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return ssoFailed(errors.New("userinfo did not answer as it should"))
	}
	if info.Subject != subject {
		return ssoFailed(errors.New("userinfo is about another subject (OpenID Connect Core §5.3.2)"))
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil {
		return ssoFailed(errors.New("userinfo cannot be read"))
	}
	for name, value := range more {
		if _, told := claims[name]; !told {
			claims[name] = value
		}
	}
	return nil
}

// exchangeError leaves the issuer's words out but for its error code: they may
// hold what was sent.
func exchangeError(err error) error {
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) {
		status := 0
		if refused.Response != nil {
			status = refused.Response.StatusCode
		}
		return fmt.Errorf("the token endpoint answered %d %s", status, printable(refused.ErrorCode))
	}
	return errors.New("the token endpoint could not be asked")
}

// identify says who somebody is by the claims, and which role they have.
func (s SSO) identify(issuer, subject string, claims map[string]any) behalf.Identity {
	i := behalf.Identity{Issuer: issuer, Subject: subject}
	i.Name, _ = claims["name"].(string)
	if email, _ := claims["email"].(string); verified(claims["email_verified"]) {
		i.Email = behalf.FoldEmail(email)
	}
	if i.Role = s.roleOf(claims[s.RoleClaim]); i.Role != "" && s.RoleClaim != "" {
		i.Mapped = true
		return i
	}
	_, domain, _ := strings.Cut(i.Email, "@")
	fold := func(list []string, what string) bool {
		return what != "" && slices.ContainsFunc(list, func(x string) bool { return behalf.FoldEmail(x) == what })
	}
	if fold(s.Domains, domain) || fold(s.Emails, i.Email) {
		i.Role = s.Role
		if i.Role == "" {
			i.Role = behalf.RoleViewer
		}
	}
	return i
}

// verified reads email_verified, which some send as text.
func verified(claim any) bool { return claim == true || claim == "true" }

// roleOf returns the most that any value of the claim gives.
func (s SSO) roleOf(claim any) behalf.Role {
	var values []string
	switch c := claim.(type) {
	case string:
		values = []string{c}
	case []any:
		for _, x := range c {
			if text, ok := x.(string); ok {
				values = append(values, text)
			}
		}
	}
	for _, r := range roles {
		for _, value := range values {
			if s.Roles[value] == r.role {
				return r.role
			}
		}
	}
	return ""
}
