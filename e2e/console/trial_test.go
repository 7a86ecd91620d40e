package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// tested makes a profile whose provider knows its redirect URI, and the address
// of the page on which it is tested.
func (s *stage) tested(name string, change func(*behalf.Definition)) (behalf.Profile, string) {
	s.t.Helper()
	d := s.Definition(name)
	d.OAuth.Issuer, d.OAuth.RequireIss, d.CheckURL = s.Provider, true, s.Provider+"/userinfo"
	if change != nil {
		change(&d)
	}
	p := s.NewProfile(s.Assistant, d)
	if err := s.Sim.AddRedirectURI("bot", s.URL+"/callback/"+string(p.ID)); err != nil {
		s.t.Fatal(err)
	}
	return p, s.at("/assistants/" + s.Assistant.Slug + "/profiles/" + string(p.ID) + "/test")
}

// in is the stage in a subtest.
func (s *stage) in(t *testing.T) *stage { return &stage{s.Server, t} }

func TestAProfileIsTestedInTheConsole(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Dev", behalf.RoleDeveloper))
	s.Sim.Set(simulator.Switches{NoLogin: "hazel"})

	_, page := s.tested("Acorn Test", nil)
	b.Open(page)
	b.WaitText("has not been tested yet")
	b.Click("Test")
	b.WaitText("Authorization successful")
	b.WaitURL(page + "/trs_")
	if strings.Contains(b.Text(), "Open the login") {
		t.Error("it is over, and the login can still be opened")
	}
	for _, step := range []string{"Redirect to the provider", "Callback", "Token request", "Scopes", "Check", "Refresh"} {
		if !strings.Contains(b.Text(), step) {
			t.Errorf("there is no step %q: %s", step, b.Text())
		}
	}
	b.Click("Token request")
	b.WaitText("Authorization: Basic [secret]")
	b.Click(responseTab)
	b.WaitText(`"access_token":"[secret]"`)
	b.Accessible("a test that passed")
	b.Reload()
	b.WaitText("Authorization successful")
	b.Click("Test again")
	b.WaitText("Tests so far")
	b.Click("Quick check")
	b.WaitText("Client id and secret")
	b.WaitText("Authorization successful")
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/profiles"))
	b.WaitText("Authorization successful") // the last test, in the list
	s.complains(b)
}

func TestTheTestAsksForTheTenantFirst(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Dev", behalf.RoleDeveloper))
	s.Sim.Set(simulator.Switches{NoLogin: "hazel"})
	_, page := s.tested("Tenants", func(d *behalf.Definition) {
		d.Tenancy = &behalf.Tenancy{BaseURL: s.Provider + "/t/{tenant}/", Pattern: "[a-z]+", Label: "Your tree"}
	})
	b.Open(page)
	b.WaitText("Your tree")
	b.Fill("Your tree", "OAK 7")
	b.Click("Test")
	b.WaitText("It does not have the form")
	b.Accessible("a test that could not begin")
	b.Fill("Your tree", "oak")
	b.Click("Test")
	b.WaitText("Authorization successful")
}

func TestTheConsoleSaysWhatToDoWhereTheProviderShowsAnError(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Dev", behalf.RoleDeveloper))
	p := s.NewProfile(s.Assistant, s.Definition("Not registered"))
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/profiles/" + string(p.ID) + "/test"))
	popup := b.Popup(func() { b.Click("Test") })
	popup.WaitURL(s.Provider)
	b.WaitText("Does the application show an error there, and no login?")
	b.WaitText(s.callback(p))
	b.Accessible("a test whose login shows an error")
}

func TestTheConsoleSaysWhyATestFailed(t *testing.T) {
	all := newStage(t, servertest.Setup{})
	b := all.arrives(all.member("Dev", behalf.RoleDeveloper))
	for name, w := range map[string]struct {
		provider simulator.Switches
		change   func(*behalf.Definition)
		step     string
		sent     string // on the tab Headers
		received string // on the tab Response
		fix      string
	}{
		"the secret is wrong":              {provider: simulator.Switches{InvalidClient: true}, step: "Token request", sent: "POST ", received: "invalid_client", fix: "Copy client id and secret anew"},
		"the secret belongs into the body": {provider: simulator.Switches{ClientAuth: "post"}, step: "Token request", sent: "Basic [secret]", received: "401 Unauthorized", fix: "Set “Client authentication” to post"},
		"HTML comes instead of JSON":       {provider: simulator.Switches{GarbageHTML: true}, step: "Token request", sent: "grant_type=authorization_code", received: "[HTML", fix: "Correct “Token Request URL”"},
		"the token stands elsewhere":       {provider: simulator.Switches{NestedReply: true}, step: "Token request", sent: "code_verifier=", received: "authed_user", fix: "/authed_user/access_token"},
		"the check is refused": {provider: simulator.Switches{APIAlways401: true}, change: func(d *behalf.Definition) { d.CheckURL = d.OAuth.Issuer + "/api/me" },
			step: "Check", sent: "Authorization: Bearer [secret]", received: "401 Unauthorized", fix: "Check that “Check URL”"},
	} {
		t.Run(name, func(t *testing.T) {
			s := all.in(t)
			w.provider.NoLogin = "hazel"
			s.Sim.Set(w.provider)
			defer s.Sim.Set(simulator.Switches{})
			_, page := s.tested(name, w.change)
			b.Open(page)
			b.Click("Test")
			b.WaitText("Auth Test Failed")
			b.WaitText(w.fix)
			b.WaitText(w.sent) // the step that failed stands open
			b.Click(responseTab)
			b.WaitText(w.received)
			b.Accessible("a test that failed: " + name)
		})
	}
}

func TestTheConsoleSaysWhyAConnectionIsBroken(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	c := s.Connected(s.Profile, "42", "sub-42")
	s.Sim.Set(simulator.Switches{RefreshError: "invalid_grant"})
	s.Do(s.Key, http.MethodPost, "/v1/assistants/"+s.Assistant.Slug+"/connections/"+string(c.ID)+"/refresh", nil)
	b := s.arrives(s.member("Dev", behalf.RoleDeveloper))
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/connections/" + string(c.ID) + "/recorder"))
	for range 30 {
		if strings.Contains(b.Text(), "Cause") {
			break
		}
		b.Reload()
	}
	b.WaitText("It has lapsed")
	b.WaitText("Who must act: the person who authorizes")
	b.WaitText("grant_type=refresh_token")
	b.Accessible("a flight recorder")
}

// complains fails where the browser's console says anything but, in Chromium's
// way, that a page tells an error.
func (s *stage) complains(b *browser.Browser) {
	s.t.Helper()
	for _, complaint := range b.Complaints() {
		if !strings.Contains(complaint, "the server responded with a status of 4") {
			s.t.Errorf("the browser's console says %q", complaint)
		}
	}
}

// responseTab is the tab of the step that stands open.
const responseTab = "details[open] .views > label:nth-of-type(2)"
