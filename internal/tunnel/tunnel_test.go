package tunnel

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestACallGoesThroughTheTunnel(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inside "+r.Host) })
	audit, _ := s.agent("agt_1", allowing(row("{tcp: 'erp.corp.example:80', to: '%s'}", app)))
	c := s.client(TCP)
	for range 3 {
		if code, body, err := s.get(c, "http://erp.corp.example/"); err != nil || code != 200 || body != "inside erp.corp.example" {
			t.Fatal(code, body, err)
		}
	}
	c.CloseIdleConnections()
	s.eventually("the audit line", func() bool {
		return strings.Contains(audit.String(), `"target":"erp.corp.example:80"`) && strings.Contains(audit.String(), app)
	})
	if n := len(s.hub.Tunnels()); n != 1 {
		t.Error(n, "tunnels")
	}
}

func TestAnErrorNamesTheSide(t *testing.T) {
	s := newStage(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	s.agent("agt_1", allowing(
		row("{tcp: 'refused.corp.example:80', to: '%s'}", closed.Addr()),
		row("{tcp: 'no-such-name.invalid:80'}"),
		row("{tcp: 'localhost.localdomain:80'}"),
	))
	for name, want := range map[string]Code{
		"refused.corp.example:80":   Refused,
		"no-such-name.invalid:80":   NotResolved,
		"elsewhere.corp.example:80": NotAllowed,
		"refused.corp.example:81":   NotAllowed,
	} {
		target, _ := ParseTarget(TCP, name)
		if _, err := s.hub.Dial(t.Context(), "office", target); CodeOf(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := s.hub.Dial(t.Context(), "another", Target{TCP, "refused.corp.example", 80}); CodeOf(err) != NotConnected {
		t.Error(err)
	}
}

func TestBodiesOfAnySizePassUnchangedBothWays(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		h := sha256.New()
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(io.MultiWriter(h, w), r.Body)
		w.Header().Set("X-Sum", fmt.Sprintf("%x", h.Sum(nil)))
	})
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app), row("{http: 'http://web.corp.example', to: 'http://%s'}", app)))
	for host, kind := range map[string]Kind{"app.corp.example": TCP, "web.corp.example": HTTP} {
		for _, size := range []int{0, 1, 4095, 4097, 70000, 5 << 20} {
			body := make([]byte, size)
			_, _ = rand.Read(body)
			res, err := s.client(kind).Post("http://"+host+"/", "application/octet-stream", strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(host, size, err)
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || string(got) != string(body) || res.Trailer.Get("X-Sum") != fmt.Sprintf("%x", sha256.Sum256(body)) {
				t.Errorf("%s %d: %d bytes came back, %v", host, size, len(got), err)
			}
		}
	}
}

func TestAnApplicationMayAnswerWhileItReads(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.CopyN(w, r.Body, 6)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	})
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app), row("{http: 'http://web.corp.example', to: 'http://%s'}", app)))
	for host, kind := range map[string]Kind{"app.corp.example": TCP, "web.corp.example": HTTP} {
		in, out := io.Pipe()
		go func() { _, _ = io.WriteString(out, "first,") }()
		res, err := s.client(kind).Post("http://"+host+"/", "text/plain", in)
		if err != nil {
			t.Fatal(host, err)
		}
		go func() { _, _ = io.WriteString(out, strings.Repeat("then", 50_000)); _ = out.Close() }()
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(got) != "first,"+strings.Repeat("then", 50_000) {
			t.Errorf("%s: %d bytes came back, %v", host, len(got), err)
		}
	}
}

// TestWhatASenderLeftBehindIsKeptForASlowReader holds that the sender does not
// wait for an end that comes only when all has been read: it would reset the rest.
func TestWhatASenderLeftBehindIsKeptForASlowReader(t *testing.T) {
	s := newStage(t)
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	go func() {
		c, err := far.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, strings.Repeat("x", 20_000))
		_ = c.Close()
	}()
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", far.Addr())))
	c, err := s.hub.Dial(t.Context(), "office", Target{TCP, "app.corp.example", 80})
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("both ends of the stream", func() bool { return s.hub.Tunnels()[0].link.mux.NumStreams() == 1 }) // the control stream
	if got, err := io.ReadAll(c); err != nil || len(got) != 20_000 {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	_ = c.Close()
}

