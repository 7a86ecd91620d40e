package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/storetest"
)

const personsPassword = "acorns-of-last-autumn"

// keyed makes a definition of the stage's one of an application with API keys.
func keyed(d *behalf.Definition) {
	base := strings.TrimSuffix(d.TokenURL, "/token")
	*d = behalf.Definition{Type: behalf.APIKey, Name: d.Name, Provider: d.Provider, CheckURL: base + "/keyed/userinfo", API: behalf.API{BaseURL: base + "/keyed"}}
}

func login(d *behalf.Definition) {
	keyed(d)
	d.Type, d.CheckURL, d.API.BaseURL = behalf.Basic, strings.Replace(d.CheckURL, "/keyed", "/login", 1), strings.Replace(d.API.BaseURL, "/keyed", "/login", 1)
}

// grants makes one of a grant that needs no redirect.
func grants(t behalf.AuthorizationType) func(*behalf.Definition) {
	return func(d *behalf.Definition) {
		base := strings.TrimSuffix(d.TokenURL, "/token")
		d.Type, d.AuthorizationURL, d.OAuth.Issuer, d.OAuth.RequireIss = t, "", "", false
		d.Scope = []behalf.ScopeParam{{Key: "scope", Value: "notes:read", Required: true}}
		d.OAuth.RevocationURL = base + "/revoke"
	}
}

func (s *stage) call(p behalf.Profile, user, path string, headers ...string) servertest.Answer {
	s.t.Helper()
	return s.Do(s.Key, http.MethodGet, s.api("/proxy/"+p.Slug+path), nil, append(headers, "Behalf-User", user)...)
}

func TestAPersonConnectsWithAnAPIKey(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		p := s.profile(keyed)
		key := s.Sim.APIKey("hazel").Reveal()
		s.Secret(key)
		of := s.begin(p)
		b := s.browser()
		asked := b.get(of.link)
		if in := asked.input("field.key"); in == nil || attribute(in, "type") != "password" || !strings.Contains(asked.text, "API key") || !strings.Contains(asked.text, "never sees it") {
			s.t.Fatalf("the page does not ask for the key: %s", asked.text)
		}
		c := s.connected(of, b.post(of.link, url.Values{"field.key": {key}}))
		if c.Account.Subject != "u-1" || c.Account.Label != "hazel@acorn.example" || c.Refreshable {
			s.t.Errorf("the connection is %+v", c)
		}
		if got := s.call(p, of.User, "/me"); got.Status != http.StatusOK || !strings.Contains(got.Body, "Hazel") {
			s.t.Errorf("a call: %d %s", got.Status, got.Body)
		}
		refused := s.Do(s.Key, http.MethodPost, s.api("/token"), map[string]string{"profile": p.Slug, "user": of.User}).Problem(s.t, http.StatusConflict, behalf.CodeConflict)
		if !strings.Contains(refused.Detail, "an API key") || strings.Contains(refused.Detail, key) {
			s.t.Errorf("a token read: %s", refused.Detail)
		}
		s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil).Problem(s.t, http.StatusConflict, behalf.CodeConflict)

		again := s.begin(p, func(n *api.SessionBody) { n.User = of.User })
		if renewed := s.connected(again, s.browser().post(again.link, url.Values{"field.key": {key}})); renewed.ID != c.ID || renewed.Generation != 2 {
			s.t.Errorf("the same account again is %+v", renewed)
		}
		other := s.begin(p, func(n *api.SessionBody) { n.User = of.User })
		if second := s.connected(other, s.browser().post(other.link, url.Values{"field.key": {s.Sim.APIKey("jay").Reveal()}})); second.ID == c.ID || second.Default {
			s.t.Errorf("another account is %+v", second)
		}
	})
}

func TestWhatTheApplicationRefusesCanBeCorrected(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	p := s.profile(keyed)
	key := s.Sim.APIKey("hazel").Reveal()
	of := s.begin(p)
	b := s.browser()
	wrong := b.post(of.link, url.Values{"field.key": {"acorn_key_wrong"}})
	if wrong.Status != http.StatusUnprocessableEntity || !strings.Contains(wrong.text, "Acorn Notes does not accept what you entered") || strings.Contains(wrong.Body, "acorn_key_wrong") {
		t.Errorf("status %d: %s", wrong.Status, wrong.text)
	}
	if got := s.status(of); got.Status != "waiting" {
		t.Errorf("the session is %s", got.Status)
	}
	if stranger := s.browser().get(of.link); !strings.Contains(stranger.text, "Please go on where you began") {
		t.Errorf("another browser sees: %s", stranger.text)
	}
	if empty := b.post(of.link, url.Values{"field.key": {""}}); empty.Status != http.StatusUnprocessableEntity || !strings.Contains(empty.text, "Required") {
		t.Errorf("nothing entered: status %d: %s", empty.Status, empty.text)
	}
	s.behaves(simulator.Switches{TokenHang: false})
	s.connected(of, b.post(of.link, url.Values{"field.key": {key}}))

	t.Run("but not for ever", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(p)
		b := s.browser()
		var last page
		for range 10 {
			last = b.post(of.link, url.Values{"field.key": {"acorn_key_wrong"}})
		}
		s.ends(of, last, failed("refused", "too often"))
		s.ends(of, b.post(of.link, url.Values{"field.key": {key}}), failed("refused", "too often"))
	})
}

