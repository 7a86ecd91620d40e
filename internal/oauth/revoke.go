package oauth

import (
	"context"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Revoke takes a token back at the provider (RFC 7009). The hint is
// "refresh_token", "access_token" or empty. A token that the provider does not
// know is a success there (§2.2), and so here.
func (c Client) Revoke(ctx context.Context, token secret.Text, hint string) error {
	params := []Param{{"token", token.Reveal()}}
	if hint != "" {
		params = append(params, Param{"token_type_hint", hint})
	}
	r, err := c.post(ctx, OpRevoke, c.RevocationURL, params, token)
	if err != nil {
		return err
	}
	doc, err := parseReply(r.body) // RFC 7009 says nothing of a body; only an error in it counts
	if !r.success() || (err == nil && ReplyPaths{}.failed(doc)) {
		return c.standard().refused(r, doc)
	}
	return nil
}
