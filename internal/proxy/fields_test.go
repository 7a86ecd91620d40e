package proxy_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func off() *bool { return new(bool) }

func TestTheTokenGoesAsBearerUnlessSaidOtherwise(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*behalf.Definition)
		want   func(token string) string
	}{
		{"by default", nil, func(token string) string { return "Bearer " + token }},
		{"send_token is false", func(d *behalf.Definition) { d.SendToken = off() }, func(string) string { return "" }},
		{"a row replaces it", func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "authorization", Value: "Zoho-oauthtoken {{accessToken}}"}}
		}, func(token string) string { return "Zoho-oauthtoken " + token }},
		{"a row with a literal", func(d *behalf.Definition) {
			d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "Authorization", Value: "literal", Secret: true}}
		}, func(string) string { return "literal" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.change)
			if a := s.call("GET", "/x", nil); a.Status != 200 || a.Body != "fine" || a.Header.Get("Behalf-Error") != "" {
				t.Fatalf("status %d: %s", a.Status, a.Body)
			}
			if got, want := s.app.last(t).header.Get("Authorization"), c.want(s.token().Reveal()); got != want {
				t.Errorf("Authorization is %q", got)
			}
		})
	}
}

func TestFieldsGoWhereTheyBelongAndWin(t *testing.T) {
	s := newStage(t, func(d *behalf.Definition) {
		d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword}, {Key: "account", Value: "a b/ü?&", Visibility: behalf.Hidden}}
		d.AuthorizationFields = []behalf.AuthorizationField{
			{In: behalf.InHeader, Key: "X-Acorn-Pin", Value: "{{pin}}", Secret: true},
			{In: behalf.InQuery, Key: "account", Value: "{{authfield2}}"},
			{In: behalf.InQuery, Key: "user", Value: "{{user}}"},
			{In: behalf.InPath, Key: "account", Value: "{{account}}"},
			{In: behalf.InPayload, Key: "pin", Value: "{{pin}}", Methods: []string{"POST", "PUT"}},
			{In: behalf.InHeader, Key: "X-Only-Post", Value: "yes", Methods: []string{"POST"}},
			{In: behalf.InHeader, Key: "X-Only-Items", Value: "yes", Paths: []string{"/items"}},
		}
	})
	const pin = `4711-"\<pin>`
	s.Secret("4711-")
	s.Connect(s.Profile, behalf.ConnectSession{User: "7"}, s.Granted(), behalf.Account{Subject: "7"}, map[string]secret.Text{"pin": secret.New(pin)})
	on := []string{"Behalf-User", "7", "X-Acorn-Pin", "mine", "x-only-post", "mine"}

	t.Run("header, query and path", func(t *testing.T) {
		if a := s.call("GET", "/a/{account}/b?account=mine&keep=1&user=9&Account=2", nil, on...); a.Status != 200 {
			t.Fatalf("status %d: %s", a.Status, a.Body)
		}
		got := s.app.last(t)
		if want := base + "/a/a%20b%2F%C3%BC%3F%26/b?keep=1&Account=2&account=a%20b%2F%C3%BC%3F%26&user=7"; got.uri != want {
			t.Errorf("the application got %s, want %s", got.uri, want)
		}
		if !slices.Equal(got.header["X-Acorn-Pin"], []string{pin}) || got.body != "" {
			t.Errorf("headers %v, body %q", got.header, got.body)
		}
		if got.header.Get("X-Only-Post") != "mine" || got.header.Get("X-Only-Items") != "" {
			t.Errorf("a field went where its condition does not hold: %v", got.header)
		}
	})
	t.Run("an encoded brace is one too", func(t *testing.T) {
		s.call("GET", "/a/%7Baccount%7D", nil, on...)
		if got := s.app.last(t); !strings.HasPrefix(got.uri, base+"/a/a%20b%2F") {
			t.Errorf("the application got %s", got.uri)
		}
	})
	t.Run("by method and path", func(t *testing.T) {
		s.call("POST", "/items/3", "{}", on...)
		got := s.app.last(t)
		if got.header.Get("X-Only-Post") != "yes" || got.header.Get("X-Only-Items") != "yes" {
			t.Errorf("headers %v", got.header)
		}
		s.call("GET", "/items2", nil, on...)
		if s.app.last(t).header.Get("X-Only-Items") != "" {
			t.Error("/items2 is not below /items")
		}
	})
	t.Run("a JSON object", func(t *testing.T) {
		s.call("POST", "/x", ` {"pin":"mine","n":12345678901234567890.10,"deep":{"pin":"stays"}} `, append(on, "Content-Type", "application/vnd.api+json; charset=utf-8")...)
		got := s.app.last(t)
		var body struct {
			Pin  string
			N    json.Number
			Deep struct{ Pin string }
		}
		if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.Pin != pin || body.N != "12345678901234567890.10" || body.Deep.Pin != "stays" {
			t.Errorf("body %s, %v", got.body, err)
		}
	})
	t.Run("a form", func(t *testing.T) {
		s.call("PUT", "/x", "pin=mine&a=1&a=2&empty=", append(on, "Content-Type", "application/x-www-form-urlencoded")...)
		form, err := url.ParseQuery(s.app.last(t).body)
		if err != nil || !slices.Equal(form["pin"], []string{pin}) || !slices.Equal(form["a"], []string{"1", "2"}) || !form.Has("empty") {
			t.Errorf("form %v, %v", form, err)
		}
	})
	t.Run("no body becomes one", func(t *testing.T) {
		s.call("POST", "/x", nil, on...)
		if got := s.app.last(t); got.header.Get("Content-Type") != "application/json" || !strings.Contains(got.body, `"pin":`) {
			t.Errorf("body %q as %q", got.body, got.header.Get("Content-Type"))
		}
	})
	for name, c := range map[string]struct{ body, kind, encoding string }{
		"a list":             {`[1]`, "application/json", ""},
		"a text":             {`"x"`, "application/json", ""},
		"null":               {`null`, "application/json", ""},
		"half an object":     {`{"a":`, "application/json", ""},
		"two objects":        {`{}{}`, "application/json", ""},
		"another type":       {`<x/>`, "application/xml", ""},
		"no type":            {`{}`, "", ""},
		"multipart":          {"--x--", "multipart/form-data; boundary=x", ""},
		"compressed":         {"\x1f\x8b", "application/json", "gzip"},
		"a form that is bad": {"a=%zz", "application/x-www-form-urlencoded", ""},
		"too large":          {`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "application/json", ""},
	} {
		t.Run(name+" is refused before any call", func(t *testing.T) {
			s.app.forget()
			headers := append(on, "Content-Type", c.kind)
			if c.encoding != "" {
				headers = append(headers, "Content-Encoding", c.encoding)
			}
			if p := s.call("POST", "/x", c.body, headers...).Problem(t, 422, behalf.CodeInvalid); p.Field != "body" {
				t.Errorf("field %q", p.Field)
			}
			if len(s.app.calls()) != 0 {
				t.Error("the application was called")
			}
		})
	}
}

func TestAFieldWithoutAValueIsNamedBeforeAnyCall(t *testing.T) {
	s := newStage(t, func(d *behalf.Definition) {
		d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword}}
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Pin", Value: "{{pin}}"}}
	})
	p := s.call("GET", "/x", nil).Problem(t, 422, behalf.CodeInvalid)
	if p.Field != "authorization_fields[0].value" || !strings.Contains(p.Detail, "{{pin}}") {
		t.Errorf("field %q: %s", p.Field, p.Detail)
	}
	p = s.call("GET", "/{nothing}/x", nil).Problem(t, 422, behalf.CodeInvalid)
	if len(s.app.calls()) != 0 {
		t.Error("the application was called")
	}
}

func TestAFieldCannotInjectAHeader(t *testing.T) {
	s := newStage(t, func(d *behalf.Definition) {
		d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword}}
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Pin", Value: "{{pin}}"}}
	})
	for i, value := range []string{"a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "a\x7fb"} {
		user := string(rune('a' + i))
		s.Connect(s.Profile, behalf.ConnectSession{User: user}, s.Granted(), behalf.Account{Subject: user}, map[string]secret.Text{"pin": secret.New(value)})
		a := s.call("GET", "/x", nil, "Behalf-User", user)
		if p := a.Problem(t, 422, behalf.CodeInvalid); p.Field != "authorization_fields[0].value" || strings.Contains(a.Body, "Evil") {
			t.Errorf("%q: %s", value, a.Body)
		}
	}
	if len(s.app.calls()) != 0 {
		t.Error("the application was called")
	}
}

func TestWhichConnectionIsMeant(t *testing.T) {
	s := newStage(t, nil)
	second := s.Connected(s.Profile, "42", "second")
	s.app.forget()
	t.Run("of several the default", func(t *testing.T) {
		if a := s.call("GET", "/x", nil); a.Status != 200 {
			t.Fatalf("status %d: %s", a.Status, a.Body)
		}
		if got := s.app.last(t).header.Get("Authorization"); got != "Bearer "+s.token().Reveal() {
			t.Error("another connection was used")
		}
	})
	t.Run("the one that is named", func(t *testing.T) {
		before := s.app.last(t).header.Get("Authorization")
		if a := s.Do(s.Key, "GET", at+"/x", nil, "Behalf-Connection", string(second.ID)); a.Status != 200 {
			t.Fatalf("status %d: %s", a.Status, a.Body)
		}
		if s.app.last(t).header.Get("Authorization") == before {
			t.Error("the default one was used")
		}
	})
	t.Run("not of another user", func(t *testing.T) {
		s.Do(s.Key, "GET", at+"/x", nil, "Behalf-Connection", string(second.ID), "Behalf-User", "43").Problem(t, 404, behalf.CodeNotFound)
	})
	t.Run("nobody is named", func(t *testing.T) {
		if p := s.Do(s.Key, "GET", at+"/x", nil).Problem(t, 422, behalf.CodeInvalid); p.Field != "user" {
			t.Errorf("field %q", p.Field)
		}
	})
	t.Run("none is the default", func(t *testing.T) {
		s.Do(s.Key, "DELETE", "/v1/assistants/support-bot/connections/"+string(s.c.ID), nil)
		third := s.Connected(s.Profile, "42", "third")
		for _, ask := range []func() servertest.Answer{
			func() servertest.Answer { return s.call("GET", "/x", nil) },
			func() servertest.Answer {
				return s.Do(s.Key, "POST", "/v1/assistants/support-bot/token", map[string]string{"profile": "acorn", "user": "42"})
			},
		} {
			p := ask().Problem(t, 409, behalf.CodeConflict)
			want := []string{string(second.ID), string(third.ID)}
			slices.Sort(p.Connections)
			slices.Sort(want)
			if !slices.Equal(p.Connections, want) {
				t.Errorf("candidates %v", p.Connections)
			}
		}
	})
}

func TestATenantTellsConnectionsApart(t *testing.T) {
	s := newStage(t, func(d *behalf.Definition) {
		d.Tenancy = &behalf.Tenancy{BaseURL: "https://{tenant}.acorn.example", Pattern: "[a-z]+"}
		d.AuthorizationFields = []behalf.AuthorizationField{{In: behalf.InHeader, Key: "X-Tenant", Value: "{tenant}"}}
	})
	for _, tenant := range []string{"oak", "elm"} {
		s.Connect(s.Profile, behalf.ConnectSession{User: "7", Tenant: tenant}, s.Granted(), behalf.Account{Subject: "7"}, nil)
	}
	for _, tenant := range []string{"oak", "elm"} {
		if a := s.call("GET", "/x", nil, "Behalf-User", "7", "Behalf-Tenant", tenant); a.Status != 200 || s.app.last(t).header.Get("X-Tenant") != tenant {
			t.Errorf("%s: status %d: %s", tenant, a.Status, a.Body)
		}
	}
	s.call("GET", "/x", nil, "Behalf-User", "7", "Behalf-Tenant", "ash").Problem(t, 409, behalf.CodeAuthorizationRequired)
	for _, tenant := range []string{"evil.example/#", "a.b@c", "UP"} {
		if p := s.call("GET", "/x", nil, "Behalf-User", "7", "Behalf-Tenant", tenant).Problem(t, 422, behalf.CodeInvalid); p.Field != "tenant" {
			t.Errorf("%s: field %q", tenant, p.Field)
		}
	}
}

func TestWhoHasNotConnectedGetsALink(t *testing.T) {
	everyWay := func(s *stage, headers ...string) map[string]servertest.Answer {
		return map[string]servertest.Answer{
			"proxy": s.call("GET", "/x", nil, append(headers, "Behalf-User", "new")...),
			"token": s.Do(s.Key, "POST", "/v1/assistants/support-bot/token", map[string]string{"profile": "acorn", "user": "new"}, headers...),
		}
	}
	t.Run("finish is off", func(t *testing.T) {
		s := newStage(t, nil)
		for way, a := range everyWay(s) {
			p := a.Problem(t, 409, behalf.CodeAuthorizationRequired)
			if !strings.HasPrefix(p.ConnectURL, s.URL+"/connect/") {
				t.Fatalf("%s: connect_url %q", way, p.ConnectURL)
			}
			if page := s.Do("", "GET", p.ConnectURL, nil); page.Status != 200 || !strings.Contains(page.Body, "Acorn Notes") {
				t.Errorf("%s: the link answers %d", way, page.Status)
			}
		}
	})
	t.Run("finish is on", func(t *testing.T) {
		s := newStage(t, nil)
		a := s.Assistant
		a.Finish, a.ReturnURLs = true, []string{"https://bot.example/back"}
		if _, err := s.System.SaveAssistant(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		for way, a := range everyWay(s) {
			if p := a.Problem(t, 409, behalf.CodeAuthorizationRequired); p.ConnectURL != "" || !strings.Contains(p.Detail, "Behalf-Finish-Challenge") {
				t.Errorf("%s: connect_url %q, %s", way, p.ConnectURL, p.Detail)
			}
		}
		for way, a := range everyWay(s, "Behalf-Return-URL", "https://bot.example/back?s=1", "Behalf-Finish-Challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") {
			if p := a.Problem(t, 409, behalf.CodeAuthorizationRequired); !strings.HasPrefix(p.ConnectURL, s.URL+"/connect/") {
				t.Errorf("%s: connect_url %q", way, p.ConnectURL)
			}
		}
		for way, a := range everyWay(s, "Behalf-Return-URL", "https://evil.example/", "Behalf-Finish-Challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM") {
			if p := a.Problem(t, 409, behalf.CodeAuthorizationRequired); p.ConnectURL != "" {
				t.Errorf("%s: a link that returns to a stranger", way)
			}
		}
	})
	t.Run("it has lapsed", func(t *testing.T) {
		s := newStage(t, nil)
		s.Sim.Disconnect("bot", "hazel")
		s.Clock.Advance(2 * 3600e9)
		p := s.call("GET", "/x", nil).Problem(t, 409, behalf.CodeAuthorizationRequired)
		if p.ConnectURL == "" {
			t.Error("no link")
		}
	})
}

func TestWhatAnAssistantMayCall(t *testing.T) {
	s := newStage(t, nil)
	a := s.Assistant
	a.Calls = behalf.CallPolicy{Methods: []string{"GET"}, Paths: []string{"/v1/items"}}
	a.TokenReads = false
	if _, err := s.System.SaveAssistant(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for path, good := range map[string]bool{"/v1/items": true, "/v1/items/3?x=1": true, "/v1/items/": true, "/v1/item": false, "/v1/itemsX": false, "/": false, "": false,
		"/v1/items/../users": false, "/v1/items/%2e%2e/users": false, "/v1/items/.%2E/users": false, "//v1/items": true, "/V1/items": false, "/v1%2fitems": false} {
		s.app.forget()
		a := s.call("GET", path, nil)
		if good != (a.Status == 200) || good != (len(s.app.calls()) == 1) {
			t.Errorf("%s: status %d, %d calls", path, a.Status, len(s.app.calls()))
		}
	}
	s.call("POST", "/v1/items", "{}").Problem(t, 403, behalf.CodeForbidden)
	s.call("HEAD", "/v1/items", nil)
	p := s.Do(s.Key, "POST", "/v1/assistants/support-bot/token", map[string]string{"profile": "acorn", "user": "42"}).Problem(t, 403, behalf.CodeForbidden)
	if !strings.Contains(p.Detail, "token_reads") {
		t.Errorf("detail %q", p.Detail)
	}
	s.Do(s.Owner, "POST", "/v1/assistants/support-bot/token", map[string]string{"profile": "acorn", "user": "42"}).Problem(t, 403, behalf.CodeForbidden)
	s.Do(s.Key, "POST", "/v1/assistants/support-bot/connections/"+string(s.c.ID)+"/token", nil).Problem(t, 403, behalf.CodeForbidden)
}

func TestATokenIsGivenWithWhatIsKnownOfIt(t *testing.T) {
	s := newStage(t, nil)
	a := s.Do(s.Key, "POST", "/v1/assistants/support-bot/token", map[string]string{"profile": "acorn", "user": "42"})
	var got api.Token
	a.Into(t, &got)
	if a.Header.Get("Cache-Control") != "no-store" || got.AccessToken != s.token().Reveal() || got.TokenType != "Bearer" || got.Scope != "notes:read notes:write" || got.Connection != string(s.c.ID) || got.ExpiresAt == nil {
		t.Errorf("%+v, %v", got, a.Header)
	}
	s.Clock.Advance(59 * 60e9) // within its margin: never one that is about to expire
	var next api.Token
	s.Do(s.Key, "POST", "/v1/assistants/support-bot/connections/"+string(s.c.ID)+"/token", nil).Into(t, &next)
	if next.AccessToken == got.AccessToken || s.Sim.Stats().Refreshes != 1 {
		t.Errorf("%d refreshes", s.Sim.Stats().Refreshes)
	}
	r, err := http.NewRequest("GET", s.Provider+"/api/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+next.AccessToken)
	if a := s.Send(r); a.Status != 200 {
		t.Errorf("the provider's API answers %d", a.Status)
	}
}
