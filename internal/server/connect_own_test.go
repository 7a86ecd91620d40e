package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func (s *stage) ownPage(user string) string {
	s.t.Helper()
	var made struct{ URL string }
	s.Do(s.Key, "POST", s.api("/users/"+user+"/page"), map[string]any{"user_name": "Jane Doe", "return_url": ""}).Into(s.t, &made)
	return made.URL
}

func TestThePersonSeesWhatIsConnectedAndEndsIt(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		mine := s.Connected(s.Profile, "42", "hazel")
		theirs := s.Connected(s.Profile, "43", "jane")
		link := s.ownPage("42")
		b := s.browser()

		p := b.get(link)
		if p.Status != http.StatusOK || !strings.Contains(p.text, "Jane Doe") || !strings.Contains(p.text, "Disconnect "+s.Profile.Provider) {
			s.t.Fatalf("status %d: %s", p.Status, p.text)
		}
		if strings.Contains(p.Body, string(theirs.ID)) {
			s.t.Error("another person's connection is on the page")
		}
		b.post(link, values("connection", string(theirs.ID)))
		if c := s.one(theirs.ID); c.Status != behalf.ConnectionActive {
			s.t.Errorf("another person's connection is %s", c.Status)
		}
		p = b.post(link, values("connection", string(mine.ID)))
		if p.Status != http.StatusOK || !strings.Contains(p.text, "is disconnected") || !strings.Contains(p.text, "Nothing is connected") {
			s.t.Errorf("status %d: %s", p.Status, p.text)
		}
		if c := s.one(mine.ID); c.Status != behalf.ConnectionRevoked {
			s.t.Errorf("it is %s", c.Status)
		}
		if p := b.post(link, values("connection", string(mine.ID))); p.Status != http.StatusOK || !strings.Contains(p.text, "is disconnected") {
			s.t.Errorf("again: status %d: %s", p.Status, p.text)
		}
	})
}

func (s *stage) one(id behalf.ConnectionID) behalf.Connection {
	s.t.Helper()
	c, err := s.System.Connection(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func TestALinkToThePersonsOwnPageIsTheirsAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	link := s.ownPage("42")
	for name, other := range map[string]string{"nonsense": s.URL + "/own/x", "cut": link[:len(link)-3], "changed": link[:len(link)-6] + "AAAAAA"} {
		if p := s.browser().get(other); p.Status != http.StatusNotFound {
			t.Errorf("%s: status %d", name, p.Status)
		}
	}
	for name, body := range map[string]map[string]any{"expires_in": {"expires_in": 5}, "return_url": {"return_url": "https://evil.example/"}, "locale": {"locale": "?"}} {
		s.Do(s.Key, "POST", s.api("/users/42/page"), body).Problem(t, 422, behalf.CodeInvalid)
		_ = name
	}
	scope := s.DB.As(behalf.System("test"))
	old, err := scope.UserLink(behalf.UserLink{Assistant: s.Assistant.ID, User: "42", ExpiresAt: s.DB.Now().Add(-time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if p := s.browser().get(s.URL + "/own/" + old.Reveal()); p.Status != http.StatusNotFound {
		t.Errorf("expired: status %d", p.Status)
	}
	foreign := s.browser().post(link, values("connection", "x"), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	if foreign.Status != http.StatusForbidden {
		t.Errorf("from another site: status %d", foreign.Status)
	}
}

func TestTheStatusOfALinkTellsHowItStandsAndNoMore(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	of := s.begin(s.Profile)
	ask := func(link, want string, status int) {
		t.Helper()
		a := s.Do("", "GET", strings.TrimPrefix(link, s.URL)+"/status", nil, "Origin", "https://app.example")
		if a.Status != status || a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" || strings.TrimSpace(a.Body) != `{"status":"`+want+`"}` {
			t.Errorf("status %d, %v: %s", a.Status, a.Header, a.Body)
		}
	}
	ask(of.link, "waiting", 200)
	ask(of.link[:len(of.link)-1]+"-", "unknown", 404)
	b := s.browser()
	s.connected(of, b.get(b.agrees(b.presses(of))))
	ask(of.link, "connected", 200)

	a := s.Do("", "GET", "/connect.js", nil)
	if a.Status != 200 || !strings.Contains(a.Header.Get("Content-Type"), "javascript") || a.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Errorf("the script: %d %v", a.Status, a.Header)
	}
	if again := s.Do("", "GET", "/connect.js", nil, "If-None-Match", a.Header.Get("ETag")); again.Status != 304 {
		t.Errorf("the script again: %d", again.Status)
	}
}