func TestAPersonConnectsWithUsernameAndPassword(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		p := s.profile(login)
		of := s.begin(p)
		b := s.browser()
		if asked := b.get(of.link); asked.input("field.username") == nil || asked.input("field.password") == nil || !strings.Contains(asked.text, "not Acorn Notes’s own") {
			s.t.Fatalf("the page: %s", asked.text)
		}
		if wrong := b.post(of.link, url.Values{"field.username": {"hazel"}, "field.password": {"guess"}}); wrong.Status != http.StatusUnprocessableEntity || attribute(wrong.input("field.username"), "value") != "hazel" || strings.Contains(wrong.Body, "guess") {
			s.t.Errorf("status %d: %s", wrong.Status, wrong.Body)
		}
		if colon := b.post(of.link, url.Values{"field.username": {"ha:zel"}, "field.password": {personsPassword}}); !strings.Contains(colon.text, "without a colon") {
			s.t.Errorf("a colon: %s", colon.text)
		}
		s.connected(of, b.post(of.link, url.Values{"field.username": {"hazel"}, "field.password": {personsPassword}}))
		if got := s.call(p, of.User, "/notes"); got.Status != http.StatusOK {
			s.t.Errorf("a call: %d %s", got.Status, got.Body)
		}
	})
}

func TestThePasswordGrantForgetsThePassword(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		once := s.profile(grants(behalf.OAuth2Password))
		kept := s.profile(grants(behalf.OAuth2Password), func(d *behalf.Definition) { d.OAuth.Refresh.Grant = "reissue" })
		for p, says := range map[behalf.ProfileID]string{once.ID: "sent to Acorn Notes once and then forgotten", kept.ID: "kept here, encrypted"} {
			profile, err := s.System.Profile(s.t.Context(), s.Assistant.ID, string(p))
			if err != nil {
				s.t.Fatal(err)
			}
			of := s.begin(profile)
			b := s.browser()
			if asked := b.get(of.link); !strings.Contains(asked.text, says) {
				s.t.Errorf("the page does not say %q: %s", says, asked.text)
			}
			if wrong := b.post(of.link, url.Values{"field.username": {"hazel"}, "field.password": {"guess"}}); wrong.Status != http.StatusUnprocessableEntity {
				s.t.Errorf("a wrong password: status %d: %s", wrong.Status, wrong.text)
			}
			c := s.connected(of, b.post(of.link, url.Values{"field.username": {"hazel"}, "field.password": {personsPassword}}))
			if c.Account.Label == "" || !c.Refreshable {
				s.t.Errorf("the connection is %+v", c)
			}
			stored, err := s.System.Connection(s.t.Context(), behalf.ConnectionID(c.ID))
			if err != nil {
				s.t.Fatal(err)
			}
			_, inputs, err := s.System.Secrets(s.t.Context(), stored)
			if _, holds := inputs.Fields["password"]; err != nil || holds != (profile.ID == kept.ID) {
				s.t.Errorf("the password is kept: %v, %v", holds, err)
			}
			before := s.Sim.Stats()
			s.Clock.Advance(2 * time.Hour)
			if got := s.call(profile, of.User, "/me"); got.Status != http.StatusOK {
				s.t.Errorf("a call after the token's end: %d %s", got.Status, got.Body)
			}
			s.Clock.Advance(-2 * time.Hour)
			if n := s.Sim.Stats(); n.TokenRequests != before.TokenRequests+1 {
				s.t.Errorf("%d token requests", n.TokenRequests-before.TokenRequests)
			}
		}
	})
}

