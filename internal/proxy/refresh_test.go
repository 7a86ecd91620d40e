package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// refuses makes the application refuse the token that is in force now, the way
// refuse says, and take any other.
func (s *stage) refuses(refuse http.HandlerFunc) {
	first := "Bearer " + s.token().Reveal()
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		if got := s.app.note(r); got.header.Get("Authorization") == first {
			refuse(w, r)
			return
		}
		_, _ = io.WriteString(w, "fine")
	})
	s.Clock.Advance(10 * time.Minute) // older than the minimum age
}

func unauthorized(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }

func TestARefusedTokenIsRefreshedAndTheCallRepeatedOnce(t *testing.T) {
	for _, c := range []struct {
		name, method string
		body         func() any
		want         string
	}{
		{"without a body", "GET", func() any { return nil }, ""},
		{"with a small body", "POST", func() any { return `{"a":1}` }, `{"a":1}`},
		{"with a body at the limit", "PUT", func() any { return strings.Repeat("x", 64<<10) }, strings.Repeat("x", 64<<10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			s.refuses(unauthorized)
			if a := s.call(c.method, "/x?q=1", c.body(), "X-Mine", "stays"); a.Status != 200 || a.Body != "fine" {
				t.Fatalf("status %d: %s", a.Status, a.Body)
			}
			calls := s.app.calls()
			if len(calls) != 2 || s.Sim.Stats().Refreshes != 1 {
				t.Fatalf("%d calls, %d refreshes", len(calls), s.Sim.Stats().Refreshes)
			}
			if calls[1].body != c.want || calls[1].uri != calls[0].uri || calls[1].header.Get("X-Mine") != "stays" || calls[1].header.Get("Authorization") != "Bearer "+s.token().Reveal() {
				t.Errorf("the repetition differs: %s %v", calls[1].uri, calls[1].header)
			}
		})
	}
}

func TestAStreamedBodyIsNotRepeated(t *testing.T) {
	for name, body := range map[string]func() io.Reader{
		"larger than what is kept": func() io.Reader { return strings.NewReader(strings.Repeat("x", 64<<10+1)) },
		"of unknown length":        func() io.Reader { return io.MultiReader(strings.NewReader("small")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			s.refuses(unauthorized)
			if a := s.call("POST", "/x", body()); a.Status != 401 || a.Header.Get("Behalf-Error") != "" {
				t.Errorf("status %d: %s", a.Status, a.Body)
			}
			if n := len(s.app.calls()); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestAnAPIThatRefusesEverythingDoesNotMakeTokensRotate(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) { s.app.note(r); w.WriteHeader(401) })
	for range 5 {
		if a := s.call("GET", "/x", nil); a.Status != 401 {
			t.Fatalf("status %d", a.Status)
		}
	}
	if n := s.Sim.Stats().Refreshes; n != 0 {
		t.Errorf("a token that is new was refreshed %d times", n)
	}
	s.Clock.Advance(10 * time.Minute)
	for range 10 {
		s.call("GET", "/x", nil)
	}
	if n := s.Sim.Stats().Refreshes; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if n := len(s.app.calls()); n != 16 {
		t.Errorf("%d calls, want 15 and one repetition", n)
	}
}

func TestAProfilesMinimumAgeHolds(t *testing.T) {
	s := newStage(t, func(d *behalf.Definition) { d.OAuth.Refresh.MinAge = 1200 })
	s.refuses(unauthorized) // ten minutes old
	if a := s.call("GET", "/x", nil); a.Status != 401 || s.Sim.Stats().Refreshes != 0 {
		t.Errorf("status %d, %d refreshes", a.Status, s.Sim.Stats().Refreshes)
	}
	s.Clock.Advance(11 * time.Minute)
	if a := s.call("GET", "/x", nil); a.Status != 200 || s.Sim.Stats().Refreshes != 1 {
		t.Errorf("status %d, %d refreshes", a.Status, s.Sim.Stats().Refreshes)
	}
}

func TestManyRefusedCallsCauseOneRefresh(t *testing.T) {
	s := newStage(t, nil)
	s.refuses(unauthorized)
	s.Sim.Set(simulator.Switches{TokenDelayMS: 100})
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 50 {
		wg.Go(func() {
			a := s.call("GET", "/x", nil)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.Status]++
		})
	}
	wg.Wait()
	if statuses[200] != 50 || s.Sim.Stats().Refreshes != 1 {
		t.Errorf("%v, %d refreshes", statuses, s.Sim.Stats().Refreshes)
	}
}

func TestWhenTheRefreshFailsTheApplicationsAnswerComesBack(t *testing.T) {
	s := newStage(t, nil)
	s.refuses(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Bearer error=\"invalid_token\"")
		w.WriteHeader(401)
		_, _ = io.WriteString(w, "theirs")
	})
	s.Sim.Set(simulator.Switches{Unavailable: "60"})
	a := s.call("GET", "/x", nil)
	if a.Status != 401 || a.Body != "theirs" || a.Header.Get("WWW-Authenticate") == "" || a.Header.Get("Behalf-Error") != "" {
		t.Errorf("status %d: %s %v", a.Status, a.Body, a.Header)
	}
}

