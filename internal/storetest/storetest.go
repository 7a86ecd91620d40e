// Package storetest gives tests stores on both databases, with an assistant, a
// profile and a connection in them. A test binary that uses it has a TestMain
// that is testdb.Main.
package storetest

import (
	"context"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/testdb"
	"github.com/behalf-dev/behalf/internal/vault"
)

// Clock is the machine's clock, moved by what the test wants.
type Clock struct {
	mu      sync.Mutex
	ahead   time.Duration
	stopped time.Time
}

// Now returns the moved time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped.Add(c.ahead)
	}
	return time.Now().Add(c.ahead)
}

// Stop makes the clock stand still but for Advance, so that a busy machine
// changes no outcome.
func (c *Clock) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = time.Now()
}

// Advance moves the clock, backwards where d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// RootKey is the root key of every store here. Its argument is the character
// that the key is made of: another one makes another key.
func RootKey(of string) vault.RootKey {
	root, err := vault.ParseRootKey(secret.New(rootKey(of)))
	if err != nil {
		panic(err) // of is one byte
	}
	return root
}

// rootKey is the text of RootKey.
func rootKey(of string) string {
	return "behalf-root-key-v1 " + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat(of, 32)))
}

// Config is a store's configuration with RootKey("k") and a silent log.
func Config(url string, now func() time.Time) store.Config {
	return store.Config{URL: url, Now: now, Log: slog.New(slog.DiscardHandler),
		RootKey: func(context.Context, vault.Kept) (vault.RootKey, error) { return RootKey("k"), nil }}
}

// Open opens a store and closes it when the test ends.
func Open(t testing.TB, url string, now func() time.Time) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), Config(url, now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Each runs a test on SQLite and on PostgreSQL, each time with the address of a
// database that holds the schema and a keyring and nothing else.
func Each(t *testing.T, do func(t *testing.T, url string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { do(t, SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { do(t, Postgres(t)) })
}

// NoSQLite returns the address of a database that does not exist yet.
func NoSQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "behalf.db") }

// SQLite returns the address of a database as Each gives it to a test.
func SQLite(t testing.TB) string {
	t.Helper()
	url := NoSQLite(t)
	lay(t, strings.TrimPrefix(url, "sqlite:"))
	return url
}

// DataDir makes of a directory the data directory of a server that has been
// started once, where it is not one already: with a SQLite database as Each
// gives it to a test, and its root key.
func DataDir(t testing.TB, dir string) {
	t.Helper()
	database := filepath.Join(dir, "behalf.db")
	if _, err := os.Stat(database); err == nil {
		return
	}
	lay(t, database)
	if err := os.WriteFile(filepath.Join(dir, "root.key"), []byte(rootKey("k")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lay(t testing.TB, path string) {
	t.Helper()
	b, err := prepared()
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// prepared is the file of a SQLite database with the schema and a keyring:
// migrating takes longer than writing it.
var prepared = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "behalf-storetest-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "behalf.db")
	if err := fill("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// Postgres returns the address of a database as Each gives it to a test.
func Postgres(t testing.TB) string {
	t.Helper()
	return testdb.PostgresFrom(t, "behalf", fill)
}

func fill(url string) error {
	db, err := store.Open(context.Background(), Config(url, time.Now))
	if err != nil {
		return err
	}
	return db.Close()
}

// House is a store with an assistant that has a profile.
type House struct {
	t         testing.TB
	DB        *store.DB
	Clock     *Clock
	System    store.Scope
	Assistant behalf.Assistant
	Profile   behalf.Profile
}

// Definition is a profile's, with its endpoints at the base URL.
func Definition(name, base string) behalf.Definition {
	return behalf.Definition{Type: behalf.OAuth2, Name: name, Provider: "Acorn Notes", ClientID: "bot",
		AuthorizationURL: base + "/authorize", TokenURL: base + "/token",
		Scope: []behalf.ScopeParam{{Key: "scope", Value: "notes:read offline_access"}},
		API:   behalf.API{BaseURL: base + "/api"}}
}

// ClientSecret is that of a House's profile.
const ClientSecret = "s3cr:t/+ %x"

// New makes a House, with a clock that stands still, whose profile has the
// provider at the base URL; change may be nil.
func New(t testing.TB, url, base string, change func(*behalf.Definition)) *House {
	t.Helper()
	clock := &Clock{}
	clock.Stop()
	h := &House{t: t, Clock: clock, DB: Open(t, url, clock.Now)}
	h.System = h.DB.As(behalf.System("test"))
	h.Assistant = h.NewAssistant("Support Bot")
	d := Definition("Acorn", base)
	if change != nil {
		change(&d)
	}
	h.Profile = h.NewProfile(h.Assistant, d)
	return h
}

// NewAssistant makes one more assistant.
func (h *House) NewAssistant(name string) behalf.Assistant {
	h.t.Helper()
	a, err := h.System.CreateAssistant(h.t.Context(), behalf.NewAssistant(name, h.DB.Now()))
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// NewProfile makes one more profile, with ClientSecret.
func (h *House) NewProfile(a behalf.Assistant, d behalf.Definition) behalf.Profile {
	h.t.Helper()
	p, err := h.System.CreateProfile(h.t.Context(), behalf.Profile{Assistant: a.ID, Definition: d,
		Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New(ClientSecret), CreatedAt: h.DB.Now()}}}})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// NewSession makes a connect session of the profile for a user.
func (h *House) NewSession(p behalf.Profile, user string, secrets behalf.SessionSecrets) (behalf.ConnectSession, secret.Text) {
	h.t.Helper()
	link, now := secret.Random(), h.DB.Now()
	s := behalf.ConnectSession{ID: behalf.NewSessionID(now), Assistant: p.Assistant, Profile: p.ID, User: user, Status: behalf.SessionCreated,
		LinkHash: secret.Hash(link), Version: 1, CreatedAt: now, ExpiresAt: now.Add(behalf.SessionLifetime)}
	if err := h.System.CreateSession(h.t.Context(), s, secrets); err != nil {
		h.t.Fatal(err)
	}
	return s, link
}

// Connect makes a connection of the profile for a user.
func (h *House) Connect(p behalf.Profile, user string, c behalf.Credential, account behalf.Account, in behalf.Inputs) behalf.Connection {
	h.t.Helper()
	s, _ := h.NewSession(p, user, behalf.SessionSecrets{})
	made, err := h.System.Connect(h.t.Context(), s, behalf.SessionResult{Credential: c, Account: account}, in, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.Connection(made.ID)
}

// Connection reads a connection.
func (h *House) Connection(id behalf.ConnectionID) behalf.Connection {
	h.t.Helper()
	c, err := h.System.Connection(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// Credential returns one with the tokens "access-<name>" and "refresh-<name>"
// that ends in an hour.
func (h *House) Credential(name string) behalf.Credential {
	now := h.DB.Now()
	return behalf.Credential{AccessToken: secret.New("access-" + name), RefreshToken: secret.New("refresh-" + name), TokenType: "Bearer",
		Scopes: []string{"notes:read"}, ExpiresAt: now.Add(time.Hour), ObtainedAt: now}
}
