package broker_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	testdb.Main(m)
}

// stage is a broker between a store and a provider, with one connection.
type stage struct {
	*storetest.House
	t      *testing.T
	sim    *simulator.Simulator
	server *httptest.Server
	log    *logBuffer
	broker *broker.Broker
	scope  store.Scope // the assistant's
	c      behalf.Connection
	first  behalf.Credential
}

type setup struct {
	profile func(*behalf.Definition)
	broker  func(*broker.Config)
	account behalf.Account
	scope   string
}

func newStage(t *testing.T, url string, with setup) *stage {
	t.Helper()
	s := &stage{t: t, log: &logBuffer{}}
	clock := &forward{now: time.Now}
	s.sim = simulator.New(simulator.Config{Now: clock.Now,
		Users:   []simulator.User{{Name: "hazel", Password: secret.New("acorns"), Subject: "u-1"}},
		Clients: []simulator.Client{{ID: "bot", Secret: secret.New(storetest.ClientSecret)}}})
	s.server = httptest.NewServer(s.sim)
	t.Cleanup(s.server.Close)
	s.House = storetest.New(t, url, s.server.URL, with.profile)
	clock.set(s.Clock.Now)
	s.scope = s.DB.As(behalf.Actor{Kind: behalf.ActorAssistant, ID: "key_test", Assistant: s.Assistant.ID})
	s.broker = newBroker(t, s.DB, s.log, with.broker)
	if with.scope == "" {
		with.scope = "notes:read"
	}
	s.first = grant(t, s.server.URL, with.scope, s.DB.Now())
	s.c = s.House.Connect(s.Profile, "u1", s.first, with.account, behalf.Inputs{})
	t.Cleanup(s.nothingSecretIsLogged)
	return s
}

// serve serves another provider.
func (s *stage) serve(h http.Handler) string {
	server := httptest.NewServer(h)
	s.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// forward is a clock that can be replaced once the store's is made.
type forward struct {
	mu  sync.Mutex
	now func() time.Time
}

func (f *forward) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now()
}

func (f *forward) set(now func() time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = now
}

func newBroker(t testing.TB, db *store.DB, log *logBuffer, change func(*broker.Config)) *broker.Broker {
	t.Helper()
	out := egress.New(egress.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Now: time.Now})
	t.Cleanup(out.Close)
	cfg := broker.Config{DB: db, Egress: out, Log: slog.New(slog.NewJSONHandler(log, nil))}
	if change != nil {
		change(&cfg)
	}
	return broker.New(cfg)
}

// grant gets real tokens from the simulator, as a person's authorization would.
func grant(t testing.TB, base, scope string, now time.Time) behalf.Credential {
	t.Helper()
	return token(t, base, url.Values{"grant_type": {"password"}, "username": {"hazel"}, "password": {"acorns"}, "scope": {scope}}, now)
}

// refreshBehindOurBack uses a refresh token as a server would that then dies.
func (s *stage) refreshBehindOurBack(c behalf.Credential) behalf.Credential {
	s.t.Helper()
	return token(s.t, s.server.URL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.RefreshToken.Reveal()}}, s.DB.Now())
}

func token(t testing.TB, base string, form url.Values, now time.Time) behalf.Credential {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, base+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("bot", url.QueryEscape(storetest.ClientSecret))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var got struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("token endpoint: status %d, %v", res.StatusCode, err)
	}
	return behalf.Credential{AccessToken: secret.New(got.AccessToken), RefreshToken: secret.New(got.RefreshToken), TokenType: "Bearer",
		ExpiresAt: now.Add(time.Duration(got.ExpiresIn) * time.Second), ObtainedAt: now}
}

// due moves the clock to where the access token ends within its margin.
func (s *stage) due() { s.Clock.Advance(57 * time.Minute) }

// ended moves the clock from due to behind the access token's end.
func (s *stage) ended() { s.Clock.Advance(4 * time.Minute) }

func (s *stage) now() behalf.Connection { return s.Connection(s.c.ID) }

// use asks the broker as a call does: with the connection as it is now.
func (s *stage) use() (broker.Good, error) {
	return s.broker.Connection(s.t.Context(), s.scope, s.now())
}

func (s *stage) mustUse() broker.Good {
	s.t.Helper()
	g, err := s.use()
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// works reports whether the provider's API takes the access token.
func (s *stage) works(c behalf.Credential) bool {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.server.URL+"/api/me", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.AccessToken.Reveal())
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (s *stage) refreshes(want int64) {
	s.t.Helper()
	if got := s.sim.Stats().Refreshes; got != want {
		s.t.Errorf("the provider saw %d refresh requests, want %d", got, want)
	}
}

// survives is the referee: a provider that was asked twice with one token has
// killed the grant, and then one more refresh fails.
func (s *stage) survives() {
	s.t.Helper()
	before := s.now()
	s.Clock.Advance(before.ExpiresAt.Sub(s.DB.Now()) - time.Second)
	g, err := s.use()
	// Whoever comes in the moment before the refresh before has ended shares its
	// result: for them it is not a second old, whatever the clock was set to.
	for end := time.Now().Add(5 * time.Second); err == nil && g.Generation == before.Generation && time.Now().Before(end); g, err = s.use() {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || g.Generation != before.Generation+1 || !s.works(g.Credential) {
		s.t.Errorf("one more refresh: generation %d after %d, %v", g.Generation, before.Generation, err)
	}
	if n := s.sim.Stats(); n.Duplicates != 0 || n.FamiliesRevoked != 0 {
		s.t.Errorf("the provider saw %d spent tokens and revoked %d grants", n.Duplicates, n.FamiliesRevoked)
	}
}

func (s *stage) events(kind behalf.EventType) int {
	s.t.Helper()
	n, page := 0, store.Page{}
	for {
		all, err := s.System.Events(s.t.Context(), s.Assistant.ID, page)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, e := range all {
			if page.After = string(e.ID); e.Type == kind {
				n++
			}
		}
		if len(all) == 0 {
			break
		}
	}
	return n
}

func (s *stage) nothingSecretIsLogged() {
	for _, value := range []string{storetest.ClientSecret, url.QueryEscape(storetest.ClientSecret), s.first.AccessToken.Reveal(), s.first.RefreshToken.Reveal(), "acorn_at_", "acorn_rt_"} {
		if strings.Contains(s.log.String(), value) {
			s.t.Errorf("the log holds a secret:\n%s", s.log.String())
		}
	}
}

// eventually waits for something that happens in the background.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not come: %s", what)
		}
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// relay stands between the store and PostgreSQL, and can be cut.
type relay struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// newRelay returns a relay and the database's address through it.
func newRelay(t *testing.T, database string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: u.Host, conns: map[net.Conn]bool{}}
	go r.serve()
	t.Cleanup(func() { _ = l.Close(); r.set(true) })
	u.Host = l.Addr().String()
	return r, u.String()
}

func (r *relay) serve() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil || !r.add(in, out) {
			_ = in.Close()
			continue
		}
		go r.pipe(in, out)
		go r.pipe(out, in)
	}
}

func (r *relay) add(in, out net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		_ = out.Close()
		return false
	}
	r.conns[in], r.conns[out] = true, true
	return true
}

func (r *relay) pipe(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
			return
		}
	}
}

// set cuts all connections and takes no more, or heals.
func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for c := range r.conns {
			_ = c.Close()
		}
		clear(r.conns)
	}
}
