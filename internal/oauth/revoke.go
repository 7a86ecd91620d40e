package oauth

import (
	"context"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Revoke takes a token back at the provider (RFC 7009). The hint is
// "refresh_token", "access_token" or empty. A token that the provider does not
// know is a success there (§2.2), and so here.
func (c Client) Revoke(ctx context.Context, token secret.Text, hint string) error {
	return c.RevokeOf(ctx, Token{}, token, hint)
}

// RevokeOf is Revoke where the request may need other parts of the grant, such
// as the access token to revoke with.
func (c Client) RevokeOf(ctx context.Context, grant Token, token secret.Text, hint string) error {
	facts := grant.facts().with(Facts{"token": {Text: token.Reveal(), Secret: true}})
	params := []Param{{Name: "token", Value: token.Reveal()}}
	if hint != "" {
		params = append(params, Param{Name: "token_type_hint", Value: hint})
	}
	endpoint, err := c.endpoint(OpRevoke, "oauth.revocation_url", c.RevocationURL, facts)
	if err != nil {
		return err
	}
	body := c.RevokeBody
	if body == "" && c.RevokeShape.Method == "" && c.TokenBody == JSON {
		body = JSON
	}
	r, err := c.make(ctx, call{op: OpRevoke, url: endpoint.Text, secrets: endpoint.Parts, shape: c.RevokeShape, body: body, params: params, extra: c.RevokeParams, facts: facts})
	if err != nil {
		return err
	}
	doc, _ := parseReply(r.body) // RFC 7009 says nothing of a body; only an error in it counts
	return c.RevokeShape.judge(r, doc)
}

// Introspection is what a server says of a token (RFC 7662 §2.2).
type Introspection struct {
	Active    bool
	ExpiresAt time.Time // zero: not told
	Subject   string
	Scopes    []string // nil: not told
}

// Introspect asks whether an access token is good, and how long.
func (c Client) Introspect(ctx context.Context, token secret.Text) (Introspection, error) {
	facts := Facts{"accessToken": {Text: token.Reveal(), Secret: true}}
	endpoint, err := c.endpoint(OpIntrospect, "oauth.introspection_url", c.IntrospectionURL, facts)
	if err != nil {
		return Introspection{}, err
	}
	now := c.Now()
	r, err := c.make(ctx, call{op: OpIntrospect, url: endpoint.Text, secrets: endpoint.Parts, facts: facts,
		params: []Param{{Name: "token", Value: token.Reveal()}, {Name: "token_type_hint", Value: "access_token"}}})
	if err != nil {
		return Introspection{}, err
	}
	doc, err := parseObject(r.body)
	if refused := (Shape{}).judge(r, doc); refused != nil {
		return Introspection{}, refused
	}
	active, ok := doc["active"].(bool)
	if err != nil || !ok {
		return Introspection{}, r.fail(Invalid, "the reply does not say whether the token is active")
	}
	i := Introspection{Active: active, Subject: doc.claim("/sub")}
	i.ExpiresAt, _ = moment(text(doc["exp"]), "at", "", now)
	if s := strings.Fields(text(doc["scope"])); len(s) > 0 {
		i.Scopes = s
	}
	return i, nil
}
