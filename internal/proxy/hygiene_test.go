package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func TestWhatIsOursNeverReachesTheApplication(t *testing.T) {
	s := newStage(t, nil)
	a := s.call("POST", "/x?q=1", "hello", "Cookie", "session=mine", "Behalf-Tenant", "", "Behalf-Anything", "x", "behalf-variables", "e30", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil.example",
		"X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/p", "Forwarded", "for=1.2.3.4", "X-Real-Ip", "1.2.3.4", "Via", "1.1 x", "Proxy-Authorization", "Basic eA==", "Proxy-Connection", "keep-alive",
		"Keep-Alive", "timeout=5", "Te", "trailers", "Connection", "X-Hop, close", "X-Hop", "1", "Referer", s.URL+"/private", "Origin", s.URL, "X-Mine", "stays", "User-Agent", "bot/1", "Accept", "text/csv", "Idempotency-Key", "k")
	if a.Status != 200 {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	got := s.app.last(t)
	var text strings.Builder
	_ = got.header.Write(&text)
	for _, no := range []string{s.Key, "Behalf", "behalf", "session=mine", "1.2.3.4", "evil.example", "127.0.0.1", "X-Forwarded", "Forwarded", "Proxy-", "Keep-Alive", "X-Hop", "/private", "Origin"} {
		if strings.Contains(text.String()+got.uri, no) {
			t.Errorf("the application got %q:\n%s", no, text.String())
		}
	}
	if "http://"+got.host != s.app.URL {
		t.Errorf("Host is %q", got.host)
	}
	for name, want := range map[string]string{"X-Mine": "stays", "User-Agent": "bot/1", "Accept": "text/csv", "Idempotency-Key": "k"} {
		if got.header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.body != "hello" || got.uri != base+"/x?q=1" {
		t.Errorf("%s %q", got.uri, got.body)
	}
	s.call("GET", "/x", nil, "User-Agent", "")
	if agent := s.app.last(t).header["User-Agent"]; agent != nil {
		t.Errorf("a User-Agent was made up: %v", agent)
	}
	if encoding := s.app.last(t).header.Get("Accept-Encoding"); encoding != "gzip" { // of the test's own client
		t.Errorf("Accept-Encoding is %q", encoding)
	}
}

func TestWhatWouldActOnOurOriginNeverComesBack(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range map[string]string{"Set-Cookie": "a=b", "Strict-Transport-Security": "max-age=1", "Content-Security-Policy": "script-src *", "Clear-Site-Data": `"*"`, "Alt-Svc": "h3=:1",
			"Service-Worker-Allowed": "/", "Behalf-Error": "forged", "Public-Key-Pins": "x", "Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "1", "Proxy-Authenticate": "Basic", "X-Theirs": "stays", "Etag": `"1"`, "Content-Type": "text/html"} {
			h.Set(name, value)
		}
		h.Add("Set-Cookie", "c=d")
		_, _ = io.WriteString(w, "<script>alert(1)</script>")
	})
	a := s.call("GET", "/", nil)
	for _, no := range []string{"Set-Cookie", "Strict-Transport-Security", "Clear-Site-Data", "Alt-Svc", "Service-Worker-Allowed", "Behalf-Error", "Public-Key-Pins", "X-Hop", "Keep-Alive", "Proxy-Authenticate"} {
		if a.Header.Get(no) != "" {
			t.Errorf("%s came back", no)
		}
	}
	if a.Header.Get("Content-Security-Policy") != "sandbox" || a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("X-Theirs") != "stays" || a.Header.Get("Etag") != `"1"` {
		t.Errorf("%v", a.Header)
	}
}

