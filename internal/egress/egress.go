// Package egress is the only way out: HTTP that is guarded, bounded and recorded.
//
// Whatever a profile or a person names (an authorization server, an API) is
// dialled here and nowhere else.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Config says how calls leave. Every field but Now may be left zero.
type Config struct {
	AllowPrivate []netip.Prefix // what the guard would block and the operator allows, such as 127.0.0.0/8
	AllowedPorts []uint16       // nil: every port, because providers use odd ones

	Timeout               time.Duration // of a protocol call, from dialling to the last byte of its body; 0: 30 s
	DialTimeout           time.Duration // 0: 10 s
	TLSHandshakeTimeout   time.Duration // 0: 10 s
	ResponseHeaderTimeout time.Duration // of a protocol call; 0: Timeout alone
	MaxBody               int64         // bytes of a protocol call's answer, after decompression; 0: 1 MiB
	MaxHeader             int64         // bytes of an answer's header; 0: 64 KiB

	RootCAs   *x509.CertPool // nil: the system's
	UserAgent string         // of protocol calls; "": Go's

	// Dial reaches addr ("host:port") in the place of our own guarded dialling:
	// a connector's, whose agent has an allow list of its own. AllowPrivate and
	// AllowedPorts are not asked then.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Plain reports whether TLS to addr is spoken at the other end of Dial, which
	// then takes HTTP as it is. Fault returns the error that the other end has
	// answered in its own name. Both are asked only where Dial is set.
	Plain func(addr string) bool
	Fault func(*http.Response) error

	// Connector returns the way out through a connector, never nil.
	Connector func(name string) *Egress

	// Now is the clock of transcripts.
	Now func() time.Time
}

// Egress is one route out. It is safe for concurrent use.
type Egress struct {
	cfg    Config
	dialer net.Dialer
	tls    *tls.Config // of protocol calls

	pooled, fresh *http.Transport // protocol calls, over kept and over new connections
	proxy         *http.Transport
	transport     http.RoundTripper // over proxy
	none          *Egress           // where there are no connectors
}

// New returns a route out. It panics without Config.Now.
func New(cfg Config) *Egress {
	if cfg.Now == nil {
		panic("egress: Config.Now is missing")
	}
	cfg.Timeout = or(cfg.Timeout, 30*time.Second)
	cfg.DialTimeout = or(cfg.DialTimeout, 10*time.Second)
	cfg.TLSHandshakeTimeout = or(cfg.TLSHandshakeTimeout, 10*time.Second)
	cfg.MaxBody = or(cfg.MaxBody, 1<<20)
	cfg.MaxHeader = or(cfg.MaxHeader, 64<<10)

	e := &Egress{
		cfg:    cfg,
		dialer: net.Dialer{Control: guard(cfg.AllowPrivate, cfg.AllowedPorts)},
		tls: &tls.Config{
			RootCAs:            cfg.RootCAs,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(256), // a fresh connection need not be a full handshake
		},
	}
	e.pooled = e.callTransport()
	e.fresh = e.callTransport()
	e.fresh.DisableKeepAlives = true
	e.proxy = e.proxyTransport()
	e.transport = guarded{e.proxy}
	if cfg.Dial != nil {
		e.proxy.DialTLSContext = e.dialTLS
		e.transport = routed{e}
	} else if cfg.Connector == nil {
		e.none = nowhere(cfg)
	}
	return e
}

// ClientOptions says how one kind of protocol call differs from the others.
type ClientOptions struct {
	// FreshConn makes each call over a connection of its own: on a kept one that
	// the server is just closing, it cannot be told whether a request was seen.
	FreshConn bool

	// BeforeWrite is asked when the connection is ready, just before the first
	// byte of a request. An error of it ends the call, with nothing written. It
	// must not block.
	BeforeWrite func() error
}

// Client returns the client for protocol calls: discovery, tokens, userinfo,
// events. It is cheap; connections are shared by all clients of one Egress. A
// call
//
//   - follows no redirect: a 3xx is the answer;
//   - is over within Config.Timeout, with its body read: the body of the response
//     is in memory, and ends with *TooLargeError where it was larger than MaxBody;
//   - fails with *CallError (inside the *url.Error of net/http, whose text holds
//     the URL with its query: log what is inside), which says how far it got;
//   - is sent at most once, except where nothing of it was written: net/http then
//     tries another connection;
//   - is recorded where its context carries a Recorder.
func (e *Egress) Client(o ClientOptions) *http.Client {
	next := e.pooled
	if o.FreshConn {
		next = e.fresh
	}
	return &http.Client{
		Transport:     &caller{e: e, next: next, beforeWrite: o.BeforeWrite},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Transport returns the round tripper of the proxy: the same guard, but bodies
// stream, nothing bounds the time of an answer and nothing is recorded.
func (e *Egress) Transport() http.RoundTripper { return e.transport }

// Close closes the connections that are kept for later.
func (e *Egress) Close() {
	e.pooled.CloseIdleConnections()
	e.fresh.CloseIdleConnections()
	e.proxy.CloseIdleConnections()
}

// callTransport speaks HTTP/1.1 only: one connection then carries one request at
// a time, and how far that got is known to the byte.
func (e *Egress) callTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // the guard would check the proxy's address, not the target's
		DialContext:            e.dialCall,
		DialTLSContext:         e.dialCallTLS,
		ResponseHeaderTimeout:  e.cfg.ResponseHeaderTimeout,
		MaxResponseHeaderBytes: e.cfg.MaxHeader,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        30 * time.Second, // sooner than most servers, which close after 60 s or more
	}
}

func (e *Egress) proxyTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // as above
		DialContext:            e.dial,
		TLSClientConfig:        &tls.Config{RootCAs: e.cfg.RootCAs},
		TLSHandshakeTimeout:    e.cfg.TLSHandshakeTimeout,
		MaxResponseHeaderBytes: e.cfg.MaxHeader,
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // bytes pass as they are
		ForceAttemptHTTP2:      true,
	}
}

func (e *Egress) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.DialTimeout)
	defer cancel()
	if e.cfg.Dial != nil {
		return e.cfg.Dial(ctx, network, addr)
	}
	return e.dialer.DialContext(ctx, network, addr)
}

func (e *Egress) dialCall(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := e.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// dialCallTLS does the handshake here, not in http.Transport, so that conn sits
// above TLS and sees the bytes of requests only.
func (e *Egress) dialCallTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	raw, err := e.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if e.plain(addr) {
		return &conn{Conn: raw}, nil
	}
	enterTLS(ctx)
	ctx, cancel := context.WithTimeout(ctx, e.cfg.TLSHandshakeTimeout)
	defer cancel()
	cfg := e.tls.Clone()
	cfg.ServerName = host
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return &conn{Conn: c}, nil
}

func or[N ~int64](n, otherwise N) N {
	if n == 0 {
		return otherwise
	}
	return n
}
