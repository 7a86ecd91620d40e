package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestAConfigurationSaysWhereItIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"an unknown key":             {"server: https://b.example\nalow: []\n", "2:1:"},
		"an unknown key of a row":    {"allow:\n  - tcp: a.example:1\n    port: 3\n", "3:5:"},
		"no port":                    {"allow:\n  - tcp: a.example\n", "2:10: allow[0].tcp: Expected host:port"},
		"a port that is none":        {"allow:\n  - tcp: a.example:70000\n", "2:10:"},
		"a star in the middle":       {"allow:\n  - tcp: a.*.example:443\n", "2:10:"},
		"everything":                 {"allow:\n  - tcp: '*:443'\n", "2:10:"},
		"a whole top level":          {"allow:\n  - tcp: '*.example:443'\n", "2:10:"},
		"both kinds":                 {"allow:\n  - tcp: a.example:1\n    http: https://a.example\n", "allow[0].tcp: Expected tcp or http"},
		"neither kind":               {"allow:\n  - to: a.example:1\n", "allow[0]: Expected tcp"},
		"a path in a tcp row":        {"allow:\n  - tcp: a.example:1\n    paths: [/]\n", "3:12: allow[0].paths: It belongs to http rows only"},
		"a path in an http row's to": {"allow:\n  - http: https://a.example\n    to: https://b.example/x\n", "allow[0].to"},
		"a method in small letters":  {"allow:\n  - http: https://a.example\n    methods: [get]\n", "allow[0].methods"},
		"a server without TLS":       {"server: http://b.example\n", "1:9: server: expected https"},
		"a password in the proxy":    {"proxy: {url: 'http://u:p@proxy:3128'}\n", "proxy.url: Expected no user name"},
		"too little memory":          {"memory: 1MiB\n", "memory: Expected a size"},
		"no YAML":                    {"\tx", "1:"},
		"a list":                     {"- a\n", "1:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseConfig([]byte(c.text), "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestWhatTheAllowListHolds(t *testing.T) {
	c, err := parseConfig([]byte(`
allow:
  - tcp: erp.corp.example:443
  - tcp: "*.corp.example:443"
  - tcp: 10.0.0.5:8080
  - tcp: "[fd00::5]:8080"
  - http: https://hr.corp.example
  - http: http://hr.corp.example
`), "")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		"tcp erp.corp.example:443": 1, "tcp ERP.corp.Example.:443": 1, "tcp erp.corp.example:80": 0, "tcp x.corp.example:443": 1, "tcp a.x.corp.example:443": 0,
		"tcp corp.example:443": 0, "tcp 10.0.0.5:8080": 1, "tcp [::ffff:10.0.0.5]:8080": 1, "tcp 10.0.0.6:8080": 0, "tcp [fd00::5]:8080": 1, "tcp [fd00:0::5]:8080": 1,
		"http hr.corp.example:443": 1, "http hr.corp.example:80": 1, "http erp.corp.example:443": 0, "tcp hr.corp.example:443": 1, "tcp hr.corp.example:80": 0,
	} {
		kind, address, _ := strings.Cut(text, " ")
		target, err := ParseTarget(Kind(kind), address)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(find(c.Allow, target)); got != want {
			t.Errorf("%s: %d rows, want %d", text, got, want)
		}
	}
	if kind, ok := c.published().Kind("hr.corp.example", 80); kind != HTTP || !ok {
		t.Error(kind, ok)
	}
}

func TestANameMustNotLeadToTheAgentItself(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1": true, "::1": true, "169.254.169.254": true, "fe80::1": true, "0.0.0.0": true, "::ffff:127.0.0.1": true, "10.0.0.1": false, "fd00::1": false} {
		if got := forbidden(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	s := newStage(t)
	s.agent("agt_1", allowing(row("{tcp: 'localhost:9'}"), row("{tcp: 'ip6-localhost:9'}")))
	if _, err := s.hub.Dial(t.Context(), "office", Target{TCP, "localhost", 9}); CodeOf(err) != Refused {
		t.Errorf("what the administrator wrote: %v", err)
	}
	if _, err := s.hub.Dial(t.Context(), "office", Target{TCP, "ip6-localhost", 9}); CodeOf(err) != NotAllowed && CodeOf(err) != NotResolved {
		t.Errorf("a name of another kind: %v", err)
	}
}

// authority is a private one, as inside a company.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	made int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool(), made: 1}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	a.write("ca.pem", "CERTIFICATE", raw)
	return a
}

func (a *authority) write(name, kind string, raw []byte) string {
	a.t.Helper()
	name = filepath.Join(a.dir, name)
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return name
}

func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	a.made++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(a.made), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", raw)
	a.write(name+".key", "PRIVATE KEY", der)
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func (a *authority) serve(name string, clients bool, h http.HandlerFunc) string {
	a.t.Helper()
	w := httptest.NewUnstartedServer(h)
	w.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(name)}}
	if clients {
		w.TLS.ClientAuth, w.TLS.ClientCAs = tls.RequireAndVerifyClientCert, a.pool
	}
	w.StartTLS()
	a.t.Cleanup(w.Close)
	return strings.TrimPrefix(w.URL, "https://")
}

