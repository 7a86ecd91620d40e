package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/tunnel"
)

// This file finds the way into private networks. The rules are:
//
//   - A tunnel of this node is used before one of another node, and within each
//     the tunnels take turns.
//   - What the change log says is done at once: who was revoked or disabled is cut.
//   - A connector whose last tunnel has just broken gets a moment to come back
//     before a call fails.

const (
	comeBack     = 3 * time.Second // for an agent to come back after its tunnel broke
	seenLately   = time.Minute
	lookEvery    = time.Second
	trafficEvery = 10 * time.Second
	sweepEvery   = 5 * time.Second
)

// connectors is this node's part in all connectors.
type connectors struct {
	cfg     Config
	log     *slog.Logger
	db      *store.DB
	keeper  store.Scope
	egress  egress.Config // of the routes, but for what each has of its own
	hub     *tunnel.Hub
	nodes   *tunnel.Nodes
	peers   *http.Server
	inside  net.Listener
	nowhere *egress.Egress
	turn    atomic.Uint64

	mu     sync.RWMutex
	seen   store.Topology
	routes map[string]*route // by the connector's name

	counting sync.Mutex
	counted  map[string]tunnel.Traffic // by tunnel, as far as it is in the database
	failed   map[behalf.ConnectorID]int64
	gone     map[behalf.ConnectorID]behalf.Traffic // of tunnels that have ended since
}

// route is the way through one connector.
type route struct {
	connector behalf.Connector
	rows      []tunnel.PublishedRow
	trust     string // what identifies its authorities
	egress    *egress.Egress
}

// newConnectors takes over inside, where other nodes come in.
func newConnectors(ctx context.Context, cfg Config, db *store.DB, inside net.Listener, host string, out egress.Config) (*connectors, error) {
	c := &connectors{cfg: cfg, inside: inside, log: cfg.Log, db: db, keeper: db.As(behalf.System("connectors")), egress: out, routes: map[string]*route{},
		counted: map[string]tunnel.Traffic{}, failed: map[behalf.ConnectorID]int64{}, gone: map[behalf.ConnectorID]behalf.Traffic{}}
	out.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &egress.RouteError{Code: string(tunnel.NotConnected), Reason: "there is no connector of this name", Unsent: true}
	}
	c.nowhere = egress.New(out)
	c.hub = tunnel.NewHub(tunnel.HubConfig{Host: host, Agent: c.agent, Attach: c.attach, Detach: c.detach, Drained: c.drained, Log: cfg.Log, Now: cfg.Now})
	known, err := db.NodesSecret(ctx)
	if err != nil {
		return nil, err
	}
	if c.nodes, err = tunnel.NewNodes([]byte(known.Reveal()), string(db.Node), cfg.Now); err != nil {
		return nil, err
	}
	c.peers = &http.Server{Handler: c.hub.Peers(), TLSConfig: c.nodes.Server(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug)}
	return c, c.update(ctx)
}

// run follows what changes about connectors, and serves the other nodes.
func (c *connectors) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- c.peers.ServeTLS(c.inside, "", "") }()
	var counted, swept time.Time
	for {
		changed, forget := c.db.ConnectorsChanged()
		if err := c.update(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("connectors not read", "err", err)
		}
		wait := 10 * lookEvery // a change of another node wakes us
		if c.any() {
			wait = lookEvery
			now := c.db.Now()
			c.due(&counted, now, trafficEvery, func() error { return c.count(ctx) })
			c.due(&swept, now, sweepEvery, func() error { return c.keeper.SweepTunnels(ctx) })
		}
		select {
		case <-ctx.Done():
			forget()
			return errors.Join(c.peers.Close(), ignoreClosed(<-served))
		case <-changed:
		case <-time.After(wait):
		}
		forget()
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// due does something that is done every so often.
func (c *connectors) due(last *time.Time, now time.Time, every time.Duration, do func() error) {
	if now.Sub(*last) < every {
		return
	}
	*last = now
	if err := do(); err != nil {
		c.log.Warn("connectors: not done", "err", err)
	}
}

func (c *connectors) any() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.seen.Connectors) > 0
}

