package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	headTime = 10 * time.Second // for a stream's target to arrive
	roomTime = 10 * time.Second // for room in the budget
	dialTime = 8 * time.Second  // to an application; less than the server waits
	goneTime = 10 * time.Second // for an application to take what is left of a connection that the server has ended

	stallTime = 50 * time.Millisecond // for an application to take a buffer, before it holds up others
	small     = 4 << 10

	kernelBuffer = 64 << 10 // of what an application has not taken yet; the kernel's choice may be megabytes
)

// stream begins to serve a stream that the server has opened. What it returns is to
// be done next, in a goroutine of its own: dialling needs a large stack, and waiting
// for what comes, as most streams do most of the time, a small one.
func (a *Agent) stream(ctx context.Context, c *Conn) func() {
	began := a.cfg.Now()
	t, err := a.target(c)
	if err != nil {
		_ = c.Close()
		return nil
	}
	rows := find(a.cfg.Allow, t)
	if len(rows) == 0 {
		a.deny(c, t, &Error{Code: NotAllowed}, began)
		return nil
	}
	cost := int64(costTCP)
	if t.Kind == HTTP {
		cost = costHTTP
	}
	waiting, cancel := context.WithTimeout(ctx, roomTime)
	err = a.room.Acquire(waiting, cost)
	cancel()
	if err != nil {
		a.deny(c, t, &Error{Code: Limited}, began)
		return nil
	}
	var next func()
	if t.Kind == HTTP {
		next = a.relays.serve(c, t)
	} else {
		next = a.connect(ctx, c, t, rows[0], began)
	}
	if next == nil {
		a.room.Release(cost)
		return nil
	}
	return func() {
		defer a.room.Release(cost)
		next()
	}
}

func (a *Agent) target(c *Conn) (Target, error) {
	var t Target
	_ = c.SetReadDeadline(a.cfg.Now().Add(headTime))
	if err := readHead(c, &t); err != nil {
		return t, err
	}
	return t, c.SetReadDeadline(time.Time{})
}

// deny tells the server why there is no connection.
func (a *Agent) deny(c *Conn, t Target, e *Error, began time.Time) {
	a.record(t, "", e.Code, 0, 0, began)
	_ = writeHead(c, opened{e.Code})
	_ = c.Close()
}

// connect dials for a tcp row. What it returns passes bytes both ways until
// either side ends.
func (a *Agent) connect(ctx context.Context, c *Conn, t Target, r *Row, began time.Time) func() {
	app, err := r.dial(ctx, t)
	if err != nil {
		e := asError(err)
		a.cfg.Log.Debug("no connection", "target", t.Address(), "code", e.Code, "err", e.Err)
		a.deny(c, t, e, began)
		return nil
	}
	if err := writeHead(c, opened{}); err != nil {
		_ = app.Close()
		_ = c.Close()
		return nil
	}
	return func() {
		in, out := a.splice(c, app)
		a.record(t, app.RemoteAddr().String(), "", in, out, began)
	}
}

// record writes a line of the audit log.
func (a *Agent) record(t Target, address string, code Code, in, out int64, began time.Time) {
	result := "connected"
	if code != "" {
		result = string(code)
	}
	a.audit.LogAttrs(context.Background(), slog.LevelInfo, string(t.Kind), slog.String("target", t.Address()), slog.String("address", address), slog.String("result", result),
		slog.Int64("bytes_in", in), slog.Int64("bytes_out", out), slog.Duration("took", a.cfg.Now().Sub(began)))
}

// dial connects to where a target of the row really is.
func (r *Row) dial(ctx context.Context, t Target) (net.Conn, error) {
	c, err := r.connect(ctx, t)
	if t, ok := c.(*net.TCPConn); ok && err == nil {
		_ = t.SetWriteBuffer(kernelBuffer) // where it cannot be set, the kernel's choice holds
	}
	return c, err
}

// connect resolves and connects, and says at which step it failed.
func (r *Row) connect(ctx context.Context, t Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	host, port, err := net.SplitHostPort(r.address(t))
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{KeepAlive: 30 * time.Second}
	if r.explicit() {
		return dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	}
	found, err := r.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if found = addresses(found); len(found) == 0 {
		return nil, &Error{Code: NotAllowed, Err: errors.New("the name leads to this machine itself or to its link")}
	}
	share, _ := ctx.Deadline()
	var c net.Conn
	for i, ip := range found {
		one, done := context.WithTimeout(ctx, time.Until(share)/time.Duration(len(found)-i))
		c, err = dialer.DialContext(one, "tcp", net.JoinHostPort(ip.String(), port))
		done()
		if err == nil {
			return c, nil
		}
	}
	return nil, err
}

