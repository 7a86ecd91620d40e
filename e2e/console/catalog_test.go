package console_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// birch is a provider in the catalogue of whoever runs the server.
const birch = `
slug: birch
name: Birch Letters
aliases: [Beula]
categories: [letters]
docs: https://birch.example.com/oauth
register_url: https://birch.example.com/clients
verified: true
evidence:
  - {knobs: [endpoints], kind: documentation, url: https://birch.example.com/oauth}
notes: [Switch the client on before it is used.]
profile:
  authorization_url: ${provider}/authorize
  token_url: ${provider}/token
  scope: [{key: scope, value: "notes:read offline_access"}]
  tenancy: {base_url: "${provider}/t/{tenant}/", pattern: "[a-z]+", label: Your grove}
  check_url: ${provider}/userinfo
  api: {base_url: "${provider}/api"}
scopes: [{value: "notes:read", title: See letters}]
`

// newGrove is a stage whose catalogue knows a provider that runs.
func newGrove(t *testing.T) (*stage, *simulator.Simulator) {
	t.Helper()
	sim := simulator.New(simulator.Config{
		Users:   []simulator.User{{Name: "hazel", Password: secret.New("acorns-of-last-autumn"), Subject: "u-1", Email: "hazel@birch.example"}},
		Clients: []simulator.Client{{ID: "bot", Name: "Support Bot", Secret: secret.New("birch-s3cr:t")}},
	})
	provider := httptest.NewServer(sim)
	t.Cleanup(provider.Close)
	s := newStage(t, servertest.Setup{Config: func(c *server.Config) {
		c.Catalog = fstest.MapFS{"birch.yaml": {Data: []byte(strings.ReplaceAll(birch, "${provider}", provider.URL))}}
	}})
	s.Secret("birch-s3cr:t", "birch-s3cr%3At")
	sim.Set(simulator.Switches{NoLogin: "hazel"})
	return s, sim
}

func TestAProfileIsPickedFromTheCatalogue(t *testing.T) {
	s, sim := newGrove(t)
	b := s.arrives(s.member("dev", behalf.RoleDeveloper))
	s.newProfile(b)
	b.Fill("Application", "no such thing")
	b.WaitText("Nothing of that name is known")
	b.Fill("Application", "beula")
	b.WaitText("Birch Letters") // as one types
	b.Accessible("what is found as one types")
	b.Click("Birch Letters")
	b.WaitText("Register a client at Birch Letters")
	b.WaitText("Switch the client on before it is used.")
	b.WaitText("Verified")
	b.WaitText("See letters")
	callback := text(t, b, "#callback")
	for selector, want := range map[string]string{"a[href='https://birch.example.com/oauth']": "What Birch Letters says", "a[href='https://birch.example.com/clients']": "Register a client"} {
		if got := text(t, b, selector); !strings.Contains(got, want) {
			t.Errorf("%s says %q", selector, got)
		}
	}

	b.Click("Save") // nothing is entered
	b.WaitText("The profile is not saved yet")
	for field, says := range map[string]string{"client_id": "Required", "client_secret": "Required"} {
		s.complainsAt(b, field, says)
	}
	b.Fill("Client ID", strings.Repeat("c", 256))
	b.Fill("Name", "Acorn") // another profile's
	b.Fill("Client Secret Key", "typed once")
	b.Fill("Your grove", "OAK 7")
	b.Click("Save")
	b.WaitText("The profile is not saved yet")
	for field, says := range map[string]string{"client_id": "255", "tenancy.default": "", "client_secret": "Enter the secret again"} {
		s.complainsAt(b, field, says)
	}
	if strings.Contains(html(t, b), "typed once") {
		t.Error("the secret comes back to the browser")
	}
	b.Accessible("a profile from the catalogue, with faults")
	b.Fill("Client ID", "bot")
	b.Fill("Your grove", "oak")
	b.Fill("Client Secret Key", "birch-s3cr:t")
	b.Click("Save")
	b.WaitText("not saved yet")
	s.complainsAt(b, "name", "Another profile")
	b.Fill("Name", "Birch Letters")
	b.Fill("Client Secret Key", "birch-s3cr:t")
	b.Click("Save")
	b.WaitText("The profile is saved")
	b.WaitText("Authorization URL") // the whole form

	p := s.profileNamed("Birch Letters")
	if got := s.callback(p); got != callback {
		t.Errorf("the Callback Link was %s, and is %s", callback, got)
	}
	if p.Provider != "Birch Letters" || p.Tenancy == nil || p.Tenancy.Default != "oak" || p.CheckURL == "" || len(p.Secrets.Client) != 1 {
		t.Errorf("the profile is %+v", p.Definition)
	}
	if err := sim.AddRedirectURI("bot", callback); err != nil {
		t.Fatal(err)
	}
	b.Click("Test")
	b.WaitText("Your grove")
	b.Click("Test")
	b.WaitText("Authorization successful")
	s.complains(b)
}

// complainsAt waits until a field is marked as wrong and says why.
func (s *stage) complainsAt(b *browser.Browser, name, says string) {
	s.t.Helper()
	script := `(e => e?.getAttribute("aria-invalid") === "true" ? e.getAttribute("aria-describedby").split(" ").map(id => document.getElementById(id)?.innerText ?? "").join(" ") : "nothing")(document.querySelector("[name='` + name + `']"))`
	told := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		if told, err = chromedp.Run(b.Context(), chromedp.Evaluate[string](script)); err == nil && told != "nothing" && strings.Contains(told, says) {
			return
		}
	}
	s.t.Errorf("%s says %q, expected %q", name, told, says)
}

func TestTheCatalogueIsPickedFromWithoutJavaScript(t *testing.T) {
	s, _ := newGrove(t)
	m := s.member("dev", behalf.RoleDeveloper)
	b := browser.New(t, browser.Options{NoScript: true})
	b.Open(s.at("/sign-in"))
	s.signsIn(b, m.Email, password)
	b.WaitURL(s.at("/assistants"))
	s.newProfile(b)
	b.Fill("Application", "birch")
	b.Click("Search")
	b.WaitText("letters")
	b.Click("Birch Letters")
	b.WaitText("Register a client at Birch Letters")
	b.Fill("Client ID", "bot")
	b.Click("See every field first")
	b.WaitText("Nothing is saved yet")
	b.Fill("Name", "Letters")
	b.Fill("Client Secret Key", "birch-s3cr:t")
	b.Click("Save")
	b.WaitText("The profile is saved")
	if p := s.profileNamed("Letters"); p.ClientID != "bot" || p.Tenancy == nil || p.TokenURL == "" {
		t.Errorf("the profile is %+v", p.Definition)
	}
}
