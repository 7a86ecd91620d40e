package tunnel

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file is for http rows, in which the agent itself speaks to the
// application: it sees each request, and passes on what its rows allow.

// FaultHeader stands on an answer that is the agent's and not the application's:
// its value is a Code.
const FaultHeader = "Behalf-Connector-Fault"

// relay serves streams of http rows.
type relay struct {
	agent  *Agent
	conns  chan net.Conn
	server *http.Server
	routes map[*Row]*httputil.ReverseProxy
}

func newRelay(a *Agent) (*relay, error) {
	r := &relay{agent: a, conns: make(chan net.Conn), routes: map[*Row]*httputil.ReverseProxy{}}
	for i := range a.cfg.Allow {
		row := &a.cfg.Allow[i]
		if row.kind != HTTP {
			continue
		}
		var err error
		if r.routes[row], err = r.route(row); err != nil {
			return nil, err
		}
	}
	r.server = &http.Server{
		Handler:                      r,
		DisableGeneralOptionsHandler: true,            // OPTIONS * is a request like any other
		ReadHeaderTimeout:            2 * time.Minute, // the server keeps connections for its next call
		MaxHeaderBytes:               64 << 10,
		ErrorLog:                     slog.NewLogLogger(a.cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			stream := c.(*relayed)
			ctx, cancel := context.WithCancel(ctx)
			stream.whenGone(cancel) // net/http sees that by itself, but not once a connection is switched to another protocol
			return context.WithValue(ctx, targetKey{}, stream.target)
		},
	}
	go func() { _ = r.server.Serve(r) }()
	return r, nil
}

type targetKey struct{}

// relayed is a stream that the relay's server serves; ended is closed with it.
type relayed struct {
	*Conn
	target Target
	once   sync.Once
	ended  chan struct{}
}

func (c *relayed) Close() error {
	c.once.Do(func() { close(c.ended) })
	return c.Conn.Close()
}

// serve hands a stream to the relay. What it returns waits for the stream's end.
func (r *relay) serve(c *Conn, t Target) func() {
	if err := writeHead(c, opened{}); err != nil {
		_ = c.Close()
		return nil
	}
	one := &relayed{Conn: c, target: t, ended: make(chan struct{})}
	r.conns <- one
	return func() { <-one.ended }
}

// Accept makes the relay a net.Listener over the streams that it is handed.
func (r *relay) Accept() (net.Conn, error) {
	c, ok := <-r.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close is a net.Listener's.
func (r *relay) Close() error { return nil }

// Addr is a net.Listener's.
func (r *relay) Addr() net.Addr { return addr{} }

// close is called when no stream is served any more.
func (r *relay) close() {
	close(r.conns)
	_ = r.server.Close()
	for _, p := range r.routes {
		p.Transport.(*http.Transport).CloseIdleConnections()
	}
}

// ServeHTTP passes one request on, where a row allows it.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := r.agent.cfg.Now()
	seen := &answer{ResponseWriter: w}
	t := req.Context().Value(targetKey{}).(Target)
	defer func() { r.record(t, req, seen, began) }()
	_ = http.NewResponseController(w).EnableFullDuplex() // or net/http throws away what has not been read of the body when the answer begins
	for _, row := range find(r.agent.cfg.Allow, t) {
		if sameHost(req.Host, t) && strings.HasPrefix(req.RequestURI, "/") && row.allows(req.Method, req.URL.EscapedPath()) {
			r.routes[row].ServeHTTP(seen, req)
			return
		}
	}
	fault(seen, &Error{Code: NotAllowed})
}

// sameHost reports whether a request names the host that its stream was opened
// for: an application may serve several.
func sameHost(host string, t Target) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return canonical(strings.Trim(host, "[]")) == canonical(t.Host)
	}
	return canonical(name) == canonical(t.Host) && port == strconv.Itoa(int(t.Port))
}

