package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// rounds is a proxy that gives each request to another node than the one before:
// what a load balancer does that keeps nobody with one node.
type rounds struct {
	*httptest.Server
	mu    sync.Mutex
	nodes []*httputil.ReverseProxy
	next  int
	hits  map[string]map[int]bool // by the first part of a path: which nodes had it
}

func newRounds(t *testing.T) *rounds {
	r := &rounds{hits: map[string]map[int]bool{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.pick(req.URL.Path).ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *rounds) pick(path string) *httputil.ReverseProxy {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.next % len(r.nodes)
	r.next++
	part, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if r.hits[part] == nil {
		r.hits[part] = map[int]bool{}
	}
	r.hits[part][at] = true
	return r.nodes[at]
}

func (r *rounds) add(t *testing.T, nodes ...*node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range nodes {
		u, err := url.Parse(n.url)
		if err != nil {
			t.Fatal(err)
		}
		p := httputil.NewSingleHostReverseProxy(u)
		p.FlushInterval = -1 // events are told at once
		r.nodes = append(r.nodes, p)
	}
}

func TestEveryHopMayLandOnAnotherNode(t *testing.T) {
	front := newRounds(t)
	r := newRotatingOn(t, front)

	// One person connects, twice, so that each hop has been on several nodes.
	for range 2 {
		r.connect(t)
	}
	id := r.connect(t)
	before := r.bot.connection(id)

	// The profile is tested.
	for range 3 {
		r.test(t)
	}

	// A crowd asks for a token that is due, of all nodes in turn.
	time.Sleep(time.Until(before.ExpiresAt))
	r.ask(t, []*node{{url: front.URL}})
	for range 4 {
		r.bot.refresh(id)
	}
	for range 4 {
		if got := r.bot.call(r.in.Slug, user, "/api/me"); got.status != http.StatusOK || !strings.Contains(string(got.body), rotatingUser) {
			t.Errorf("a call is answered with %d %s", got.status, got.body)
		}
	}
	if got := r.sim.Stats(); got.Refreshes < 4 || got.Duplicates != 0 || got.FamiliesRevoked != 0 { // the nodes refresh by themselves, too
		t.Errorf("the provider saw %d refreshes, %d spent tokens, and ended %d grants", got.Refreshes, got.Duplicates, got.FamiliesRevoked)
	}

	// What one node is told, all know within a second.
	r.bot.remove("/connections/" + id)
	time.Sleep(time.Second)
	for range 6 {
		if got := r.bot.send("POST", "/token", map[string]any{"profile": r.in.Slug, "user": user}); got.status == http.StatusOK {
			t.Error("a node gives out a token of a connection that was ended a second ago")
		}
	}
	for _, part := range []string{"connect", "callback", "v1"} {
		if len(front.hits[part]) < 3 {
			t.Errorf("/%s was on the nodes %v only", part, front.hits[part])
		}
	}
}

// newRotatingOn is newRotating with three nodes behind a proxy, which is all
// that anybody knows of them.
func newRotatingOn(t *testing.T, front *rounds) *rotating {
	t.Helper()
	r := newRotating(t, "postgres", "BEHALF_PUBLIC_URL="+front.URL)
	first := *r.node
	front.add(t, &first)
	r.node.url = front.URL
	front.add(t, r.another(), r.another())
	r.owner.base = strings.Replace(r.owner.base, first.url, front.URL, 1)
	r.bot.base = strings.Replace(r.bot.base, first.url, front.URL, 1)
	return r
}

// test tests the profile as an administrator does.
func (r *rotating) test(t *testing.T) {
	t.Helper()
	var trial struct{ ID, URL, Status, Result string }
	path := r.bot.path + "/profiles/" + r.in.Slug + "/trials"
	r.owner.post(path, map[string]any{}, &trial)
	r.secret("connect link", trial.URL[strings.LastIndex(trial.URL, "/")+1:])
	p := r.person(t)
	p.Open(trial.URL)
	p.Click("Continue to Acorn Notes")
	p.Login(rotatingUser, rotatingPassword, r.node.url+"/callback/")
	for deadline := time.Now().Add(20 * time.Second); trial.Status != "passed"; time.Sleep(100 * time.Millisecond) {
		r.owner.get(path+"/"+trial.ID, &trial)
		if trial.Status == "failed" || time.Now().After(deadline) {
			t.Fatalf("the test: %+v", trial)
		}
	}
}
