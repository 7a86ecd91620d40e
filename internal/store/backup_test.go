package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/testdb"
	"github.com/behalf-dev/behalf/internal/vault"
)

// empties are databases without a schema.
func empties(t *testing.T) map[string]string {
	return map[string]string{"SQLite": storetest.NoSQLite(t), "PostgreSQL": testdb.Postgres(t)}
}

func (h *house) backup() []byte {
	h.t.Helper()
	var b bytes.Buffer
	if _, err := h.DB.Backup(h.t.Context(), &b, nil); err != nil {
		h.t.Fatal(err)
	}
	return b.Bytes()
}

func TestABackupIsRestoredToEitherDatabase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.full()
		if _, err := h.System.VerifyAudit(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		kept := h.backup()
		if bytes.Contains(kept, []byte("jane")) || bytes.Contains(kept, []byte("assistants")) {
			t.Error("the backup can be read")
		}
		for name, to := range empties(t) {
			cfg := storetest.Config(to, h.Clock.Now)
			r, err := store.Restore(t.Context(), cfg, bytes.NewReader(kept), nil)
			if err != nil || r.Rows == 0 || r.Engine != h.DB.Engine() {
				t.Fatalf("to %s: %+v, %v", name, r, err)
			}
			there := &house{House: h.House, t: t, url: to, raw: rawDB(t, to)}
			for _, table := range tables {
				if table == "nodes" || table == "changes" || table == "tunnels" {
					continue
				}
				if was, is := strings.Join(h.rows(table), "\n"), strings.Join(there.rows(table), "\n"); was != is {
					t.Errorf("to %s: %s:\n%s\nwas\n%s", name, table, is, was)
				}
			}
			db := storetest.Open(t, to, h.Clock.Now)
			got, in, err := db.As(behalf.System("test")).Secrets(t.Context(), c)
			if err != nil || got.RefreshToken.Reveal() != "refresh-jane" || in.Fields["pin"].Reveal() != "pin-jane" {
				t.Errorf("to %s: %v", name, err)
			}
			if r, err := db.As(behalf.System("test")).VerifyAudit(t.Context(), nil); err != nil || len(r.Problems) > 0 {
				t.Errorf("to %s: %+v, %v", name, r, err)
			}
			if _, err := store.Restore(t.Context(), cfg, bytes.NewReader(kept), nil); !errors.Is(err, store.ErrNotEmpty) {
				t.Errorf("to %s again: %v", name, err)
			}
		}
	})
}

func TestADamagedBackupRestoresNothing(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	h.full()
	kept := h.backup()
	for name, bad := range map[string][]byte{
		"cut off":        kept[:len(kept)-10],
		"a byte changed": append(append(bytes.Clone(kept[:len(kept)/2]), kept[len(kept)/2]^1), kept[len(kept)/2+1:]...),
		"something else": []byte("SQLite format 3\x00"),
		"nothing":        nil,
	} {
		for engine, to := range empties(t) {
			if _, err := store.Restore(t.Context(), storetest.Config(to, h.Clock.Now), bytes.NewReader(bad), nil); !errors.Is(err, vault.ErrStream) {
				t.Errorf("%s: %v", name, err)
			}
			db := storetest.Open(t, to, h.Clock.Now)
			if all, err := db.As(behalf.System("test")).Assistants(t.Context(), store.Page{}); err != nil || len(all) != 0 {
				t.Errorf("%s left %d assistants on %s, %v", name, len(all), engine, err)
			}
		}
	}
	cfg := storetest.Config(storetest.NoSQLite(t), h.Clock.Now)
	cfg.RootKey = func(context.Context, vault.Kept) (vault.RootKey, error) { return storetest.RootKey("n"), nil }
	if _, err := store.Restore(t.Context(), cfg, bytes.NewReader(kept), nil); !errors.Is(err, vault.ErrStream) {
		t.Errorf("another root key: %v", err)
	}
}

func TestABackupUnderLoadIsOneState(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		h.many(2000)
		ctx, stop := context.WithCancel(t.Context())
		var load sync.WaitGroup
		load.Go(func() {
			c := h.connect("busy")
			for i := 0; ctx.Err() == nil; i++ {
				l := h.lease(c)
				got := h.Credential("n" + strconv.Itoa(i))
				c = c.Refreshed(behalf.Credential{}, got)
				if _, err := h.System.Keep(context.WithoutCancel(ctx), l, c, got); err != nil {
					t.Error(err)
					return
				}
				c = h.Connection(c.ID)
			}
		})
		var kept bytes.Buffer
		for range 3 {
			kept.Reset()
			if _, err := h.DB.Backup(t.Context(), &kept, nil); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		load.Wait()
		to := storetest.NoSQLite(t)
		if _, err := store.Restore(t.Context(), storetest.Config(to, h.Clock.Now), io.Reader(&kept), nil); err != nil {
			t.Fatal(err)
		}
		system := storetest.Open(t, to, h.Clock.Now).As(behalf.System("test"))
		all, err := system.Connections(t.Context(), h.Assistant.ID, store.ConnectionFilter{}, store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if _, _, err := system.Secrets(t.Context(), c); err != nil && c.User == "busy" {
				t.Errorf("%s: the credential in force is not in the backup: %v", c.User, err)
			}
		}
	})
}
