package store_test

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// running opens a store as another node does, with its background work.
func running(t *testing.T, url string, change func(*store.Config)) *store.DB {
	t.Helper()
	cfg := storetest.Config(url, time.Now)
	if change != nil {
		change(&cfg)
	}
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done; _ = db.Close() })
	return db
}

// within fails the test where something takes longer than a second to be so.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > 5*time.Second {
			t.Fatalf("%s: not within 5 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("%s after %s", what, took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("%s: after %s", what, took)
	}
}

func TestWhatChangesOnOneNodeIsSeenOnTheOthersWithinASecond(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u1")
		k, key, err := h.System.CreateKey(ctx, behalf.Key{Name: "k", Assistant: h.Assistant.ID})
		if err != nil {
			t.Fatal(err)
		}
		other := running(t, url, nil)
		scope := other.As(behalf.System("test"))

		if _, err := other.Authenticate(ctx, key); err != nil {
			t.Fatal(err)
		}
		if got, err := scope.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "u1", ""); err != nil || len(got) != 1 {
			t.Fatal(len(got), err)
		}
		if got, err := scope.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "u2", ""); err != nil || len(got) != 0 {
			t.Fatal(len(got), err)
		}
		if _, err := scope.HeldProfile(ctx, h.Assistant.ID, h.Profile.Slug); err != nil {
			t.Fatal(err)
		}
		if a, err := scope.HeldAssistant(ctx, h.Assistant.Slug); err != nil || a.TokenReads {
			t.Fatal(err)
		}

		must(t, h.System.RevokeKey(ctx, k.ID))
		within(t, "a revoked key", func() bool {
			_, err := other.Authenticate(ctx, key)
			return behalf.CodeOf(err) == behalf.CodeUnauthenticated
		})
		must(t, h.System.Revoke(ctx, c, "enough"))
		within(t, "an ended connection", func() bool {
			got, err := scope.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "u1", "")
			return err == nil && len(got) == 0
		})
		h.connect("u2")
		within(t, "a connection that was not there", func() bool {
			got, err := scope.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "u2", "")
			return err == nil && len(got) == 1
		})
		a := h.Assistant
		a.TokenReads = true
		must(t, discard(h.System.SaveAssistant(ctx, a)))
		within(t, "a changed assistant", func() bool {
			a, err := scope.HeldAssistant(ctx, h.Assistant.Slug)
			return err == nil && a.TokenReads
		})
		must(t, h.System.DeleteProfile(ctx, h.Profile))
		within(t, "a deleted profile", func() bool {
			_, err := scope.HeldProfile(ctx, h.Assistant.ID, h.Profile.Slug)
			return behalf.CodeOf(err) == behalf.CodeNotFound
		})
	})
}

func TestAChangeIsSeenAtOnceWhereItWasMade(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u1")
		held := h.held(c.ID)
		if got, _, err := h.System.HeldSecrets(ctx, held); err != nil || got.AccessToken.Reveal() != "access-u1" {
			t.Fatal(err)
		}
		if got, in, err := h.System.HeldSecrets(ctx, held); err != nil || got.AccessToken.Reveal() != "access-u1" || got.RefreshToken.Reveal() != "refresh-u1" ||
			!got.ExpiresAt.Equal(c.ExpiresAt) || in.Fields["pin"].Reveal() != "pin-u1" || len(got.Scopes) != 1 {
			t.Errorf("the second time, from memory: %+v %v", got, err)
		}
		l := h.lease(c)
		n := c.Refreshed(behalf.Credential{}, h.Credential("u1-2"))
		must(t, discard(h.System.Keep(ctx, l, n, h.Credential("u1-2"))))
		if got, _, err := h.System.HeldSecrets(ctx, h.held(c.ID)); err != nil || got.AccessToken.Reveal() != "access-u1-2" {
			t.Errorf("after a refresh: %v", err)
		}
		must(t, h.System.Revoke(ctx, h.Connection(c.ID), "enough"))
		if got, err := h.System.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "u1", ""); err != nil || len(got) != 0 {
			t.Errorf("after it was ended: %d, %v", len(got), err)
		}
	})
}

