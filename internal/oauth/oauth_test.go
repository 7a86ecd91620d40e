package oauth_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// oddSecret breaks clients that do not encode, and ones that encode wrongly.
const oddSecret = "s3cr:t/+ %x"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// transcript is what a server does once: it answers, and keeps what it was asked.
type transcript struct {
	status int // 0: 200
	header http.Header
	body   string
	handle http.HandlerFunc // instead of the above

	requests []*http.Request // bodies read into Form or sent
	sent     string
}

func (s *transcript) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.sent = string(b)
	r.Body = io.NopCloser(strings.NewReader(s.sent))
	_ = r.ParseForm()
	s.requests = append(s.requests, r)
	if s.handle != nil {
		s.handle(w, r)
		return
	}
	for name, values := range s.header {
		w.Header()[name] = values
	}
	w.WriteHeader(cmp.Or(s.status, http.StatusOK))
	_, _ = io.WriteString(w, s.body)
}

func (s *transcript) last(t *testing.T) *http.Request {
	t.Helper()
	if len(s.requests) != 1 {
		t.Fatalf("the server was asked %d times, want once", len(s.requests))
	}
	return s.requests[0]
}

// serve starts the server and returns a client of it that has every URL.
func serve(t *testing.T, s http.Handler) oauth.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return oauth.Client{
		HTTP: &http.Client{Timeout: 10 * time.Second},
		Config: oauth.Config{
			ClientID:         "client:1",
			ClientSecret:     secret.New(oddSecret),
			AuthorizationURL: server.URL + "/authorize",
			TokenURL:         server.URL + "/token",
			UserinfoURL:      server.URL + "/userinfo",
			RevocationURL:    server.URL + "/revoke",
			JWKSURL:          server.URL + "/jwks",
			Issuer:           server.URL,
			RedirectURI:      "https://behalf.example/callback/prf_1",
			Scopes:           []string{"read", "write"},
			Now:              func() time.Time { return noon },
		},
	}
}

func wantError(t *testing.T, err error, kind oauth.Kind) *oauth.Error {
	t.Helper()
	var e *oauth.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want an *oauth.Error of kind %s", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("kind %q of %v, want %q", e.Kind, err, kind)
	}
	return e
}

// wantSilence fails where a printed error holds one of the secrets.
func wantSilence(t *testing.T, err error, secrets ...string) {
	t.Helper()
	var e *oauth.Error
	if !errors.As(err, &e) {
		t.Fatalf("no *oauth.Error: %v", err)
	}
	printed := fmt.Sprintf("%v %+v %s | %s %s %s %s", err, err, fmt.Errorf("x: %w", err), e.Reason, e.Code, e.Description, e.URI)
	for _, s := range secrets {
		for _, spelling := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			if strings.Contains(printed, spelling) {
				t.Fatalf("the error tells a secret:\n%s", printed)
			}
		}
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Fatalf("%s\n got %s\nwant %s", what, g, w)
	}
}

func TestKindOfLooksThroughWrapping(t *testing.T) {
	err := fmt.Errorf("broker: %w", &oauth.Error{Kind: oauth.Limited})
	equal(t, "kinds", []oauth.Kind{oauth.KindOf(err), oauth.KindOf(io.EOF), oauth.KindOf(nil)}, []oauth.Kind{oauth.Limited, "", ""})
}

func TestValidPointer(t *testing.T) {
	for pointer, want := range map[string]bool{
		"/a": true, "/a/0/b~0~1": true, "/": true, "": false, "a": false, "/a~": false, "/a~2": false,
	} {
		equal(t, pointer, oauth.ValidPointer(pointer), want)
	}
}
