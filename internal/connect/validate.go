package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// validate checks a fresh token: granted against required scopes, the ID token,
// userinfo, and the profile's own check URL. It returns whose account it is.
func (c *Connect) validate(ctx context.Context, f *flight, client oauth.Client, p behalf.Profile, v behalf.Values, token oauth.Token, a oauth.Attempt) (behalf.Account, error) {
	f.facts.Missing = missing(p, token)
	if err := f.do(ctx, behalf.StepValidation, "Scopes", func(context.Context) error { return granted(f.facts.Missing) }); err != nil {
		return behalf.Account{}, err
	}
	var claims oauth.Claims
	if p.Plan.Type.Redirects() && client.OpenID() && client.Issuer != "" && client.ResponseType != oauth.ResponseToken {
		err := f.do(ctx, behalf.StepValidation, "ID token", func(ctx context.Context) (err error) {
			claims, err = client.VerifyIDToken(ctx, token, a.Nonce)
			if err == nil {
				f.who = accountOf(claims)
			}
			return err
		})
		if err != nil {
			return behalf.Account{}, err
		}
	}
	if client.UserinfoURL != "" {
		err := f.do(ctx, behalf.StepValidation, "Userinfo", func(ctx context.Context) error {
			info, err := client.Userinfo(ctx, token.AccessToken, claims.Subject)
			claims = filled(claims, info)
			if err == nil {
				f.who = accountOf(claims)
			}
			return err
		})
		if err != nil {
			return behalf.Account{}, err
		}
	}
	if p.CheckURL != "" {
		err := f.do(ctx, behalf.StepCheck, "Check", func(ctx context.Context) error { return c.check(ctx, f, client, p, v, token, &claims) })
		if err != nil {
			return behalf.Account{}, err
		}
	}
	f.who = accountOf(claims)
	return f.who, nil
}

func accountOf(c oauth.Claims) behalf.Account {
	return behalf.Account{Subject: c.Subject, Label: label(c)}
}

// missing returns the scopes that are required and were not granted.
func missing(p behalf.Profile, token oauth.Token) []string {
	_, required := p.Plan.Scopes()
	if !token.ScopesGiven {
		return nil // RFC 6749 §5.1: left out means as requested
	}
	return slices.DeleteFunc(required, func(s string) bool { return slices.Contains(token.Scopes, s) })
}

func granted(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	return &behalf.Error{Code: behalf.CodeProvider, Field: "scope", Message: "The provider granted fewer scopes than the profile requires."}
}

// check asks the authorization check URL with the credential as every later
// call will carry it.
func (c *Connect) check(ctx context.Context, f *flight, client oauth.Client, p behalf.Profile, v behalf.Values, token oauth.Token, claims *oauth.Claims) error {
	credential := p.Plan.Credential(token, c.db.Now())
	v.Credential = &credential
	target, secrets, err := p.Plan.CheckURLFor(v, c.db.Now)
	if err != nil || target == "" {
		return err
	}
	f.keep(secrets...)
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
	f.keep(call.Secrets...)
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
	if route := (*egress.RouteError)(nil); errors.As(err, &route) {
		return behalf.SessionFailed, behalf.Outcome{Code: string(behalf.ConnectorCode(route.Code)), Detail: fmt.Sprintf("The %s did not go through: %s.", e.Op, route.Reason),
			Fix: "An administrator must look at the connector of this authorization profile, or at the network behind it. Then try again with a new link."}
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
		o.Fix = "The application did not answer as it should. Try again with a new link; if it stays so, an administrator must look at " + addressOf(e.Op) + "."
	case oauth.Protocol:
		o.Fix = "The answer broke a rule that protects the person, so it was not used. If it happens again, an administrator must look at the profile."
	default:
		o.Fix = "Try again with a new link; if it stays so, an administrator must look at the authorization profile."
	}
	return behalf.SessionFailed, o
}

// addresses are the fields of a profile that requests go to.
var addresses = map[oauth.Op]string{
	oauth.OpExchange: "the token URL", oauth.OpGrant: "the token URL", oauth.OpRefresh: "the refresh URL", oauth.OpUserinfo: "the userinfo URL", oauth.OpCheck: "the check URL",
	oauth.OpIDToken: "the URL of the signing keys (jwks_url)", oauth.OpRevoke: "the revocation URL",
}

// addressOf says which address of the profile a failed request went to.
func addressOf(op oauth.Op) string {
	if field, ok := addresses[op]; ok {
		return field
	}
	return "the addresses of the authorization profile"
}