func (r *relay) route(row *Row) (*httputil.ReverseProxy, error) {
	cfg, err := r.agent.cfg.rowTLS(row)
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if row.plain {
		scheme = "http"
	}
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = scheme, p.In.Host, p.In.Host
			if _, ok := p.Out.Header["User-Agent"]; !ok {
				p.Out.Header["User-Agent"] = []string{""} // none: not Go's
			}
			plainly(p.Out.Header, row)
		},
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, address string) (net.Conn, error) { return r.dial(ctx, row, address) },
			TLSClientConfig:        cfg,
			TLSHandshakeTimeout:    dialTime,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    32,
			IdleConnTimeout:        30 * time.Second,
			ReadBufferSize:         small,
			WriteBufferSize:        small,
			MaxResponseHeaderBytes: 64 << 10,
		},
		FlushInterval: -1,
		BufferPool:    r,
		ErrorLog:      slog.NewLogLogger(r.agent.cfg.Log.Handler(), slog.LevelDebug),
		ModifyResponse: func(res *http.Response) error {
			res.Header.Del(FaultHeader)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			e := asError(err)
			r.agent.cfg.Log.Debug("request failed", "target", req.Host, "code", e.Code, "err", err)
			fault(w, e)
		},
	}, nil
}

// plainly takes out of a request what would have the application do something
// else than its first line says, which is what the row has allowed.
func plainly(h http.Header, row *Row) {
	if !strings.EqualFold(h.Get("Upgrade"), "websocket") { // in h2c, requests would follow that nobody sees
		h.Del("Upgrade")
		h.Del("Connection")
		h.Del("Http2-Settings")
	}
	if len(row.Methods) > 0 {
		for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
			h.Del(name)
		}
	}
	if len(row.Paths) > 0 {
		for _, name := range []string{"X-Original-Url", "X-Rewrite-Url"} {
			h.Del(name)
		}
	}
}

func (r *relay) dial(ctx context.Context, row *Row, address string) (net.Conn, error) {
	t, err := ParseTarget(HTTP, address)
	if err != nil {
		return nil, err
	}
	return row.dial(ctx, t)
}

// Get and Put lend ReverseProxy buffers, small ones where no large one is free.
func (r *relay) Get() []byte { return r.agent.buffers.borrow(chunk) }

// Put takes a buffer back.
func (r *relay) Put(b []byte) { r.agent.buffers.giveBack(b) }

// fault answers in the agent's own name.
func fault(w http.ResponseWriter, e *Error) {
	w.Header().Set(FaultHeader, string(e.Code))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = io.WriteString(w, e.Error()+"\n")
}

// record writes the audit line of a request: its path, never its query.
func (r *relay) record(t Target, req *http.Request, a *answer, began time.Time) {
	result := "answered"
	if code := a.Header().Get(FaultHeader); code != "" && a.code == http.StatusBadGateway {
		result = code
	}
	path := req.URL.EscapedPath()
	if len(path) > 500 {
		path = path[:500]
	}
	r.agent.audit.LogAttrs(context.Background(), slog.LevelInfo, string(HTTP), slog.String("target", t.Address()), slog.String("method", req.Method), slog.String("path", path),
		slog.String("result", result), slog.Int("status", a.code), slog.Int64("bytes_in", max(0, req.ContentLength)), slog.Int64("bytes_out", a.sent), slog.Duration("took", r.agent.cfg.Now().Sub(began)))
}

// answer remembers what was answered.
type answer struct {
	http.ResponseWriter
	code int
	sent int64
}

func (a *answer) WriteHeader(code int) {
	if a.code == 0 && code >= 200 || code == http.StatusSwitchingProtocols {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(b)
	a.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush and hijack.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// FaultOf returns the error that an agent answered with in its own name, or nil.
func FaultOf(res *http.Response) error {
	if code := res.Header.Get(FaultHeader); code != "" {
		return &Error{Code: Code(code), Err: errors.New("answered by the agent")}
	}
	return nil
}
