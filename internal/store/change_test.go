package store_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/testdb"
	"github.com/behalf-dev/behalf/internal/vault"
)

const time10 = 10 * time.Minute

// TestAChangeItsAuditLineAndItsEventAreOne takes away the table that is written
// last and sees that nothing of the change is there.
func TestAChangeItsAuditLineAndItsEventAreOne(t *testing.T) {
	audited := []string{"RotateKeyring", "DisableKey", "EnableKey", "DestroyKey", "RewrapKeyring", "TakeRecoveryKit", "CreateAssistant", "SaveAssistant", "SaveLogo", "CreateKey", "RevokeKey", "ReserveProfile", "CreateProfile", "SaveProfile", "ApplyProfiles", "DeleteProfile", "Import",
		"SetProfileStatus", "CreateSession", "EndSession", "Connect", "Revoke", "MakeDefault", "Keep", "Release", "Adopt"}
	told := []string{"SetProfileStatus", "Import", "Connect", "Revoke", "Release"}
	for table, names := range map[string][]string{"audit": audited, "events": told} {
		storetest.Each(t, func(t *testing.T, url string) {
			h := newHouse(t, url)
			for _, name := range names {
				t.Run(name+" without "+table, func(t *testing.T) {
					call := ops[name](h)
					h.exec("ALTER TABLE " + table + " RENAME COLUMN assistant TO gone")
					before := h.dump()
					err := call(t.Context(), h.System)
					if behalf.CodeOf(err) != behalf.CodeUnavailable {
						t.Errorf("without its %s: %v", table, err)
					}
					if diff := cmp.Diff(before, h.dump()); diff != "" {
						t.Errorf("something was changed:\n%s", diff)
					}
					h.exec("ALTER TABLE " + table + " RENAME COLUMN gone TO assistant")
					n := len(h.rows(table))
					if err := call(t.Context(), h.System); err != nil {
						t.Fatalf("with it: %v", err)
					}
					if got := len(h.rows(table)) - n; got != 1 {
						t.Errorf("%d lines in %s", got, table)
					}
				})
			}
		})
	}
}

func TestAStaleVersionChangesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		a, p, n := h.Assistant, h.Profile, h.session("u")
		if saved, err := h.System.SaveAssistant(ctx, a); err != nil || saved.Version != 2 {
			t.Fatal(saved.Version, err)
		}
		if saved, err := h.System.SaveProfile(ctx, p); err != nil || saved.Version != 2 {
			t.Fatal(saved.Version, err)
		}
		if err := h.System.SaveSession(ctx, n, behalf.SessionSecrets{}); err != nil {
			t.Fatal(err)
		}
		before := h.dump()
		a.Name, p.Name = "stale", "stale"
		if _, err := h.System.SaveAssistant(ctx, a); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("assistant: %v", err)
		}
		if _, err := h.System.SaveProfile(ctx, p); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("profile: %v", err)
		}
		if err := h.System.DeleteProfile(ctx, p); behalf.CodeOf(err) != behalf.CodeConflict {
			t.Errorf("profile: %v", err)
		}
		if err := h.System.SaveSession(ctx, n, behalf.SessionSecrets{}); !errors.Is(err, store.ErrStale) {
			t.Errorf("session: %v", err)
		}
		if _, err := h.System.SessionSecrets(ctx, n); !errors.Is(err, store.ErrStale) {
			t.Errorf("session: %v", err)
		}
		if _, err := h.System.Connect(ctx, n, behalf.SessionResult{Credential: h.Credential("x")}, behalf.Inputs{}, nil); !errors.Is(err, store.ErrStale) {
			t.Errorf("connect: %v", err)
		}
		if diff := cmp.Diff(before, h.dump()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNamesAreUnique(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		if _, err := h.System.CreateAssistant(ctx, behalf.NewAssistant("Support  bot!", h.DB.Now())); conflict(err) != "slug" {
			t.Errorf("an assistant's address: %v", err)
		}
		other := h.NewAssistant("Other")
		other.Slug = h.Assistant.Slug
		if _, err := h.System.SaveAssistant(ctx, other); conflict(err) != "slug" {
			t.Errorf("an assistant's address, saved: %v", err)
		}
		for _, name := range []string{"Acorn", "ACORN", "acorn ", "Acorn!"} {
			_, err := h.System.CreateProfile(ctx, behalf.Profile{Assistant: h.Assistant.ID, Definition: storetest.Definition(name, provider)})
			if conflict(err) != "name" {
				t.Errorf("%q: %v", name, err)
			}
		}
		birch := h.NewProfile(h.Assistant, storetest.Definition("Birch", provider))
		birch.Name = "Acorn"
		if _, err := h.System.SaveProfile(ctx, birch); conflict(err) != "name" {
			t.Errorf("saved: %v", err)
		}
		h.NewProfile(h.NewAssistant("Third"), storetest.Definition("Acorn", provider)) // another assistant's may be called so
		if err := h.System.DeleteProfile(ctx, h.Profile); err != nil {
			t.Fatal(err)
		}
		again := h.NewProfile(h.Assistant, storetest.Definition("Acorn", provider))
		if p, err := h.System.Profile(ctx, h.Assistant.ID, "acorn"); err != nil || p.ID != again.ID {
			t.Errorf("the name of a deleted profile is free again: %v", err)
		}
		for range 3 {
			if _, err := h.System.ReserveProfile(ctx, h.Assistant.ID); err != nil {
				t.Errorf("reserved: %v", err)
			}
		}
		if p := h.NewProfile(h.Assistant, storetest.Definition("記録", provider)); p.Slug != string(p.ID) {
			t.Errorf("a name without a Latin letter has the address %q", p.Slug)
		}
	})
}

