package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"image"
	"image/color"
	"image/png"
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

var tables = []string{
	"meta",
	"assistants",
	"keys",
	"profiles",
	"connections",
	"credentials",
	"connect_sessions",
	"audit",
	"events",
	"members",
	"member_links",
	"sign_ins",
	"transcripts",
	"changes",
	"nodes",
	"tallies",
	"connectors",
	"connector_tokens",
	"connector_agents",
	"tunnels",
	"connector_traffic",
	"variables",
	"audit_links",
	"logos",
	"revocations",
	"revocation_outcomes",
	"webhooks",
	"deliveries",
}

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

// deleted returns a profile that was deleted.
func (h *house) deleted() behalf.Profile {
	h.t.Helper()
	p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
	if err := h.System.DeleteProfile(h.t.Context(), p); err != nil {
		h.t.Fatal(err)
	}
	p, err := h.System.DeletedProfile(h.t.Context(), p.Assistant, string(p.ID))
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// owed ends a connection of a user and returns what is then to be revoked.
func (h *house) owed(user string) store.Owed {
	h.t.Helper()
	c := h.connect(user)
	owed, ended, err := h.System.RevokeOwing(h.t.Context(), c, "test", time.Minute, everything)
	if err != nil || !ended || len(owed) != 1 {
		h.t.Fatal(len(owed), ended, err)
	}
	return owed[0]
}

func everything(behalf.Credential) bool { return true }

func (h *house) lease(c behalf.Connection) store.Lease {
	h.t.Helper()
	l, err := h.System.Lease(h.t.Context(), c, time.Minute)
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

func (h *house) held(id behalf.ConnectionID) *store.Held {
	h.t.Helper()
	held, err := h.System.HeldConnection(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return held
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

// logo is a picture of one colour.
func logo(c color.Color) []byte {
	picture := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		picture.Set(i%64, i/64, c)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		panic(err) // to memory
	}
	return b.Bytes()
}

func discard[T any](_ T, err error) error { return err }

var users int

func freshUser() string { users++; return fmt.Sprintf("user%d", users) }

var ops = map[string]op{
	"Connectors": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Connectors(ctx, store.Page{})) }
	},
	"Connector": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error { return discard(s.Connector(ctx, c.Name)) }
	},
	"ConnectorAgents": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error { return discard(s.ConnectorAgents(ctx, c.ID)) }
	},
	"ConnectorTunnels": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error { return discard(s.ConnectorTunnels(ctx, c.ID)) }
	},
	"ConnectorTraffic": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ConnectorTraffic(ctx, c.ID, h.DB.Now().Add(-time.Hour)))
		}
	},
	"ConnectorUses": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error { return discard(s.ConnectorUses(ctx, c)) }
	},
	"CreateConnector": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.CreateConnector(ctx, behalf.Connector{Name: freshUser()}))
		}
	},
	"SaveConnector": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		c.Enabled = false
		return func(ctx context.Context, s store.Scope) error { return discard(s.SaveConnector(ctx, c)) }
	},
	"DeleteConnector": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error { return s.DeleteConnector(ctx, c) }
	},
	"EnrolToken": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.EnrolToken(ctx, c)
			return err
		}
	},
	"RevokeAgent": func(h *house) func(context.Context, store.Scope) error {
		c, a := h.connector()
		return func(ctx context.Context, s store.Scope) error { return s.RevokeAgent(ctx, c.ID, a.ID) }
	},
	"Topology": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Topology(ctx)) }
	},
	"AttachTunnel": func(h *house) func(context.Context, store.Scope) error {
		_, a := h.connector()
		return func(ctx context.Context, s store.Scope) error { return s.AttachTunnel(ctx, "tun_"+freshUser(), a) }
	},
	"DetachTunnel": func(h *house) func(context.Context, store.Scope) error {
		_, a := h.connector()
		id := "tun_" + freshUser()
		if err := h.System.AttachTunnel(h.t.Context(), id, a); err != nil {
			h.t.Fatal(err)
		}
		return func(ctx context.Context, s store.Scope) error {
			return s.DetachTunnel(ctx, behalf.Tunnel{ID: id, Connector: a.Connector, Agent: a.ID})
		}
	},
	"SweepTunnels": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return s.SweepTunnels(ctx) }
	},
	"CountTraffic": func(h *house) func(context.Context, store.Scope) error {
		c, _ := h.connector()
		return func(ctx context.Context, s store.Scope) error {
			return s.CountTraffic(ctx, map[behalf.ConnectorID]behalf.Traffic{c.ID: {Calls: 1}})
		}
	},
	"Assistant": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Assistant(ctx, h.Assistant.Slug)) }
	},
	"Generations": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.Generations(ctx, c)) }
	},
	"RestoreGeneration": func(h *house) func(context.Context, store.Scope) error {
		c := h.refreshed(h.connect(freshUser()), "second")
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.RestoreGeneration(ctx, c, h.generation(c, "1")))
		}
	},
	"HeldAssistant": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.HeldAssistant(ctx, h.Assistant.Slug))
		}
	},
	"HeldProfile": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.HeldProfile(ctx, h.Assistant.ID, h.Profile.Slug))
		}
	},
	"HeldConnections": func(h *house) func(context.Context, store.Scope) error {
		h.connect("held")
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.HeldConnections(ctx, h.Assistant.ID, h.Profile.ID, "held", ""))
		}
	},
	"HeldConnection": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.HeldConnection(ctx, c.ID)) }
	},
	"HeldSecrets": func(h *house) func(context.Context, store.Scope) error {
		held := h.held(h.connect(freshUser()).ID)
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.HeldSecrets(ctx, held)
			return err
		}
	},
	"Answer": func(h *house) func(context.Context, store.Scope) error {
		held := h.held(h.connect(freshUser()).ID)
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Answer(ctx, held, nil, func(behalf.Credential) []byte { return []byte("{}") }))
		}
	},
	"DueProfiles": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.DueProfiles(ctx)) }
	},
	"ClaimDue": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ClaimDue(ctx, h.Profile.ID, store.LaneHealthy, 3, time.Minute))
		}
	},
	"Unplanned": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Unplanned(ctx)) }
	},
	"Plan": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		c.RefreshAt = h.DB.Now().Add(time.Hour)
		return func(ctx context.Context, s store.Scope) error { return s.Plan(ctx, []behalf.Connection{c}) }
	},
	"Warn": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return s.Warn(ctx, c, "soon") }
	},
	"Probe": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Probe(ctx, h.Profile)) }
	},
	"Nodes": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Nodes(ctx)) }
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
	"SaveLogo": func(h *house) func(context.Context, store.Scope) error {
		a, picture := h.NewAssistant(freshUser()), logo(color.Black)
		return func(ctx context.Context, s store.Scope) error { return discard(s.SaveLogo(ctx, a, picture)) }
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
	"ApplyProfiles": func(h *house) func(context.Context, store.Scope) error {
		p := h.Profile
		p.Slug, p.Name, p.ID, p.Version = "", "Applied "+freshUser(), "", 0
		return func(ctx context.Context, s store.Scope) error {
			return s.ApplyProfiles(ctx, h.Assistant.ID, []behalf.Profile{p}, nil)
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
	"EndProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
		return func(ctx context.Context, s store.Scope) error { return s.EndProfile(ctx, p) }
	},
	"DeletedProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.deleted()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.DeletedProfile(ctx, p.Assistant, p.Slug))
		}
	},
	"DeletedProfiles": func(h *house) func(context.Context, store.Scope) error {
		h.deleted()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.DeletedProfiles(ctx, h.Assistant.ID, store.Page{}))
		}
	},
	"RestoreProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.deleted()
		return func(ctx context.Context, s store.Scope) error { return discard(s.RestoreProfile(ctx, p)) }
	},
	"ProfileUses": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.ProfileUses(ctx, h.Profile)) }
	},
	"KeptProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.deleted()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.KeptProfile(ctx, p.Assistant, p.ID))
		}
	},
	"OverdueProfiles": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.OverdueProfiles(ctx)) }
	},
	"ForgetProfile": func(h *house) func(context.Context, store.Scope) error {
		p := h.deleted()
		return func(ctx context.Context, s store.Scope) error { return discard(s.ForgetProfile(ctx, p)) }
	},
	"TellSecret": func(h *house) func(context.Context, store.Scope) error {
		p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
		p.Secrets.Client[0].ExpiresAt = h.DB.Now().Add(time.Hour)
		return func(ctx context.Context, s store.Scope) error { return s.TellSecret(ctx, p) }
	},
	"RevokeOwing": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.RevokeOwing(ctx, c, "test", time.Minute, everything)
			return err
		}
	},
	"RevocationProofs": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.RevocationProofs(ctx, c)) }
	},
	"GrantProofs": func(h *house) func(context.Context, store.Scope) error {
		n := h.session(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.GrantProofs(ctx, n)) }
	},
	"ClaimOwedOf": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.ClaimOwedOf(ctx, c, time.Minute)) }
	},
	"Forsake": func(h *house) func(context.Context, store.Scope) error {
		n := h.session(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Forsake(ctx, n, store.Forsaken{Result: behalf.SessionResult{Credential: h.Credential("forsaken")}}, false))
		}
	},
	"ForsakeSession": func(h *house) func(context.Context, store.Scope) error {
		n := h.session(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ForsakeSession(ctx, n, behalf.SessionFailed, behalf.Outcome{Code: "test"}, store.Forsaken{Result: behalf.SessionResult{Credential: h.Credential("forsaken")}}))
		}
	},
	"AccountUse": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.AccountUse(ctx, h.Profile, "hazel")) }
	},
	"Owes": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.Owes(ctx, c)) }
	},
	"ClaimOwed": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.ClaimOwed(ctx, time.Minute)) }
	},
	"Postpone": func(h *house) func(context.Context, store.Scope) error {
		o := h.owed(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return s.Postpone(ctx, o, behalf.RevocationProof{NextAt: h.DB.Now()})
		}
	},
	"Settle": func(h *house) func(context.Context, store.Scope) error {
		o := h.owed(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return s.Settle(ctx, o, behalf.RevocationProof{Outcome: behalf.RevocationDone})
		}
	},
	"Import": func(h *house) func(context.Context, store.Scope) error {
		row := behalf.Import{User: freshUser(), Credential: h.Credential("imported")}
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Import(ctx, h.Profile, []behalf.Import{row}, []behalf.Inputs{{}}, false, false))
		}
	},
	"UserLink": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.UserLink(behalf.UserLink{Assistant: h.Assistant.ID, User: "u"}))
		}
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
	"Members": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Members(ctx, store.Page{})) }
	},
	"Member": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error { return discard(s.Member(ctx, m.ID)) }
	},
	"MemberByEmail": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error { return discard(s.MemberByEmail(ctx, m.Email)) }
	},
	"AuditHeads": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.AuditHeads(ctx)) }
	},
	"VerifyAudit": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.VerifyAudit(ctx, nil)) }
	},
	"ForgetAudit": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return s.ForgetAudit(ctx, time.Time{}, 1_000_000) }
	},
	"Keyring": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Keyring(ctx)) }
	},
	"RotateKeyring": func(h *house) func(context.Context, store.Scope) error {
		h.turned()
		return func(ctx context.Context, s store.Scope) error { return discard(s.RotateKeyring(ctx)) }
	},
	"TurnKeyring": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.TurnKeyring(ctx)
			return err
		}
	},
	"DisableKey": func(h *house) func(context.Context, store.Scope) error {
		old := h.oldKey(behalf.KeyringKeyEnabled)
		return func(ctx context.Context, s store.Scope) error { return s.DisableKey(ctx, old) }
	},
	"EnableKey": func(h *house) func(context.Context, store.Scope) error {
		old := h.oldKey(behalf.KeyringKeyDisabled)
		return func(ctx context.Context, s store.Scope) error { return s.EnableKey(ctx, old) }
	},
	"DestroyKey": func(h *house) func(context.Context, store.Scope) error {
		old := h.oldKey(behalf.KeyringKeyDisabled)
		return func(ctx context.Context, s store.Scope) error { return s.DestroyKey(ctx, old) }
	},
	"RewrapKeyring": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return s.RewrapKeyring(ctx, storetest.RootKey("k"))
		}
	},
	"RecoveryKit": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.RecoveryKit(ctx)) }
	},
	"TakeRecoveryKit": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.TakeRecoveryKit(ctx)
			return err
		}
	},
	"InviteMember": func(h *house) func(context.Context, store.Scope) error {
		email := freshUser() + "@behalf.example"
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.InviteMember(ctx, behalf.Member{Email: email, Role: behalf.RoleDeveloper})
			return err
		}
	},
	"LinkMember": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.LinkMember(ctx, m.ID, behalf.LinkReset))
		}
	},
	"SaveMember": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error { return discard(s.SaveMember(ctx, m)) }
	},
	"RemoveMember": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error { return s.RemoveMember(ctx, m) }
	},
	"ChangePassword": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return s.ChangePassword(ctx, secret.New(memberPassword), secret.New("another-"+memberPassword), "")
		}
	},
	"SetUp": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.SetUp(ctx)) }
	},
	"SignIns": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error { return discard(s.SignIns(ctx, m.ID)) }
	},
	"EndSignIn": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error {
			return s.EndSignIn(ctx, m.ID, behalf.NewSignInID(h.DB.Now()))
		}
	},
	"EndSignIns": func(h *house) func(context.Context, store.Scope) error {
		m := h.member(behalf.RoleViewer)
		return func(ctx context.Context, s store.Scope) error { return s.EndSignIns(ctx, m.ID, "") }
	},
	"ForgetSignIns": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return s.ForgetSignIns(ctx) }
	},
	"Connect": func(h *house) func(context.Context, store.Scope) error {
		n := h.session(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Connect(ctx, n, behalf.SessionResult{Credential: h.Credential("x")}, behalf.Inputs{}, nil))
		}
	},
	"CreateTranscript": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return s.CreateTranscript(ctx, h.newTranscript(behalf.TrialTranscript))
		}
	},
	"SaveTranscript": func(h *house) func(context.Context, store.Scope) error {
		tr := h.transcript(behalf.TrialTranscript)
		return func(ctx context.Context, s store.Scope) error { return s.SaveTranscript(ctx, tr) }
	},
	"Transcript": func(h *house) func(context.Context, store.Scope) error {
		tr := h.transcript(behalf.TrialTranscript)
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Transcript(ctx, tr.Assistant, tr.ID))
		}
	},
	"SessionTranscript": func(h *house) func(context.Context, store.Scope) error {
		tr := h.transcript(behalf.TrialTranscript)
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.SessionTranscript(ctx, tr.Assistant, tr.Session))
		}
	},
	"Trials": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Trials(ctx, h.Assistant.ID, h.Profile.ID, store.Page{}))
		}
	},
	"OpenTrials": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.OpenTrials(ctx, h.Profile.ID)) }
	},
	"ConnectionTranscripts": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ConnectionTranscripts(ctx, c, store.Page{}))
		}
	},
	"ForgetTranscripts": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return s.ForgetTranscripts(ctx, h.DB.Now().Add(-time.Hour))
		}
	},
	"MakeConnection": func(h *house) func(context.Context, store.Scope) error {
		p := h.NewProfile(h.Assistant, storetest.Definition(freshUser(), provider))
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.MakeConnection(ctx, p, "", h.Credential("x"), behalf.Inputs{}, nil))
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
	"LatestConnections": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.LatestConnections(ctx, h.Assistant.ID, store.ConnectionFilter{}, store.Page{}))
		}
	},
	"CountConnections": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.CountConnections(ctx, h.Assistant.ID))
		}
	},
	"LastUse": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		c.LastUsedAt = h.DB.Now()
		return func(ctx context.Context, s store.Scope) error { return discard(s.LastUse(ctx, c)) }
	},
	"Tallies": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Tallies(ctx, h.Assistant.ID, time.Time{}))
		}
	},
	"PutVariable": func(h *house) func(context.Context, store.Scope) error {
		v := h.variable(behalf.NamespaceBot, "", freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.PutVariable(ctx, v)) }
	},
	"Variable": func(h *house) func(context.Context, store.Scope) error {
		v := h.kept(h.variable(behalf.NamespaceEnv, "", "read"))
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Variable(ctx, v.Assistant, v.Namespace, v.User, v.Name))
		}
	},
	"Variables": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Variables(ctx, h.Assistant.ID, "", "", store.Page{}))
		}
	},
	"DeleteVariable": func(h *house) func(context.Context, store.Scope) error {
		v := h.kept(h.variable(behalf.NamespaceBot, "", freshUser()))
		return func(ctx context.Context, s store.Scope) error { return s.DeleteVariable(ctx, v) }
	},
	"Stored": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.Stored(ctx, h.Assistant.ID, "u")) }
	},
	"ForgetVariables": func(*house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return s.ForgetVariables(ctx) }
	},
	"ForgetUser": func(h *house) func(context.Context, store.Scope) error {
		user := freshUser()
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.ForgetUser(ctx, h.Assistant.ID, user)
			return err
		}
	},
	"Webhooks": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Webhooks(ctx, h.Assistant.ID, store.Page{}))
		}
	},
	"Webhook": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error { return discard(s.Webhook(ctx, w.Assistant, w.ID)) }
	},
	"CreateWebhook": func(h *house) func(context.Context, store.Scope) error {
		h.webhook()
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.CreateWebhook(ctx, behalf.Webhook{Assistant: h.Assistant.ID, URL: "https://bot.example/hook"})
			return err
		}
	},
	"SaveWebhook": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		w.URL = "https://bot.example/other"
		return func(ctx context.Context, s store.Scope) error { return discard(s.SaveWebhook(ctx, w)) }
	},
	"RotateWebhook": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.RotateWebhook(ctx, w, time.Hour)
			return err
		}
	},
	"DeleteWebhook": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error { return s.DeleteWebhook(ctx, w) }
	},
	"TestWebhook": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error { return discard(s.TestWebhook(ctx, w)) }
	},
	"ReplayWebhook": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ReplayWebhook(ctx, w, store.Replay{Until: h.DB.Now()}))
		}
	},
	"Delivery": func(h *house) func(context.Context, store.Scope) error {
		w, d := h.delivery()
		return func(ctx context.Context, s store.Scope) error { return discard(s.Delivery(ctx, w, d.ID)) }
	},
	"Deliveries": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.Deliveries(ctx, w, "", store.Page{}))
		}
	},
	"WebhookHealth": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error { return discard(s.WebhookHealth(ctx, w)) }
	},
	"WebhookSigning": func(h *house) func(context.Context, store.Scope) error {
		w := h.webhook()
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.WebhookSigning(ctx, w.ID)
			return err
		}
	},
	"SpreadEvents": func(h *house) func(context.Context, store.Scope) error {
		h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.SpreadEvents(ctx)) }
	},
	"DueWebhooks": func(*house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return discard(s.DueWebhooks(ctx)) }
	},
	"ClaimDeliveries": func(h *house) func(context.Context, store.Scope) error {
		w, _ := h.delivery()
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.ClaimDeliveries(ctx, w.ID, 1, time.Minute))
		}
	},
	"SettleDelivery": func(h *house) func(context.Context, store.Scope) error {
		_, d := h.delivery()
		return func(ctx context.Context, s store.Scope) error {
			return s.SettleDelivery(ctx, d, behalf.Attempted{Answer: 500, Problem: "no", Exchange: &behalf.TranscriptStep{Error: "no"}}, 0)
		}
	},
	"ForgetDeliveries": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return s.ForgetDeliveries(ctx, h.DB.Now().Add(-time.Hour))
		}
	},
	"ForgetTallies": func(*house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error { return s.ForgetTallies(ctx) }
	},
	"AuditLines": func(h *house) func(context.Context, store.Scope) error {
		return func(ctx context.Context, s store.Scope) error {
			return discard(s.AuditLines(ctx, store.AuditFilter{Assistant: h.Assistant.ID}, store.Page{}))
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
	"LeaseUnread": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		return func(ctx context.Context, s store.Scope) error { return discard(s.LeaseUnread(ctx, c, time.Minute)) }
	},
	"Leased": func(h *house) func(context.Context, store.Scope) error {
		l := h.lease(h.connect(freshUser()))
		return func(_ context.Context, s store.Scope) error {
			_, _, err := s.Leased(l)
			return err
		}
	},
	"KeepOn": func(h *house) func(context.Context, store.Scope) error {
		c := h.connect(freshUser())
		l, got := h.lease(c), h.Credential("kept")
		return func(ctx context.Context, s store.Scope) error {
			_, _, err := s.KeepOn(ctx, l, c.Refreshed(h.Credential("old"), got), got)
			return err
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

// member is somebody new with a role, who has come in by a password.
func (h *house) member(role behalf.Role) behalf.Member {
	h.t.Helper()
	m, link, err := h.System.InviteMember(h.t.Context(), behalf.Member{Email: freshUser() + "@behalf.example", Name: "Somebody", Role: role})
	if err != nil {
		h.t.Fatal(err)
	}
	if m, err = h.DB.UseLink(h.t.Context(), link, store.Arrival{Name: m.Name, Password: secret.New(memberPassword)}); err != nil {
		h.t.Fatal(err)
	}
	return h.same(m)
}

const memberPassword = "four-leaves-and-a-stem"

// same reads a member again.
func (h *house) same(m behalf.Member) behalf.Member {
	h.t.Helper()
	m, err := h.System.Member(h.t.Context(), m.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// newTranscript is one of the house's profile; transcript keeps it.
func (h *house) newTranscript(kind behalf.TranscriptKind) behalf.Transcript {
	now := h.DB.Now()
	return behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: kind, Assistant: h.Assistant.ID, Profile: h.Profile.ID, Session: behalf.NewSessionID(now), Actor: "test",
		Status: behalf.TranscriptWaiting, Version: 1, CreatedAt: now, Steps: []behalf.TranscriptStep{{Name: behalf.StepRedirect, Detail: "of a person"}}}
}

func (h *house) transcript(kind behalf.TranscriptKind) behalf.Transcript {
	h.t.Helper()
	tr := h.newTranscript(kind)
	if err := h.System.CreateTranscript(h.t.Context(), tr); err != nil {
		h.t.Fatal(err)
	}
	return tr
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

// webhook makes an endpoint, in the place of those before it: an assistant may
// not have many.
func (h *house) webhook() behalf.Webhook {
	h.t.Helper()
	all, err := h.System.Webhooks(h.t.Context(), h.Assistant.ID, store.Page{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, w := range all {
		if err := h.System.DeleteWebhook(h.t.Context(), w); err != nil {
			h.t.Fatal(err)
		}
	}
	w, _, err := h.System.CreateWebhook(h.t.Context(), behalf.Webhook{Assistant: h.Assistant.ID, URL: "https://bot.example/hook"})
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

func (h *house) delivery() (behalf.Webhook, behalf.Delivery) {
	h.t.Helper()
	w := h.webhook()
	d, err := h.System.TestWebhook(h.t.Context(), w)
	if err != nil {
		h.t.Fatal(err)
	}
	return w, d
}

// connector makes a connector, and an agent that has enrolled for it.
func (h *house) connector() (behalf.Connector, behalf.ConnectorAgent) {
	h.t.Helper()
	c, err := h.System.CreateConnector(h.t.Context(), behalf.Connector{Name: freshUser()})
	if err != nil {
		h.t.Fatal(err)
	}
	token, _, err := h.System.EnrolToken(h.t.Context(), c)
	if err != nil {
		h.t.Fatal(err)
	}
	a, _, err := h.DB.EnrolAgent(h.t.Context(), token, make([]byte, 32), "host")
	if err != nil {
		h.t.Fatal(err)
	}
	return c, a
}
