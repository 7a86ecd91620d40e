package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// webhookPlace binds an endpoint's secrets to whose they are and where it is: an
// address that was changed behind our back gets nothing that is signed.
func webhookPlace(w behalf.Webhook) vault.Place {
	return vault.Place{Table: "webhooks", Row: strings.Join([]string{string(w.ID), string(w.Assistant), w.URL}, "\x00"), Column: "sealed"}
}

// sealedWebhook is the form in which an endpoint's secrets are sealed.
type sealedWebhook struct {
	Secrets []sealedWebhookSecret `json:"secrets"`
}

type sealedWebhookSecret struct {
	Value  string `json:"value"`
	EndsAt int64  `json:"ends_at,omitempty"`
}

func (db *DB) sealWebhook(w behalf.Webhook, all []behalf.WebhookSecret) ([]byte, error) {
	var kept sealedWebhook
	for _, s := range all {
		kept.Secrets = append(kept.Secrets, sealedWebhookSecret{s.Value.Reveal(), micros(s.EndsAt)})
	}
	return db.seal(kept, webhookPlace(w))
}

func (db *DB) openWebhook(row query.Webhook) ([]behalf.WebhookSecret, error) {
	var kept sealedWebhook
	err := db.unseal(row.Sealed, webhookPlace(webhookFrom(row)), &kept)
	var out []behalf.WebhookSecret
	for _, s := range kept.Secrets {
		out = append(out, behalf.WebhookSecret{Value: secret.New(s.Value), EndsAt: at(s.EndsAt)})
	}
	return out, err
}

// newWebhookSecret has 256 random bits, in the base64 of Standard Webhooks.
func newWebhookSecret() secret.Text {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return secret.New(behalf.WebhookSecretPrefix + base64.StdEncoding.EncodeToString(b[:]))
}