func conflict(err error) string {
	if e := (*behalf.Error)(nil); errors.As(err, &e) && e.Code == behalf.CodeConflict {
		return e.Field
	}
	return "no conflict"
}

func TestWhatIsReturnedIsWhatIsRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		same := cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })
		if a, err := h.System.Assistant(ctx, string(h.Assistant.ID)); err != nil || !cmp.Equal(a, h.Assistant) {
			t.Errorf("assistant: %v\n%s", err, cmp.Diff(h.Assistant, a))
		}
		fresh := storetest.Open(t, url, h.Clock.Now)
		p, err := fresh.As(behalf.System("test")).Profile(ctx, h.Assistant.ID, h.Profile.Slug)
		if err != nil || p.Plan == nil {
			t.Fatal(err)
		}
		want := h.Profile
		p.Plan, want.Plan = nil, nil
		if diff := cmp.Diff(want, p, same); diff != "" {
			t.Errorf("profile:\n%s", diff)
		}
		secrets := behalf.SessionSecrets{Fields: map[string]secret.Text{"pin": secret.New("1")}, State: secret.New("s"), CodeVerifier: secret.New("v"), Nonce: secret.New("n"),
			Result: &behalf.SessionResult{Credential: h.Credential("held"), Account: behalf.Account{Subject: "s", Label: "l"}, Captured: map[string]string{"k": "v"}}}
		n, link := h.NewSession(h.Profile, "u", secrets)
		n.Status, n.Problem, n.BrowserHash, n.StateHash, n.FinishHash = behalf.SessionPending, &behalf.Outcome{Code: "c", Detail: "d", Fix: "f"}, []byte{1}, secret.Hash(secret.New("s")), []byte{3}
		n.RedirectedAt, n.ReturnedAt, n.RedirectURI, n.Issuer, n.FinishTries, n.Tenant = h.DB.Now(), h.DB.Now(), "r", "i", 2, "t"
		if err := h.System.SaveSession(ctx, n, secrets); err != nil {
			t.Fatal(err)
		}
		n.Version++
		for name, read := range map[string]func() (behalf.ConnectSession, error){
			"by id":   func() (behalf.ConnectSession, error) { return h.System.Session(ctx, n.Assistant, n.ID) },
			"by link": func() (behalf.ConnectSession, error) { _, s, err := h.DB.SessionByLink(ctx, link); return s, err },
			"by state": func() (behalf.ConnectSession, error) {
				_, s, err := h.DB.SessionByState(ctx, secrets.State)
				return s, err
			},
		} {
			if got, err := read(); err != nil || !cmp.Equal(n, got) {
				t.Errorf("session %s: %v\n%s", name, err, cmp.Diff(n, got))
			}
		}
		if got, err := h.System.SessionSecrets(ctx, n); err != nil || !cmp.Equal(secrets, got, same) {
			t.Errorf("session secrets: %v\n%s", err, cmp.Diff(secrets, got, same))
		}
		in := behalf.Inputs{Fields: secrets.Fields, Captured: map[string]string{"k": "v"}}
		made, err := h.System.Connect(ctx, n, *secrets.Result, in, []string{"notes:read", "notes:write"})
		if err != nil {
			t.Fatal(err)
		}
		read := h.Connection(made.ID)
		if diff := cmp.Diff(made, read); diff != "" {
			t.Errorf("connection:\n%s", diff)
		}
		if len(read.ScopesMissing) != 1 || read.ScopesMissing[0] != "notes:write" || !read.Default {
			t.Errorf("connection: %+v", read)
		}
		got, inputs, err := h.DB.As(h.assistantActor()).Secrets(ctx, read)
		if err != nil || !cmp.Equal(got, secrets.Result.Credential, same) || !cmp.Equal(inputs, in, same) {
			t.Errorf("secrets: %v\n%s", err, cmp.Diff(secrets.Result.Credential, got, same))
		}
		k, _, err := h.System.CreateKey(ctx, behalf.Key{Name: "k", Assistant: h.Assistant.ID, ExpiresAt: h.DB.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if all, err := h.System.Keys(ctx, store.Page{}); err != nil || len(all) != 1 || !cmp.Equal(all[0], k) {
			t.Errorf("key: %v\n%s", err, cmp.Diff(k, all[0]))
		}
	})
}

func TestListsComeInPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		for i := range 4 {
			h.NewAssistant(fmt.Sprintf("Assistant %d", i))
		}
		seen, after := 0, ""
		for {
			page, err := h.System.Assistants(ctx, store.Page{After: after, Limit: 2})
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			if len(page) > 2 || string(page[0].ID) <= after {
				t.Fatalf("a page of %d behind %s", len(page), after)
			}
			seen, after = seen+len(page), string(page[len(page)-1].ID)
		}
		if seen != 5 {
			t.Errorf("%d of 5", seen)
		}
		a, b := h.connect("a"), h.connect("b")
		for name, test := range map[string]struct {
			f    store.ConnectionFilter
			want []behalf.ConnectionID
		}{
			"all":           {store.ConnectionFilter{}, []behalf.ConnectionID{a.ID, b.ID}},
			"of a user":     {store.ConnectionFilter{User: "b"}, []behalf.ConnectionID{b.ID}},
			"of a profile":  {store.ConnectionFilter{Profile: h.Profile.ID, User: "a"}, []behalf.ConnectionID{a.ID}},
			"of another":    {store.ConnectionFilter{Profile: "prf_other"}, nil},
			"of a tenant":   {store.ConnectionFilter{Tenant: "acme"}, nil},
			"of a status":   {store.ConnectionFilter{Status: behalf.ConnectionLapsed}, nil},
			"no such state": {store.ConnectionFilter{Status: "x' OR '1'='1"}, nil},
		} {
			got, err := h.System.Connections(ctx, h.Assistant.ID, test.f, store.Page{})
			var ids []behalf.ConnectionID
			for _, c := range got {
				ids = append(ids, c.ID)
			}
			if err != nil || len(ids) != len(test.want) || len(ids) == 1 && ids[0] != test.want[0] {
				t.Errorf("%s: %v, %v", name, ids, err)
			}
		}
	})
}

func TestEventsComeInTheOrderInWhichTheyHappened(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url) // whose clock stands still
		var want []behalf.ConnectionID
		for i := range 10 {
			want = append(want, h.connect(fmt.Sprint(i)).ID)
		}
		events, err := h.System.Events(t.Context(), h.Assistant.ID, store.Page{})
		if err != nil || len(events) != len(want) {
			t.Fatal(len(events), err)
		}
		for i, e := range events {
			if e.Connection != want[i] {
				t.Fatalf("event %d is of another connection", i)
			}
		}
	})
}

