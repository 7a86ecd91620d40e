package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// stage is a server before an application of the test's own: it sees what
// arrives there.
type stage struct {
	*servertest.Server
	t   *testing.T
	app *app
	c   behalf.Connection
}

// app is an application. Without a handler it answers "fine".
type app struct {
	*httptest.Server
	mu      sync.Mutex
	seen    []seen
	handler http.HandlerFunc
}

// seen is a request as it arrived.
type seen struct {
	method, uri, host, body string
	header                  http.Header
	trailer                 http.Header
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	handler := a.handler
	a.mu.Unlock()
	if handler != nil {
		handler(w, r)
		return
	}
	a.note(r)
	_, _ = io.WriteString(w, "fine")
}

// note keeps a request with its whole body.
func (a *app) note(r *http.Request) seen {
	body, _ := io.ReadAll(r.Body)
	s := seen{r.Method, r.RequestURI, r.Host, string(body), r.Header.Clone(), r.Trailer.Clone()}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, s)
	return s
}

func (a *app) does(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handler = h
}

func (a *app) calls() []seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]seen(nil), a.seen...)
}

func (a *app) last(t *testing.T) seen {
	t.Helper()
	all := a.calls()
	if len(all) == 0 {
		t.Fatal("nothing arrived at the application")
	}
	return all[len(all)-1]
}

func (a *app) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = nil
}

const base = "/base"

// newStage is a stage whose profile has the application's API at base, and
// whose user 42 is connected.
func newStage(t *testing.T, change func(*behalf.Definition)) *stage {
	t.Helper()
	a := &app{}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	s := &stage{t: t, app: a}
	s.Server = servertest.New(t, servertest.Setup{Profile: func(d *behalf.Definition) {
		d.API.BaseURL = a.URL + base
		if change != nil {
			change(d)
		}
	}})
	s.c = s.Connected(s.Profile, "42", "hazel")
	return s
}

const at = "/v1/assistants/support-bot/proxy/acorn"

// call makes a call on behalf of user 42.
func (s *stage) call(method, path string, body any, headers ...string) servertest.Answer {
	s.t.Helper()
	return s.Do(s.Key, method, at+path, body, append([]string{"Behalf-User", "42"}, headers...)...)
}

// token is the access token in force.
func (s *stage) token() secret.Text {
	s.t.Helper()
	c, err := s.System.Connection(s.t.Context(), s.c.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	got, _, err := s.System.Secrets(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return got.AccessToken
}

// raw sends bytes as they are and returns what came back until the connection
// was closed or nothing came for a while.
func (s *stage) raw(text string) string {
	s.t.Helper()
	c := s.dial()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, text); err != nil {
		return ""
	}
	_ = c.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
	b, _ := io.ReadAll(c)
	return string(b)
}

func (s *stage) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// head is the head of a raw request to the proxy, without its end.
func (s *stage) head(method, target string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(s.URL, "http://") + "\r\nAuthorization: Bearer " + s.Key + "\r\nBehalf-User: 42\r\n"
}

// status reads the status of a raw answer.
func status(t *testing.T, answer string) int {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil {
		t.Fatalf("%v: %.300q", err, answer)
	}
	return res.StatusCode
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not come: %s", what)
		}
	}
}