// TestAChangeThatCommitsLateIsNotPassedOver has a transaction with a lower
// number commit after one with a higher number was read.
func TestAChangeThatCommitsLateIsNotPassedOver(t *testing.T) {
	url := storetest.Postgres(t)
	h, ctx := newHouse(t, url), t.Context()
	h.connect("u1")
	other := running(t, url, nil)
	scope := other.As(behalf.System("test"))
	here := func(user string) int {
		got, err := scope.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, user, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	if here("u1") != 1 || here("u2") != 0 {
		t.Fatal("not what was made")
	}
	slow, err := h.raw.BeginTx(ctx, &sql.TxOptions{})
	must(t, err)
	defer func() { _ = slow.Rollback() }()
	must(t, discard(slow.Exec("UPDATE connections SET status = 'revoked' WHERE end_user = 'u1'")))
	must(t, discard(slow.Exec("INSERT INTO changes (txid, node, seq, noun, object, holder) VALUES (CAST(CAST(pg_current_xact_id() AS text) AS bigint), 'n', 1, 'connection', 'x', '"+string(h.Profile.ID)+"/u1')")))
	h.connect("u2")
	within(t, "what began later, while something is open before it", func() bool { return here("u2") == 1 })
	time.Sleep(600 * time.Millisecond) // it is read, and read again
	if here("u1") != 1 {
		t.Fatal("what is not committed is seen")
	}
	must(t, slow.Commit())
	within(t, "what committed late", func() bool { return here("u1") == 0 })
}

func TestAProcessThatWasFrozenDoesNotServeItsPast(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context() // whose clock stands still, and that does no background work
		_, key, err := h.System.CreateKey(ctx, behalf.Key{Name: "k", Assistant: h.Assistant.ID})
		must(t, err)
		frozen := h.Clock
		if _, err := h.DB.Authenticate(ctx, key); err != nil {
			t.Fatal(err)
		}
		other := storetest.Open(t, url, time.Now).As(behalf.System("test"))
		keys, err := other.Keys(ctx, store.Page{})
		must(t, err)
		must(t, other.RevokeKey(ctx, keys[len(keys)-1].ID))
		if _, err := h.DB.Authenticate(ctx, key); err != nil {
			t.Fatalf("the test shows nothing: it was seen already: %v", err)
		}
		frozen.Advance(time.Minute)
		if _, err := h.DB.Authenticate(ctx, key); behalf.CodeOf(err) != behalf.CodeUnauthenticated {
			t.Errorf("awake, it takes a key that was revoked meanwhile: %v", err)
		}
	})
}

func TestWithoutTheDatabaseTheHeldIsServedForTheGrace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u1")
		_, key, err := h.System.CreateKey(ctx, behalf.Key{Name: "k", Assistant: h.Assistant.ID})
		must(t, err)
		read := func() error {
			if _, err := h.DB.Authenticate(ctx, key); err != nil {
				return err
			}
			held, err := h.System.HeldConnection(ctx, c.ID)
			if err != nil {
				return err
			}
			_, _, err = h.System.HeldSecrets(ctx, held)
			return err
		}
		must(t, read())
		must(t, h.DB.Close())
		for _, after := range []time.Duration{2 * time.Second, time.Minute, 3*time.Minute + 50*time.Second} {
			h.Clock.Advance(after)
			if err := read(); err != nil {
				t.Fatalf("%s later: %v", after, err)
			}
		}
		if since, left := h.DB.Without(); since < 4*time.Minute || left <= 0 || left > time.Minute {
			t.Errorf("without it for %s, %s left", since, left)
		}
		h.Clock.Advance(10 * time.Second)
		if err := read(); behalf.CodeOf(err) != behalf.CodeUnavailable {
			t.Errorf("after the grace: %v", err)
		}
		if _, err := h.DB.Authenticate(ctx, secret.NewKey(behalf.KeyPrefix)); behalf.CodeOf(err) != behalf.CodeUnavailable {
			t.Errorf("a key that nobody has seen: %v", err)
		}
	})
}

// TestWhatNodesHoldIsNotedWhenItChanges holds that no method changes what other
// nodes hold in memory without telling them.
func TestWhatNodesHoldIsNotedWhenItChanges(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	kept := func() string {
		h.exec("UPDATE connections SET last_used_at = 0, refresh_at = 0, lease_owner = '', lease_until = 0, lease_fence = 0, intent_at = 0, intent_before = 0, version = 0")
		return strings.Join(slices.Concat(h.rows("assistants"), h.rows("keys"), h.rows("profiles"), h.rows("connections")), "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		call := ops[name](h)
		before, notes := kept(), len(h.rows("changes"))
		h.exec("UPDATE connections SET version = 1, lease_fence = 1, lease_until = 1 << 60")
		_ = call(t.Context(), h.System)
		if kept() != before && len(h.rows("changes")) == notes {
			t.Errorf("%s changes something and notes nothing", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
