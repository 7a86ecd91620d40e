package e2e

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/e2e/servers"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// The test of the connector in a network of its own runs twice: outside it makes
// a network namespace and runs itself anew in there, as what is inside a private
// network: an authorization server and its API on the namespace's own loopback,
// the agent, and the person's Chromium. The server runs outside, and all that is
// between is one address that leads to the server.
const (
	insideNet  = "BEHALF_E2E_OUTSIDE"      // the network namespace of the server
	insidePort = "BEHALF_E2E_OUTSIDE_PORT" // where the server listens, on its own loopback
	outsideEnd = "10.213.77.1"
	insideEnd  = "10.213.77.2"
)

func TestAnApplicationInAPrivateNetworkWorksThroughTheConnector(t *testing.T) {
	if os.Getenv(insideNet) != "" {
		insideThePrivateNetwork(t)
		return
	}
	if testing.Short() {
		t.Skip("processes take too long for short mode")
	}
	if os.Getuid() != 0 {
		t.Skip("only root can make a network namespace")
	}
	name := "bhf-e2e-" + itoa(os.Getpid())
	near, far := "bhfo"+itoa(os.Getpid()), "bhfi"+itoa(os.Getpid())
	network(t, "netns", "add", name)
	t.Cleanup(func() { network(t, "netns", "del", name) }) // and the link with it
	network(t, "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
	network(t, "addr", "add", outsideEnd+"/24", "dev", near)
	network(t, "link", "set", near, "up")
	network(t, "-n", name, "addr", "add", insideEnd+"/24", "dev", far)
	network(t, "-n", name, "link", "set", far, "up")
	network(t, "-n", name, "link", "set", "lo", "up")

	port := itoa(servers.FreePort(t))
	forward(t, outsideEnd+":"+port, "127.0.0.1:"+port)
	again := exec.Command("ip", "netns", "exec", name, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m")
	again.Env = append(os.Environ(), insideNet+"=/proc/"+itoa(os.Getpid())+"/ns/net", insidePort+"="+port)
	said, err := again.CombinedOutput()
	if err != nil {
		t.Errorf("inside: %v\n%s", err, said)
	}
	t.Logf("%s", said)
}

func network(t testing.TB, args ...string) {
	t.Helper()
	if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

// forward passes connections on until the test ends.
func forward(t testing.TB, from, to string) {
	t.Helper()
	listener, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			one, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer one.Close()
				other, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer other.Close()
				go func() { _, _ = io.Copy(other, one); _ = other.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(one, other)
			}()
		}
	}()
}

// outside starts the server in the other network.
func outside(t testing.TB) *stage {
	t.Helper()
	s := &stage{evidence: newEvidence(), t: t}
	t.TempDir() // as newStage does
	t.Cleanup(func() { s.search(t) })
	address := "127.0.0.1:" + os.Getenv(insidePort)
	forward(t, address, outsideEnd+":"+os.Getenv(insidePort))
	n := &node{dir: t.TempDir(), url: "http://" + address}
	n.process = begin(t, &process{through: []string{"nsenter", "--net=" + os.Getenv(insideNet), "--"}, env: []string{"BEHALF_DATABASE_URL=sqlite:" + n.file()},
		args: []string{"serve", "--listen", address, "--data", n.dir, "--log-level", "debug"}})
	n.ready()
	s.node, s.nodes = n, []*node{n}
	s.owner = &client{t: t, seen: s.evidence, base: n.url + "/v1", key: s.secret("owner's key", n.key("owner.key"))}
	return s
}

// acorn is the application of the private network.
func acorn(t testing.TB, s *stage) (base string, sim *simulator.Simulator) {
	t.Helper()
	base = "http://127.0.0.1:" + itoa(servers.FreePort(t))
	sim = simulator.New(simulator.Config{BaseURL: base, Users: []simulator.User{{Name: "hazel", Password: secret.New(s.secret("password at the provider", "hazels-own-password")), Subject: "u-1", Email: "hazel@acorn.example", FullName: "Hazel Birch"}},
		Clients: []simulator.Client{{ID: "bot", Name: "Support Bot", Secret: secret.New("acorn-client-secret")}}})
	listener, err := net.Listen("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: sim}
	go func() { _ = web.Serve(listener) }()
	t.Cleanup(func() { _ = web.Close() })
	return base, sim
}

func insideThePrivateNetwork(t *testing.T) {
	s := outside(t)
	base, sim := acorn(t, s)
	agent := s.agent(s.node.url, base, s.office())
	connected := func() bool { return s.connectorStatus() == "connected" }
	eventually(t, "the connector", connected)

	bot := s.assistant(nil)
	p := bot.notes(base, sim)

	// From the server's own network nothing of it can be reached.
	if got := s.owner.send("POST", "/discover", map[string]any{"url": base}); got.ok() {
		t.Errorf("without the connector the application was found: %s", got.body)
	}
	if got := s.owner.send("POST", "/discover", map[string]any{"url": base, "connector": "office"}); !got.ok() {
		t.Errorf("discovery through the connector: %d %s", got.status, got.body)
	}

	person := s.person(t)
	journey := func() session {
		made := bot.begin(map[string]any{"profile": p.Slug, "user": user, "user_name": "Hazel Birch"})
		person.Open(made.URL)
		person.Click("Continue to Acorn Notes")
		return made
	}
	made := journey()
	person.Login("hazel", "hazels-own-password", s.node.url+"/callback/")
	person.WaitText("Acorn Notes is connected")
	connection := bot.session(made.ID).Connection
	before := sim.Stats().Refreshes
	if bot.refresh(connection); sim.Stats().Refreshes != before+1 {
		t.Errorf("%d refreshes, there were %d", sim.Stats().Refreshes, before)
	}
	if got := bot.call(p.Slug, user, "/me"); got.status != http.StatusOK || !strings.Contains(string(got.body), "hazel@acorn.example") {
		t.Errorf("the call was answered with %d %s", got.status, got.body)
	}

	// Without the connector everything fails, and says why.
	agent.stop()
	eventually(t, "the end of the tunnel", func() bool { return !connected() })
	if got := bot.call(p.Slug, user, "/me"); got.status != http.StatusServiceUnavailable || got.header.Get("Behalf-Error") != "connector_not_connected" {
		t.Errorf("a call without the connector: %d %q %s", got.status, got.header.Get("Behalf-Error"), got.body)
	}
	made = journey()
	person.Login("hazel", "hazels-own-password", s.node.url+"/callback/")
	eventually(t, "the session's end", func() bool { return bot.session(made.ID).Status == "failed" })
	if got := bot.session(made.ID).Problem; got.Code != "connector_not_connected" {
		t.Errorf("the session failed with %+v", got)
	}

	agent.start()
	eventually(t, "the connector", connected)
	if got := bot.call(p.Slug, user, "/me"); got.status != http.StatusOK {
		t.Errorf("the connector is back, and the call was answered with %d %s", got.status, got.body)
	}
}

// office makes a connector and returns its first enrolment token.
func (s *stage) office() string {
	s.t.Helper()
	var made struct {
		Token string `json:"enrol_token"`
	}
	s.owner.post("/connectors", map[string]any{"name": "office"}, &made)
	return s.secret("enrolment token", made.Token)
}

func (s *stage) connectorStatus() string {
	s.t.Helper()
	var c struct{ Status string }
	s.owner.get("/connectors/office", &c)
	return c.Status
}

// agent enrols one that reaches the server at an address and the application at
// base, and starts it.
func (s *stage) agent(server, base, token string) *process {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "connector.yaml")
	if err := os.WriteFile(file, []byte("server: "+server+"\nallow:\n  - tcp: "+strings.TrimPrefix(base, "http://")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	enrol := exec.Command(behalfBinary(s.t), "connector", "enrol", "-f", file, "--token", token)
	if said, err := enrol.CombinedOutput(); err != nil {
		s.t.Fatalf("enrol: %v\n%s", err, said)
	}
	return begin(s.t, &process{args: []string{"connector", "run", "-f", file}})
}

// notes makes a profile of the application that goes through the connector.
func (b *bot) notes(base string, sim *simulator.Simulator) profile {
	b.t.Helper()
	reserved := b.reserve()
	if err := sim.AddRedirectURI("bot", reserved.CallbackURL); err != nil {
		b.t.Fatal(err)
	}
	return b.define(reserved, map[string]any{"type": "oauth2", "name": "Notes", "provider": "Acorn Notes", "connector": "office", "client_id": "bot", "client_secret": "acorn-client-secret",
		"authorization_url": base + "/authorize", "token_url": base + "/token", "check_url": base + "/api/me", "api": map[string]any{"base_url": base + "/api"},
		"scope": []map[string]any{{"key": "scope", "value": "notes:read offline_access"}}, "oauth": map[string]any{"revocation_url": base + "/revoke"}})
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not come: %s", what)
		}
	}
}
