package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTheMiddleOfAnEvenNumberIsBetweenTwo(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{4, 1, 2, 9}, Spread{3, 1, 9}},
	} {
		if got := spread(c.of); got != c.want {
			t.Errorf("spread(%v) = %v, want %v", c.of, got, c.want)
		}
	}
}

func TestRatiosAreThoseOfTheSameRound(t *testing.T) {
	// The machine was three times as quick in the second round.
	r := ratio("read", "/s", []float64{10, 30}, "bare", []float64{20, 60}).atLeast(0.5)
	if want := (Spread{0.5, 0.5, 0.5}); r.Figure != want || !r.Goal.Met {
		t.Errorf("figure %v, met %v", r.Figure, r.Goal.Met)
	}
}

func TestAGoalIsMetByTheMedianOnItsOwnSide(t *testing.T) {
	for _, c := range []struct {
		name string
		row  Row
		want bool
	}{
		{"at least, above", value("x", "", []float64{3}).atLeast(2), true},
		{"at least, below", value("x", "", []float64{1}).atLeast(2), false},
		{"at most, above", value("x", "", []float64{3}).atMost(2), false},
		{"at most, below", value("x", "", []float64{1}).atMost(2), true},
		{"the best of three alone", value("x", "", []float64{1, 1, 9}).atLeast(2), false},
	} {
		if c.row.Goal.Met != c.want {
			t.Errorf("%s: met = %v", c.name, c.row.Goal.Met)
		}
	}
}

func TestTheTableMarksWhatMissesItsGoal(t *testing.T) {
	r := Report{Rows: []Row{
		ratio("read", "/s", []float64{12_345}, "bare", []float64{24_690}).atLeast(0.6),
		added("call", "ms", []float64{0.4}, "direct", []float64{0.3}).atMost(0.3),
	}, Notes: []string{"nothing to compare with"}}
	var b strings.Builder
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12,300 /s", "bare 24,700", "0.50", "≥ 0.60", "BELOW", "+0.10 ms", "≤ 0.30", "ok", "nothing to compare with"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
}

func TestWhatWrkSaysIsRead(t *testing.T) {
	for _, c := range []struct {
		name, output string
		rate         float64
		err          string
	}{
		{"all answered", "Running 1s test\nbench 500 2000000 connect=0 read=0 write=0 status=0 timeout=0\n", 250, ""},
		{"some refused", "Running 1s test\nbench 500 2000000 connect=0 read=0 write=0 status=7 timeout=0\n", 0, "status=7"},
		{"nothing of ours", "unable to connect\n", 0, "unexpected"},
	} {
		got, err := readWrk(c.output)
		if got.rate != c.rate || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", c.name, got.rate, err)
		}
	}
}

func TestPercentilesOfAKnownList(t *testing.T) {
	var d []time.Duration
	for n := range 100 {
		d = append(d, time.Duration(100-n))
	}
	if p50, p99 := percentile(d, 0.50), percentile(d, 0.99); p50 != 51 || p99 != 100 {
		t.Errorf("p50 %d, p99 %d", p50, p99)
	}
}

// served counts who asks, and refuses "bad".
func served(t *testing.T) (target, func() map[string]int) {
	var mu sync.Mutex
	asked := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked[string(body)]++
		mu.Unlock()
		if string(body) == "bad" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	host := s.Listener.Addr().String()
	return target{"echo", host, [][]byte{request("POST", "/", host, "", "a"), request("POST", "/", host, "", "b")}},
		func() map[string]int { mu.Lock(); defer mu.Unlock(); return asked }
}

func TestLoadAsksInTurnAndStopsByItself(t *testing.T) {
	load := map[string]func(context.Context, target) (sample, error){
		"closed loop": func(ctx context.Context, t target) (sample, error) {
			return closedLoop(ctx, t, 4, 200*time.Millisecond)
		},
		"paced": func(ctx context.Context, t target) (sample, error) {
			return paced(ctx, t, 4, 200, 200*time.Millisecond)
		},
	}
	if path, err := exec.LookPath("wrk"); err == nil {
		load["wrk"] = func(ctx context.Context, t target) (sample, error) { return wrk(ctx, path, t, 4, time.Second) }
	}
	for name, run := range load {
		t.Run(name, func(t *testing.T) {
			good, asked := served(t)
			s, err := run(t.Context(), good)
			if err != nil || s.rate <= 0 {
				t.Fatal(s, err)
			}
			if a, b := asked()["a"], asked()["b"]; a == 0 || b == 0 || len(asked()) != 2 {
				t.Error("asked:", asked())
			}
			bad := good
			bad.requests = append(bad.requests, request("POST", "/", bad.host, "", "bad"))
			if _, err := run(t.Context(), bad); err == nil {
				t.Error("a refusal was taken for an answer")
			}
		})
	}
}

func TestAPaceIsKeptWhereItCanBe(t *testing.T) {
	good, asked := served(t)
	s, err := paced(t.Context(), good, 4, 100, 500*time.Millisecond)
	if n := asked()["a"] + asked()["b"]; err != nil || n != 50 || s.p50 <= 0 || s.p99 < s.p50 {
		t.Errorf("%d asked, %+v, %v", n, s, err)
	}
}

func TestLatencyBehindThePaceCountsFromWhenItWasDue(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer slow.Close()
	host := slow.Listener.Addr().String()
	s, err := paced(t.Context(), target{"slow", host, [][]byte{get("/", host, "")}}, 1, 200, 200*time.Millisecond)
	if err != nil || !s.behind || s.p99 < 100*time.Millisecond {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAnswersAreLookedAt(t *testing.T) {
	good, _ := served(t)
	wrong := func(i int, body string) bool { return body == "a" }
	right := func(i int, body string) bool { return body == string("ab"[i]) }
	if err := check(t.Context(), good, right); err != nil {
		t.Error(err)
	}
	if err := check(t.Context(), good, wrong); err == nil {
		t.Error("a wrong answer was taken")
	}
}

func TestTheLimitsDoTheirWork(t *testing.T) {
	application := httptest.NewServer(upstream())
	defer application.Close()
	h, err := limit(limitProxy, application.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(h)
	defer proxy.Close()
	for _, c := range []struct {
		method, path, body string
		want               func(string) bool
	}{
		{"GET", "/small", "", func(s string) bool { return len(s) >= 1000 && len(s) < 1200 }},
		{"GET", "/bytes/300001", "", func(s string) bool { return len(s) == 300_001 }},
		{"PUT", "/bytes", strings.Repeat("x", 5000), func(s string) bool { return s == fmt.Sprint(5000) }},
	} {
		for _, at := range []string{application.URL, proxy.URL} {
			host := strings.TrimPrefix(at, "http://")
			one := target{c.path, host, [][]byte{request(c.method, c.path, host, "", c.body)}}
			if err := check(t.Context(), one, func(_ int, body string) bool { return c.want(body) }); err != nil {
				t.Error(at, err)
			}
		}
	}
}
