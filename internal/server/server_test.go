package server_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

func config(t *testing.T) server.Config {
	t.Helper()
	return server.Config{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Version: "test"}
}

// started makes a server and closes it again.
func started(t *testing.T, cfg server.Config) error {
	t.Helper()
	s, err := server.New(t.Context(), cfg)
	if err == nil {
		err = s.Close()
	}
	return err
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*server.Config)
		want   string
	}{
		{"plain http on a public host", func(c *server.Config) { c.PublicURL = "http://behalf.example.com" }, "must be https"},
		{"plain http on a private address", func(c *server.Config) { c.PublicURL = "http://10.0.0.5:8788" }, "must be https"},
		{"a name that only looks like this machine", func(c *server.Config) { c.PublicURL = "http://localhost.example.com" }, "must be https"},
		{"a path", func(c *server.Config) { c.PublicURL = "https://example.com/behalf" }, "must not have a path"},
		{"no host", func(c *server.Config) { c.PublicURL = "https://" }, "absolute URL"},
		{"no scheme", func(c *server.Config) { c.PublicURL = "behalf.example.com" }, "absolute URL"},
		{"another scheme", func(c *server.Config) { c.PublicURL = "ftp://behalf.example.com" }, "must be https"},
		{"a user", func(c *server.Config) { c.PublicURL = "https://me:secret@behalf.example.com" }, "absolute URL"},
		{"a query", func(c *server.Config) { c.PublicURL = "https://behalf.example.com?x=1" }, "absolute URL"},
		{"a fragment", func(c *server.Config) { c.PublicURL = "https://behalf.example.com#x" }, "absolute URL"},
		{"garbage", func(c *server.Config) { c.PublicURL = "https://[::1" }, "absolute URL"},
		{"every address without a public URL", func(c *server.Config) { c.Listen = "0.0.0.0:0" }, "must be https"},
		{"an address that is taken", func(c *server.Config) { c.Listen = "127.0.0.1:1" }, "listen on 127.0.0.1:1"},
		{"no address", func(c *server.Config) { c.Listen = "nonsense" }, "listen on nonsense"},
		{"nowhere to keep anything", func(c *server.Config) { c.DataDir = "" }, "--data"},
		{"a database of an unknown kind", func(c *server.Config) { c.Database = "mysql://me:secret@db/x" }, "sqlite: or postgres://"},
		{"a database URL that is none", func(c *server.Config) { c.Database = "postgres://me:secret@db:port/x" }, "not a valid postgres:// URL"},
		{"a root key that is none", func(c *server.Config) { c.RootKey = secret.New("secret") }, "not a whole root key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "an address") && os.Getuid() == 0 {
				l, err := net.Listen("tcp", "127.0.0.1:1") // root may listen there: take it first
				if err != nil {
					t.Skip("the port cannot be taken")
				}
				defer func() { _ = l.Close() }()
			}
			cfg := config(t)
			c.change(&cfg)
			err := started(t, cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestSettingsThatWork(t *testing.T) {
	for name, url := range map[string]string{"https": "https://behalf.example.com", "https with a slash and a port": "https://behalf.example.com:8443/", "this machine": "http://localhost:8788", "its address": "http://127.0.0.1:1", "in IPv6": "http://[::1]:8788"} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			cfg.PublicURL = url
			s, err := server.New(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.URL().String(); got != strings.TrimSuffix(url, "/") {
				t.Errorf("public URL %s", got)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADatabaseIsOpenedWithItsRootKeyAlone(t *testing.T) {
	other := "behalf-root-key-v1 " + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", 32)))
	for _, c := range []struct {
		name   string
		change func(t *testing.T, file string, cfg *server.Config)
		want   string
	}{
		{"missing", func(t *testing.T, file string, _ *server.Config) { must(t, os.Remove(file)) }, "put back the file"},
		{"of another database", func(t *testing.T, file string, _ *server.Config) { must(t, os.WriteFile(file, []byte(other), 0o600)) }, "key"},
		{"of another database, from the environment", func(t *testing.T, file string, cfg *server.Config) { cfg.RootKey = secret.New(other) }, "key"},
		{"open to others", func(t *testing.T, file string, _ *server.Config) { must(t, os.Chmod(file, 0o644)) }, "chmod 600"},
		{"garbage", func(t *testing.T, file string, _ *server.Config) {
			must(t, os.WriteFile(file, []byte("\x00garbage"), 0o600))
		}, "not a whole root key"},
		{"empty", func(t *testing.T, file string, _ *server.Config) { must(t, os.Truncate(file, 0)) }, "not a whole root key"},
		{"cut", func(t *testing.T, file string, _ *server.Config) { must(t, os.Truncate(file, 30)) }, "not a whole root key"},
		{"a directory", func(t *testing.T, file string, _ *server.Config) {
			must(t, os.Remove(file))
			must(t, os.Mkdir(file, 0o700))
		}, "root key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t)
			must(t, started(t, cfg))
			file := filepath.Join(cfg.DataDir, "root.key")
			kept, err := os.ReadFile(file)
			must(t, err)
			changed := cfg
			c.change(t, file, &changed)
			err = started(t, changed)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), strings.Fields(string(kept))[1]) || strings.Contains(err.Error(), strings.Fields(other)[1]) {
				t.Errorf("the error shows a key: %v", err)
			}
			must(t, os.RemoveAll(file))
			must(t, os.WriteFile(file, kept, 0o600))
			if err := started(t, cfg); err != nil {
				t.Errorf("with its own key again: %v", err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstStartMakesWhatIsNeededForItsOwnerOnly(t *testing.T) {
	var log servertest.Log
	cfg := config(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "new", "data")
	cfg.Log = slog.New(slog.NewJSONHandler(&log, nil))
	s, err := server.New(t.Context(), cfg)
	must(t, err)
	name, err := s.FirstKey(t.Context())
	must(t, err)
	key, err := os.ReadFile(name)
	must(t, err)
	if _, err := s.DB().Authenticate(t.Context(), secret.New(strings.TrimSpace(string(key)))); err != nil {
		t.Errorf("the first key opens nothing: %v", err)
	}
	if again, err := s.FirstKey(t.Context()); again != "" || err != nil {
		t.Errorf("a second first key: %q, %v", again, err)
	}
	must(t, s.Close())
	entries, err := os.ReadDir(cfg.DataDir)
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	root, err := os.ReadFile(filepath.Join(cfg.DataDir, "root.key"))
	must(t, err)
	for _, s := range []string{strings.TrimSpace(string(key)), strings.Fields(string(root))[1]} {
		if strings.Contains(log.String(), s) {
			t.Error("a key is logged")
		}
	}
	if !strings.Contains(log.String(), "back it up") {
		t.Errorf("the log does not say to back up the root key: %s", log.String())
	}
}

func TestTwoServersShareOneSQLiteFile(t *testing.T) {
	dir := t.TempDir()
	a := servertest.New(t, servertest.Setup{Config: func(c *server.Config) { c.DataDir = dir }})
	c := a.Connected(a.Profile, "42", "hazel")
	cfg := config(t)
	cfg.DataDir, cfg.Now, cfg.AllowPrivate = dir, a.Clock.Now, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b, err := server.New(t.Context(), cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- b.Run(ctx) }()
	defer func() {
		cancel()
		must(t, <-stopped)
	}()
	a.Clock.Advance(58 * time.Minute) // due: both are asked at once
	done := make(chan servertest.Answer)
	for i := range 40 {
		go func() {
			base := []string{a.URL, b.URL().String()}[i%2]
			done <- a.Do(a.Key, "POST", base+"/v1/assistants/support-bot/connections/"+string(c.ID)+"/token", nil)
		}()
	}
	tokens := map[string]bool{}
	for range 40 {
		var got struct {
			AccessToken string `json:"access_token"`
		}
		(<-done).Into(t, &got)
		tokens[got.AccessToken] = true
	}
	if n := a.Sim.Stats(); n.Refreshes != 1 || n.Duplicates != 0 || len(tokens) != 1 {
		t.Errorf("%d refreshes, %d of them with a spent token, %d tokens", n.Refreshes, n.Duplicates, len(tokens))
	}
	for i := range 20 {
		base := []string{a.URL, b.URL().String()}[i%2]
		if got := a.Do(a.Owner, "POST", base+"/v1/keys", map[string]string{"name": fmt.Sprint(i), "role": "viewer"}); got.Status != 201 {
			t.Errorf("status %d: %s", got.Status, got.Body)
		}
	}
}

func TestAGracefulStopFinishesWhatIsUnderWay(t *testing.T) {
	arrived, goOn := make(chan bool), make(chan bool)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first half, ")
		_ = http.NewResponseController(w).Flush()
		arrived <- true
		<-goOn
		_, _ = io.WriteString(w, "second half")
	}))
	defer app.Close()
	s := servertest.New(t, servertest.Setup{Profile: func(d *behalf.Definition) { d.API.BaseURL = app.URL }})
	s.Connected(s.Profile, "42", "hazel")
	answer := make(chan servertest.Answer, 1)
	go func() {
		answer <- s.Do(s.Key, "GET", "/v1/assistants/support-bot/proxy/acorn/x", nil, "Behalf-User", "42")
	}()
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop() }()
	refused := func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}
	for end := time.Now().Add(5 * time.Second); !refused(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("new connections are still taken")
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a call under way: %v", err)
	default:
	}
	close(goOn)
	if a := <-answer; a.Status != 200 || a.Body != "first half, second half" {
		t.Errorf("status %d: %q", a.Status, a.Body)
	}
	must(t, <-stopped)
}

func TestAGracefulStopWaitsForARefresh(t *testing.T) {
	dir := t.TempDir()
	s := servertest.New(t, servertest.Setup{Config: func(c *server.Config) { c.DataDir = dir }})
	c := s.Connected(s.Profile, "42", "hazel")
	s.Sim.Set(simulator.Switches{TokenDelayAfterMS: 500}) // the provider has rotated, and its answer takes a while
	s.Clock.Advance(58 * time.Minute)
	ctx, leave := context.WithCancel(t.Context())
	r := s.Request(s.Key, "POST", "/v1/assistants/support-bot/connections/"+string(c.ID)+"/token", nil).WithContext(ctx)
	gone := make(chan bool)
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
		}
	}()
	for s.Sim.Stats().Refreshes == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	leave() // the caller gives up, and then the server stops
	<-gone
	must(t, s.Stop())
	cfg := config(t)
	cfg.DataDir = dir
	again, err := server.New(t.Context(), cfg)
	must(t, err)
	defer func() { _ = again.Close() }()
	kept, err := again.DB().As(behalf.System("test")).Connection(t.Context(), c.ID)
	if err != nil || kept.Generation != 2 || kept.Status != behalf.ConnectionActive || !kept.IntentAt.IsZero() {
		t.Errorf("generation %d, %s, intent %v, %v", kept.Generation, kept.Status, kept.IntentAt, err)
	}
}

func TestAStopThatTakesTooLongCuts(t *testing.T) {
	arrived := make(chan bool, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { arrived <- true; <-r.Context().Done() }))
	defer app.Close()
	s := servertest.New(t, servertest.Setup{Config: func(c *server.Config) { c.StopTimeout = 200 * time.Millisecond }, Profile: func(d *behalf.Definition) { d.API.BaseURL = app.URL }})
	s.Connected(s.Profile, "42", "hazel")
	go func() {
		r := s.Request(s.Key, "GET", "/v1/assistants/support-bot/proxy/acorn/x", nil, "Behalf-User", "42")
		if res, err := http.DefaultClient.Do(r); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-arrived
	began := time.Now()
	must(t, s.Stop())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(s.Log.String(), "requests were cut off") {
		t.Error("the log does not say so")
	}
}

func TestReadinessFollowsTheDatabase(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	must(t, s.DB.Close())
	if a := s.Do("", "GET", "/readyz", nil); a.Status != 200 || !strings.Contains(string(a.Body), "degraded") {
		t.Errorf("/readyz while tokens are given out without it: status %d, %s", a.Status, a.Body)
	}
	s.Clock.Advance(6 * time.Minute)
	if a := s.Do("", "GET", "/readyz", nil); a.Status != 503 {
		t.Errorf("/readyz after the grace: status %d", a.Status)
	}
	if a := s.Do("", "GET", "/healthz", nil); a.Status != 200 {
		t.Errorf("/healthz: status %d", a.Status)
	}
	a := s.Do(s.Key, "GET", "/v1/assistants", nil)
	a.Problem(t, 503, behalf.CodeUnavailable)
	if strings.Contains(a.Body, "sql") {
		t.Errorf("%s", a.Body)
	}
}

func TestASlowSenderOfHeadersIsCut(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, servertest.Setup{})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	must(t, err)
	defer func() { _ = c.Close() }()
	go func() {
		for range 100 { // one header a moment, without an end
			if _, err := io.WriteString(c, "X-Slow: 1\r\n"); err != nil {
				return
			}
			time.Sleep(250 * time.Millisecond)
		}
	}()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
	began := time.Now()
	_ = c.SetReadDeadline(began.Add(20 * time.Second))
	if _, err := io.ReadAll(c); os.IsTimeout(err) || time.Since(began) > 15*time.Second {
		t.Errorf("still open after %v: %v", time.Since(began), err)
	}
}

