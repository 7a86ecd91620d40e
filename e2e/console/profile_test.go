package console_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/store"
)

func (s *stage) public() *url.URL {
	u, err := url.Parse(s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *stage) profileNamed(name string) behalf.Profile {
	s.t.Helper()
	all, err := s.System.Profiles(s.t.Context(), s.Assistant.ID, store.Page{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	s.t.Fatalf("there is no profile %q", name)
	return behalf.Profile{}
}

// newProfile opens the form of a new profile.
func (s *stage) newProfile(b *browser.Browser) {
	s.t.Helper()
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/profiles"))
	b.Click("New authorization")
	b.WaitText("Callback Link")
}

func TestAProfileIsDefinedByHand(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("dev", behalf.RoleDeveloper))
	s.newProfile(b)
	callback := text(t, b, "#callback")
	b.Fill("Name", "Beech")
	b.Fill("Identity Provider Name", "Beech Books")
	b.Fill("Client ID", "bot")
	b.Fill("Client Secret Key", "beech-secret-1")
	b.Fill("Authorization URL", "https://{tenant}.beech.example/authorize")
	b.Fill("Token Request URL", s.Provider+"/token")
	b.Fill("scope[0].value", "books:read")
	b.Fill("tenancy.base_url", "https://{tenant}.beech.example")
	b.WaitText("https://acme.beech.example/authorize") // the live preview
	b.Click("#group-calls button[name=add]")
	b.WaitURL(s.at("/assistants/" + s.Assistant.Slug + "/profiles/prf_"))
	b.WaitText("Enter the secret again")
	b.Fill("Client Secret Key", "beech-secret-1")
	b.Fill("authorization_fields[0].key", "X-Token")
	b.Fill("authorization_fields[0].value", "{{accessToken}}")
	s.Secret("beech-secret-1")
	b.Click("Save")
	b.WaitText("The profile is saved")

	p := s.profileNamed("Beech")
	if got := s.callback(p); got != callback {
		t.Errorf("the Callback Link was %s while the form was open, and is %s", callback, got)
	}
	if p.Status != behalf.ProfileConfigured || p.AuthorizationURL != "https://{tenant}.beech.example/authorize" || len(p.AuthorizationFields) != 1 ||
		p.AuthorizationFields[0].In != behalf.InHeader || len(p.Secrets.Client) != 1 || p.Secrets.Client[0].Value.Reveal() != "beech-secret-1" || p.Tenancy == nil {
		t.Errorf("the profile is %+v", p.Definition)
	}
	if page := b.Text() + html(t, b); strings.Contains(page, "beech-secret-1") {
		t.Error("the page holds the secret")
	}

	t.Run("edited, its secret stays", func(t *testing.T) {
		b.Fill("Name", "Copper Beech")
		b.Click("Save")
		b.WaitText("Copper Beech")
		b.WaitText("The profile is saved")
		if p := s.profileNamed("Copper Beech"); len(p.Secrets.Client) != 1 || p.ID == "" {
			t.Error("the secret is lost")
		}
	})
	t.Run("as a file", func(t *testing.T) {
		b.Click("YAML")
		b.WaitText("The whole definition")
		b.Fill("file", "type: oauth2\nname: [")
		b.Click("Save")
		b.WaitText("not saved yet")
		b.Fill("file", "type: oauth2\nname: Beech\nprovider: B\nclient_id: bot\nauthorization_url: "+s.Provider+"/authorize\ntoken_url: "+s.Provider+"/token\n")
		b.Click("Save")
		b.WaitText("The profile is saved")
		if p := s.profileNamed("Beech"); p.Tenancy != nil || p.Provider != "B" || len(p.Secrets.Client) != 1 {
			t.Errorf("the profile is %+v", p.Definition)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		b.Click("Delete…")
		b.WaitText("stops working at once")
		b.Click("button.danger")
		b.WaitText("is deleted")
		if strings.Contains(text(t, b, "main table"), "Beech") {
			t.Error("it is still in the list")
		}
	})
}

func (s *stage) callback(p behalf.Profile) string { return s.URL + "/callback/" + string(p.ID) }

func text(t *testing.T, b *browser.Browser, selector string) string {
	t.Helper()
	got, err := chromedp.Run(b.Context(), chromedp.Text(selector))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(got)
}

func html(t *testing.T, b *browser.Browser) string {
	t.Helper()
	got, err := chromedp.Run(b.Context(), chromedp.Evaluate[string]("document.documentElement.outerHTML"))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestEveryErrorOfAProfileStandsAtItsField(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("dev", behalf.RoleDeveloper))
	for _, c := range []struct {
		field, value string            // what is typed where
		at, says     string            // the name of the field that complains
		more         map[string]string // what is typed beside it
	}{
		{"name", "", "name", "Required", nil},
		{"name", strings.Repeat("n", 256), "name", "255", nil},
		{"name", "Acorn", "name", "Another profile", nil},
		{"provider", "", "provider", "Required", nil},
		{"provider", strings.Repeat("p", 256), "provider", "255", nil},
		{"client_id", "", "client_id", "Required", nil},
		{"client_id", strings.Repeat("c", 256), "client_id", "255", nil},
		{"client_secret", strings.Repeat("s", 256), "client_secret", "255", nil},
		{"authorization_url", "", "authorization_url", "Required", nil},
		{"authorization_url", "no address", "authorization_url", "which begins with", nil},
		{"authorization_url", "https://x.example/" + strings.Repeat("a", 3000), "authorization_url", "3000", nil},
		{"authorization_url", "https://x.example/a#b", "authorization_url", "without a fragment", nil},
		{"authorization_url", "https://x.example/{{nobody}}", "authorization_url", "placeholder", nil},
		{"authorization_url", "https://{tenant}.x.example/a", "authorization_url", "tenan", nil},
		{"token_url", "", "token_url", "Required", nil},
		{"token_url", "https://x.example/" + strings.Repeat("a", 3000), "token_url", "3000", nil},
		{"refresh_url", "ftp://x.example", "refresh_url", "Expected", nil},
		{"refresh_url", "https://x.example/" + strings.Repeat("a", 3000), "refresh_url", "3000", nil},
		{"scope[0].key", "client_id", "scope[0].key", "set by Behalf itself", map[string]string{"scope[0].value": "x"}},
		{"scope[0].key", "state", "scope[0].key", "set by Behalf itself", map[string]string{"scope[0].value": "x"}},
		{"scope[0].value", "{{nobody}}", "scope[0].value", "placeholder", nil},
		{"tenancy.base_url", "https://no-tenant.example", "tenancy.base_url", "{tenant}", nil},
		{"tenancy.base_url", "", "tenancy.base_url", "Required", map[string]string{"tenancy.label": "Your tree"}},
		{"tenancy.pattern", "(", "tenancy.pattern", "regular expression", map[string]string{"tenancy.base_url": "https://{tenant}.x.example"}},
		{"tenancy.default", "OAK 7", "tenancy.default", "Expected a tenant that the pattern", map[string]string{"tenancy.base_url": "https://{tenant}.x.example", "tenancy.pattern": "[a-z]+"}},
		{"tenancy.allowed", "a/b", "tenancy.allowed", "Number 1: Expected a name", map[string]string{"tenancy.base_url": "https://{tenant}.x.example"}},
		{"additional_fields[0].key", "1 pin", "additional_fields[0].key", "Expected a letter", nil},
		{"additional_fields[0].key", "accessToken", "additional_fields[0].key", "meaning of its own", nil},
		{"additional_fields[0].pattern", "(", "additional_fields[0].pattern", "regular expression", map[string]string{"additional_fields[0].key": "pin"}},
		{"additional_fields[0].visibility", "hidden", "additional_fields[0].value", "nobody can enter it", map[string]string{"additional_fields[0].key": "pin"}},
		{"authorization_fields[0].key", "Host", "authorization_fields[0].key", "header that may be set", map[string]string{"authorization_fields[0].value": "x"}},
		{"authorization_fields[0].value", "{{nobody}}", "authorization_fields[0].value", "placeholder", map[string]string{"authorization_fields[0].key": "X-A"}},
		{"authorization_fields[0].methods", "get", "authorization_fields[0].methods", "Number 1: Expected a method", map[string]string{"authorization_fields[0].key": "X-A", "authorization_fields[0].value": "x"}},
		{"authorization_fields[0].paths", "/a notes", "authorization_fields[0].paths", "Number 2: Expected a path", map[string]string{"authorization_fields[0].key": "X-A", "authorization_fields[0].value": "x"}},
		{"authorization_fields[0].key", "tenant", "authorization_fields[0].key", "filled by the connection", map[string]string{"authorization_fields[0].in": "path", "authorization_fields[0].value": "x"}},
		{"api.base_url", "x", "api.base_url", "Expected", nil},
		{"api.allowed_hosts", "https://x.example/", "api.allowed_hosts", "xpected", nil},
		{"oauth.require_iss", "yes", "oauth.issuer", "Required when", nil},
		{"oauth.scope_separator", "ab", "oauth.scope_separator", "one character", nil},
		{"oauth.authorization_params[0].key", "state", "oauth.authorization_params[0].key", "set by Behalf itself", map[string]string{"oauth.authorization_params[0].value": "x"}},
		{"oauth.token_lifetime", "-1", "oauth.token_lifetime", "Expected", nil},
		{"oauth.refresh.min_age", "1.5", "oauth.refresh.min_age", "whole number", nil},
		{"check_url", "nowhere", "check_url", "Expected", nil},
		{"auth_error", "- status: 99", "auth_error", "status of 200 to 599", nil},
		{"oauth.token", "successs: []", "oauth.token", "successs", nil},
		{"oauth.token", "a: [", "oauth.token", "YAML", nil},
	} {
		s.newProfile(b)
		if list, _, row := strings.Cut(c.field, "[0]"); row && list != "scope" {
			brings(t, b, "button[name=add][value='"+list+"']", "[name='"+c.field+"']")
		}
		for _, typed := range []map[string]string{{"name": "Valid", "provider": "P", "client_id": "c", "authorization_url": s.Provider + "/a", "token_url": s.Provider + "/t"}, c.more, {c.field: c.value}} {
			for name, value := range typed {
				set(t, b, name, value)
			}
		}
		b.Click("Save")
		b.WaitText("The profile is not saved yet")
		got, err := chromedp.Run(b.Context(), chromedp.Evaluate[map[string]any](`((e, typed) => ({invalid: e.getAttribute("aria-invalid") === "true", shown: e.checkVisibility(), value: typed.type === "checkbox" && !typed.checked ? "" : typed.value,
			says: (e.getAttribute("aria-describedby") ?? "").split(" ").map(id => document.getElementById(id)?.innerText ?? "").join(" ")}))(document.querySelector("[name='`+c.at+`']"), document.querySelector("[name='`+c.field+`']"))`))
		if err != nil {
			t.Fatal(err)
		}
		says, _ := got["says"].(string)
		if got["invalid"] != true || got["shown"] != true || !strings.Contains(says, c.says) {
			t.Errorf("%s = %.20q: the field %s says %v", c.field, c.value, c.at, got)
		}
		if want := strings.TrimSpace(c.value); c.field == "client_secret" {
			if got["value"] != "" {
				t.Error("the secret comes back")
			}
		} else if got["value"] != want && (c.field != "authorization_fields[0].paths") {
			t.Errorf("%s: what was typed is lost: %.40v", c.field, got["value"])
		}
	}
}

// brings clicks a button that brings something into the page, in a folded group
// too.
func brings(t *testing.T, b *browser.Browser, button, what string) {
	t.Helper()
	if _, err := chromedp.Run(b.Context(), chromedp.Evaluate[bool](`(document.querySelector("`+button+`").click(), true)`)); err != nil {
		t.Fatalf("%s: %v", button, err)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		there, err := chromedp.Run(b.Context(), chromedp.Evaluate[bool](`document.readyState === "complete" && document.querySelector("`+what+`") !== null`))
		if err == nil && there {
			return
		}
	}
	t.Fatalf("%s brings no %s", button, what)
}

// set types into any field at once, in a folded group too.
func set(t *testing.T, b *browser.Browser, name, value string) {
	t.Helper()
	quoted := "`" + value + "`"
	if _, err := chromedp.Run(b.Context(), chromedp.Evaluate[bool](`(e => { e.type === "number" && (e.type = "text"); e.value = `+quoted+`; if (e.type === "checkbox") e.checked = true; return true })(document.querySelector("[name='`+name+`']"))`)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestTwoPeopleEditOneProfile(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("dev", behalf.RoleDeveloper))
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/profiles/" + string(s.Profile.ID)))
	p := s.Profile
	p.Description = "changed by somebody else"
	if _, err := s.System.SaveProfile(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	b.Fill("Identity Provider Name", "Mine")
	b.Click("Save")
	b.WaitText("Somebody else saved this profile")
	b.WaitText("Description")
	b.Click("Save mine over it")
	b.WaitText("The profile is saved")
	if got := s.profileNamed(p.Name); got.Provider != "Mine" || got.Description != "" {
		t.Errorf("the profile is %+v", got.Definition)
	}
}

func TestDiscoveryFillsTheForm(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("dev", behalf.RoleDeveloper))
	s.newProfile(b)
	b.Fill("Name", "Mine")
	b.Fill("Issuer or address", s.Provider)
	b.Click("Discover")
	b.WaitText("Filled in from")
	for name, want := range map[string]string{"name": "Mine", "authorization_url": s.Provider + "/authorize", "token_url": s.Provider + "/token", "oauth.issuer": s.Provider} {
		got, err := chromedp.Run(b.Context(), chromedp.Evaluate[string](`document.querySelector("[name='`+name+`']").value`))
		if err != nil || got != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	b.Fill("Issuer or address", "http://169.254.169.254/")
	b.Click("Discover")
	b.WaitText("Nothing was found there")
}

func TestAViewerLooksAndChangesNothing(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("viola", behalf.RoleViewer))
	for _, path := range []string{"/assistants", "/assistants/" + s.Assistant.Slug, "/assistants/" + s.Assistant.Slug + "/settings", "/assistants/" + s.Assistant.Slug + "/profiles", "/assistants/" + s.Assistant.Slug + "/profiles/" + string(s.Profile.ID)} {
		b.Open(s.at(path))
		shown, err := chromedp.Run(b.Context(), chromedp.Evaluate[float64](`[...document.querySelectorAll("main button:not(.scripted)")].filter(e => e.checkVisibility()).length`))
		if err != nil || shown > 0 {
			t.Errorf("%s offers %v buttons (%v)", path, shown, err)
		}
	}
	b.Open(s.at("/people"))
	b.WaitText("You may not do this")
}
