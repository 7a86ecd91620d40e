package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Event is something that happened, on the wire.
type Event struct {
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	Profile    string    `json:"profile,omitempty"`
	Connection string    `json:"connection,omitempty"`
	Webhook    string    `json:"webhook,omitempty" doc:"The endpoint that the event is about."`
	User       string    `json:"user,omitempty"`
	Detail     string    `json:"detail,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
}

// AuditLine is a line of the audit log, on the wire.
type AuditLine struct {
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`
	Assistant string    `json:"assistant,omitempty"`
	Action    string    `json:"action"`
	Object    string    `json:"object,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Count     int64     `json:"count"`
}

func (a *API) listEvents(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Page
}) (*ListOutput[Event], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	items, err := db.Events(ctx, x.ID, in.page())
	return listOf(items, in.Limit, func(e behalf.Event) string { return string(e.ID) }, func(e behalf.Event) Event {
		return Event{string(e.ID), string(e.Type), string(e.Profile), string(e.Connection), string(e.Webhook), e.User, e.Detail, e.CreatedAt}
	}), err
}

func (a *API) listAudit(ctx context.Context, db store.Scope, in *struct {
	Assistant string    `query:"assistant" maxLength:"80" doc:"Only lines of this assistant (id or slug)."`
	Since     time.Time `query:"since"`
	Limit     int64     `query:"limit" minimum:"1" maximum:"200" default:"50"`
}) (*ListOutput[AuditLine], error) {
	var of behalf.AssistantID
	if in.Assistant != "" {
		x, err := db.Assistant(ctx, in.Assistant)
		if err != nil {
			return nil, err
		}
		of = x.ID
	}
	items, err := db.Audit(ctx, of, in.Since, store.Page{Limit: in.Limit})
	return listOf(items, 0, nil, func(e behalf.AuditEntry) AuditLine {
		return AuditLine{e.At, e.Actor, string(e.Assistant), e.Action, e.Object, e.Detail, e.Count}
	}), err
}
