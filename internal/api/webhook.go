package api

import (
	"context"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Webhook is an endpoint that is told of events, on the wire.
type Webhook struct {
	ID                  string     `json:"id"`
	URL                 string     `json:"url"`
	Events              []string   `json:"events" doc:"Types of events, or all of a kind as connection.*; empty: all."`
	Enabled             bool       `json:"enabled"`
	Health              string     `json:"health" enum:"good,failing,disabled" doc:"failing: it has not taken the last delivery. disabled: nothing is delivered until it is enabled again."`
	Reason              string     `json:"reason,omitempty" doc:"Why this server has disabled it, and what to do."`
	FailingSince        *time.Time `json:"failing_since,omitempty"`
	Failures            int64      `json:"failures,omitempty" doc:"Attempts since then."`
	PreviousSecretUntil *time.Time `json:"previous_secret_until,omitempty" doc:"Until then the secret before signs too."`
	Version             int64      `json:"version"`
	CreatedAt           time.Time  `json:"created_at"`
	UpdatedAt           time.Time  `json:"updated_at"`
}

// NewWebhook is an endpoint with its secret, which is shown this once.
type NewWebhook struct {
	Webhook
	Secret string `json:"secret" doc:"Shown once: begins with whsec_, and checks signatures as Standard Webhooks says."`
}

// WebhookBody is what an endpoint is made of.
type WebhookBody struct {
	URL    string   `json:"url" maxLength:"2000"`
	Events []string `json:"events,omitempty" maxItems:"50" doc:"Types of events, or all of a kind as connection.*; left out: all."`
}

// WebhookChange is what can be changed.
type WebhookChange struct {
	URL     *string   `json:"url,omitempty" maxLength:"2000"`
	Events  *[]string `json:"events,omitempty" maxItems:"50"`
	Enabled *bool     `json:"enabled,omitempty" doc:"False ends what waits for it. True begins anew; replay tells what was missed."`
	Version int64     `json:"version,omitempty" doc:"When given, the change is refused if the webhook has another version by now."`
}

// Delivery is an event on its way to an endpoint, on the wire.
type Delivery struct {
	ID        string     `json:"id"`
	Event     string     `json:"event"`
	Type      string     `json:"type"`
	Status    string     `json:"status" enum:"waiting,delivered,failed" doc:"waiting: for its first attempt, or the next. failed: it is not tried any more."`
	Attempts  int64      `json:"attempts"`
	Answer    int        `json:"answer,omitempty" doc:"HTTP status of the last answer; absent where there was none."`
	Problem   string     `json:"problem,omitempty" doc:"Of the last attempt, and what to do."`
	TookMS    int64      `json:"took_ms,omitempty" doc:"Milliseconds that the last attempt took."`
	NextAt    *time.Time `json:"next_at,omitempty" doc:"When it is tried again."`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`

	Request  *behalf.SentMessage `json:"request,omitempty" doc:"What was sent at the last attempt, its secrets masked when it was recorded. Of one delivery, for keys that may read transcripts."`
	Response *behalf.GotMessage  `json:"response,omitempty" doc:"What came back, masked in the same way."`
}

// ReplayBody says what is delivered again.
type ReplayBody struct {
	Event string     `json:"event,omitempty" maxLength:"80" doc:"This event."`
	Since *time.Time `json:"since,omitempty" doc:"Instead: all events that the webhook wants, from this time on."`
	Until *time.Time `json:"until,omitempty" doc:"With since: before this time; left out: now."`

	Failed bool `json:"failed,omitempty" doc:"With since: only events that the webhook did not take and that are not tried any more."`
}

// Replayed says what a replay has begun.
type Replayed struct {
	Deliveries int64      `json:"deliveries"`
	MoreSince  *time.Time `json:"more_since,omitempty" doc:"There was more than one replay takes: the rest begins here."`
}

// WebhookPath names an endpoint.
type WebhookPath struct {
	AssistantPath
	Webhook string `path:"webhook" maxLength:"80"`
}

func (p WebhookPath) find(ctx context.Context, db store.Scope) (behalf.Webhook, error) {
	x, err := db.Assistant(ctx, p.Assistant)
	if err != nil {
		return behalf.Webhook{}, err
	}
	return db.Webhook(ctx, x.ID, behalf.WebhookID(p.Webhook))
}

func (a *API) listWebhooks(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Page
}) (*ListOutput[Webhook], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	items, err := db.Webhooks(ctx, x.ID, in.page())
	return listOf(items, in.Limit, func(w behalf.Webhook) string { return string(w.ID) }, viewWebhook), err
}

func (a *API) createWebhook(ctx context.Context, db store.Scope, in *struct {
	AssistantPath
	Body WebhookBody
}) (*Output[NewWebhook], error) {
	x, err := db.Assistant(ctx, in.Assistant)
	if err != nil {
		return nil, err
	}
	w, shown, err := db.CreateWebhook(ctx, behalf.Webhook{Assistant: x.ID, URL: in.Body.URL, Events: in.Body.Events})
	return output(NewWebhook{viewWebhook(w), shown.Reveal()}), err
}

func (a *API) getWebhook(ctx context.Context, db store.Scope, in *WebhookPath) (*Output[Webhook], error) {
	w, err := in.find(ctx, db)
	return output(viewWebhook(w)), err
}

func (a *API) changeWebhook(ctx context.Context, db store.Scope, in *struct {
	WebhookPath
	Body WebhookChange
}) (*Output[Webhook], error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	if v := in.Body.Version; v != 0 {
		w.Version = v
	}
	if in.Body.URL != nil {
		w.URL = *in.Body.URL
	}
	if in.Body.Events != nil {
		w.Events = *in.Body.Events
	}
	if in.Body.Enabled != nil {
		w.Enabled = *in.Body.Enabled
	}
	w, err = db.SaveWebhook(ctx, w)
	return output(viewWebhook(w)), err
}

func (a *API) deleteWebhook(ctx context.Context, db store.Scope, in *WebhookPath) (*struct{}, error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	return nil, db.DeleteWebhook(ctx, w)
}

func (a *API) rotateWebhook(ctx context.Context, db store.Scope, in *struct {
	WebhookPath
	Body struct {
		Overlap *int64 `json:"overlap,omitempty" minimum:"0" maximum:"604800" doc:"Seconds for which the secret before signs too; 86400 by default."`
	} `required:"false"`
}) (*Output[NewWebhook], error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	overlap := 24 * time.Hour
	if s := in.Body.Overlap; s != nil {
		overlap = time.Duration(*s) * time.Second
	}
	w, shown, err := db.RotateWebhook(ctx, w, overlap)
	return output(NewWebhook{viewWebhook(w), shown.Reveal()}), err
}

func (a *API) testWebhook(ctx context.Context, db store.Scope, in *WebhookPath) (*Output[Delivery], error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	d, err := db.TestWebhook(ctx, w)
	return output(viewDelivery(d)), err
}

func (a *API) replayWebhook(ctx context.Context, db store.Scope, in *struct {
	WebhookPath
	Body ReplayBody
}) (*Output[Replayed], error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	if (in.Body.Event == "") == (in.Body.Since == nil) {
		return nil, behalf.Invalid("since", "Expected either event or since.")
	}
	replay := store.Replay{Event: behalf.EventID(in.Body.Event), Until: db.Now(), Failed: in.Body.Failed}
	if in.Body.Since != nil {
		replay.Since = *in.Body.Since
	}
	if in.Body.Until != nil {
		replay.Until = *in.Body.Until
	}
	done, err := db.ReplayWebhook(ctx, w, replay)
	return output(Replayed{done.Deliveries, told(done.More)}), err
}

func (a *API) listDeliveries(ctx context.Context, db store.Scope, in *struct {
	WebhookPath
	Page
	Status string `query:"status" enum:"waiting,delivered,failed" doc:"Only those."`
}) (*ListOutput[Delivery], error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	items, err := db.Deliveries(ctx, w, behalf.DeliveryStatus(in.Status), in.page())
	return listOf(items, in.Limit, func(d behalf.Delivery) string { return string(d.ID) }, viewDelivery), err
}

func (a *API) getDelivery(ctx context.Context, db store.Scope, in *struct {
	WebhookPath
	Delivery string `path:"delivery" maxLength:"80"`
}) (*Output[Delivery], error) {
	w, err := in.find(ctx, db)
	if err != nil {
		return nil, err
	}
	d, err := db.Delivery(ctx, w, behalf.DeliveryID(in.Delivery))
	return output(viewDelivery(d)), err
}

func viewWebhook(w behalf.Webhook) Webhook {
	v := Webhook{ID: string(w.ID), URL: w.URL, Events: append([]string{}, w.Events...), Enabled: w.Enabled, Health: "good", Reason: w.Reason, FailingSince: told(w.FailingSince), Failures: w.Failures,
		PreviousSecretUntil: told(w.OverlapUntil), Version: w.Version, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt}
	switch {
	case !w.Enabled:
		v.Health = "disabled"
	case !w.FailingSince.IsZero():
		v.Health = "failing"
	}
	return v
}

func viewDelivery(d behalf.Delivery) Delivery {
	out := Delivery{ID: string(d.ID), Event: string(d.Event), Type: string(d.Type), Status: string(d.Status), Attempts: d.Attempts, Answer: d.Answer, Problem: d.Problem, TookMS: d.Took.Milliseconds(),
		NextAt: told(d.NextAt), CreatedAt: d.CreatedAt, EndedAt: told(d.EndedAt)}
	if x := d.Exchange; x != nil {
		out.Request, out.Response = x.Request, x.Response
	}
	return out
}
