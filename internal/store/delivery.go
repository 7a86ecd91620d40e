package store

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file is the outbox of events. The rules are:
//
//   - An event is spread over the endpoints that want it in one transaction with
//     the mark that it was: exactly once, by any node.
//   - Who claims a delivery puts it off for others; a claim counts as an attempt,
//     and what came of it is kept only where no later claim was made. Whoever dies
//     in between leaves a delivery that is made again.
//   - Rows are locked in one order: the endpoint, then its deliveries.

const spreadBatch = 200

// SpreadEvents turns a batch of events into deliveries, and reports whether
// there may be more.
func (s Scope) SpreadEvents(ctx context.Context) (more bool, err error) {
	if err := s.allow(behalf.Maintain, "", "event"); err != nil {
		return false, err
	}
	has, err := s.db.read.HasWaitingEvents(ctx)
	if err != nil || !has { // an idle node does not write
		return false, unavailableIf(err)
	}
	err = s.change(ctx, func(c *change) error {
		events, err := c.claimEvents(ctx)
		more = len(events) == spreadBatch
		if err != nil {
			return err
		}
		wanting := map[string][]query.Webhook{}
		for _, e := range events {
			if _, ok := wanting[e.Assistant]; !ok {
				if wanting[e.Assistant], err = c.EnabledWebhooks(ctx, e.Assistant); err != nil {
					return err
				}
			}
			for _, w := range wanting[e.Assistant] {
				if w := webhookFrom(w); w.Wants(eventFrom(e)) && e.CreatedAt >= micros(w.CreatedAt) {
					if _, err := c.insertDelivery(ctx, w, eventFrom(e)); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	return more && err == nil, err
}

// claimEvents marks events as spread. What another node is just spreading is
// passed over.
func (c *change) claimEvents(ctx context.Context) ([]query.Event, error) {
	rows, err := c.tx.QueryContext(ctx, `UPDATE events SET delivered_at = $1 WHERE id IN (SELECT id FROM events WHERE delivered_at = 0 ORDER BY id LIMIT $2`+
		c.scope.db.engine.skipLocked+`) RETURNING id, assistant, type, profile, connection, end_user, detail, created_at, webhook`, micros(c.now), spreadBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []query.Event
	for rows.Next() {
		var e query.Event
		if err := rows.Scan(&e.ID, &e.Assistant, &e.Type, &e.Profile, &e.Connection, &e.EndUser, &e.Detail, &e.CreatedAt, &e.Webhook); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func (c *change) insertDelivery(ctx context.Context, w behalf.Webhook, e behalf.Event) (behalf.Delivery, error) {
	d := behalf.Delivery{ID: behalf.NewDeliveryID(c.now), Assistant: w.Assistant, Webhook: w.ID, Event: e.ID, Type: e.Type, Status: behalf.DeliveryWaiting,
		NextAt: c.now, Until: c.now.Add(behalf.DeliveryLife), CreatedAt: c.now}
	return d, c.InsertDelivery(ctx, query.InsertDeliveryParams{ID: string(d.ID), Assistant: string(d.Assistant), Webhook: string(d.Webhook), Event: string(d.Event), Type: string(d.Type),
		NextAt: micros(d.NextAt), Until: micros(d.Until), CreatedAt: micros(d.CreatedAt)})
}

// DueWebhook is an endpoint for which something is to be delivered.
type DueWebhook struct {
	ID      behalf.WebhookID
	Failing bool
}

// DueWebhooks returns the endpoints for which something is to be delivered.
func (s Scope) DueWebhooks(ctx context.Context) ([]DueWebhook, error) {
	if err := s.allow(behalf.Maintain, "", "webhook"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.DueWebhooks(ctx, micros(s.db.Now()))
	out := make([]DueWebhook, 0, len(rows))
	for _, r := range rows {
		out = append(out, DueWebhook{behalf.WebhookID(r.ID), r.FailingSince > 0})
	}
	return out, unavailableIf(err)
}

// Claim is a delivery that this node makes, with what it tells.
type Claim struct {
	behalf.Delivery
	Told behalf.Event
}

// ClaimDeliveries returns at most n deliveries to an endpoint that are due, those
// that wait longest first, and puts them off for d: longer than an attempt takes.
func (s Scope) ClaimDeliveries(ctx context.Context, w behalf.WebhookID, n int64, d time.Duration) ([]Claim, error) {
	if err := s.allow(behalf.Maintain, "", "webhook"); err != nil {
		return nil, err
	}
	now := s.db.Now()
	rows, err := s.db.engine.writer.QueryContext(ctx, `UPDATE deliveries SET next_at = $1, attempts = attempts + 1 WHERE id IN (SELECT id FROM deliveries
		WHERE webhook = $2 AND next_at > 0 AND next_at <= $3 ORDER BY next_at, id LIMIT $4`+s.db.engine.skipLocked+`) RETURNING id`, micros(now.Add(d)), string(w), micros(now), n)
	if err != nil {
		return nil, unavailable(err)
	}
	var ids []string
	for rows.Next() {
		var id string
		if err = rows.Scan(&id); err != nil {
			break
		}
		ids = append(ids, id)
	}
	if err == nil {
		err = rows.Err()
	}
	_ = rows.Close()
	var out []Claim
	for _, id := range ids {
		var row query.Delivery
		if row, err = s.db.write.Delivery(ctx, id); err != nil {
			break
		}
		var told query.Event
		if told, err = s.db.write.Event(ctx, row.Event); err != nil {
			break
		}
		out = append(out, Claim{deliveryFrom(row), eventFrom(told)})
	}
	return out, unavailableIf(err)
}

// deliveryPlace binds what was sent and received to its delivery.
func deliveryPlace(id behalf.DeliveryID) vault.Place {
	return vault.Place{Table: "deliveries", Row: string(id), Column: "sealed"}
}

// SettleDelivery keeps what came of an attempt, and what it says of the endpoint.
func (s Scope) SettleDelivery(ctx context.Context, d behalf.Delivery, a behalf.Attempted, jitter float64) error {
	if err := s.allow(behalf.Maintain, d.Assistant, "webhook"); err != nil {
		return err
	}
	sealed := []byte{}
	if a.Exchange != nil {
		var err error
		if sealed, err = s.db.seal(a.Exchange, deliveryPlace(d.ID)); err != nil {
			return err
		}
	}
	return s.change(ctx, func(c *change) error {
		var over string
		var err error
		if a.Problem == "" {
			err = c.webhookWorks(ctx, d)
		} else {
			over, err = c.webhookFailed(ctx, d, a)
		}
		if err != nil {
			return err
		}
		after := d.After(a, c.now, jitter)
		if err := c.SettleDelivery(ctx, query.SettleDeliveryParams{Status: string(after.Status), Answer: int64(after.Answer), Problem: after.Problem, Took: after.Took.Milliseconds(),
			NextAt: micros(after.NextAt), EndedAt: micros(after.EndedAt), Sealed: sealed, ID: string(d.ID), Attempts: d.Attempts}); err != nil || over == "" {
			return err
		}
		return c.EndDeliveries(ctx, query.EndDeliveriesParams{Problem: "The endpoint was disabled.", Now: micros(c.now), Webhook: string(d.Webhook)})
	})
}

func (c *change) webhookWorks(ctx context.Context, d behalf.Delivery) error {
	row, err := c.Webhook(ctx, string(d.Webhook))
	if isNoRows(err) || err == nil && row.FailingSince == 0 {
		return nil
	}
	told, err := c.UntellWebhook(ctx, string(d.Webhook))
	if err != nil {
		return err
	}
	if told > 0 {
		c.event(behalf.Event{Assistant: d.Assistant, Type: behalf.EventWebhookRecovered, Webhook: d.Webhook})
	}
	return c.WebhookWorks(ctx, string(d.Webhook))
}

// webhookFailed counts a failure and returns why the endpoint is disabled, if it
// is now.
func (c *change) webhookFailed(ctx context.Context, d behalf.Delivery, a behalf.Attempted) (over string, err error) {
	if rows, err := c.WebhookFailed(ctx, query.WebhookFailedParams{Now: micros(c.now), ID: string(d.Webhook)}); err != nil || rows == 0 {
		return "", err
	}
	row, err := c.Webhook(ctx, string(d.Webhook))
	if err != nil {
		return "", err
	}
	w := webhookFrom(row)
	if over = w.GiveUp(a, c.now); over != "" {
		rows, err := c.DisableWebhook(ctx, query.DisableWebhookParams{Reason: over, Now: micros(c.now), ID: row.ID})
		if err != nil || rows == 0 {
			return "", err
		}
		c.audit(w.Assistant, "webhook.disable", row.ID, over)
		c.event(behalf.Event{Assistant: w.Assistant, Type: behalf.EventWebhookDisabled, Webhook: w.ID, Detail: over})
		return over, nil
	}
	if !w.TellFailing() {
		return "", nil
	}
	rows, err := c.TellWebhook(ctx, row.ID)
	if rows > 0 {
		c.event(behalf.Event{Assistant: w.Assistant, Type: behalf.EventWebhookFailing, Webhook: w.ID, Detail: a.Problem})
	}
	return "", err
}

// Delivery returns a delivery. Who may read transcripts gets what was sent and
// received at its last attempt, too.
func (s Scope) Delivery(ctx context.Context, w behalf.Webhook, id behalf.DeliveryID) (behalf.Delivery, error) {
	if err := s.allow(behalf.ReadWebhooks, w.Assistant, "delivery"); err != nil {
		return behalf.Delivery{}, err
	}
	if !text(string(id)) {
		return behalf.Delivery{}, behalf.NotFound("delivery")
	}
	row, err := s.db.read.Delivery(ctx, string(id))
	if err == nil && (row.Assistant != string(w.Assistant) || row.Webhook != string(w.ID)) {
		return behalf.Delivery{}, behalf.NotFound("delivery")
	}
	d := deliveryFrom(row)
	if err := found(err, "delivery"); err != nil || len(row.Sealed) == 0 || s.allow(behalf.ReadTranscripts, w.Assistant, "delivery") != nil {
		return d, err
	}
	d.Exchange = &behalf.TranscriptStep{}
	return d, s.db.unseal(row.Sealed, deliveryPlace(d.ID), d.Exchange)
}

// Deliveries returns what was delivered to an endpoint, or is to be, newest
// first. An empty status takes all.
func (s Scope) Deliveries(ctx context.Context, w behalf.Webhook, status behalf.DeliveryStatus, page Page) ([]behalf.Delivery, error) {
	if err := s.allow(behalf.ReadWebhooks, w.Assistant, "delivery"); err != nil {
		return nil, err
	}
	if !text(page.After) {
		return nil, nil
	}
	rows, err := s.db.read.Deliveries(ctx, query.DeliveriesParams{Webhook: string(w.ID), Assistant: string(w.Assistant), Before: page.After, Status: string(status), Max: page.limit()})
	out := make([]behalf.Delivery, 0, len(rows))
	for _, r := range rows {
		out = append(out, deliveryFrom(r))
	}
	return out, unavailableIf(err)
}

// WebhookHealth is how the deliveries to an endpoint stand.
type WebhookHealth struct {
	LastTaken time.Time // when it last took one; zero: not within DeliveryKept
	Waiting   int64     // for their first attempt, or the next
}

// WebhookHealth returns how the deliveries to an endpoint stand.
func (s Scope) WebhookHealth(ctx context.Context, w behalf.Webhook) (WebhookHealth, error) {
	if err := s.allow(behalf.ReadWebhooks, w.Assistant, "webhook"); err != nil {
		return WebhookHealth{}, err
	}
	taken, err := s.db.read.LastTaken(ctx, string(w.ID))
	if err != nil {
		return WebhookHealth{}, unavailable(err)
	}
	waiting, err := s.db.read.WaitingDeliveries(ctx, string(w.ID))
	return WebhookHealth{LastTaken: at(taken), Waiting: waiting}, unavailableIf(err)
}

var errDisabled = behalf.Errorf(behalf.CodeConflict, "The endpoint is disabled. Enable it first.")

// TestWebhook delivers an event to an endpoint that has no other purpose.
func (s Scope) TestWebhook(ctx context.Context, w behalf.Webhook) (behalf.Delivery, error) {
	if err := s.allow(behalf.WriteWebhooks, w.Assistant, "webhook"); err != nil {
		return behalf.Delivery{}, err
	}
	var made behalf.Delivery
	err := s.change(ctx, func(c *change) error {
		row, err := s.webhook(ctx, c.Queries, w.Assistant, w.ID)
		switch {
		case err != nil:
			return err
		case row.Enabled == 0:
			return errDisabled
		}
		c.audit(w.Assistant, "webhook.test", row.ID, "")
		c.event(behalf.Event{Assistant: w.Assistant, Type: behalf.EventWebhookTest, Webhook: w.ID, Detail: "This is a test. Nothing has happened."})
		made, err = c.insertDelivery(ctx, webhookFrom(row), c.events[len(c.events)-1])
		return err
	})
	return made, err
}

// maxReplay is how many events one replay delivers again.
const maxReplay = 2000

// Replay is what an endpoint is told once more.
type Replay struct {
	Event        behalf.EventID // this one, whether the endpoint wants its type or not
	Since, Until time.Time      // or those of this time that it wants
	Failed       bool           // of these, only what it has not taken and is not tried any more
}

// Replayed says what a replay has begun.
type Replayed struct {
	Deliveries int64
	More       time.Time // zero: this was all; otherwise the rest begins here
}

// ReplayWebhook delivers events again. One that still waits is hastened.
func (s Scope) ReplayWebhook(ctx context.Context, w behalf.Webhook, r Replay) (Replayed, error) {
	if err := s.allow(behalf.WriteWebhooks, w.Assistant, "webhook"); err != nil {
		return Replayed{}, err
	}
	var done Replayed
	err := s.change(ctx, func(c *change) error {
		row, err := s.webhook(ctx, c.Queries, w.Assistant, w.ID)
		switch {
		case err != nil:
			return err
		case row.Enabled == 0:
			return errDisabled
		}
		events, more, err := c.replayed(ctx, webhookFrom(row), r)
		if err != nil {
			return err
		}
		done = Replayed{More: more}
		for _, e := range events {
			if err := c.again(ctx, webhookFrom(row), e); err != nil {
				return err
			}
			done.Deliveries++
		}
		c.audit(w.Assistant, "webhook.replay", row.ID, "")
		return nil
	})
	return done, err
}

// replayed returns the events of a replay that the endpoint wants.
func (c *change) replayed(ctx context.Context, w behalf.Webhook, r Replay) (out []behalf.Event, more time.Time, err error) {
	if r.Event != "" {
		if !text(string(r.Event)) {
			return nil, more, behalf.NotFound("event")
		}
		row, err := c.Event(ctx, string(r.Event))
		if err == nil && row.Assistant != string(w.Assistant) {
			return nil, more, behalf.NotFound("event")
		}
		return []behalf.Event{eventFrom(row)}, more, found(err, "event")
	}
	since, after := micros(r.Since), ""
	for len(out) < maxReplay {
		rows, err := c.eventsOf(ctx, w, r, since, after)
		if err != nil {
			return nil, more, err
		}
		for _, row := range rows {
			since, after = row.CreatedAt, row.ID
			if e := eventFrom(row); w.Wants(e) {
				out = append(out, e)
			}
		}
		if len(rows) < maxPage {
			return out, more, nil
		}
	}
	return out, at(since), nil // those of the same moment come twice
}

// eventsOf returns a page of what a replay is about, from a time and an id on.
func (c *change) eventsOf(ctx context.Context, w behalf.Webhook, r Replay, since int64, after string) ([]query.Event, error) {
	if r.Failed {
		return c.FailedEvents(ctx, query.FailedEventsParams{Assistant: string(w.Assistant), Webhook: string(w.ID), Since: since, After: after, Upto: micros(r.Until), Max: maxPage})
	}
	return c.EventsBetween(ctx, query.EventsBetweenParams{Assistant: string(w.Assistant), Since: since, After: after, Upto: micros(r.Until), Max: maxPage})
}

func (c *change) again(ctx context.Context, w behalf.Webhook, e behalf.Event) error {
	waits, err := c.HastenDelivery(ctx, query.HastenDeliveryParams{Now: micros(c.now), Until: micros(c.now.Add(behalf.DeliveryLife)), Webhook: string(w.ID), Event: string(e.ID)})
	if err != nil || waits > 0 {
		return err
	}
	_, err = c.insertDelivery(ctx, w, e)
	return err
}

// ForgetDeliveries deletes what was begun before a time.
func (s Scope) ForgetDeliveries(ctx context.Context, before time.Time) error {
	if err := s.allow(behalf.Maintain, "", "delivery"); err != nil {
		return err
	}
	return unavailableIf(s.db.write.ForgetDeliveries(ctx, micros(before)))
}

func deliveryFrom(r query.Delivery) behalf.Delivery {
	return behalf.Delivery{ID: behalf.DeliveryID(r.ID), Assistant: behalf.AssistantID(r.Assistant), Webhook: behalf.WebhookID(r.Webhook), Event: behalf.EventID(r.Event), Type: behalf.EventType(r.Type),
		Status: behalf.DeliveryStatus(r.Status), Attempts: r.Attempts, Answer: int(r.Answer), Problem: r.Problem, Took: time.Duration(r.Took) * time.Millisecond,
		NextAt: at(r.NextAt), Until: at(r.Until), CreatedAt: at(r.CreatedAt), EndedAt: at(r.EndedAt)}
}
