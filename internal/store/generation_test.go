package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/vault"
)

// refreshed refreshes a connection once and returns it as it is then.
func (h *house) refreshed(c behalf.Connection, name string) behalf.Connection {
	h.t.Helper()
	h.mustKeep(h.lease(c), c, name, true)
	return h.Connection(c.ID)
}

func (h *house) generations(c behalf.Connection) []behalf.Generation {
	h.t.Helper()
	all, err := h.System.Generations(h.t.Context(), c)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func (h *house) generation(c behalf.Connection, name string) behalf.Generation {
	h.t.Helper()
	g, err := behalf.FindGeneration(h.generations(c), name)
	if err != nil {
		h.t.Fatal(err)
	}
	return g
}

func (h *house) restored(c behalf.Connection, name string) behalf.Connection {
	h.t.Helper()
	if _, err := h.System.RestoreGeneration(h.t.Context(), c, h.generation(c, name)); err != nil {
		h.t.Fatal(err)
	}
	return h.Connection(c.ID)
}

func TestWhatIsKeptOfACredentialSaysHowItCame(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("u")
		frozen := h.lease(c)
		h.Clock.Advance(2 * time.Minute)
		h.mustKeep(h.lease(c), c, "second", true)
		h.mustKeep(frozen, c, "late", false)
		second := h.Connection(c.ID)
		h.Clock.Advance(time.Minute)
		n := h.restored(h.refreshed(second, "third"), "1")
		var seen []string
		for _, g := range h.generations(n) {
			line := string(g.Origin)
			if g.Current {
				line += " current"
			}
			if g.Stray {
				line += " stray"
			}
			if g.ObtainedAt.IsZero() || g.KeptAt.IsZero() {
				t.Errorf("%s: obtained %v, kept %v", g.ID(), g.ObtainedAt, g.KeptAt)
			}
			seen = append(seen, line)
		}
		if want := []string{"restore current", "refresh", "refresh", "refresh stray", "connect"}; !slices.Equal(seen, want) {
			t.Errorf("%q, not %q", seen, want)
		}
		all := h.generations(n)
		if first := all[len(all)-1]; !all[0].ObtainedAt.Equal(first.ObtainedAt) || !all[0].KeptAt.After(first.KeptAt) {
			t.Errorf("what is restored was obtained when it was: %+v, %+v", all[0], first)
		}
	})
}

func TestAGenerationIsRestoredAsTheNextOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.refreshed(h.connect("u"), "second")
		lease := h.lease(c)
		lapsed := c.Lapse("The provider refused.")
		if err := h.System.Release(ctx, lease, lapsed); err != nil {
			t.Fatal(err)
		}
		c = h.Connection(c.ID)
		n := h.restored(c, "1")
		if n.Generation != 3 || n.Fence <= lease.Fence || n.Status != behalf.ConnectionActive || n.Reason != "" || n.Failures != 0 {
			t.Errorf("restored: %+v", n)
		}
		if got := h.inForce(c.ID); got != "access-u" {
			t.Errorf("in force is %s", got)
		}
		if n := h.told(behalf.EventConnectionRecovered, c.ID); n != 1 {
			t.Errorf("%d events that it works again", n)
		}
		if lines := strings.Join(h.rows("audit"), "\n"); !strings.Contains(lines, "action=connection.restore") || !strings.Contains(lines, "generation 1-1, as generation 3-") {
			t.Error("it is not audited")
		}
		again := h.refreshed(n, "fourth")
		if got := h.inForce(c.ID); again.Generation != 4 || got != "access-fourth" {
			t.Errorf("a refresh of what was restored: generation %d, %s", again.Generation, got)
		}
		if n := h.restored(again, "2"); h.inForce(c.ID) != "access-second" || h.told(behalf.EventConnectionRecovered, c.ID) != 1 {
			t.Errorf("one that had not lapsed: %+v", n)
		}
		if _, err := h.System.RestoreGeneration(ctx, again, h.generation(again, "1")); !errors.Is(err, store.ErrStale) {
			t.Errorf("of a connection that has moved: %v", err)
		}
		now := h.Connection(c.ID)
		if _, err := h.System.RestoreGeneration(ctx, now, h.generation(now, "5")); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("the one in force: %v", err)
		}
		if _, err := h.System.RestoreGeneration(ctx, now, behalf.Generation{Number: 77, Fence: 1}); behalf.CodeOf(err) != behalf.CodeNotFound {
			t.Errorf("one that is not there: %v", err)
		}
		for i := range 6 {
			now = h.restored(now, h.generations(now)[1].ID())
			if got := len(h.generations(now)); got != 5 {
				t.Fatalf("%d generations are kept after %d restorations", got, i+1)
			}
		}
		if err := h.System.Revoke(ctx, now, "over"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.System.RestoreGeneration(ctx, h.Connection(c.ID), behalf.Generation{Number: 1, Fence: 1}); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("of one that was ended: %v", err)
		}
	})
}

func TestARestorationWaitsForARefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.refreshed(h.connect("u"), "second")
		first := h.generation(c, "1")
		l := h.lease(c)
		if _, err := h.System.RestoreGeneration(ctx, h.Connection(c.ID), first); !errors.Is(err, store.ErrBusy) {
			t.Errorf("while a refresh is under way: %v", err)
		}
		if got := h.generations(c); len(got) != 2 {
			t.Errorf("what was not restored is kept all the same: %+v", got)
		}
		h.Clock.Advance(2 * time.Minute) // it was frozen
		h.restored(h.Connection(c.ID), "1")
		h.mustKeep(l, c, "late", false)
		if got := h.inForce(c.ID); got != "access-u" {
			t.Errorf("the late answer of a refresh before it won: %s", got)
		}
		n := h.Connection(c.ID)
		late := slices.IndexFunc(h.generations(n), func(g behalf.Generation) bool { return g.Stray })
		if late < 0 {
			t.Fatal("the late answer is lost")
		}
		h.restored(n, h.generations(n)[late].ID())
		if got := h.inForce(c.ID); got != "access-late" {
			t.Errorf("a stray is restored: %s", got)
		}
	})
}

func TestARestorationIsSeenOnOtherNodesWithinASecond(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.refreshed(h.connect("u"), "second")
		other := running(t, url, nil).As(behalf.System("other"))
		token := func() string {
			held, err := other.HeldConnection(ctx, c.ID)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := other.HeldSecrets(ctx, held)
			if err != nil {
				t.Fatal(err)
			}
			return got.AccessToken.Reveal()
		}
		if got := token(); got != "access-second" {
			t.Fatal(got)
		}
		h.restored(c, "1")
		within(t, "a restored generation", func() bool { return token() == "access-u" })
	})
}

// TestOnlyItsOwnGenerationsAreRestored moves sealed rows about, as somebody
// would who can write to the database but has no key, and restores them.
func TestOnlyItsOwnGenerationsAreRestored(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		mine, theirs := h.refreshed(h.connect("mine"), "second"), h.refreshed(h.connect("theirs"), "other")
		for name, statement := range map[string]string{
			"another connection's":      "UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE connection = $2 AND generation = 1) WHERE connection = $1 AND generation = 1",
			"another generation's":      "UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE connection = $1 AND generation = 2) WHERE connection = $1 AND generation = 1 AND $2 <> ''",
			"inputs":                    "UPDATE credentials SET sealed = (SELECT sealed_inputs FROM connections WHERE id = $1) WHERE connection = $1 AND generation = 1 AND $2 <> ''",
			"another connection's row":  "UPDATE credentials SET connection = $1, fence = 9 WHERE connection = $2 AND generation = 1",
			"a row of a further number": "UPDATE credentials SET generation = 0 WHERE connection = $1 AND generation = 1 AND $2 <> ''",
		} {
			undo := h.keep("credentials", "connections")
			h.exec(statement, mine.ID, theirs.ID)
			all := h.generations(mine)
			moved := all[len(all)-1]
			if i := slices.IndexFunc(all, func(g behalf.Generation) bool { return g.Fence == 9 }); i >= 0 {
				moved = all[i]
			}
			if _, err := h.System.RestoreGeneration(ctx, mine, moved); !errors.Is(err, vault.ErrOpen) {
				t.Errorf("%s: %v", name, err)
			}
			if got := h.inForce(mine.ID); got != "access-second" {
				t.Errorf("%s: in force is %s", name, got)
			}
			undo()
		}
		h.restored(mine, "1")
		var sealed []string
		for _, row := range h.rows("credentials") {
			_, after, _ := strings.Cut(row, "sealed=")
			bytes, _, _ := strings.Cut(after, " obtained_at=")
			sealed = append(sealed, bytes)
		}
		slices.Sort(sealed)
		if kept := len(sealed); kept != 5 || len(slices.Compact(sealed)) != kept {
			t.Errorf("of %d sealed rows two are the same: one was copied", kept)
		}
	})
}

func TestAReconnectAndAnImportAreKeptAsSuch(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u")
		for range 6 {
			h.connect("u")
		}
		row := behalf.Import{User: "u", Account: behalf.Account{Subject: "sub-u"}, Credential: h.Credential("imported")}
		if _, err := h.System.Import(ctx, h.Profile, []behalf.Import{row}, []behalf.Inputs{{Fields: map[string]secret.Text{}}}, true, false); err != nil {
			t.Fatal(err)
		}
		all := h.generations(h.Connection(c.ID))
		if len(all) != 5 || all[0].Origin != behalf.OriginImport || all[1].Origin != behalf.OriginConnect {
			t.Errorf("%+v", all)
		}
	})
}
