package egress_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/egress"
)

const form = "application/x-www-form-urlencoded"

func TestHowFarACallGot(t *testing.T) {
	closed := listen(t, func(net.Conn) {})
	_ = closed.Close()
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()

	for name, c := range map[string]struct {
		url     string
		phase   egress.Phase
		written bool
		says    string
	}{
		"nobody listens":                         {"http://" + closed.Addr().String(), egress.PhaseDial, false, "connection refused"},
		"the name does not exist":                {"http://behalf.invalid", egress.PhaseDial, false, ""},
		"the certificate is not trusted":         {untrusted.URL, egress.PhaseTLS, false, "unknown authority"},
		"the server does not speak TLS":          {strings.Replace(plain.URL, "http:", "https:", 1), egress.PhaseTLS, false, "does not speak TLS"},
		"the server closes in the TLS handshake": {"https://" + serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }), egress.PhaseTLS, false, "connection closed"},
		"the TLS handshake hangs":                {"https://" + serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), egress.PhaseTLS, false, "timed out"},
		"the request is read, then closed":       {"http://" + serve(t, func(c net.Conn) { readRequest(c) }), egress.PhaseWait, true, "connection closed"},
		"the request is read, then reset":        {"http://" + serve(t, func(c net.Conn) { readRequest(c); reset(c) }), egress.PhaseWait, true, "connection closed"},
		"the request is read, then silence":      {"http://" + serve(t, func(c net.Conn) { readRequest(c); _, _ = io.Copy(io.Discard, c) }), egress.PhaseWait, true, "timed out"},
		"the answer is no HTTP":                  {"http://" + serve(t, answer("220 smtp.example ESMTP canary\r\n")), egress.PhaseRead, true, "malformed"},
		"the header is too large":                {"http://" + serve(t, answer("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 128<<10)+"\r\n\r\n")), egress.PhaseRead, true, "too large"},
		"the header is half":                     {"http://" + serve(t, answer("HTTP/1.1 200 OK\r\nContent-")), egress.PhaseRead, true, "malformed"},
		"the body is half":                       {"http://" + serve(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"acc")), egress.PhaseRead, true, "connection closed"},
		"the server switches protocols":          {"http://" + serve(t, answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")), egress.PhaseRead, true, "switched"},
	} {
		t.Run(name, func(t *testing.T) {
			out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback, Timeout: 700 * time.Millisecond})
			defer out.Close()
			for _, fresh := range []bool{false, true} {
				_, err := post(t.Context(), out.Client(egress.ClientOptions{FreshConn: fresh}), c.url, "refresh_token=canary")
				var call *egress.CallError
				if !errors.As(err, &call) {
					t.Fatalf("Post: %v", err)
				}
				if call.Phase != c.phase || call.Written != c.written || !strings.Contains(call.Error(), c.says) {
					t.Fatalf("%s, written %v: %v (%v)", call.Phase, call.Written, call, call.Err)
				}
				if strings.Contains(call.Error(), "canary") || strings.Contains(call.Error(), "127.0.0.1") {
					t.Fatalf("the message says too much: %v", call)
				}
			}
		})
	}
}

func TestACallIsOverInTimeWhateverTheServerDoes(t *testing.T) {
	drip := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			readRequest(c)
			_, err := io.WriteString(c, head)
			for err == nil {
				time.Sleep(5 * time.Millisecond)
				_, err = io.WriteString(c, "x")
			}
		}
	}
	for name, server := range map[string]func(net.Conn){
		"accepts and hangs": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"drips a header":    drip("HTTP/1.1 200 OK\r\nX: "),
		"drips a body":      drip("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"),
		"drips without end": drip("HTTP/1.1 200 OK\r\n\r\n"),
		"hangs in a body": func(c net.Conn) {
			answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")(c)
			time.Sleep(2 * time.Second)
		},
		"streams events":     drip("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
		"switches protocols": drip("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
		"informs for ever": func(c net.Conn) {
			readRequest(c)
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n"); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		},
		"never reads a thing": func(net.Conn) { time.Sleep(2 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback, Timeout: 200 * time.Millisecond})
			defer out.Close()
			began := time.Now()
			_, err := post(t.Context(), out.Client(egress.ClientOptions{}), "http://"+serve(t, server), strings.Repeat("x", 8<<20))
			if took := time.Since(began); err == nil || took > time.Second {
				t.Fatalf("%v after %v", err, took)
			}
		})
	}
}

