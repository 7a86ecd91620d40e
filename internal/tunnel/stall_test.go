package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stalling is an application with callers that stall, and others that do not.
func stalling(t *testing.T) string {
	t.Helper()
	stop := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /flood", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, endless{}) })
	mux.HandleFunc("POST /stall", func(w http.ResponseWriter, r *http.Request) { <-stop })
	mux.HandleFunc("POST /sink", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	})
	mux.HandleFunc("GET /source/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.PathValue("n"), 10, 64)
		_, _ = io.CopyN(w, endless{}, n)
	})
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)
	t.Cleanup(func() { close(stop) })
	return strings.TrimPrefix(app.URL, "http://")
}

// stall begins downloads that nobody reads and uploads that the application does not.
func stall(t *testing.T, c *http.Client, base string, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	for range n {
		res, err := c.Do(request(t, ctx, "GET", base+"/flood", nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		go func() {
			_, _ = c.Do(request(t, ctx, "POST", base+"/stall", endless{})) //nolint:bodyclose // it ends with an error
		}()
	}
}

func upload(c *http.Client, base string, n int64) error {
	res, err := c.Post(base+"/sink", "application/octet-stream", io.LimitReader(endless{}, n))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != fmt.Sprint(n, nil) {
		return fmt.Errorf("%q arrived, %w", b, err)
	}
	return nil
}

func download(c *http.Client, base string, n int64) error {
	res, err := c.Get(base + "/source/" + strconv.FormatInt(n, 10))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if got, err := io.Copy(io.Discard, res.Body); err != nil || got != n {
		return fmt.Errorf("%d arrived, %w", got, err)
	}
	return nil
}

// TestNobodyWaitsForThoseWhoStall moves much beside connections that
// nobody reads, and compares with the same without them.
func TestNobodyWaitsForThoseWhoStall(t *testing.T) {
	const size, stalled = 16 << 20, 30 // of each direction
	app := stalling(t)
	yaml := "memory: 32MiB\n" + allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app), row("{http: 'http://web.corp.example', to: 'http://%s'}", app))
	for name, c := range map[string]struct {
		kind Kind
		base string
		peer bool
	}{
		"a tcp row":                         {TCP, "http://app.corp.example", false},
		"an http row":                       {HTTP, "http://web.corp.example", false},
		"a tcp row by way of another node":  {TCP, "http://app.corp.example", true},
		"an http row by way of another one": {HTTP, "http://web.corp.example", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.agent("agt_1", yaml)
			client := s.client(c.kind)
			if c.peer {
				client = s.clientThrough(c.kind, s.anotherNode())
			}
			measure := func() (up, down time.Duration) {
				began := time.Now()
				if err := upload(client, c.base, size); err != nil {
					t.Fatal(err)
				}
				up = time.Since(began)
				began = time.Now()
				if err := download(client, c.base, size); err != nil {
					t.Fatal(err)
				}
				return up, time.Since(began)
			}
			upAlone, downAlone := measure()
			stall(t, client, c.base, stalled)
			s.eventually("the uploads to stall", func() bool { return s.stalledUploads() >= stalled })
			up, down := measure()
			t.Logf("%d MiB beside %d stalled connections: up %s, alone %s; down %s, alone %s", size>>20, 2*stalled, up, upAlone, down, downAlone)
			if up > 8*upAlone+3*time.Second || down > 8*downAlone+3*time.Second {
				t.Error("those who stall hold up the others")
			}
		})
	}
}

// stalledUploads counts the streams on which the server has sent all it may.
func (s *stage) stalledUploads() (n int) {
	for _, t := range s.hub.Tunnels() {
		t.link.mu.Lock()
		for id, f := range t.link.flows {
			if id != controlID && f.allowed == f.sent {
				n++
			}
		}
		t.link.mu.Unlock()
	}
	return n
}

// anotherNode returns how another node reaches the connector through this one.
func (s *stage) anotherNode() func(context.Context, Target) (net.Conn, error) {
	s.t.Helper()
	secret := make([]byte, 32)
	owner, err := NewNodes(secret, "nod_owner", time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	asker, err := NewNodes(secret, "nod_asker", time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(s.hub.Peers())
	web.TLS = owner.Server()
	web.StartTLS()
	s.t.Cleanup(web.Close)
	at := Peer{"nod_owner", strings.TrimPrefix(web.URL, "https://")}
	return func(ctx context.Context, target Target) (net.Conn, error) {
		return asker.DialPeer(ctx, at, "office", target)
	}
}

// TestCreditThatIsNotUsedIsGivenBack holds that connections which are kept for
// later keep nothing of the budgets.
func TestCreditThatIsNotUsedIsGivenBack(t *testing.T) {
	app := stalling(t)
	s := newStage(t)
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	c := s.client(TCP)
	far := s.agents["agt_1"].budget
	used := func(b *Budget) int64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.size - b.left
	}
	most := int64(0)
	for range 3 { // until windows have grown, which others on the machine may delay
		if err := errors.Join(upload(c, "http://app.corp.example", 8<<20), download(c, "http://app.corp.example", 8<<20)); err != nil {
			t.Fatal(err)
		}
		most = max(most, min(used(far), used(s.hub.budget)))
	}
	if most == 0 {
		t.Fatal("no window has grown")
	}
	s.eventually("the credit", func() bool { return used(far) == 0 && used(s.hub.budget) == 0 })
	if n := s.hub.Tunnels()[0].link.streams(); n == 0 {
		t.Error("the connection was not kept")
	}
	if err := errors.Join(upload(c, "http://app.corp.example", 1<<20), download(c, "http://app.corp.example", 1<<20)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestThoseWhoStallLeaveHalfToThoseWhoMove begins uploads of which the kernels'
// buffers take all they can, which is no sign of an application that reads.
func TestThoseWhoStallLeaveHalfToThoseWhoMove(t *testing.T) {
	const stalled = 60
	app := stalling(t)
	s := newStage(t)
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	stall(t, s.client(TCP), "http://app.corp.example", stalled)
	link := s.hub.Tunnels()[0].link
	before, since := int64(0), time.Now()
	s.within(time.Minute, "the uploads to stall", func() bool {
		if n := link.out.Load(); n != before {
			before, since = n, time.Now()
		}
		return s.stalledUploads() >= stalled && time.Since(since) > time.Second
	})
	far := s.agents["agt_1"].budget
	far.mu.Lock()
	size, left := far.size, far.left
	far.mu.Unlock()
	t.Logf("%d stalled uploads moved %d KiB each and left %d of %d KiB", stalled, before>>10/stalled, left>>10, size>>10)
	if left < size/2 {
		t.Error("those who stall have taken what is for those who move much")
	}
}

func TestABudgetLeavesSomethingForOthers(t *testing.T) {
	b := NewBudget(1 << 20)
	grow := func(proven bool) (window uint32) {
		for window = 4 << 10; b.take(window, window, proven); window *= 2 {
		}
		return window
	}
	for range 1000 {
		grow(false)
	}
	if w := grow(true); w < 32<<10 {
		t.Errorf("beside a thousand who took what they could, one who moves much has a window of %d bytes", w)
	}
	for range 1000 {
		grow(true)
	}
	if b.left < 0 {
		t.Errorf("%d bytes more than there are", -b.left)
	}
}
