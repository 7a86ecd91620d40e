package tunnel

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/yamux"
	"golang.org/x/net/dns/dnsmessage"
)

func (h *hostile) tell(t *testing.T, id, n uint32) {
	t.Helper()
	if _, err := h.control.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, id), n)); err != nil {
		t.Fatal(err)
	}
}

func ends(t *testing.T, s *yamux.Session, what string) {
	t.Helper()
	select {
	case <-s.CloseChan():
	case <-time.After(10 * time.Second):
		t.Errorf("%s: the tunnel is still open", what)
	}
}

// TestAServerThatLiesAboutCredit tells the agent what cannot be, and what no
// version has said yet.
func TestAServerThatLiesAboutCredit(t *testing.T) {
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	yaml := allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app))
	target := Target{TCP, "app.corp.example", 80}

	s := compromised(t, yaml)
	_, stream, err := ask(t, s, target)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.tell(t, stream.StreamID(), returned-1) // more than there ever is
	}
	s.tell(t, 77, 1000)       // of a stream that is none
	s.tell(t, 77, returned|5) // likewise
	s.tell(t, 0, 4711)        // of another version
	_, _ = io.WriteString(stream, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(stream); err != nil || !strings.HasSuffix(string(b), "ok") {
		t.Errorf("%q, %v", b, err)
	}

	_, stream, err = ask(t, s, target)
	if err != nil {
		t.Fatal(err)
	}
	s.tell(t, stream.StreamID(), returned|agentWindow+1) // the agent has not granted as much
	ends(t, s.Session, "credit was given back that there was not")
}

// broken is an agent whose tunnel keeps to nothing.
func broken(t *testing.T, s *stage) *yamux.Session {
	t.Helper()
	a, err := NewAgent(AgentConfig{Config: s.config("allow: []"), Identity: s.identity("agt_bad"), Log: s.logger(), Audit: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ws, _, err := a.attach(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	session, err := yamux.Server(websocket.NetConn(context.Background(), ws, websocket.MessageBinary), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	if _, err := session.AcceptStream(); err != nil { // control
		t.Fatal(err)
	}
	s.eventually("the tunnel", func() bool { return s.attached("agt_bad") })
	return session
}

func TestAnAgentThatKeepsToNothingIsCutOff(t *testing.T) {
	target := Target{TCP, "app.corp.example", 80}
	t.Run("more than it was granted", func(t *testing.T) {
		s := newStage(t)
		session := broken(t, s)
		go func() {
			stream, err := session.AcceptStream()
			if err != nil {
				return
			}
			var wish Target
			_ = readHead(stream, &wish)
			_ = writeHead(stream, opened{})
			_, _ = io.Copy(stream, endless{})
		}()
		c, err := s.hub.Dial(t.Context(), "office", target)
		if err != nil && CodeOf(err) != Lost {
			t.Fatal(err)
		}
		ends(t, session, "it sent more than it may")
		if c != nil {
			_ = c.Close()
		}
	})
	t.Run("streams of its own", func(t *testing.T) {
		s := newStage(t)
		session := broken(t, s)
		if stream, err := session.OpenStream(); err == nil {
			_, _ = stream.Write(make([]byte, 4096))
		}
		ends(t, session, "it opened a stream")
	})
	t.Run("no answer", func(t *testing.T) {
		s := newStage(t)
		broken(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := s.hub.Dial(ctx, "office", target); CodeOf(err) != Unreachable {
			t.Error(err)
		}
	})
	t.Run("an answer that is none", func(t *testing.T) {
		s := newStage(t)
		session := broken(t, s)
		go func() {
			if stream, err := session.AcceptStream(); err == nil {
				_, _ = stream.Write(append([]byte{0xff, 0xff}, make([]byte, 4096)...))
			}
		}()
		if _, err := s.hub.Dial(t.Context(), "office", target); CodeOf(err) != Lost {
			t.Error(err)
		}
	})
}

// TestAgentAndServerOfOtherVersionsSaySo has each meet one that speaks another
// protocol, and one that says more than it knows.
func TestAgentAndServerOfOtherVersionsSaySo(t *testing.T) {
	s := newStage(t)
	ws, _, err := websocket.Dial(t.Context(), s.web.URL+PathTunnel, &websocket.DialOptions{Subprotocols: []string{"behalf-tunnel.2"}})
	if err == nil {
		if _, _, err = ws.Read(t.Context()); err == nil {
			t.Error("an agent of another version was let in")
		}
		_ = ws.CloseNow()
	}
	s.eventually("the reason", func() bool { return strings.Contains(s.log.String(), "speaks another version") })

	newer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"behalf-tunnel.2"}}); err == nil {
			_, _, _ = ws.Read(r.Context())
		}
	}))
	t.Cleanup(newer.Close)
	id := s.identity("agt_1")
	id.Server = newer.URL
	a, err := NewAgent(AgentConfig{Config: s.config("allow: []"), Identity: id, Log: s.logger(), Audit: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "does not speak "+Subprotocol) {
		t.Error(err)
	}
}

