package server_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/storetest"
	"github.com/behalf-dev/behalf/internal/tunnel"
)

// branch is a stage whose simulator is an application of a private network: the
// server itself may not reach it, and a connector called office does.
type branch struct {
	*stage
	cfg *tunnel.Config
	id  tunnel.Identity
}

func inside(t *testing.T) *branch {
	t.Helper()
	s := newStage(t, servertest.Setup{Config: func(c *server.Config) { c.AllowPrivate = nil }})
	var made api.NewConnector
	s.Do(s.Owner, http.MethodPost, "/v1/connectors", api.ConnectorBody{Name: "office"}).Into(t, &made)
	if made.Status != "new" || !strings.HasPrefix(made.Token, "bhc_") {
		t.Fatalf("made %+v", made)
	}
	s.Secret(made.Token)
	office := "office"
	d := storetest.Definition("Inside", s.Provider)
	d.Connector, d.OAuth.RevocationURL = &office, s.Provider+"/revoke"
	s.Profile = s.NewProfile(s.Assistant, d)
	s.register(s.Profile)
	o := &branch{stage: s}
	o.enrol("agent", made.Token)
	return o
}

// enrol makes a configuration that allows the simulator, and enrols with it.
func (s *branch) enrol(name, token string) {
	s.t.Helper()
	u, _ := url.Parse(s.Provider)
	file := filepath.Join(s.t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte("server: "+s.URL+"\nallow:\n  - tcp: "+u.Host+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cfg, err := tunnel.ReadConfig(file)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := tunnel.Enrol(s.t.Context(), cfg, s.URL, secret.New(token))
	if err != nil {
		s.t.Fatal(err)
	}
	if info, err := os.Stat(cfg.Identity); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	s.cfg, s.id = cfg, id
}

// agent runs the agent that has enrolled, until the returned function is called.
func (s *branch) agent() (stop func()) {
	s.t.Helper()
	a, err := tunnel.NewAgent(tunnel.AgentConfig{Config: s.cfg, Identity: s.id, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(s.Log, nil)), Audit: io.Discard, Now: time.Now,
		MaxPause: 200 * time.Millisecond, StopTimeout: 2 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	s.t.Cleanup(stop)
	s.eventually("the connector", func() bool { return s.connector().Status == "connected" })
	return stop
}

func (s *branch) connector() api.Connector {
	s.t.Helper()
	var c api.Connector
	s.Do(s.Owner, http.MethodGet, "/v1/connectors/office", nil).Into(s.t, &c)
	return c
}

func (s *branch) me(user string) servertest.Answer {
	return s.Do(s.Key, http.MethodGet, s.api("/proxy/"+s.Profile.Slug+"/me"), nil, "Behalf-User", user)
}

func TestEveryCallOfAProfileGoesThroughItsConnector(t *testing.T) {
	s := inside(t)
	stop := s.agent()
	of := s.begin(s.Profile)
	c := s.connected(of, s.browser().connects(of)) // token, userinfo, check
	s.Clock.Advance(2 * time.Hour)
	if a := s.me(of.User); a.Status != http.StatusOK || a.Header.Get("Behalf-Error") != "" { // refresh and call
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	if n := s.Sim.Stats(); n.Exchanges != 1 || n.Refreshes != 1 {
		t.Errorf("%d exchanges, %d refreshes", n.Exchanges, n.Refreshes)
	}
	var found api.Discovered
	s.Do(s.Owner, http.MethodPost, "/v1/discover", api.DiscoverBody{URL: s.Provider, Connector: "office"}).Into(t, &found)
	s.Do(s.Owner, http.MethodPost, "/v1/discover", api.DiscoverBody{URL: s.Provider}).Problem(t, 422, behalf.CodeInvalid)

	got := s.connector()
	if len(got.Agents) != 1 || got.Agents[0].Version != "1.2.3" || got.Agents[0].Address != "127.0.0.1" || len(got.Agents[0].Allow) != 1 || len(got.Agents[0].Tunnels) != 1 {
		t.Errorf("the connector is %+v", got)
	}

	stop() // without it they fail, and say on which side
	a := s.me(of.User)
	a.Problem(t, http.StatusServiceUnavailable, behalf.CodeConnectorNotConnected)
	if a.Header.Get("Behalf-Error") != string(behalf.CodeConnectorNotConnected) {
		t.Error(a.Header)
	}
	again := s.begin(s.Profile)
	s.ends(again, s.browser().connects(again), failed("connector_not_connected", "the connector is not connected"))

	s.agent()
	if a := s.me(of.User); a.Status != http.StatusOK {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
	s.Do(s.Key, http.MethodDelete, s.api("/connections/"+c.ID), nil)
	s.eventually("the revocation", func() bool { return s.Sim.Stats().Revocations == 1 })
	var events api.List[api.Event]
	s.Do(s.Owner, http.MethodGet, s.api("/events"), nil).Into(t, &events)
	types := ""
	for _, e := range events.Items {
		if strings.HasPrefix(e.Type, "connector.") {
			types += e.Type + " "
		}
	}
	if types != "connector.connected connector.disconnected connector.connected " {
		t.Errorf("the events are %s", types)
	}
}

func TestADisabledConnectorIsCutAtOnce(t *testing.T) {
	s := inside(t)
	s.agent()
	of := s.begin(s.Profile)
	s.connected(of, s.browser().connects(of))
	enable := func(yes bool) {
		s.Do(s.Owner, http.MethodPatch, "/v1/connectors/office", api.ConnectorChange{Enabled: &yes})
	}
	began := time.Now()
	enable(false)
	s.eventually("the cut", func() bool { return len(s.connector().Agents[0].Tunnels) == 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	s.me(of.User).Problem(t, http.StatusServiceUnavailable, behalf.CodeConnectorNotConnected)
	office := "office"
	d := storetest.Definition("Another", s.Provider)
	d.Connector = &office
	_, err := s.System.CreateProfile(t.Context(), behalf.Profile{Assistant: s.Assistant.ID, Definition: d})
	if e, ok := err.(*behalf.Error); !ok || e.Field != "connector" {
		t.Errorf("a profile with a disabled connector: %v", err)
	}
	enable(true)
	s.eventually("its coming back", func() bool { return s.me(of.User).Status == http.StatusOK })

	agent := s.connector().Agents[0]
	began = time.Now()
	if a := s.Do(s.Owner, http.MethodDelete, "/v1/connectors/office/agents/"+agent.ID, nil); a.Status != http.StatusNoContent {
		t.Fatal(a.Status, a.Body)
	}
	s.eventually("the cut", func() bool { return len(s.connector().Agents[0].Tunnels) == 0 })
	if took := time.Since(began); took > time.Second || s.connector().Agents[0].Status != "revoked" {
		t.Errorf("it took %s", took)
	}
	s.eventually("the refusal", func() bool { return strings.Contains(s.Log.String(), "this agent was revoked") })
}
