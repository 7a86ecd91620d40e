// Package discover drafts a profile from what a server publishes of itself, and
// says in sentences what to do where it cannot.
package discover

import (
	"context"
	"errors"
	"net/http"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
)

// Draft looks at an issuer, its metadata, a protected resource or any page of
// the application. It returns what was tried with an error too.
func Draft(ctx context.Context, client *http.Client, url string) (behalf.Draft, []oauth.Try, error) {
	m, err := oauth.Discover(ctx, client, url)
	if err != nil {
		return behalf.Draft{}, m.Tried, explain(err, m.Tried)
	}
	return behalf.Drafted(m), m.Tried, nil
}

// Outcome says what came of one address that was asked.
func Outcome(t oauth.Try) string {
	if call := (*egress.CallError)(nil); errors.As(t.Err, &call) {
		return "no answer: " + call.Error()
	}
	return t.Outcome
}

// explain says what to do about a URL at which nothing was found, and what came
// of every address that was asked.
func explain(err error, tried []oauth.Try) error {
	e := (*oauth.Error)(nil)
	if !errors.As(err, &e) {
		return err
	}
	p := &behalf.Error{Code: behalf.CodeProvider, Field: "url", Err: err}
	route := (*egress.RouteError)(nil)
	switch blocked := (*egress.BlockedError)(nil); {
	case errors.As(err, &blocked):
		p.Code, p.Message = behalf.CodeInvalid, "This server does not call that address ("+blocked.Reason+"). The operator can allow it with --allow-private; or use a connector."
	case errors.As(err, &route):
		p.Code, p.Message = behalf.ConnectorCode(route.Code), "The server was not reached: "+route.Reason+"."
	case e.Kind == oauth.ClientFault:
		p.Code, p.Message = behalf.CodeInvalid, "Expected an https URL without user name and placeholders (http only for this machine itself)."
	case e.Kind == oauth.Protocol:
		p.Message = "What is published there must not be believed: " + e.Reason + ". Enter the URL that the application's documentation names as its issuer, or fill in the profile by hand."
	case e.Kind == oauth.Invalid:
		p.Code, p.Message = behalf.CodeInvalid, "No usable metadata is published there: "+e.Reason+". Enter the application's issuer, or fill in the profile by hand from its documentation."
	default:
		p.Message = "The server could not be asked: " + e.Reason + ". Look at the URL, or try again later."
	}
	p.Fields = []behalf.FieldError{{Field: "url", Message: p.Message}}
	for _, t := range tried {
		p.Fields = append(p.Fields, behalf.FieldError{Field: "url", Message: t.Form + ": " + Outcome(t) + "."})
	}
	return p
}
