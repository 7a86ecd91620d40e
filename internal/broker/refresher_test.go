package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// ahead runs the broker's own work until the test ends.
func (s *stage) ahead(b *broker.Broker) {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		<-done
		_ = b.Stop(context.Background())
	})
}

// more connects n more users.
func (s *stage) more(n int) []behalf.ConnectionID {
	s.t.Helper()
	var ids []behalf.ConnectionID
	for i := range n {
		c := grant(s.t, s.server.URL, "notes:read", s.DB.Now())
		ids = append(ids, s.House.Connect(s.Profile, fmt.Sprintf("more-%d", i), c, behalf.Account{}, behalf.Inputs{}).ID)
	}
	return ids
}

func TestWhatIsDueIsRenewedWithoutAnybodyAsking(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		s.more(20)
		other := newBroker(t, storetest.Open(t, url, s.Clock.Now), s.log, nil)
		s.ahead(s.broker)
		s.ahead(other)
		eventually(t, "a plan", func() bool { return !s.now().RefreshAt.IsZero() })
		if at := s.now().RefreshAt; !at.Before(s.now().ExpiresAt.Add(-s.now().Margin())) {
			t.Errorf("planned for %s, when a call would find it due", at)
		}
		s.refreshes(0)
		s.due()
		eventually(t, "all refreshes", func() bool { return s.sim.Stats().Refreshes >= 21 && s.now().Generation == 2 })
		time.Sleep(1500 * time.Millisecond) // nothing is done twice
		if n := s.sim.Stats(); n.Refreshes != 21 || n.Duplicates != 0 || n.FamiliesRevoked != 0 {
			t.Errorf("the provider saw %d refreshes and %d spent tokens", n.Refreshes, n.Duplicates)
		}
	})
}

func TestWhatFailsDoesNotStandInTheWayOfWhatWorks(t *testing.T) {
	s := newStage(t, storetest.SQLite(t), setup{})
	bad := simulator.New(simulator.Config{Now: s.Clock.Now, Clients: []simulator.Client{{ID: "bot"}}})
	bad.Set(simulator.Switches{TokenHang: true})
	down := s.serve(bad)
	p := s.NewProfile(s.Assistant, storetest.Definition("Down", down))
	for i := range 80 { // more than one host's places
		s.House.Connect(p, fmt.Sprintf("down-%d", i), s.Credential("x"), behalf.Account{}, behalf.Inputs{})
	}
	s.more(10)
	s.ahead(s.broker)
	s.due()
	eventually(t, "the healthy ones", func() bool { return s.sim.Stats().Refreshes == 11 })
	if n := bad.Stats().Refreshes; n > 64 {
		t.Errorf("%d requests at once to one host", n)
	}
}

func TestAProfileWhoseClientIsRefusedIsAskedOnceInAWhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		s := newStage(t, url, setup{})
		ids := append(s.more(999), s.c.ID)
		s.sim.Set(simulator.Switches{InvalidClient: true})
		s.ahead(s.broker)
		s.due()
		eventually(t, "the first refusal", func() bool { return s.events(behalf.EventProfileFailing) == 1 })
		time.Sleep(500 * time.Millisecond) // what was under way has ended
		before := s.sim.Stats().Refreshes
		for range 360 { // an hour
			s.Clock.Advance(10 * time.Second)
			time.Sleep(30 * time.Millisecond)
		}
		asked := s.sim.Stats().Refreshes
		t.Logf("1,000 connections, invalid_client for an hour: %d requests to the provider, %d of them in the first second", asked, before)
		if asked > 100 || asked == before {
			t.Errorf("%d requests", asked)
		}
		for _, id := range ids {
			if c := s.Connection(id); c.Status != behalf.ConnectionActive || c.Failures != 0 || c.Generation != 1 {
				t.Fatalf("a connection was touched: %+v", c)
			}
		}
		if n := s.events(behalf.EventProfileFailing); n != 1 {
			t.Errorf("%d events", n)
		}
		s.sim.Set(simulator.Switches{})
		s.Clock.Advance(5 * time.Minute) // the next probe is at most so far away
		healthy := func() (n int) {
			for _, id := range ids {
				if s.Connection(id).Generation >= 2 {
					n++
				}
			}
			return n
		}
		for end := time.Now().Add(time.Minute); healthy() < len(ids); s.Clock.Advance(time.Second) {
			if time.Sleep(100 * time.Millisecond); time.Now().After(end) {
				t.Fatalf("%d of %d are healthy", healthy(), len(ids))
			}
		}
		if s.events(behalf.EventProfileRecovered) != 1 || s.events(behalf.EventConnectionLapsed) != 0 {
			t.Error("not one recovery, or something lapsed")
		}
	})
}

func TestAnIdleRefreshTokenIsKeptAliveAndItsEndAnnounced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		day := behalf.Seconds(24 * 60 * 60)
		s := newStage(t, url, setup{profile: func(d *behalf.Definition) {
			d.OAuth.Refresh.Idle, d.OAuth.Refresh.MaxAge = 10*day, 60*day
		}})
		s.sim.Set(simulator.Switches{NoExpiresIn: true}) // nothing but idleness makes it due
		s.first = grant(t, s.server.URL, "notes:read", s.DB.Now())
		s.first.ExpiresAt = time.Time{}
		s.c = s.House.Connect(s.Profile, "idle", s.first, behalf.Account{}, behalf.Inputs{})
		s.ahead(s.broker)
		eventually(t, "a plan", func() bool { return !s.now().RefreshAt.IsZero() })
		if idle := s.now().RefreshAt.Sub(s.DB.Now()); idle < 5*24*time.Hour || idle > 7*24*time.Hour {
			t.Errorf("kept alive after %s", idle)
		}
		s.Clock.Advance(8 * 24 * time.Hour)
		eventually(t, "a refresh", func() bool { return s.now().Generation == 2 })
		if n := s.events(behalf.EventConnectionExpiring); n != 0 {
			t.Errorf("%d announcements seven weeks ahead", n)
		}
		for range 9 {
			s.Clock.Advance(5 * 24 * time.Hour)
			time.Sleep(1200 * time.Millisecond)
		}
		eventually(t, "the announcement", func() bool { return s.events(behalf.EventConnectionExpiring) >= 1 })
		if s.now().Status != behalf.ConnectionActive || s.now().WarnedAt.IsZero() {
			t.Errorf("%+v", s.now())
		}
	})
}

func TestTheEndOfARefreshTokenThatTheProviderToldIsAnnounced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		const day = 24 * time.Hour
		s := newStage(t, url, setup{})
		s.sim.Set(simulator.Switches{NoRotation: true})
		s.first = grant(t, s.server.URL, "notes:read", s.DB.Now())
		end := s.DB.Now().Add(40 * day).Truncate(time.Microsecond)
		s.first.RefreshExpiresAt = end
		s.c = s.House.Connect(s.Profile, "told", s.first, behalf.Account{}, behalf.Inputs{})
		s.ahead(s.broker)
		s.Clock.Advance(5 * day) // from the next refresh on it is known that the end stands
		eventually(t, "a refresh", func() bool { return s.now().Generation == 2 })
		if c := s.now(); !c.RefreshEndsAt.Equal(end) || s.events(behalf.EventConnectionExpiring) != 0 {
			t.Errorf("%d announcements; the refresh token ends on %s, want %s", s.events(behalf.EventConnectionExpiring), c.RefreshEndsAt, end)
		}
		s.Clock.Advance(28*day + 12*time.Hour)
		eventually(t, "the announcement", func() bool { return s.events(behalf.EventConnectionExpiring) == 1 })
	})
}