func TestClientCredentialsNeedNobody(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		p := s.profile(grants(behalf.OAuth2ClientCredentials))
		before := s.Sim.Stats().TokenRequests
		var wait sync.WaitGroup
		for range 12 {
			wait.Go(func() {
				if got := s.call(p, "", "/me"); got.Status != http.StatusOK {
					s.t.Errorf("a call: %d %s", got.Status, got.Body)
				}
			})
		}
		wait.Wait()
		if n := s.Sim.Stats().TokenRequests - before; n != 1 {
			s.t.Errorf("%d token requests for calls at once", n)
		}
		var all api.List[api.Connection]
		s.Do(s.Key, http.MethodGet, s.api("/connections?profile="+p.Slug), nil).Into(s.t, &all)
		if len(all.Items) != 1 || all.Items[0].User != "" || !all.Items[0].Refreshable {
			s.t.Fatalf("the connections are %+v", all.Items)
		}
		s.Clock.Advance(2 * time.Hour)
		if got := s.call(p, "42", "/me"); got.Status != http.StatusOK {
			s.t.Errorf("a call after the token's end: %d %s", got.Status, got.Body)
		}
		var token api.Token
		s.Do(s.Key, http.MethodPost, s.api("/token"), map[string]string{"profile": p.Slug}).Into(s.t, &token)
		if token.AccessToken == "" || token.Connection != all.Items[0].ID {
			s.t.Errorf("the token is of %q", token.Connection)
		}
		if n := s.Sim.Stats().TokenRequests - before; n != 2 {
			s.t.Errorf("%d token requests in all", n)
		}
		s.Do(s.Key, http.MethodDelete, s.api("/connections/"+all.Items[0].ID), nil).Problem(s.t, http.StatusForbidden, behalf.CodeForbidden)
		if got := s.Do(s.Owner, http.MethodDelete, s.api("/connections/"+all.Items[0].ID), nil); got.Status != http.StatusOK {
			s.t.Errorf("an owner ends it: %d %s", got.Status, got.Body)
		}
		if got := s.call(p, "", "/me"); got.Status != http.StatusOK {
			s.t.Errorf("a call after that: %d %s", got.Status, got.Body)
		}

		t := s.t
		t.Run("a wrong secret is the profile's fault, and passes", func(t *testing.T) {
			s := s.in(t)
			q := s.profile(grants(behalf.OAuth2ClientCredentials))
			s.behaves(simulator.Switches{InvalidClient: true})
			s.call(q, "", "/me").Problem(t, http.StatusBadGateway, behalf.CodeProvider)
			s.behaves(simulator.Switches{})
			s.Clock.Advance(10 * time.Second)
			if got := s.call(q, "", "/me"); got.Status != http.StatusOK {
				t.Errorf("afterwards: %d %s", got.Status, got.Body)
			}
		})
	})
}

func TestClientCredentialsAskForWhatTheProfileNeeds(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	p := s.profile(grants(behalf.OAuth2ClientCredentials), func(d *behalf.Definition) {
		d.AdditionalFields = []behalf.AdditionalField{{Key: "account", Title: "Account number", Required: true, DataType: behalf.DataInteger}}
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Account", Value: "{{account}}"}}
	})
	problem := s.call(p, "42", "/echo").Problem(t, http.StatusConflict, behalf.CodeAuthorizationRequired)
	b := s.browser()
	asked := b.get(problem.ConnectURL)
	if asked.input("field.account") == nil || strings.Contains(asked.text, "Continue to Acorn Notes") || !strings.Contains(asked.text, "You do not have to sign in") {
		t.Fatalf("the page: %s", asked.text)
	}
	if wrong := b.post(problem.ConnectURL, url.Values{"field.account": {"many"}}); wrong.Status != http.StatusUnprocessableEntity || !strings.Contains(wrong.text, "Expected a whole number") {
		t.Errorf("status %d: %s", wrong.Status, wrong.text)
	}
	if done := b.post(problem.ConnectURL, url.Values{"field.account": {"4711"}}); done.Status != http.StatusOK || !strings.Contains(done.text, "is connected") {
		t.Errorf("status %d: %s", done.Status, done.text)
	}
	if got := s.call(p, "42", "/echo"); !strings.Contains(got.Body, "4711") {
		t.Errorf("a call: %d %s", got.Status, got.Body)
	}
	s.call(p, "43", "/echo").Problem(t, http.StatusConflict, behalf.CodeAuthorizationRequired)
}

func TestADirectConnectionIsFinishedLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Assistant: func(a *behalf.Assistant) { a.Finish, a.ReturnURLs = true, []string{"https://bot.example/done"} }})
	p := s.profile(login)
	of := s.begin(p, func(n *api.SessionBody) {
		n.ReturnURL, n.FinishChallenge = "https://bot.example/done", challenge("verifier-of-the-backend")
	})
	done := s.browser().post(of.link, url.Values{"field.username": {"hazel"}, "field.password": {personsPassword}})
	code := param(done.onward(), "finish_code")
	if code == "" || len(s.connections(of)) != 0 {
		t.Fatalf("the browser goes to %q: %s", done.onward(), done.text)
	}
	s.Do(s.Key, http.MethodPost, s.api("/connect-sessions/"+of.ID+"/finish"), api.FinishBody{Code: code, Verifier: "verifier-of-the-backend", User: of.User}).Into(t, &of.ConnectSession)
	if got := s.call(p, of.User, "/me"); of.Status != "connected" || got.Status != http.StatusOK {
		t.Errorf("%s; a call: %d %s", of.Status, got.Status, got.Body)
	}
}

func TestAnAdministratorAuthorizesForAll(t *testing.T) {
	each(t, servertest.Setup{}, func(s *stage) {
		p := s.profile(func(d *behalf.Definition) { d.Mode = behalf.ModePreauthorized })
		refused := s.call(p, "42", "/me").Problem(s.t, http.StatusConflict, behalf.CodeAuthorizationRequired)
		if refused.ConnectURL != "" || !strings.Contains(refused.Detail, "An administrator must authorize") {
			s.t.Errorf("before: %+v", refused)
		}
		body := api.SessionBody{Profile: p.Slug}
		s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), body).Problem(s.t, http.StatusForbidden, behalf.CodeForbidden)
		if bad := s.Do(s.Owner, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: p.Slug, User: "42"}).Problem(s.t, http.StatusUnprocessableEntity, behalf.CodeInvalid); bad.Field != "user" {
			s.t.Errorf("of one user: %+v", bad)
		}
		var made api.ConnectSession
		s.Do(s.Owner, http.MethodPost, s.api("/connect-sessions"), body).Into(s.t, &made)
		of := session{made, made.URL, p}
		b := s.browser()
		if asked := b.get(of.link); !strings.Contains(asked.text, "for everybody who uses Support Bot") {
			s.t.Errorf("the page: %s", asked.text)
		}
		if done := b.connects(of); done.Status != http.StatusOK {
			s.t.Fatalf("status %d: %s", done.Status, done.text)
		}
		for _, user := range []string{"42", "43"} {
			if got := s.call(p, user, "/me"); got.Status != http.StatusOK {
				s.t.Errorf("user %s: %d %s", user, got.Status, got.Body)
			}
		}
		s.call(p, "", "/me").Problem(s.t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
		id := s.status(of).Connection
		s.Do(s.Key, http.MethodDelete, s.api("/connections/"+id), nil).Problem(s.t, http.StatusForbidden, behalf.CodeForbidden)
		s.Do(s.Key, http.MethodPatch, s.api("/connections/"+id), map[string]bool{"default": true}).Problem(s.t, http.StatusForbidden, behalf.CodeForbidden)
		waitFor(s.t, func() bool {
			var audit struct {
				Items []struct{ Action, Object, Detail string }
			}
			s.Do(s.Owner, http.MethodGet, "/v1/audit", nil).Into(s.t, &audit)
			who := []string{}
			for _, line := range audit.Items {
				if line.Action == "connection.call" && line.Object == id {
					who = append(who, line.Detail)
				}
			}
			return slices.Contains(who, "for user 42") && slices.Contains(who, "for user 43")
		})
	})
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 100 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("it did not come")
}

func TestRenewingWithAnotherAccountIsRefused(t *testing.T) {
	each(t, servertest.Setup{Profile: openID}, func(s *stage) {
		first := s.begin(s.Profile)
		c := s.connected(first, s.browser().connects(first))
		renew := func(more func(*api.SessionBody)) session {
			return s.begin(s.Profile, func(n *api.SessionBody) { n.User, n.Connection = first.User, c.ID }, more)
		}
		none := func(*api.SessionBody) {}
		s.behaves(simulator.Switches{NoLogin: "jay"})
		of := renew(none)
		s.shows(of, s.browser().connects(of), outcome{http.StatusConflict, []string{"That was another account", "jay@acorn.example"}, "wrong_account", "wrong_account", "another account"})
		if all := s.connections(first); len(all) != 1 || all[0].Generation != 1 {
			s.t.Fatalf("the connections are %+v", all)
		}
		of = renew(func(n *api.SessionBody) { n.AnyAccount = true })
		if second := s.connected(of, s.browser().connects(of)); second.ID == c.ID || second.Default {
			s.t.Errorf("the second account is %+v", second)
		}
		s.behaves(simulator.Switches{})
		of = renew(none)
		if same := s.connected(of, s.browser().connects(of)); same.ID != c.ID || same.Generation != 2 {
			s.t.Errorf("the same account is %+v", same)
		}
		for name, n := range map[string]api.SessionBody{
			"another user's":     {Profile: s.Profile.Slug, User: "stranger", Connection: c.ID},
			"one that never was": {Profile: s.Profile.Slug, User: first.User, Connection: "con_01jd0000000000000000000000"},
			"another profile's":  {Profile: s.profile().Slug, User: first.User, Connection: c.ID},
		} {
			if bad := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), n).Problem(s.t, http.StatusUnprocessableEntity, behalf.CodeInvalid); bad.Field != "connection" {
				s.t.Errorf("%s: %+v", name, bad)
			}
		}
	})
}

