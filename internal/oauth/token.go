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

// Exchange swaps an authorization code for a token (RFC 6749 §4.1.3), once:
// whatever comes of it, the code is spent.
//
// TokenParams may replace grant_type and redirect_uri, for servers with their
// own; never the code, the verifier or the client's credentials.
func (c Client) Exchange(ctx context.Context, code secret.Text, a Attempt) (Token, error) {
	params := withExtra([]Param{
		{"grant_type", "authorization_code"},
		{"redirect_uri", c.RedirectURI},
	}, c.TokenParams)
	params = append(params, Param{"code", code.Reveal()})
	if c.usesPKCE() {
		params = append(params, Param{"code_verifier", a.CodeVerifier.Reveal()})
	}
	return c.tokenRequest(ctx, OpExchange, c.TokenURL, params, c.Scopes, code, a.CodeVerifier)
}

// Refresh asks for a new access token (RFC 6749 §6). A rotating server spends
// the refresh token; one that keeps it leaves Token.RefreshToken empty, see
// Merge. Scopes narrow what is asked for; without them it is what was granted.
//
// RefreshParams may replace grant_type, never the refresh token or the
// client's credentials.
func (c Client) Refresh(ctx context.Context, refreshToken secret.Text, scopes ...string) (Token, error) {
	params := []Param{{"grant_type", "refresh_token"}}
	if len(scopes) > 0 {
		params = append(params, Param{"scope", c.scope(scopes)})
	}
	params = append(withExtra(params, c.RefreshParams), Param{"refresh_token", refreshToken.Reveal()})
	return c.tokenRequest(ctx, OpRefresh, or(c.RefreshURL, c.TokenURL), params, scopes, refreshToken)
}

func (c Client) tokenRequest(ctx context.Context, op Op, url string, params []Param, scopes []string, secrets ...secret.Text) (Token, error) {
	asked := c.Now()
	reply, err := c.post(ctx, op, url, params, secrets...)
	if err != nil {
		return Token{}, err
	}
	doc, err := parseReply(reply.body)
	switch {
	case !reply.success() || (err == nil && c.Reply.failed(doc)):
		return Token{}, c.refused(reply, doc)
	case err != nil:
		return Token{}, reply.fail(Ambiguous, "the reply is neither a JSON object nor a form")
	}
	t, reason := c.token(doc, scopes, asked)
	if reason != "" {
		e := reply.fail(Invalid, reason)
		e.say(c.Reply.words(doc), reply.secrets...)
		return Token{}, e
	}
	t.Raw = secret.New(string(reply.body))
	return t, nil
}

// withExtra adds the extra parameters: one of a name that is there replaces it.
func withExtra(params, extra []Param) []Param {
	params = slices.DeleteFunc(params, func(p Param) bool { return has(extra, p.Name) })
	for _, p := range extra {
		if p.Value != "" && !credential(p.Name) {
			params = append(params, p)
		}
	}
	return params
}

// credential reports whether the parameter carries what the request proves.
func credential(name string) bool {
	switch name {
	case "code", "code_verifier", "refresh_token", "token", "client_id", "client_secret":
		return true
	}
	return false
}
