package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file looks after connections without anybody asking. The rules are:
//
//   - It goes the way of everybody who asks: the same flight, lease and judgement.
//   - At most so many requests are under way for one provider's host, fewer where
//     it is no slower with fewer (turns.go), and its profiles with something due
//     share them. What failed before has a quarter of a profile's places, and can
//     never stand in the way of what works. Some more refreshes are begun, so that
//     the provider need not wait for our disk.
//   - A profile whose client the provider refuses is asked once in a while, by
//     one node, with one connection; nothing of its connections is changed.
//   - What cannot be done now is left: it is found again.

const (
	lookEvery = time.Second
	perHost   = 64          // requests
	ahead     = perHost / 2 // refreshes that are begun before, or saved after, their request
	claimFor  = time.Minute // until another node looks after what this one has claimed
)

// refresher is what is under way without anybody having asked.
type refresher struct {
	lanes   map[laneKey]*lane // of the profiles that have something due
	freed   chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	host map[string]*places
}

// places are the refreshes of one host.
type places struct {
	taken int
	turns
}

type laneKey struct {
	profile behalf.ProfileID
	lane    int64
}

// lane is one lane of a profile.
type lane struct {
	profile *behalf.Profile
	key     laneKey
	host    string
	limit   int
	more    bool                // there may be more than is claimed
	claimed []behalf.Connection // and not begun
	running atomic.Int64
}

// Run renews what is due, keeps alive what would end unused and announces what
// ends, until ctx ends; what is under way then is Stop's to wait for.
func (b *Broker) Run(ctx context.Context) error {
	r := &refresher{lanes: map[laneKey]*lane{}, host: map[string]*places{}, freed: make(chan struct{}, 1)}
	defer r.running.Wait()
	for {
		if err := b.look(ctx, r); err != nil && ctx.Err() == nil {
			b.cfg.Log.Warn("what is due was not found", "err", err)
		}
		for again := time.After(lookEvery); again != nil; {
			select {
			case <-ctx.Done():
				return nil
			case <-again:
				again = nil
			case <-r.freed:
				if err := b.fill(ctx, r); err != nil && ctx.Err() == nil {
					b.cfg.Log.Warn("what is due was not found", "err", err)
				}
			}
		}
	}
}

// look finds out which profiles have something due, and begins with it.
func (b *Broker) look(ctx context.Context, r *refresher) error {
	if b.alone() {
		return nil
	}
	if err := b.plan(ctx); err != nil {
		return err
	}
	due, err := b.keeper.DueProfiles(ctx)
	if err != nil {
		return err
	}
	sharing := map[string]int{}
	var profiles []*behalf.Profile
	for _, d := range due {
		p, err := b.kept(ctx, d.Assistant, d.Profile)
		if err != nil || p.Plan == nil {
			continue // it is deleted, or damaged: others are not
		}
		profiles = append(profiles, p)
		sharing[p.Plan.TokenHost()]++
	}
	for _, p := range profiles {
		n := sharing[p.Plan.TokenHost()]
		r.expect(p, max(4, perHost/n), ahead/n)
	}
	return b.fill(ctx, r)
}

// expect prepares the lanes of a profile that has something due.
func (r *refresher) expect(p *behalf.Profile, places, ahead int) {
	for _, key := range []laneKey{{p.ID, store.LaneHealthy}, {p.ID, store.LaneFailing}} {
		l := r.lanes[key]
		if l == nil {
			l = &lane{key: key}
			r.lanes[key] = l
		}
		l.profile, l.host, l.limit, l.more = p, p.Plan.TokenHost(), places+ahead, true
		if key.lane == store.LaneFailing {
			l.limit = max(1, places/4)
		}
	}
}

// fill begins with as many as have a place. What works comes first.
func (b *Broker) fill(ctx context.Context, r *refresher) error {
	var failed error
	for _, which := range []int64{store.LaneHealthy, store.LaneFailing} {
		for key, l := range r.lanes {
			if key.lane == which {
				failed = errors.Join(failed, b.fillLane(ctx, r, l))
			}
		}
	}
	return failed
}