// update reads the topology, cuts what may not be attached any more, and
// rebuilds the routes that have changed.
func (c *connectors) update(ctx context.Context) error {
	t, err := c.keeper.Topology(ctx)
	if err != nil {
		return err
	}
	enabled, known := map[behalf.ConnectorID]bool{}, map[string]bool{}
	for _, k := range t.Connectors {
		enabled[k.ID] = k.Enabled
	}
	for _, a := range t.Agents {
		known[string(a.ID)] = enabled[a.Connector]
	}
	c.hub.Cut(func(t *tunnel.Tunnel) bool { return known[t.Agent] })
	c.reconcile(ctx, t)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = t
	routes := map[string]*route{}
	for _, k := range t.Connectors {
		routes[k.Name] = c.routeOf(k, t)
	}
	for name, old := range c.routes {
		if next := routes[name]; next == nil || next.egress != old.egress {
			old.egress.Close()
		}
	}
	c.routes = routes
	return nil
}

// reconcile removes rows of tunnels of this node that are not here any more,
// because the database was away when they ended; and writes again those that
// others have removed, because this process was frozen and taken for dead.
func (c *connectors) reconcile(ctx context.Context, t store.Topology) {
	here, written := map[string]bool{}, map[string]bool{}
	for _, row := range t.Tunnels {
		written[row.ID] = true
	}
	for _, h := range c.hub.Tunnels() {
		here[h.ID] = true
		if !written[h.ID] && c.cfg.Now().Sub(h.Began) > 5*time.Second {
			if err := c.attach(ctx, h); err != nil {
				c.log.Warn("tunnel not written again", "tunnel", h.ID, "err", err)
			}
		}
	}
	for _, row := range t.Tunnels {
		if row.Node == c.db.Node && !here[row.ID] && c.db.Now().Sub(row.OpenedAt) > 5*time.Second { // one that is just being attached has its row first
			if err := c.keeper.DetachTunnel(ctx, row); err != nil {
				c.log.Warn("tunnel not removed", "tunnel", row.ID, "err", err)
			}
		}
	}
}

// routeOf is called under mu. A route whose authorities are the same keeps its
// connections.
func (c *connectors) routeOf(k behalf.Connector, t store.Topology) *route {
	r := &route{connector: k}
	var pems []string
	system := true
	for i, a := range ofConnector(t.Agents, k.ID) {
		var p tunnel.Published
		if json.Unmarshal(a.Published, &p) != nil {
			continue // it has never connected
		}
		r.rows = append(r.rows, p.Rows...)
		pems = append(pems, p.CAs...)
		if i == 0 {
			system = false
		}
		system = system || p.SystemRoots
	}
	slices.Sort(pems)
	sum := sha256.Sum256([]byte(fmt.Sprint(k.ID, k.Enabled, system, slices.Compact(pems))))
	r.trust = hex.EncodeToString(sum[:])
	if old := c.routes[k.Name]; old != nil && old.trust == r.trust {
		r.egress = old.egress
		return r
	}
	r.egress = c.newEgress(k, pems, system)
	return r
}

func ofConnector(all []behalf.ConnectorAgent, id behalf.ConnectorID) []behalf.ConnectorAgent {
	var out []behalf.ConnectorAgent
	for _, a := range all {
		if a.Connector == id && len(a.Published) > 0 {
			out = append(out, a)
		}
	}
	return out
}

func (c *connectors) newEgress(k behalf.Connector, pems []string, system bool) *egress.Egress {
	cfg := c.egress
	roots, err := tunnel.Roots(pems, system)
	if err != nil {
		c.log.Warn("a connector's authorities cannot be read", "connector", k.ID, "err", err)
	}
	if roots != nil {
		cfg.RootCAs = roots
	}
	cfg.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) {
		conn, err := c.dial(ctx, k, addr)
		if err != nil {
			c.count1(k.ID)
			return nil, routeError(err)
		}
		return &carried{conn}, nil
	}
	cfg.Plain = func(addr string) bool { return c.kind(k.Name, addr) == tunnel.HTTP }
	cfg.Fault = func(res *http.Response) error {
		if res.Request == nil || c.kind(k.Name, hostPort(res.Request)) != tunnel.HTTP {
			return nil // an application may send what header it likes
		}
		if err := tunnel.FaultOf(res); err != nil {
			return routeError(err)
		}
		return nil
	}
	return egress.New(cfg)
}

func hostPort(r *http.Request) string {
	port := r.URL.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[r.URL.Scheme]
	}
	return net.JoinHostPort(r.URL.Hostname(), port)
}

// carried turns the end of a tunnel into what egress says of it.
type carried struct{ net.Conn }

func (c *carried) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, lost(err)
}