func TestAnswersComeBackAsTheyAre(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case base + "/redirect":
			w.Header().Set("Location", "https://elsewhere.example/?code=1")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case base + "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(304)
		case base + "/204":
			w.WriteHeader(204)
		case base + "/teapot":
			w.WriteHeader(418)
			_, _ = io.WriteString(w, "short and stout")
		case base + "/500":
			w.WriteHeader(500)
		case base + "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte{0x1f, 0x8b, 1, 2, 3})
		case base + "/length":
			w.Header().Set("Content-Length", "5")
			if r.Method != "HEAD" {
				_, _ = io.WriteString(w, "12345")
			}
		}
	})
	for _, c := range []struct {
		method, path string
		status       int
		header, want string
		body         string
	}{
		{"GET", "/redirect", 307, "Location", "https://elsewhere.example/?code=1", ""},
		{"GET", "/304", 304, "Etag", `"x"`, ""},
		{"DELETE", "/204", 204, "Location", "", ""},
		{"BREW", "/teapot", 418, "Location", "", "short and stout"},
		{"GET", "/500", 500, "Location", "", ""},
		{"GET", "/gzip", 200, "Content-Encoding", "gzip", "\x1f\x8b\x01\x02\x03"},
		{"HEAD", "/length", 200, "Content-Length", "5", ""},
		{"GET", "/length", 200, "Content-Length", "5", "12345"},
	} {
		a := s.call(c.method, c.path, nil, "Accept-Encoding", "identity")
		if a.Status != c.status || a.Header.Get(c.header) != c.want || a.Body != c.body || a.Header.Get("Behalf-Error") != "" {
			t.Errorf("%s %s: status %d, %s %q, body %q", c.method, c.path, a.Status, c.header, a.Header.Get(c.header), a.Body)
		}
	}
}

func TestTrailersOfAnswersAndEarlyAnswersPass(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(func(w http.ResponseWriter, r *http.Request) {
		s.app.note(r)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	})
	r := s.Request(s.Key, "POST", at+"/x", io.MultiReader(strings.NewReader("body")), "Behalf-User", "42")
	r.Trailer = http.Header{"X-Sent": {"7"}}
	a := s.Send(r)
	if a.Status != 200 || a.Trailer.Get("X-Sum") != "42" {
		t.Errorf("status %d, trailer %v", a.Status, a.Trailer)
	}
	if got := s.app.last(t); len(got.trailer) != 0 || got.body != "body" {
		t.Errorf("the application got trailer %v, body %q", got.trailer, got.body)
	}
	early := s.raw(s.head("GET", at+"/x") + "Connection: close\r\n\r\n")
	if !strings.HasPrefix(early, "HTTP/1.1 103 ") || !strings.Contains(early, "HTTP/1.1 200 ") {
		t.Errorf("no early hints: %.200q", early)
	}
}

func TestNoPathLeavesTheAPI(t *testing.T) {
	s := newStage(t, nil)
	for path, want := range map[string]string{
		"":                   base + "/",
		"/":                  base + "/",
		"/a/b":               base + "/a/b",
		"/a%2fb":             base + "/a%2fb",
		"/a%2Fb%20c":         base + "/a%2Fb%20c",
		"//a":                base + "/a",
		"/a//b":              base + "/a//b",
		"/a;b=c/d":           base + "/a;b=c/d",
		"/a:b@c":             base + "/a:b@c",
		"/http://evil.test/": base + "/http://evil.test/",
		"/..a/b..":           base + "/..a/b..",
		"/?a=/../b":          base + "/?a=/../b",
		"/?":                 base + "/",
		"/a?b=c?d&&e":        base + "/a?b=c?d&e",
		"/%C3%BC":            base + "/%C3%BC",
		"/a'()*!$,b":         base + "/a'()*!$,b",
		// What a server that decodes too much would take for a way up is refused.
		"/..":              "",
		"/../x":            "",
		"/a/../../x":       "",
		"/./x":             "",
		"/%2e%2e/x":        "",
		"/.%2E/x":          "",
		"/%2e/x":           "",
		"/..;/x":           "",
		"/..;a=b/x":        "",
		"/..%2fx":          "",
		"/a%2f..%2fx":      "",
		"/..%5cx":          "",
		"/%2e%2e%5c%2e./x": "",
	} {
		s.app.forget()
		answer := s.raw(s.head("GET", at+path) + "Connection: close\r\n\r\n")
		switch calls := s.app.calls(); {
		case want == "" && (len(calls) != 0 || status(t, answer) != 422 && status(t, answer) != 400):
			t.Errorf("%s: %d calls, %.60q", path, len(calls), answer)
		case want != "" && (len(calls) != 1 || calls[0].uri != want || "http://"+calls[0].host != s.app.URL):
			t.Errorf("%s: %d calls, %+v, want %s; %.60q", path, len(calls), calls, want, answer)
		}
	}
}