func (b *Broker) fillLane(ctx context.Context, r *refresher, l *lane) (err error) {
	p, err := b.kept(ctx, l.profile.Assistant, l.profile.ID)
	if err != nil {
		delete(r.lanes, l.key)
		return nil
	}
	limit := max(1, l.limit*r.most(l.host)/(perHost+ahead))
	if p.Status == behalf.ProfileFailing { // all but one would be turned away
		limit, l.claimed = 1, l.claimed[:min(1, len(l.claimed))]
	}
	for {
		if len(l.claimed) == 0 && l.more {
			l.claimed, err = b.keeper.ClaimDue(ctx, l.key.profile, l.key.lane, int64(limit), claimFor)
			l.more = len(l.claimed) == limit && p.Status != behalf.ProfileFailing
		}
		if err != nil || len(l.claimed) == 0 {
			if !l.more && l.running.Load() == 0 {
				delete(r.lanes, l.key)
			}
			return err
		}
		if int(l.running.Load()) >= limit {
			return nil
		}
		asking := r.place(l.host)
		if asking == nil {
			return nil
		}
		c := l.claimed[0]
		l.claimed = l.claimed[1:]
		b.begin(ctx, r, l, p, c, asking)
	}
}

// most returns how many refreshes of a host may be begun.
func (r *refresher) most(host string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.host[host]; p != nil {
		return p.most()
	}
	return (&places{}).most()
}

// most is as many as ask, and some more: as many again where they are few, so
// that there is always one that waits when a turn comes.
func (p *places) most() int {
	n := p.width()
	return n + min(n, ahead)
}

// place takes one of the host's places; nil: it has none left.
func (r *refresher) place(host string) *turns {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.host[host]
	if p == nil {
		p = &places{}
		r.host[host] = p
	}
	if p.taken >= p.most() {
		return nil
	}
	p.taken++
	return &p.turns
}

// giveBack gives a place back.
func (r *refresher) giveBack(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.host[host]
	if p.taken--; p.taken == 0 {
		delete(r.host, host)
	}
}

func (b *Broker) begin(ctx context.Context, r *refresher, l *lane, p *behalf.Profile, c behalf.Connection, asking *turns) {
	l.running.Add(1)
	host := l.host // whose place was taken: an edited profile may get another
	r.running.Go(func() {
		b.lookAfter(ctx, p, c, asking)
		l.running.Add(-1)
		r.giveBack(host)
		select {
		case r.freed <- struct{}{}:
		default:
		}
	})
}

// turn waits until one of the host's requests may be made, as long as there is
// time for it within a lease; done gives it back.
func (b *Broker) turn(asking *turns) (done func(), ok bool) {
	if asking == nil { // somebody waits for it
		return func() {}, true
	}
	if !asking.take(time.After(b.cfg.Lease - b.cfg.Deadline)) {
		return nil, false
	}
	return func() { asking.done(b.db.Now()) }, true
}

// lookAfter does what is due for one connection.
func (b *Broker) lookAfter(ctx context.Context, p *behalf.Profile, c behalf.Connection, asking *turns) {
	now, rules := b.db.Now(), p.Plan.OAuth.Refresh
	c.Buffer = rules.Buffer.Duration()
	if at := c.WarnAt(rules); !at.IsZero() && !now.Before(at) {
		if err := b.keeper.Warn(ctx, c, ends(c, rules)); err != nil {
			b.cfg.Log.Warn("the end of an authorization was not announced", "connection", c.ID, "err", err)
			return
		}
		c.WarnedAt = now
	}
	if at := c.RenewAt(rules, 1); at.IsZero() || now.Before(at) {
		c.RefreshAt = c.LookAt(rules, rand.Float64())
		if err := b.keeper.Plan(ctx, []behalf.Connection{c}); err != nil {
			b.cfg.Log.Warn("a connection was not planned", "connection", c.ID, "err", err)
		}
		return
	}
	_, err := b.refresh(ctx, c, wants{forced: true, planned: true, asking: asking})
	if err != nil && !errors.Is(err, context.Canceled) && behalf.CodeOf(err) == "" {
		b.cfg.Log.Warn("a connection was not renewed", "connection", c.ID, "err", err)
	}
}

func ends(c behalf.Connection, r behalf.Refresh) string {
	end := c.Ends(r).UTC().Format("2 January 2006 15:04 MST")
	if !c.Refreshable {
		return "The access token ends on " + end + " and cannot be renewed. The end user must authorize again before that."
	}
	return "The provider ends this authorization on " + end + ", however it is used. The end user must authorize again before that."
}

// plan decides when new connections are looked after.
func (b *Broker) plan(ctx context.Context) error {
	for {
		all, err := b.keeper.Unplanned(ctx)
		if err != nil || len(all) == 0 {
			return err
		}
		for i, c := range all {
			p, err := b.kept(ctx, c.Assistant, c.Profile)
			if err == nil && p.Plan != nil {
				all[i].RefreshAt = c.LookAt(p.Plan.OAuth.Refresh, rand.Float64())
			}
		}
		if err := b.keeper.Plan(ctx, all); err != nil {
			return err
		}
	}
}
