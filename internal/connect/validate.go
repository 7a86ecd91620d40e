package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// validate checks a fresh token: granted against required scopes, the ID token,
// userinfo, and the profile's own check URL. It returns whose account it is.
func (c *Connect) validate(ctx context.Context, client oauth.Client, p behalf.Profile, v behalf.Values, token oauth.Token, a oauth.Attempt) (behalf.Account, error) {
	if err := granted(p, token); err != nil {
		return behalf.Account{}, err
	}
	var claims oauth.Claims
	if client.OpenID() && client.Issuer != "" && client.ResponseType != oauth.ResponseToken {
		id, err := client.VerifyIDToken(ctx, token, a.Nonce)
		if err != nil {
			return behalf.Account{}, err
		}
		claims = id
	}
	if client.UserinfoURL != "" {
		info, err := client.Userinfo(ctx, token.AccessToken, claims.Subject)
		if err != nil {
			return behalf.Account{}, err
		}
		claims = filled(claims, info)
	}
	if err := c.check(ctx, client, p, v, token, &claims); err != nil {
		return behalf.Account{}, err
	}
	return behalf.Account{Subject: claims.Subject, Label: label(claims)}, nil
}

func granted(p behalf.Profile, token oauth.Token) error {
	_, required := p.Plan.Scopes()
	if !token.ScopesGiven {
		return nil // RFC 6749 §5.1: left out means as requested
	}
	for _, s := range required {
		if !slices.Contains(token.Scopes, s) {
			return &behalf.Error{Code: behalf.CodeProvider, Field: "scope", Message: "The provider granted fewer scopes than the profile requires."}
		}
	}
	return nil
}

// check asks the authorization check URL with the credential as every later
// call will carry it.
func (c *Connect) check(ctx context.Context, client oauth.Client, p behalf.Profile, v behalf.Values, token oauth.Token, claims *oauth.Claims) error {
	credential := broker.Credential(token, c.db.Now())
	v.Credential = &credential
	target, err := p.Plan.CheckURLFor(v, c.db.Now)
	if err != nil || target == "" {
		return err
	}
	call, err := p.Plan.AuthorizeURL(v, target, c.db.Now)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, call.URL.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	for _, f := range call.Header {
		req.Header.Set(f.Key, f.Value)
	}
	got, err := client.Check(req, call.Secrets...)
	if err != nil {
		return err
	}
	if claims.Subject == "" {
		*claims = filled(*claims, got)
	}
	return nil
}

// filled returns a with what it lacks taken from b.
func filled(a, b oauth.Claims) oauth.Claims {
	if a.Subject == "" {
		a.Subject = b.Subject
	}
	if a.Email == "" {
		a.Email = b.Email
	}
	if a.Name == "" {
		a.Name = b.Name
	}
	return a
}

func label(c oauth.Claims) string {
	for _, s := range []string{c.Email, c.Name, c.Subject} {
		if s = strings.TrimSpace(s); s != "" {
			return s
		}
	}
	return ""
}

// judge says what a failed authorization means for the person and for the
// assistant: what happened, in the provider's words where it gave some, and who
// can do something about it.
func judge(err error) (behalf.SessionStatus, behalf.Outcome) {
	if e := (*behalf.Error)(nil); errors.As(err, &e) {
		return behalf.SessionFailed, behalf.Outcome{Code: string(e.Code), Detail: e.Message, Fix: "An administrator must compare the authorization profile with what the application grants."}
	}
	e := (*oauth.Error)(nil)
	if !errors.As(err, &e) {
		return behalf.SessionFailed, behalf.Outcome{Code: "failed", Detail: "The authorization could not be completed.", Fix: "Try again with a new link."}
	}
	if blocked := (*egress.BlockedError)(nil); errors.As(err, &blocked) {
		return behalf.SessionFailed, behalf.Outcome{Code: "address", Detail: fmt.Sprintf("The %s was not made: its address is %s.", e.Op, blocked),
			Fix: "An administrator must mend the authorization profile, or the operator allow this address."}
	}
	o := behalf.Outcome{Code: string(e.Kind), Detail: e.Sentence()}
	switch e.Kind {
	case oauth.Declined:
		o.Code, o.Fix = "declined", "Nothing is wrong. Offer a new link when the person wants to connect."
		return behalf.SessionDeclined, o
	case oauth.ClientFault:
		o.Fix = "An administrator must mend the authorization profile: the application does not take this client, its secret, or how it asks."
	case oauth.Limited, oauth.Transient:
		o.Fix = "The application could not be reached or asks to come later. Try again in a while with a new link."
	case oauth.Ambiguous:
		o.Fix = "The application did not answer as it should. Try again with a new link; if it stays so, an administrator must look at the token URL."
	case oauth.Protocol:
		o.Fix = "The answer broke a rule that protects the person, so it was not used. If it happens again, an administrator must look at the profile."
	default:
		o.Fix = "Try again with a new link; if it stays so, an administrator must look at the authorization profile."
	}
	return behalf.SessionFailed, o
}
