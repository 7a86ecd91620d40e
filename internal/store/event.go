package store

import (
	"context"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// Events returns an assistant's events, oldest first.
func (s Scope) Events(ctx context.Context, assistant behalf.AssistantID, page Page) ([]behalf.Event, error) {
	if err := s.allow(behalf.ReadEvents, assistant, "event"); err != nil {
		return nil, err
	}
	if !text(string(assistant), page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Events(ctx, query.EventsParams{Assistant: string(assistant), After: page.After, Max: page.limit()})
	out := make([]behalf.Event, 0, len(rows))
	for _, r := range rows {
		out = append(out, eventFrom(r))
	}
	return out, unavailableIf(err)
}

func eventFrom(r query.Event) behalf.Event {
	return behalf.Event{ID: behalf.EventID(r.ID), Assistant: behalf.AssistantID(r.Assistant), Type: behalf.EventType(r.Type), Profile: behalf.ProfileID(r.Profile),
		Connection: behalf.ConnectionID(r.Connection), Webhook: behalf.WebhookID(r.Webhook), User: r.EndUser, Detail: r.Detail, CreatedAt: at(r.CreatedAt)}
}

func insertEvents(ctx context.Context, q *query.Queries, events []behalf.Event) error {
	for _, e := range events {
		if err := q.InsertEvent(ctx, query.InsertEventParams{ID: string(e.ID), Assistant: string(e.Assistant), Type: string(e.Type), Profile: string(e.Profile),
			Connection: string(e.Connection), Webhook: string(e.Webhook), EndUser: e.User, Detail: e.Detail, CreatedAt: micros(e.CreatedAt)}); err != nil {
			return err
		}
	}
	return nil
}
