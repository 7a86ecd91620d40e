// Package console_test proves the console in a real browser, on a real server
// with a simulated provider.
package console_test

import (
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// stage is a server with people.
type stage struct {
	*servertest.Server
	t *testing.T
}

func newStage(t *testing.T, with servertest.Setup) *stage {
	t.Helper()
	if testing.Short() {
		t.Skip("a real browser takes too long for short mode")
	}
	return &stage{servertest.New(t, with), t}
}

// password is every member's.
const password = "hedgehogs walk by night"

// member is somebody who has come in before, by password.
func (s *stage) member(name string, role behalf.Role) behalf.Member {
	s.t.Helper()
	_, link, err := s.System.InviteMember(s.t.Context(), behalf.Member{Email: name + "@behalf.example", Name: name, Role: role})
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := s.DB.UseLink(s.t.Context(), link, store.Arrival{Name: name, Password: secret.New(password)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Secret(link.Reveal(), password)
	return m
}

// at is the address of a page of the console.
func (s *stage) at(path string) string { return s.URL + console.Prefix + path }

// arrives opens a browser in which the member signs in.
func (s *stage) arrives(m behalf.Member) *browser.Browser {
	s.t.Helper()
	b := browser.New(s.t, browser.Options{})
	b.Open(s.at("/sign-in"))
	s.signsIn(b, m.Email, password)
	b.WaitText("Assistants")
	b.WaitURL(s.at("/assistants"))
	return b
}

func (s *stage) signsIn(b *browser.Browser, email, password string) {
	s.t.Helper()
	b.Fill("Email address", email)
	b.Fill("Password", password)
	b.Click("Sign in")
}
