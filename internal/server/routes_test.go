package server

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// outside serves a handler as the server's own are, and returns its log.
func outside(t *testing.T, h http.HandlerFunc) (*httptest.Server, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s := &Server{cfg: Config{Now: time.Now}, log: slog.New(slog.NewJSONHandler(&log, nil))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fault/{secret}", h)
	srv := httptest.NewServer(s.outer(mux))
	t.Cleanup(srv.Close)
	return srv, &log
}

func TestAFaultOfOursIsAnAnswerAndALogLine(t *testing.T) {
	srv, log := outside(t, func(http.ResponseWriter, *http.Request) { panic("a fault") })
	for range 2 { // the server goes on
		res, err := http.Get(srv.URL + "/fault/path-secret")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusInternalServerError || strings.Contains(string(body), "a fault") || strings.Contains(string(body), "goroutine") {
			t.Errorf("status %d: %s", res.StatusCode, body)
		}
	}
	srv.Close()
	if !strings.Contains(log.String(), "a fault") || !strings.Contains(log.String(), "routes_test.go") || strings.Contains(log.String(), "path-secret") {
		t.Errorf("log: %s", log.String())
	}
}

func TestAFaultBehindHalfAnAnswerCutsIt(t *testing.T) {
	srv, _ := outside(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("a fault")
	})
	res, err := http.Get(srv.URL + "/fault/x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%q looks whole", body)
	}
}

func TestAProxiedPathIsSplitAsItCame(t *testing.T) {
	for path, want := range map[string][3]string{
		"/v1/assistants/a/proxy/p":          {"a", "p", "/"},
		"/v1/assistants/a/proxy/p/":         {"a", "p", "/"},
		"/v1/assistants/a/proxy/p/x%2Fy/..": {"a", "p", "/x%2Fy/.."},
		"/v1/assistants/a/proxy/p//x":       {"a", "p", "/x"},
		"/v1/assistants/a/proxy/p/proxy/q":  {"a", "p", "/proxy/q"},
		"/v1/assistants/proxy/proxy/p/x":    {"proxy", "p", "/x"},
		"/v1/assistants/a/proxy":            {},
		"/v1/assistants/a/proxy/":           {},
		"/v1/assistants/a/b/proxy/p/x":      {},
		"/v1/assistants/a/proxyx/p/x":       {},
		"/v1/assistants/a":                  {},
		"/v2/assistants/a/proxy/p/x":        {},
	} {
		assistant, profile, rest, ok := proxied(path)
		if got := [3]string{assistant, profile, rest}; ok != (want[1] != "") || ok && got != want {
			t.Errorf("%s: %v, %v", path, got, ok)
		}
	}
}
