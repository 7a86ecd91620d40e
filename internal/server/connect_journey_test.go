package server_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/testdb"
)

// each runs a test with a server on SQLite and one on PostgreSQL.
func each(t *testing.T, with servertest.Setup, do func(s *stage)) {
	t.Helper()
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { do(newStage(t, with)) })
	t.Run("PostgreSQL", func(t *testing.T) {
		url := testdb.Postgres(t)
		with.Config = func(c *server.Config) { c.Database = url }
		do(newStage(t, with))
	})
}

func TestAPersonConnectsAndTheAssistantCalls(t *testing.T) {
	each(t, servertest.Setup{Profile: openID}, func(s *stage) {
		of := s.begin(s.Profile)
		b := s.browser()
		p := b.get(of.link)
		for _, say := range []string{"Connect Acorn Notes to Support Bot", "You are connecting as Hazel Birch", "notes:read", "No, don’t connect", "15 minutes"} {
			if !strings.Contains(p.text, say) {
				s.t.Errorf("the page does not say %q: %s", say, p.text)
			}
		}
		if p.Status != http.StatusOK || s.status(of).Status != "waiting" {
			s.t.Errorf("a GET has moved something: status %d, %s", p.Status, s.status(of).Status)
		}
		s.browser().get(of.link) // a link preview: it is given a cookie, and binds nothing by it
		asked := b.presses(of)
		for name, want := range map[string]string{"response_type": "code", "client_id": "bot", "redirect_uri": s.callbackURL(s.Profile), "code_challenge_method": "S256"} {
			if got := param(asked, name); got != want {
				s.t.Errorf("the provider is asked with %s=%q", name, got)
			}
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if len(param(asked, name)) < 43 {
				s.t.Errorf("%s has fewer than 256 bits: %q", name, param(asked, name))
			}
		}
		c := s.connected(of, b.get(b.agrees(asked)))
		if c.Account.Subject != "u-1" || c.Account.Label != "hazel@acorn.example" || c.User != of.User || !c.Default || c.Status != "active" {
			s.t.Errorf("the connection is %+v", c)
		}
		var me map[string]string
		s.Do(s.Key, http.MethodGet, s.api("/proxy/"+s.Profile.Slug+"/me"), nil, "Behalf-User", of.User).Into(s.t, &me)
		if me["id"] != "u-1" {
			s.t.Errorf("the call was on behalf of %v", me)
		}
	})
}

func TestConnectingAgain(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		again := func(user string) session { return s.begin(s.Profile, func(b *api.SessionBody) { b.User = user }) }
		of := again("jane")
		first := s.connected(of, s.browser().connects(of))

		of = again("jane")
		renewed := s.connected(of, s.browser().connects(of))
		if renewed.ID != first.ID || renewed.Generation != 2 || len(s.connections(of)) != 1 {
			s.t.Errorf("with the same account: %+v after %+v", renewed, first)
		}

		s.Sim.Disconnect("bot", "hazel")
		s.Do(s.Key, http.MethodPost, s.api("/connections/"+first.ID+"/refresh"), map[string]any{})
		if got := s.connections(of)[0]; got.Status != "lapsed" {
			s.t.Fatalf("the connection is %+v", got)
		}
		of = again("jane")
		if back := s.connected(of, s.browser().connects(of)); back.ID != first.ID || back.Status != "active" || back.Generation != 3 {
			s.t.Errorf("after it lapsed: %+v", back)
		}

		s.behaves(simulator.Switches{NoLogin: "jay"})
		of = again("jane")
		second := s.connected(of, s.browser().connects(of))
		if second.ID == first.ID || second.Account.Subject != "u-2" || second.Default || len(s.connections(of)) != 2 {
			s.t.Errorf("with another account: %+v", s.connections(of))
		}

		s.behaves(simulator.Switches{})
		of = again("june")
		if other := s.connected(of, s.browser().connects(of)); other.ID == first.ID || len(s.connections(of)) != 1 {
			s.t.Errorf("the same account of another user: %+v", other)
		}
		want := []behalf.EventType{behalf.EventConnectionCreated, behalf.EventConnectionRenewed, behalf.EventConnectionLapsed, behalf.EventConnectionRecovered, behalf.EventConnectionCreated, behalf.EventConnectionCreated}
		if got := s.events(); strings.Join(got, " ") != strings.Join(texts(want), " ") {
			s.t.Errorf("events %v, want %v", got, want)
		}
	})
}

func texts(types []behalf.EventType) []string {
	var out []string
	for _, t := range types {
		out = append(out, string(t))
	}
	return out
}

func (s *stage) events() []string {
	s.t.Helper()
	var got api.List[struct {
		Type string `json:"type"`
	}]
	s.Do(s.Key, http.MethodGet, s.api("/events"), nil).Into(s.t, &got)
	var out []string
	for _, e := range got.Items {
		out = append(out, e.Type)
	}
	return out
}

func implicit(d *behalf.Definition) {
	d.OAuth.ResponseType, d.OAuth.RequireIss = "token", false
}

