package store

import (
	"context"
	"encoding/json"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// Assistant returns an assistant by id or slug.
func (s Scope) Assistant(ctx context.Context, idOrSlug string) (behalf.Assistant, error) {
	if !text(idOrSlug) {
		return behalf.Assistant{}, behalf.NotFound("assistant")
	}
	row, err := s.db.read.Assistant(ctx, idOrSlug)
	if err := found(err, "assistant"); err != nil {
		return behalf.Assistant{}, s.noAssistant(err)
	}
	if err := s.allow(behalf.ReadAssistants, behalf.AssistantID(row.ID), "assistant"); err != nil {
		return behalf.Assistant{}, err
	}
	return assistantFrom(row)
}

// noAssistant is the same for everybody who may not know all assistants.
func (s Scope) noAssistant(err error) error {
	if s.actor.Kind == behalf.ActorAdministrator || s.actor.Kind == behalf.ActorSystem {
		return err
	}
	return behalf.NotFound("assistant")
}

// Assistants returns those that the actor may see, oldest first.
func (s Scope) Assistants(ctx context.Context, page Page) ([]behalf.Assistant, error) {
	if err := s.allow(behalf.ReadAssistants, s.actor.Assistant, "assistant"); err != nil {
		return nil, err
	}
	if !text(page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Assistants(ctx, query.AssistantsParams{After: page.After, Visible: string(s.actor.Assistant), Max: page.limit()})
	if err != nil {
		return nil, unavailable(err)
	}
	return all(rows, assistantFrom)
}

// CreateAssistant keeps a new assistant.
func (s Scope) CreateAssistant(ctx context.Context, a behalf.Assistant) (behalf.Assistant, error) {
	if err := s.allow(behalf.WriteAssistants, "", "assistant"); err != nil {
		return a, err
	}
	if err := a.Validate(); err != nil {
		return a, err
	}
	settings, err := json.Marshal(a.AssistantSettings)
	if err != nil {
		return a, err
	}
	err = s.change(ctx, func(c *change) error {
		a.CreatedAt, a.UpdatedAt, a.Version = c.now, c.now, 1
		err := c.InsertAssistant(ctx, query.InsertAssistantParams{ID: string(a.ID), Slug: a.Slug, Name: a.Name, Settings: string(settings), Version: 1, CreatedAt: micros(c.now), UpdatedAt: micros(c.now)})
		if s.db.engine.unique(err) {
			return &behalf.Error{Code: behalf.CodeConflict, Field: "slug", Message: "Another assistant has this name in its address; choose another slug."}
		}
		c.audit(a.ID, "assistant.create", string(a.ID), a.Name)
		c.noteAssistant(a.ID)
		return err
	})
	return a, err
}

// SaveAssistant saves a changed assistant by its version.
func (s Scope) SaveAssistant(ctx context.Context, a behalf.Assistant) (behalf.Assistant, error) {
	if err := s.allow(behalf.WriteAssistants, a.ID, "assistant"); err != nil {
		return a, err
	}
	return s.saveAssistant(ctx, a, func(*change) error { return nil })
}

// saveAssistant saves it, and in the same transaction what goes with it.
func (s Scope) saveAssistant(ctx context.Context, a behalf.Assistant, with func(*change) error) (behalf.Assistant, error) {
	if err := a.Validate(); err != nil {
		return a, err
	}
	settings, err := json.Marshal(a.AssistantSettings)
	if err != nil {
		return a, err
	}
	err = s.change(ctx, func(c *change) error {
		err := one(c.UpdateAssistant(ctx, query.UpdateAssistantParams{ID: string(a.ID), Slug: a.Slug, Name: a.Name, Settings: string(settings), UpdatedAt: micros(c.now), Version: a.Version}))
		switch {
		case s.db.engine.unique(err):
			return &behalf.Error{Code: behalf.CodeConflict, Field: "slug", Message: "Another assistant has this name in its address; choose another slug."}
		case err == ErrStale:
			return conflictStale("assistant")
		}
		a.UpdatedAt = c.now
		c.audit(a.ID, "assistant.save", string(a.ID), "")
		c.noteAssistant(a.ID)
		if err != nil {
			return err
		}
		return with(c)
	})
	a.Version++
	return a, err
}

func assistantFrom(row query.Assistant) (behalf.Assistant, error) {
	a := behalf.Assistant{ID: behalf.AssistantID(row.ID), Slug: row.Slug, Name: row.Name, Version: row.Version, CreatedAt: at(row.CreatedAt), UpdatedAt: at(row.UpdatedAt)}
	if err := json.Unmarshal([]byte(row.Settings), &a.AssistantSettings); err != nil {
		return a, unavailable(err)
	}
	return a, nil
}

// all converts rows, or returns the first error.
func all[R, T any](rows []R, from func(R) (T, error)) ([]T, error) {
	out := make([]T, 0, len(rows))
	for _, r := range rows {
		t, err := from(r)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
