package api

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/connect"
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
	Branding   Branding          `json:"branding" doc:"How it looks to the people who connect."`
	Version    int64             `json:"version"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// Branding is how an assistant looks, on the wire.
type Branding struct {
	Accent     string `json:"accent" doc:"Colour of buttons and links, as #rrggbb; empty: ours."`
	AccentDark string `json:"accent_dark" doc:"The same where a person prefers dark pages; empty: made of accent."`
	LogoURL    string `json:"logo_url" doc:"Where the logo is served, below this server's address; empty: there is none."`
}

// BrandingBody is what may be set of it; what is left out stays.
type BrandingBody struct {
	Accent     *string `json:"accent,omitempty" doc:"A colour as #rrggbb; empty: ours. Text of it must have a contrast of 4.5:1 on light pages (WCAG 2.2)." maxLength:"7"`
	AccentDark *string `json:"accent_dark,omitempty" doc:"The same for dark pages; empty: made of accent." maxLength:"7"`
	Logo       *string `json:"logo,omitempty" doc:"A PNG or JPEG picture in base64, about square, of 32 to 2048 pixels and at most 256 kB; empty: none. What is kept is made small."`
}

// AssistantBody is what may be set; what is left out stays or takes its default.
type AssistantBody struct {
	Name       *string            `json:"name,omitempty" doc:"Required when creating, at most 255 characters."`
	Slug       *string            `json:"slug,omitempty" doc:"Its name in addresses; derived from the name."`
	ReturnURLs []string           `json:"return_urls,omitempty"`
	Finish     *bool              `json:"finish,omitempty" doc:"On for new assistants; off is weaker."`
	TokenReads *bool              `json:"token_reads,omitempty" doc:"Off for new assistants."`
	Calls      *behalf.CallPolicy `json:"calls,omitempty"`
	Branding   *BrandingBody      `json:"branding,omitempty"`
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
	if b.Branding != nil && b.Branding.Accent != nil {
		a.Branding.Accent = *b.Branding.Accent
	}
	if b.Branding != nil && b.Branding.AccentDark != nil {
		a.Branding.AccentDark = *b.Branding.AccentDark
	}
	return a
}

// save saves the assistant, with its logo where one is sent.
func (b AssistantBody) save(ctx context.Context, db store.Scope, a behalf.Assistant) (behalf.Assistant, error) {
	file, sent, err := b.logo()
	if err != nil {
		return a, behalf.Together(a.Validate(), err)
	}
	if sent {
		return db.SaveLogo(ctx, a, file)
	}
	return db.SaveAssistant(ctx, a)
}

// logo returns the picture that is sent, if any is.
func (b AssistantBody) logo() (file []byte, sent bool, err error) {
	if b.Branding == nil || b.Branding.Logo == nil {
		return nil, false, nil
	}
	if file, err = base64.StdEncoding.DecodeString(*b.Branding.Logo); err != nil {
		return nil, true, behalf.Invalid("branding.logo", "Expected base64 (RFC 4648 §4).")
	}
	return file, true, nil
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
	made := in.Body.onto(behalf.NewAssistant(name, db.Now()))
	file, sent, err := in.Body.logo()
	if err == nil && len(file) > 0 {
		_, _, err = behalf.Logo(made.ID, file)
	}
	if err != nil {
		return nil, behalf.Together(made.Validate(), err) // before anything is made
	}
	if made, err = db.CreateAssistant(ctx, made); err == nil && sent {
		made, err = db.SaveLogo(ctx, made, file)
	}
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
	x, err = in.Body.save(ctx, db, in.Body.onto(x))
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
		Branding: Branding{x.Branding.Accent, x.Branding.AccentDark, connect.LogoURL(x.Branding)}, Version: x.Version, CreatedAt: x.CreatedAt, UpdatedAt: x.UpdatedAt}
}

func orNone(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