// TestOddBytesNameNothing: what people send in paths and queries is never the
// database's failure.
func TestOddBytesNameNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		db, own := h.System, h.Assistant.ID
		for name, odd := range map[string]string{"a NUL": "a\x00b", "not UTF-8": "a\xffb", "half a rune": "\xe2\x82", "1 MB": strings.Repeat("x", 1<<20), "a quote": "' OR ''='"} {
			for call, err := range map[string]error{
				"Assistant":  discard(db.Assistant(ctx, odd)),
				"Profile":    discard(db.Profile(ctx, own, odd)),
				"Session":    discard(db.Session(ctx, own, behalf.SessionID(odd))),
				"Connection": discard(db.Connection(ctx, behalf.ConnectionID(odd))),
				"RevokeKey":  db.RevokeKey(ctx, behalf.KeyID(odd)),
			} {
				if behalf.CodeOf(err) != behalf.CodeNotFound {
					t.Errorf("%s: %s: %v", name, call, err)
				}
			}
			for call, err := range map[string]error{
				"Assistants":          discard(db.Assistants(ctx, store.Page{After: odd})),
				"Profiles":            discard(db.Profiles(ctx, own, store.Page{After: odd})),
				"Profiles of":         discard(db.Profiles(ctx, behalf.AssistantID(odd), store.Page{})),
				"Keys":                discard(db.Keys(ctx, store.Page{After: odd})),
				"Events":              discard(db.Events(ctx, own, store.Page{After: odd})),
				"Audit":               discard(db.Audit(ctx, behalf.AssistantID(odd), time.Time{}, store.Page{})),
				"Connections":         discard(db.Connections(ctx, own, store.ConnectionFilter{}, store.Page{After: odd})),
				"Connections/user":    discard(db.Connections(ctx, own, store.ConnectionFilter{User: odd}, store.Page{})),
				"Connections/tenant":  discard(db.Connections(ctx, own, store.ConnectionFilter{Tenant: odd}, store.Page{})),
				"Connections/profile": discard(db.Connections(ctx, own, store.ConnectionFilter{Profile: behalf.ProfileID(odd)}, store.Page{})),
				"Connections/status":  discard(db.Connections(ctx, own, store.ConnectionFilter{Status: behalf.ConnectionStatus(odd)}, store.Page{})),
				"ConnectionsOf":       discard(db.ConnectionsOf(ctx, own, behalf.ProfileID(odd), odd, odd)),
			} {
				if err != nil {
					t.Errorf("%s: %s: %v", name, call, err)
				}
			}
		}
	})
}

func TestUsesAreWrittenTogether(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("u")
		k, key, err := h.System.CreateKey(t.Context(), behalf.Key{Name: "k", Assistant: h.Assistant.ID})
		if err != nil {
			t.Fatal(err)
		}
		actor, err := h.DB.Authenticate(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		scope, before := h.DB.As(actor), len(h.rows("audit"))
		for range 3 {
			scope.Used(c, store.UseToken, "42")
		}
		scope.Used(c, store.UseProxy, "42")
		if n := len(h.rows("audit")); n != before {
			t.Errorf("%d lines at once", n-before)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.DB.Run(ctx); err != nil { // that ends writes what is left
			t.Fatal(err)
		}
		lines, err := h.System.Audit(t.Context(), h.Assistant.ID, time.Time{}, store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for _, l := range lines {
			if l.Object == string(c.ID) && l.Actor == actor.String() {
				counts[l.Action] += l.Count
			}
		}
		if diff := cmp.Diff(map[string]int64{store.UseToken: 3, store.UseProxy: 1}, counts); diff != "" {
			t.Error(diff)
		}
		if n := len(h.rows("audit")); n != before+2 {
			t.Errorf("%d lines", n-before)
		}
		if h.Connection(c.ID).LastUsedAt.IsZero() {
			t.Error("the connection was never used")
		}
		keys, err := h.System.Keys(t.Context(), store.Page{})
		if err != nil || keys[0].ID != k.ID || keys[0].LastUsedAt.IsZero() {
			t.Errorf("the key was never used: %v", err)
		}
	})
}

func TestUsesThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		c := h.connect("u")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		h.exec("ALTER TABLE audit RENAME COLUMN detail TO gone")
		h.System.Used(c, store.UseToken, "42")
		if err := h.DB.Run(ended); err == nil {
			t.Error("no error")
		}
		h.exec("ALTER TABLE audit RENAME COLUMN gone TO detail")
		h.System.Used(c, store.UseToken, "42")
		if err := h.DB.Run(ended); err != nil {
			t.Fatal(err)
		}
		lines, err := h.System.Audit(t.Context(), h.Assistant.ID, time.Time{}, store.Page{})
		if err != nil || lines[0].Action != store.UseToken || lines[0].Count != 2 {
			t.Errorf("%+v, %v", lines[0], err)
		}
	})
}

