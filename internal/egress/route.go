package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// This file is for calls that leave through a connector. The rules are:
//
//   - Every call of a profile that names a connector goes through it, and none
//     around it: where it cannot, the call fails and says on which side.
//   - What the connector's agent answers in its own name is an error, never an
//     answer of the application.
//   - A call is repeated on another tunnel only where nothing can have been done
//     by it.

// RouteError is why a connector did not carry a call. Its text is safe for
// anybody.
type RouteError struct {
	Code   string // stable: connector_not_connected, connector_not_allowed, …
	Reason string
	Lost   bool // the tunnel broke: another one may carry the call
	Unsent bool // the application cannot have seen anything of it
	Err    error
}

func (e *RouteError) Error() string { return e.Reason }

// Unwrap returns what is for the log.
func (e *RouteError) Unwrap() error { return e.Err }

// Via returns the way out through a connector, or e itself where name is "".
// Where there is no such connector, every call of what is returned says so.
func (e *Egress) Via(name string) *Egress {
	if name == "" {
		return e
	}
	if e.cfg.Connector != nil {
		return e.cfg.Connector(name)
	}
	return e.none
}

// nowhere is the route through a connector on a server that has none.
func nowhere(cfg Config) *Egress {
	cfg.Connector = nil
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &RouteError{Code: "connector_not_connected", Reason: "the connector is not connected", Unsent: true}
	}
	return New(cfg)
}

// dialTLS is for the proxy's calls through a connector whose agent may speak
// TLS in our place.
func (e *Egress) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := e.dial(ctx, network, addr)
	if err != nil || e.plain(addr) {
		return raw, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.TLSHandshakeTimeout)
	defer cancel()
	c := tls.Client(raw, &tls.Config{RootCAs: e.cfg.RootCAs, ServerName: host, NextProtos: []string{"h2", "http/1.1"}})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// plain reports whether TLS to addr is spoken at the other end of the connector.
func (e *Egress) plain(addr string) bool { return e.cfg.Plain != nil && e.cfg.Plain(addr) }

// fault returns what the connector's agent has answered in its own name.
func (e *Egress) fault(res *http.Response) error {
	if e.cfg.Fault == nil {
		return nil
	}
	return e.cfg.Fault(res)
}

// routed is the proxy's transport through a connector.
type routed struct{ e *Egress }

func (r routed) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.once(req)
	if lost := (*RouteError)(nil); errors.As(err, &lost) && lost.Lost && harmless(req) && req.Context().Err() == nil {
		return r.once(req)
	}
	return res, err
}

func (r routed) once(req *http.Request) (*http.Response, error) {
	res, err := guarded{r.e.proxy}.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := r.e.fault(res); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

// harmless reports whether a request may be sent twice (RFC 9110 §9.2.1), and can be.
func harmless(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return (req.Body == nil || req.Body == http.NoBody) && req.Header.Get("Upgrade") == ""
	}
	return false
}