func TestOtherTargetsAreRefused(t *testing.T) {
	s := newStage(t, nil)
	host := strings.TrimPrefix(s.app.URL, "http://")
	for _, target := range []string{"http://" + host + "/x", "http://" + strings.TrimPrefix(s.URL, "http://") + at + "/x", "https://evil.example" + at + "/x", host, "*", "?" + at, "evil.example:443",
		"/v1/assistants/support-bot/proxy", "/v1/assistants/support-bot/proxy/", "/v1/assistants/support-bot/proxy//x", "/v1/assistants//proxy/acorn/x", "/v1/assistants/support-bot/x/proxy/acorn/x",
		"/v1/assistants/support-bot//proxy/acorn/x", "/v1/assistants/support-bot/../support-bot/proxy/acorn/x", "/v1//assistants/support-bot/proxy/acorn/x", "//v1/assistants/support-bot/proxy/acorn/x",
		"/v1/assistants/%2e%2e/proxy/acorn/x", "/v1/assistants/support-bot/proxy/%2e%2e/x"} {
		for _, method := range []string{"GET", "CONNECT", "POST"} {
			answer := s.raw(s.head(method, target) + "Content-Length: 0\r\nConnection: close\r\n\r\n")
			if answer != "" && status(t, answer) < 300 {
				t.Errorf("%s %s: %.80q", method, target, answer)
			}
		}
	}
	if calls := s.app.calls(); len(calls) != 0 {
		t.Errorf("the application was called: %+v", calls)
	}
}

func TestOneRequestIsOneRequest(t *testing.T) {
	s := newStage(t, nil)
	hidden := "GET " + base + "/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]string{
		"two lengths":                    "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + hidden,
		"two lengths in one":             "Content-Length: 5, 6\r\n\r\nhello" + hidden,
		"a length and chunks":            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks and a length":            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"chunks twice":                   "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks of another kind":         "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"identity and chunks":            "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a space before the colon":       "Content-Length : 5\r\n\r\nhello" + hidden,
		"a negative length":              "Content-Length: -1\r\n\r\n" + hidden,
		"a length with a plus":           "Content-Length: +5\r\n\r\nhello" + hidden,
		"a length that is too long":      "Content-Length: 99999999999999999999\r\n\r\n" + hidden,
		"a folded header":                "X-Fold: a\r\n\tContent-Length: 5\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a folded length":                "Content-Length:\r\n 0\r\n\r\n" + hidden,
		"a bare CR in a header":          "X-A: b\rContent-Length: 5\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a NUL in a header":              "X-A: b\x00c\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a header without a name":        ": b\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a length in Connection":         "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
		"a bad chunk length":             "Transfer-Encoding: chunked\r\n\r\n5;\n\r\nhello\r\n0\r\n\r\n" + hidden,
		"a chunk that is longer":         "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n" + hidden,
		"two hosts":                      "Host: evil.example\r\nContent-Length: 0\r\n\r\n" + hidden,
		"Authorization in Connection":    "Connection: Authorization, Behalf-User\r\nContent-Length: 0\r\n\r\n",
		"a body behind an upgrade to h2": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 0\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			s.app.forget()
			_ = s.raw(s.head("POST", at+"/seen") + c)
			time.Sleep(5 * time.Millisecond)
			for _, call := range s.app.calls() {
				if call.uri != base+"/seen" || "http://"+call.host != s.app.URL || call.header.Get("X-Evil") != "" {
					t.Errorf("the application got %s %s", call.method, call.uri)
				}
				if got := call.header.Get("Authorization"); got != "Bearer "+s.token().Reveal() {
					t.Error("without its credential")
				}
			}
			if n := len(s.app.calls()); n > 1 {
				t.Errorf("the application got %d requests", n)
			}
		})
	}
}

