package e2e

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/testdb"
)

// engines are the databases that every test runs on.
var engines = []string{"sqlite", "postgres"}

// stage is one server on an empty database, and what its test knows that
// nobody may learn from it.
type stage struct {
	*evidence
	t        testing.TB
	database string  // a postgres URL; empty: the node's own SQLite
	node     *node   // the first of
	nodes    []*node // all that ran
	owner    *client
}

// newStage starts a server. When the test ends, after the server has stopped,
// everything that is left of it is searched for what must not be there. More is
// added to the server's environment.
func newStage(t testing.TB, engine string, more ...string) *stage {
	t.Helper()
	s := &stage{evidence: newEvidence(), t: t}
	if engine == "postgres" {
		s.database = testdb.Postgres(t)
		u, err := url.Parse(s.database)
		if err != nil {
			t.Fatal(err)
		}
		password, _ := u.User.Password()
		s.secret("database password", password)
	}
	t.TempDir() // the first call decides when all of them are removed: after the search
	t.Cleanup(func() { s.search(t) })
	s.node = s.serve(more...)
	_, rootKey, _ := strings.Cut(s.node.key("root.key"), " ")
	s.secret("root key", rootKey)
	s.owner = &client{t: t, seen: s.evidence, base: s.node.url + "/v1", key: s.secret("owner's key", s.node.key("owner.key"))}
	return s
}

// serve starts a server on the stage's database.
func (s *stage) serve(more ...string) *node {
	s.t.Helper()
	n := serve(s.t, s.database, more...)
	s.nodes = append(s.nodes, n)
	return n
}

// another starts a second server on the PostgreSQL database of the first.
func (s *stage) another() *node {
	s.t.Helper()
	return s.serve("BEHALF_ROOT_KEY=file:"+s.node.dir+"/root.key", "BEHALF_PUBLIC_URL="+s.node.url)
}

// bot is an assistant's backend, as far as the API is concerned: it has the
// assistant's own key.
type bot struct {
	*client
	s    *stage
	path string // of the assistant
}

// assistant makes an assistant with the settings, which may read tokens.
func (s *stage) assistant(settings map[string]any) *bot {
	s.t.Helper()
	body := map[string]any{"name": "Support Bot", "token_reads": true, "finish": false}
	for name, value := range settings {
		body[name] = value
	}
	var made struct{ Slug string }
	s.owner.post("/assistants", body, &made)
	var key struct{ Key string }
	s.owner.post("/keys", map[string]any{"name": "Backend", "assistant": made.Slug}, &key)
	path := "/assistants/" + made.Slug
	own := &client{t: s.t, seen: s.evidence, base: s.owner.base + path, key: s.secret("assistant's key", key.Key)}
	return &bot{client: own, s: s, path: path}
}

// profile is an authorization profile as it is read.
type profile struct {
	ID              string
	Slug            string
	Status          string
	CallbackURL     string `json:"callback_url"`
	ClientSecretSet bool   `json:"client_secret_set"`
}

// reserve makes the id of a profile, so that its redirect URI can be
// registered.
func (b *bot) reserve() profile {
	b.t.Helper()
	var p profile
	b.s.owner.post(b.path+"/profiles", map[string]any{"reserve": true}, &p)
	return p
}

// define gives a reserved profile its definition.
func (b *bot) define(reserved profile, definition map[string]any) profile {
	b.t.Helper()
	if value, ok := definition["client_secret"].(string); ok {
		b.s.secret("client secret", value)
	}
	var p profile
	b.s.owner.put(b.path+"/profiles/"+reserved.ID, definition, &p)
	return p
}

// session is a connect session.
type session struct {
	ID         string
	URL        string
	Status     string
	Connection string
	Problem    struct{ Code, Detail string }
}

// begin makes a connect session. It may be called from any goroutine, and then
// the session is empty where it failed.
func (b *bot) begin(request map[string]any) session {
	var made session
	r := b.send("POST", "/connect-sessions", request)
	if !r.ok() {
		b.t.Errorf("no session: %d %s", r.status, r.body)
		return made
	}
	b.decode(r, &made)
	b.s.secret("connect link", made.URL[strings.LastIndex(made.URL, "/")+1:])
	return made
}

func (b *bot) session(id string) session {
	b.t.Helper()
	var found session
	b.get("/connect-sessions/"+id, &found)
	return found
}

// connection is a connection as it is read.
type connection struct {
	ID         string
	User       string
	Status     string
	Account    struct{ Subject, Label string }
	Scopes     struct{ Granted, Missing []string }
	Generation int64
	ExpiresAt  time.Time `json:"expires_at"`
}

func (b *bot) connections(user string) []connection {
	b.t.Helper()
	var list struct{ Items []connection }
	b.get("/connections?user="+url.QueryEscape(user), &list)
	return list.Items
}

func (b *bot) connection(id string) connection {
	b.t.Helper()
	var found connection
	b.get("/connections/"+id, &found)
	return found
}

func (b *bot) refresh(id string) connection {
	b.t.Helper()
	var found connection
	b.post("/connections/"+id+"/refresh", nil, &found)
	return found
}

// token is a token read.
type token struct {
	AccessToken string    `json:"access_token"`
	ExpiresAt   time.Time `json:"expires_at"`
	Connection  string
}

func (b *bot) token(profile, user string) token {
	b.t.Helper()
	var got token
	b.post("/token", map[string]any{"profile": profile, "user": user}, &got)
	b.s.secret("access token", got.AccessToken)
	return got
}

// call sends a GET through the proxy.
func (b *bot) call(profile, user, path string) reply {
	return b.send("GET", "/proxy/"+profile+path, nil, "Behalf-User", user)
}
