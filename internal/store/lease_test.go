package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func (h *house) mustKeep(l store.Lease, c behalf.Connection, name string, moves bool) {
	h.t.Helper()
	got := h.Credential(name)
	moved, err := h.System.Keep(h.t.Context(), l, c.Refreshed(h.Credential("old"), got), got)
	if err != nil || moved != moves {
		h.t.Fatalf("%s: moved %v, %v", name, moved, err)
	}
}

// inForce returns the access token that a call would be made with.
func (h *house) inForce(id behalf.ConnectionID) string {
	h.t.Helper()
	got, _, err := h.System.Secrets(h.t.Context(), h.Connection(id))
	if err != nil {
		h.t.Fatal(err)
	}
	return got.AccessToken.Reveal()
}

func (h *house) told(kind behalf.EventType, id behalf.ConnectionID) int {
	n := 0
	for _, row := range h.rows("events") {
		if strings.Contains(row, "type="+string(kind)) && strings.Contains(row, string(id)) {
			n++
		}
	}
	return n
}

func TestOneOfManyGetsTheLease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("u")
		var got, busy atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				switch _, err := h.System.Lease(t.Context(), c, time.Minute); {
				case err == nil:
					got.Add(1)
				case errors.Is(err, store.ErrBusy):
					busy.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 || busy.Load() != 15 {
			t.Errorf("%d leases, %d busy", got.Load(), busy.Load())
		}
	})
}

func TestTheLifeOfALease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u")
		l := h.lease(c)
		if !l.Takeover.IsZero() || l.Fence != c.Fence+1 || l.Generation != 1 {
			t.Errorf("the first: %+v", l)
		}
		if h.Connection(c.ID).IntentAt.IsZero() {
			t.Error("the intent is not durable")
		}
		if err := h.System.Release(ctx, l, c); err != nil {
			t.Fatal(err)
		}
		l2 := h.lease(h.Connection(c.ID))
		if !l2.Takeover.IsZero() || l2.Fence != l.Fence+1 {
			t.Errorf("after a clear outcome: %+v", l2)
		}
		if err := h.System.Release(ctx, l, c.Lapse("by a former owner")); err != nil {
			t.Fatal(err)
		}
		if got := h.Connection(c.ID); got.Status != behalf.ConnectionActive || got.IntentAt.IsZero() {
			t.Errorf("an old fence gave the lease back: %+v", got)
		}
		if _, err := h.System.Lease(ctx, c, time.Minute); !errors.Is(err, store.ErrBusy) {
			t.Errorf("while it is held: %v", err)
		}
		h.Clock.Advance(time.Minute - time.Second)
		if _, err := h.System.Lease(ctx, c, time.Minute); !errors.Is(err, store.ErrBusy) {
			t.Errorf("a second before its end: %v", err)
		}
		h.Clock.Advance(time.Second)
		begun := h.Connection(c.ID).IntentAt
		l3 := h.lease(c)
		if !l3.Takeover.Equal(begun) {
			t.Errorf("taken over: %v, not %v", l3.Takeover, begun)
		}
		unclear := h.Connection(c.ID)
		unclear.IntentAt, unclear.NextAttemptAt, unclear.Failures = begun, h.DB.Now().Add(time.Hour), 3
		if err := h.System.Release(ctx, l3, unclear); err != nil {
			t.Fatal(err)
		}
		if got := h.Connection(c.ID); !got.IntentAt.Equal(begun) || !got.NextAttemptAt.Equal(unclear.NextAttemptAt) || got.Failures != 3 {
			t.Errorf("released with its outcome unknown: %+v", got)
		}
		l4 := h.lease(c)
		if !l4.Takeover.Equal(begun) {
			t.Errorf("an open intent stays known: %+v", l4)
		}
		h.mustKeep(l4, c, "kept", true)
		if got := h.Connection(c.ID); !got.IntentAt.IsZero() || got.Generation != 2 || got.Fence != l4.Fence || got.Failures != 0 {
			t.Errorf("kept: %+v", got)
		}
		if _, err := h.System.Lease(ctx, c, time.Minute); !errors.Is(err, store.ErrStale) {
			t.Errorf("of a generation that is over: %v", err)
		}
		if h.inForce(c.ID) != "access-kept" {
			t.Error("another credential is in force")
		}
	})
}

func TestALateAnswerIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		t.Run("whatever the fence, where nobody moved the pointer", func(t *testing.T) {
			c := h.connect("a")
			frozen := h.lease(c)
			h.Clock.Advance(2 * time.Minute)
			h.lease(c)
			h.mustKeep(frozen, c, "late", true)
			if h.inForce(c.ID) != "access-late" {
				t.Error("not in force")
			}
		})
		t.Run("and un-lapses what a faster loser lapsed", func(t *testing.T) {
			c := h.connect("b")
			frozen := h.lease(c)
			h.Clock.Advance(2 * time.Minute)
			if err := h.System.Release(ctx, h.lease(c), c.Lapse("refused")); err != nil {
				t.Fatal(err)
			}
			if _, err := h.System.Lease(ctx, c, time.Minute); !errors.Is(err, store.ErrStale) {
				t.Errorf("a lapsed connection is not refreshed: %v", err)
			}
			h.mustKeep(frozen, c, "late", true)
			if got := h.Connection(c.ID); got.Status != behalf.ConnectionActive || got.Reason != "" {
				t.Errorf("%+v", got)
			}
			if h.told(behalf.EventConnectionLapsed, c.ID) != 1 || h.told(behalf.EventConnectionRecovered, c.ID) != 1 {
				t.Error("nobody was told")
			}
		})
		t.Run("as a stray, where another answer is in force", func(t *testing.T) {
			c, l := h.withStray("c")
			if h.inForce(c.ID) != "access-in-force" {
				t.Error("the stray is in force")
			}
			if err := h.System.Adopt(ctx, l, c); err != nil {
				t.Fatal(err)
			}
			if h.inForce(c.ID) != "access-stray" {
				t.Error("the stray was not adopted")
			}
			adopted := h.Connection(c.ID)
			if adopted.Generation != 3 || adopted.Status != behalf.ConnectionActive {
				t.Errorf("%+v", adopted)
			}
			if err := h.System.Adopt(ctx, h.lease(adopted), adopted); !errors.Is(err, store.ErrStale) {
				t.Errorf("adopted in turns: %v", err)
			}
		})
		t.Run("where there is no stray there is nothing to adopt", func(t *testing.T) {
			c := h.connect("d")
			if err := h.System.Adopt(ctx, h.lease(c), c); !errors.Is(err, store.ErrStale) {
				t.Errorf("%v", err)
			}
		})
	})
}

func TestReconnectDuringARefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u")
		l := h.lease(c)
		again := h.Connect(h.Profile, "u", h.Credential("fresh"), behalf.Account{Subject: "sub-u"}, behalf.Inputs{})
		if again.ID != c.ID || again.Generation != 2 || !again.IntentAt.IsZero() {
			t.Fatalf("%+v", again)
		}
		if err := h.System.Release(ctx, l, c.Lapse("the old grant is dead")); err != nil {
			t.Fatal(err)
		}
		h.mustKeep(l, c, "stale", false)
		if got := h.Connection(c.ID); got.Status != behalf.ConnectionActive || got.Generation != 2 || h.inForce(c.ID) != "access-fresh" {
			t.Errorf("%+v", got)
		}
		if h.told(behalf.EventConnectionLapsed, c.ID) != 0 || h.told(behalf.EventConnectionRenewed, c.ID) != 1 {
			t.Error("events")
		}
	})
}

func TestRevokeDuringARefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u")
		l := h.lease(c)
		if err := h.System.Revoke(ctx, c, "over"); err != nil {
			t.Fatal(err)
		}
		if err := h.System.Revoke(ctx, c, "over"); err != nil {
			t.Errorf("again: %v", err)
		}
		h.mustKeep(l, c, "late", false)
		if err := h.System.Release(ctx, l, c); err != nil {
			t.Fatal(err)
		}
		if got := h.Connection(c.ID); got.Status != behalf.ConnectionRevoked || got.Generation != 1 || got.Reason != "over" {
			t.Errorf("resurrected: %+v", got)
		}
		for _, row := range h.rows("credentials") {
			if strings.Contains(row, string(c.ID)) {
				t.Error("a credential of an ended connection is kept")
			}
		}
		if _, _, err := h.System.Secrets(ctx, c); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("%v", err)
		}
		if h.told(behalf.EventConnectionRevoked, c.ID) != 1 {
			t.Error("told more than once, or not at all")
		}
		if n := h.connect("u"); n.ID == c.ID {
			t.Error("an ended connection came back")
		}
	})
}

func TestTheLastGenerationsAreKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("u")
		for range 8 {
			h.mustKeep(h.lease(c), c, "next", true)
			c = h.Connection(c.ID)
		}
		if n := len(h.rows("credentials")); n != 5 {
			t.Errorf("%d rows of credentials", n)
		}
	})
}

func TestTwoSessionsOfOnePersonMakeOneConnection(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		sessions := make([]behalf.ConnectSession, 6)
		for i := range sessions {
			sessions[i] = h.session("u")
		}
		var wg sync.WaitGroup
		for _, s := range sessions {
			wg.Go(func() {
				for {
					_, err := h.System.Connect(t.Context(), s, behalf.SessionResult{Credential: h.Credential("x"), Account: behalf.Account{Subject: "same"}}, behalf.Inputs{}, nil)
					if errors.Is(err, store.ErrStale) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
		wg.Wait()
		all, err := h.System.ConnectionsOf(t.Context(), h.Assistant.ID, h.Profile.ID, "u", "")
		if err != nil || len(all) != 1 || all[0].Generation != int64(len(sessions)) {
			t.Errorf("%d connections, %v", len(all), err)
		}
	})
}

func TestTheDefaultConnection(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		a := h.Connect(h.Profile, "u", h.Credential("a"), behalf.Account{Subject: "a"}, behalf.Inputs{})
		b := h.Connect(h.Profile, "u", h.Credential("b"), behalf.Account{Subject: "b"}, behalf.Inputs{})
		if !a.Default || b.Default {
			t.Error("the first is meant")
		}
		if err := h.System.MakeDefault(ctx, b); err != nil {
			t.Fatal(err)
		}
		all, err := h.System.ConnectionsOf(ctx, h.Assistant.ID, h.Profile.ID, "u", "")
		if err != nil || len(all) != 2 || all[0].ID != b.ID || !all[0].Default || all[1].Default {
			t.Errorf("%+v, %v", all, err)
		}
		if err := h.System.Revoke(ctx, a, "over"); err != nil {
			t.Fatal(err)
		}
		if err := h.System.MakeDefault(ctx, a); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("an ended one: %v", err)
		}
		if !h.Connection(b.ID).Default {
			t.Error("none is meant any more")
		}
	})
}

func TestAProfileFailsOnceForAllWhoNotice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		for _, to := range []behalf.ProfileStatus{behalf.ProfileFailing, behalf.ProfileFailing, behalf.ProfileConfigured, behalf.ProfileConfigured} {
			if err := h.System.SetProfileStatus(ctx, h.Profile, to, "why"); err != nil {
				t.Fatal(err)
			}
			if p, err := h.System.Profile(ctx, h.Assistant.ID, h.Profile.Slug); err != nil || p.Status != to {
				t.Errorf("%s, %v", p.Status, err)
			}
		}
		if n := len(h.rows("events")); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

