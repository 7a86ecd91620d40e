package console_test

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/store"
)

var aKey = regexp.MustCompile(`bhf_[A-Za-z0-9_-]+`)

// makesKey makes a key on the page that is open, and returns it.
func (s *stage) makesKey(b *browser.Browser) string {
	s.t.Helper()
	b.Fill("Name", "Backend, production")
	b.Click("Make the key")
	b.WaitText("Copy it now")
	key := aKey.FindString(b.Text())
	if key == "" {
		s.t.Fatal("no key is shown")
	}
	s.Secret(key)
	return key
}

func TestAKeyIsMadeAndRevokedInTheConsole(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Ada", behalf.RoleAdministrator))
	page := s.at("/assistants/" + s.Assistant.Slug + "/keys")
	b.Open(page + "/new")
	key := s.makesKey(b)
	b.Accessible("a key that was made")
	opens := func() int {
		return s.Do(key, http.MethodGet, "/v1/assistants/"+s.Assistant.Slug+"/connections", nil).Status
	}
	if got := opens(); got != http.StatusOK {
		t.Fatalf("the key opens nothing: %d", got)
	}
	b.Click("I have it")
	b.WaitText("Backend, production")
	if strings.Contains(b.Text(), key) {
		t.Error("the key is shown again")
	}
	b.Click("a[aria-label='Revoke Backend, production']")
	b.WaitText("refused from now on")
	b.Click("Revoke the key")
	b.WaitText("nothing is opened by it")
	if got := opens(); got != http.StatusUnauthorized {
		t.Errorf("the revoked key is answered with %d", got)
	}
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/activity"))
	b.WaitText("revoked a key")
}

func TestAConnectionIsRefreshedAndEndedInTheConsole(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	c := s.Connected(s.Profile, "42", "sub-42")
	s.Connected(s.Profile, "43", "sub-43")
	other := s.Connected(s.Profile, "42", "sub-42-too")
	b := s.arrives(s.member("Dev", behalf.RoleDeveloper))
	page := s.at("/assistants/" + s.Assistant.Slug + "/connections")

	b.Open(page)
	b.Fill("User", "43")
	b.Click("Show")
	b.WaitURL(page + "?")
	if text := b.Text(); !strings.Contains(text, "sub-43") || strings.Contains(text, "sub-42") {
		t.Errorf("it is not narrowed: %s", text)
	}
	b.Open(page + "/" + string(c.ID))
	b.WaitText("calls go through")
	b.Click("Refresh now")
	b.WaitText("It is refreshed")
	if n := s.connection(c); n.Generation != c.Generation+1 {
		t.Errorf("generation %d after %d", n.Generation, c.Generation)
	}
	b.Open(page + "/" + string(other.ID))
	b.Click("Make default")
	b.WaitText("This is now the connection that is meant")
	if !s.connection(other).Default || s.connection(c).Default {
		t.Error("the default is not moved")
	}
	b.Click("Disconnect…")
	b.WaitText("What will happen")
	b.WaitText("This cannot be undone")
	b.Click("Disconnect")
	b.WaitText("is ended. Its credential is erased.")
	if n := s.connection(other); n.Status != behalf.ConnectionRevoked {
		t.Errorf("it is %s", n.Status)
	}
	b.Accessible("a connection that is ended")
}

func (s *stage) connection(c behalf.Connection) behalf.Connection {
	s.t.Helper()
	n, err := s.System.Connection(s.t.Context(), c.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestAnOverviewCountsWhatHappens(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Ada", behalf.RoleAdministrator))
	page := s.at("/assistants/" + s.Assistant.Slug)
	b.Open(page)
	b.WaitText("Make the first call")
	c := s.Connected(s.Profile, "42", "sub-42")
	for range 7 {
		s.System.Used(c, store.UseProxy, "")
	}
	s.Do(s.Key, http.MethodPost, "/v1/assistants/"+s.Assistant.Slug+"/connections/"+string(c.ID)+"/refresh", nil)
	for end := time.Now().Add(10 * time.Second); ; { // uses are written within a second or so
		tallies, err := s.System.Tallies(t.Context(), s.Assistant.ID, time.Time{})
		if err != nil || len(tallies) > 1 || time.Now().After(end) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.Reload()
	b.WaitText("Calls by profile")
	if text := b.Text(); strings.Contains(text, "Make the first call") || !strings.Contains(text, "7") {
		t.Errorf("it does not tell of the calls: %s", text)
	}
	b.Click("The numbers")
	b.WaitText(time.Now().UTC().Format("2 January"))
	b.Accessible("an overview with charts")
}

// happens lets a fortnight pass on the lively stage, up to now: calls and
// refreshes, and days on which the provider has troubles.
func (l *lively) happens() {
	l.t.Helper()
	profiles, err := l.System.Profiles(l.t.Context(), l.Assistant.ID, store.Page{})
	if err != nil {
		l.t.Fatal(err)
	}
	all := []behalf.Connection{l.good}
	for _, p := range profiles {
		if p.ID != l.Profile.ID {
			all = append(all, l.Connected(p, "45", "sub-45"))
		}
	}
	for today := range days {
		if today > 0 {
			l.Clock.Advance(24 * time.Hour)
		}
		for i, c := range all {
			for range (90 * (today%5 + 1)) >> i {
				l.System.Used(c, store.UseProxy, "")
			}
		}
		for range 1 + today%4 {
			l.refreshed(l.good, true)
		}
		if today%5 == 3 {
			l.refreshed(l.good, false)
		}
	}
	l.carries(l.agent.Connector) // the last day
	l.good = l.connection(l.good)
}

// A lively stage begins so long ago. Its clock goes forwards only.
const (
	days = 14
	ago  = days * 24 * time.Hour
)

// begun sets a server's clock to when a lively stage begins.
func begun(cfg *server.Config) {
	now := cfg.Now
	cfg.Now = func() time.Time { return now().Add(-ago) }
}

// refreshed keeps what a refresh brought, or that it brought nothing.
func (l *lively) refreshed(c behalf.Connection, good bool) {
	l.t.Helper()
	c = l.connection(c)
	lease, err := l.System.Lease(l.t.Context(), c, time.Minute)
	for end := time.Now().Add(time.Minute); errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrStale); { // the server is at it by itself
		if time.Now().After(end) {
			break
		}
		time.Sleep(20 * time.Millisecond)
		c = l.connection(c)
		lease, err = l.System.Lease(l.t.Context(), c, time.Minute)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if good {
		got := l.Granted()
		_, err = l.System.Keep(l.t.Context(), lease, c.Refreshed(behalf.Credential{}, got), got)
	} else {
		c.Failures++
		err = l.System.Release(l.t.Context(), lease, c)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}