// Webhooks returns an assistant's endpoints, oldest first.
func (s Scope) Webhooks(ctx context.Context, assistant behalf.AssistantID, page Page) ([]behalf.Webhook, error) {
	if err := s.allow(behalf.ReadWebhooks, assistant, "webhook"); err != nil {
		return nil, err
	}
	if !text(string(assistant), page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Webhooks(ctx, query.WebhooksParams{Assistant: string(assistant), After: page.After, Max: page.limit()})
	out := make([]behalf.Webhook, 0, len(rows))
	for _, r := range rows {
		out = append(out, webhookFrom(r))
	}
	return out, unavailableIf(err)
}

// Webhook returns an endpoint.
func (s Scope) Webhook(ctx context.Context, assistant behalf.AssistantID, id behalf.WebhookID) (behalf.Webhook, error) {
	if err := s.allow(behalf.ReadWebhooks, assistant, "webhook"); err != nil {
		return behalf.Webhook{}, err
	}
	row, err := s.webhook(ctx, s.db.read, assistant, id)
	return webhookFrom(row), err
}

func (s Scope) webhook(ctx context.Context, q *query.Queries, assistant behalf.AssistantID, id behalf.WebhookID) (query.Webhook, error) {
	if !text(string(id)) {
		return query.Webhook{}, behalf.NotFound("webhook")
	}
	row, err := q.Webhook(ctx, string(id))
	if err == nil && row.Assistant != string(assistant) {
		return query.Webhook{}, behalf.NotFound("webhook")
	}
	return row, found(err, "webhook")
}

// CreateWebhook keeps a new endpoint and returns its secret, for the only time.
func (s Scope) CreateWebhook(ctx context.Context, w behalf.Webhook) (behalf.Webhook, secret.Text, error) {
	if err := s.allow(behalf.WriteWebhooks, w.Assistant, "webhook"); err != nil {
		return w, secret.Text{}, err
	}
	if err := w.Validate(); err != nil {
		return w, secret.Text{}, err
	}
	now, shown := s.db.Now(), newWebhookSecret()
	w.ID, w.Enabled, w.Version, w.CreatedAt, w.UpdatedAt = behalf.NewWebhookID(now), true, 1, now, now
	sealed, err := s.db.sealWebhook(w, behalf.Rotated(nil, shown, now, 0))
	if err != nil {
		return w, secret.Text{}, err
	}
	err = s.change(ctx, func(c *change) error {
		n, err := c.CountWebhooks(ctx, string(w.Assistant))
		switch {
		case err != nil:
			return err
		case n >= behalf.MaxWebhooks:
			return behalf.Errorf(behalf.CodeConflict, "There are %d webhooks already, which is as many as an assistant may have. Delete one first.", n)
		}
		c.audit(w.Assistant, "webhook.create", string(w.ID), "")
		return c.InsertWebhook(ctx, query.InsertWebhookParams{ID: string(w.ID), Assistant: string(w.Assistant), Url: w.URL, Events: strings.Join(w.Events, " "), Sealed: sealed, CreatedAt: micros(now)})
	})
	if err != nil {
		return w, secret.Text{}, err
	}
	return w, shown, nil
}

// SaveWebhook changes where an endpoint is, of what it is told and whether it is
// enabled, by its version. One that is enabled again begins anew; what waits for
// one that is disabled is not delivered any more.
func (s Scope) SaveWebhook(ctx context.Context, w behalf.Webhook) (behalf.Webhook, error) {
	return s.alterWebhook(ctx, w, "webhook.change", func(_ query.Webhook, secrets []behalf.WebhookSecret) []behalf.WebhookSecret { return secrets })
}

// RotateWebhook gives an endpoint a new secret and returns it, for the only
// time. Until the overlap is over, both sign.
func (s Scope) RotateWebhook(ctx context.Context, w behalf.Webhook, overlap time.Duration) (behalf.Webhook, secret.Text, error) {
	if overlap < 0 || overlap > behalf.MaxOverlap {
		return w, secret.Text{}, behalf.Invalid("overlap", "Expected at most %d seconds.", int64(behalf.MaxOverlap/time.Second))
	}
	shown, now := newWebhookSecret(), s.db.Now()
	w.OverlapUntil = time.Time{}
	if overlap > 0 {
		w.OverlapUntil = now.Add(overlap)
	}
	w, err := s.alterWebhook(ctx, w, "webhook.rotate", func(_ query.Webhook, secrets []behalf.WebhookSecret) []behalf.WebhookSecret {
		return behalf.Rotated(secrets, shown, now, overlap)
	})
	if err != nil {
		return w, secret.Text{}, err
	}
	return w, shown, nil
}

func (s Scope) alterWebhook(ctx context.Context, w behalf.Webhook, action string, turn func(query.Webhook, []behalf.WebhookSecret) []behalf.WebhookSecret) (behalf.Webhook, error) {
	if err := s.allow(behalf.WriteWebhooks, w.Assistant, "webhook"); err != nil {
		return w, err
	}
	if err := w.Validate(); err != nil {
		return w, err
	}
	err := s.change(ctx, func(c *change) error {
		row, err := s.webhook(ctx, c.Queries, w.Assistant, w.ID)
		if err != nil {
			return err
		}
		secrets, err := s.db.openWebhook(row)
		if err != nil {
			return err
		}
		sealed, err := s.db.sealWebhook(w, turn(row, secrets))
		if err != nil {
			return err
		}
		if w.Enabled && row.Enabled == 0 {
			w.Reason, w.FailingSince, w.Failures, row.Told = "", time.Time{}, 0, 0
		} else {
			w.FailingSince, w.Failures = at(row.FailingSince), row.Failures // of which others decide
		}
		w.UpdatedAt = c.now
		err = one(c.UpdateWebhook(ctx, query.UpdateWebhookParams{Url: w.URL, Events: strings.Join(w.Events, " "), Sealed: sealed, OverlapUntil: micros(w.OverlapUntil), Enabled: flag(w.Enabled),
			Reason: w.Reason, FailingSince: micros(w.FailingSince), Failures: w.Failures, Told: row.Told, UpdatedAt: micros(c.now), ID: string(w.ID), Assistant: string(w.Assistant), Version: w.Version}))
		if err == ErrStale {
			return conflictStale("webhook")
		}
		c.audit(w.Assistant, action, string(w.ID), "")
		if err != nil || w.Enabled {
			return err
		}
		return c.EndDeliveries(ctx, query.EndDeliveriesParams{Problem: "The endpoint was disabled.", Now: micros(c.now), Webhook: string(w.ID)})
	})
	w.Version++
	return w, err
}

// DeleteWebhook forgets an endpoint and what was delivered to it.
func (s Scope) DeleteWebhook(ctx context.Context, w behalf.Webhook) error {
	if err := s.allow(behalf.WriteWebhooks, w.Assistant, "webhook"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		rows, err := c.DeleteWebhook(ctx, query.DeleteWebhookParams{ID: string(w.ID), Assistant: string(w.Assistant)})
		if err == nil && rows == 0 {
			return behalf.NotFound("webhook")
		}
		if err != nil {
			return err
		}
		c.audit(w.Assistant, "webhook.delete", string(w.ID), "")
		return c.DeleteDeliveries(ctx, string(w.ID))
	})
}

// WebhookSigning returns an endpoint with the secrets that sign now.
func (s Scope) WebhookSigning(ctx context.Context, id behalf.WebhookID) (behalf.Webhook, []secret.Text, error) {
	if err := s.allow(behalf.Maintain, "", "webhook"); err != nil {
		return behalf.Webhook{}, nil, err
	}
	row, err := s.db.read.Webhook(ctx, string(id))
	if err := found(err, "webhook"); err != nil {
		return behalf.Webhook{}, nil, err
	}
	secrets, err := s.db.openWebhook(row)
	return webhookFrom(row), behalf.Signing(secrets, s.db.Now()), err
}

func webhookFrom(r query.Webhook) behalf.Webhook {
	return behalf.Webhook{ID: behalf.WebhookID(r.ID), Assistant: behalf.AssistantID(r.Assistant), URL: r.Url, Events: strings.Fields(r.Events), Enabled: r.Enabled != 0, Reason: r.Reason,
		FailingSince: at(r.FailingSince), Failures: r.Failures, OverlapUntil: at(r.OverlapUntil), Version: r.Version, CreatedAt: at(r.CreatedAt), UpdatedAt: at(r.UpdatedAt)}
}
