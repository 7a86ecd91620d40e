package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// newcomer is a provider that differs from the RFCs in most of what it does,
// with its API on another host, and all that is written to connect it.
type newcomer struct {
	*simulator.Simulator
	profile map[string]any
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{Simulator: simulator.New(simulator.Config{
		Users:   []simulator.User{{Name: "hazel", Password: secret.New("acorns-of-last-autumn"), Subject: "u-1", FullName: "Hazel Birch"}},
		Clients: []simulator.Client{{ID: "bot", Secret: secret.New("newcomer-s3cr:t"), Name: "Support Bot"}},
	})}
	front := httptest.NewServer(n)
	t.Cleanup(front.Close)
	api := httptest.NewTLSServer(n)
	t.Cleanup(api.Close)
	trust(t, api)
	text, err := os.ReadFile("testdata/newcomer.yaml")
	if err != nil {
		t.Fatal(err)
	}
	host := func(address string) string { return address[strings.Index(address, "//")+2:] }
	filled := strings.NewReplacer("${provider}", front.URL, "${provider_host}", host(front.URL), "${api}", api.URL, "${api_host}", host(api.URL)).Replace(string(text))
	var doc struct{ Dialect, Profile map[string]any }
	if err := yaml.Unmarshal([]byte(filled), &doc); err != nil {
		t.Fatal(err)
	}
	sw := simulator.Switches{Dialect: &simulator.Dialect{}}
	raw, err := json.Marshal(doc.Dialect)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(sw.Dialect); err != nil {
		t.Fatal(err)
	}
	n.Set(sw)
	n.profile = doc.Profile
	n.profile["client_secret"] = "newcomer-s3cr:t"
	return n
}

// trust makes the server's certificate one that processes of this test trust.
func trust(t *testing.T, s *httptest.Server) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
}

// TestAProviderThatNobodyKnowsIsAddedByDataAlone takes a person through
// Chromium to a provider with a route behind #, commas between scopes, JSON
// token requests, a nested reply that names the API's host, and 403 for a token
// that has ended.
func TestAProviderThatNobodyKnowsIsAddedByDataAlone(t *testing.T) {
	n := newNewcomer(t)
	s := newStage(t, "sqlite")
	bot := s.assistant(nil)
	reserved := bot.reserve()
	if err := n.AddRedirectURI("bot", reserved.CallbackURL); err != nil {
		t.Fatal(err)
	}
	made := bot.define(reserved, n.profile)

	p := s.watch(t, browser.New(t, browser.Options{}))
	p.Open(bot.begin(map[string]any{"profile": made.Slug, "user": user, "user_name": "Hazel Birch"}).URL)
	p.Click("Continue to Newcomer")
	p.Login("hazel", "acorns-of-last-autumn", s.node.url+"/callback/")
	p.WaitText("Newcomer is connected")

	if got := bot.call(made.Slug, user, "/me"); got.status != http.StatusOK || !strings.Contains(string(got.body), "Hazel Birch") {
		t.Fatalf("the call is answered with %d %s", got.status, got.body)
	}
	n.Expire()
	got := bot.call(made.Slug, user, "/me")
	for deadline := time.Now().Add(time.Minute); got.status != http.StatusOK && time.Now().Before(deadline); time.Sleep(time.Second) {
		got = bot.call(made.Slug, user, "/me") // a credential as young as this one is not refreshed yet
	}
	if refreshes := n.Stats().Refreshes; got.status != http.StatusOK || refreshes != 1 {
		t.Errorf("after the token has ended and %d refreshes the call is answered with %d %s", refreshes, got.status, got.body)
	}
	list := bot.connections(user)
	if len(list) != 1 {
		t.Fatalf("the connections are %+v", list)
	}
	bot.remove("/connections/" + list[0].ID)
	stats := n.Stats()
	if len(stats.Grants) != 1 || !stats.Grants[0].Revoked || len(stats.Refused) > 0 {
		t.Errorf("the provider has %+v", stats)
	}
}
