package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestWhatHappensIsCountedByTheHour(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("42")
		hour := h.DB.Now().Truncate(time.Hour)
		for range 3 {
			h.System.Used(c, store.UseProxy, "")
		}
		l := h.lease(c)
		if _, err := h.System.Keep(t.Context(), l, c.Refreshed(h.Credential("42"), h.Credential("new")), h.Credential("new")); err != nil {
			t.Fatal(err)
		}
		c = h.Connection(c.ID)
		l = h.lease(c)
		failed := c
		failed.Failures++
		if err := h.System.Release(t.Context(), l, failed); err != nil {
			t.Fatal(err)
		}
		if err := flush(t, h); err != nil {
			t.Fatal(err)
		}
		h.System.Used(c, store.UseProxy, "") // the next batch adds to the same row
		if err := flush(t, h); err != nil {
			t.Fatal(err)
		}
		got, err := h.System.Tallies(t.Context(), h.Assistant.ID, hour)
		if err != nil {
			t.Fatal(err)
		}
		want := []store.Tally{{h.Profile.ID, store.UseProxy, hour, 4}, {h.Profile.ID, store.CountRefresh, hour, 1}, {h.Profile.ID, store.CountFailed, hour, 1}}
		if !slices.EqualFunc(got, want, func(a, b store.Tally) bool {
			return a.Hour.Equal(b.Hour) && a.Profile == b.Profile && a.Kind == b.Kind && a.Count == b.Count
		}) {
			t.Errorf("got %v, want %v", got, want)
		}
		if later, _ := h.System.Tallies(t.Context(), h.Assistant.ID, hour.Add(time.Hour)); len(later) != 0 {
			t.Errorf("of later: %v", later)
		}
		h.Clock.Advance(40 * 24 * time.Hour)
		if err := h.System.ForgetTallies(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := h.System.Tallies(t.Context(), h.Assistant.ID, time.Time{}); len(got) != 0 {
			t.Errorf("not forgotten: %v", got)
		}
	})
}

func TestConnectionsAreCountedAndListedNewestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		a := h.connect("a")
		h.Clock.Advance(time.Second) // ids of one millisecond have no order
		b := h.connect("b")
		h.Clock.Advance(time.Second)
		c := h.connect("c")
		if err := h.System.Revoke(t.Context(), b, "over"); err != nil {
			t.Fatal(err)
		}
		counts, err := h.System.CountConnections(t.Context(), h.Assistant.ID)
		if err != nil {
			t.Fatal(err)
		}
		sum := map[behalf.ConnectionStatus]int64{}
		for _, n := range counts {
			sum[n.Status] += n.Count
		}
		if sum[behalf.ConnectionActive] != 2 || sum[behalf.ConnectionRevoked] != 1 || len(sum) != 2 {
			t.Errorf("counted %v", counts)
		}
		page := func(after behalf.ConnectionID, f store.ConnectionFilter) []behalf.ConnectionID {
			t.Helper()
			all, err := h.System.LatestConnections(t.Context(), h.Assistant.ID, f, store.Page{After: string(after), Limit: 2})
			if err != nil {
				t.Fatal(err)
			}
			var ids []behalf.ConnectionID
			for _, c := range all {
				ids = append(ids, c.ID)
			}
			return ids
		}
		for _, test := range []struct {
			name  string
			after behalf.ConnectionID
			f     store.ConnectionFilter
			want  []behalf.ConnectionID
		}{
			{"the first page", "", store.ConnectionFilter{}, []behalf.ConnectionID{c.ID, b.ID}},
			{"the second", b.ID, store.ConnectionFilter{}, []behalf.ConnectionID{a.ID}},
			{"those that stand so", "", store.ConnectionFilter{Status: behalf.ConnectionRevoked}, []behalf.ConnectionID{b.ID}},
			{"somebody's", "", store.ConnectionFilter{User: "a"}, []behalf.ConnectionID{a.ID}},
			{"another profile's", "", store.ConnectionFilter{Profile: "prf_x"}, nil},
		} {
			if got := page(test.after, test.f); !slices.Equal(got, test.want) {
				t.Errorf("%s: got %v, want %v", test.name, got, test.want)
			}
		}
	})
}

func TestTheAuditLogIsReadBackwardsPageByPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("42")
		for range 5 {
			if err := h.System.MakeDefault(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		h.System.Used(c, store.UseProxy, "")
		if err := flush(t, h); err != nil {
			t.Fatal(err)
		}
		read := func(f store.AuditFilter) []string {
			t.Helper()
			var seen []string
			after := ""
			for {
				lines, err := h.System.AuditLines(t.Context(), f, store.Page{After: after, Limit: 2})
				if err != nil {
					t.Fatal(err)
				}
				if len(lines) == 0 {
					return seen
				}
				for _, l := range lines {
					if slices.Contains(seen, l.ID) {
						t.Fatalf("%s comes twice", l.ID)
					}
					seen, after = append(seen, l.ID), l.ID
				}
			}
		}
		for _, test := range []struct {
			name string
			f    store.AuditFilter
			want int
		}{
			{"all of a connection", store.AuditFilter{Object: string(c.ID)}, 7},
			{"without calls", store.AuditFilter{Object: string(c.ID), Quiet: true}, 6},
			{"one action", store.AuditFilter{Object: string(c.ID), Action: "connection.default"}, 5},
			{"actions of a noun", store.AuditFilter{Object: string(c.ID), Action: "connection"}, 7},
			{"half a noun", store.AuditFilter{Object: string(c.ID), Action: "connect"}, 0},
			{"nobody's", store.AuditFilter{Actor: "administrator:none"}, 0},
			{"another assistant's", store.AuditFilter{Assistant: "ast_other", Object: string(c.ID)}, 0},
		} {
			if got := read(test.f); len(got) != test.want {
				t.Errorf("%s: %d lines, want %d", test.name, len(got), test.want)
			}
		}
		if lines, err := h.System.AuditLines(t.Context(), store.AuditFilter{}, store.Page{After: "nonsense"}); err != nil || len(lines) != 0 {
			t.Errorf("after nonsense: %v, %v", lines, err)
		}
	})
}

// flush writes what waits: a run that ends does.
func flush(t *testing.T, h *house) error {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	return h.DB.Run(ended)
}