func TestWhatMeansThatTheTokenIsBad(t *testing.T) {
	answer := func(status int, kind, body string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	expired := `{"error":{"message":"expired"}}`
	for _, c := range []struct {
		name   string
		rule   behalf.Rule
		answer http.HandlerFunc
		bad    bool
	}{
		{"a status", behalf.Rule{Status: 403}, answer(403, "text/plain", "no"), true},
		{"another status", behalf.Rule{Status: 403}, answer(404, "text/plain", "no"), false},
		{"a header that is there", behalf.Rule{Header: "x-expired"}, answer(400, "text/plain", "no", "X-Expired", "1"), true},
		{"a header with its value", behalf.Rule{Header: "X-Expired", Equals: "yes"}, answer(400, "text/plain", "no", "X-Expired", "yes"), true},
		{"a header with another value", behalf.Rule{Header: "X-Expired", Equals: "yes"}, answer(400, "text/plain", "no", "X-Expired", "no"), false},
		{"a value", behalf.Rule{Status: 403, JSON: "/error/message", Equals: "expired"}, answer(403, "application/json", expired), true},
		{"a value without a status", behalf.Rule{JSON: "/error/message", Equals: "expired"}, answer(200, "application/json", expired), true},
		{"another value", behalf.Rule{Status: 403, JSON: "/error/message", Equals: "expired"}, answer(403, "application/json", `{"error":{"message":"forbidden"}}`), false},
		{"a value that is there", behalf.Rule{Status: 403, JSON: "/error"}, answer(403, "application/json", `{"error":"any"}`), true},
		{"a part of a value, whatever its case", behalf.Rule{Status: 403, JSON: "/error/message", Contains: "TOKEN EXP"}, answer(403, "application/json", `{"error":{"message":"Your token expired."}}`), true},
		{"a part of a header", behalf.Rule{Header: "WWW-Authenticate", Contains: "invalid_token"}, answer(403, "text/plain", "no", "WWW-Authenticate", `Bearer error="invalid_token"`), true},
		{"a part of a text", behalf.Rule{Status: 403, Contains: "session has expired"}, answer(403, "text/html", "<p>Your session has expired</p>"), true},
		{"a part of what is no text", behalf.Rule{Status: 403, Contains: "expired"}, answer(403, "image/png", "expired"), false},
		{"a code within a success", behalf.Rule{Status: 200, JSON: "/errors/0/code", Equals: "602"}, answer(200, "application/json", `{"success":false,"errors":[{"code":"602"}]}`), true},
		{"no JSON", behalf.Rule{Status: 403, JSON: "/error/message", Equals: "expired"}, answer(403, "text/html", expired), false},
		{"half an object", behalf.Rule{Status: 403, JSON: "/error/message", Equals: "expired"}, answer(403, "application/json", expired[:20]), false},
		{"a large answer", behalf.Rule{JSON: "/error/message", Equals: "expired"}, answer(200, "application/json", `{"a":"`+strings.Repeat("x", 1<<17)+`"}`), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, func(d *behalf.Definition) { d.AuthError = []behalf.Rule{c.rule} })
			s.refuses(c.answer)
			a := s.call("GET", "/x", nil)
			if c.bad != (a.Body == "fine") || c.bad != (s.Sim.Stats().Refreshes == 1) {
				t.Errorf("status %d, %d refreshes: %.100s", a.Status, s.Sim.Stats().Refreshes, a.Body)
			}
			if !c.bad && strings.HasPrefix(c.name, "a large") && len(a.Body) != 1<<17+8 {
				t.Errorf("%d bytes came back", len(a.Body))
			}
		})
	}
}

func TestADueTokenIsRefreshedBeforeTheCall(t *testing.T) {
	s := newStage(t, nil)
	s.Clock.Advance(58 * time.Minute)
	if a := s.call("GET", "/x", nil); a.Status != 200 || s.Sim.Stats().Refreshes != 1 || len(s.app.calls()) != 1 {
		t.Errorf("status %d, %d refreshes, %d calls", a.Status, s.Sim.Stats().Refreshes, len(s.app.calls()))
	}
}

func TestACallOfTheRealAPIGoesThrough(t *testing.T) {
	s := newStage(t, nil)
	d := s.Definition("Notes")
	s.Connected(s.NewProfile(s.Assistant, d), "42", "hazel")
	call := func(method, path string, body any) string {
		a := s.Do(s.Key, method, "/v1/assistants/support-bot/proxy/notes"+path, body, "Behalf-User", "42")
		if a.Status >= 300 {
			t.Fatalf("%s %s: status %d: %s", method, path, a.Status, a.Body)
		}
		return a.Body
	}
	if me := call("GET", "/me", nil); !strings.Contains(me, "hazel@acorn.example") {
		t.Errorf("%s", me)
	}
	call("POST", "/notes", map[string]string{"title": "Behalf", "text": "was here"})
	if notes := call("GET", "/notes", nil); !strings.Contains(notes, "was here") {
		t.Errorf("%s", notes)
	}
	if echo := call("GET", "/echo/a%2Fb?x=1", nil); !strings.Contains(echo, `"path":"/api/echo/a%2Fb"`) || !strings.Contains(echo, fmt.Sprintf(`"query":%q`, "x=1")) {
		t.Errorf("%s", echo)
	}
}