// TestAReaderThatStallsDelaysNobody opens downloads and uploads that nobody
// takes, and measures that others pass meanwhile.
func TestAReaderThatStallsDelaysNobody(t *testing.T) {
	s := newStage(t)
	stop := make(chan struct{})
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flood":
			b := make([]byte, 64<<10)
			for {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		case "/stall":
			<-stop
		default:
			_, _ = io.WriteString(w, "ok")
		}
	})
	t.Cleanup(func() { close(stop) })
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	c := s.client(TCP)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 20 {
		res, err := c.Do(request(t, ctx, "GET", "http://app.corp.example/flood", nil)) // and never read
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		go func() {
			_, _ = c.Do(request(t, ctx, "POST", "http://app.corp.example/stall", endless{})) //nolint:bodyclose // it ends with an error
		}()
	}
	time.Sleep(200 * time.Millisecond) // until they have filled what they can
	began := time.Now()
	for range 200 {
		if _, body, err := s.get(c, "http://app.corp.example/"); err != nil || body != "ok" {
			t.Fatal(body, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("200 small calls beside 40 stalled ones took %s", took)
	}
	for _, l := range s.hub.Tunnels() {
		l.link.mu.Lock()
		for id, f := range l.link.flows {
			if held := f.received - f.consumed; id != controlID && held > maxWindow {
				t.Errorf("stream %d holds %d bytes", id, held)
			}
		}
		l.link.mu.Unlock()
	}
}

func request(t *testing.T, ctx context.Context, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestAnAgentComesBackByItself(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	first := s.hub.Tunnels()[0].ID
	s.hub.Cut(func(*Tunnel) bool { return false })
	s.eventually("another tunnel", func() bool { l := s.hub.Tunnels(); return len(l) == 1 && l[0].ID != first })
	if _, body, err := s.get(s.client(TCP), "http://app.corp.example/"); body != "ok" {
		t.Error(body, err)
	}
}

func TestARevokedAgentDoesNotComeBack(t *testing.T) {
	s := newStage(t)
	s.agent("agt_1", allowing())
	s.mu.Lock()
	s.cut["agt_1"] = true
	s.mu.Unlock()
	s.hub.Cut(func(*Tunnel) bool { return false })
	s.eventually("the refusal", func() bool { return strings.Contains(s.log.String(), "was revoked") })
	if len(s.hub.Tunnels()) != 0 {
		t.Error("it is back")
	}
}

func TestAgentsOfOneNameShareTheWorkAndSurviveEachOther(t *testing.T) {
	s := newStage(t)
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "ok") })
	config := allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app))
	_, stopOne := s.agent("agt_1", config)
	s.agent("agt_2", config)
	for range 20 {
		c := s.client(TCP)
		if _, body, err := s.get(c, "http://app.corp.example/"); body != "ok" {
			t.Fatal(err)
		}
		c.CloseIdleConnections()
	}
	for _, l := range s.hub.Tunnels() {
		if n := l.Traffic().Calls; n < 5 {
			t.Errorf("%s carried %d of 20", l.Agent, n)
		}
	}
	stopOne()
	for range 5 {
		if _, body, err := s.get(s.client(TCP), "http://app.corp.example/"); body != "ok" {
			t.Fatal(err)
		}
	}
}

// TestWhatIsUnderWayEndsBeforeAnAgentStops also holds that nothing new begins.
func TestWhatIsUnderWayEndsBeforeAnAgentStops(t *testing.T) {
	s := newStage(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	_, app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "one ")
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-goOn
		_, _ = io.WriteString(w, "two")
	})
	_, stop := s.agent("agt_1", allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app)))
	c := s.client(TCP)
	s.hub.cfg.Drained = func(string) { c.CloseIdleConnections() }
	answered := make(chan string)
	go func() {
		_, body, err := s.get(c, "http://app.corp.example/")
		answered <- fmt.Sprint(body, err)
	}()
	<-began
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	s.eventually("the agent to drain", func() bool { return !s.hub.Has("office") })
	if _, err := s.hub.Dial(t.Context(), "office", Target{TCP, "app.corp.example", 80}); CodeOf(err) != NotConnected {
		t.Errorf("a draining agent was given work: %v", err)
	}
	close(goOn)
	if got := <-answered; got != "one two<nil>" {
		t.Error(got)
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("it does not stop")
	}
}

func TestAServerThatStopsSendsItsAgentsElsewhere(t *testing.T) {
	s := newStage(t)
	s.agent("agt_1", allowing())
	old := s.hub
	fresh := NewHub(old.cfg)
	t.Cleanup(fresh.Close)
	s.mu.Lock()
	s.hub = fresh
	s.mu.Unlock()
	old.Drain()
	s.eventually("the agent at the other hub", func() bool { return len(fresh.Tunnels()) == 1 })
	s.eventually("the old tunnel's end", func() bool { return len(old.Tunnels()) == 0 })
}

func TestAProofForAnotherServerIsRefused(t *testing.T) {
	s := newStage(t)
	s.hub.cfg.Host = "behalf.example.com"
	a, err := NewAgent(AgentConfig{Config: s.config("allow: []"), Identity: s.identity("agt_1"), Log: s.logger(), Audit: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.attach(t.Context(), false); err == nil || !strings.Contains(err.Error(), "known as behalf.example.com") {
		t.Error(err)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	s := newStage(t)
	id := s.identity("agt_1")
	s.identity("agt_1") // whose key is another now
	a, err := NewAgent(AgentConfig{Config: s.config("allow: []"), Identity: id, Log: s.logger(), Audit: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.attach(t.Context(), false); err == nil || !strings.Contains(err.Error(), "signature") {
		t.Error(err)
	}
	if len(s.hub.Tunnels()) != 0 {
		t.Error("it was attached")
	}
}
