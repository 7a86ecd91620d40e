package proxy_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
)

// open begins a call whose answer is read by the test.
func (s *stage) open(ctx context.Context, method, path string, body io.Reader) *http.Response {
	s.t.Helper()
	r := s.Request(s.Key, method, at+path, body, "Behalf-User", "42").WithContext(ctx)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestEventsArriveOneByOne(t *testing.T) {
	s := newStage(t, nil)
	step := make(chan bool)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-step // the next comes only when this one was read
		}
	})
	res := s.open(t.Context(), "GET", "/events", nil)
	r := bufio.NewReader(res.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		_, _ = r.ReadString('\n')
		step <- true
	}
}

func TestAPlainAnswerIsNotHeldBackEither(t *testing.T) {
	s := newStage(t, nil)
	step := make(chan bool)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, "{\"n\":1}\n")
		_ = http.NewResponseController(w).Flush()
		<-step
	})
	defer close(step)
	res := s.open(t.Context(), "GET", "/lines", nil)
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line != "{\"n\":1}\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestAnUploadArrivesWhileItIsSent(t *testing.T) {
	s := newStage(t, nil)
	got := make(chan string)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 3)
		for range 2 {
			_, _ = io.ReadFull(r.Body, b)
			got <- string(b)
		}
	})
	in, out := io.Pipe()
	done := make(chan bool)
	go func() { defer close(done); s.open(t.Context(), "POST", "/up", in) }()
	for _, part := range []string{"one", "two"} {
		_, _ = io.WriteString(out, part)
		select {
		case have := <-got:
			if have != part {
				t.Errorf("%q", have)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%q was held back", part)
		}
	}
	_ = out.Close()
	<-done
}

// digits is n bytes that cost no memory.
type digits struct{ n int64 }

func (d *digits) Read(p []byte) (int, error) {
	if d.n == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), d.n)]
	for i := range p {
		p[i] = "0123456789abcdef"[i&15]
	}
	d.n -= int64(len(p))
	return len(p), nil
}

func TestLargeBodiesNeedLittleMemory(t *testing.T) {
	const size = 256 << 20
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Got", fmt.Sprint(n))
		if r.Method == "GET" {
			_, _ = io.Copy(w, &digits{size})
		}
	})
	var top atomic.Uint64
	stop := make(chan bool)
	var watching sync.WaitGroup
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top.Store(max(top.Load(), m.HeapAlloc))
			}
		}
	})
	up := s.open(t.Context(), "POST", "/up", &digits{size})
	if got := up.Header.Get("X-Got"); got != fmt.Sprint(int64(size)) {
		t.Errorf("the application got %s bytes", got)
	}
	down := s.open(t.Context(), "GET", "/down", nil)
	if n, err := io.Copy(io.Discard, down.Body); n != size || err != nil {
		t.Errorf("%d bytes came back, %v", n, err)
	}
	close(stop)
	watching.Wait()
	if grown := int64(top.Load()) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestBytesArriveUnchanged(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // it answers while it reads
		_, _ = io.Copy(w, r.Body)
	})
	for _, n := range []int64{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3<<20 + 7} {
		want := sha256.New()
		_, _ = io.Copy(want, &digits{n})
		res := s.open(t.Context(), "POST", "/echo", &digits{n})
		got := sha256.New()
		if m, err := io.Copy(got, res.Body); m != n || err != nil || hex.EncodeToString(got.Sum(nil)) != hex.EncodeToString(want.Sum(nil)) {
			t.Errorf("%d bytes: %d came back, %v", n, m, err)
		}
	}
}

func TestWhenTheAssistantGoesTheApplicationIsTold(t *testing.T) {
	for name, path := range map[string]string{"before the answer": "/wait", "in the middle of it": "/stream"} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			gone, arrived := make(chan bool, 1), make(chan bool, 1)
			s.app.does(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == base+"/stream" {
					_, _ = io.WriteString(w, "begun")
					_ = http.NewResponseController(w).Flush()
				}
				arrived <- true
				select {
				case <-r.Context().Done():
					gone <- true
				case <-time.After(10 * time.Second):
				}
			})
			c := s.dial()
			if _, err := io.WriteString(c, s.head("GET", at+path)+"\r\n"); err != nil {
				t.Fatal(err)
			}
			<-arrived
			_ = c.Close()
			select {
			case <-gone:
			case <-time.After(5 * time.Second):
				t.Error("the application was not told")
			}
		})
	}
}

func TestAnAnswerThatBreaksOffBreaksOffHereToo(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(50 * time.Millisecond) // a reset drops what has not been read yet
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.(*net.TCPConn).SetLinger(0) // reset
			_ = c.Close()
		}
	})
	answer := s.raw(s.head("GET", at+"/half") + "\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil); err == nil {
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%q looks whole", b)
		}
	}
	s.app.does(nil)
	if a := s.call("GET", "/x", nil); a.Status != 200 {
		t.Errorf("afterwards: status %d", a.Status)
	}
}

func TestAnApplicationThatHangsUpBeforeAnswering(t *testing.T) {
	s := newStage(t, nil)
	var asked atomic.Int64
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.Close()
		}
	})
	p := s.call("POST", "/x", `{"order":1}`).Problem(t, 502, behalf.CodeProvider)
	if asked.Load() != 1 || !strings.Contains(p.Detail, "not known") {
		t.Errorf("asked %d times: %s", asked.Load(), p.Detail)
	}
}

func TestAnAnswerBeforeTheBodyWasRead(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) })
	answer := s.raw(s.head("POST", at+"/x") + "Content-Length: 67108864\r\n\r\n" + strings.Repeat("x", 100_000))
	if got := status(t, answer); got != 413 {
		t.Errorf("status %d", got)
	}
}

func TestASmallBodyThatNeverComes(t *testing.T) {
	s := newStage(t, nil)
	before := runtime.NumGoroutine()
	c := s.dial()
	if _, err := io.WriteString(c, s.head("POST", at+"/x")+"Content-Length: 10\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	_ = c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	_ = c.Close()
	if len(answer) > 0 && status(t, string(answer)) != 422 {
		t.Errorf("%.200q", answer)
	}
	if len(s.app.calls()) != 0 {
		t.Error("half a body was sent on")
	}
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before+2 })
}

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no /proc")
	}
	return len(entries)
}

func TestTwoThousandVanishedAssistantsLeaveNothing(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	one := func() {
		c := s.dial()
		_ = c.(*net.TCPConn).SetLinger(0)
		_, _ = io.WriteString(c, s.head("GET", at+"/x")+"\r\n")
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Read(make([]byte, 512))
		_ = c.Close()
	}
	for range 20 {
		one()
	}
	time.Sleep(200 * time.Millisecond)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 100 {
				one()
			}
		})
	}
	wg.Wait()
	eventually(t, "goroutines and descriptors come down", func() bool { return runtime.NumGoroutine() <= goroutines+15 && descriptors(t) <= files+15 })
}