func TestOverdueSessions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		n, done := h.session("u"), h.session("v")
		if _, err := h.System.EndSession(ctx, done, behalf.SessionDeclined, behalf.Outcome{Code: "declined"}); err != nil {
			t.Fatal(err)
		}
		if all, err := h.System.OverdueSessions(ctx); err != nil || len(all) != 0 {
			t.Errorf("%d, %v", len(all), err)
		}
		h.Clock.Advance(behalf.SessionLifetime)
		if all, err := h.System.OverdueSessions(ctx); err != nil || len(all) != 1 || all[0].ID != n.ID {
			t.Errorf("%d, %v", len(all), err)
		}
	})
}

func TestALeaseOfWhatWasReadLongAgo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		read := h.connect("u")
		l, err := h.System.LeaseUnread(ctx, read, time.Minute)
		if err != nil {
			t.Fatalf("as it was read: %v", err)
		}
		if _, err := h.System.LeaseUnread(ctx, read, time.Minute); !errors.Is(err, store.ErrBusy) {
			t.Errorf("while it is held: %v", err)
		}
		if err := h.System.Release(ctx, l, read); err != nil {
			t.Fatal(err)
		}
		if _, err := h.System.LeaseUnread(ctx, read, time.Minute); !errors.Is(err, store.ErrStale) {
			t.Errorf("after somebody has tried: %v", err)
		}
		if _, err := h.System.LeaseUnread(ctx, h.Connection(read.ID), time.Minute); err != nil {
			t.Errorf("read again: %v", err)
		}
	})
}

func TestALeaseBringsWhatTheRequestNeeds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("u")
		h.mustKeep(h.lease(c), c, "second", true)
		c = h.Connection(c.ID)
		l := h.lease(c)
		got, inputs, err := h.System.Leased(l)
		want, wanted, failed := h.System.Secrets(t.Context(), h.Connection(c.ID))
		if err != nil || failed != nil || !got.AccessToken.Equal(want.AccessToken) || len(inputs.Fields) != len(wanted.Fields) || got.AccessToken.Reveal() != "access-second" {
			t.Errorf("%v, %v", err, failed)
		}
		for what, sql := range map[string]string{
			"points back":            "UPDATE connections SET generation = 1, fence = 1 WHERE id = '%s'",
			"is another user's":      "UPDATE connections SET end_user = 'mallory' WHERE id = '%s'",
			"has a newer credential": "INSERT INTO credentials (connection, generation, fence, sealed, obtained_at) SELECT connection, 3, fence, sealed, obtained_at FROM credentials WHERE generation = 2 AND connection = '%s'",
		} {
			c := h.connect(freshUser())
			h.mustKeep(h.lease(c), c, "second", true)
			h.exec(strings.ReplaceAll(sql, "%s", string(c.ID)))
			if _, _, err := h.System.Leased(h.lease(h.Connection(c.ID))); err == nil {
				t.Errorf("a connection that %s gives its secrets", what)
			}
		}
	})
}

func TestWhoGoesOnWithARefreshedConnectionHasItAsItIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c, got := h.connect("u"), h.Credential("next")
		now, moved, err := h.System.KeepOn(ctx, h.lease(c), c.Refreshed(h.Credential("old"), got), got)
		kept := h.Connection(c.ID)
		if err != nil || !moved || now.Version != kept.Version || now.Generation != kept.Generation || now.Fence != kept.Fence || !now.ExpiresAt.Equal(kept.ExpiresAt) ||
			!slices.Equal(now.ScopesGranted, kept.ScopesGranted) || now.Status != kept.Status || !now.UpdatedAt.Equal(kept.UpdatedAt) {
			t.Errorf("%v:\n%+v\n%+v", err, now, kept)
		}
		l := h.lease(kept)
		h.exec("UPDATE connections SET version = version + 1 WHERE id = '" + string(c.ID) + "'") // somebody else's change
		if now, moved, err = h.System.KeepOn(ctx, l, kept.Refreshed(got, got), got); err != nil || !moved || now.ID != "" {
			t.Errorf("changed by somebody else, too: %v, %v, %+v", moved, err, now)
		}
	})
}
