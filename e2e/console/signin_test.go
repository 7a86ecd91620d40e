package console_test

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/e2e/servers"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func TestTheFirstOwnerComesByALinkThatWorksOnce(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := browser.New(t, browser.Options{})
	b.Open(s.URL)
	b.WaitText("nobody can sign in yet")
	link, err := s.System.SetUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	another, err := s.System.SetUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Secret(link.Reveal(), password)
	address := s.at("/link/" + link.Reveal())
	b.Open(address)
	b.Click("Make me the owner")
	b.WaitText("Something has to be corrected")
	b.Fill("Email address", "First@Behalf.example")
	b.Fill("Your name", "Ada First")
	b.Fill("Password", "short")
	b.Click("Make me the owner")
	b.WaitText("at least 12 characters")
	if strings.Contains(b.Text(), "short") {
		t.Error("the page shows the password")
	}
	b.Fill("Password", password)
	b.Click("Make me the owner")
	b.WaitURL(s.at("/assistants"))
	b.WaitText("Ada First")

	for name, used := range map[string]string{"the link that was used": address, "another link for the first owner": s.at("/link/" + another.Reveal())} {
		other := b.NewPerson(browser.Options{})
		other.Open(used)
		other.WaitText("There is nothing here")
		if strings.Contains(other.Text(), "Make me") {
			t.Errorf("%s still works", name)
		}
	}
	b.Click("Sign out")
	b.WaitURL(s.at("/sign-in"))
	s.signsIn(b, "first@behalf.example", password)
	b.WaitURL(s.at("/assistants"))
}

func TestSigningInAndOut(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	m := s.member("rowan", behalf.RoleOwner)
	b := browser.New(t, browser.Options{})
	b.Open(s.at("/people"))
	b.WaitURL(s.at("/sign-in"))
	for _, wrong := range [][2]string{{m.Email, "not the password"}, {"nobody@behalf.example", password}} {
		b.Open(s.at("/people"))
		s.signsIn(b, wrong[0], wrong[1])
		b.WaitText("The email address or the password is not right")
	}
	before := b.Cookies(s.URL)
	s.signsIn(b, m.Email, password)
	b.WaitURL(s.at("/people")) // where one wanted to go
	after := b.Cookies(s.URL)
	if len(after) != 1 {
		t.Fatalf("the cookies are %v", after)
	}
	for name, value := range after {
		if before[name] == value {
			t.Error("the cookie is the one from before signing in")
		}
	}
	b.Click("Sign out")
	b.WaitURL(s.at("/sign-in"))
	b.Back()
	b.Reload()
	b.WaitText("Sign in")
	b.Open(s.at("/people"))
	b.WaitURL(s.at("/sign-in"))
}

func TestWithoutJavaScriptEverythingWorks(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	m := s.member("rowan", behalf.RoleOwner)
	b := browser.New(t, browser.Options{NoScript: true})
	b.Open(s.at("/sign-in"))
	s.signsIn(b, m.Email, password)
	b.WaitURL(s.at("/assistants"))
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/profiles"))
	b.Click("New authorization")
	b.WaitText("Callback Link")
	b.Fill("Name", "By hand")
	b.Click("#group-scope button[name=add]")
	b.WaitURL(s.at("/assistants/" + s.Assistant.Slug + "/profiles/prf_"))
	b.Fill("scope[1].key", "audience")
	b.Fill("scope[1].value", "api")
	b.Fill("Identity Provider Name", "Acorn")
	b.Fill("Client ID", "bot")
	b.Fill("Authorization URL", s.Provider+"/authorize")
	b.Fill("Token Request URL", s.Provider+"/token")
	b.Click("Save")
	b.WaitText("The profile is saved")
	p := s.profileNamed("By hand")
	if len(p.Scope) != 1 || p.Scope[0].Key != "audience" || p.Provider != "Acorn" {
		t.Errorf("the definition is %+v", p.Definition)
	}
}

func TestWhoGuessesHasToWait(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	m := s.member("rowan", behalf.RoleOwner)
	s.Clock.Stop()
	b := browser.New(t, browser.Options{})
	for range 10 {
		b.Open(s.at("/sign-in"))
		s.signsIn(b, m.Email, "a wrong password")
		b.WaitText("You are not signed in")
	}
	b.Open(s.at("/sign-in"))
	s.signsIn(b, m.Email, password)
	b.WaitText("too many tries")
	s.Clock.Advance(11 * time.Second)
	b.Open(s.at("/sign-in"))
	s.signsIn(b, m.Email, password)
	b.WaitURL(s.at("/assistants"))
}

