package api

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/store"
)

// CatalogItem is one known provider in a list.
type CatalogItem struct {
	Slug        string   `json:"slug"`
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases"`
	Categories  []string `json:"categories"`
	Verified    bool     `json:"verified" doc:"Documentation or a second implementation agrees with the endpoints. Check the others before use."`
	Docs        string   `json:"docs" doc:"The provider's own page on OAuth."`
	RegisterURL string   `json:"register_url,omitempty" doc:"Where one registers a client."`
	Variants    []string `json:"variants" doc:"Other places of the same product, such as sandbox."`
}

// CatalogList is known providers, the best first.
type CatalogList struct {
	Items []CatalogItem `json:"items"`
}

// CatalogEntry is one known provider, and a profile for it.
type CatalogEntry struct {
	CatalogItem
	Definition behalf.Definition  `json:"definition" doc:"What to send as a profile, once it has a client id; or send its slug as from."`
	Scopes     []catalog.Scope    `json:"scopes" doc:"Some that assistants need; the provider has more."`
	Notes      []string           `json:"notes" doc:"What there is to know or do at the provider."`
	Evidence   []catalog.Evidence `json:"evidence" doc:"Where each thing in which the provider differs can be checked."`
	Warnings   []behalf.Warning   `json:"warnings" doc:"What there is to know of the definition."`
}

func (a *API) listCatalog(_ context.Context, db store.Scope, in *struct {
	Query string `query:"q" doc:"Words of a name. Without it, all by name." maxLength:"100"`
}) (*Output[CatalogList], error) {
	if err := mayDraft(db); err != nil {
		return nil, err
	}
	c, err := a.cfg.Catalog()
	if err != nil {
		return nil, err
	}
	l := CatalogList{Items: []CatalogItem{}}
	for _, e := range c.Search(in.Query) {
		l.Items = append(l.Items, viewCatalogItem(e))
	}
	return output(l), nil
}

func (a *API) getCatalog(_ context.Context, db store.Scope, in *struct {
	Provider string `path:"provider" doc:"Slug." maxLength:"80"`
	Variant  string `query:"variant" doc:"One of its variants." maxLength:"80"`
}) (*Output[CatalogEntry], error) {
	if err := mayDraft(db); err != nil {
		return nil, err
	}
	c, err := a.cfg.Catalog()
	if err != nil {
		return nil, err
	}
	e, err := c.Get(in.Provider)
	if err != nil {
		return nil, err
	}
	d, err := e.Draft(in.Variant, "")
	if err != nil {
		return nil, err
	}
	return output(CatalogEntry{CatalogItem: viewCatalogItem(e), Definition: d, Scopes: list(e.Scopes), Notes: list(e.Notes), Evidence: list(e.Evidence),
		Warnings: list(behalf.Lint(d, e.Known()))}), nil
}

// drafted returns the body with the catalogue's draft below it, where it names
// a provider.
func (a *API) drafted(b ProfileBody) (ProfileBody, error) {
	switch {
	case b.From == "" && b.Variant != "":
		return b, behalf.Invalid("variant", "Only with from: it is a variant of a provider in the catalogue.")
	case b.From == "":
		return b, nil
	}
	c, err := a.cfg.Catalog()
	if err != nil {
		return b, err
	}
	e, err := c.Get(b.From)
	if err != nil {
		return b, behalf.Invalid("from", "The catalogue has no such provider; GET /v1/catalog?q= searches it.")
	}
	b.Definition, err = e.Over(b.Variant, b.Definition)
	return b, err
}

// known is what the catalogue knows of a definition's provider, for the linter.
func (a *API) known(d behalf.Definition) behalf.Known {
	c, err := a.cfg.Catalog()
	if err != nil {
		return behalf.Known{}
	}
	return c.Known(d)
}

func viewCatalogItem(e catalog.Entry) CatalogItem {
	v := CatalogItem{Slug: e.Slug, Name: e.Name, Aliases: list(e.Aliases), Categories: list(e.Categories), Verified: e.Verified, Docs: e.Docs, RegisterURL: e.RegisterURL, Variants: []string{}}
	for _, x := range e.Variants {
		v.Variants = append(v.Variants, x.Name)
	}
	return v
}
