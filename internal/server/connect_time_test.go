package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// asking is the page that asks.
var asking = still(http.StatusOK, []string{"Connect Acorn Notes to Support Bot", "Continue to Acorn Notes"})

var expired = outcome{http.StatusGone, saysExpired, "expired", "expired", "The link was not used in time"}

func TestASessionWhoseTimeIsOver(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	s.behaves(simulator.Switches{Log: true})
	t.Run("before it was opened has expired", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		s.Clock.Advance(15*time.Minute - time.Second)
		s.ends(of, s.browser().get(of.link), asking)
		s.Clock.Advance(2 * time.Second)
		if got := s.status(of); got.Status != "expired" {
			t.Errorf("before anybody looked it is %s", got.Status)
		}
		s.ends(of, s.browser().get(of.link), expired)
		s.ends(of, s.browser().get(of.link), expired)
	})
	t.Run("before Continue has expired", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		b.get(of.link)
		s.Clock.Advance(16 * time.Minute)
		p := b.post(of.link, nil)
		s.ends(of, p, expired)
		if len(p.Header.Values("Set-Cookie")) != 0 {
			t.Error("the browser was bound")
		}
	})
	t.Run("and that was not declined in time has expired", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		s.Clock.Advance(16 * time.Minute)
		s.ends(of, s.browser().post(of.link, values("decline", "yes")), expired)
	})
	t.Run("while the person was at the provider has expired", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		back := b.agrees(b.presses(of))
		s.Clock.Advance(16 * time.Minute)
		s.ends(of, b.get(back), expired)
		s.ends(of, b.get(back), expired)
		s.ends(of, b.get(of.link), expired)
	})
	t.Run("as the assistant wanted it has expired then", func(t *testing.T) {
		s := s.in(t)
		short := s.begin(s.Profile, func(b *api.SessionBody) { b.ExpiresIn = 60 })
		long := s.begin(s.Profile, func(b *api.SessionBody) { b.ExpiresIn = 3600 })
		s.Clock.Advance(61 * time.Second)
		s.ends(short, s.browser().get(short.link), expired)
		s.Clock.Advance(58 * time.Minute)
		s.ends(long, s.browser().get(long.link), asking)
		s.Clock.Advance(2 * time.Minute)
		s.ends(long, s.browser().get(long.link), expired)
	})
	if n := s.Sim.Stats().TokenRequests; n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}

func TestAnExpiredSessionGoesHome(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Assistant: returning})
	of := s.begin(s.Profile, func(b *api.SessionBody) { b.ReturnURL = "https://bot.example/back" })
	b := s.browser()
	back := b.agrees(b.presses(of))
	another := s.begin(s.Profile, func(b *api.SessionBody) { b.ReturnURL = "https://bot.example/back" })
	s.browser().presses(another)
	s.Clock.Advance(16 * time.Minute)
	s.ends(another, s.browser().get(another.link), expired) // a page: it is not this browser's home

	p := b.get(back)
	s.ends(of, p, outcome{http.StatusSeeOther, nil, "expired", "expired", "not used in time"})
	if to := p.Header.Get("Location"); to != "https://bot.example/back?session="+of.ID+"&status=expired" {
		t.Errorf("to %q", to)
	}
}

func TestTheSweepEndsWhatIsOverdue(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.ExpiresIn = 60 })
		s.Clock.Advance(2 * time.Minute)
		if err := s.sweep(); err != nil {
			s.t.Fatal(err)
		}
		kept, err := s.System.Session(s.t.Context(), s.Assistant.ID, behalf.SessionID(of.ID))
		if err != nil || kept.Status != behalf.SessionExpired || kept.Problem == nil || kept.EndedAt.IsZero() {
			s.t.Errorf("it is kept as %+v, %v", kept, err)
		}
		s.ends(of, s.browser().get(of.link), expired)
	})
}

func TestAProfileThatChangesWhileThePersonIsAway(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	edited := func(s *stage, p behalf.Profile) {
		d := p.Definition
		d.Scope = []behalf.ScopeParam{{Key: "scope", Value: "notes:read"}}
		s.Do(s.Owner, http.MethodPut, s.api("/profiles/"+string(p.ID)), d).Into(s.t, &struct{}{})
	}
	deleted := func(s *stage, p behalf.Profile) {
		if got := s.Do(s.Owner, http.MethodDelete, s.api("/profiles/"+string(p.ID)), nil); got.Status != http.StatusOK {
			s.t.Fatalf("status %d: %s", got.Status, got.Body)
		}
	}
	t.Run("by an edit has the session fail", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile())
		b := s.browser()
		back := b.agrees(b.presses(of))
		edited(s, of.profile)
		s.ends(of, b.get(back), failed("profile", "The authorization profile was changed while the person was at the provider"))
	})
	t.Run("by an edit is asked anew where the person presses Continue again", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile())
		b := s.browser()
		old := b.agrees(b.presses(of))
		edited(s, of.profile)
		current := b.presses(of)
		if param(current, "state") == param(old, "state") || param(current, "scope") != "notes:read" {
			t.Errorf("asked with %s", current)
		}
		s.ends(of, b.get(old), still(http.StatusNotFound, saysUnknown))
		s.connected(of, b.get(b.agrees(current)))
	})
	t.Run("by an edit before the link was opened is taken as it is", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile())
		edited(s, of.profile)
		s.connected(of, s.browser().connects(of))
	})
	gone := failed("profile", "The authorization profile was deleted")
	gone.says = []string{"could not be connected", "The authorization profile was deleted", "For whoever looks after Support Bot"}
	t.Run("by its deletion has the session fail", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile())
		b := s.browser()
		back := b.agrees(b.presses(of))
		deleted(s, of.profile)
		s.ends(of, b.get(back), gone)
		s.ends(of, b.get(back), gone)
	})
	t.Run("by its deletion before the link was opened has the session fail", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile())
		deleted(s, of.profile)
		s.ends(of, s.browser().get(of.link), gone)
		s.ends(of, s.browser().post(of.link, nil), gone)
	})
}
