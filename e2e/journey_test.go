package e2e

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/e2e/servers"
)

// user is the assistant's id of the person.
const user = "user-17"

// variant is how the journey differs from server to server.
type variant struct {
	auth       string        // how the client proves itself; basic by default
	finish     bool          // the assistant's backend finishes
	ttl        time.Duration // set: the journey goes on until the token is due
	requireIss bool          // RFC 9207
}

var variants = map[string]variant{
	"oidc-provider":        {ttl: 5 * time.Second, requireIss: true},
	"dex":                  {finish: true, auth: "post"},
	"zitadel":              {},
	"node-oauth":           {ttl: 5 * time.Second},
	"django-oauth-toolkit": {finish: true},
}

// journey is a stage with one provider and one assistant on it.
type journey struct {
	*stage
	t        testing.TB
	variant  variant
	provider *servers.Server
	tap      *tap
	backend  *backend
	bot      *bot
	profile  profile
	person   *person

	pin, desk, apiKey string // additional fields, and a constant of the profile
}

func TestAPersonConnectsAndTheAssistantActsForThem(t *testing.T) {
	for _, engine := range engines {
		for _, name := range servers.All() {
			t.Run(engine+"/"+name, func(t *testing.T) {
				j := newJourney(t, engine, name, variants[name])
				id := j.connect()
				j.checkConnection(id)
				j.checkRefresh(id)
				j.checkCall()
				if j.variant.ttl > 0 {
					j.checkDue(id)
				}
				j.provoke(id)
				j.checkDisconnect(id)
				j.checkEvidence()
			})
		}
	}
}

func newJourney(t testing.TB, engine, name string, v variant) *journey {
	t.Helper()
	s := newStage(t, engine)
	j := &journey{stage: s, t: t, variant: v}
	j.pin = s.secret("field value", "pin-"+rand.Text())
	j.desk = s.secret("field value", "desk-"+rand.Text())
	j.apiKey = s.secret("constant of the profile", "key-"+rand.Text())
	j.backend = newBackend(t)
	if j.variant.finish {
		j.bot = s.assistant(j.backend.settings())
	} else {
		j.bot = s.assistant(nil)
	}
	reserved := j.bot.reserve()
	j.provider = servers.Start(t, name, servers.Options{
		RedirectURIs: []string{reserved.CallbackURL}, TokenTTL: j.variant.ttl, ClientAuth: j.variant.auth,
	})
	s.secret("password at the provider", j.provider.Password)
	j.tap = newTap(t, s.evidence, origin(t, j.provider.TokenURL))
	j.profile = j.bot.define(reserved, j.definition())
	j.backend.bot, j.backend.profile = j.bot, j.profile.Slug
	j.person = s.person(t)
	if j.profile.ID != reserved.ID || j.profile.Status != "configured" || !j.profile.ClientSecretSet {
		t.Fatalf("the profile is %+v", j.profile)
	}
	return j
}

// definition is what an administrator writes into the profile for the server.
func (j *journey) definition() map[string]any {
	p, via := j.provider, j.tap.through
	scope := []map[string]any{{"key": "scope", "value": strings.Join(p.Scopes, " "), "required": true}}
	for key, value := range p.ExtraParams {
		scope = append(scope, map[string]any{"key": key, "value": value})
	}
	return map[string]any{
		"type": "oauth2", "name": "Notes", "provider": "Acme Notes",
		"client_id": p.ClientID, "client_secret": p.ClientSecret,
		"authorization_url": p.AuthorizationURL, "token_url": via(p.TokenURL), "check_url": via(p.APIURL),
		"scope": scope,
		"api":   map[string]any{"base_url": j.tap.url},
		"additional_fields": []map[string]any{
			{"key": "pin", "title": "PIN", "type": "password", "required": true, "pattern": "pin-[A-Z0-9]+"},
			{"key": "desk", "title": "Desk code", "required": true},
		},
		"authorization_fields": []map[string]any{
			{"in": "header", "key": "X-Pin", "value": "{{pin}}", "secret": true},
			{"in": "header", "key": "X-Api-Key", "value": j.apiKey, "secret": true},
			{"in": "query", "key": "desk", "value": "{{desk}}"},
		},
		"oauth": map[string]any{
			"client_auth": p.ClientAuth, "basic_raw": p.BasicRaw, "issuer": p.Issuer, "require_iss": j.variant.requireIss,
			"jwks_url": via(p.JWKSURL), "userinfo_url": via(p.UserinfoURL),
		},
	}
}

