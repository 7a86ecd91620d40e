package console_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// stop is one of a tour: a page, and what is done on it before it is looked at,
// if anything.
type stop struct {
	name, path string
	do         func(*browser.Browser)
}

// tour is every page of the console, as an owner sees it. A page that is added
// gets a line.
func (l *lively) tour() []stop {
	ours := "/assistants/" + l.Assistant.Slug
	hook := ours + "/webhooks/" + string(l.hook.ID)
	return []stop{
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
		{"profile-secrets-wrong", ours + "/profiles/" + l.Profile.Slug + "/secrets", func(b *browser.Browser) { b.Click("button.main"); b.WaitText("not added yet") }},
		{"profile-secret-remove", ours + "/profiles/" + l.Profile.Slug + "/secrets", func(b *browser.Browser) {
			b.Click("a[aria-label='Remove the secret 1']")
			b.WaitText("cannot be brought back")
		}},
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
		{"connection-restore", ours + "/connections/" + string(l.good.ID) + "/generations/" + l.earlier.ID() + "/restore", nil},
		{"connection-disconnect", ours + "/connections/" + string(l.good.ID) + "/disconnect", nil},
		{"webhooks", ours + "/webhooks", nil},
		{"webhooks-empty", "/assistants/" + l.empty.Slug + "/webhooks", nil},
		{"webhook", hook, nil},
		{"webhook-failed", hook + "?status=failed", nil},
		{"webhook-failing", ours + "/webhooks/" + string(l.failing.ID), nil},
		{"webhook-disabled", ours + "/webhooks/" + string(l.disabled.ID), nil},
		{"webhook-new", ours + "/webhooks/new", nil},
		{"webhook-new-wrong", ours + "/webhooks/new", func(b *browser.Browser) {
			b.Fill("URL", "bot.example.com")
			b.Fill("Events", "Only")
			b.Click("Make the webhook")
			b.WaitText("No webhook is made yet")
		}},
		{"webhook-made", ours + "/webhooks/new", func(b *browser.Browser) {
			b.Fill("URL", "https://bot.example.com/behalf-events")
			b.Click("Make the webhook")
			b.WaitText("Copy it now")
			l.Secret(aWebhookSecret.FindString(b.Text()))
		}},
		{"webhook-change", hook + "/change", nil},
		{"webhook-rotate", hook + "/rotate", nil},
		{"webhook-replay", hook + "/replay", nil},
		{"webhook-delivery", hook + "/deliveries/" + string(l.taken.ID), nil},
		{"webhook-delivery-failed", ours + "/webhooks/" + string(l.failing.ID) + "/deliveries/" + string(l.refused.ID), nil},
		{"webhook-delete", hook + "/delete", nil},
		{"keys", ours + "/keys", nil},
		{"keys-empty", "/assistants/" + l.empty.Slug + "/keys", nil},
		{"key-new", "/keys/new", nil},
		{"key-new-wrong", ours + "/keys/new", func(b *browser.Browser) { b.Click("Make the key"); b.WaitText("No key is made yet") }},
		{"key-made", ours + "/keys/new", func(b *browser.Browser) { l.makesKey(b) }},
		{"key-revoke", ours + "/keys/" + string(l.keys[0].ID) + "/revoke", nil},
		{"keys-administrators", "/keys", nil},
		{"key-administrators-revoke", "/keys/" + string(l.keys[1].ID) + "/revoke", nil},
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
		{"people-new-wrong", "/people/new", func(b *browser.Browser) { b.Click("Make the invitation"); b.WaitText("Required") }},
		{"person", "/people/" + string(l.viewer.ID), nil},
		{"person-remove", "/people/" + string(l.viewer.ID) + "/remove", nil},
		{"account", "/account", nil},
		{"not-found", "/nowhere", nil},
	}
}

// aside are what routes have that is no page to look at.
var aside = map[string]string{
	"":              "leads to the assistants",
	"/sso":          "leads to the identity provider",
	"/sso/callback": "leads on; what it says otherwise is a stop",
	"/assistants/{assistant}/profiles/{profile}/test/{trial}/events": "is a stream",
}

// gallery is what was looked at.
type gallery struct {
	t     *testing.T
	pages *http.ServeMux
	seen  map[string]bool // by pattern
}

func newGallery(t *testing.T) *gallery {
	g := &gallery{t: t, pages: http.NewServeMux(), seen: map[string]bool{}}
	for _, path := range console.Pages() {
		g.pages.Handle(console.Prefix+path, http.NotFoundHandler())
	}
	return g
}