func TestASignInEnds(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	m, owner := s.member("rowan", behalf.RoleAdministrator), s.member("owner", behalf.RoleOwner)
	b := s.arrives(m)
	other := b.NewPerson(browser.Options{})
	other.Open(s.at("/sign-in"))
	s.signsIn(other, m.Email, password)
	other.WaitURL(s.at("/assistants"))

	left := b.NewPerson(browser.Options{})
	left.Open(s.at("/sign-in"))
	s.signsIn(left, m.Email, password)
	left.WaitURL(s.at("/assistants"))
	b.Open(s.at("/account"))
	b.Click("td .button") // of the one that signed in last
	b.WaitText("That browser is signed out")
	left.Reload()
	left.WaitURL(s.at("/sign-in"))
	other.Reload()
	other.WaitURL(s.at("/assistants"))

	b.Open(s.at("/account"))
	b.Click("Sign out everywhere else")
	b.WaitText("You are signed out everywhere else")
	other.Reload()
	other.WaitURL(s.at("/sign-in"))

	t.Run("when the role changes it counts at once", func(t *testing.T) {
		m, err := s.DB.As(owner.Actor()).Member(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		m.Role = behalf.RoleViewer
		if m, err = s.DB.As(owner.Actor()).SaveMember(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		b.Open(s.at("/people"))
		b.WaitText("You may not do this")
		m.DisabledAt = s.DB.Now()
		if _, err = s.DB.As(owner.Actor()).SaveMember(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		b.Reload()
		b.WaitURL(s.at("/sign-in"))
		s.signsIn(b, m.Email, password)
		b.WaitText("not right")
	})
	t.Run("when nobody used it for a day", func(t *testing.T) {
		b := s.arrives(owner)
		s.Clock.Advance(24 * time.Hour)
		b.Reload()
		b.WaitURL(s.at("/sign-in"))
	})
}

func TestALinkThatSignsInDoesSoInOneClick(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	m := s.member("rowan", behalf.RoleOwner)
	link, err := s.System.LinkMember(t.Context(), m.ID, behalf.LinkSignIn)
	if err != nil {
		t.Fatal(err)
	}
	address := console.Link(s.public(), link)
	for range 2 {
		b := browser.New(t, browser.Options{})
		b.Open(address)
		b.WaitURL(s.at("/assistants"))
	}
	if p := s.Do("", "GET", address, nil); p.Status != 200 || len(p.Header["Set-Cookie"]) > 0 {
		t.Errorf("what is no browser is signed in: %d %v", p.Status, p.Header)
	}
	if p := s.Do("", "GET", address, nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"); p.Status != 200 || len(p.Header["Set-Cookie"]) > 0 {
		t.Errorf("another site's link signs in: %d %v", p.Status, p.Header)
	}
}

// TestSingleSignOn signs people in by servers that others wrote.
func TestSingleSignOn(t *testing.T) {
	for _, name := range []string{"oidc-provider", "dex"} {
		t.Run(name, func(t *testing.T) {
			port := servers.FreePort(t)
			base := "http://127.0.0.1:" + strconv.Itoa(port)
			idp := servers.Start(t, name, servers.Options{RedirectURIs: []string{base + "/console/sso/callback"}})
			s := newStage(t, servertest.Setup{Config: func(c *server.Config) {
				c.Listen = "127.0.0.1:" + strconv.Itoa(port)
				c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				c.SSO = console.SSO{Issuer: idp.Issuer, ClientID: idp.ClientID, ClientSecret: secret.New(idp.ClientSecret), Label: "Sign in with Acme", Emails: []string{servers.Alice}, Role: behalf.RoleDeveloper}
			}})
			s.Secret(idp.ClientSecret)
			s.member("owner", behalf.RoleOwner)
			b := browser.New(t, browser.Options{})
			b.Open(s.at("/assistants/" + s.Assistant.Slug))
			b.Click("Sign in with Acme")
			b.WaitURL(idp.Issuer)
			b.Login(servers.Alice, servers.Password, s.at(""))
			b.WaitURL(s.at("/assistants/" + s.Assistant.Slug))
			b.WaitText("developer")
			m, err := s.System.MemberByEmail(t.Context(), servers.Alice)
			if err != nil || !m.SSO || m.Password || m.Role != behalf.RoleDeveloper {
				t.Errorf("the member is %+v, %v", m, err)
			}
			b.Open(s.at("/sso/callback?code=x&state=y"))
			b.WaitText("not begun in this browser")

			stranger := browser.New(t, browser.Options{})
			stranger.Open(s.at("/sign-in"))
			stranger.Click("Sign in with Acme")
			stranger.WaitURL(idp.Issuer)
			stranger.Login(servers.Bob, servers.Password, s.at(""))
			stranger.WaitText("not among the people of this server")
		})
	}
}
