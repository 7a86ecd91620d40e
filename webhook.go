package behalf

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
)

// This file decides about webhooks: who is told of what, when it is tried again,
// and when an endpoint is given up. The rules are:
//
//   - Every event is told at least once to every endpoint that wants its type.
//     Order is not promised; the event's id tells what came twice.
//   - What an endpoint does not take is tried again for DeliveryLife.
//   - An endpoint that has taken nothing for DisableAfter is disabled, aloud; only
//     a person enables it again.

const (
	DeliveryLife  = 3 * 24 * time.Hour  // how long a delivery is tried
	DisableAfter  = 5 * 24 * time.Hour  // how long an endpoint may fail
	DeliveryKept  = 30 * 24 * time.Hour // how long the outcome can be looked up
	MaxOverlap    = 7 * 24 * time.Hour  // of an old and a new secret
	MaxWebhooks   = 20                  // of one assistant
	tellFailing   = 3                   // attempts that fail until an event says so
	firstRetry    = 5 * time.Second
	longestRetry  = 8 * time.Hour
	maxRetryAfter = 24 * time.Hour // of what an endpoint asks for
)

// WebhookSecretPrefix begins every secret of an endpoint, as Standard Webhooks
// has it.
const WebhookSecretPrefix = "whsec_"

// Webhook is an endpoint of an assistant that is told of its events.
type Webhook struct {
	ID           WebhookID
	Assistant    AssistantID
	URL          string
	Events       []string // types, or all of a kind as "connection.*"; empty: all
	Enabled      bool
	Reason       string    // why we disabled it
	FailingSince time.Time // zero: it took the last delivery
	Failures     int64     // attempts since then
	OverlapUntil time.Time // until when the secret before signs too
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Validate checks what may be set of an endpoint.
func (w Webhook) Validate() error {
	var p problems
	if u, err := url.Parse(w.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" || len(w.URL) > 2000 || !clean(w.URL) {
		p.add("url", "Expected an absolute https URL without user and fragment, at most 2000 characters.")
	}
	if len(w.Events) > len(EventTypes()) {
		p.add("events", "Too many: leave it empty for all types.")
		return p.err()
	}
	for i, e := range w.Events {
		if !wantable(e) {
			p.add(indexed("events", i), "Expected an event type such as connection.lapsed, or all of a kind such as connection.*.")
		}
	}
	return p.err()
}

func wantable(want string) bool {
	return slices.ContainsFunc(EventTypes(), func(t EventType) bool { return matches(want, t) })
}

func matches(want string, t EventType) bool {
	kind, all := strings.CutSuffix(want, ".*")
	return want == string(t) || all && strings.HasPrefix(string(t), kind+".") && !strings.Contains(kind, ".")
}

// Wants reports whether the endpoint is told of an event. Of itself it is not:
// that it fails is no news that it could take.
func (w Webhook) Wants(e Event) bool {
	switch {
	case e.Type == EventWebhookTest || e.Webhook == w.ID && e.Webhook != "":
		return false
	case len(w.Events) == 0:
		return true
	}
	return slices.ContainsFunc(w.Events, func(want string) bool { return matches(want, e.Type) })
}

// WebhookSecret signs what an endpoint is told.
type WebhookSecret struct {
	Value  secret.Text
	EndsAt time.Time // zero: it is the current one
}

// Rotated returns an endpoint's secrets with a new one in front. The one before
// signs too until the overlap is over; older ones do not any more.
func Rotated(old []WebhookSecret, anew secret.Text, now time.Time, overlap time.Duration) []WebhookSecret {
	out := []WebhookSecret{{Value: anew}}
	if len(old) > 0 && overlap > 0 {
		out = append(out, WebhookSecret{Value: old[0].Value, EndsAt: now.Add(overlap)})
	}
	return out
}

// Signing returns the secrets that sign now.
func Signing(all []WebhookSecret, now time.Time) []secret.Text {
	var out []secret.Text
	for _, s := range all {
		if s.EndsAt.IsZero() || now.Before(s.EndsAt) {
			out = append(out, s.Value)
		}
	}
	return out
}

// DeliveryStatus is what has become of a delivery.
type DeliveryStatus string

const (
	DeliveryWaiting   DeliveryStatus = "waiting" // for its first attempt, or the next
	DeliveryDelivered DeliveryStatus = "delivered"
	DeliveryFailed    DeliveryStatus = "failed" // it is not tried any more
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	ID        DeliveryID
	Assistant AssistantID
	Webhook   WebhookID
	Event     EventID
	Type      EventType
	Status    DeliveryStatus
	Attempts  int64  // that have begun
	Answer    int    // the last one's HTTP status; 0: there was none
	Problem   string // of the last one, and what to do; safe for anybody
	Took      time.Duration
	NextAt    time.Time // zero: it is over
	Until     time.Time
	CreatedAt time.Time
	EndedAt   time.Time
	Exchange  *TranscriptStep // what was sent and received at the last attempt; nil: not known, or not for who asks
}

// Attempted is what came of one attempt.
type Attempted struct {
	Answer     int
	Problem    string // empty: it was taken
	Note       string // it was taken, and yet something is odd
	Gone       bool   // the endpoint says that it is no more (410)
	Took       time.Duration
	RetryAfter time.Duration // what the endpoint asks for; 0: nothing
	Exchange   *TranscriptStep
}

// maxAnswer is how much is kept of what an endpoint says, in bytes: enough for
// its reason, and little where there are many.
const maxAnswer = 2 << 10

// DeliveryExchange returns what is kept of an attempt, as it was recorded.
func DeliveryExchange(x egress.Exchange) *TranscriptStep {
	s := stepOf(StepDelivery, "Delivery", x)
	if s.Response != nil {
		s.Response.Body = cut(s.Response.Body, maxAnswer)
	}
	return &s
}

// After returns the delivery as it is after an attempt. The jitter, from 0 to 1,
// keeps those that failed together from coming back together.
func (d Delivery) After(a Attempted, now time.Time, jitter float64) Delivery {
	d.Answer, d.Problem, d.Took = a.Answer, a.Problem, a.Took
	switch {
	case a.Problem == "":
		d.Status, d.Problem, d.NextAt, d.EndedAt = DeliveryDelivered, a.Note, time.Time{}, now
	case a.Gone || !now.Before(d.Until):
		d.Status, d.NextAt, d.EndedAt = DeliveryFailed, time.Time{}, now
	default:
		pause := max(pauseAfter(d.Attempts, jitter), min(a.RetryAfter, maxRetryAfter))
		d.NextAt = now.Add(pause)
		if d.NextAt.After(d.Until) {
			d.NextAt = d.Until // a last time
		}
	}
	return d
}

// pauseAfter is the pause after the n-th attempt: 5 s, 15 s, 45 s, … 8 h, each
// longer by up to a fifth.
func pauseAfter(n int64, jitter float64) time.Duration {
	pause := firstRetry
	for range min(n-1, 20) {
		pause = min(3*pause, longestRetry)
	}
	return pause + time.Duration(jitter*float64(pause)/5)
}

// Troubled reports whether somebody must look after the endpoint: it fails, or
// we disabled it.
func (w Webhook) Troubled() bool {
	if !w.Enabled {
		return w.Reason != ""
	}
	return w.TellFailing()
}

// TellFailing reports whether it is time to say that the endpoint fails.
func (w Webhook) TellFailing() bool { return w.Failures >= tellFailing }

// GiveUp returns why the endpoint is to be disabled, or "".
func (w Webhook) GiveUp(a Attempted, now time.Time) string {
	switch {
	case a.Gone:
		return "The endpoint answered 410 Gone, which says that it wants no more. Enable it again if that was a mistake, and replay what it has missed."
	case !w.FailingSince.IsZero() && now.Sub(w.FailingSince) >= DisableAfter:
		return fmt.Sprintf("The endpoint has taken nothing since %s (%d attempts). Repair it, enable it again, and replay what it has missed. The last problem: %s",
			w.FailingSince.UTC().Format("2006-01-02 15:04 UTC"), w.Failures, a.Problem)
	}
	return ""
}
