package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file verifies ID tokens (OpenID Connect Core §3.1.3.7). The rules are:
//
//   - The signature is checked first, by a key of JWKSURL and an algorithm of
//     the Config; what the token's header says of either is never believed.
//   - Every claim that says for whom, by whom, when and for which request the
//     token was made must be there and fit.
//   - Nothing but the reason is in the error: an ID token is personal data.

// VerifyIDToken verifies the ID token of an exchange and returns its claims.
// The nonce is the Attempt's.
func (c Client) VerifyIDToken(ctx context.Context, t Token, nonce secret.Text) (Claims, error) {
	id, claims, err := c.verify(ctx, t)
	switch {
	case err != nil:
		return Claims{}, err
	case nonce.Empty() || !secret.New(id.Nonce).Equal(nonce):
		return Claims{}, idTokenError("nonce is not this request's")
	}
	return claims, nil
}

// VerifyRefreshedIDToken verifies the ID token of a refresh, which must be for
// the same subject as the first one was; it has no nonce to rely on (§12.2).
func (c Client) VerifyRefreshedIDToken(ctx context.Context, t Token, subject string) (Claims, error) {
	_, claims, err := c.verify(ctx, t)
	switch {
	case err != nil:
		return Claims{}, err
	case subject == "" || claims.Subject != subject:
		return Claims{}, idTokenError("sub is not the connection's")
	}
	return claims, nil
}

func (c Client) verify(ctx context.Context, t Token) (*oidc.IDToken, Claims, error) {
	algs, err := c.idTokenAlgs()
	if err != nil {
		return nil, Claims{}, err
	}
	keys := &keySet{Client: c, algs: algs}
	// Issuer and audience are compared below: the library forgives one issuer its
	// missing scheme, and its errors quote what they compare.
	verifier := oidc.NewVerifier(c.Issuer, keys, &oidc.Config{
		SupportedSigningAlgs: algs,
		SkipIssuerCheck:      true,
		SkipClientIDCheck:    true,
		Now:                  func() time.Time { return c.Now().Add(-c.skew()) },
	})
	id, err := verifier.Verify(ctx, t.IDToken.Reveal())
	var expired *oidc.TokenExpiredError
	switch {
	case keys.err != nil:
		return nil, Claims{}, keys.err
	case errors.As(err, &expired):
		return nil, Claims{}, idTokenError("exp has passed or is missing")
	case err != nil:
		return nil, Claims{}, idTokenError("it is malformed, from the future, or signed with an algorithm that is not allowed")
	}
	var party struct {
		AuthorizedParty string `json:"azp"`
	}
	if err := id.Claims(&party); err != nil {
		return nil, Claims{}, idTokenError("azp is not a string")
	}
	if reason := c.misfit(id, party.AuthorizedParty, t.AccessToken); reason != "" {
		return nil, Claims{}, idTokenError(reason)
	}
	return id, IdentityPaths{}.claims(keys.claims, keys.payload), nil
}

// misfit says which claim does not fit, "" where all do.
func (c Config) misfit(id *oidc.IDToken, azp string, accessToken secret.Text) string {
	switch {
	case c.Issuer == "" || id.Issuer != c.Issuer:
		return "iss is not the expected issuer"
	case c.ClientID == "" || !slices.Contains(id.Audience, c.ClientID):
		return "aud does not name this client"
	case len(id.Audience) > 1 && azp == "":
		return "aud names others too, and azp is missing"
	case azp != "" && azp != c.ClientID:
		return "azp is not this client"
	case id.IssuedAt.IsZero():
		return "iat is missing"
	case id.IssuedAt.After(c.Now().Add(c.skew())):
		return "iat is in the future"
	case id.Subject == "" || len(id.Subject) > 255 || !visible(id.Subject): // §2: at most 255 ASCII characters
		return "sub is missing or malformed"
	case id.AccessTokenHash != "" && id.VerifyAccessToken(accessToken.Reveal()) != nil:
		return "at_hash is not of this access token"
	}
	return ""
}

func (c Config) skew() time.Duration { return or(c.ClockSkew, time.Minute) }

func (c Config) idTokenAlgs() ([]string, error) {
	for _, alg := range c.IDTokenAlgs {
		if alg == "none" || strings.HasPrefix(alg, "HS") {
			return nil, unsent(OpIDToken, "an unsigned or symmetric algorithm is allowed")
		}
	}
	if len(c.IDTokenAlgs) == 0 {
		return standardAlgs(), nil
	}
	return c.IDTokenAlgs, nil
}

func standardAlgs() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

// VerifiesAlg reports whether an ID token signed by the algorithm is taken
// where Config.IDTokenAlgs does not say otherwise.
func VerifiesAlg(alg string) bool { return slices.Contains(standardAlgs(), alg) }

func idTokenError(reason string) *Error {
	return &Error{Op: OpIDToken, Kind: Protocol, Reason: reason}
}
