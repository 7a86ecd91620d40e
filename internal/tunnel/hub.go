package tunnel

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// HubConfig is what a Hub works with.
type HubConfig struct {
	Host string // our own name, as agents dial it: host, or host:port

	// Agent returns who an agent is. An error refuses it; the text of a Refusal is
	// told to it.
	Agent func(ctx context.Context, id string) (Agreed, error)
	// Attach is told of a tunnel before it is used. An error ends it.
	Attach func(ctx context.Context, t *Tunnel) error
	// Detach is told once a tunnel has ended.
	Detach func(t *Tunnel)
	// Drained is told while tunnels of a connector are to be used no more.
	Drained func(connector string)

	Log *slog.Logger
	Now func() time.Time
}

// Agreed is what the server knows of an agent.
type Agreed struct {
	Connector string // its id
	Name      string
	Key       ed25519.PublicKey
}

var errProbed = errors.New("tunnel: the agent only asked whether it is let in")

// Refusal is an error whose text an agent is told.
type Refusal string

func (r Refusal) Error() string { return string(r) }

const (
	hubWindow   = 32 << 10
	hubBudget   = 64 << 20
	maxProofs   = 256 // agents that are proving themselves at once
	openTimeout = 12 * time.Second
)

// Hub is the server's end of the tunnels of one node. It is safe for concurrent
// use.
type Hub struct {
	cfg    HubConfig
	budget *Budget
	proofs chan struct{}
	turn   atomic.Uint64
	ending sync.WaitGroup

	mu      sync.Mutex
	tunnels map[string]*Tunnel
	closed  bool
}

// Tunnel is one agent's connection to this node.
type Tunnel struct {
	ID        string
	Connector string
	Agent     string
	Address   string // from where it came
	Published Published
	Raw       []byte // Published as the agent has signed it
	Began     time.Time

	link *link
}

// Traffic is what has passed through a tunnel since it was opened.
type Traffic struct {
	Calls, In, Out int64 // connections; bytes from the agent and to it
	Open           int
}

// Traffic returns what has passed so far.
func (t *Tunnel) Traffic() Traffic {
	return Traffic{t.link.calls.Load(), t.link.in.Load(), t.link.out.Load(), t.link.streams()}
}

// NewHub returns a hub without tunnels.
func NewHub(cfg HubConfig) *Hub {
	return &Hub{cfg: cfg, budget: NewBudget(hubBudget), proofs: make(chan struct{}, maxProofs), tunnels: map[string]*Tunnel{}}
}

// ServeHTTP takes an agent's tunnel and returns when that has ended.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" {
		http.Error(w, "This address is for connector agents.", http.StatusForbidden)
		return
	}
	select {
	case h.proofs <- struct{}{}:
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "Too many agents connect at once.", http.StatusServiceUnavailable)
		return
	}
	release := sync.OnceFunc(func() { <-h.proofs })
	defer release()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // it has answered
	}
	defer func() { _ = ws.CloseNow() }()
	t, windows, err := h.admit(context.WithoutCancel(r.Context()), ws, r.RemoteAddr)
	release()
	if errors.Is(err, errProbed) {
		return
	}
	if err != nil {
		h.cfg.Log.Warn("agent refused", "address", r.RemoteAddr, "err", err)
		return
	}
	h.run(context.WithoutCancel(r.Context()), ws, t, windows)
}

