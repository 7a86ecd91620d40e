package e2e

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf/e2e/servers"
)

// discovered is what discovery answers. The definition is sent back as it came.
type discovered struct {
	Definition      map[string]any
	ScopesSupported []string `json:"scopes_supported"`
	Notes           []struct{ Field, Message string }
	Tried           []struct{ Form, URL, Outcome string }
}

// publishers are the servers that publish metadata.
func publishers(t *testing.T) []string {
	return slices.DeleteFunc(servers.All(), func(name string) bool { return name == "node-oauth" })
}

// TestDiscoveryWritesAProfileThatWorks lets discovery write a profile for each
// real server, from its issuer alone. An administrator adds the client id, the
// secret and where the API is.
func TestDiscoveryWritesAProfileThatWorks(t *testing.T) {
	for _, name := range publishers(t) {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "sqlite")
			bot := s.assistant(nil)
			reserved := bot.reserve()
			provider := servers.Start(t, name, servers.Options{RedirectURIs: []string{reserved.CallbackURL}})
			s.secret("password at the provider", provider.Password)

			found := s.discover(provider.Issuer)
			p := bot.define(reserved, found.completed(t, provider))
			if p.Status != "configured" {
				t.Fatalf("the profile is %+v", p)
			}
			person := s.person(t)
			made := bot.begin(map[string]any{"profile": p.Slug, "user": user})
			person.Open(made.URL)
			person.Click("Continue to " + found.Definition["provider"].(string))
			person.Login(provider.Username, provider.Password, s.node.url+"/callback/")
			got := bot.session(made.ID)
			if got.Status != "connected" {
				t.Fatalf("the session is %+v; the draft was %v", got, found.Definition)
			}
			c := bot.connection(got.Connection)
			if c.Status != "active" || c.Account.Subject == "" || len(c.Scopes.Missing) > 0 {
				t.Errorf("the connection is %+v", c)
			}
			userinfo, err := url.Parse(provider.UserinfoURL)
			if err != nil {
				t.Fatal(err)
			}
			for _, generation := range []int64{1, 2} {
				if call := bot.call(p.Slug, user, userinfo.Path); call.status != http.StatusOK {
					t.Errorf("the call with generation %d is answered with %d %s", generation, call.status, call.body)
				}
				if after := bot.refresh(c.ID); after.Generation <= generation {
					t.Errorf("the refreshed connection is %+v", after)
				}
			}
			bot.remove("/connections/" + c.ID)
		})
	}
}

func (s *stage) discover(from string) discovered {
	s.t.Helper()
	var found discovered
	s.owner.post("/discover", map[string]any{"url": from}, &found)
	return found
}

// completed is the draft with what only an administrator knows.
func (d discovered) completed(t *testing.T, p *servers.Server) map[string]any {
	t.Helper()
	oauth := d.Definition["oauth"].(map[string]any)
	if oauth["client_auth"] != "basic" || d.Definition["token_url"] != p.TokenURL || oauth["issuer"] != p.Issuer || oauth["jwks_url"] != p.JWKSURL || oauth["userinfo_url"] != p.UserinfoURL {
		t.Errorf("the draft is %v", d.Definition)
	}
	d.Definition["client_id"], d.Definition["client_secret"] = p.ClientID, p.ClientSecret
	d.Definition["api"] = map[string]any{"base_url": origin(t, p.UserinfoURL)}
	return d.Definition
}

// TestDiscoveryFindsTheSameFromEveryURLOfAServer pastes what people paste.
func TestDiscoveryFindsTheSameFromEveryURLOfAServer(t *testing.T) {
	s := newStage(t, "sqlite")
	for _, name := range publishers(t) {
		t.Run(name, func(t *testing.T) {
			provider := servers.Start(t, name, servers.Options{RedirectURIs: []string{s.node.url + "/callback/prf_x"}})
			for _, from := range []string{provider.Issuer, strings.TrimSuffix(provider.Issuer, "/"), strings.TrimSuffix(provider.Issuer, "/") + "/", provider.MetadataURL, provider.MetadataURL + "?a=b#c"} {
				found := s.discover(from)
				oauth := found.Definition["oauth"].(map[string]any)
				if oauth["issuer"] != provider.Issuer || found.Definition["authorization_url"] != provider.AuthorizationURL {
					t.Errorf("from %s came %v", from, found.Definition)
				}
				if last := found.Tried[len(found.Tried)-1]; last.Outcome != "found" {
					t.Errorf("from %s: tried %v", from, found.Tried)
				}
			}
		})
	}
	provider := servers.Start(t, "node-oauth", servers.Options{RedirectURIs: []string{s.node.url + "/callback/prf_x"}})
	if p := s.owner.refused("invalid", "POST", "/discover", map[string]any{"url": provider.AuthorizationURL}); p.Field != "url" || !strings.Contains(p.Detail, "by hand") {
		t.Errorf("of a server that publishes nothing: %+v", p)
	}
}
