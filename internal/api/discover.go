package api

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/discover"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/store"
)

// DiscoverBody names the server to look at.
type DiscoverBody struct {
	URL       string `json:"url" doc:"An issuer, its metadata's URL, a protected resource's URL, or any page of the application. Without a scheme it means https." maxLength:"2048"`
	Connector string `json:"connector,omitempty" doc:"Name of the connector behind which the server is." maxLength:"80"`
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
	if in.Body.Connector != "" {
		if _, err := db.Connector(ctx, in.Body.Connector); err != nil {
			return nil, behalf.Invalid("connector", "There is no connector of this name within your reach.")
		}
	}
	d, tried, err := discover.Draft(ctx, a.cfg.Egress.Via(in.Body.Connector).Client(egress.ClientOptions{}), in.Body.URL)
	if err != nil {
		return nil, err
	}
	return output(Discovered{Definition: d.Definition, ScopesSupported: list(d.ScopesSupported), Notes: list(d.Notes), Tried: viewTried(tried)}), nil
}

func (a *API) lint(_ context.Context, db store.Scope, in *struct{ Body LintBody }) (*Output[Linted], error) {
	if err := mayDraft(db); err != nil {
		return nil, err
	}
	known := a.known(in.Body.Definition)
	known.ScopesSupported = in.Body.ScopesSupported
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
		tried = append(tried, Tried{Form: t.Form, URL: t.URL, Outcome: discover.Outcome(t)})
	}
	return tried
}

// list is never null on the wire.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