// TestTwoAgentsOfOneIdentityBothWork is a copied identity file: both serve, and
// what cuts one cuts the other.
func TestTwoAgentsOfOneIdentityBothWork(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	yaml := allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app))
	id := s.identity("agt_1")
	for range 2 {
		s.start("agt_1", id, yaml)
	}
	s.eventually("two tunnels", func() bool { return len(s.hub.Tunnels()) == 2 })
	for range 4 {
		c := s.client(TCP)
		if _, body, err := s.get(c, "http://app.corp.example/"); body != "ok" {
			t.Error(err)
		}
		c.CloseIdleConnections()
	}
	s.mu.Lock()
	s.cut["agt_1"] = true
	s.mu.Unlock()
	s.hub.Cut(func(t *Tunnel) bool { return t.Agent != "agt_1" })
	s.eventually("the end of both", func() bool { return len(s.hub.Tunnels()) == 0 })
}

// TestAStormOfAgentsThatComeBack cuts two hundred at once; fifty under the race
// detector, which slows their handshakes down.
func TestAStormOfAgentsThatComeBack(t *testing.T) {
	agents := 200
	if raceDetector {
		agents = 50
	}
	s := newStage(t)
	var stopping sync.WaitGroup
	defer stopping.Wait()
	for n := range agents {
		name := fmt.Sprintf("agt_%d", n)
		_, stop := s.start(name, s.identity(name), "allow: []")
		defer stopping.Go(stop) // one after the other takes long
	}
	all := func() bool { return len(s.hub.Tunnels()) == agents }
	s.within(60*time.Second, "all tunnels", all)
	before := map[string]bool{}
	for _, t := range s.hub.Tunnels() {
		before[t.ID] = true
	}
	began := time.Now()
	s.hub.Cut(func(*Tunnel) bool { return false })
	s.within(60*time.Second, "all of them again", all)
	t.Logf("%d agents were back after %s", agents, time.Since(began).Round(time.Millisecond))
	if slices.ContainsFunc(s.hub.Tunnels(), func(t *Tunnel) bool { return before[t.ID] }) {
		t.Error("a tunnel that was cut is still there")
	}
}