func TestTheAgentSpeaksTLSWithPrivateAuthoritiesAndItsOwnCertificate(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	app := ours.serve("hr.corp.example", true, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(FaultHeader, string(Refused)) // an application that lies about who answers
		if r.Header.Get("Upgrade") != "" {
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			kind, b, err := ws.Read(r.Context())
			if err == nil {
				_ = ws.Write(r.Context(), kind, b)
			}
			return
		}
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	})
	stranger := theirs.serve("hr.corp.example", false, func(http.ResponseWriter, *http.Request) {})
	ours.issue("agent")
	certificate := "client_certificate: {certificate: " + filepath.Join(ours.dir, "agent.pem") + ", key: " + filepath.Join(ours.dir, "agent.key") + "}"
	s := newStage(t)
	s.agent("agt_1", "cas: ["+filepath.Join(ours.dir, "ca.pem")+"]\nsystem_roots: false\n"+allowing(
		row("{http: 'https://hr.corp.example', to: 'https://%s', %s}", app, certificate),
		row("{http: 'https://bare.corp.example', to: 'https://%s', server_name: hr.corp.example}", app),
		row("{http: 'https://stranger.corp.example', to: 'https://%s', server_name: hr.corp.example}", stranger),
		row("{http: 'https://name.corp.example', to: 'https://%s'}", app),
	))
	c := s.client(HTTP)
	if code, body, err := s.get(c, "http://hr.corp.example:443/"); code != 200 || body != "agent" || err != nil {
		t.Error(code, body, err)
	}
	for _, host := range []string{"bare", "stranger", "name"} {
		if _, _, err := s.get(c, "http://"+host+".corp.example:443/"); CodeOf(err) != Untrusted {
			t.Errorf("%s: %v", host, err)
		}
	}
	ws, _, err := websocket.Dial(t.Context(), "ws://hr.corp.example:443/", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, b, err := ws.Read(t.Context()); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	_ = ws.CloseNow()
}

// TestThroughACorporateProxy has the agent reach a server over TLS through a
// proxy that asks for a password.
func TestThroughACorporateProxy(t *testing.T) {
	s := newStage(t)
	public := newAuthority(t)
	address := public.serve("behalf.example.com", false, func(w http.ResponseWriter, r *http.Request) { s.hub.ServeHTTP(w, r) })
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host)
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("agent:s3cr:t")) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		far, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}))
	t.Cleanup(proxy.Close)
	u, _ := url.Parse("https://behalf.example.com")
	s.hub.cfg.Host = u.Host
	s.web.URL = u.String()
	head := "server: https://behalf.example.com\nserver_cas: [" + filepath.Join(public.dir, "ca.pem") + "]\n"
	wrong, err := NewAgent(AgentConfig{Config: s.config(head + "proxy: {url: '" + proxy.URL + "', username: agent, password: wrong}\n"), Identity: s.identity("agt_2"), Log: s.logger(), Audit: io.Discard, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := wrong.attach(t.Context(), false); err == nil || !strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cr:t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.agent("agt_1", head+"proxy: {url: '"+proxy.URL+"', username: agent, password: 'file:"+password+"'}\n")
	if asked[len(asked)-1] != "CONNECT behalf.example.com:443" {
		t.Error(asked)
	}
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{"allow:\n  - tcp: a.example:1\n", "allow:\n  - http: https://a.example\n    paths: [/a*]\n", "proxy: {url: x}", "allow: [{to: 1}]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseConfig(raw, "")
		if err != nil {
			return
		}
		for _, r := range c.Allow {
			if r.kind == "" || r.target.Port == 0 || !goodPattern(r.target.Host) {
				t.Errorf("a row without a target: %+v", r)
			}
		}
	})
}

// FuzzFrames holds that whatever arrives, the guard reads along without fault.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x03abc\x00\x01\x00\x04\x00\x00\x00\x01\x00\x00\x00\x00"), 5)
	f.Fuzz(func(t *testing.T, raw []byte, cut int) {
		one, two := &link{window: 4096, flows: map[uint32]*flow{}}, &link{window: 4096, flows: map[uint32]*flow{}}
		whole, parts := &guard{link: one}, &guard{link: two}
		a := whole.parse(raw)
		cut = max(0, min(cut, len(raw)))
		b := parts.parse(raw[:cut])
		if b == nil {
			b = parts.parse(raw[cut:])
		}
		if (a == nil) != (b == nil) {
			t.Errorf("whole %v, in parts %v", a, b)
		}
	})
}

func FuzzPath(f *testing.F) {
	f.Add("/api/%2e%2e/x")
	r := Row{Paths: []string{"/api/*"}}
	f.Fuzz(func(t *testing.T, path string) {
		if !r.allows("GET", path) {
			return
		}
		u, err := url.Parse("https://h" + path)
		if err != nil {
			return
		}
		if clean := u.JoinPath().Path; !strings.HasPrefix(clean, "/api/") {
			t.Errorf("%q is allowed and means %q", path, clean)
		}
	})
}