// visit looks at a stop of somebody's tour.
func (g *gallery) visit(b *browser.Browser, s *stage, at stop) {
	g.t.Helper()
	b.Open(s.at(at.path))
	if at.do != nil {
		at.do(b)
	}
	g.look(b, at.name)
}

// look looks at the page that is open, in every way.
func (g *gallery) look(b *browser.Browser, name string) {
	g.t.Helper()
	b.Fit(name)
	if b.Status() == http.StatusOK { // else it is an error's
		g.saw(b.URL())
	}
	for _, complaint := range b.Complaints() {
		if !strings.Contains(complaint, "the server responded with a status of ") { // Chromium's way to say that a page tells an error
			g.t.Errorf("%s: the browser's console says %q", name, complaint)
		}
	}
}

func (g *gallery) saw(address string) {
	g.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		g.t.Fatal(err)
	}
	_, pattern := g.pages.Handler(&http.Request{Method: http.MethodGet, URL: u, Host: u.Host})
	g.seen[strings.TrimPrefix(pattern, console.Prefix)] = true
}

// missed are the pages that nobody looked at.
func (g *gallery) missed() []string {
	return slices.DeleteFunc(console.Pages(), func(path string) bool { return g.seen[path] || aside[path] != "" })
}

func TestAPageThatNobodyLooksAtIsMissed(t *testing.T) {
	g := newGallery(t)
	all := len(g.missed())
	g.saw("http://127.0.0.1:1/console/assistants/support-bot/webhooks/whk_1?status=failed")
	g.saw("http://127.0.0.1:1/console/nowhere")
	if got := g.missed(); len(got) != all-1 || slices.Contains(got, "/assistants/{assistant}/webhooks/{webhook}") || !slices.Contains(got, "/assistants/{assistant}/webhooks/{webhook}/rotate") {
		t.Errorf("of %d pages %q are missed", all, got)
	}
	for path := range aside {
		if !slices.Contains(console.Pages(), path) {
			t.Errorf("there is no page %s to leave aside", path)
		}
	}
}

// lively is a stage on which something is going on.
type lively struct {
	*stage
	owner, viewer behalf.Member
	empty         behalf.Assistant
	good, broken  behalf.Connection
	earlier       behalf.Generation // of good
	agent         behalf.ConnectorAgent
	keys          [2]behalf.Key // the assistant's, and an administrator's

	hook, failing, disabled behalf.Webhook
	taken, refused          behalf.Delivery
}

