package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/vault"
)

// turned lets a rotation that is under way end.
func (h *house) turned() behalf.KeyRotation {
	h.t.Helper()
	for {
		r, more, err := h.System.TurnKeyring(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		if !more && r.Stage != behalf.KeyRotationSealing {
			return r
		}
		if !more {
			h.Clock.Advance(10 * time.Second) // every node surely has it then
		}
	}
}

// ownerless makes the rotation anybody's, as it is when its owner is dead for a
// while.
func (h *house) ownerless() {
	h.t.Helper()
	var value []byte
	var r map[string]any
	err := h.raw.QueryRow("SELECT value FROM meta WHERE name = 'rotation'").Scan(&value)
	if err == nil {
		err = json.Unmarshal(value, &r)
	}
	delete(r, "until")
	after, _ := json.Marshal(r)
	if err == nil {
		_, err = h.raw.Exec("UPDATE meta SET value = $1 WHERE name = 'rotation'", after)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// rotated rotates the keyring to the end and returns the key before.
func (h *house) rotated() (old string, r behalf.KeyRotation) {
	h.t.Helper()
	h.turned()
	old = h.primary()
	if _, err := h.System.RotateKeyring(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if r = h.turned(); r.Stage != behalf.KeyRotationDone {
		h.t.Fatalf("%+v", r)
	}
	return old, r
}

func (h *house) keyring() behalf.Keyring {
	h.t.Helper()
	k, err := h.System.Keyring(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

func (h *house) primary() string {
	h.t.Helper()
	for _, k := range h.keyring().Keys {
		if k.State == behalf.KeyringKeyPrimary {
			return k.ID
		}
	}
	h.t.Fatal("no key seals")
	return ""
}

// oldKey returns a key that nothing is sealed under, in a state.
func (h *house) oldKey(state behalf.KeyringKeyState) string {
	h.t.Helper()
	old, _ := h.rotated()
	if state == behalf.KeyringKeyDisabled {
		if err := h.System.DisableKey(h.t.Context(), old); err != nil {
			h.t.Fatal(err)
		}
	}
	return old
}

// full puts something into every column that is sealed.
func (h *house) full() behalf.Connection {
	h.t.Helper()
	c := h.connect("jane")
	h.session("john")
	h.owed("ended")
	m := h.member(behalf.RoleViewer)
	k := store.KeptSignIn{SignIn: behalf.SignIn{Member: m.ID, ExpiresAt: h.DB.Now().Add(time.Hour)}, Data: []byte("kept")}
	if err := h.DB.KeepSignIn(h.t.Context(), "hash", k, true); err != nil {
		h.t.Fatal(err)
	}
	if err := ops["CreateTranscript"](h)(h.t.Context(), h.System); err != nil {
		h.t.Fatal(err)
	}
	h.kept(h.variable(behalf.NamespaceUser, "jane", freshUser()))
	if err := ops["SettleDelivery"](h)(h.t.Context(), h.System); err != nil {
		h.t.Fatal(err)
	}
	h.verified() // which links what the audit log has
	return c
}

// sealedIn returns, of all columns named sealed… or signature, the values by
// "table.column".
func (h *house) sealedIn() map[string][][]byte {
	h.t.Helper()
	out := map[string][][]byte{}
	for _, table := range tables {
		rows, err := h.raw.Query("SELECT * FROM " + table)
		if err != nil {
			h.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			h.t.Fatal(err)
		}
		for i, column := range columns {
			if strings.HasPrefix(column, "sealed") || column == "signature" || column == "mac" {
				out[table+"."+column] = nil
				defer func() {
					if len(out[table+"."+columns[i]]) == 0 {
						h.t.Errorf("%s.%s is sealed, and there is nothing in it to try a rotation with", table, columns[i])
					}
				}()
			}
		}
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				h.t.Fatal(err)
			}
			for i, column := range columns {
				name := table + "." + column
				if b, ok := values[i].([]byte); ok && len(b) > 0 && strings.HasPrefix(column, "sealed") || column == "signature" || column == "mac" {
					out[name] = append(out[name], b)
				}
			}
		}
		if err := rows.Close(); err != nil {
			h.t.Fatal(err)
		}
	}
	return out
}

func TestARotationSealsEverythingAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.full()
		before := h.sealedIn()
		other := storetest.Open(t, url, h.Clock.Now) // a node that runs meanwhile
		old, r := h.rotated()
		if r.Done == 0 || r.Damaged != 0 || r.EndedAt.IsZero() {
			t.Errorf("%+v", r)
		}
		for column, values := range h.sealedIn() {
			if len(values) != len(before[column]) {
				t.Errorf("%s: %d values, there were %d", column, len(values), len(before[column]))
			}
			for _, v := range values {
				for _, was := range before[column] {
					if bytes.HasPrefix(v, was[:5]) {
						t.Errorf("%s has a value under the old key; is it in reseal.go?", column)
					}
				}
			}
		}
		for name, db := range map[string]*store.DB{"this node": h.DB, "a node that did not follow": other, "a new node": storetest.Open(t, url, h.Clock.Now)} {
			got, in, err := db.As(behalf.System("test")).Secrets(t.Context(), c)
			if err != nil || got.RefreshToken.Reveal() != "refresh-jane" || in.Fields["pin"].Reveal() != "pin-jane" {
				t.Errorf("%s: %v", name, err)
			}
			if _, found, err := db.FindSignIn(t.Context(), "hash"); err != nil || !found {
				t.Errorf("%s: sign-in: %v", name, err)
			}
		}

		if err := h.System.DestroyKey(t.Context(), old); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("a key that was not disabled is destroyed: %v", err)
		}
		if err := h.System.DisableKey(t.Context(), h.primary()); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("the key that seals is disabled: %v", err)
		}
		if err := h.System.DisableKey(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if err := h.System.DestroyKey(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		if k := h.keyring(); len(k.Keys) != 1 || k.Keys[0].Rows != r.Done {
			t.Errorf("%+v", k)
		}
		again := storetest.Open(t, url, h.Clock.Now)
		if got, _, err := again.As(behalf.System("test")).Secrets(t.Context(), c); err != nil || got.AccessToken.Reveal() != "access-jane" {
			t.Errorf("without the old key: %v", err)
		}
	})
}

func TestARotationWaitsForEveryNode(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		h.connect("jane")
		now := h.DB.Now().UnixMicro()
		h.exec(fmt.Sprintf("INSERT INTO nodes (id, address, spills, started_at, seen_at) VALUES ('nod_old', '', 0, %d, %[1]d)", now)) // of a binary that knows of no keyring
		if _, err := h.System.RotateKeyring(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.System.RotateKeyring(t.Context()); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("two rotations at once: %v", err)
		}
		if r := h.turned(); r.Stage != behalf.KeyRotationAdded {
			t.Errorf("%+v", r)
		}
		if k := h.keyring(); len(k.Waiting) != 1 || k.Waiting[0] != "nod_old" || k.Keys[0].State != behalf.KeyringKeyPrimary {
			t.Errorf("%+v", k)
		}
		h.exec("DELETE FROM nodes")
		if r := h.turned(); r.Stage != behalf.KeyRotationDone {
			t.Errorf("%+v", r)
		}
	})
}

