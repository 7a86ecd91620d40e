package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/yamux"

	"github.com/behalf-dev/behalf/internal/tunnel"
)

// The tunnels that are compared, each with its two ends in processes of their
// own: the libraries with nothing around them, as they are and with the two halves
// of a frame written as one, and ours. All do the same work: the same ReverseProxy
// before them, TLS to the agent, a target for each stream and an answer to it.
const (
	bareHub   = "bare-hub"   // -to: a route
	joinedHub = "joined-hub" // likewise
	ownHub    = "own-hub"
	agentOf   = "agent-of-" // before the name of a hub
)

// route is what the processes of a tunnel are told: with commas between them.
type route struct {
	app         string // URL of the application
	agents      string // host:port where the hub takes agents, by TLS
	certificate string // files
	key         string
}

func (r route) String() string {
	return strings.Join([]string{r.app, r.agents, r.certificate, r.key}, ",")
}

func parseRoute(s string) (r route, err error) {
	part := strings.Split(s, ",")
	if len(part) != 4 {
		return r, errors.New("-to must be an application, an address for agents, a certificate and its key")
	}
	return route{part[0], part[1], part[2], part[3]}, nil
}

// agentSeed makes the key of the agent in both of its processes.
var agentSeed = make([]byte, ed25519.SeedSize)

const agentID = "agt_bench"

// serveHub serves agents, and returns what sends everything to the application
// through the tunnel.
func serveHub(which, to string) (http.Handler, error) {
	way, err := parseRoute(to)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(way.app)
	if err != nil {
		return nil, err
	}
	if which != ownHub {
		h := &bare{target: u.Host, join: which == joinedHub}
		return through(h.dial, u), serveAgents(way, http.HandlerFunc(h.take))
	}
	own := tunnel.NewHub(tunnel.HubConfig{
		Host: "127.0.0.1",
		Agent: func(context.Context, string) (tunnel.Agreed, error) {
			return tunnel.Agreed{Connector: "bench", Name: "bench", Key: ed25519.NewKeyFromSeed(agentSeed).Public().(ed25519.PublicKey)}, nil
		},
		Attach: func(context.Context, *tunnel.Tunnel) error { return nil }, Detach: func(*tunnel.Tunnel) {}, Drained: func(string) {},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	target, err := tunnel.ParseTarget(tunnel.TCP, u.Host)
	if err != nil {
		return nil, err
	}
	return through(func(ctx context.Context, _, _ string) (net.Conn, error) { return own.Dial(ctx, "bench", target) }, u), serveAgents(way, own)
}

// serveAgents takes agents until the process ends.
func serveAgents(way route, agents http.Handler) error {
	l, err := net.Listen("tcp", way.agents)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: agents, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.ServeTLS(l, way.certificate, way.key) }()
	return nil
}

func through(dial func(context.Context, string, string) (net.Conn, error), to *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
		},
		Transport:  &http.Transport{DialContext: dial, MaxIdleConns: 4096, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, DisableCompression: true},
		BufferPool: &buffers{},
	}
}

// bare is the tunnel of the libraries alone.
type bare struct {
	target  string
	join    bool
	session atomic.Pointer[yamux.Session]
}

func bareConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput, c.MaxStreamWindowSize = io.Discard, 1<<20
	return c
}

func bareConn(ctx context.Context, ws *websocket.Conn, join bool) net.Conn {
	c := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	if join {
		return &joined{Conn: c}
	}
	return c
}

// joined writes the head of a frame, which yamux writes by itself, with its data.
type joined struct {
	net.Conn
	out []byte
}

func (j *joined) Write(b []byte) (int, error) {
	const head, data = 12, 0 // length of a head; its type
	if len(j.out) == 0 && len(b) == head && b[1] == data && binary.BigEndian.Uint32(b[8:]) > 0 {
		j.out = append(j.out, b...)
		return len(b), nil
	}
	j.out = append(j.out, b...)
	_, err := j.Conn.Write(j.out)
	j.out = j.out[:0]
	return len(b), err
}

func (b *bare) take(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	s, err := yamux.Client(bareConn(context.WithoutCancel(r.Context()), ws, b.join), bareConfig())
	if err != nil {
		return
	}
	b.session.Store(s)
	<-s.CloseChan()
}

// dial opens a stream, says where to, and waits until the agent is there.
func (b *bare) dial(context.Context, string, string) (net.Conn, error) {
	s := b.session.Load()
	if s == nil {
		return nil, errors.New("no agent yet")
	}
	c, err := s.OpenStream()
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, b.target+"\n"); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return c, err
}

// serveAgent runs the other end until ctx ends.
func serveAgent(ctx context.Context, which, to string) error {
	way, err := parseRoute(to)
	if err != nil {
		return err
	}
	ready := func() {
		slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("ready", "url", "https://"+way.agents)
	}
	if which == ownHub {
		return runAgent(ctx, way, ready)
	}
	pem, err := os.ReadFile(way.certificate)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}}}
	ws, _, err := websocket.Dial(ctx, "https://"+way.agents+tunnel.PathTunnel, &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return err
	}
	s, err := yamux.Server(bareConn(ctx, ws, which == joinedHub), bareConfig())
	if err != nil {
		return err
	}
	ready()
	for {
		c, err := s.AcceptStream()
		if err != nil {
			return nil
		}
		go splice(c)
	}
}

func splice(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	far, err := net.Dial("tcp", strings.TrimSpace(line))
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	if _, err := c.Write([]byte{1}); err != nil {
		return
	}
	go func() { _, _ = io.Copy(far, struct{ io.Reader }{c}); _ = far.Close() }() // all that was buffered was the line: nothing is sent before the answer
	_, _ = io.Copy(c, far)
}

