package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func TestDiscoveryDraftsAProfileThatCanBeSaved(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	var got api.Discovered
	s.Do(s.Owner, "POST", "/v1/discover", map[string]string{"url": s.Provider + "/any/page?x=1"}).Into(t, &got)
	d := got.Definition
	if d.AuthorizationURL != s.Provider+"/authorize" || d.TokenURL != s.Provider+"/token" || d.OAuth.Issuer != s.Provider || !d.OAuth.RequireIss {
		t.Errorf("the draft is %+v", d)
	}
	if len(got.ScopesSupported) == 0 || len(got.Notes) == 0 || got.Tried[len(got.Tried)-1] != (api.Tried{Form: "OpenID Connect Discovery", URL: s.Provider + "/.well-known/openid-configuration", Outcome: "found"}) {
		t.Errorf("beside it came %+v", got)
	}
	d.Name, d.ClientID = "Discovered", "bot"
	var saved api.Profile
	s.Do(s.Owner, "POST", "/v1/assistants/"+s.Assistant.Slug+"/profiles", d).Into(t, &saved)
	if saved.Status != "configured" || len(saved.Warnings) != 1 || saved.Warnings[0].Code != behalf.WarnNoAPI { // where the API is no server publishes
		t.Errorf("saved is %+v", saved)
	}
}

func TestDiscoveryGoesNowhereThatAProfileMayNotGo(t *testing.T) {
	s := servertest.New(t, servertest.Setup{Config: func(c *server.Config) { c.AllowPrivate = nil }})
	var asked []string
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.Path) }))
	defer inside.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	for _, url := range []string{
		inside.URL, "http://localhost:" + port, "http://[::1]:" + port, "https://127.0.0.1:" + port, "https://localhost:" + port,
		"https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "https://168.63.129.16/", "https://10.0.0.1", "https://192.168.1.1", "https://[::ffff:127.0.0.1]:" + port,
		"https://2130706433:" + port, "https://0177.0.0.1:" + port, "https://0x7f.1:" + port, "https://127.1:" + port, "https://0.0.0.0:" + port, "https://[::]:" + port,
	} {
		t.Run(url, func(t *testing.T) {
			p := s.Do(s.Owner, "POST", "/v1/discover", map[string]string{"url": url}).Problem(t, 422, behalf.CodeInvalid)
			if p.Field != "url" || !strings.Contains(p.Detail, "does not call that address") {
				t.Errorf("%+v", p)
			}
		})
	}
	for _, url := range []string{"http://169.254.169.254/", "http://example.com", "file:///etc/passwd", "gopher://127.0.0.1:" + port, "https://user:pw@example.com", "https://{tenant}.example.com", ""} {
		t.Run("never asked: "+url, func(t *testing.T) {
			p := s.Do(s.Owner, "POST", "/v1/discover", map[string]string{"url": url}).Problem(t, 422, behalf.CodeInvalid)
			if p.Field != "url" || !strings.Contains(p.Detail, "https URL") || len(p.Errors) != 1 {
				t.Errorf("%+v", p)
			}
		})
	}
	if len(asked) > 0 {
		t.Errorf("something inside was asked: %q", asked)
	}
}

