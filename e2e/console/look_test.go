package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// looks are how people see a page.
var looks = map[string]browser.Options{
	"1280-light": {},
	"1280-dark":  {Dark: true},
	"390-light":  {Mobile: true},
	"390-dark":   {Mobile: true, Dark: true},
}

// tour is every page of the console, by name: what is done on it before it is
// looked at, if anything. A page that is added gets a line.
func (l *lively) tour() []struct {
	name, path string
	do         func(*browser.Browser)
} {
	ours := "/assistants/" + l.Assistant.Slug
	return []struct {
		name, path string
		do         func(*browser.Browser)
	}{
		{"assistants", "/assistants", nil},
		{"assistant-new", "/assistants/new", nil},
		{"assistant-new-wrong", "/assistants/new", func(b *browser.Browser) { b.Click("Make the assistant"); b.WaitText("not made yet") }},
		{"overview", ours, nil},
		{"overview-empty", "/assistants/" + l.empty.Slug, nil},
		{"settings", ours + "/settings", nil},
		{"profiles", ours + "/profiles", nil},
		{"profiles-empty", "/assistants/" + l.empty.Slug + "/profiles", nil},
		{"profile", ours + "/profiles/" + l.Profile.Slug, nil},
		{"profile-advanced", ours + "/profiles/" + l.Profile.Slug, func(b *browser.Browser) {
			for _, group := range []string{"Validation", "Requests", "Refreshing", "What this provider"} {
				b.Click(group)
			}
		}},
		{"profile-file", ours + "/profiles/" + l.Profile.Slug + "?view=file", nil},
		{"profile-secrets", ours + "/profiles/" + l.Profile.Slug + "/secrets", nil},
		{"profile-delete", ours + "/profiles/" + l.Profile.Slug + "/delete", nil},
		{"profile-new", ours + "/profiles", func(b *browser.Browser) { b.Click("New authorization"); b.WaitText("Callback Link") }},
		{"catalog", ours + "/profiles", func(b *browser.Browser) {
			b.Click("New authorization")
			b.WaitText("Callback Link")
			b.Click("Search")
			b.WaitText("Asana")
		}},
		{"catalog-search", ours + "/profiles", func(b *browser.Browser) {
			b.Click("New authorization")
			b.WaitText("Callback Link")
			b.Fill("Application", "google")
			b.WaitText("Google Drive")
		}},
		{"catalog-provider", ours + "/profiles", func(b *browser.Browser) {
			b.Click("New authorization")
			b.WaitText("Callback Link")
			b.Fill("Application", "dynamics")
			b.WaitText("Microsoft Dynamics 365")
			b.Click("Microsoft Dynamics 365")
			b.WaitText("Enter what it gave you")
		}},
		{"profile-new-wrong", ours + "/profiles", func(b *browser.Browser) {
			b.Click("New authorization")
			b.WaitText("Callback Link")
			b.Fill("Authorization URL", "not an address")
			b.Fill("Client Secret Key", "typed once")
			b.Click("Save")
			b.WaitText("not saved yet")
		}},
		{"profile-test", ours + "/profiles/" + l.Profile.Slug + "/test", nil},
		{"profile-test-quick", ours + "/profiles/" + l.Profile.Slug + "/test", func(b *browser.Browser) {
			b.Click("Quick check")
			b.WaitText("Client id and secret")
			b.Click("Client id and secret")
		}},
		{"profile-test-waiting", ours + "/profiles/" + l.Profile.Slug + "/test", func(b *browser.Browser) {
			b.Click("Test")
			b.WaitText("Open the login")
		}},
		{"connection-recorder", ours + "/connections/" + string(l.broken.ID) + "/recorder", nil},
		{"connections", ours + "/connections", nil},
		{"connections-filtered", ours + "/connections?status=lapsed", nil},
		{"connections-none", ours + "/connections?user=nobody", nil},
		{"connections-empty", "/assistants/" + l.empty.Slug + "/connections", nil},
		{"connection", ours + "/connections/" + string(l.good.ID), nil},
		{"connection-broken", ours + "/connections/" + string(l.broken.ID), nil},
		{"connection-disconnect", ours + "/connections/" + string(l.good.ID) + "/disconnect", nil},
		{"keys", ours + "/keys", nil},
		{"keys-empty", "/assistants/" + l.empty.Slug + "/keys", nil},
		{"key-new", "/keys/new", nil},
		{"key-new-wrong", ours + "/keys/new", func(b *browser.Browser) { b.Click("Make the key"); b.WaitText("No key is made yet") }},
		{"key-made", ours + "/keys/new", func(b *browser.Browser) { l.makesKey(b) }},
		{"keys-administrators", "/keys", nil},
		{"variables", ours + "/variables", nil},
		{"variables-none", ours + "/variables?user=nobody", nil},
		{"variables-empty", "/assistants/" + l.empty.Slug + "/variables", nil},
		{"variable-new", ours + "/variables/new", nil},
		{"variable-new-wrong", ours + "/variables/new", func(b *browser.Browser) { b.Click("Keep it"); b.WaitText("not kept yet") }},
		{"variable", ours + "/variables/UserSession/cart?user=42", nil},
		{"variable-secret", ours + "/variables/EnterpriseContext/signing.key", nil},
		{"variable-delete", ours + "/variables/env/TIER/delete", nil},
		{"activity", ours + "/activity", nil},
		{"activity-server", "/activity?all=yes", nil},
		{"connectors", "/connectors", nil},
		{"connector", "/connectors/office", nil},
		{"connector-new", "/connectors/new", nil},
		{"connector-new-wrong", "/connectors/new", func(b *browser.Browser) { b.Click("Make the connector"); b.WaitText("No connector is made yet") }},
		{"connector-enrol", "/connectors/office", func(b *browser.Browser) {
			b.Click("Add an agent")
			b.WaitText("Use it now")
			l.Secret(aToken.FindString(b.Text()))
			b.Click("Windows")
		}},
		{"connector-waiting", "/connectors/plant", nil},
		{"connector-agent-revoke", "/connectors/office/agents/" + string(l.agent.ID) + "/revoke", nil},
		{"connector-delete", "/connectors/plant/delete", nil},
		{"connector-delete-used", "/connectors/office/delete", nil},
		{"people", "/people", nil},
		{"people-new", "/people/new", nil},
		{"person", "/people/" + string(l.viewer.ID), nil},
		{"person-remove", "/people/" + string(l.viewer.ID) + "/remove", nil},
		{"account", "/account", nil},
		{"not-found", "/nowhere", nil},
	}
}