// TestOneRequestInIsOneRequestOut sends an http row what different servers may
// read differently, and looks at what the application gets.
func TestOneRequestInIsOneRequestOut(t *testing.T) {
	var mu sync.Mutex
	var got []string
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen := ""
		for _, name := range []string{"Upgrade", "Connection", "Http2-Settings", "X-Http-Method-Override", "X-Original-Url", "Smuggled", "X-Fold"} {
			for _, v := range r.Header[name] {
				seen += fmt.Sprintf(" %s=%q", name, v)
			}
		}
		got = append(got, fmt.Sprintf("%s %s %q%s%v", r.Method, r.RequestURI, body, seen, len(r.Trailer)))
	})
	s := compromised(t, allowing(row("{http: 'http://hr.corp.example', to: 'http://%s', methods: [GET, POST], paths: ['/api/*']}", app)))
	const admin = "GET /admin HTTP/1.1\r\nHost: hr.corp.example\r\n\r\n"
	for name, c := range map[string]struct {
		sent    string
		answers []int
		want    []string // what the application gets
	}{
		"a length and chunks": {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + admin, []int{200, 502},
			[]string{`POST /api/a ""0`}},
		"two lengths":               {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\n" + admin, []int{400}, nil},
		"a length with a plus":      {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nContent-Length: +50\r\n\r\n" + admin, []int{400}, nil},
		"chunks that are not last":  {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + admin, []int{501}, nil},
		"chunks in a strange voice": {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + admin, []int{501}, nil},
		"a space before the colon":  {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + admin, []int{400}, nil},
		"a zero in a header":        {"GET /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nSmuggled: a\x00b\r\n\r\n", []int{400}, nil},
		"a bare carriage return":    {"GET /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nSmuggled: a\rb\r\n\r\n", []int{400}, nil},
		"a request behind another":  {"GET /api/a HTTP/1.1\r\nHost: hr.corp.example\r\n\r\n" + admin, []int{200, 502}, []string{`GET /api/a ""0`}},
		"another host behind it":    {"GET /api/a HTTP/1.1\r\nHost: hr.corp.example\r\n\r\nGET /api/b HTTP/1.1\r\nHost: evil\r\n\r\n", []int{200, 502}, []string{`GET /api/a ""0`}},
		"a trailer that is a header": {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nTransfer-Encoding: chunked\r\nTrailer: Smuggled\r\n\r\n1\r\nx\r\n0\r\nSmuggled: yes\r\nContent-Length: 9\r\n\r\n", []int{200},
			[]string{`POST /api/a "x"1`}},
		"an upgrade to HTTP/2": {"GET /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", []int{200},
			[]string{`GET /api/a ""0`}},
		"another method in a header": {"POST /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n", []int{200}, []string{`POST /api/a ""0`}},
		"another path in a header":   {"GET /api/a HTTP/1.1\r\nHost: hr.corp.example\r\nX-Original-URL: /admin\r\n\r\n", []int{200}, []string{`GET /api/a ""0`}},
		"another method and tunnel":  {"CONNECT /api/a HTTP/1.1\r\nHost: hr.corp.example\r\n\r\n", []int{502}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			mu.Lock()
			got = nil
			mu.Unlock()
			code, stream, err := ask(t, s, Target{HTTP, "hr.corp.example", 80})
			if err != nil || code != "" {
				t.Fatal(code, err)
			}
			_, _ = io.WriteString(stream, c.sent)
			_ = stream.SetReadDeadline(time.Now().Add(10 * time.Second))
			r := bufio.NewReader(stream)
			for _, want := range c.answers {
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				if res.StatusCode != want {
					t.Errorf("answered with %d, want %d", res.StatusCode, want)
				}
			}
			_ = stream.Close()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, c.want) {
				t.Errorf("the application got %q, want %q", got, c.want)
			}
		})
	}
}

// TestANameThatLeadsBackToTheAgent asks a name server that answers as an attacker
// would have it.
func TestANameThatLeadsBackToTheAgent(t *testing.T) {
	touched := make(chan string, 100)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			touched <- c.RemoteAddr().String()
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	answers := map[string][]string{
		"loopback.corp.example.": {"127.0.0.1"}, "any.corp.example.": {"0.0.0.0"}, "far.corp.example.": {"127.200.3.4"}, "metadata.corp.example.": {"169.254.169.254"},
		"six.corp.example.": {"::1"}, "mapped.corp.example.": {"::ffff:127.0.0.1"}, "unspecified.corp.example.": {"::"}, "link.corp.example.": {"fe80::1"}, "many.corp.example.": {"127.0.0.1", "::1", "0.0.0.0"},
	}
	var rows []string
	for name := range answers {
		rows = append(rows, row("{tcp: '%s:%s'}", strings.TrimSuffix(name, "."), port))
	}
	c, err := parseConfig([]byte(allowing(rows...)), "")
	if err != nil {
		t.Fatal(err)
	}
	resolver := nameServer(t, answers)
	for name := range answers {
		for _, host := range []string{strings.TrimSuffix(name, "."), strings.ToUpper(name)} {
			target, err := ParseTarget(TCP, net.JoinHostPort(host, port))
			if err != nil {
				t.Fatal(err)
			}
			found := find(c.Allow, target)
			if len(found) != 1 {
				t.Fatalf("%s: %d rows", host, len(found))
			}
			found[0].resolver = resolver
			if _, err := found[0].dial(t.Context(), target); err == nil || asError(err).Code != NotAllowed {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	select {
	case from := <-touched:
		t.Errorf("the agent's own machine was connected to, from %s", from)
	default:
	}
}

// nameServer answers until the test ends.
func nameServer(t *testing.T, answers map[string][]string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			for _, a := range answers[strings.ToLower(q.Name.String())] {
				head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
				ip := net.ParseIP(a)
				if v4 := ip.To4(); v4 != nil && !strings.Contains(a, ":") && q.Type == dnsmessage.TypeA {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: [4]byte(v4)}})
				} else if strings.Contains(a, ":") && q.Type == dnsmessage.TypeAAAA {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(ip.To16())}})
				}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = server.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { _ = server.Close() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}