func TestTheImplicitResponse(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: implicit})
	s.behaves(simulator.Switches{Implicit: true})
	// goes returns the callback and the fragment, which a browser keeps to itself.
	goes := func(s *stage, b *browser, of session) (callback, fragment string) {
		authorization := b.presses(of)
		if param(authorization, "response_type") != "token" || param(authorization, "code_challenge") != "" {
			s.t.Errorf("asked with %s", authorization)
		}
		callback, fragment, _ = strings.Cut(b.agrees(authorization), "#")
		return callback, fragment
	}
	t.Run("is brought by the page's form, and connects without a refresh token", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		callback, fragment := goes(s, b, of)
		p := b.get(callback)
		if p.Status != http.StatusOK || !strings.Contains(p.text, "This step needs JavaScript") || p.input("fragment") == nil || !strings.Contains(p.Header.Get("Content-Security-Policy"), "script-src 'self'") {
			t.Errorf("status %d: %s", p.Status, p.text)
		}
		c := s.connected(of, b.post(callback, values("fragment", fragment)))
		if c.Refreshable || c.ExpiresAt == nil || c.Account.Subject != "u-1" {
			t.Errorf("the connection is %+v", c)
		}
		if s.Sim.Stats().TokenRequests != 0 {
			t.Error("the token endpoint was asked")
		}
	})
	for name, spoil := range map[string]func(string) string{
		"with a code in it, which was not asked for": func(f string) string { return f + "&code=acorn_code_x" },
		"without a token":                    func(f string) string { return "state=" + parsed(f).Get("state") },
		"with a token that holds a line end": func(f string) string { v := parsed(f); v.Set("access_token", "a\r\nb"); return v.Encode() },
	} {
		t.Run(name+" is not connected", func(t *testing.T) {
			s, of := s.in(t), s.begin(s.Profile)
			b := s.browser()
			callback, fragment := goes(s, b, of)
			p := b.post(callback, values("fragment", spoil(fragment)))
			if strings.Contains(name, "line end") {
				s.ends(of, p, still(http.StatusNotFound, saysUnknown))
				return
			}
			s.ends(of, p, failed("protocol", "authorization response"))
		})
	}
	t.Run("with a token of another's making needs the state", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		callback, fragment := goes(s, b, of)
		for _, state := range []string{"", "forged"} {
			v := parsed(fragment)
			v.Set("state", state)
			s.ends(of, b.post(callback, values("fragment", v.Encode())), still(http.StatusNotFound, saysUnknown))
		}
	})
	t.Run("in another browser is refused", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		callback, fragment := goes(s, s.browser(), of)
		s.ends(of, s.browser().post(callback, values("fragment", fragment)), still(http.StatusForbidden, saysOther))
	})
	t.Run("posted by another site is refused", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		callback, fragment := goes(s, b, of)
		if p := b.post(callback, values("fragment", fragment), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); p.Status != http.StatusForbidden {
			t.Errorf("status %d", p.Status)
		}
		s.connected(of, b.post(callback, values("fragment", fragment)))
	})
	t.Run("given to a profile that asks for a code is not connected", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile())
		b := s.browser()
		back := b.agrees(b.presses(of))
		s.ends(of, b.get(with(back, "code", "", "access_token", "acorn_at_stolen")), failed("protocol", "it grants what was not asked for"))
	})
	t.Run("of a megabyte reaches nothing", func(t *testing.T) {
		s, of := s.in(t), s.begin(s.Profile)
		b := s.browser()
		callback, fragment := goes(s, b, of)
		s.ends(of, b.post(callback, values("fragment", fragment+"&x="+strings.Repeat("x", 1<<20))), still(http.StatusNotFound, saysUnknown))
	})
}

func parsed(form string) url.Values {
	v, _ := url.ParseQuery(form)
	return v
}

// Something in front of the server ends TLS; the browser sees https.
func TestByHTTPSTheCookieIsTheHostsOwn(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s := newStage(t, servertest.Setup{Config: func(c *server.Config) { c.Listen, c.PublicURL = address, "https://behalf.example" }})
	s.Server.URL = "http://" + address // for the API
	of := s.begin(s.Profile)
	if !strings.HasPrefix(of.link, "https://behalf.example/connect/") {
		t.Fatalf("the link is not at the public URL")
	}
	s.Server.URL = "https://behalf.example"
	b := s.browser()
	b.client.Transport = &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	p := b.get(of.link)
	cookies := (&http.Response{Header: p.Header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("status %d, cookies %v", p.Status, cookies)
	}
	if c := cookies[0]; !strings.HasPrefix(c.Name, "__Host-behalf_") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 43 {
		t.Errorf("the cookie is %v", c)
	}
	p = b.post(of.link, nil)
	if err := s.Sim.AddRedirectURI("bot", param(p.onward(), "redirect_uri")); err != nil {
		t.Fatal(err)
	}
	p = b.get(b.agrees(p.onward()))
	s.Server.URL = "http://" + address
	s.connected(of, p)
}

func TestByHTTPTheCookieIsPlain(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	one, two := s.begin(s.Profile), s.begin(s.Profile)
	b := s.browser()
	names := map[string]bool{}
	for _, of := range []session{one, two} {
		p := b.post(of.link, nil)
		cookies := (&http.Response{Header: p.Header}).Cookies()
		if len(cookies) != 1 {
			t.Fatalf("status %d, cookies %v", p.Status, cookies)
		}
		c := cookies[0]
		if !strings.HasPrefix(c.Name, "behalf_") || c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || len(c.Value) < 43 {
			t.Errorf("the cookie is %v", c)
		}
		names[c.Name] = true
		s.Secret(c.Value)
	}
	if len(names) != 2 {
		t.Error("two sessions share a cookie")
	}
}

// Without AllowPrivate nothing of the machine is reached, and a public URL that
// travels in the open is refused.
func TestAPublicURLInTheOpenIsRefused(t *testing.T) {
	t.Parallel()
	for _, public := range []string{"http://behalf.example", "http://10.0.0.1", "ftp://behalf.example", "behalf.example", "https://behalf.example/below", "https://user@behalf.example", "https://behalf.example?x=1", "https://behalf.example#x"} {
		s, err := server.New(t.Context(), server.Config{Listen: "127.0.0.1:0", DataDir: t.TempDir(), PublicURL: public, AllowPrivate: []netip.Prefix{}})
		if err == nil {
			t.Errorf("%s was taken", public)
			_ = s.Close()
		}
	}
}