// admit asks an agent to prove its key.
func (h *Hub) admit(ctx context.Context, ws *websocket.Conn, address string) (*Tunnel, uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	ws.SetReadLimit(maxHandshake)
	if ws.Subprotocol() != Subprotocol {
		return nil, 0, errors.New("it speaks another version")
	}
	nonce := rand.Text() // 130 random bits
	if err := transmit(ctx, ws, challenge{Nonce: nonce, Window: hubWindow}); err != nil {
		return nil, 0, err
	}
	var p proof
	if err := receive(ctx, ws, &p); err != nil {
		return nil, 0, err
	}
	t, err := h.check(ctx, p, nonce)
	if err != nil {
		why := Refusal("try again later")
		errors.As(err, &why)
		_ = transmit(ctx, ws, verdict{Refused: string(why)})
		_, _, _ = ws.Read(ctx) // until it has read that
		return nil, 0, err
	}
	t.Address = address
	if host, _, err := net.SplitHostPort(address); err == nil {
		t.Address = host
	}
	if err := transmit(ctx, ws, verdict{Tunnel: t.ID, Connector: t.Connector}); err != nil || p.Probe {
		return nil, 0, errors.Join(err, errProbed)
	}
	return t, p.Window, nil
}

func (h *Hub) check(ctx context.Context, p proof, nonce string) (*Tunnel, error) {
	if !h.self(p.Host) {
		return nil, Refusal("this server is known as " + h.cfg.Host + ": give the agent that address")
	}
	who, err := h.cfg.Agent(ctx, p.Agent)
	if err != nil {
		return nil, err
	}
	if len(who.Key) != ed25519.PublicKeySize || !ed25519.Verify(who.Key, p.signed(nonce), p.Signature) {
		return nil, Refusal("the signature is not that of this agent's key")
	}
	t := &Tunnel{ID: "tun_" + strings.ToLower(rand.Text()), Connector: who.Connector, Agent: p.Agent, Raw: p.Published, Began: h.cfg.Now()}
	if err := json.Unmarshal(p.Published, &t.Published); err != nil || !t.Published.fits() {
		return nil, Refusal("what it publishes is malformed")
	}
	return t, nil
}

// self reports whether an agent has dialled this server, and not another that
// passes its proof on. On one machine a server may have several addresses.
func (h *Hub) self(host string) bool {
	name := func(host string) string {
		if n, _, err := net.SplitHostPort(host); err == nil {
			return n
		}
		return host
	}
	return strings.EqualFold(host, h.cfg.Host) || loopback(name(host)) && loopback(name(h.cfg.Host))
}

func (p Published) fits() bool {
	_, err := Roots(p.CAs, true)
	return err == nil && len(p.Rows) <= 2000 && len(p.Version) <= 100 && len(p.System) <= 100 && len(p.Hostname) <= 255 &&
		!slices.ContainsFunc(p.Rows, func(r PublishedRow) bool { return r.Kind != TCP && r.Kind != HTTP || len(r.Host) > 255 })
}

// run serves an admitted tunnel until it ends.
func (h *Hub) run(ctx context.Context, ws *websocket.Conn, t *Tunnel, window uint32) {
	var err error
	t.link, err = newLink(ctx, ws, true, hubWindow, window, h.budget, h.cfg.Now, func() { h.drained(t) })
	if err != nil {
		h.cfg.Log.Warn("tunnel not begun", "connector", t.Connector, "err", err)
		return
	}
	defer t.link.end()
	if err := h.cfg.Attach(ctx, t); err != nil {
		h.cfg.Log.Warn("tunnel not taken", "connector", t.Connector, "err", err)
		return
	}
	if !h.add(t) {
		h.cfg.Detach(t)
		return
	}
	defer h.ending.Done()
	defer h.cfg.Detach(t)
	h.cfg.Log.Info("connector attached", "connector", t.Connector, "agent", t.Agent, "tunnel", t.ID, "address", t.Address, "version", t.Published.Version)
	<-t.link.mux.CloseChan()
	h.mu.Lock()
	delete(h.tunnels, t.ID)
	h.mu.Unlock()
	h.cfg.Log.Info("connector detached", "connector", t.Connector, "agent", t.Agent, "tunnel", t.ID)
}

func (h *Hub) add(t *Tunnel) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.tunnels[t.ID] = t
	h.ending.Add(1)
	return true
}

// drained has connections that are kept for later closed until the tunnel ends:
// the agent waits for them.
func (h *Hub) drained(t *Tunnel) {
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			h.cfg.Drained(t.Connector)
			select {
			case <-t.link.mux.CloseChan():
				return
			case <-tick.C:
			}
		}
	}()
}

