package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/yamux"
)

// hostile is the other end of an agent's tunnel: a bare yamux session.
type hostile struct {
	*yamux.Session
	control *yamux.Stream
	audit   *lines // of the agent
}

// compromised is a server that keeps to nothing.
func compromised(t *testing.T, yaml string) *hostile {
	t.Helper()
	sessions := make(chan *hostile, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}})
		if err != nil {
			return
		}
		ctx := context.Background()
		_ = transmit(ctx, ws, challenge{Nonce: "whatever", Window: 1 << 20})
		_, _, _ = ws.Read(ctx) // any proof will do
		_ = transmit(ctx, ws, verdict{Tunnel: "tun_x"})
		cfg := yamux.DefaultConfig()
		cfg.LogOutput = io.Discard
		cfg.MaxStreamWindowSize = 16 << 20
		s, err := yamux.Client(websocket.NetConn(ctx, ws, websocket.MessageBinary), cfg)
		if err != nil {
			return
		}
		control, err := s.OpenStream()
		if err != nil {
			return
		}
		sessions <- &hostile{Session: s, control: control}
		<-s.CloseChan()
	}))
	t.Cleanup(web.Close)
	s := newStage(t)
	id := s.identity("agt_1")
	id.Server = web.URL
	audit := &lines{}
	a, err := NewAgent(AgentConfig{Config: s.config(yaml), Identity: id, Log: s.logger(), Audit: audit, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = a.Run(ctx); close(done) }()
	session := <-sessions
	t.Cleanup(func() { cancel(); _ = session.Close(); <-done })
	session.audit = audit
	return session
}

func ask(t *testing.T, s *hostile, target any) (Code, *yamux.Stream, error) {
	t.Helper()
	stream, err := s.OpenStream()
	if err != nil {
		return "", nil, err
	}
	if err := writeHead(stream, target); err != nil {
		return "", nil, err
	}
	var o opened
	_ = stream.SetReadDeadline(time.Now().Add(5 * time.Second))
	err = readHead(stream, &o)
	return o.Code, stream, err
}

// TestACompromisedServerReachesNothingThatIsNotAllowed speaks the protocol of
// the tunnel directly: the agent's list decides, whatever is asked.
func TestACompromisedServerReachesNothingThatIsNotAllowed(t *testing.T) {
	touched := make(chan string, 100)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
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
	port := uint16(netip.MustParseAddrPort(listener.Addr().String()).Port())
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method+" "+r.URL.Path) })
	s := compromised(t, allowing(
		row("{tcp: 'erp.corp.example:443', to: '127.0.0.1:1'}"),
		row("{tcp: '*.wild.example:443'}"),
		row("{http: 'http://hr.corp.example', to: 'http://%s', methods: [GET], paths: ['/api/*', /login]}", app),
	))
	for _, target := range []any{
		Target{TCP, "erp.corp.example..", 443}, Target{TCP, "erp.corp.example:443", 443}, Target{TCP, "erp.corp.example/", 443}, Target{TCP, "erp.corp.example%00", 443},
		Target{TCP, "erp.corp.example", 0}, Target{TCP, "\u0435rp.corp.example", 443}, Target{TCP, " erp.corp.example", 443}, Target{TCP, "a\n.wild.example", 443},
		Target{TCP, "::ffff:7f00:1", port}, Target{TCP, "64:ff9b::7f00:1", port}, Target{TCP, "127.0.0.1%lo", port}, Target{TCP, "[127.0.0.1]", port}, Target{TCP, "0177.0.0.1", port},
		Target{"TCP", "erp.corp.example", 443}, Target{TCP, "10.0.0.1.wild.example.", 443},
		Target{TCP, "127.0.0.1", port}, Target{TCP, "localhost", port}, Target{TCP, "::1", port}, Target{TCP, "::ffff:127.0.0.1", port},
		Target{TCP, "2130706433", port}, Target{TCP, "0x7f.1", port}, Target{TCP, "0", port}, Target{TCP, "erp.corp.example", port},
		Target{TCP, "erp.corp.example.", port}, Target{TCP, "erp.corp.example\x00.evil", 443}, Target{TCP, "evil.erp.corp.example", 443},
		Target{TCP, "*.wild.example", 443}, Target{TCP, "a.b.wild.example", 443}, Target{TCP, "wild.example", 443}, Target{TCP, ".wild.example", 443},
		Target{TCP, "hr.corp.example", 80}, Target{HTTP, "erp.corp.example", 443}, Target{"udp", "erp.corp.example", 443}, Target{"", "erp.corp.example", 443},
		Target{TCP, "127.0.0.1:" + "1", 443}, Target{TCP, "", 443}, Target{TCP, "erp.corp.example@127.0.0.1", 443},
		map[string]any{"kind": "tcp", "host": "127.0.0.1", "port": port, "allow": true},
	} {
		code, _, err := ask(t, s, target)
		if err != nil || code != NotAllowed {
			t.Errorf("%v: %q, %v", target, code, err)
		}
	}
	select {
	case from := <-touched:
		t.Errorf("the host that is not allowed was connected to, from %s", from)
	default:
	}
	if n := strings.Count(s.audit.String(), string(NotAllowed)); n < 20 {
		t.Errorf("%d refusals in the audit log", n)
	}
	requests(t, s)
}

