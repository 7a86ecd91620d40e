package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	neturl "net/url"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const provider = "https://acorn.example"

// house is a store with everything in it, and a way to it that is not ours.
type house struct {
	*storetest.House
	t   *testing.T
	url string
	raw *sql.DB
}

func newHouse(t *testing.T, url string) *house {
	t.Helper()
	return &house{storetest.New(t, url, provider, nil), t, url, rawDB(t, url)}
}

// rawDB is what somebody has who can write to the database but holds no key.
func rawDB(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver, name := "pgx", url+"&default_query_exec_mode=simple_protocol" // a statement that is kept does not see a column renamed
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, name = "sqlite", "file:"+(&neturl.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (h *house) exec(text string, args ...any) {
	h.t.Helper()
	if _, err := h.raw.Exec(text, args...); err != nil {
		h.t.Fatal(err)
	}
}

var tables = []string{"meta", "assistants", "keys", "profiles", "connections", "credentials", "connect_sessions", "audit", "events"}

// dump returns every row of every table.
func (h *house) dump() string {
	h.t.Helper()
	var out strings.Builder
	for _, table := range tables {
		for _, row := range h.rows(table) {
			fmt.Fprintln(&out, table, row)
		}
	}
	return out.String()
}

func (h *house) rows(table string) []string {
	h.t.Helper()
	rows, err := h.raw.Query("SELECT * FROM " + table)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			h.t.Fatal(err)
		}
		var line bytes.Buffer
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			fmt.Fprintf(&line, "%s=%v ", columns[i], v)
		}
		out = append(out, line.String())
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func (h *house) connect(user string) behalf.Connection {
	h.t.Helper()
	return h.Connect(h.Profile, user, h.Credential(user), behalf.Account{Subject: "sub-" + user}, behalf.Inputs{Fields: map[string]secret.Text{"pin": secret.New("pin-" + user)}})
}

func (h *house) lease(c behalf.Connection) store.Lease {
	h.t.Helper()
	l, err := h.System.Lease(h.t.Context(), c, time.Minute)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// session makes a connect session for a user.
func (h *house) session(user string) behalf.ConnectSession {
	h.t.Helper()
	s, _ := h.NewSession(h.Profile, user, behalf.SessionSecrets{State: secret.New("state-" + user)})
	return s
}

func (h *house) assistantActor() behalf.Actor {
	return behalf.Actor{Kind: behalf.ActorAssistant, ID: "key_own", Assistant: h.Assistant.ID}
}

// op is one method of Scope: it prepares what the method needs and returns the
// call.
type op func(h *house) func(context.Context, store.Scope) error

func discard[T any](_ T, err error) error { return err }

var users int

func freshUser() string { users++; return fmt.Sprintf("user%d", users) }

var ops = map[string]op{
	"Assistant": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Assistant(ctx, h.Assistant.Slug)) }
	},
	"Assistants": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Assistants(ctx, store.Page{})) }
	},
	"CreateAssistant": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.CreateAssistant(ctx, behalf.NewAssistant(freshUser(), h.DB.Now())))
		}
	},
	"SaveAssistant": func(h *house) func(context.Context, store.Scope) error {
		a := h.NewAssistant(freshUser())
		a.Name = "Renamed"
		return func(ctx context.Context, s store.Scope) error { return discard(s.SaveAssistant(ctx, a)) }
	},
	"Audit": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Audit(ctx, h.Assistant.ID, time.Time{}, store.Page{}))
		}
	},
	"Events": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Events(ctx, h.Assistant.ID, store.Page{}))
		}
	},
	"CreateKey": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.CreateKey(ctx, behalf.Key{Name: "one more", Assistant: h.Assistant.ID})
			return err
		}
	},
	"Keys": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Keys(ctx, store.Page{})) }
	},
	"HasKeys": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.HasKeys(ctx)) }
	},
	"RevokeKey": func(h *house) func(context.Context, store.Scope) error {
		k, _, err := h.System.CreateKey(h.t.Context(), behalf.Key{Name: "to be revoked", Assistant: h.Assistant.ID})
		if err != nil {
			h.t.Fatal(err)
		}
		return func(ctx context.Context, s store.Scope) error { return s.RevokeKey(ctx, k.ID) }
	},
	"Profile": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Profile(ctx, h.Assistant.ID, h.Profile.Slug))
		}
	},
	"Profiles": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Profiles(ctx, h.Assistant.ID, store.Page{}))
		}
	},
	"ReserveProfile": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.ReserveProfile(ctx, h.Assistant.ID)) }
	},
	"CreateProfile": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.CreateProfile(ctx, behalf.Profile{Assistant: h.Assistant.ID, Definition: storetest.Definition(freshUser(), provider)}))
		}
	},
	"SaveProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
		return func(ctx context.Context, s store.Scope) error { return discard(s.SaveProfile(ctx, p)) }
	},
	"DeleteProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
		return func(ctx context.Context, s store.Scope) error { return s.DeleteProfile(ctx, p) }
	},
	"SetProfileStatus": func(h *house) func(context.Context, store.Scope) error {
		p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
		return func(ctx context.Context, s store.Scope) error {
			return s.SetProfileStatus(ctx, p, behalf.ProfileFailing, "expired")
		}
	},
	"Session": func(h *house) func(context.Context, store.Scope) error {
		n := h.session("u")
		return func(ctx context.Context, s store.Scope) error { return discard(s.Session(ctx, n.Assistant, n.ID)) }
	},
	"CreateSession": func(h *house) func(context.Context, store.Scope) error {
		n := h.session("u")
		return func(ctx context.Context, s store.Scope) error {
			n.ID, n.LinkHash = behalf.NewSessionID(h.DB.Now()), secret.Hash(secret.Random())
			return s.CreateSession(ctx, n, behalf.SessionSecrets{})
		}
	},
	"SessionSecrets": func(h *house) func(context.Context, store.Scope) error {
		n := h.session("u")
		return func(ctx context.Context, s store.Scope) error { return discard(s.SessionSecrets(ctx, n)) }
	},
	"SaveSession": func(h *house) func(context.Context, store.Scope) error {
		n := h.session("u")
		return func(ctx context.Context, s store.Scope) error { return s.SaveSession(ctx, n, behalf.SessionSecrets{}) }
	},
	"EndSession": func(h *house) func(context.Context, store.Scope) error {
		n := h.session("u")
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.EndSession(ctx, n, behalf.SessionDeclined, behalf.Outcome{Code: "declined"}))
		}
	},
	"ForgetSessions": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return s.ForgetSessions(ctx, h.DB.Now().Add(-time.Hour))
		}
	},
	"OverdueSessions": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.OverdueSessions(ctx)) }
	},
	"Connect": func(h *house) func(context.Context, store.Scope) error {
		n := h.session(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Connect(ctx, n, behalf.SessionResult{Credential: h.Credential("x")}, behalf.Inputs{}, nil))
		}
	},
	"Connection": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.Connection(ctx, c.ID)) }
	},
	"Connections": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Connections(ctx, h.Assistant.ID, store.ConnectionFilter{}, store.Page{}))
		}
	},
	"ConnectionsOf": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ConnectionsOf(ctx, h.Assistant.ID, h.Profile.ID, "u", ""))
		}
	},
	"Secrets": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.Secrets(ctx, c)
			return err
		}
	},
	"Revoke": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return s.Revoke(ctx, c, "over") }
	},
	"MakeDefault": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return s.MakeDefault(ctx, c) }
	},
	"Lease": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.Lease(ctx, c, time.Minute)) }
	},
	"Keep": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		l, got := h.lease(c), h.Credential("kept")
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Keep(ctx, l, c.Refreshed(h.Credential("old"), got), got))
		}
	},
	"Release": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		l := h.lease(c)
		return func(ctx context.Context, s store.Scope) error { return s.Release(ctx, l, c.Lapse("refused")) }
	},
	"Adopt": func(h *house) func(context.Context, store.Scope) error {
		c, l := h.withStray(freshUser())
		return func(ctx context.Context, s store.Scope) error { return s.Adopt(ctx, l, c) }
	},
}

// withStray returns a connection at generation 2 beside which a late answer of
// generation 2 lies, and a lease of it.
func (h *house) withStray(user string) (behalf.Connection, store.Lease) {
	h.t.Helper()
	c := h.connect(user)
	frozen := h.lease(c)
	h.Clock.Advance(2 * time.Minute)
	thief := h.lease(c)
	for _, answer := range []struct {
		l     store.Lease
		name  string
		moves bool
	}{{thief, "in-force", true}, {frozen, "stray", false}} {
		got := h.Credential(answer.name)
		moved, err := h.System.Keep(h.t.Context(), answer.l, c.Refreshed(h.Credential(user), got), got)
		if err != nil || moved != answer.moves {
			h.t.Fatalf("%s: moved %v, %v", answer.name, moved, err)
		}
	}
	c = h.Connection(c.ID)
	return c, h.lease(c)
}
