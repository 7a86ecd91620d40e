package server_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// blocked is an outcome in which nothing was dialled.
func blocked(step, why string) outcome {
	return failed("address", "The "+step+" was not made: its address is not allowed by this server: "+why)
}

// allowing is a server whose operator allows these addresses only.
func allowing(prefixes ...string) servertest.Setup {
	return servertest.Setup{Config: func(c *server.Config) {
		c.AllowPrivate = nil
		for _, p := range prefixes {
			c.AllowPrivate = append(c.AllowPrivate, netip.MustParsePrefix(p))
		}
	}}
}

// at is the thief under another name of this machine.
func (th *thief) at(host string) string {
	u, _ := url.Parse(th.URL)
	return "http://" + net.JoinHostPort(host, u.Port())
}

func TestATokenURLThatLeadsInsideIsNotDialled(t *testing.T) {
	t.Parallel()
	s := newStage(t, allowing())
	inside := newThief(t)
	for name, is := range map[string]struct{ base, why string }{
		"this machine":                         {inside.URL, "loopback address"},
		"another address of this machine":      {inside.at("127.0.0.2"), "loopback address"},
		"localhost":                            {inside.at("localhost"), "loopback address"},
		"this machine, in circled digits":      {inside.at("①②⑦.⓪.⓪.①"), "loopback address"},
		"this machine in IPv6":                 {inside.at("::1"), "loopback address"},
		"this machine in IPv6, from IPv4":      {inside.at("::ffff:127.0.0.1"), "loopback address"},
		"this machine, embedded by NAT64":      {inside.at("64:ff9b::7f00:1"), "reserved address"},
		"any address of this machine":          {inside.at("0.0.0.0"), "unspecified address"},
		"any address of this machine, in IPv6": {inside.at("::"), "unspecified address"},
		"cloud metadata":                       {"http://169.254.169.254", "cloud metadata address"},
		"cloud metadata in IPv6":               {"http://[fd00:ec2::254]", "cloud metadata address"},
		"cloud metadata, elsewhere":            {"http://168.63.129.16", "cloud metadata address"},
		"the link":                             {"http://169.254.1.1", "link-local address"},
		"the link in IPv6":                     {"http://[fe80::1]", "link-local address"},
		"a private network":                    {"http://10.1.2.3", "private address"},
		"a private network of homes":           {"http://192.168.1.1", "private address"},
		"a private network in IPv6":            {"http://[fd12:3456::1]", "private address"},
		"a carrier's network":                  {"http://100.64.0.1", "reserved address"},
		"everybody":                            {"http://224.0.0.1", "multicast address"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			of := s.begin(s.profile(func(d *behalf.Definition) { d.TokenURL, d.CheckURL = is.base+"/token", "" }))
			s.ends(of, s.browser().connects(of), blocked("code exchange", is.why))
		})
	}
	if inside.visits() != 0 || s.Sim.Stats().TokenRequests != 0 {
		t.Errorf("%d calls came through", inside.visits())
	}
}

func TestAnAddressThatIsWrittenOddlyIsNoProfile(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	for _, host := range []string{"2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "[::1%25eth0]", "user@evil.example", "evil.example:0", "evil.example:99999", "", "a..b", "{{user}}", "{{user}}.example"} {
		for _, field := range []string{"token_url", "authorization_url", "refresh_url", "check_url"} {
			body := map[string]any{"type": "oauth2", "name": "Odd", "provider": "Odd", "client_id": "bot", "client_secret": "x", "authorization_url": s.Provider + "/authorize", "token_url": s.Provider + "/token"}
			body[field] = "http://" + host + "/x"
			got := s.Do(s.Owner, http.MethodPost, s.api("/profiles"), body)
			if got.Status != http.StatusUnprocessableEntity || !strings.Contains(got.Body, `"field":"`+field+`"`) {
				t.Errorf("%s=%s: status %d: %s", field, host, got.Status, got.Body)
			}
		}
	}
	for _, raw := range []string{"file:///etc/passwd", "gopher://127.0.0.1:70/", "ftp://evil.example", "javascript:alert(1)", "//evil.example/x", "/token", "token"} {
		body := map[string]any{"type": "oauth2", "name": "Odd", "provider": "Odd", "client_id": "bot", "client_secret": "x", "authorization_url": s.Provider + "/authorize", "token_url": raw}
		if p := s.Do(s.Owner, http.MethodPost, s.api("/profiles"), body).Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); p.Field != "token_url" {
			t.Errorf("%s: the field is %q", raw, p.Field)
		}
	}
}

// The exchange goes through here; what is asked with its token does not.
func TestWhatIsAskedWithAFreshTokenIsGuardedToo(t *testing.T) {
	t.Parallel()
	s := newStage(t, allowing("127.0.0.1/32"))
	inside := newThief(t)
	for host, why := range map[string]string{inside.at("127.0.0.2"): "loopback address", inside.at("::1"): "loopback address", "http://169.254.169.254": "cloud metadata address", "http://10.0.0.1": "private address"} {
		for step, change := range map[string]func(*behalf.Definition){
			"check":    func(d *behalf.Definition) { d.CheckURL = host + "/me" },
			"userinfo": func(d *behalf.Definition) { d.OAuth.UserinfoURL = host + "/userinfo" },
			"id_token": func(d *behalf.Definition) { openID(d); d.OAuth.JWKSURL = host + "/jwks" },
		} {
			t.Run(step+" at "+host, func(t *testing.T) {
				s := s.in(t)
				of := s.begin(s.profile(change))
				s.ends(of, s.browser().connects(of), blocked(step, why))
			})
		}
	}
	if inside.visits() != 0 {
		t.Errorf("%d calls came through", inside.visits())
	}
	t.Run("and connects where all of it is allowed", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.profile(openID))
		s.connected(of, s.browser().connects(of))
	})
}

// A server of our own that answers the token request with a redirect inside.
func TestARedirectInsideIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	inside := newThief(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		hop := httptest.NewServer(http.RedirectHandler(inside.URL+"/latest/meta-data", status))
		t.Cleanup(hop.Close)
		t.Run(http.StatusText(status), func(t *testing.T) {
			s := s.in(t)
			for _, change := range []func(*behalf.Definition){
				func(d *behalf.Definition) { d.TokenURL = hop.URL },
				func(d *behalf.Definition) { d.CheckURL = hop.URL },
				func(d *behalf.Definition) { d.OAuth.UserinfoURL = hop.URL },
				func(d *behalf.Definition) { openID(d); d.OAuth.JWKSURL = hop.URL },
			} {
				of := s.begin(s.profile(change))
				s.ends(of, s.browser().connects(of), failed("client_fault", "status 30"))
			}
		})
	}
	if inside.visits() != 0 {
		t.Errorf("%d redirects were followed", inside.visits())
	}
}