// lively is a stage on which something is going on.
type lively struct {
	*stage
	owner, viewer behalf.Member
	empty         behalf.Assistant
	good, broken  behalf.Connection
	agent         behalf.ConnectorAgent
}

func newLively(t *testing.T) *lively {
	t.Helper()
	l := &lively{stage: newStage(t, servertest.Setup{Config: begun})}
	l.owner, l.viewer = l.member("Rowan", behalf.RoleOwner), l.member("Viola", behalf.RoleViewer)
	l.member("Dev", behalf.RoleDeveloper)
	if _, _, err := l.System.InviteMember(t.Context(), behalf.Member{Email: "not.here.yet@behalf.example", Role: behalf.RoleAdministrator}); err != nil {
		t.Fatal(err)
	}
	l.empty = l.NewAssistant(behalf.NewAssistant("Travel Desk", l.DB.Now()))
	l.NewAssistant(behalf.NewAssistant("Doctor Maximiliane Wolfeschlegelsteinhausen-Featherstonehaugh’s Household Assistant", l.DB.Now()))
	for _, name := range []string{"ServiceNow", "Wolpertinger & Söhne Incident Management with a name that is long"} {
		l.NewProfile(l.Assistant, l.Definition(name))
	}
	l.agent = l.connectors()
	for _, user := range []string{"42", "43", "44"} {
		l.good, l.broken = l.broken, l.Connected(l.Profile, user, "sub-"+user)
	}
	l.happens()
	l.variables()
	l.Sim.Update(func(sw *simulator.Switches) { sw.RefreshError = "invalid_grant" })
	l.Do(l.Key, http.MethodPost, "/v1/assistants/"+l.Assistant.Slug+"/connections/"+string(l.broken.ID)+"/refresh", nil)
	return l
}