func (c *carried) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, lost(err)
}

func lost(err error) error {
	if err == nil || errors.Is(err, io.EOF) || tunnel.CodeOf(err) == "" {
		return err
	}
	return &egress.RouteError{Code: string(tunnel.CodeOf(err)), Reason: err.Error(), Lost: true, Err: err}
}

// routeError says what a connection that was not made means.
func routeError(err error) error {
	code := tunnel.CodeOf(err)
	if code == "" {
		return err
	}
	unsent := code != tunnel.Unreachable && code != tunnel.Lost && code != tunnel.Untrusted
	return &egress.RouteError{Code: string(code), Reason: (&tunnel.Error{Code: code}).Error(), Unsent: unsent, Err: err}
}

// via returns the way through a connector.
func (c *connectors) via(name string) *egress.Egress {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if r := c.routes[name]; r != nil {
		return r.egress
	}
	return c.nowhere
}

// kind returns who speaks TLS to an address.
func (c *connectors) kind(name, addr string) tunnel.Kind {
	t, err := tunnel.ParseTarget(tunnel.TCP, addr)
	if err != nil {
		return tunnel.TCP
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	r := c.routes[name]
	if r == nil {
		return tunnel.TCP
	}
	kind, _ := tunnel.Published{Rows: r.rows}.Kind(t.Host, t.Port)
	return kind
}

// dial connects through a tunnel of this node, else of another. Where there is
// none, it waits a moment for an agent that was here lately.
func (c *connectors) dial(ctx context.Context, k behalf.Connector, addr string) (net.Conn, error) {
	target, err := tunnel.ParseTarget(c.kind(k.Name, addr), addr)
	if err != nil {
		return nil, &tunnel.Error{Code: tunnel.NotAllowed, Err: err}
	}
	patience, cancel := context.WithTimeout(ctx, comeBack)
	defer cancel()
	for {
		changed, forget := c.db.ConnectorsChanged()
		conn, err := c.try(ctx, k, target)
		if code := tunnel.CodeOf(err); err == nil || code != tunnel.NotConnected && code != tunnel.Lost || !c.lately(k.Name) {
			forget()
			return conn, err
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		case <-patience.Done():
			forget()
			return nil, err
		}
		forget()
	}
}

// lately reports whether a connector is enabled and had a tunnel a moment ago.
func (c *connectors) lately(name string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r := c.routes[name]
	return r != nil && r.connector.Enabled && c.db.Now().Sub(r.connector.SeenAt) < seenLately
}

func (c *connectors) try(ctx context.Context, k behalf.Connector, target tunnel.Target) (net.Conn, error) {
	conn, err := c.hub.Dial(ctx, string(k.ID), target)
	if code := tunnel.CodeOf(err); err == nil || code != tunnel.NotConnected && code != tunnel.Lost {
		return conn, err
	}
	for _, p := range c.others(k.ID) {
		conn, err = c.nodes.DialPeer(ctx, p, string(k.ID), target)
		if code := tunnel.CodeOf(err); err == nil || code != tunnel.NotConnected && code != tunnel.Lost {
			return conn, err
		}
	}
	return nil, err
}

// others returns the other nodes that have a tunnel of the connector, in turn.
func (c *connectors) others(id behalf.ConnectorID) []tunnel.Peer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var peers []tunnel.Peer
	for _, t := range c.seen.Tunnels {
		n := c.seen.Nodes[t.Node]
		p := tunnel.Peer{ID: string(n.ID), Address: n.Address}
		if t.Connector == id && t.Node != c.db.Node && n.Address != "" && !slices.Contains(peers, p) {
			peers = append(peers, p)
		}
	}
	if n := len(peers); n > 1 {
		turn := int(c.turn.Add(1) % uint64(n))
		peers = slices.Concat(peers[turn:], peers[:turn])
	}
	return peers
}

// agent says who an agent is, and whether it may come in.
func (c *connectors) agent(ctx context.Context, id string) (tunnel.Agreed, error) {
	a, k, err := c.db.AgentAtTheDoor(ctx, behalf.AgentID(id))
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		return tunnel.Agreed{}, tunnel.Refusal("this agent is not known here: enrol it anew")
	case err != nil:
		return tunnel.Agreed{}, err
	case !a.RevokedAt.IsZero():
		return tunnel.Agreed{}, tunnel.Refusal("this agent was revoked: enrol it anew")
	case !k.Enabled:
		return tunnel.Agreed{}, tunnel.Refusal("the connector is disabled: an administrator can enable it")
	}
	return tunnel.Agreed{Connector: string(k.ID), Name: k.Name, Key: a.PublicKey}, nil
}