// connect takes the person through the pages, and returns the connection.
func (j *journey) connect() string {
	j.t.Helper()
	p := j.person
	if j.variant.finish {
		p.Open(j.backend.url + "/sign-in/" + user)
		p.Open(j.backend.url + "/connect")
		j.agree(p, j.backend.url+"/return")
		p.WaitText("Finished: connected")
	} else {
		made := j.bot.begin(map[string]any{"profile": j.profile.Slug, "user": user, "user_name": "Alice Liddell"})
		p.Open(made.URL)
		if text := p.Text(); !strings.Contains(text, "Alice Liddell") || !strings.Contains(text, "Support Bot") {
			j.t.Errorf("the page names neither person nor assistant:\n%s", text)
		}
		j.agree(p, j.node.url+"/callback/")
		p.WaitText("Acme Notes is connected")
		if got := j.bot.session(made.ID); got.Status != "connected" || got.Connection == "" {
			j.t.Fatalf("the session is %+v", got)
		}
	}
	if complaints := ours(p.Complaints(), j.node.url); len(complaints) > 0 {
		j.t.Errorf("the console says %q", complaints)
	}
	list := j.bot.connections(user)
	if len(list) != 1 {
		j.t.Fatalf("the connections are %+v", list)
	}
	return list[0].ID
}

// agree is what a person does with a link, until they are back.
func (j *journey) agree(p *person, until string) {
	j.t.Helper()
	p.WaitURL(j.node.url + "/connect/")
	p.Fill("PIN", j.pin)
	p.Fill("Desk code", j.desk)
	p.Click("Continue to Acme Notes")
	p.Login(j.provider.Username, j.provider.Password, until)
}

// ours are the complaints about pages of the server.
func ours(complaints []string, address string) []string {
	return slices.DeleteFunc(complaints, func(c string) bool { return !strings.Contains(c, address) })
}

func (j *journey) checkConnection(id string) {
	j.t.Helper()
	c := j.bot.connection(id)
	if c.Status != "active" || c.User != user || c.Generation != 1 || len(c.Scopes.Missing) > 0 {
		j.t.Errorf("the connection is %+v", c)
	}
	if j.provider.Issuer != "" && c.Account.Subject == "" {
		j.t.Errorf("the account has no subject: %+v", c)
	}
	if c.Account.Label != "" && strings.Contains(c.Account.Label, "@") && c.Account.Label != j.provider.Username {
		j.t.Errorf("the account is called %q", c.Account.Label)
	}
}

// checkRefresh refreshes because somebody asks for it.
func (j *journey) checkRefresh(id string) {
	j.t.Helper()
	before, first := j.bot.connection(id), j.bot.token(j.profile.Slug, user)
	granted := j.tap.refreshes()
	after := j.bot.refresh(id)
	second := j.bot.token(j.profile.Slug, user)
	if after.Generation <= before.Generation || second.AccessToken == first.AccessToken || second.Connection != id {
		j.t.Errorf("generation %d became %d; the token is another: %t", before.Generation, after.Generation, second.AccessToken != first.AccessToken)
	}
	if got := j.tap.refreshes(); got <= granted {
		j.t.Errorf("the provider granted %d refreshes, as many as before", got)
	}
}

// checkCall calls the application through the proxy.
func (j *journey) checkCall() {
	j.t.Helper()
	api, err := url.Parse(j.provider.APIURL)
	if err != nil {
		j.t.Fatal(err)
	}
	got := j.bot.call(j.profile.Slug, user, api.Path)
	if got.status != http.StatusOK || !strings.Contains(string(got.body), j.provider.Username) {
		j.t.Fatalf("the call is answered with %d %s", got.status, got.body)
	}
	sent := j.tap.last()
	if sent.Header.Get("X-Pin") != j.pin || sent.Header.Get("X-Api-Key") != j.apiKey || sent.URL.Query().Get("desk") != j.desk {
		j.t.Error("the profile's fields are not on the call as they should be")
	}
	for name := range sent.Header {
		if strings.HasPrefix(name, "Behalf-") || strings.Contains(sent.Header.Get(name), "bhf_") {
			j.t.Errorf("our own header %s went to the application", name)
		}
	}
}