// runAgent is the agent as it is shipped, with its memory held.
func runAgent(ctx context.Context, way route, ready func()) error {
	hub := "https://" + way.agents
	u, err := url.Parse(way.app)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "behalf-bench-agent-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "connector.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "server: %s\nserver_cas: ['%s']\nallow: [{tcp: '%s'}]\n", hub, way.certificate, u.Host), 0o600); err != nil {
		return err
	}
	cfg, err := tunnel.ReadConfig(file)
	if err != nil {
		return err
	}
	cfg.HoldMemory()
	log := slog.New(slog.NewTextHandler(opened{ready}, nil))
	a, err := tunnel.NewAgent(tunnel.AgentConfig{Config: cfg, Identity: tunnel.Identity{Server: hub, Connector: "bench", Agent: agentID, Key: ed25519.NewKeyFromSeed(agentSeed)},
		Version: "bench", Log: log, Audit: io.Discard, Now: time.Now})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// opened hears of the open tunnel from the agent's log.
type opened struct{ ready func() }

func (o opened) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "tunnel open") {
		o.ready()
	}
	return len(b), nil
}

// tunnelled are the tunnels of a rig, running.
type tunnelled struct {
	hubs     map[string]*process
	ownAgent *process
}

const (
	bareName   = "bare yamux"
	joinedName = "yamux, frames whole"
	ownName    = "connector"
)

// startTunnels starts them, each with its agent.
func (r *rig) startTunnels(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	certificate, key, err := selfSigned(r.dir)
	if err != nil {
		return err
	}
	r.hubs = map[string]*process{}
	for name, which := range map[string]string{bareName: bareHub, joinedName: joinedHub, ownName: ownHub} {
		l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
		if err != nil {
			return err
		}
		way := route{r.upstream.url, l.Addr().String(), certificate, key}
		if err := l.Close(); err != nil {
			return err
		}
		if r.hubs[name], err = r.run(ctx, name, self, "-serve", which, "-to", way.String()); err != nil {
			return err
		}
		agent, err := r.run(ctx, name+"'s agent", self, "-serve", agentOf+which, "-to", way.String())
		if err != nil {
			return err
		}
		if which == ownHub {
			r.ownAgent = agent
		}
	}
	return nil
}

// selfSigned makes a certificate for 127.0.0.1 and returns its files.
func selfSigned(dir string) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(dir, "hub.pem"), filepath.Join(dir, "hub.key")
	return certificate, key, errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

// tunnels compares small calls and large bodies both ways, and measures what a
// gigabyte leaves in memory at both ends.
func (r *rig) tunnels(ctx context.Context) (rows []Row, err error) {
	if err := r.startTunnels(ctx); err != nil {
		return nil, err
	}
	bodies := func(ctx context.Context, t target) (sample, error) {
		s, err := closedLoop(ctx, t, bodyConnections, r.each)
		s.rate *= bodySize / 1e6
		return s, err
	}
	for _, c := range []struct {
		row, unit string
		request   func(host string) []byte
		measure   func(context.Context, target) (sample, error)
	}{
		{"call through the connector", "/s", func(host string) []byte { return get("/small", host, "") }, r.full},
		{"16 MB answers through the connector", "MB/s", func(host string) []byte { return get(fmt.Sprintf("/bytes/%d", bodySize), host, "") }, bodies},
		{"16 MB requests through the connector", "MB/s", func(host string) []byte { return request("PUT", "/bytes", host, "", strings.Repeat("x", bodySize)) }, bodies},
	} {
		targets := []target{{direct, r.upstream.host(), [][]byte{c.request(r.upstream.host())}}}
		for name, p := range r.hubs {
			targets = append(targets, target{name, p.host(), [][]byte{c.request(p.host())}})
		}
		got, err := r.interleave(ctx, c.row, targets, c.measure)
		if err != nil {
			return nil, err
		}
		own := rates(got[ownName])
		rows = append(rows,
			ratio(c.row, c.unit, own, bareName, rates(got[bareName])).atLeast(0.90),
			ratio(c.row, c.unit, own, joinedName, rates(got[joinedName])).atLeast(0.90),
			ratio(c.row, c.unit, own, direct, rates(got[direct])))
	}
	memory, err := r.tunnelMemory(ctx)
	return append(rows, memory...), err
}

func (r *rig) tunnelMemory(ctx context.Context) (rows []Row, err error) {
	r.progress("1 GiB through the tunnel, each way")
	hub := r.hubs[ownName]
	ends := map[string]*process{"server's end": hub, "agent": r.ownAgent}
	for _, direction := range []struct{ name, method, path string }{
		{"an answer of 1 GiB", http.MethodGet, fmt.Sprintf("/bytes/%d", gigabyte)},
		{"a request of 1 GiB", http.MethodPut, "/bytes"},
	} {
		before := map[string]int64{}
		for name, p := range ends {
			if err := p.forgetPeak(); err != nil {
				r.notes = append(r.notes, "tunnel: this kernel does not let the peak be measured")
				return rows, nil
			}
			if before[name], err = p.resident(); err != nil {
				return nil, err
			}
		}
		if err := passGigabyte(ctx, hub.url+direction.path, direction.method, nil); err != nil {
			return nil, err
		}
		for _, name := range []string{"server's end", "agent"} {
			peak, err := ends[name].peak()
			if err != nil {
				return nil, err
			}
			rows = append(rows, value(name+"'s memory for "+direction.name, "MiB", []float64{float64(max(0, peak-before[name])) / mebibyte}).atMost(32))
		}
	}
	return rows, nil
}