// requests asks for what an http row does not hold.
func requests(t *testing.T, s *hostile) {
	t.Helper()
	for line, want := range map[string]int{
		"GET /api/x HTTP/1.1\r\nHost: hr.corp.example":                  200,
		"GET /login?a=b HTTP/1.1\r\nHost: hr.corp.example":              200,
		"POST /api/x HTTP/1.1\r\nHost: hr.corp.example":                 502,
		"GET /admin HTTP/1.1\r\nHost: hr.corp.example":                  502,
		"GET /api/../admin HTTP/1.1\r\nHost: hr.corp.example":           502,
		"GET /api/%2e%2e/admin HTTP/1.1\r\nHost: hr.corp.example":       502,
		"GET /api/..%2fadmin HTTP/1.1\r\nHost: hr.corp.example":         502,
		"GET /api/..;/admin HTTP/1.1\r\nHost: hr.corp.example":          502,
		"GET /api//admin HTTP/1.1\r\nHost: hr.corp.example":             502,
		"GET /api/x HTTP/1.1\r\nHost: other.corp.example":               502,
		"GET /api/x HTTP/1.1\r\nHost: hr.corp.example:8080":             502,
		"GET http://evil/api/x HTTP/1.1\r\nHost: hr.corp.example":       502,
		"OPTIONS * HTTP/1.1\r\nHost: hr.corp.example":                   502,
		"CONNECT evil:80 HTTP/1.1\r\nHost: hr.corp.example":             502,
		"GET /loginx HTTP/1.1\r\nHost: hr.corp.example":                 502,
		"GET /api/x HTTP/1.1\r\nHost: hr.corp.example\r\nHost: evil":    400,
		"get /api/x HTTP/1.1\r\nHost: hr.corp.example":                  502,
		"GET /api/%c0%ae%c0%ae/admin HTTP/1.1\r\nHost: hr.corp.example": 502,
		"GET /api/%252e%252e/admin HTTP/1.1\r\nHost: hr.corp.example":   502,
		"GET /api/%u002e%u002e/admin HTTP/1.1\r\nHost: hr.corp.example": 400,
		"GET /API/x HTTP/1.1\r\nHost: hr.corp.example":                  502,
		"GET /api/x HTTP/1.1\r\nHost: HR.corp.example.:80":              200,
		"GET /api/x HTTP/1.1\r\nHost: hr.corp.example..":                502,
		"GET /api/x HTTP/1.1\r\nHost: evil@hr.corp.example":             400,
		"GET /api/x HTTP/1.1\r\nHost: hr.corp.example:80@evil":          400,
		"GET /api/x HTTP/1.0\r\nHost: hr.corp.example":                  200,
		"GET /api/x HTTP/1.0":                                           502,
		"GET /api/x HTTP/1.1":                                           400,
		"GET hr.corp.example/api/x HTTP/1.1\r\nHost: hr.corp.example":   400,
		"GET //hr.corp.example/api/x HTTP/1.1\r\nHost: hr.corp.example": 502,
		"TRACE /api/x HTTP/1.1\r\nHost: hr.corp.example":                502,
		"GET /api/x\\..\\admin HTTP/1.1\r\nHost: hr.corp.example":       502,
	} {
		code, stream, err := ask(t, s, Target{HTTP, "hr.corp.example", 80})
		if err != nil || code != "" {
			t.Fatal(code, err)
		}
		_, _ = io.WriteString(stream, line+"\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(stream), nil)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if res.StatusCode != want || want == 502 && CodeOf(FaultOf(res)) != NotAllowed {
			t.Errorf("%q: %d %s", line, res.StatusCode, res.Header)
		}
		_ = stream.Close()
	}
}

