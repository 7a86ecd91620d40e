package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// spilling opens a second store on the house's database, with a spill file.
func (h *house) spilling(dir string) (*store.DB, error) {
	cfg := storetest.Config(h.url, h.Clock.Now)
	cfg.SpillDir = dir
	return store.Open(h.t.Context(), cfg)
}

func TestARefreshedCredentialThatTheDatabaseDoesNotTakeIsSpilledAndReplayed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx, dir := newHouse(t, url), t.Context(), t.TempDir()
		c, other := h.connect("u1"), h.connect("u2")
		db, err := h.spilling(dir)
		must(t, err)
		scope := db.As(behalf.System("test"))
		read := func() string {
			held, err := scope.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "u1", "")
			must(t, err)
			got, _, err := scope.HeldSecrets(ctx, held[0])
			must(t, err)
			return got.AccessToken.Reveal()
		}
		if read() != "access-u1" {
			t.Fatal("not the first")
		}
		l, err := scope.Lease(ctx, c, time.Minute)
		must(t, err)
		h.exec("ALTER TABLE credentials RENAME TO away")
		got := h.Credential("u1-2")
		if moved, err := scope.Keep(ctx, l, c.Refreshed(behalf.Credential{}, got), got); err != nil || !moved {
			t.Fatal("kept:", moved, err)
		}
		if token := read(); token != "access-u1-2" {
			t.Errorf("meanwhile this node serves %s", token)
		}
		if _, err := scope.Lease(ctx, other, time.Minute); behalf.CodeOf(err) != behalf.CodeUnavailable {
			t.Errorf("a lease is taken before it is written: %v", err)
		}
		file := spillFile(t, dir)
		content, err := os.ReadFile(file)
		must(t, err)
		if len(content) == 0 || bytes.Contains(content, []byte("u1-2")) || bytes.Contains(content, []byte(c.ID)) {
			t.Errorf("the file has %d bytes, or something readable", len(content))
		}

		// What the node would leave if it died now; the last record half written.
		after := t.TempDir()
		must(t, os.WriteFile(filepath.Join(after, filepath.Base(file)), append(bytes.Clone(content), content[:len(content)/2]...), 0o600))
		if _, err := h.spilling(after); err == nil {
			t.Error("a node starts without having written what was left")
		}
		h.exec("ALTER TABLE away RENAME TO credentials")
		heir, err := h.spilling(after)
		must(t, err)
		if now := h.Connection(c.ID); now.Generation != 2 || h.inForce(c.ID) != "access-u1-2" {
			t.Errorf("after the replay generation %d is in force", now.Generation)
		}
		if left := spillFile(t, after); left == filepath.Join(after, filepath.Base(file)) {
			t.Error("the file that was left is there still")
		}

		if _, err := scope.Lease(ctx, other, time.Minute); err != nil { // which writes first, a second time
			t.Errorf("a lease when the database is back: %v", err)
		}
		if content, err := os.ReadFile(file); err != nil || len(content) != 0 {
			t.Errorf("the file has %d bytes when all is written: %v", len(content), err)
		}
		if now := h.Connection(c.ID); now.Generation != 2 || now.Status != behalf.ConnectionActive {
			t.Errorf("written twice: %+v", now)
		}
		must(t, errors.Join(db.Close(), heir.Close()))
		if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 0 {
			t.Errorf("a node that ended leaves %v", names)
		}
		if n := len(h.rows("nodes")); n != 0 {
			t.Errorf("%d nodes are left", n)
		}
	})
}

