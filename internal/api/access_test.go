package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// whoever is one who asks: their name, and how they are to be answered.
type whoever struct{ name, key string }

// building is a server with everybody who may ask.
type building struct {
	*servertest.Server
	everybody []whoever
	session   string
	c         behalf.Connection
}

func newBuilding(t *testing.T) *building {
	t.Helper()
	s := servertest.New(t, servertest.Setup{})
	b := &building{Server: s, c: s.Connected(s.Profile, "42", "hazel")}
	for _, role := range []behalf.Role{behalf.RoleOwner, behalf.RoleAdministrator, behalf.RoleDeveloper, behalf.RoleViewer} {
		b.everybody = append(b.everybody, whoever{string(role), s.NewKey(behalf.Key{Name: "n", Role: role})})
	}
	other := s.NewAssistant(behalf.NewAssistant("Other Bot", s.DB.Now()))
	b.everybody = append(b.everybody, whoever{"assistant", s.Key}, whoever{"stranger", s.NewKey(behalf.Key{Name: "n", Assistant: other.ID})})
	var made struct{ ID string }
	b.Do(b.Owner, "POST", b.at("/connect-sessions"), map[string]any{"profile": "acorn", "user": "42"}).Into(t, &made)
	b.session = made.ID
	return b
}

func (b *building) at(path string) string { return "/v1/assistants/" + b.Assistant.Slug + path }

// newProfile, newConnection and newKey make what a test then destroys.
func (b *building) newProfile(t *testing.T) string {
	t.Helper()
	d := b.Definition("Extra " + string(behalf.NewEventID(time.Now())))
	return string(b.NewProfile(b.Assistant, d).ID)
}