func TestAKeyIsNotDisabledWhileAnythingNeedsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("jane")
		broken := h.connect("broken")
		column := "sealed = substr(sealed, 1, 30)"
		h.exec("UPDATE credentials SET " + column + " WHERE connection = '" + string(broken.ID) + "'")
		old, r := h.rotated()
		if r.Damaged != 1 {
			t.Errorf("%+v", r)
		}
		if err := h.System.DisableKey(t.Context(), old); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("a key that something is sealed under is disabled: %v", err)
		}
		h.exec("UPDATE credentials SET sealed = '' WHERE connection = '" + string(broken.ID) + "'")
		dead := h.DB.Now().Add(-time.Minute).UnixMicro()
		h.exec(fmt.Sprintf("INSERT INTO nodes (id, address, spills, started_at, seen_at) VALUES ('nod_dead', '', 1, %d, %[1]d)", dead))
		if err := h.System.DisableKey(t.Context(), old); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("a key that a dead node may have spilled with is disabled: %v", err)
		}
		h.exec("DELETE FROM nodes")
		if err := h.System.DisableKey(t.Context(), old); err != nil {
			t.Error(err)
		}
		if _, _, err := h.System.Secrets(t.Context(), c); err != nil {
			t.Error(err)
		}
		if err := h.System.EnableKey(t.Context(), old); err != nil {
			t.Error(err)
		}
		for _, id := range []string{"", "zz", "00000000", "123456789"} {
			if err := h.System.DisableKey(t.Context(), id); behalf.CodeOf(err) != behalf.CodeNotFound {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

// TestARotationOfManyRowsIsTakenOver counts on rows of its own, which are many
// where BEHALF_TEST_ROWS says so.
func TestARotationOfManyRowsIsTakenOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		rows, _ := strconv.Atoi(os.Getenv("BEHALF_TEST_ROWS"))
		rows = max(rows, 1500)
		h.many(rows)
		c := h.connect("jane")
		began := time.Now()
		if _, err := h.System.RotateKeyring(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // begins, works, and stops on the way
			db := storetest.Open(t, url, h.Clock.Now)
			for range 4 {
				if _, more, err := db.As(behalf.System("keyring")).TurnKeyring(t.Context()); err != nil || !more {
					t.Fatal(more, err)
				}
			}
			h.ownerless()
		}
		ctx, stop := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		refreshes := 0
		serving.Go(func() { // while connections are refreshed
			for ctx.Err() == nil {
				l := h.lease(c)
				got := h.Credential("n" + strconv.Itoa(refreshes))
				c = c.Refreshed(behalf.Credential{}, got)
				if moved, err := h.System.Keep(context.WithoutCancel(ctx), l, c, got); err != nil || !moved {
					t.Errorf("%v, %v", moved, err)
					return
				}
				c = h.Connection(c.ID)
				refreshes++
			}
		})
		// Two do it at once.
		var turning sync.WaitGroup
		for range 2 {
			db := storetest.Open(t, url, h.Clock.Now)
			turning.Go(func() {
				for {
					began := time.Now()
					r, more, err := db.As(behalf.System("keyring")).TurnKeyring(t.Context())
					if err != nil && behalf.CodeOf(err) != behalf.CodeUnavailable { // that is: the others are busy with SQLite
						t.Error(err)
						return
					}
					time.Sleep(time.Since(began)) // as the servers do
					if r.Stage == behalf.KeyRotationDone {
						return
					}
					if !more && err == nil {
						h.Clock.Advance(10 * time.Second) // the other's turn ends
					}
				}
			})
		}
		turning.Wait()
		stop()
		serving.Wait()
		k := h.keyring()
		if k.Keys[0].Rows != 0 { // sealed late by who did not follow
			if err := h.System.DisableKey(t.Context(), k.Keys[0].ID); behalf.CodeOf(err) != behalf.CodeConflict {
				t.Error(err)
			}
			h.turned()
			k = h.keyring()
		}
		if k.Keys[0].Rows != 0 || k.Rotation.Damaged != 0 || k.Rotation.Done < int64(rows) {
			t.Errorf("%+v, %+v", k, *k.Rotation)
		}
		if err := h.System.DisableKey(t.Context(), k.Keys[0].ID); err != nil {
			t.Error(err)
		}
		if got, _, err := h.System.Secrets(t.Context(), c); err != nil || !strings.HasPrefix(got.AccessToken.Reveal(), "access-n") {
			t.Error(err)
		}
		t.Logf("%d rows, with %d refreshes meanwhile: %s", rows, refreshes, time.Since(began).Round(time.Millisecond))
	})
}

