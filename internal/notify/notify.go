// Package notify delivers signed events from the outbox.
//
// The rules are:
//
//   - Nothing is in memory only: what is to be delivered, to whom and when is in
//     the database, and any node takes what is due.
//   - An endpoint that hangs or fails has few places, so that it never stands in
//     the way of one that works.
//   - A delivery that has begun ends before this node stops, or is made again by
//     another: at least once, with the same id.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

const (
	lookEvery   = 500 * time.Millisecond
	forgetEvery = time.Hour
	deadline    = 15 * time.Second // of one attempt
	hold        = time.Minute      // until another node takes what this one has claimed: longer than an attempt and its commit
	perEndpoint = 4                // at a time, of one node
	healthy     = 64               // of all endpoints that work
	failing     = 16               // of all that fail
)

// Config is what notify needs. Every field but Jitter and Deadline must be set.
type Config struct {
	DB       *store.DB
	Egress   *egress.Egress
	Log      *slog.Logger
	Now      func() time.Time // measures how long an endpoint takes
	Jitter   func() float64   // from 0 to 1; nil: random
	Deadline time.Duration    // of one attempt; 0: 15 s
}

// Notify delivers events.
type Notify struct {
	cfg     Config
	db      store.Scope
	running sync.WaitGroup

	mu   sync.Mutex
	at   map[behalf.WebhookID]int // how many are under way
	busy [2]int                   // to endpoints that work, and that fail
}

// New returns a Notify that does nothing before Run or Look.
func New(cfg Config) *Notify {
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = deadline
	}
	return &Notify{cfg: cfg, db: cfg.DB.As(behalf.System("notify")), at: map[behalf.WebhookID]int{}}
}

// Run delivers until ctx ends, and then waits for what has begun.
func (n *Notify) Run(ctx context.Context) error {
	defer n.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for round := 0; ; round++ {
		if err := n.Look(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("events were not delivered", "err", err)
		}
		if round%int(forgetEvery/lookEvery) == 0 {
			if err := n.db.ForgetDeliveries(ctx, n.db.Now().Add(-behalf.DeliveryKept)); err != nil && ctx.Err() == nil {
				n.cfg.Log.Warn("old deliveries were not forgotten", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Wait waits for the deliveries that have begun.
func (n *Notify) Wait() { n.running.Wait() }

// Look spreads new events and begins with the deliveries that are due, as far as
// there is room.
func (n *Notify) Look(ctx context.Context) error {
	for {
		more, err := n.db.SpreadEvents(ctx)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	due, err := n.db.DueWebhooks(ctx)
	if err != nil {
		return err
	}
	rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] }) // no endpoint is always the first
	var failed error
	for _, w := range due {
		failed = errors.Join(failed, n.begin(ctx, w))
	}
	return failed
}

// begin takes as many deliveries to an endpoint as have a place.
func (n *Notify) begin(ctx context.Context, w store.DueWebhook) error {
	places := n.take(w)
	if places == 0 {
		return nil
	}
	claims, err := n.claim(ctx, w.ID, places)
	for range places - len(claims.all) {
		n.free(w)
	}
	for _, c := range claims.all {
		n.running.Go(func() {
			defer n.free(w)
			n.deliver(context.WithoutCancel(ctx), claims.to, claims.secrets, c)
		})
	}
	return err
}

// claimed are deliveries to one endpoint.
type claimed struct {
	to      behalf.Webhook
	secrets []secret.Text
	all     []store.Claim
}

func (n *Notify) claim(ctx context.Context, id behalf.WebhookID, places int) (claimed, error) {
	to, secrets, err := n.db.WebhookSigning(ctx, id)
	if err != nil {
		return claimed{}, err
	}
	all, err := n.db.ClaimDeliveries(ctx, id, int64(places), hold)
	return claimed{to, secrets, all}, err
}

// take returns how many places a delivery to an endpoint has now.
func (n *Notify) take(w store.DueWebhook) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	own, all, which := perEndpoint, healthy, 0
	if w.Failing {
		own, all, which = 1, failing, 1
	}
	places := max(0, min(own-n.at[w.ID], all-n.busy[which]))
	n.at[w.ID] += places
	n.busy[which] += places
	if n.at[w.ID] == 0 {
		delete(n.at, w.ID)
	}
	return places
}

func (n *Notify) free(w store.DueWebhook) {
	n.mu.Lock()
	defer n.mu.Unlock()
	which := 0
	if w.Failing {
		which = 1
	}
	n.busy[which]--
	if n.at[w.ID]--; n.at[w.ID] == 0 {
		delete(n.at, w.ID)
	}
}
