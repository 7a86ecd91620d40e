package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"syscall"
)

// This file makes one protocol call and knows how far it got. The rules are:
//
//   - Written is false only where it is certain: no byte of the request was given
//     to the connection, and none will be. A caller may then ask again, even with
//     a refresh token that can be used once.
//   - A request that was written is never sent again from here.
//   - A call ends, whatever the server does: bounded time, header and body.

// Phase says how far a call got before it failed.
type Phase string

// The phases of a call, in their order.
const (
	PhaseDial  Phase = "dial"  // the URL is checked, the name resolved, the connection made
	PhaseTLS   Phase = "tls"   // the TLS handshake
	PhaseWrite Phase = "write" // the connection is ready; the request is not wholly written
	PhaseWait  Phase = "wait"  // the request is written; no byte of the answer is here
	PhaseRead  Phase = "read"  // the answer has begun
)

// CallError is why a protocol call has no answer, or no whole one. Its text is
// safe for anybody; what it wraps (addresses, names) is for the operator's log.
type CallError struct {
	Phase   Phase
	Written bool // whether the server may have seen any of the request
	Err     error
}

func (e *CallError) Error() string { return fmt.Sprintf("%s: %s", e.Phase, e.cause()) }

// Unwrap returns the error of the network.
func (e *CallError) Unwrap() error { return e.Err }

// Timeout reports whether time ran out.
func (e *CallError) Timeout() bool {
	var n net.Error
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &n) && n.Timeout()
}

// TooLargeError ends a body that was larger than it may be.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the answer is larger than %d bytes", e.Limit)
}

var (
	errSwitched = errors.New("the server switched to another protocol")
	errRepeats  = errors.New("a protocol call carries no Idempotency-Key: net/http would send it again after it was written")
	errStopped  = errors.New("the call is over")
)

// caller is the round tripper of protocol calls.
type caller struct {
	e           *Egress
	next        *http.Transport
	beforeWrite func() error
}

// RoundTrip returns the answer with its body already read.
func (c *caller) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.recorded(r)
	if err != nil {
		return nil, err
	}
	hideBadLocation(resp)
	return resp, nil
}

func (c *caller) recorded(r *http.Request) (*http.Response, error) {
	rec := recorder(r.Context())
	if rec == nil {
		return c.call(r)
	}
	began := c.e.cfg.Now()
	resp, err := c.call(r)
	rec.record(r, resp, err, began, c.e.cfg.Now())
	return resp, err
}

func (c *caller) call(r *http.Request) (*http.Response, error) {
	if err := check(r); err != nil {
		closeBody(r)
		return nil, &CallError{Phase: PhaseDial, Err: err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), c.e.cfg.Timeout)
	defer cancel()
	p := &progress{phase: PhaseDial, beforeWrite: c.beforeWrite}
	ctx = httptrace.WithClientTrace(context.WithValue(ctx, progressKey{}, p), p.trace())

	r = r.Clone(ctx)
	if ua := c.e.cfg.UserAgent; ua != "" && r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", ua)
	}
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, p.failed(err)
	}
	if err := c.e.fault(resp); err != nil {
		closeBody(r)
		_ = resp.Body.Close()
		failed := p.failed(err)
		if route := (*RouteError)(nil); errors.As(err, &route) && route.Unsent {
			failed.Phase, failed.Written = PhaseDial, false
		}
		return nil, failed
	}
	return c.read(resp)
}

// read takes the whole body, so that the call is over when RoundTrip returns. A
// body that fails half way is an answer all the same: its status and header are
// worth having; the failure is what its reader meets at the end.
func (c *caller) read(resp *http.Response) (*http.Response, error) {
	defer func(b io.Closer) { _ = b.Close() }(resp.Body)
	if resp.StatusCode == http.StatusSwitchingProtocols { // its body is the connection, which no deadline ends
		return nil, &CallError{Phase: PhaseRead, Written: true, Err: errSwitched}
	}
	limit := c.e.cfg.MaxBody
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case int64(len(b)) > limit:
		b, err = b[:limit], &TooLargeError{limit}
	case err != nil:
		err = &CallError{Phase: PhaseRead, Written: true, Err: err}
	}
	resp.Body = &body{Reader: bytes.NewReader(b), all: b, err: err}
	return resp, nil
}

// body is a body that is in memory, and the error that ended it, if any.
type body struct {
	*bytes.Reader
	all []byte
	err error
	cut bool // all is only its beginning
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.err != nil {
		err = b.err
	}
	return n, err
}