// TestAServerThatSendsMoreThanItMayIsCutOff fills streams whose application does
// not read.
func TestAServerThatSendsMoreThanItMayIsCutOff(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, the kernel takes what fits
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	s := compromised(t, allowing(row("{tcp: 'deaf.corp.example:80', to: '%s'}", deaf.Addr())))
	_, stream, err := ask(t, s, Target{TCP, "deaf.corp.example", 80})
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.SetWriteDeadline(time.Now().Add(10 * time.Second))
	n, err := io.Copy(stream, io.LimitReader(endless{}, 64<<20))
	if err == nil || n > 16<<20 {
		t.Errorf("it took %d bytes, %v", n, err)
	}
	select {
	case <-s.CloseChan():
	case <-time.After(5 * time.Second):
		t.Error("the tunnel is still open")
	}
}

func TestAServerThatOpensStreamsWithoutEndDoesNotFillTheAgent(t *testing.T) {
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	s := compromised(t, allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 3 * maxRecords {
		stream, err := s.OpenStream()
		if err != nil {
			break
		}
		_ = writeHead(stream, Target{TCP, "no.corp.example", 80}) // and never closed
	}
	select {
	case <-s.CloseChan():
	case <-time.After(10 * time.Second):
		t.Error("the tunnel is still open")
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 128<<20 { // of both ends, in one process
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// TestNodesKnowEachOther holds that a node is let in by the secret alone.
func TestNodesKnowEachOther(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	secret, other := make([]byte, 32), append(make([]byte, 31), 1)
	nodes := func(key []byte, id string) *Nodes {
		n, err := NewNodes(key, id, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	web := httptest.NewUnstartedServer(s.hub.Peers())
	web.TLS = nodes(secret, "nod_owner").Server()
	web.StartTLS()
	t.Cleanup(web.Close)
	at := Peer{"nod_owner", strings.TrimPrefix(web.URL, "https://")}
	target := Target{TCP, "app.corp.example", 80}

	c, err := nodes(secret, "nod_asker").DialPeer(t.Context(), at, "office", target)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), "ok") {
		t.Errorf("%q, %v", b, err)
	}
	_ = c.Close()
	if _, err := nodes(secret, "nod_asker").DialPeer(t.Context(), at, "office", Target{TCP, "app.corp.example", 81}); CodeOf(err) != NotAllowed {
		t.Errorf("the agent's answer does not arrive: %v", err)
	}
	if _, err := nodes(secret, "nod_asker").DialPeer(t.Context(), at, "elsewhere", target); CodeOf(err) != NotConnected {
		t.Errorf("the node's answer does not arrive: %v", err)
	}
	for name, n := range map[string]*Nodes{"another secret": nodes(other, "nod_asker")} {
		if _, err := n.DialPeer(t.Context(), at, "office", target); CodeOf(err) != Lost {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := nodes(secret, "nod_asker").DialPeer(t.Context(), Peer{"nod_another", at.Address}, "office", target); CodeOf(err) != Lost {
		t.Errorf("another node answered in its name: %v", err)
	}
	// Without a certificate not a byte of HTTP is taken.
	bare, err := tls.Dial("tcp", at.Address, &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		_, _ = io.WriteString(bare, "POST /connectors/office HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err = bare.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate is answered")
		}
	}
}