// TestParametersAreBoundByNumber: some SQLite drivers bind $2, $1 in the order of
// their appearance, without an error.
func TestParametersAreBoundByNumber(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		var a, b string
		if err := rawDB(t, url).QueryRow("SELECT CAST($2 AS TEXT), CAST($1 AS TEXT)", "one", "two").Scan(&a, &b); err != nil || a != "two" || b != "one" {
			t.Errorf("%s,%s %v", a, b, err)
		}
	})
}

func TestManyOpensOfAnEmptyDatabaseMakeOneKeyring(t *testing.T) {
	for engine, address := range map[string]func(testing.TB) string{"SQLite": storetest.NoSQLite, "PostgreSQL": testdb.Postgres} {
		t.Run(engine, func(t *testing.T) {
			url := address(t)
			dbs := make([]*store.DB, 6)
			var wg sync.WaitGroup
			for i := range dbs {
				wg.Go(func() {
					var err error
					if dbs[i], err = store.Open(t.Context(), storetest.Config(url, time.Now)); err != nil {
						t.Error(err)
						return
					}
					t.Cleanup(func() { _ = dbs[i].Close() })
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			h := newHouse(t, url)
			if n := len(h.rows("meta")); n != 4 { // the database's id, keyring, canary, and since when connections are signed

				t.Errorf("%d rows of meta", n)
			}
			c := h.connect("u")
			for i, db := range dbs {
				if got, _, err := db.As(behalf.System("test")).Secrets(t.Context(), c); err != nil || got.AccessToken.Reveal() != "access-u" {
					t.Errorf("node %d: %v", i, err)
				}
			}
		})
	}
}

func TestARootKeyThatDoesNotFitIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		missing := errors.New("there is no key file")
		for name, test := range map[string]struct {
			key  func(context.Context, vault.Kept) (vault.RootKey, error)
			want error
		}{
			"another key": {func(context.Context, vault.Kept) (vault.RootKey, error) { return storetest.RootKey("x"), nil }, vault.ErrWrongRootKey},
			"no key":      {func(context.Context, vault.Kept) (vault.RootKey, error) { return vault.RootKey{}, nil }, vault.ErrWrongRootKey},
			"a missing key": {func(_ context.Context, kept vault.Kept) (vault.RootKey, error) {
				if !kept.Keyring {
					t.Error("asked to make a key for a database that has a keyring")
				}
				return vault.RootKey{}, missing
			}, missing},
		} {
			cfg := storetest.Config(url, h.Clock.Now)
			cfg.RootKey = test.key
			if _, err := store.Open(t.Context(), cfg); !errors.Is(err, test.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		h.exec("DELETE FROM meta WHERE name = 'canary'")
		if _, err := store.Open(t.Context(), storetest.Config(url, h.Clock.Now)); err == nil {
			t.Error("opened without its canary")
		}
	})
}

func TestANewerSchemaIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h := newHouse(t, url)
		h.exec("UPDATE goose_db_version SET version_id = 999 WHERE version_id = 1")
		if _, err := store.Open(t.Context(), storetest.Config(url, h.Clock.Now)); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("%v", err)
		}
	})
}

func TestAnAddressThatIsNoneIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"", "mysql://u:s3cret@h/d", "postgres://u:s3cret@h:port/d", "postgres://u:s3cret@127.0.0.1:1/d?connect_timeout=1"} {
		_, err := store.Open(t.Context(), storetest.Config(url, time.Now))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestCiphertextOpensOnlyInItsPlace moves sealed bytes about as somebody would
// who can write to the database but has no key.
func TestCiphertextOpensOnlyInItsPlace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		mine, theirs := h.connect("mine"), h.connect("theirs")
		got := h.Credential("second")
		if moved, err := h.System.Keep(ctx, h.lease(theirs), theirs.Refreshed(h.Credential("theirs"), got), got); !moved || err != nil {
			t.Fatal(err)
		}
		theirs = h.Connection(theirs.ID)
		s1, s2 := h.session("s1"), h.session("s2")
		if err := h.System.SaveSession(ctx, s2, behalf.SessionSecrets{}); err != nil {
			t.Fatal(err)
		}
		s2.Version++
		p := h.NewProfile(h.Assistant, storetest.Definition("Other", provider))
		fresh := storetest.Open(t, url, h.Clock.Now).As(behalf.System("test")) // has no plan in memory
		secrets := func(c behalf.Connection) error { _, _, err := fresh.Secrets(ctx, c); return err }
		for name, test := range map[string]struct {
			swap string
			args []any
			open func() error
		}{
			"a credential of another connection": {"UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE connection = $1 AND generation = 1) WHERE connection = $2", []any{theirs.ID, mine.ID}, func() error { return secrets(mine) }},
			"a credential of an older generation": {"UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE connection = $1 AND generation = 1) WHERE connection = $1", []any{theirs.ID},
				func() error { return secrets(theirs) }},
			"a credential under another fence": {"UPDATE credentials SET fence = 77 WHERE connection = $1", []any{mine.ID}, func() error {
				h.exec("UPDATE connections SET fence = 77 WHERE id = $1", mine.ID)
				return secrets(h.Connection(mine.ID))
			}},
			"inputs of another connection":       {"UPDATE connections SET sealed_inputs = (SELECT sealed_inputs FROM connections WHERE id = $1) WHERE id = $2", []any{theirs.ID, mine.ID}, func() error { return secrets(mine) }},
			"inputs in a credential's row":       {"UPDATE credentials SET sealed = (SELECT sealed_inputs FROM connections WHERE id = $1) WHERE connection = $1", []any{mine.ID}, func() error { return secrets(mine) }},
			"a connection given to another user": {"UPDATE connections SET end_user = 'mallory' WHERE id = $1", []any{mine.ID}, func() error { return secrets(h.Connection(mine.ID)) }},
			"a definition changed beside it":     {"UPDATE profiles SET definition = replace(definition, '/token', '/elsewhere') WHERE id = $1", []any{h.Profile.ID}, func() error { return discard(fresh.Profile(ctx, h.Assistant.ID, string(h.Profile.ID))) }},
			"a session's in another":             {"UPDATE connect_sessions SET sealed = (SELECT sealed FROM connect_sessions WHERE id = $1) WHERE id = $2", []any{s2.ID, s1.ID}, func() error { return discard(fresh.SessionSecrets(ctx, s1)) }},
			"a session's at another version":     {"UPDATE connect_sessions SET version = 7 WHERE id = $1", []any{s2.ID}, func() error { s := s2; s.Version = 7; return discard(fresh.SessionSecrets(ctx, s)) }},
			"a profile's in another":             {"UPDATE profiles SET sealed = (SELECT sealed FROM profiles WHERE id = $1) WHERE id = $2", []any{h.Profile.ID, p.ID}, func() error { return discard(fresh.Profile(ctx, p.Assistant, string(p.ID))) }},
			"a profile's at another version":     {"UPDATE profiles SET version = 7 WHERE id = $1", []any{h.Profile.ID}, func() error { return discard(fresh.Profile(ctx, p.Assistant, string(h.Profile.ID))) }},
		} {
			t.Run(name, func(t *testing.T) {
				undo := h.keep("credentials", "connections", "connect_sessions", "profiles")
				defer undo()
				h.exec(test.swap, test.args...)
				if err := test.open(); behalf.CodeOf(err) != behalf.CodeUnavailable || !errors.Is(err, vault.ErrOpen) && name != "a credential under another fence" { // that is noticed before it is opened

					t.Errorf("%v", err)
				}
			})
		}
		if err := errors.Join(secrets(mine), secrets(theirs)); err != nil {
			t.Errorf("in their places: %v", err)
		}
	})
}

