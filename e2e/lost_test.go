package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/e2e/servers"
)

// balance passes connections on to whichever of the addresses takes them, in
// turn, as a load balancer before several nodes does.
func balance(t testing.TB, to []string) (address string) {
	t.Helper()
	address = "127.0.0.1:" + itoa(servers.FreePort(t))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for turn := 0; ; turn++ {
			one, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer one.Close()
				for i := range to {
					other, err := net.Dial("tcp", to[(turn+i)%len(to)])
					if err != nil {
						continue
					}
					defer other.Close()
					go func() { _, _ = io.Copy(other, one); _ = other.Close() }()
					_, _ = io.Copy(one, other)
					return
				}
			}()
		}
	}()
	return address
}

// load asks for a proxied call on every node that is up, all the time.
type load struct {
	t     testing.TB
	bots  []*bot
	down  []atomic.Bool // by node: no new call is begun there
	stop  chan struct{}
	calls sync.WaitGroup

	mu      sync.Mutex
	begun   int
	longest time.Duration
	failed  []failure
}

type failure struct {
	ended time.Time
	node  int
	what  string
}

func (l *load) run(profile string, workers int) {
	for w := range workers {
		l.calls.Go(func() {
			for n := w; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if node := n % len(l.bots); !l.down[node].Load() {
					l.one(node, profile)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
}

func (l *load) one(node int, profile string) {
	began := time.Now()
	status, what := 0, "no answer"
	b := l.bots[node]
	r, err := http.NewRequest(http.MethodGet, b.base+"/proxy/"+profile+"/me", nil)
	if err != nil {
		l.t.Error(err)
		return
	}
	r.Header.Set("Authorization", "Bearer "+b.key)
	r.Header.Set("Behalf-User", user)
	if res, err := noRedirects.Do(r); err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if status, what = res.StatusCode, res.Header.Get("Behalf-Error"); err != nil {
			status, what = 0, "broken off"
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	l.longest = max(l.longest, time.Since(began))
	if status != http.StatusOK {
		l.failed = append(l.failed, failure{time.Now(), node, fmt.Sprint(status, " ", what)})
	}
}

// after returns the calls that failed since, and forgets them.
func (l *load) after() (failed []failure, begun int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed, begun = l.failed, l.begun
	l.failed, l.begun = nil, 0
	return failed, begun
}

func TestAgentsAndNodesSurviveEachOther(t *testing.T) {
	s := newStage(t, "postgres")
	nodes := []*node{s.node, s.another(), s.another()}
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, strings.TrimPrefix(n.url, "http://"))
	}
	door := "http://" + balance(t, addresses)
	base, sim := acorn(t, s)
	first := s.office()
	var second struct {
		Token string `json:"enrol_token"`
	}
	s.owner.post("/connectors/office/enrol-tokens", nil, &second)
	agents := []*process{s.agent(door, base, first), s.agent(door, base, s.secret("enrolment token", second.Token))}
	tunnels := func() int {
		var c struct {
			Agents []struct{ Tunnels []struct{ ID string } }
		}
		s.owner.get("/connectors/office", &c)
		n := 0
		for _, a := range c.Agents {
			n += len(a.Tunnels)
		}
		return n
	}
	eventually(t, "two tunnels", func() bool { return tunnels() == 2 })

	b := s.assistant(nil)
	p := b.notes(base, sim)
	person := s.person(t)
	person.Open(b.begin(map[string]any{"profile": p.Slug, "user": user, "user_name": "Hazel Birch"}).URL)
	person.Click("Continue to Acorn Notes")
	person.Login("hazel", "hazels-own-password", s.node.url+"/callback/")
	person.WaitText("Acorn Notes is connected")

	l := &load{t: t, down: make([]atomic.Bool, len(nodes)), stop: make(chan struct{})}
	for _, n := range nodes {
		own := *b.client
		own.base = strings.Replace(own.base, s.node.url, n.url, 1)
		l.bots = append(l.bots, &bot{client: &own, s: s, path: b.path})
	}
	l.run(p.Slug, 16)
	settle := func() { time.Sleep(2 * time.Second) }
	settle()
	if failed, begun := l.after(); len(failed) > 0 || begun < 100 {
		t.Fatalf("%d of %d calls failed before anything was killed: %v", len(failed), begun, failed)
	}
	watch := func(what string, killed int, kill func()) {
		began := time.Now()
		kill()
		time.Sleep(5 * time.Second)
		failed, begun := l.after()
		elsewhere, recovered, codes := 0, time.Duration(0), map[string]int{}
		for _, f := range failed {
			if f.node == killed {
				continue // it died with the node that had it
			}
			elsewhere++
			codes[f.what]++
			recovered = max(recovered, f.ended.Sub(began))
		}
		t.Logf("%s: %d of %d calls failed %v, and %d that were on it; recovered after %s", what, elsewhere, begun, codes, len(failed)-elsewhere, recovered.Round(time.Millisecond))
		if recovered > 4*time.Second {
			t.Errorf("%s: calls still failed after %s", what, recovered)
		}
		for what := range codes {
			if !strings.HasSuffix(what, "connector_lost") && !strings.HasSuffix(what, "connector_not_connected") {
				t.Errorf("a call failed with %s", what)
			}
		}
	}
	for i, a := range agents {
		watch(fmt.Sprintf("agent %d killed", i+1), -1, a.kill)
		a.start()
		eventually(t, "two tunnels", func() bool { return tunnels() == 2 })
		l.after()
	}
	for i, n := range nodes[1:] { // the first is asked how it is
		i++
		watch(fmt.Sprintf("node %d killed", i+1), i, func() { l.down[i].Store(true); n.kill() })
		n.restart()
		l.down[i].Store(false)
		eventually(t, "two tunnels", func() bool { return tunnels() == 2 })
		l.after()
	}
	watch("node 1 killed", 0, func() { l.down[0].Store(true); nodes[0].kill() })
	nodes[0].restart()
	l.down[0].Store(false)
	eventually(t, "two tunnels", func() bool { return tunnels() == 2 })
	l.after()
	settle()
	close(l.stop)
	l.calls.Wait()
	failed, begun := l.after()
	if len(failed) > 0 || begun == 0 {
		t.Errorf("%d of %d calls failed once all was there again: %v", len(failed), begun, failed)
	}
	t.Logf("the longest call took %s", l.longest.Round(time.Millisecond))
	if l.longest > 15*time.Second {
		t.Errorf("a call took %s", l.longest)
	}
}