func TestHeadersHaveABound(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	if a := s.Do("", "GET", "/healthz", nil, "X-Big", strings.Repeat("x", 100<<10)); a.Status != 431 {
		t.Errorf("status %d", a.Status)
	}
}

func TestTheLogHoldsNoSecretOfAPath(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	s.Connected(s.Profile, "42", "hazel")
	s.Secret("link-secret", "code-secret", "state-secret", "path-secret", "query-secret", "body-secret", "header-secret", "key-secret")
	for _, path := range []string{"/connect/link-secret", "/callback/prf_x?code=code-secret&state=state-secret", "/callback/link-secret/", "/v1/assistants/path-secret", "/path-secret?x=query-secret",
		"/v1/assistants/support-bot/proxy/acorn/echo/path-secret?x=query-secret", "/v1/assistants/support-bot/proxy/path-secret/x", "/v1/assistants?limit=query-secret", "/v1/assistants/support-bot/connections/path-secret"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			s.Do(s.Key, method, path, `{"x":"body-secret"}`, "Behalf-User", "42", "X-Secret", "header-secret", "Cookie", "a=header-secret")
			s.Do("bhf_key-secret", method, path, `body-secret`, "Behalf-User", "42")
		}
	}
	if !strings.Contains(s.Log.String(), `"pattern":"GET /connect/{link}"`) {
		t.Errorf("no request is logged: %.500s", s.Log.String())
	}
}

func TestAnApplicationsNameStaysInTheLogWithoutItsPath(t *testing.T) {
	s := servertest.New(t, servertest.Setup{Profile: func(d *behalf.Definition) { d.API.BaseURL = "http://127.0.0.1:1/base-secret" }})
	s.Connected(s.Profile, "42", "hazel")
	s.Secret("path-secret", "query-secret")
	s.Do(s.Key, "GET", "/v1/assistants/support-bot/proxy/acorn/path-secret?x=query-secret", nil, "Behalf-User", "42").Problem(t, 502, behalf.CodeProvider)
	if !strings.Contains(s.Log.String(), "call failed") {
		t.Error("the failure is not logged")
	}
}
