package oauth

import (
	"context"
	"slices"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Token is a successful token reply (RFC 6749 §5.1).
type Token struct {
	AccessToken  secret.Text
	RefreshToken secret.Text // empty: none came
	IDToken      secret.Text // not yet verified
	Type         string      // as it came, in any case; servers invent some
	Scopes       []string    // granted; as requested where the reply does not tell
	ScopesGiven  bool        // the reply told the scopes
	ExpiresAt    time.Time   // counted from before the request; zero: not known
	ExpiresGiven bool        // the reply told it; else it is DefaultLifetime's
	Raw          secret.Text // the whole reply

	RefreshExpiresAt time.Time        // of the refresh token; zero: not told
	Captured         Facts            // what the reply told besides
	Slots            map[string]Token // further tokens of the same grant
}

// Merge returns t with what the reply of a refresh leaves out because it did
// not change: the refresh token and the scopes (RFC 6749 §5.1 and §6).
func (t Token) Merge(old Token) Token {
	if t.RefreshToken.Empty() {
		t.RefreshToken = old.RefreshToken
	}
	if !t.ScopesGiven && len(t.Scopes) == 0 {
		t.Scopes, t.ScopesGiven = old.Scopes, old.ScopesGiven
	}
	return t
}

// facts are what later requests of a run may send of a token.
func (t Token) facts() Facts {
	return t.Captured.with(Facts{
		"accessToken":  {Text: t.AccessToken.Reveal(), Secret: true},
		"refreshToken": {Text: t.RefreshToken.Reveal(), Secret: true},
		"idToken":      {Text: t.IDToken.Reveal(), Secret: true},
		"tokenType":    {Text: t.Type, Secret: false},
	})
}

// Exchange swaps an authorization code for a token (RFC 6749 §4.1.3), once:
// whatever comes of it, the code is spent. The steps before it are made first.
//
// TokenParams may replace grant_type and redirect_uri, for servers with their
// own; never the code, the verifier or the client's credentials.
func (c Client) Exchange(ctx context.Context, code secret.Text, a Attempt) (Token, error) {
	facts := Facts{"code": {Text: code.Reveal(), Secret: true}, "state": {Text: a.State.Reveal(), Secret: true}, "codeVerifier": {Text: a.CodeVerifier.Reveal(), Secret: true}}
	facts, err := c.prepare(ctx, c.BeforeToken, facts)
	if err != nil {
		return Token{}, err
	}
	params := []Param{
		{Name: "grant_type", Value: or(c.GrantType, "authorization_code")},
		{Name: "redirect_uri", Value: c.redirectURI()},
		{Name: "code", Value: code.Reveal()},
	}
	if c.usesPKCE() {
		params = append(params, Param{Name: "code_verifier", Value: a.CodeVerifier.Reveal()})
	}
	return c.tokenRequest(ctx, c.tokenCall(OpExchange, params, facts), c.Scopes)
}

// Grant makes the token request of a grant that needs no browser, such as
// client_credentials, or makes the first request again: params are what it
// sends beside the profile's own. Scopes are what it asks for.
func (c Client) Grant(ctx context.Context, params []Param, scopes ...string) (Token, error) {
	facts, err := c.prepare(ctx, c.BeforeToken, nil)
	if err != nil {
		return Token{}, err
	}
	if c.GrantType != "" && !has(params, "grant_type") {
		params = append([]Param{{Name: "grant_type", Value: c.GrantType}}, params...)
	}
	if len(scopes) > 0 {
		params = append(params, Param{Name: or(c.ScopeParam, "scope"), Value: c.scope(scopes)})
	}
	return c.tokenRequest(ctx, c.tokenCall(OpGrant, params, facts), scopes)
}

func (c Config) tokenCall(op Op, params []Param, facts Facts) call {
	return call{op: op, shape: c.TokenShape, body: c.TokenBody, params: params, extra: c.TokenParams, facts: facts}
}

// Refresh asks for a new access token (RFC 6749 §6). A rotating server spends
// the refresh token; one that keeps it leaves Token.RefreshToken empty, see
// Merge. Scopes narrow what is asked for; without them it is what was granted.
//
// RefreshParams may replace grant_type, never the refresh token or the
// client's credentials.
func (c Client) Refresh(ctx context.Context, refreshToken secret.Text, scopes ...string) (Token, error) {
	return c.Renew(ctx, Token{RefreshToken: refreshToken}, scopes...)
}

// Renew is Refresh for a token of which more may be sent than its refresh
// token: where RefreshByAccess is set, its access token stands in for that.
func (c Client) Renew(ctx context.Context, old Token, scopes ...string) (Token, error) {
	facts, err := c.prepare(ctx, c.BeforeRefresh, old.facts())
	if err != nil {
		return Token{}, err
	}
	return c.tokenRequest(ctx, c.refreshCall(old, c.RefreshParams, facts, scopes), scopes)
}

// Derive brings the token of a slot: a refresh request with the slot's own
// parameters.
func (c Client) Derive(ctx context.Context, s Slot, old Token) (Token, error) {
	extra := slices.DeleteFunc(slices.Clone(c.RefreshParams), func(p Param) bool { return has(s.Derive, p.Name) })
	c.Slots = nil
	return c.tokenRequest(ctx, c.refreshCall(old, append(extra, s.Derive...), old.facts(), nil), nil)
}

func (c Config) refreshCall(old Token, extra []Param, facts Facts, scopes []string) call {
	params := []Param{{Name: "grant_type", Value: or(c.RefreshGrantType, "refresh_token")}}
	if len(scopes) > 0 {
		params = append(params, Param{Name: "scope", Value: c.scope(scopes)})
	}
	if c.RefreshByAccess {
		params = append(params, Param{Name: "access_token", Value: old.AccessToken.Reveal()})
	} else {
		params = append(params, Param{Name: "refresh_token", Value: old.RefreshToken.Reveal()})
	}
	return call{op: OpRefresh, shape: c.RefreshShape, body: or(c.RefreshBody, c.TokenBody), params: params, extra: extra, facts: facts}
}

// tokenRequest makes a call whose answer is a token reply.
func (c Client) tokenRequest(ctx context.Context, a call, scopes []string) (Token, error) {
	var err error
	if a.url == "" {
		var target Fact
		target, err = c.endpoint(a.op, "token_url", c.TokenURL, a.facts)
		if a.op == OpRefresh && (c.RefreshURL != "" || c.Late["refresh_url"] != nil) {
			target, err = c.endpoint(a.op, "refresh_url", c.RefreshURL, a.facts)
		}
		if err != nil {
			return Token{}, err
		}
		a.url, a.secrets = target.Text, append(a.secrets, target.Parts...)
	}
	a.shape.Reply = or(a.shape.Reply, c.Reply)
	asked := c.Now()
	r, err := c.make(ctx, a)
	if err != nil {
		return Token{}, err
	}
	return c.readToken(r, a.shape, scopes, asked)
}

// readToken reads a token reply.
func (c Config) readToken(r reply, s Shape, scopes []string, asked time.Time) (Token, error) {
	doc, err := s.document(r.body)
	if refused := s.judge(r, doc); refused != nil {
		return Token{}, refused
	}
	if err != nil {
		return Token{}, r.fail(Ambiguous, "the reply is neither a JSON object nor a form")
	}
	t, reason := c.token(s.Reply, doc, scopes, asked)
	if reason == "" {
		t.Slots, reason = c.slots(doc, asked)
	}
	if reason != "" {
		e := r.fail(Invalid, reason)
		e.say(s.Reply.words(doc), r.secrets...)
		if t.AccessToken.Empty() {
			e.Elsewhere = tokenElsewhere(doc)
		}
		return Token{}, e
	}
	kept, _, bad := captured(r, s.Capture)
	if bad != nil {
		return Token{}, bad
	}
	t.Captured, t.Raw = kept, secret.New(string(r.body))
	return t, nil
}

// document reads a token reply; where the token is the reply itself, that may
// be text or an array too.
func (s Shape) document(body []byte) (any, error) {
	doc, err := parseReply(body)
	if err == nil {
		return doc, nil
	}
	outside := func(pointer string) bool {
		return pointer == "/" || len(pointer) > 1 && pointer[1] >= '0' && pointer[1] <= '9'
	}
	if v := parseAnswer(body); v != nil && outside(s.Reply.AccessToken) {
		return v, nil
	}
	return document(nil), err
}

// slots reads the further tokens that a reply holds. One that is not there was
// not granted.
func (c Config) slots(doc any, asked time.Time) (map[string]Token, string) {
	var found map[string]Token
	for _, s := range c.Slots {
		if s.Reply.AccessToken == "" || textAt(doc, s.Reply.AccessToken) == "" {
			continue
		}
		t, reason := c.token(s.Reply.below(), doc, nil, asked)
		if reason != "" {
			return nil, s.Name + ": " + reason
		}
		if found == nil {
			found = map[string]Token{}
		}
		found[s.Name] = t
	}
	return found, ""
}

// below returns the paths of a slot: what it does not name is not there, or a
// slot would take the refresh token of the main one for its own.
func (r ReplyPaths) below() ReplyPaths {
	const nowhere = "/\x00"
	r.RefreshToken, r.IDToken = or(r.RefreshToken, nowhere), nowhere
	r.TokenType, r.Scope, r.ExpiresIn = or(r.TokenType, nowhere), or(r.Scope, nowhere), or(r.ExpiresIn, nowhere)
	return r
}

// credential reports whether the parameter carries what the request proves.
func credential(name string) bool {
	switch name {
	case "code", "code_verifier", "refresh_token", "token", "client_id", "client_secret", "username", "password":
		return true
	}
	return false
}