// Tunnels returns those of this node.
func (h *Hub) Tunnels() []*Tunnel {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*Tunnel, 0, len(h.tunnels))
	for _, t := range h.tunnels {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *Tunnel) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Has reports whether a tunnel of the connector is here and takes connections.
func (h *Hub) Has(connector string) bool { return len(h.open(connector, Target{})) > 0 }

// Cut ends, at once, the tunnels that are not kept.
func (h *Hub) Cut(keep func(*Tunnel) bool) {
	for _, t := range h.Tunnels() {
		if !keep(t) {
			h.cfg.Log.Info("connector cut", "connector", t.Connector, "agent", t.Agent, "tunnel", t.ID)
			t.link.end()
		}
	}
}

// Drain asks all agents to go elsewhere; connections that are open live on.
func (h *Hub) Drain() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	for _, t := range h.Tunnels() {
		t.link.drain()
	}
}

// Close ends all tunnels, lets none come any more, and returns when each has
// been detached.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.Cut(func(*Tunnel) bool { return false })
	h.ending.Wait()
}

// open returns the tunnels of a connector that take connections; those whose
// agents publish the target come first.
func (h *Hub) open(connector string, target Target) []*Tunnel {
	all := h.Tunnels()
	all = slices.DeleteFunc(all, func(t *Tunnel) bool {
		return t.Connector != connector || t.link.draining.Load() || t.link.mux.IsClosed()
	})
	if n := len(all); n > 1 {
		turn := int(h.turn.Add(1) % uint64(n))
		all = slices.Concat(all[turn:], all[:turn])
		slices.SortStableFunc(all, func(a, b *Tunnel) int { return rank(a, target) - rank(b, target) })
	}
	return all
}

func rank(t *Tunnel, target Target) int {
	if kind, ok := t.Published.Kind(target.Host, target.Port); ok && kind == target.Kind {
		return 0
	}
	return 1
}

// Dial connects to a target through one of the connector's tunnels here, in
// turn. Where one cannot, the next is tried; the error is the last one's, or
// NotConnected where there is no tunnel.
func (h *Hub) Dial(ctx context.Context, connector string, target Target) (net.Conn, error) {
	err := error(&Error{Code: NotConnected})
	for _, t := range h.open(connector, target) {
		var c net.Conn
		if c, err = t.dial(ctx, target); err == nil {
			return c, nil
		}
		switch CodeOf(err) {
		case Lost, Limited, NotAllowed: // another agent may
		default:
			return nil, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// dial opens a stream and waits for the agent's answer. yamux knows no context,
// so another goroutine does it: who gives up leaves it behind to close what comes.
func (t *Tunnel) dial(ctx context.Context, target Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	type result struct {
		c   *Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := t.stream(target)
		done <- result{c, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		t.link.calls.Add(1)
		return r.c, nil
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				_ = r.c.Close()
			}
		}()
		return nil, &Error{Code: Unreachable, Err: ctx.Err()}
	}
}

// stream opens a stream. An agent that never answers ends with its tunnel, or
// by the deadline.
func (t *Tunnel) stream(target Target) (*Conn, error) {
	s, err := t.link.mux.OpenStream()
	if err != nil {
		return nil, &Error{Code: Lost, Err: err}
	}
	c := t.link.adopt(s)
	_ = c.SetDeadline(t.link.now().Add(roomTime + dialTime + openTimeout))
	var o opened
	err = writeHead(c, target)
	if err == nil {
		err = readHead(c, &o)
	}
	_ = c.SetDeadline(time.Time{})
	switch {
	case err != nil:
		_ = c.Close()
		return nil, &Error{Code: Lost, Err: err}
	case o.Code != "":
		_ = c.Close()
		return nil, &Error{Code: o.Code, Err: errors.New("answered by the agent")}
	}
	return c, nil
}