func addresses(found []netip.Addr) []netip.Addr {
	out := found[:0]
	for _, ip := range found {
		if ip = ip.Unmap(); !forbidden(ip) {
			out = append(out, ip)
		}
	}
	return out
}

// asError gives an error of the network inside its code.
func asError(err error) *Error {
	var (
		ours    *Error
		dns     *net.DNSError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		remote  *net.OpError // "remote error" is crypto/tls's way to tell of an alert
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &dns) && !dns.IsTimeout:
		return &Error{Code: NotResolved, Err: err}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Code: Refused, Err: err}
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &record),
		errors.As(err, &remote) && remote.Op == "remote error":
		return &Error{Code: Untrusted, Err: err}
	}
	return &Error{Code: Unreachable, Err: err}
}

// splice passes bytes both ways. When one side ends, both do: what HTTP speaks
// over has no half that lives on.
func (a *Agent) splice(c *Conn, app net.Conn) (in, out int64) {
	var received atomic.Int64
	c.whenGone(func() {
		if c.link.mux.IsClosed() {
			_ = app.Close()
		}
	})
	c.whenData(func() {
		n, over := a.inward(c, app)
		received.Add(n)
		if over {
			_ = c.Close()
			_ = app.Close()
		}
	})
	out = a.outward(c, app)
	_ = c.Close()
	_ = app.Close()
	c.readers.Wait()
	return received.Load(), out
}

// inward passes on what the server has sent, until all is passed on or over. It
// grants more when the application has taken it: what waits here is part of the
// window.
func (a *Agent) inward(c *Conn, app net.Conn) (n int64, over bool) {
	for {
		size, ended := c.waiting()
		if size == 0 && !ended {
			return n, false
		}
		buf := a.buffers.borrow(max(size, 1))
		k, err := c.read(buf)
		if k > 0 {
			var failed error
			buf, failed = a.put(c, app, buf, k)
			n += int64(k)
			c.link.consumed(c, k)
			err = errors.Join(err, failed)
		}
		a.buffers.giveBack(buf)
		if err != nil {
			return n, true
		}
	}
}

// put writes k bytes of a buffer. An application that takes its time keeps a
// copy of what is left, and not the buffer; one that has still not taken it when
// the server has gone does not get it.
func (a *Agent) put(c *Conn, app net.Conn, buf []byte, k int) ([]byte, error) {
	_ = app.SetWriteDeadline(a.cfg.Now().Add(stallTime))
	n, err := app.Write(buf[:k])
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return buf, err
	}
	rest := bytes.Clone(buf[n:k])
	a.buffers.giveBack(buf)
	c.stream.Shrink()
	for {
		gone := c.isGone()
		_ = app.SetWriteDeadline(a.cfg.Now().Add(goneTime))
		n, err := app.Write(rest)
		if rest = rest[n:]; !errors.Is(err, os.ErrDeadlineExceeded) || gone && n == 0 {
			return nil, err
		}
	}
}

// outward passes what the application sends. It waits for credit, and for
// something to read, before it takes a buffer: a connection on which nothing
// moves has none.
func (a *Agent) outward(c *Conn, app net.Conn) (n int64) {
	for {
		free, err := c.credit()
		if err != nil {
			return n
		}
		if err := readable(app); err != nil {
			return n
		}
		buf := a.buffers.borrow(min(free, chunk))
		k, err := app.Read(buf[:min(len(buf), free)])
		if k > 0 {
			w, failed := c.Write(buf[:k])
			n += int64(w)
			err = errors.Join(err, failed)
		}
		a.buffers.giveBack(buf)
		if err != nil {
			return n
		}
	}
}

// buffers are large buffers for those who move much: so many, and no more.
type buffers chan []byte

func newBuffers(bytes int64) buffers {
	b := make(buffers, max(4, bytes/chunk))
	for range cap(b) {
		b <- nil // made when first used
	}
	return b
}

// borrow returns a large buffer where more than a little is wanted and one is
// free, else a small one.
func (b buffers) borrow(size int) []byte {
	if size <= small {
		return make([]byte, size)
	}
	select {
	case large := <-b:
		if large == nil {
			large = make([]byte, chunk)
		}
		return large
	default:
		return make([]byte, small)
	}
}

func (b buffers) giveBack(buf []byte) {
	if len(buf) == chunk {
		b <- buf
	}
}