func TestABodyIsBounded(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"10 MB":             func(w http.ResponseWriter, _ *http.Request) { write(w, 10<<20) },
		"one byte too much": func(w http.ResponseWriter, _ *http.Request) { write(w, 1<<20+1) },
		"chunks without end": func(w http.ResponseWriter, _ *http.Request) {
			for write(w, 4096) == nil {
			}
		},
		"a gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			write(z, 50<<20)
			_ = z.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
			defer out.Close()
			resp, err := out.Client(egress.ClientOptions{}).Get(srv.URL)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("Get: %v", err)
			}
			for _, read := range []func(io.Reader) (int64, error){
				func(r io.Reader) (int64, error) { b, err := io.ReadAll(r); return int64(len(b)), err },
				func(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) },
			} {
				n, err := read(resp.Body)
				var large *egress.TooLargeError
				if !errors.As(err, &large) || large.Limit != 1<<20 || n > 1<<20 {
					t.Fatalf("read %d bytes, %v", n, err)
				}
			}
		})
	}
}

func TestABodyOfExactlyTheBoundIsWhole(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, 1000) }))
	defer srv.Close()
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback, MaxBody: 1000})
	defer out.Close()
	if body, err := get(out.Client(egress.ClientOptions{}), srv.URL); err != nil || len(body) != 1000 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
}

func TestAnAnswerKeepsItsStatusWhenItsBodyFails(t *testing.T) {
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
	defer out.Close()
	url := "http://" + serve(t, answer("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nhalf"))
	resp, err := out.Client(egress.ClientOptions{}).Get(url)
	if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" {
		t.Fatalf("Get: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	var call *egress.CallError
	if string(b) != "half" || !errors.As(err, &call) || call.Phase != egress.PhaseRead || !call.Written {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	var followed atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer target.Close()
	for _, location := range []string{target.URL, "http://169.254.169.254/latest/meta-data/", "/elsewhere", "", "https://%zz/canary"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					followed.Add(1)
				}
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			}))
			out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
			resp, err := out.Client(egress.ClientOptions{}).Post(srv.URL, form, strings.NewReader("code=canary"))
			if err != nil || resp.StatusCode != status {
				t.Errorf("%d to %q: %v", status, location, err)
			}
			out.Close()
			srv.Close()
		}
	}
	if n := followed.Load(); n != 0 {
		t.Fatalf("%d redirects were followed", n)
	}
}

func TestAWrittenPostIsNotSentAgainOnAKeptConnectionThatDies(t *testing.T) {
	var requests, conns atomic.Int32
	addr := serve(t, func(c net.Conn) {
		conns.Add(1)
		readRequest(c)
		requests.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		readRequest(c) // commits, and dies
		requests.Add(1)
	})
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
	defer out.Close()
	client := out.Client(egress.ClientOptions{})
	if _, err := post(t.Context(), client, "http://"+addr, "first=1"); err != nil {
		t.Fatal(err)
	}
	_, err := post(t.Context(), client, "http://"+addr, "second=2")
	var call *egress.CallError
	if !errors.As(err, &call) || !call.Written || call.Phase != egress.PhaseWait {
		t.Fatalf("Post: %v", err)
	}
	if requests.Load() != 2 || conns.Load() != 1 {
		t.Fatalf("%d requests over %d connections", requests.Load(), conns.Load())
	}
}