// WriteTo hides that of bytes.Reader, which would not tell the error.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	n, err := b.Reader.WriteTo(w)
	if err == nil {
		err = b.err
	}
	return n, err
}

func (b *body) Close() error { return nil }

// hideBadLocation removes a Location that is no URL: http.Client would make an
// error of it that quotes it, in the place of the answer.
func hideBadLocation(resp *http.Response) {
	if _, err := resp.Location(); err != nil {
		resp.Header.Del("Location")
	}
}

// check refuses a request before anything is dialled for it.
func check(r *http.Request) error {
	for name := range r.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Idempotency-Key", "X-Idempotency-Key": // net/http/request.go, isReplayable
			return errRepeats
		}
	}
	return checkURL(r.URL)
}

// progress is how far one call is. Its methods are called by goroutines of net/http.
type progress struct {
	beforeWrite func() error

	mu      sync.Mutex
	phase   Phase
	conn    *conn
	written bool // to an earlier conn
}

type progressKey struct{}

// enterTLS notes that the connection for a call is made and its handshake begins.
func enterTLS(ctx context.Context) {
	p, ok := ctx.Value(progressKey{}).(*progress)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil { // else the call has got another connection meanwhile
		p.phase = PhaseTLS
	}
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: p.gotConn,
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err == nil {
				p.enter(PhaseWait)
			}
		},
		GotFirstResponseByte: func() { p.enter(PhaseRead) },
	}
}

func (p *progress) enter(phase Phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if phase != PhaseWait || p.phase != PhaseRead { // a server may answer before it has read everything
		p.phase = phase
	}
}

func (p *progress) gotConn(i httptrace.GotConnInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil { // net/http goes on with another connection
		p.written = p.written || p.conn.stop()
	}
	p.phase = PhaseWrite
	p.conn = i.Conn.(*conn) // every connection of a callTransport is one
	p.conn.start(p.beforeWrite)
}

// failed makes sure that nothing more is written and says how far the call got.
func (p *progress) failed(err error) *CallError {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &CallError{Phase: p.phase, Written: p.written, Err: err}
	if p.conn == nil {
		return e
	}
	e.Written = p.conn.stop() || p.written
	if !e.Written && p.phase == PhaseWait { // net/http wrote to its buffer only
		e.Phase = PhaseWrite
	}
	if p.conn.refused != nil { // net/http may tell what came of it instead
		e.Err = p.conn.refused
	}
	return e
}

// conn is a connection that knows whether a byte of the current request was given to it.
type conn struct {
	net.Conn

	mu          sync.Mutex
	beforeWrite func() error
	begun       bool  // a byte may be on its way
	stopped     bool  // no byte will follow
	refused     error // what beforeWrite said
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return errStopped
	case c.begun:
		return nil
	case c.beforeWrite != nil:
		if err := c.beforeWrite(); err != nil {
			c.stopped, c.refused = true, err
			return err
		}
	}
	c.begun = true
	return nil
}

// start makes the connection ready for a request of its own.
func (c *conn) start(beforeWrite func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beforeWrite, c.begun = beforeWrite, false
}

// stop lets nothing more through and reports whether anything got through: a
// goroutine of net/http may be about to write while the call already fails.
func (c *conn) stop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	return c.begun
}

// cause says in words that are safe for anybody why a call failed. The text of
// errors of the network holds addresses, and those of parsers what was received.
func (e *CallError) cause() string {
	err := e.Err
	var (
		blocked     *BlockedError
		route       *RouteError
		dns         *net.DNSError
		network     net.Error
		name        x509.HostnameError
		authority   x509.UnknownAuthorityError
		certificate x509.CertificateInvalidError
		verify      *tls.CertificateVerificationError
		alert       tls.AlertError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &blocked):
		return blocked.Error()
	case errors.As(err, &route):
		return route.Error()
	case errors.Is(err, errSwitched), errors.Is(err, errRepeats):
		return err.Error()
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timed out"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "the name could not be resolved"
	case errors.As(err, &name):
		return "the server's certificate is for another name"
	case errors.As(err, &authority):
		return "the server's certificate is of an unknown authority"
	case errors.As(err, &certificate) && certificate.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet"
	case errors.As(err, &certificate), errors.As(err, &verify):
		return "the server's certificate is not valid"
	case errors.As(err, &alert):
		return "the server refused the TLS handshake"
	case errors.As(err, &record):
		return "the server does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	switch e.Phase { // what is left are errors that net/http does not export
	case PhaseWrite:
		return "the request could not be written"
	case PhaseWait:
		return "connection closed"
	case PhaseRead:
		return "the answer is malformed, or its header is too large"
	}
	return "failed"
}
