package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// This file carries a connection from the node that wants it to the node that
// has the tunnel: an HTTP upgrade between nodes (node.go), whose streams are
// spliced.

const (
	pathPeer     = "/connectors/"
	targetHeader = "Behalf-Target"
	peerProtocol = "behalf-stream"
	peerDialTime = 3 * time.Second
)

// Peer is another node.
type Peer struct {
	ID      string
	Address string // host:port
}

// Peers returns the handler for what other nodes ask of this one. It must be
// served with Nodes.Server.
func (h *Hub) Peers() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathPeer+"{connector}", h.peer)
	return mux
}

// peer connects for another node, through the tunnels of this one only: a call
// never goes around in a circle.
func (h *Hub) peer(w http.ResponseWriter, r *http.Request) {
	var target Target
	if err := json.Unmarshal([]byte(r.Header.Get(targetHeader)), &target); err != nil || r.Header.Get("Upgrade") != peerProtocol {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	far, err := h.Dial(r.Context(), r.PathValue("connector"), target)
	if err != nil {
		code := CodeOf(err)
		if code == "" {
			code = Lost
		}
		w.Header().Set(FaultHeader, string(code))
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = far.Close() }()
	near, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = near.Close() }()
	_ = near.SetDeadline(time.Time{})
	if _, err := io.WriteString(near, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+peerProtocol+"\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(far, rest.Reader)
		_ = far.Close()
		_ = near.Close()
	}()
	_, err = io.Copy(near, far)
	if CodeOf(err) == Lost { // the other node must not take what there is for all there is
		if c, ok := near.(*tls.Conn); ok {
			_ = c.NetConn().Close()
		}
	}
}

// DialPeer connects to a target through a tunnel that another node has.
func (n *Nodes) DialPeer(ctx context.Context, p Peer, connector string, target Target) (net.Conn, error) {
	first, cancel := context.WithTimeout(ctx, peerDialTime)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 5 * time.Second}, Config: n.client(p.ID)}
	c, err := dialer.DialContext(first, "tcp", p.Address)
	if err != nil {
		return nil, &Error{Code: Lost, Err: err}
	}
	ctx, stop := context.WithTimeout(ctx, openTimeout)
	defer stop()
	unwatch := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	near, err := upgrade(c, connector, target)
	if !unwatch() && err == nil {
		err = &Error{Code: Unreachable, Err: ctx.Err()}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return near, nil
}

func upgrade(c net.Conn, connector string, target Target) (net.Conn, error) {
	wish, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: "node", Path: pathPeer + connector}, Host: "node",
		Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {peerProtocol}, targetHeader: {string(wish)}}}
	if err := req.Write(c); err != nil {
		return nil, &Error{Code: Lost, Err: err}
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, &Error{Code: Lost, Err: err}
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		if err := FaultOf(res); err != nil {
			return nil, err
		}
		return nil, &Error{Code: Lost, Err: errors.New("the other node answered " + res.Status)}
	}
	return &buffered{Conn: c, r: r}, nil
}

// buffered is a connection of which some bytes have been read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
