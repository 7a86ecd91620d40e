package api

import (
	"context"
	"errors"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/store"
)

// DiscoverBody names the server to look at.
type DiscoverBody struct {
	URL string `json:"url" doc:"An issuer, its metadata's URL, a protected resource's URL, or any page of the application. Without a scheme it means https." maxLength:"2048"`
}

// Discovered is a draft of a profile, made of what a server publishes of itself.
type Discovered struct {
	Definition      behalf.Definition `json:"definition" doc:"What to send as a profile, once it has a client id."`
	ScopesSupported []string          `json:"scopes_supported" doc:"The scopes that the server offers."`
	Notes           []behalf.Note     `json:"notes" doc:"What to look at, by field."`
	Tried           []Tried           `json:"tried" doc:"Every address that was asked, in this order."`
}

// Tried is one address that was asked.
type Tried struct {
	Form    string `json:"form" doc:"The standard whose address it is."`
	URL     string `json:"url"`
	Outcome string `json:"outcome" doc:"found, or why not."`
}

// LintBody is a definition to look at, finished or not.
type LintBody struct {
	Definition      behalf.Definition `json:"definition"`
	ScopesSupported []string          `json:"scopes_supported,omitempty" doc:"What discovery said, if it was asked."`
}

// Linted is what is probably not meant.
type Linted struct {
	Warnings []behalf.Warning `json:"warnings"`
}

func (a *API) discover(ctx context.Context, db store.Scope, in *struct{ Body DiscoverBody }) (*Output[Discovered], error) {
	if err := mayDraft(db); err != nil {
		return nil, err
	}
	m, err := oauth.Discover(ctx, a.cfg.HTTP, in.Body.URL)
	tried := viewTried(m.Tried)
	if err != nil {
		return nil, notDiscovered(err, tried)
	}
	d := behalf.Drafted(m)
	return output(Discovered{Definition: d.Definition, ScopesSupported: list(d.ScopesSupported), Notes: list(d.Notes), Tried: tried}), nil
}

func (a *API) lint(_ context.Context, db store.Scope, in *struct{ Body LintBody }) (*Output[Linted], error) {
	if err := mayDraft(db); err != nil {
		return nil, err
	}
	known := behalf.Known{ScopesSupported: in.Body.ScopesSupported}
	return output(Linted{list(behalf.Lint(in.Body.Definition, known))}), nil
}

// mayDraft lets those draft a profile who could write one of any assistant.
func mayDraft(db store.Scope) error {
	if !db.Actor().May(behalf.WriteProfiles, "") {
		return behalf.Errorf(behalf.CodeForbidden, "This key may not do that (%s).", behalf.WriteProfiles)
	}
	return nil
}

func viewTried(all []oauth.Try) []Tried {
	tried := make([]Tried, 0, len(all))
	for _, t := range all {
		v := Tried{Form: t.Form, URL: t.URL, Outcome: t.Outcome}
		if call := (*egress.CallError)(nil); errors.As(t.Err, &call) {
			v.Outcome = "no answer: " + call.Error()
		}
		tried = append(tried, v)
	}
	return tried
}

// notDiscovered says what to do about a URL at which nothing was found, and
// what came of every address that was asked.
func notDiscovered(err error, tried []Tried) error {
	e := (*oauth.Error)(nil)
	if !errors.As(err, &e) {
		return err
	}
	p := &behalf.Error{Code: behalf.CodeProvider, Field: "url", Err: err}
	switch blocked := (*egress.BlockedError)(nil); {
	case errors.As(err, &blocked):
		p.Code, p.Message = behalf.CodeInvalid, "This server does not call that address ("+blocked.Reason+"). The operator can allow it."
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
		p.Fields = append(p.Fields, behalf.FieldError{Field: "url", Message: t.Form + ": " + t.Outcome + "."})
	}
	return p
}

// list is never null on the wire.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