// keep copies tables and returns what puts them back.
func (h *house) keep(names ...string) (undo func()) {
	h.t.Helper()
	for _, name := range names {
		h.exec("CREATE TABLE kept_" + name + " AS SELECT * FROM " + name)
	}
	return func() {
		for _, name := range names { // what is referred to stays where it is
			columns := map[string][]string{"credentials": {"sealed", "fence"}, "connections": {"sealed_inputs", "generation", "fence", "signed_generation", "signed_fence", "signature", "end_user"}, "connect_sessions": {"sealed", "version"}, "profiles": {"sealed", "version", "definition"}}[name]
			key := "id"
			if name == "credentials" {
				h.exec("DELETE FROM credentials")
				h.exec("INSERT INTO credentials SELECT * FROM kept_credentials")
			} else {
				for _, c := range columns {
					h.exec(fmt.Sprintf("UPDATE %[1]s SET %[2]s = (SELECT k.%[2]s FROM kept_%[1]s k WHERE k.%[3]s = %[1]s.%[3]s)", name, c, key))
				}
			}
			h.exec("DROP TABLE kept_" + name)
		}
	}
}

// TestNoSecretIsInAnyPlainColumn searches everything that is kept.
func TestNoSecretIsInAnyPlainColumn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		h, ctx := newHouse(t, url), t.Context()
		n := 0
		var canaries []string
		canary := func() secret.Text {
			n++
			canaries = append(canaries, fmt.Sprintf("canary%02d-3f9a7c", n))
			return secret.New(canaries[n-1])
		}
		d := storetest.Definition("Canaries", provider)
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Key", Value: canary().Reveal(), Secret: true}, {In: behalf.InHeader, Key: "X-Other", Value: "Bearer " + canary().Reveal(), Secret: true},
			{In: behalf.InPayload, Key: "both", Value: canary().Reveal() + "{{pin}}", Secret: true}}
		d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword, Value: canary().Reveal()}}
		p, err := h.System.CreateProfile(ctx, behalf.Profile{Assistant: h.Assistant.ID, Definition: d,
			Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: canary()}, {Value: canary()}}}})
		if err != nil {
			t.Fatal(err)
		}
		if p, err = h.System.SaveProfile(ctx, p); err != nil {
			t.Fatal(err)
		}
		credential := func() behalf.Credential {
			return behalf.Credential{AccessToken: canary(), RefreshToken: canary(), IDToken: canary(), ExpiresAt: h.DB.Now().Add(time.Hour), ObtainedAt: h.DB.Now()}
		}
		secrets := behalf.SessionSecrets{Fields: map[string]secret.Text{"pin": canary()}, State: canary(), CodeVerifier: canary(), Nonce: canary(),
			Result: &behalf.SessionResult{Credential: credential(), Captured: map[string]string{"origin": canary().Reveal()}}}
		s, link := h.NewSession(p, "u", secrets)
		canaries = append(canaries, link.Reveal())
		s.StateHash = secret.Hash(secrets.State)
		if err := h.System.SaveSession(ctx, s, secrets); err != nil {
			t.Fatal(err)
		}
		c := h.Connect(p, "u", credential(), behalf.Account{Subject: "s"}, behalf.Inputs{Fields: secrets.Fields, Captured: secrets.Result.Captured})
		got := credential()
		if moved, err := h.System.Keep(ctx, h.lease(c), c.Refreshed(behalf.Credential{}, got), got); !moved || err != nil {
			t.Fatal(err)
		}
		_, key, err := h.System.CreateKey(ctx, behalf.Key{Name: "k", Role: behalf.RoleOwner})
		if err != nil {
			t.Fatal(err)
		}
		canaries = append(canaries, key.Reveal(), storetest.ClientSecret)
		kept := h.dump()
		for _, v := range canaries {
			for _, spelling := range []string{v, base64.StdEncoding.EncodeToString([]byte(v))[:12], base64.RawURLEncoding.EncodeToString([]byte("x" + v))[4:16], base64.RawURLEncoding.EncodeToString([]byte("xx" + v))[4:16], hex.EncodeToString([]byte(v))} {
				if strings.Contains(strings.ToLower(kept), strings.ToLower(spelling)) {
					t.Errorf("%s stands in the database as %s", v, spelling)
				}
			}
		}
		if n < 20 || !strings.Contains(kept, "X-Key") {
			t.Errorf("%d canaries: the search finds nothing", n)
		}
	})
}