func (b *building) newDeleted(t *testing.T) string {
	t.Helper()
	id := b.newProfile(t)
	p, err := b.System.Profile(t.Context(), b.Assistant.ID, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.System.DeleteProfile(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return id
}

func (b *building) newConnection(*testing.T) string {
	return string(b.Connected(b.Profile, "to-delete", string(behalf.NewEventID(time.Now()))).ID)
}

// newRefreshed is a connection whose credential has an earlier generation.
func (b *building) newRefreshed(t *testing.T) string {
	c := b.Connected(b.Profile, "to-restore", string(behalf.NewEventID(time.Now())))
	l, err := b.System.Lease(t.Context(), c, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got := behalf.Credential{AccessToken: secret.New("newer"), RefreshToken: secret.New("newer"), ObtainedAt: b.DB.Now()}
	if _, err := b.System.Keep(t.Context(), l, c.Refreshed(behalf.Credential{}, got), got); err != nil {
		t.Fatal(err)
	}
	return string(c.ID)
}

// newPending is a session whose person has authorized.
func (b *building) newPending(t *testing.T) string {
	t.Helper()
	now := b.DB.Now()
	n := behalf.ConnectSession{ID: behalf.NewSessionID(now), Assistant: b.Assistant.ID, Profile: b.Profile.ID, User: "42", Status: behalf.SessionPending,
		LinkHash: secret.Hash(secret.Random()), Version: 1, CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
	if err := b.System.CreateSession(t.Context(), n, behalf.SessionSecrets{}); err != nil {
		t.Fatal(err)
	}
	n.ReturnedAt, n.FinishHash = now, secret.Hash(secret.Random())
	if err := b.System.SaveSession(t.Context(), n, behalf.SessionSecrets{}); err != nil {
		t.Fatal(err)
	}
	return string(n.ID)
}

// newTrial is a test that is over.
func (b *building) newTrial(t *testing.T) string {
	t.Helper()
	var made struct{ ID string }
	b.Do(b.Owner, "POST", b.at("/profiles/acorn/trials"), map[string]any{"quick": true}).Into(t, &made)
	return made.ID
}

// newTrialSession is the connect session of a test.
func (b *building) newTrialSession(t *testing.T) string {
	t.Helper()
	now := b.DB.Now()
	tr := behalf.Transcript{ID: behalf.NewTranscriptID(now), Kind: behalf.TrialTranscript, Assistant: b.Assistant.ID, Profile: b.Profile.ID,
		Session: behalf.NewSessionID(now), Status: behalf.TranscriptWaiting, CreatedAt: now}
	if err := b.System.CreateTranscript(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	return string(tr.Session)
}

// newVariable is one that all may see.
func (b *building) newVariable(t *testing.T) string {
	t.Helper()
	name := string(behalf.NewEventID(time.Now()))
	v := behalf.Variable{Assistant: b.Assistant.ID, Namespace: behalf.NamespaceBot, Name: name, Value: secret.New("v")}
	if _, err := b.System.PutVariable(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	return name
}

// newWebhook is an endpoint at which nobody answers.
func (b *building) newWebhook(t *testing.T) string {
	t.Helper()
	all, err := b.System.Webhooks(t.Context(), b.Assistant.ID, storePage)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all { // an assistant may not have many
		if err := b.System.DeleteWebhook(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	w, _, err := b.System.CreateWebhook(t.Context(), behalf.Webhook{Assistant: b.Assistant.ID, URL: "http://127.0.0.1:1/hook"})
	if err != nil {
		t.Fatal(err)
	}
	return string(w.ID)
}

// newDelivery returns the path of a delivery, as newAgent does.
func (b *building) newDelivery(t *testing.T) string {
	t.Helper()
	id := b.newWebhook(t)
	w, err := b.System.Webhook(t.Context(), b.Assistant.ID, behalf.WebhookID(id))
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.System.TestWebhook(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return id + "/deliveries/" + string(d.ID)
}

func (b *building) newKey(t *testing.T) string {
	t.Helper()
	var k struct{ ID string }
	b.Do(b.Owner, "POST", "/v1/keys", map[string]string{"name": "n", "role": "viewer"}).Into(t, &k)
	return k.ID
}

func (b *building) newConnector(t *testing.T) string {
	t.Helper()
	c, err := b.System.CreateConnector(t.Context(), behalf.Connector{Name: behalf.Slug(string(behalf.NewEventID(time.Now())))})
	if err != nil {
		t.Fatal(err)
	}
	return string(c.ID)
}

// newAgent returns the path of an agent that has enrolled.
func (b *building) newAgent(t *testing.T) string {
	t.Helper()
	id := b.newConnector(t)
	c, err := b.System.Connector(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := b.System.EnrolToken(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := b.DB.EnrolAgent(t.Context(), token, make([]byte, 32), "host")
	if err != nil {
		t.Fatal(err)
	}
	return id + "/agents/" + string(a.ID)
}

// door is one operation, and who may use it.
type door struct {
	method, path string
	body         func() any
	make         func(*testing.T) string // what {new} is
	may          string                  // everybody who may, separated by spaces
	good         int                     // their answer
}

const (
	readers = "owner administrator developer viewer assistant"
	users   = "owner administrator developer assistant"
	editors = "owner administrator developer"
	viewers = "owner administrator developer viewer"
	heads   = "owner administrator"
)

func (b *building) doors() []door {
	body := func(v any) func() any { return func() any { return v } }
	unique := func() string { return string(behalf.NewEventID(time.Now())) }
	return []door{
		{"GET", "/v1/assistants", nil, nil, readers + " stranger", 200},
		{"POST", "/v1/assistants", func() any { return map[string]string{"name": unique()} }, nil, heads, 201},
		{"GET", "/v1/assistants/{assistant}", nil, nil, readers, 200},
		{"PATCH", "/v1/assistants/{assistant}", body(map[string]any{"token_reads": true}), nil, heads, 200},
		{"GET", "/v1/assistants/{assistant}/profiles", nil, nil, readers, 200},
		{"POST", "/v1/assistants/{assistant}/profiles", func() any { return profileBody(b.Definition(unique())) }, nil, editors, 201},
		{"PUT", "/v1/assistants/{assistant}/profiles", body(map[string]any{"profiles": []any{profileBody(b.Definition("Acorn"))}}), nil, editors, 200},
		{"GET", "/v1/assistants/{assistant}/profiles/{profile}", nil, nil, readers, 200},
		{"PUT", "/v1/assistants/{assistant}/profiles/{profile}", body(profileBody(b.Definition("Acorn"))), nil, editors, 200},
		{"DELETE", "/v1/assistants/{assistant}/profiles/{new}", nil, b.newProfile, editors, 200},
		{"POST", "/v1/assistants/{assistant}/profiles/{new}/restore", nil, b.newDeleted, editors, 200},
		{"POST", "/v1/assistants/{assistant}/connect-sessions", body(map[string]string{"profile": "acorn", "user": "1"}), nil, users, 201},
		{"GET", "/v1/assistants/{assistant}/connect-sessions/{session}", nil, nil, readers, 200},
		{"POST", "/v1/assistants/{assistant}/connect-sessions/{new}/finish", body(map[string]string{"code": "c", "verifier": "v", "user": "42"}), b.newPending, users, 422},
		{"POST", "/v1/assistants/{assistant}/users/{user}/page", body(map[string]string{"user_name": "Jane"}), nil, users, 201},
		{"DELETE", "/v1/assistants/{assistant}/users/{new}", nil, func(*testing.T) string { return unique() }, users, 200},
		{"GET", "/v1/assistants/{assistant}/connections", nil, nil, readers, 200},
		{"POST", "/v1/assistants/{assistant}/connections/import", func() any {
			return map[string]any{"profile": "acorn", "connections": []any{map[string]any{"user": unique(), "access_token": "t"}}}
		}, nil, editors, 200},
		{"GET", "/v1/assistants/{assistant}/connections/{connection}", nil, nil, readers, 200},
		{"PATCH", "/v1/assistants/{assistant}/connections/{connection}", body(map[string]bool{"default": true}), nil, users, 200},
		{"GET", "/v1/assistants/{assistant}/connections/{connection}/generations", nil, nil, readers, 200},
		{"POST", "/v1/assistants/{assistant}/connections/{new}/generations/{generation}/restore", nil, b.newRefreshed, editors, 200},
		{"POST", "/v1/assistants/{assistant}/connections/{new}/refresh", nil, b.newConnection, users, 200},
		{"DELETE", "/v1/assistants/{assistant}/connections/{new}", nil, b.newConnection, users, 200},
		{"POST", "/v1/assistants/{assistant}/connections/{connection}/token", nil, nil, users, 200},
		{"POST", "/v1/assistants/{assistant}/token", body(map[string]string{"profile": "acorn", "user": "42"}), nil, users, 200},
		{"GET", "/v1/assistants/{assistant}/proxy/{profile}/me", nil, nil, users, 200},
		{"POST", "/v1/assistants/{assistant}/proxy/{profile}/echo", body(map[string]string{"a": "b"}), nil, users, 200},
		{"PUT", "/v1/assistants/{assistant}/proxy/{profile}/echo", body(map[string]string{"a": "b"}), nil, users, 200},
		{"PATCH", "/v1/assistants/{assistant}/proxy/{profile}/echo", body(map[string]string{"a": "b"}), nil, users, 200},
		{"DELETE", "/v1/assistants/{assistant}/proxy/{profile}/echo", nil, nil, users, 200},
		{"GET", "/v1/assistants/{assistant}/variables", nil, nil, readers, 200},
		{"GET", "/v1/assistants/{assistant}/variables/BotContext/{new}", nil, b.newVariable, readers, 200},
		{"PUT", "/v1/assistants/{assistant}/variables/BotContext/plan", body(map[string]string{"value": "gold"}), nil, users, 200},
		{"PUT", "/v1/assistants/{assistant}/variables/env/REGION", body(map[string]string{"value": "eu"}), nil, editors, 200},
		{"DELETE", "/v1/assistants/{assistant}/variables/BotContext/{new}", nil, b.newVariable, users, 204},
		{"GET", "/v1/assistants/{assistant}/events", nil, nil, readers, 200},
		{"GET", "/v1/assistants/{assistant}/webhooks", nil, nil, readers, 200},
		{"POST", "/v1/assistants/{assistant}/webhooks", body(map[string]any{"url": "https://bot.example/hook", "events": []string{"connection.*"}}), nil, users, 201},
		{"GET", "/v1/assistants/{assistant}/webhooks/{new}", nil, b.newWebhook, readers, 200},
		{"PATCH", "/v1/assistants/{assistant}/webhooks/{new}", body(map[string]bool{"enabled": false}), b.newWebhook, users, 200},
		{"DELETE", "/v1/assistants/{assistant}/webhooks/{new}", nil, b.newWebhook, users, 204},
		{"POST", "/v1/assistants/{assistant}/webhooks/{new}/rotate", body(map[string]int{"overlap": 60}), b.newWebhook, users, 200},
		{"POST", "/v1/assistants/{assistant}/webhooks/{new}/test", nil, b.newWebhook, users, 201},
		{"POST", "/v1/assistants/{assistant}/webhooks/{new}/replay", body(map[string]any{"since": b.DB.Now()}), b.newWebhook, users, 200},
		{"GET", "/v1/assistants/{assistant}/webhooks/{new}/deliveries", nil, b.newWebhook, readers, 200},
		{"GET", "/v1/assistants/{assistant}/webhooks/{webhook}/deliveries/{delivery}", nil, b.newDelivery, readers, 200},
		{"GET", "/v1/catalog", nil, nil, editors, 200},
		{"GET", "/v1/catalog/asana", nil, nil, editors, 200},
		{"POST", "/v1/assistants/{assistant}/profiles/{profile}/trials", body(map[string]bool{"quick": true}), nil, users, 201},
		{"GET", "/v1/assistants/{assistant}/profiles/{profile}/trials", nil, nil, users, 200},
		{"GET", "/v1/assistants/{assistant}/profiles/{profile}/trials/{new}", nil, b.newTrial, users, 200},
		{"GET", "/v1/assistants/{assistant}/profiles/{profile}/trials/{new}/events", nil, b.newTrial, users, 200},
		{"GET", "/v1/assistants/{assistant}/connections/{connection}/transcripts", nil, nil, users, 200},
		{"GET", "/v1/assistants/{assistant}/connect-sessions/{new}/transcript", nil, b.newTrialSession, users, 200},
		{"POST", "/v1/discover", body(map[string]string{"url": b.Provider}), nil, editors, 200},
		{"POST", "/v1/lint", body(map[string]any{"definition": b.Definition("Acorn")}), nil, editors, 200},
		{"GET", "/v1/connectors", nil, nil, viewers, 200},
		{"POST", "/v1/connectors", func() any { return map[string]string{"name": behalf.Slug(unique())} }, nil, heads, 201},
		{"GET", "/v1/connectors/{new}", nil, b.newConnector, viewers, 200},
		{"PATCH", "/v1/connectors/{new}", body(map[string]bool{"enabled": false}), b.newConnector, heads, 200},
		{"DELETE", "/v1/connectors/{new}", nil, b.newConnector, heads, 204},
		{"POST", "/v1/connectors/{new}/enrol-tokens", nil, b.newConnector, heads, 201},
		{"DELETE", "/v1/connectors/{connector}/agents/{agent}", nil, b.newAgent, heads, 204},
		{"GET", "/v1/connectors/{new}/traffic", nil, b.newConnector, viewers, 200},
		{"GET", "/v1/keys", nil, nil, heads, 200},
		{"POST", "/v1/keys", body(map[string]string{"name": "n", "role": "viewer"}), nil, heads, 201},
		{"DELETE", "/v1/keys/{new}", nil, b.newKey, heads, 204},
		{"GET", "/v1/audit", nil, nil, heads, 200},
	}
}

func profileBody(d behalf.Definition) map[string]any {
	return map[string]any{"type": d.Type, "name": d.Name, "provider": d.Provider, "client_id": d.ClientID, "client_secret": "s3cr:t/+ %x",
		"authorization_url": d.AuthorizationURL, "token_url": d.TokenURL, "scope": d.Scope, "api": d.API}
}

func (b *building) ask(t *testing.T, d door, key string) servertest.Answer {
	t.Helper()
	path := strings.NewReplacer("{assistant}", b.Assistant.Slug, "{profile}", "acorn", "{session}", b.session, "{connection}", string(b.c.ID), "{user}", "42", "{generation}", "1").Replace(d.path)
	if d.make != nil {
		path = strings.NewReplacer("{connector}/agents/{agent}", "{new}", "{webhook}/deliveries/{delivery}", "{new}").Replace(path)
		path = strings.Replace(path, "{new}", d.make(t), 1)
	}
	var body any
	if d.body != nil {
		body = d.body()
	}
	return b.Do(key, d.method, path, body, "Behalf-User", "42")
}

func TestEachOperationIsForThoseWhoMayAndNobodyElse(t *testing.T) {
	b := newBuilding(t)
	for _, d := range b.doors() {
		t.Run(d.method+" "+d.path, func(t *testing.T) {
			for _, who := range b.everybody {
				before := b.audited(t)
				a := b.ask(t, d, who.key)
				switch {
				case slices.Contains(strings.Fields(d.may), who.name):
					if a.Status != d.good {
						t.Errorf("%s: status %d, want %d: %.300s", who.name, a.Status, d.good, a.Body)
					}
					continue
				case who.name == "stranger" && strings.Contains(d.path, "{assistant}"):
					a.Problem(t, 404, behalf.CodeNotFound) // it does not exist for them
				default:
					a.Problem(t, 403, behalf.CodeForbidden)
				}
				if d.make == nil && b.audited(t) != before {
					t.Errorf("%s was refused and something was changed", who.name)
				}
			}
		})
	}
}

// audited counts the audit lines: every change writes one with it. What the
// server does by itself meanwhile is not theirs who ask.
func (b *building) audited(t *testing.T) int {
	t.Helper()
	all, err := b.System.Audit(t.Context(), "", time.Time{}, storePage)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range all {
		if !strings.HasPrefix(e.Actor, "system") && !strings.HasPrefix(e.Action, "connection.call") && !strings.HasPrefix(e.Action, "connection.token") {
			n++
		}
	}
	return n
}

func TestWithoutAGoodKeyNothingIsLearned(t *testing.T) {
	b := newBuilding(t)
	revoked := b.NewKey(behalf.Key{Name: "n", Role: behalf.RoleOwner})
	keys, err := b.System.Keys(t.Context(), storePage)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.System.RevokeKey(t.Context(), keys[len(keys)-1].ID); err != nil {
		t.Fatal(err)
	}
	ended := b.NewKey(behalf.Key{Name: "n", Role: behalf.RoleOwner, ExpiresAt: b.DB.Now().Add(time.Millisecond)})
	time.Sleep(5 * time.Millisecond)
	bad := map[string]string{"none": "", "unknown": "bhf_" + strings.Repeat("A", 43), "not one of ours": "sk_live_123", "the prefix alone": "bhf_",
		"revoked": revoked, "ended": ended, "long": "bhf_" + strings.Repeat("A", 20000), "with a space": b.Owner + " x", "cut": b.Owner[:len(b.Owner)-1]}
	for _, d := range b.doors() {
		t.Run(d.method+" "+d.path, func(t *testing.T) {
			var first string
			for name, key := range bad {
				a := b.ask(t, d, key)
				p := a.Problem(t, 401, behalf.CodeUnauthenticated)
				if a.Header.Get("WWW-Authenticate") != `Bearer realm="behalf"` {
					t.Errorf("%s: no WWW-Authenticate", name)
				}
				if strings.HasPrefix(key, "bhf_") && key != "" {
					if first == "" {
						first = p.Detail
					}
					if p.Detail != first {
						t.Errorf("%s: the answer tells it from other bad keys", name)
					}
				}
			}
		})
	}
}

func TestAKeyIsTakenFromTheHeaderAlone(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	for name, headers := range map[string][]string{
		"a cookie":       {"Cookie", "key=" + s.Owner + "; Authorization=Bearer " + s.Owner},
		"Basic":          {"Authorization", "Basic " + s.Owner},
		"another header": {"X-Api-Key", s.Owner},
	} {
		t.Run(name, func(t *testing.T) {
			s.Do("", "GET", "/v1/assistants", nil, headers...).Problem(t, 401, behalf.CodeUnauthenticated)
		})
	}
	t.Run("the query", func(t *testing.T) {
		s.Do("", "GET", "/v1/assistants?key="+s.Owner+"&access_token="+s.Owner, nil).Problem(t, 401, behalf.CodeUnauthenticated)
	})
	t.Run("the scheme in any case", func(t *testing.T) {
		if a := s.Do("", "GET", "/v1/assistants", nil, "Authorization", "bEARER "+s.Owner); a.Status != http.StatusOK {
			t.Errorf("status %d", a.Status)
		}
	})
}

func TestWhatBelongsToAnotherAssistantDoesNotExist(t *testing.T) {
	b := newBuilding(t)
	other := b.NewAssistant(behalf.NewAssistant("Third Bot", b.DB.Now()))
	theirs := b.NewProfile(other, b.Definition("Acorn"))
	c := b.Connected(theirs, "42", "jay")
	// Somebody else's ids below our own assistant, where we may do everything.
	for _, path := range []string{"/profiles/" + string(theirs.ID), "/connections/" + string(c.ID), "/connect-sessions/cs_01jd0000000000000000000000",
		"/connections?profile=" + string(theirs.ID)} {
		for _, key := range []string{b.Key, b.Owner} {
			a := b.Do(key, "GET", b.at(path), nil)
			p := a.Problem(t, 404, behalf.CodeNotFound)
			none := b.Do(key, "GET", b.at("/profiles/prf_01jd0000000000000000000000"), nil)
			if q := none.Problem(t, 404, behalf.CodeNotFound); strings.Split(p.Detail, " ")[0] != strings.Split(q.Detail, " ")[0] {
				t.Errorf("%s: %q differs from what never was: %q", path, p.Detail, q.Detail)
			}
		}
	}
	b.Do(b.Key, "POST", b.at("/token"), map[string]string{"connection": string(c.ID)}).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Owner, "POST", b.at("/token"), map[string]string{"connection": string(c.ID)}).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "POST", b.at("/connections/"+string(c.ID)+"/token"), nil).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "DELETE", b.at("/connections/"+string(c.ID)), nil).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "GET", b.at("/proxy/acorn/me"), nil, "Behalf-Connection", string(c.ID)).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "GET", b.at("/proxy/"+string(theirs.ID)+"/me"), nil, "Behalf-User", "42").Problem(t, 404, behalf.CodeNotFound)
	if got, _ := b.System.Connection(t.Context(), c.ID); got.Status != behalf.ConnectionActive {
		t.Error("the other assistant's connection was ended")
	}
}