// many makes credentials: rows of a connection that is there for them.
func (h *house) many(n int) {
	h.t.Helper()
	c := h.connect("many")
	tx, err := h.raw.Begin()
	if err != nil {
		h.t.Fatal(err)
	}
	k := h.opened()
	for i := range n {
		place := vault.Place{Table: "credentials", Row: string(c.ID) + "/" + strconv.Itoa(i+100), Column: "sealed", Generation: 0}
		sealed, err := k.Seal([]byte(`{"access_token":"a","scopes":[],"obtained_at":1}`), place)
		if err != nil {
			h.t.Fatal(err)
		}
		if _, err := tx.Exec("INSERT INTO credentials (connection, generation, fence, sealed, obtained_at) VALUES ($1, 0, $2, $3, 0)", string(c.ID), i+100, sealed); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		h.t.Fatal(err)
	}
}

// opened returns the database's keyring.
func (h *house) opened() *vault.Keyring {
	h.t.Helper()
	var wrapped []byte
	if err := h.raw.QueryRow("SELECT value FROM meta WHERE name = 'keyring'").Scan(&wrapped); err != nil {
		h.t.Fatal(err)
	}
	k, err := vault.OpenKeyring(storetest.RootKey("k"), wrapped)
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

func TestTheKeyringMovesToAnotherRootKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("jane")
		if err := h.System.RewrapKeyring(t.Context(), storetest.RootKey("n")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.System.Secrets(t.Context(), c); err != nil {
			t.Error(err)
		}
		if _, err := store.Open(t.Context(), storetest.Config(url, h.Clock.Now)); err == nil {
			t.Error("the old root key still opens the database")
		}
		cfg := storetest.Config(url, h.Clock.Now)
		cfg.Log, cfg.RootKey = slog.New(slog.DiscardHandler), func(context.Context, vault.Kept) (vault.RootKey, error) { return storetest.RootKey("n"), nil }
		db, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if got, _, err := db.As(behalf.System("test")).Secrets(t.Context(), c); err != nil || got.AccessToken.Reveal() != "access-jane" {
			t.Error(err)
		}
	})
}

func TestARotationsRowThatWasChangedIsNoReasonToStop(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("jane")
		if _, err := h.raw.Exec("INSERT INTO meta (name, value) VALUES ('rotation', $1)", []byte("{")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.System.TurnKeyring(t.Context()); err == nil {
			t.Error("a damaged record is taken for none")
		}
		if _, _, err := h.System.Secrets(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
}