// variables keeps some, and has a profile that needs another.
func (l *lively) variables() {
	l.t.Helper()
	d := l.Definition("Regional Ledger")
	d.API.BaseURL = "https://{{env.REGION}}.ledger.example.com/v1"
	d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Tier", Value: "{{env.TIER}} {{context.session.UserSession.cart}}"}}
	l.NewProfile(l.Assistant, d)
	for _, x := range []behalf.Variable{
		{Namespace: behalf.NamespaceEnv, Name: "TIER", Value: secret.New("gold")},
		{Namespace: behalf.NamespaceEnterprise, Name: "signing.key", Value: secret.New("nobody sees this"), Secret: true},
		{Namespace: behalf.NamespaceBot, Name: "greeting", Value: secret.New("a long value that an assistant keeps for itself, because nobody told it not to do so")},
		{Namespace: behalf.NamespaceUser, User: "42", Name: "cart", Value: secret.New("c-1")},
	} {
		x.Assistant = l.Assistant.ID
		if _, err := l.System.PutVariable(l.t.Context(), x); err != nil {
			l.t.Fatal(err)
		}
	}
}

// TestScreenshots keeps pictures of every page, which `make screenshots` puts
// below e2e/out, and holds what a program can see of its looks: that nothing
// sticks out, that the browser complains of nothing, that axe finds nothing,
// and that no page is heavy.
func TestScreenshots(t *testing.T) {
	l := newLively(t)
	outside := browser.New(t, browser.Options{})
	outside.Open(l.at("/sign-in"))
	l.pictures(outside, "sign-in")
	l.signsIn(outside, l.owner.Email, "not the password")
	outside.WaitText("not signed in")
	l.pictures(outside, "sign-in-wrong")
	link, err := l.System.LinkMember(t.Context(), l.viewer.ID, behalf.LinkReset)
	if err != nil {
		t.Fatal(err)
	}
	outside.Open(l.at("/link/" + link.Reveal()))
	l.pictures(outside, "link-reset")
	outside.Open(l.at("/link/" + secret.Random().Reveal()))
	l.pictures(outside, "link-unknown")

	b := l.arrives(l.owner)
	for _, page := range l.tour() {
		b.Open(l.at(page.path))
		if page.do != nil {
			page.do(b)
		}
		l.pictures(b, page.name)
	}
	b.Open(l.at("/assistants/" + l.Assistant.Slug + "#menu"))
	b.Appear(browser.Options{Mobile: true})
	b.Screenshot("menu-390-light")
	b.Accessible("the menu")
	for _, complaint := range append(b.Complaints(), outside.Complaints()...) {
		if !strings.Contains(complaint, "the server responded with a status of 4") { // Chromium's way to say that a page tells an error
			t.Errorf("the browser's console says %q", complaint)
		}
	}
}

// pictures looks at the page that is open, in every way.
func (l *lively) pictures(b *browser.Browser, name string) {
	l.t.Helper()
	for appearance, options := range looks {
		b.Appear(options)
		b.Screenshot(name + "-" + appearance)
		b.Accessible(name + ", " + appearance)
		if over := b.Overflow(); over > 0 {
			l.t.Errorf("%s, %s: it is %d pixels too wide", name, appearance, over)
		}
	}
	b.Appear(browser.Options{})
	if weight := b.Weight(); weight > 100_000 {
		l.t.Errorf("%s weighs %d bytes", name, weight)
	}
}
