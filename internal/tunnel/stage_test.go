package tunnel

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// stage is a hub that is reached over real HTTP, and agents beside it.
type stage struct {
	t    *testing.T
	hub  *Hub
	web  *httptest.Server
	log  lines
	mu   sync.Mutex
	keys map[string]ed25519.PublicKey
	cut  map[string]bool

	agents map[string]*Agent
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, keys: map[string]ed25519.PublicKey{}, cut: map[string]bool{}, agents: map[string]*Agent{}}
	s.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.hub.ServeHTTP(w, r) }))
	u, _ := url.Parse(s.web.URL)
	s.hub = NewHub(HubConfig{Host: u.Host, Log: slog.New(slog.NewTextHandler(&s.log, nil)), Now: time.Now,
		Agent: func(_ context.Context, id string) (Agreed, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.keys[id] == nil || s.cut[id] {
				return Agreed{}, Refusal("this agent is not known or was revoked")
			}
			return Agreed{Connector: "office", Name: "office", Key: s.keys[id]}, nil
		},
		Attach: func(context.Context, *Tunnel) error { return nil }, Detach: func(*Tunnel) {}, Drained: func(string) {},
	})
	t.Cleanup(func() { s.hub.Close(); s.web.Close() })
	return s
}

// config reads a configuration from a file of its own.
func (s *stage) config(yaml string) *Config {
	s.t.Helper()
	name := filepath.Join(s.t.TempDir(), "connector.yaml")
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		s.t.Fatal(err)
	}
	c, err := ReadConfig(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *stage) identity(agent string) Identity {
	s.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[agent] = public
	return Identity{Server: s.web.URL, Connector: "office", Agent: agent, Key: private}
}

// agent runs one; the returned function stops it gracefully and waits.
func (s *stage) agent(name, yaml string) (audit *lines, stop func()) {
	s.t.Helper()
	audit, stop = s.start(name, s.identity(name), yaml)
	s.eventually("the tunnel of "+name, func() bool { return s.attached(name) })
	return audit, stop
}

func (s *stage) start(name string, id Identity, yaml string) (audit *lines, stop func()) {
	s.t.Helper()
	audit = &lines{}
	a, err := NewAgent(AgentConfig{Config: s.config(yaml), Identity: id, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(&s.log, nil)), Audit: audit, Now: time.Now, MaxPause: 200 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.agents[name] = a
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	s.t.Cleanup(func() { s.hub.Close(); stop() })
	return audit, stop
}

func (s *stage) attached(agent string) bool {
	for _, t := range s.hub.Tunnels() {
		if t.Agent == agent {
			return true
		}
	}
	return false
}

func (s *stage) eventually(what string, is func() bool) {
	s.t.Helper()
	s.within(10*time.Second, what, is)
}

func (s *stage) within(limit time.Duration, what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("did not come: %s\n%s", what, s.log.String())
		}
	}
}

// client speaks HTTP through the tunnel; kind says who does TLS.
func (s *stage) client(kind Kind) *http.Client {
	return s.clientThrough(kind, func(ctx context.Context, target Target) (net.Conn, error) { return s.hub.Dial(ctx, "office", target) })
}

func (s *stage) clientThrough(kind Kind, dial func(context.Context, Target) (net.Conn, error)) *http.Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		target, err := ParseTarget(kind, address)
		if err != nil {
			return nil, err
		}
		return dial(ctx, target)
	}, DisableCompression: true, MaxIdleConnsPerHost: 2000}
	s.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

func (s *stage) get(c *http.Client, url string) (int, string, error) {
	res, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	if err := FaultOf(res); err != nil {
		return res.StatusCode, "", err
	}
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	w := httptest.NewServer(h)
	t.Cleanup(w.Close)
	return w, strings.TrimPrefix(w.URL, "http://")
}

func allowing(rows ...string) string { return "allow:\n" + strings.Join(rows, "\n") + "\n" }

func row(format string, args ...any) string { return "  - " + fmt.Sprintf(format, args...) }

func (s *stage) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&s.log, nil)) }