func TestALapsedDefaultMakesRoomForOneThatWorks(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: openID})
	first := s.begin(s.Profile)
	c := s.connected(first, s.browser().connects(first))
	s.Sim.Disconnect("bot", "hazel")
	s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil).Problem(t, http.StatusConflict, behalf.CodeAuthorizationRequired)
	s.behaves(simulator.Switches{NoLogin: "jay"})
	of := s.begin(s.Profile, func(n *api.SessionBody) { n.User = first.User })
	if second := s.connected(of, s.browser().connects(of)); !second.Default {
		t.Errorf("the one that works is %+v", second)
	}
	if got := s.call(s.Profile, first.User, "/me"); got.Status != http.StatusOK || !strings.Contains(got.Body, "Jay") {
		t.Errorf("a call: %d %s", got.Status, got.Body)
	}
}

func TestTheNextClientSecretIsTried(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	p, err := s.System.Profile(t.Context(), s.Assistant.ID, s.Profile.Slug)
	if err != nil {
		t.Fatal(err)
	}
	now := s.DB.Now()
	p.Secrets.Client = append([]behalf.ClientSecret{{Value: wrongSecret, CreatedAt: now}}, p.Secrets.Client...)
	if _, err := s.System.SaveProfile(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	of := s.begin(s.Profile)
	c := s.connected(of, s.browser().connects(of))
	if got := s.Do(s.Key, http.MethodPost, s.api("/connections/"+c.ID+"/refresh"), nil); got.Status != http.StatusOK {
		t.Errorf("a refresh: %d %s", got.Status, got.Body)
	}
	if storetest.ClientSecret == wrongSecret.Reveal() {
		t.Error("the secrets are the same")
	}
}

var wrongSecret = secret.New("not-the-one-that-the-provider-knows")

func TestEachTypeCanBeTested(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	test := func(p behalf.Profile, fields map[string]string) (got api.Trial) {
		s.Do(s.Owner, http.MethodPost, s.api("/profiles/"+p.Slug+"/trials"), map[string]any{"quick": true, "fields": fields}).Into(t, &got)
		return got
	}
	key := s.Sim.APIKey("hazel").Reveal()
	s.Secret(key)
	for name, c := range map[string]struct {
		profile behalf.Profile
		fields  map[string]string
		want    string
	}{
		"client credentials":          {s.profile(grants(behalf.OAuth2ClientCredentials)), nil, "passed"},
		"a key":                       {s.profile(keyed), map[string]string{"key": key}, "passed"},
		"a key that is not known":     {s.profile(keyed), map[string]string{"key": "acorn_key_wrong"}, "failed"},
		"a password":                  {s.profile(grants(behalf.OAuth2Password)), map[string]string{"username": "hazel", "password": personsPassword}, "passed"},
		"a password that is not hers": {s.profile(login), map[string]string{"username": "hazel", "password": "guess"}, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			got := test(c.profile, c.fields)
			if got.Status != c.want || len(got.Steps) == 0 {
				t.Errorf("%s: %+v", got.Status, got.Steps)
			}
		})
	}
	t.Run("on the connect page", func(t *testing.T) {
		s := s.in(t)
		p := s.profile(keyed)
		var begun api.Trial
		s.Do(s.Owner, http.MethodPost, s.api("/profiles/"+p.Slug+"/trials"), map[string]any{}).Into(t, &begun)
		s.Secret(begun.URL[strings.LastIndexByte(begun.URL, '/')+1:])
		s.browser().post(begun.URL, url.Values{"field.key": {key}})
		var got api.Trial
		s.Do(s.Owner, http.MethodGet, s.api("/profiles/"+p.Slug+"/trials/"+begun.ID), nil).Into(t, &got)
		if got.Status != "passed" {
			t.Errorf("%s: %+v", got.Status, got.Steps)
		}
		if all := s.Do(s.Key, http.MethodGet, s.api("/connections?profile="+p.Slug), nil); strings.Contains(all.Body, "con_") {
			t.Error("it became somebody's connection")
		}
	})
}