func (c *connectors) attach(ctx context.Context, t *tunnel.Tunnel) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	p := t.Published
	return c.keeper.AttachTunnel(ctx, t.ID, behalf.ConnectorAgent{ID: behalf.AgentID(t.Agent), Connector: behalf.ConnectorID(t.Connector), Hostname: p.Hostname, Version: p.Version, System: p.System,
		Address: t.Address, Published: t.Raw})
}

func (c *connectors) detach(t *tunnel.Tunnel) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.last(t)
	if err := c.keeper.DetachTunnel(ctx, behalf.Tunnel{ID: t.ID, Connector: behalf.ConnectorID(t.Connector), Agent: behalf.AgentID(t.Agent)}); err != nil {
		c.log.Warn("tunnel not removed", "tunnel", t.ID, "err", err)
	}
}

// drained closes connections that are kept for later: an agent waits for them.
func (c *connectors) drained(id string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, r := range c.routes {
		if string(r.connector.ID) == id {
			r.egress.Close()
		}
	}
}

// count1 counts a connection that was not made.
func (c *connectors) count1(id behalf.ConnectorID) {
	c.counting.Lock()
	defer c.counting.Unlock()
	c.failed[id]++
}

// last counts what went through a tunnel that has ended.
func (c *connectors) last(t *tunnel.Tunnel) {
	c.counting.Lock()
	defer c.counting.Unlock()
	id := behalf.ConnectorID(t.Connector)
	c.gone[id] = added(c.gone[id], t.Traffic(), c.counted[t.ID])
	delete(c.counted, t.ID)
}

func added(sum behalf.Traffic, now, before tunnel.Traffic) behalf.Traffic {
	sum.Calls += now.Calls - before.Calls
	sum.In += now.In - before.In
	sum.Out += now.Out - before.Out
	return sum
}

// count writes what has gone through since the last time.
func (c *connectors) count(ctx context.Context) error {
	c.counting.Lock()
	sums := c.gone
	c.gone = map[behalf.ConnectorID]behalf.Traffic{}
	for _, t := range c.hub.Tunnels() {
		id, now := behalf.ConnectorID(t.Connector), t.Traffic()
		sums[id] = added(sums[id], now, c.counted[t.ID])
		c.counted[t.ID] = now
	}
	for id, n := range c.failed {
		s := sums[id]
		s.Failed += n
		sums[id] = s
	}
	c.failed = map[behalf.ConnectorID]int64{}
	c.counting.Unlock()
	for id, s := range sums {
		if s == (behalf.Traffic{}) {
			delete(sums, id)
		}
	}
	return c.keeper.CountTraffic(ctx, sums)
}

// stop ends the tunnels of this node, which tells the others.
func (c *connectors) stop() {
	c.hub.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if !c.any() {
		return
	}
	if err := c.count(ctx); err != nil {
		c.log.Warn("connectors: traffic not counted", "err", err)
	}
}

// close frees what newConnectors opened.
func (c *connectors) close() {
	c.hub.Close()
	_ = c.inside.Close()
	c.nowhere.Close()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, r := range c.routes {
		r.egress.Close()
	}
}

// enrol is the door for a machine with an enrolment token.
func (s *Server) enrol(w http.ResponseWriter, r *http.Request) {
	var ask tunnel.EnrolRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil || !strings.HasPrefix(ask.Token, store.ConnectorTokenPrefix) {
		s.api.WriteProblem(w, r, behalf.Errorf(behalf.CodeUnauthenticated, "Expected an enrolment token, which begins with %s.", store.ConnectorTokenPrefix))
		return
	}
	if !ask.Proven() {
		s.api.WriteProblem(w, r, behalf.Invalid("public_key", "Expected an Ed25519 public key, and the proof that its private half is at hand."))
		return
	}
	a, k, err := s.db.EnrolAgent(r.Context(), secret.New(ask.Token), ask.PublicKey, ask.Hostname)
	if err != nil {
		s.api.WriteProblem(w, r, err)
		return
	}
	s.log.Info("agent enrolled", "connector", k.ID, "agent", a.ID)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(tunnel.EnrolAnswer{Agent: string(a.ID), Connector: k.Name})
}
