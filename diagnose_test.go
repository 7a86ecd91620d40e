package behalf_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/oauth"
	"github.com/behalf-dev/behalf/internal/secret"
)

// asked asks a token endpoint over egress, as a run does, and returns the step.
func asked(t *testing.T, cfg egress.Config, address string, c behalf.Circumstances) behalf.TranscriptStep {
	t.Helper()
	cfg.Now, cfg.AllowPrivate = time.Now, append(cfg.AllowPrivate, netip.MustParsePrefix("127.0.0.0/8"))
	out := egress.New(cfg)
	defer out.Close()
	rec := &egress.Recorder{Secrets: []secret.Text{secret.New("s3cret-of-the-client")}}
	client := oauth.Client{HTTP: out.Client(egress.ClientOptions{}), Config: oauth.Config{ClientID: "bot", ClientSecret: secret.New("s3cret-of-the-client"), TokenURL: address, Now: time.Now}}
	_, err := client.Exchange(egress.WithRecorder(t.Context(), rec), secret.New("c0de-of-the-person"), oauth.NewAttempt())
	if err == nil {
		t.Fatal("it did not fail")
	}
	steps := behalf.Ran(behalf.StepTokenRequest, "Token request", time.Now(), 0, rec.Transcript().Exchanges, err, c)
	return steps[len(steps)-1]
}

// secured is a TLS server with a certificate of its own.
func secured(t *testing.T, change func(*x509.Certificate)) *httptest.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestWhatIsWrongOnTheWayIsSaidInPlainWords(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	connector := "berlin"
	carried := &behalf.Plan{Definition: behalf.Definition{Connector: &connector}}
	down := func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("connector: not connected")
	}
	for name, w := range map[string]struct {
		address string
		egress  egress.Config
		given   behalf.Circumstances
		code    string
		who     behalf.Responsible
		cause   string
	}{
		"a certificate of another name":   {address: secured(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"login.acorn.example"} }).URL, code: "tls_name", who: behalf.ByAdministrator, cause: "another name"},
		"a certificate that has expired":  {address: secured(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }).URL, code: "tls_expired", who: behalf.ByProvider, cause: "expired"},
		"a certificate of unknown origin": {address: secured(t, func(*x509.Certificate) {}).URL, code: "tls_authority", who: behalf.ByOperator, cause: "does not know"},
		"a port that does not speak TLS":  {address: strings.Replace(plain.URL, "http:", "https:", 1), code: "tls_plain", who: behalf.ByAdministrator, cause: "does not speak TLS"},
		"a name that does not exist":      {address: "https://nowhere.invalid/token", code: "dns", who: behalf.ByAdministrator, cause: "nowhere.invalid"},
		"a tenant that does not exist":    {address: "https://oak.nowhere.invalid/token", given: behalf.Circumstances{Tenant: "oak"}, code: "wrong_tenant", who: behalf.ByPerson, cause: "oak.nowhere.invalid"},
		"a port where nothing listens":    {address: "http://127.0.0.1:1/token", code: "connection_refused", who: behalf.ByAdministrator, cause: "127.0.0.1:1"},
		"an address inside":               {address: "http://169.254.169.254/token", code: "blocked_address", who: behalf.ByOperator, cause: "cloud metadata address"},
		"a server that says nothing":      {address: "http://" + silent.Addr().String() + "/token", egress: egress.Config{Timeout: 300 * time.Millisecond}, code: "timeout", who: behalf.ByProvider, cause: "in time"},
		"a connector that is not there":   {address: "https://login.intranet/token", egress: egress.Config{Dial: down}, given: behalf.Circumstances{Plan: carried}, code: "connector_down", who: behalf.ByOperator, cause: `"berlin"`},
		"an answer that is far too large": {address: httptestServer(t, strings.Repeat("x", 4096)), egress: egress.Config{MaxBody: 1024}, code: "too_large", who: behalf.ByAdministrator, cause: "far larger"},
		"something else at a redirect":    {address: redirecting(t), code: "redirected", who: behalf.ByAdministrator, cause: "https://www.acorn.example/login"},
	} {
		t.Run(name, func(t *testing.T) {
			got := asked(t, w.egress, w.address, w.given)
			if got.Code != w.code || got.Who != w.who || !strings.Contains(got.Cause, w.cause) || got.Fix == "" || got.Status != behalf.StepFailed {
				t.Errorf("it says %s (%s): %s %s [%s, %s]", got.Code, got.Who, got.Cause, got.Fix, got.Detail, got.Error)
			}
		})
	}
}

func httptestServer(t *testing.T, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	t.Cleanup(s.Close)
	return s.URL
}

func redirecting(t *testing.T) string {
	s := httptest.NewServer(http.RedirectHandler("https://www.acorn.example/login", http.StatusFound))
	t.Cleanup(s.Close)
	return s.URL
}

// TestARequestThatIsCopiedDoesTheSame runs a step's command with curl: what was
// sent then is sent again, with the secrets from variables.
func TestARequestThatIsCopiedDoesTheSame(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	var user, password, body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		b, _ := io.ReadAll(r.Body)
		body = string(b)
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer s.Close()
	step := asked(t, egress.Config{}, s.URL+"/token?it's=$HOME", behalf.Circumstances{})
	first := body
	command := step.Curl()
	for _, hidden := range []string{"s3cret-of-the-client", "c0de-of-the-person"} {
		if strings.Contains(command, hidden) {
			t.Fatalf("a secret in the command: %s", command)
		}
	}
	file := filepath.Join(t.TempDir(), "again.sh")
	if err := os.WriteFile(file, []byte(command), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "sh", file)
	run.Env = append(os.Environ(), "CLIENT_ID=bot", "CLIENT_SECRET=s3cret-of-the-client", "CODE=c0de-of-the-person", "CODE_VERIFIER=v3rifier")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, command)
	}
	verifier := body[strings.Index(body, "code_verifier=")+len("code_verifier="):]
	verifier, _, _ = strings.Cut(verifier, "&")
	was := first[strings.Index(first, "code_verifier=")+len("code_verifier="):]
	was, _, _ = strings.Cut(was, "&")
	if user != "bot" || password != "s3cret-of-the-client" || body != strings.Replace(first, was, "v3rifier", 1) || verifier != "v3rifier" {
		t.Errorf("%s:%s sent %s, and before %s\n%s", user, password, body, first, command)
	}
}