func newLively(t *testing.T) *lively {
	t.Helper()
	l := &lively{stage: newStage(t, servertest.Setup{Config: func(c *server.Config) {
		begun(c)
		c.SSO = console.SSO{Issuer: "http://127.0.0.1:9", ClientID: "console", Label: "Sign in with Acme"}
	}})}
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
	l.webhooks()
	l.kept()
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

// kept lets there be what is kept of what was: an earlier generation, profiles
// that were deleted, secrets that wait for their turn, keys.
func (l *lively) kept() {
	l.t.Helper()
	ctx := l.t.Context()
	all, err := l.System.Generations(ctx, l.good)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, g := range all {
		if !g.Current && !g.Stray {
			l.earlier = g
		}
	}
	for name, drop := range map[string]func(behalf.Profile) error{
		"Old Wiki":   func(p behalf.Profile) error { return l.System.DeleteProfile(ctx, p) },
		"Older Wiki": func(p behalf.Profile) error { return l.System.EndProfile(ctx, p) },
	} {
		p := l.NewProfile(l.Assistant, l.Definition(name))
		l.Connected(p, "42", "sub-42")
		if err := drop(p); err != nil {
			l.t.Fatal(err)
		}
	}
	now := l.DB.Now()
	p, err := l.System.Profile(ctx, l.Assistant.ID, string(l.Profile.ID))
	if err != nil {
		l.t.Fatal(err)
	}
	p.Secrets.Client = append(p.Secrets.Client, behalf.ClientSecret{Value: secret.Random(), CreatedAt: now.Add(-400 * 24 * time.Hour), ExpiresAt: now.Add(5 * 24 * time.Hour)},
		behalf.ClientSecret{Value: secret.Random(), CreatedAt: now.Add(-800 * 24 * time.Hour), ExpiresAt: now.Add(-24 * time.Hour)})
	if l.Profile, err = l.System.SaveProfile(ctx, p); err != nil {
		l.t.Fatal(err)
	}
	for i, k := range []behalf.Key{{Name: "Backend, staging", Assistant: l.Assistant.ID}, {Name: "Terraform", Role: behalf.RoleAdministrator, ExpiresAt: now.Add(20 * 24 * time.Hour)}} {
		made, shown, err := l.System.CreateKey(ctx, k)
		if err != nil {
			l.t.Fatal(err)
		}
		l.Secret(shown.Reveal())
		l.keys[i] = made
	}
}

// TestScreenshots keeps pictures of every page, which `make screenshots` puts
// below e2e/out, and holds what a program can see of its looks: that nothing
// sticks out, that the browser complains of nothing, that axe finds nothing,
// that no page is heavy, and that no page was left out.
func TestScreenshots(t *testing.T) {
	g := newGallery(t)
	g.first()
	l := newLively(t)
	g.outside(l)

	owner := l.arrives(l.owner)
	for _, at := range l.tour() {
		g.visit(owner, l.stage, at)
	}
	owner.Open(l.at("/assistants/" + l.Assistant.Slug + "#menu"))
	owner.Appear(browser.Options{Mobile: true})
	owner.Picture("menu-390-light")
	owner.Accessible("the menu")

	viewer := l.arrives(l.viewer)
	ours := "/assistants/" + l.Assistant.Slug
	for _, at := range []stop{
		{"forbidden", "/people", nil},
		{"viewer-settings", ours + "/settings", nil},
		{"viewer-profiles", ours + "/profiles", nil},
		{"viewer-profile", ours + "/profiles/" + l.Profile.Slug, nil},
		{"viewer-connection", ours + "/connections/" + string(l.good.ID), nil},
		{"viewer-webhook", ours + "/webhooks/" + string(l.hook.ID), nil},
		{"viewer-delivery", ours + "/webhooks/" + string(l.hook.ID) + "/deliveries/" + string(l.taken.ID), nil},
		{"viewer-empty", "/assistants/" + l.empty.Slug + "/profiles", nil},
	} {
		g.visit(viewer, l.stage, at)
	}
	for _, path := range g.missed() {
		t.Errorf("nobody looked at %s: the tour needs a stop there", path)
	}
}

// first is a server on which there is nothing yet.
func (g *gallery) first() {
	s := newStage(g.t, servertest.Setup{Bare: true})
	b := browser.New(g.t, browser.Options{})
	g.visit(b, s, stop{name: "first-sign-in", path: "/sign-in"})
	link, err := s.System.SetUp(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	s.Secret(link.Reveal(), password)
	g.visit(b, s, stop{name: "first-owner", path: "/link/" + link.Reveal()})
	b.Click("Make me the owner")
	b.WaitText("Something has to be corrected")
	g.look(b, "first-owner-wrong")
	b.Fill("Email address", "first@behalf.example")
	b.Fill("Your name", "Ada First")
	b.Fill("Password", password)
	b.Click("Make me the owner")
	b.WaitURL(s.at("/assistants"))
	g.look(b, "first-assistants")
	for _, at := range []stop{{"first-connectors", "/connectors", nil}, {"first-keys", "/keys", nil}, {"first-people", "/people", nil}, {"first-activity", "/activity", nil}} {
		g.visit(b, s, at)
	}
}

// outside is what somebody sees who is not signed in.
func (g *gallery) outside(l *lively) {
	b := browser.New(g.t, browser.Options{})
	g.visit(b, l.stage, stop{name: "sign-in", path: "/sign-in"})
	l.signsIn(b, l.owner.Email, "not the password")
	b.WaitText("not signed in")
	g.look(b, "sign-in-wrong")
	links := map[string]secret.Text{}
	var err error
	if _, links["link-invited"], err = l.System.InviteMember(g.t.Context(), behalf.Member{Email: "jay@behalf.example", Name: "Jay Oak", Role: behalf.RoleDeveloper}); err != nil {
		g.t.Fatal(err)
	}
	if links["link-reset"], err = l.System.LinkMember(g.t.Context(), l.viewer.ID, behalf.LinkReset); err != nil {
		g.t.Fatal(err)
	}
	links["link-unknown"] = secret.Random()
	for name, link := range links {
		l.Secret(link.Reveal())
		g.visit(b, l.stage, stop{name: name, path: "/link/" + link.Reveal()})
	}
	g.visit(b, l.stage, stop{name: "sso-away", path: "/sso"})
	g.visit(b, l.stage, stop{name: "sso-not-begun", path: "/sso/callback?code=x&state=y"})
	b.Open(l.URL + "/nowhere")
	g.look(b, "nowhere")
}
