package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Assistant is an assistant on the wire.
type Assistant struct {
	ID         string            `json:"id"`
	Slug       string            `json:"slug"`
	Name       string            `json:"name"`
	ReturnURLs []string          `json:"return_urls" doc:"Where a connect session may send the browser afterwards."`
	Finish     bool              `json:"finish" doc:"A connection is usable only once the assistant's backend has finished its session."`
	TokenReads bool              `json:"token_reads" doc:"POST …/token is allowed."`
	Calls      behalf.CallPolicy `json:"calls"`
	Version    int64             `json:"version"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// AssistantBody is what may be set; what is left out stays or takes its default.
type AssistantBody struct {
	Name       *string            `json:"name,omitempty" doc:"Required when creating, at most 255 characters."`
	Slug       *string            `json:"slug,omitempty" doc:"Its name in addresses; derived from the name."`
	ReturnURLs []string           `json:"return_urls,omitempty"`
	Finish     *bool              `json:"finish,omitempty" doc:"On for new assistants; off is weaker."`
	TokenReads *bool              `json:"token_reads,omitempty" doc:"Off for new assistants."`
	Calls      *behalf.CallPolicy `json:"calls,omitempty"`
	Version    int64              `json:"version,omitempty" doc:"When given, the change is refused if the assistant has another version by now."`
}

// AssistantPath names the assistant. (huma passes over embedded fields that are
// not exported.)
type AssistantPath struct {
	Assistant string `path:"assistant" doc:"Id or slug." maxLength:"80"`
}

// AssistantInput changes an assistant.
type AssistantInput struct {
	AssistantPath
	Body AssistantBody
}

func (b AssistantBody) onto(a behalf.Assistant) behalf.Assistant {
	if b.Name != nil {
		a.Name = *b.Name
	}
	if b.Slug != nil {
		a.Slug = *b.Slug
	}
	if b.ReturnURLs != nil {
		a.ReturnURLs = b.ReturnURLs
	}
	if b.Finish != nil {
		a.Finish = *b.Finish
	}
	if b.TokenReads != nil {
		a.TokenReads = *b.TokenReads
	}
	if b.Calls != nil {
		a.Calls = *b.Calls
	}
	return a
}

func (a *API) listAssistants(ctx context.Context, db store.Scope, in *Page) (*ListOutput[Assistant], error) {
	items, err := db.Assistants(ctx, in.page())
	return listOf(items, in.Limit, func(x behalf.Assistant) string { return string(x.ID) }, viewAssistant), err
}

func (a *API) createAssistant(ctx context.Context, db store.Scope, in *struct{ Body AssistantBody }) (*Output[Assistant], error) {
	name := ""
	if in.Body.Name != nil {
		name = *in.Body.Name
	}
	made, err := db.CreateAssistant(ctx, in.Body.onto(behalf.NewAssistant(name, db.Now())))
	return output(viewAssistant(made)), err
}

func (a *API) getAssistant(ctx context.Context, db store.Scope, in *AssistantPath) (*Output[Assistant], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	return output(viewAssistant(x)), err
}

func (a *API) changeAssistant(ctx context.Context, db store.Scope, in *AssistantInput) (*Output[Assistant], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	if err := sameVersion(in.Body.Version, x.Version); err != nil {
		return nil, err
	}
	x, err = db.SaveAssistant(ctx, in.Body.onto(x))
	return output(viewAssistant(x)), err
}

func sameVersion(given, has int64) error {
	if given != 0 && given != has {
		return &behalf.Error{Code: behalf.CodeConflict, Field: "version", Message: "It has another version by now. Read it again and repeat the change."}
	}
	return nil
}

func viewAssistant(x behalf.Assistant) Assistant {
	return Assistant{ID: string(x.ID), Slug: x.Slug, Name: x.Name, ReturnURLs: orNone(x.ReturnURLs), Finish: x.Finish, TokenReads: x.TokenReads, Calls: x.Calls,
		Version: x.Version, CreatedAt: x.CreatedAt, UpdatedAt: x.UpdatedAt}
}

func orNone(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