func TestAnIdempotencyKeyIsRefused(t *testing.T) {
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "idempotency-key"} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:1/", strings.NewReader("x"))
		r.Header[name] = []string{"1"}
		_, err := out.Client(egress.ClientOptions{}).Do(r)
		if err == nil || !strings.Contains(err.Error(), "no Idempotency-Key") {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestAFreshConnectionIsUsedOnce(t *testing.T) {
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback, RootCAs: pool})
	defer out.Close()
	for range 3 {
		if _, err := get(out.Client(egress.ClientOptions{FreshConn: true}), srv.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Fatalf("%d fresh connections for 3 calls", n)
	}
	for range 3 {
		if _, err := get(out.Client(egress.ClientOptions{}), srv.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 4 {
		t.Fatalf("%d kept connections for 3 calls", n-3)
	}
}

func TestACallThatIsStoppedBeforeItsFirstByteWasNeverWritten(t *testing.T) {
	late := errors.New("the lease has ended")
	var got atomic.Int64
	addr := serve(t, func(c net.Conn) { n, _ := io.Copy(io.Discard, c); got.Add(n) })
	kept := httptest.NewServer(http.NotFoundHandler())
	defer kept.Close()
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
	defer out.Close()
	if _, err := get(out.Client(egress.ClientOptions{}), kept.URL); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://" + addr, kept.URL} {
		_, err := post(t.Context(), out.Client(egress.ClientOptions{BeforeWrite: func() error { return late }}), url, "refresh_token=x")
		var call *egress.CallError
		if !errors.Is(err, late) || !errors.As(err, &call) || call.Written || call.Phase != egress.PhaseWrite {
			t.Fatalf("%s: %v", url, err)
		}
	}
	if got.Load() != 0 {
		t.Fatalf("%d bytes arrived", got.Load())
	}
	asked := 0
	if _, err := get(out.Client(egress.ClientOptions{BeforeWrite: func() error { asked++; return nil }}), kept.URL); err != nil || asked != 1 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
}

// Whatever the moment at which a call is canceled: if it says that nothing was
// written, then nothing arrives.
func TestNeverWrittenIsCertain(t *testing.T) {
	var mu sync.Mutex
	var arrived strings.Builder
	var open sync.WaitGroup
	addr := serve(t, func(c net.Conn) {
		open.Add(1)
		defer open.Done()
		b, _ := io.ReadAll(c)
		mu.Lock()
		defer mu.Unlock()
		arrived.Write(b)
	})
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
	defer out.Close()
	var unwritten []string
	written := 0
	for n := range 400 {
		path := fmt.Sprintf("/%d/", n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%100)*10*time.Microsecond)
		_, err := post(ctx, out.Client(egress.ClientOptions{}), "http://"+addr+path, "refresh_token=x")
		cancel()
		var call *egress.CallError
		switch {
		case !errors.As(err, &call):
			t.Fatalf("Post: %v", err)
		case call.Written:
			written++
		default:
			unwritten = append(unwritten, path)
		}
	}
	out.Close()
	time.Sleep(50 * time.Millisecond) // for connections that are still being accepted
	open.Wait()
	mu.Lock()
	defer mu.Unlock()
	for _, path := range unwritten {
		if strings.Contains(arrived.String(), path) {
			t.Errorf("call %s said that nothing was written, and it arrived", path)
		}
	}
	if len(unwritten) == 0 || written == 0 {
		t.Skipf("%d unwritten and %d written calls prove nothing on this machine", len(unwritten), written)
	}
}

func TestTheCallersDeadlineAndUserAgentHold(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.UserAgent()) }))
	defer srv.Close()
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback, UserAgent: "Behalf/1"})
	defer out.Close()
	if body, err := get(out.Client(egress.ClientOptions{}), srv.URL); err != nil || body != "Behalf/1" {
		t.Fatalf("%q, %v", body, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := post(ctx, out.Client(egress.ClientOptions{}), srv.URL, "")
	var call *egress.CallError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &call) || call.Written || call.Timeout() {
		t.Fatalf("canceled: %v", err)
	}
}

func TestTheProxysTransportStreamsAndPassesBytesAsTheyAre(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.Header.Get("Accept-Encoding")+"\n")
		w.(http.Flusher).Flush()
		<-release
		write(w, 2<<20)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback, RootCAs: pool, Timeout: time.Millisecond})
	defer out.Close()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
	resp, err := out.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "HTTP/2.0 \n" {
		t.Fatalf("%q, %v", line, err)
	}
	close(release)
	if n, err := io.Copy(io.Discard, lines); err != nil || n != 2<<20 {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

func BenchmarkCall(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":1}`) }))
	defer srv.Close()
	out := egress.New(egress.Config{Now: time.Now, AllowPrivate: loopback})
	defer out.Close()
	clients := map[string]*http.Client{"net/http": {Transport: &http.Transport{MaxIdleConnsPerHost: 8}}, "egress": out.Client(egress.ClientOptions{})}
	for name, client := range clients {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := get(client, srv.URL); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func post(ctx context.Context, c *http.Client, url, body string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", form)
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// serve returns the address of a server that handles raw connections.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	return listen(t, handle).Addr().String()
}

func listen(t *testing.T, handle func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				handle(c)
			}()
		}
	}()
	return l
}

func answer(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
	}
}

func readRequest(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func write(w io.Writer, n int64) error {
	_, err := io.CopyN(w, zeros{}, n)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
