package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// SaveLogo keeps a picture as an assistant's logo, beside whatever else was
// changed of it; an empty one takes the logo away.
func (s Scope) SaveLogo(ctx context.Context, a behalf.Assistant, file []byte) (behalf.Assistant, error) {
	if err := s.allow(behalf.WriteAssistants, a.ID, "assistant"); err != nil {
		return a, err
	}
	var kept []byte
	a.Branding.Logo = ""
	if len(file) > 0 {
		var err error
		if a.Branding.Logo, kept, err = behalf.Logo(a.ID, file); err != nil {
			return a, behalf.Together(a.Validate(), err)
		}
	}
	return s.saveAssistant(ctx, a, func(c *change) error {
		if len(kept) == 0 {
			return c.DropLogo(ctx, string(a.ID))
		}
		return c.SaveLogo(ctx, query.SaveLogoParams{Assistant: string(a.ID), Name: a.Branding.Logo, Image: kept})
	})
}

// Logo returns a logo by its name, a PNG. It is for anybody: whoever has seen a
// connect page knows the name, and nobody else can guess it.
func (db *DB) Logo(ctx context.Context, name string) ([]byte, error) {
	if !text(name) {
		return nil, behalf.NotFound("logo")
	}
	image, err := db.read.Logo(ctx, name)
	return image, found(err, "logo")
}