func TestDiscoveryIsNotLedAway(t *testing.T) {
	var s *servertest.Server
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		self := "http://" + r.Host
		switch r.URL.Path {
		case "/redirect/.well-known/openid-configuration":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
		case "/mcp":
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://169.254.169.254/latest"`)
			w.WriteHeader(http.StatusUnauthorized)
		case "/.well-known/oauth-protected-resource/listed":
			_, _ = w.Write([]byte(`{"resource":"` + self + `/listed","authorization_servers":["https://169.254.169.254/","https://10.0.0.1"]}`))
		case "/mixed/.well-known/openid-configuration":
			_, _ = w.Write([]byte(`{"issuer":"` + s.Provider + `","authorization_endpoint":"` + self + `/authorize","token_endpoint":"` + self + `/token"}`))
		case "/injected/.well-known/openid-configuration":
			_, _ = w.Write([]byte(`{"issuer":"` + self + `/injected","authorization_endpoint":"` + self + `/authorize","token_endpoint":"` + s.Provider + `/token"}`))
		default:
			http.NotFound(w, r)
		}
	}))
	defer hostile.Close()
	s = servertest.New(t, servertest.Setup{})
	ask := func(path string) servertest.Answer {
		return s.Do(s.Owner, "POST", "/v1/discover", map[string]string{"url": hostile.URL + path})
	}
	for path, reason := range map[string]string{"/redirect": "redirects to another host", "/mixed": "its issuer is another one"} {
		if p := ask(path).Problem(t, 502, behalf.CodeProvider); !strings.Contains(p.Detail, reason) || p.Field != "url" || len(p.Errors) < 3 {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, path := range []string{"/mcp", "/listed"} {
		if p := ask(path).Problem(t, 422, behalf.CodeInvalid); !strings.Contains(p.Detail, "cloud metadata address") {
			t.Errorf("%s: %+v", path, p)
		}
	}
	var got api.Discovered
	ask("/injected").Into(t, &got)
	noted := false
	for _, n := range got.Notes {
		noted = noted || n.Field == "token_url"
	}
	if !noted {
		t.Errorf("nobody is told where the secret would go: %+v", got.Notes)
	}
}

func TestWarningsComeWithTheProfileAndFromTheLinter(t *testing.T) {
	s := servertest.New(t, servertest.Setup{Profile: func(d *behalf.Definition) { d.OAuth.PKCE = behalf.PKCEOff }})
	at := "/v1/assistants/" + s.Assistant.Slug + "/profiles"
	var one api.Profile
	s.Do(s.Owner, "GET", at+"/acorn", nil).Into(t, &one)
	if !warned(one.Warnings, "oauth.pkce", behalf.WarnPKCEOff) {
		t.Errorf("the profile is warned of %+v", one.Warnings)
	}
	var all api.List[api.Profile]
	s.Do(s.Owner, "GET", at, nil).Into(t, &all)
	if len(all.Items) != 1 || all.Items[0].Warnings != nil {
		t.Errorf("the list is warned of %+v", all.Items)
	}
	var reserved api.Profile
	s.Do(s.Owner, "POST", at, map[string]bool{"reserve": true}).Into(t, &reserved)
	s.Do(s.Owner, "GET", at+"/"+reserved.ID, nil).Into(t, &reserved)
	if reserved.Warnings != nil {
		t.Errorf("a reserved profile is warned of %+v", reserved.Warnings)
	}

	var said api.Linted
	s.Do(s.Owner, "POST", "/v1/lint", map[string]any{"definition": map[string]any{"authorization_url": "https://a.example/?state=x"}}).Into(t, &said)
	if !warned(said.Warnings, "authorization_url", behalf.WarnHardCodedState) {
		t.Errorf("said %+v", said.Warnings)
	}
	s.Do(s.Owner, "POST", "/v1/lint", map[string]any{"definition": map[string]any{"scope": []any{map[string]string{"key": "scope", "value": "a"}}}, "scopes_supported": []string{"b"}}).Into(t, &said)
	if !warned(said.Warnings, "scope[0].value", behalf.WarnScopeNotOffered) {
		t.Errorf("said %+v", said.Warnings)
	}
	s.Do(s.Owner, "POST", "/v1/lint", map[string]any{"definition": map[string]any{"nope": 1}}).Problem(t, 422, behalf.CodeInvalid)
}

func warned(all []behalf.Warning, field string, code behalf.WarningCode) bool {
	for _, w := range all {
		if w.Field == field && w.Code == code {
			return true
		}
	}
	return false
}

func TestOnlyWhoMayWriteProfilesDraftsThem(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	for path, body := range map[string]map[string]any{"/v1/discover": {"url": s.Provider}, "/v1/lint": {"definition": map[string]any{}}} {
		for _, role := range []behalf.Role{behalf.RoleOwner, behalf.RoleAdministrator, behalf.RoleDeveloper} {
			if a := s.Do(s.NewKey(behalf.Key{Name: "n", Role: role}), "POST", path, body); a.Status != 200 {
				t.Errorf("%s: %s: status %d", path, role, a.Status)
			}
		}
		for _, key := range []string{s.Key, s.NewKey(behalf.Key{Name: "n", Role: behalf.RoleViewer})} {
			s.Do(key, "POST", path, body).Problem(t, 403, behalf.CodeForbidden)
		}
		s.Do("", "POST", path, body).Problem(t, 401, behalf.CodeUnauthenticated)
	}
}