func TestAnApplicationThatCannotBeReached(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	stranger := httptest.NewTLSServer(http.NotFoundHandler()) // of a CA that nobody knows
	defer stranger.Close()
	stranger.Config.ErrorLog = nil
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = garbage.Close() }()
	go func() {
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH\r\n")
			_ = c.Close()
		}
	}()
	for _, c := range []struct {
		name, url string
		status    int
		code      behalf.Code
	}{
		{"nobody listens", "http://" + closed.Addr().String(), 502, behalf.CodeProvider},
		{"a certificate that nobody knows", stranger.URL, 502, behalf.CodeProvider},
		{"a name that does not exist", "http://nothing.invalid", 502, behalf.CodeProvider},
		{"not HTTP", "http://" + garbage.Addr().String(), 502, behalf.CodeProvider},
		{"a private address", "http://10.0.0.1", 403, behalf.CodeForbidden},
		{"the metadata address", "http://169.254.169.254/latest", 403, behalf.CodeForbidden},
		{"an address in decimal", "http://2852039166/latest", 403, behalf.CodeForbidden},
		{"IPv4 in IPv6", "http://[::ffff:10.0.0.1]", 403, behalf.CodeForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := servertest.New(t, servertest.Setup{})
			d := s.Definition("Elsewhere")
			d.API.BaseURL = c.url
			p, err := s.System.CreateProfile(t.Context(), behalf.Profile{Assistant: s.Assistant.ID, Definition: d})
			if c.name == "an address in decimal" { // refused before there is a profile to call with
				if e := (*behalf.Error)(nil); !errors.As(err, &e) || e.Field != "api.base_url" {
					t.Errorf("a profile is made of it: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.Connected(p, "42", "hazel")
			a := s.Do(s.Key, "GET", "/v1/assistants/support-bot/proxy/elsewhere/x", nil, "Behalf-User", "42")
			a.Problem(t, c.status, c.code)
			for _, no := range []string{"127.0.0.1", "10.0.0.1", "169.254", "dial", "tcp", "x509"} {
				if strings.Contains(a.Body, no) {
					t.Errorf("the answer says %q: %s", no, a.Body)
				}
			}
		})
	}
}

func TestPrivateAddressesAreOpenedByTheOperatorAlone(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inside") }))
	defer app.Close()
	s := servertest.New(t, servertest.Setup{Config: func(c *server.Config) { c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		Profile: func(d *behalf.Definition) { d.API.BaseURL = app.URL }})
	s.Connected(s.Profile, "42", "hazel")
	p := s.Do(s.Key, "GET", at+"/x", nil, "Behalf-User", "42").Problem(t, 403, behalf.CodeForbidden)
	if !strings.Contains(p.Detail, "loopback") {
		t.Errorf("detail %q", p.Detail)
	}
}

// upgraded is the application's end of a WebSocket that echoes lines.
func upgraded(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nSet-Cookie: a=b\r\nX-Bearer: %t\r\n\r\n", strings.HasPrefix(r.Header.Get("Authorization"), "Bearer acorn_"))
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, "echo "+line); err != nil {
			return
		}
	}
}

func TestAWebSocketPassesBothWays(t *testing.T) {
	s := newStage(t, nil)
	s.app.does(upgraded)
	c := s.dial()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, s.head("GET", at+"/ws")+"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("X-Bearer") != "true" || res.Header.Get("Set-Cookie") != "" {
		t.Fatalf("%v, %v", res, err)
	}
	for i := range 100 {
		if _, err := fmt.Fprintf(c, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
		if line, err := r.ReadString('\n'); err != nil || line != fmt.Sprintf("echo line %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
	}
	_ = c.Close()
}

func TestAnUpgradeThatIsRefusedIsAnAnswer(t *testing.T) {
	s := newStage(t, nil)
	answer := s.raw(s.head("GET", at+"/ws") + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if status(t, answer) != 200 || !slices.Contains(s.app.last(t).header["Upgrade"], "websocket") {
		t.Errorf("%.200q", answer)
	}
}