// TestACredentialIsInTheFileBeforeTheDatabaseHasIt kills a process, as far as its
// files show, between a provider's answer and the commit.
func TestACredentialIsInTheFileBeforeTheDatabaseHasIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx, dir := newHouse(t, url), t.Context(), t.TempDir()
		c := h.connect("u1")
		db, err := h.spilling(dir)
		must(t, err)
		scope := db.As(behalf.System("test"))
		l, err := scope.Lease(ctx, c, time.Minute)
		must(t, err)
		undo, free := h.keep("credentials", "connections"), h.block()
		kept := make(chan error, 1)
		go func() {
			got := h.Credential("u1-2")
			_, err := scope.Keep(ctx, l, c.Refreshed(behalf.Credential{}, got), got)
			kept <- err
		}()
		file := spillFile(t, dir)
		var content []byte
		for deadline := time.Now().Add(4 * time.Second); len(content) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) { // before the commit is given up
			content, err = os.ReadFile(file)
			must(t, err)
		}
		select {
		case err := <-kept:
			t.Fatal("the database has it already:", err)
		default:
		}
		free()
		must(t, <-kept)
		if content, err := os.ReadFile(file); err != nil || len(content) != 0 {
			t.Errorf("the file has %d bytes when the database has it: %v", len(content), err)
		}
		undo()
		if h.Connection(c.ID).Generation != 1 {
			t.Fatal("not as before the commit")
		}

		for _, name := range []string{"the killed process had not committed", "it had committed"} {
			after := t.TempDir()
			must(t, os.WriteFile(filepath.Join(after, filepath.Base(file)), content, 0o600))
			heir, err := h.spilling(after)
			must(t, err)
			if now := h.Connection(c.ID); now.Generation != 2 || h.inForce(c.ID) != "access-u1-2" {
				t.Errorf("%s: generation %d is in force", name, now.Generation)
			}
			must(t, heir.Close())
			if names, _ := filepath.Glob(filepath.Join(after, "*")); len(names) != 0 {
				t.Errorf("%s: what was left is there still: %v", name, names)
			}
		}
		for _, line := range h.rows("audit") {
			if strings.Contains(line, "connection.stray") {
				t.Errorf("written twice: %s", line)
			}
		}
		must(t, db.Close())
	})
}

// TestALongSpillFileIsFollowedByAnother fills files with what the database does
// not take.
func TestALongSpillFileIsFollowedByAnother(t *testing.T) {
	h, ctx, dir := newHouse(t, storetest.SQLite(t)), t.Context(), t.TempDir()
	db, err := h.spilling(dir)
	must(t, err)
	scope := db.As(behalf.System("test"))
	var all []behalf.Connection
	var leases []store.Lease
	for range 9 {
		c := h.connect(freshUser())
		l, err := scope.Lease(ctx, c, time.Minute)
		must(t, err)
		all, leases = append(all, c), append(leases, l)
	}
	h.exec("ALTER TABLE credentials RENAME TO away")
	for i, c := range all {
		got := h.Credential(c.User + "-2")
		got.IDToken = secret.New(strings.Repeat("long", 50_000))
		_, err := scope.Keep(ctx, leases[i], c.Refreshed(behalf.Credential{}, got), got)
		must(t, err)
	}
	files, after := spillFiles(t, dir), t.TempDir()
	if len(files) < 3 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(after, filepath.Base(f)), content, 0o600))
	}
	h.exec("ALTER TABLE away RENAME TO credentials")
	heir, err := h.spilling(after)
	must(t, err)
	for _, c := range all {
		if h.Connection(c.ID).Generation != 2 || h.inForce(c.ID) != "access-"+c.User+"-2" {
			t.Errorf("%s: generation %d is in force", c.User, h.Connection(c.ID).Generation)
		}
	}
	_, err = scope.Lease(ctx, h.Connection(all[0].ID), time.Minute) // which writes first
	must(t, err)
	if left := spillFiles(t, dir); len(left) != 1 || left[0] == files[0] {
		t.Errorf("when all is written there are %v", left)
	}
	must(t, errors.Join(db.Close(), heir.Close()))
	if left := append(spillFiles(t, dir), spillFiles(t, after)...); len(left) != 0 {
		t.Errorf("nodes that ended leave %v", left)
	}
}

// block keeps everybody from writing credentials until free is called.
func (h *house) block() (free func()) {
	h.t.Helper()
	conn, err := h.raw.Conn(h.t.Context())
	must(h.t, err)
	begin, end := []string{"BEGIN IMMEDIATE"}, "ROLLBACK"
	if !strings.HasPrefix(h.url, "sqlite:") {
		begin = []string{"BEGIN", "LOCK TABLE credentials IN EXCLUSIVE MODE"}
	}
	for _, text := range begin {
		_, err := conn.ExecContext(h.t.Context(), text)
		must(h.t, err)
	}
	return func() {
		_, err := conn.ExecContext(h.t.Context(), end)
		must(h.t, errors.Join(err, conn.Close()))
	}
}

func spillFile(t *testing.T, dir string) string {
	t.Helper()
	names := spillFiles(t, dir)
	if len(names) != 1 {
		t.Fatalf("%d spill files", len(names))
	}
	return names[0]
}

func spillFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "spill-*.bin"))
	must(t, err)
	return names
}

func TestASpillFileOfAnotherKeyringIsAReasonNotToStart(t *testing.T) {
	h, dir := newHouse(t, storetest.SQLite(t)), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "spill-node_x.bin"), []byte("\x00\x00\x00\x01\xa9\x3c\x5f\x93x"), 0o600)) // whole, and its checksum is right
	if _, err := h.spilling(dir); err == nil || !strings.Contains(err.Error(), "spill-node_x.bin") {
		t.Errorf("the error does not name the file: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "spill-node_x.bin"), []byte("\x00\x00\x00\x01\xa9\x3c\x5f\x94x"), 0o600)) // torn
	db, err := h.spilling(dir)
	must(t, err)
	must(t, db.Close())
}

func TestATakeoverWaitsForWhatTheFormerOwnerMayHaveSpilled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u1")
		owner, err := h.spilling(t.TempDir())
		must(t, err)
		_, err = owner.As(behalf.System("test")).Lease(ctx, c, 45*time.Second)
		must(t, err) // and now it dies, or is frozen
		for _, after := range []time.Duration{50 * time.Second, 5 * time.Minute, 4 * time.Minute} {
			h.Clock.Advance(after)
			if _, err := h.System.Lease(ctx, c, time.Minute); !errors.Is(err, store.ErrBusy) {
				t.Errorf("%s later: %v", after, err)
			}
		}
		h.Clock.Advance(2 * time.Minute)
		l, err := h.System.Lease(ctx, c, time.Minute)
		if err != nil || l.Takeover.IsZero() {
			t.Errorf("when it is over: %+v, %v", l, err)
		}
		_ = owner.Close()
	})
}

func TestManyRefreshesShareCommits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		var all []behalf.Connection
		for range 40 {
			all = append(all, h.connect(freshUser()))
		}
		var wg sync.WaitGroup
		for i, c := range all {
			wg.Go(func() {
				l, err := h.System.Lease(ctx, c, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if i%4 == 0 {
					err = h.System.Release(ctx, l, c.Lapse("refused"))
				} else {
					got := h.Credential(c.User + "-2")
					_, err = h.System.Keep(ctx, l, c.Refreshed(behalf.Credential{}, got), got)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i, c := range all {
			now := h.Connection(c.ID)
			switch {
			case i%4 == 0 && (now.Status != behalf.ConnectionLapsed || now.Generation != 1 || h.told(behalf.EventConnectionLapsed, c.ID) != 1):
				t.Errorf("released: %+v", now)
			case i%4 != 0 && (now.Generation != 2 || h.inForce(c.ID) != "access-"+c.User+"-2" || now.Fence != 2):
				t.Errorf("kept: %+v", now)
			}
		}
	})
}

func TestAConnectionThatIsPointedBackIsNoticed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		c := h.connect("u1")
		h.mustKeep(h.lease(c), c, "second", true)
		now := h.Connection(c.ID)
		secrets := func() error {
			_, _, err := h.System.Secrets(ctx, h.Connection(c.ID))
			return err
		}
		must(t, secrets())
		for name, statements := range map[string][]string{
			"to an older generation":                    {"UPDATE connections SET generation = 1, fence = 1"},
			"and the newer one deleted":                 {"UPDATE connections SET generation = 1, fence = 1", "DELETE FROM credentials WHERE generation = 2"},
			"and what was signed, too":                  {"UPDATE connections SET generation = 1, fence = 1, signed_generation = 1, signed_fence = 1"},
			"and the signature erased":                  {"UPDATE connections SET generation = 1, fence = 1, signed_generation = 0, signed_fence = 0, signature = ''"},
			"and the signature erased, the row as well": {"UPDATE connections SET generation = 1, fence = 1, signed_generation = 0, signed_fence = 0, signature = ''", "DELETE FROM credentials WHERE generation = 2"},
		} {
			undo := h.keep("credentials", "connections")
			for _, s := range statements {
				h.exec(s)
			}
			if err := secrets(); behalf.CodeOf(err) != behalf.CodeUnavailable || !strings.Contains(err.Error(), "older credential") {
				t.Errorf("%s: %v", name, err)
			}
			undo()
		}
		must(t, secrets())
		if h.Connection(c.ID).Generation != now.Generation {
			t.Error("not as it was")
		}
	})
}