// checkDue waits until the token is about to end, and asks for it.
func (j *journey) checkDue(id string) {
	j.t.Helper()
	before, first := j.bot.connection(id), j.bot.token(j.profile.Slug, user)
	time.Sleep(time.Until(first.ExpiresAt.Add(-j.variant.ttl / 10))) // a provider may tell a second less than it was set to
	second := j.bot.token(j.profile.Slug, user)
	after := j.bot.connection(id)
	if after.Generation <= before.Generation || second.AccessToken == first.AccessToken || !second.ExpiresAt.After(first.ExpiresAt) {
		j.t.Errorf("a due token was not refreshed: generation %d, then %d", before.Generation, after.Generation)
	}
	j.checkCall()
}

// provoke makes errors of every kind, with secrets in what is asked.
func (j *journey) provoke(id string) {
	j.t.Helper()
	profiles := j.bot.path + "/profiles/" + j.profile.ID
	misspelt, long := j.definition(), j.definition()
	misspelt["client_secrte"] = j.provider.ClientSecret
	long["client_secret"] = strings.Repeat(j.provider.ClientSecret, 30)
	long["authorization_url"] = "nowhere:" + j.apiKey
	j.owner.refused("invalid", "PUT", profiles, misspelt)
	j.owner.refused("invalid", "PUT", profiles, long)
	j.owner.refused("invalid", "PUT", profiles, `{"client_secret": "`+j.provider.ClientSecret)

	session := map[string]any{"profile": j.profile.Slug, "user": user, "return_url": j.backend.url + "/return"}
	session["fields"] = map[string]any{"pin": j.desk}
	j.bot.refused("invalid", "POST", "/connect-sessions", session)
	session["fields"] = map[string]any{"nope": j.pin}
	j.bot.refused("invalid", "POST", "/connect-sessions", session)
	j.bot.refused("not_found", "GET", "/connections/"+id+"x", nil)
	j.bot.refused("invalid", "POST", "/token", map[string]any{"access_token": j.bot.token(j.profile.Slug, user).AccessToken})
	j.bot.problem("unauthenticated", j.bot.send("GET", "/connections", nil, "Authorization", "Bearer "+j.bot.key+"x"))

	// The browser's own addresses again, without its cookies.
	for _, address := range j.person.Visited() {
		if !strings.HasPrefix(address, j.node.url) {
			continue
		}
		request, err := http.NewRequest("GET", address, nil)
		if err != nil {
			j.t.Fatal(err)
		}
		j.show("page", j.bot.do(request).body)
	}
	// The callback again in the browser itself.
	for _, address := range j.person.Visited() {
		if strings.HasPrefix(address, j.node.url+"/callback/") {
			j.person.Open(address)
			j.show("page", []byte(j.person.Text()))
		}
	}
}

func (j *journey) checkDisconnect(id string) {
	j.t.Helper()
	j.bot.remove("/connections/" + id)
	if got := j.bot.connection(id); got.Status != "revoked" {
		j.t.Errorf("the connection is %+v", got)
	}
	ask := map[string]any{"profile": j.profile.Slug, "user": user}
	asked := j.bot.refused("authorization_required", "POST", "/token", ask)
	if offered := asked.ConnectURL != ""; offered == j.variant.finish {
		j.t.Errorf("the problem offers the link %q", asked.ConnectURL)
	}
}

// checkEvidence holds that the search which follows knows what to look for.
func (j *journey) checkEvidence() {
	j.t.Helper()
	j.person.carried()
	want := []string{
		"access token", "assistant's key", "authorization code", "client secret", "code_verifier",
		"connect link", "constant of the profile", "cookie", "field value", "owner's key", "password at the provider",
		"refresh token", "root key", "state",
	}
	if j.database != "" {
		want = append(want, "database password")
	}
	if j.provider.Issuer != "" {
		want = append(want, "ID token", "nonce")
	}
	if j.provider.ClientAuth == "basic" {
		want = append(want, "client's Basic credentials")
	}
	if j.variant.finish {
		want = append(want, "finish_code", "finish verifier")
	}
	slices.Sort(want)
	if got := j.kinds(); !slices.Equal(got, want) {
		j.t.Errorf("the secrets known are\n%q, want\n%q", got, want)
	}
}

// origin returns the scheme and host of an address.
func origin(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Scheme + "://" + u.Host
}
