package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
)

func TestTraceIsNotPassedOn(t *testing.T) {
	s := newStage(t, nil)
	for _, method := range []string{"TRACE", "TRACK"} {
		s.call(method, "/x", nil).Problem(t, http.StatusForbidden, behalf.CodeForbidden)
	}
	if n := len(s.app.calls()); n != 0 {
		t.Errorf("%d calls arrived", n)
	}
}

// An API base URL that leads back to us would call itself for ever.
func TestACallDoesNotComeThroughTwice(t *testing.T) {
	s := newStage(t, nil)
	d := s.Definition("Loop")
	d.API = behalf.API{BaseURL: s.URL + at, AllowedHosts: []string{strings.TrimPrefix(s.URL, "http://"), strings.TrimPrefix(s.Provider, "http://")}}
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "Authorization", Value: "Bearer " + s.Key, Secret: true}}
	p := s.NewProfile(s.Assistant, d)
	s.Connected(p, "42", "hazel")
	a := s.Do(s.Key, "GET", strings.Replace(at, "/acorn", "/"+p.Slug, 1)+"/x", nil, "Behalf-User", "42")
	if a.Status != http.StatusForbidden && a.Status != http.StatusUnprocessableEntity {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
	if n := len(s.app.calls()); n != 0 {
		t.Errorf("%d calls arrived", n)
	}
	d.Name, d.AuthorizationFields = "Loop with a header of ours", []behalf.AuthorizationField{{In: behalf.InHeader, Key: "Behalf-User", Value: "42"}}
	if _, err := behalf.Compile(d); err == nil {
		t.Error("a profile sets a header of ours")
	}
	d.AuthorizationFields[0].Key = "Via"
	if _, err := behalf.Compile(d); err == nil {
		t.Error("a profile sets Via")
	}
}

func TestAPolicyIsNotPassedByHeaders(t *testing.T) {
	s := newStage(t, nil)
	names := []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"}
	var headers []string
	for _, n := range names {
		headers = append(headers, n, "DELETE")
	}
	if a := s.call("GET", "/x", nil, headers...); a.Status != http.StatusOK {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	got := s.app.last(t)
	for _, n := range names {
		if got.header.Get(n) != "" {
			t.Errorf("%s arrived", n)
		}
	}
}

func TestAnAnswerDoesNotActOnWhatStandsBeforeUs(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Accel-Redirect", "/internal/secret")
		w.Header().Set("X-Accel-Buffering", "no")
		w.Header().Set("X-Sendfile", "/etc/passwd")
	})
	a := s.call("GET", "/x", nil)
	for _, n := range []string{"X-Accel-Redirect", "X-Accel-Buffering", "X-Sendfile"} {
		if a.Header.Get(n) != "" {
			t.Errorf("%s came back", n)
		}
	}
}

// net/http quotes what an application sends in the place of an answer; the
// stage looks for the token in the log when it ends.
func TestAnApplicationThatEchoesTheTokenDoesNotGetItLogged(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 " + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + " OK\r\n\r\n"))
		_ = conn.Close()
	})
	token := s.token().Reveal()
	s.call("GET", "/x", nil).Problem(t, http.StatusBadGateway, behalf.CodeProvider)
	if strings.Contains(s.Log.String(), token) {
		t.Error("the log holds the token")
	}
}
