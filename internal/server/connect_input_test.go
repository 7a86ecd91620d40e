package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// tenancy makes a definition one whose organizations have a host each. The
// simulator stands for all of them.
func tenancy(d *behalf.Definition) {
	d.Tenancy = &behalf.Tenancy{BaseURL: "https://{tenant}.acorn.example", Label: "Your Acorn organization"}
}

// asked checks that a page asks again: with an error at the input, and nothing
// of the session moved.
func (s *stage) asked(of session, p page, status int, name, says string) {
	s.t.Helper()
	s.ends(of, p, still(status, []string{"Please look again at what is marked below", says}))
	in := p.input(name)
	if in == nil || attribute(in, "aria-invalid") != "true" || attribute(in, "aria-describedby") == "" {
		s.t.Errorf("the input %s is not marked: %v", name, in)
	}
	if len(p.Header.Values("Set-Cookie")) != 0 || p.onward() != "" {
		s.t.Errorf("the browser was bound, or sent on to %q", p.onward())
	}
}

func TestATenantThatIsNoNameIsRefusedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{Profile: tenancy})
	inPath := s.profile(func(d *behalf.Definition) {
		d.Tenancy = &behalf.Tenancy{BaseURL: "https://acorn.example/t/{tenant}/"}
	})
	patterned := s.profile(func(d *behalf.Definition) { tenancy(d); d.Tenancy.Pattern = "[a-z]{4}" })
	listed := s.profile(func(d *behalf.Definition) { tenancy(d); d.Tenancy.Allowed = []string{"acme", "globex"} })
	s.behaves(simulator.Switches{Log: true})
	for name, ask := range map[string]struct {
		profile behalf.Profile
		tenants []string
	}{
		"in the host": {s.Profile, []string{
			"evil.example/#", "evil.example/", "evil.example", "a.b@c", "a@b", "x:443", "x:pw@evil", "..%2f", "%2e%2e", "..", ".", "a/b", "a\\b", "a?b", "a#b", "a b", "-a", "a-", "a_b",
			"a\u3002b", "a\uff0eb", "a\uff61b", "\uff41cme", "аcme", "acme\u200b", "ä", "xn--", "127.0.0.1", "[::1]", "a\x00b", "a\r\nb", "a\u202eb", "{{user}}", "{tenant}", "<script>alert(1)</script>",
			strings.Repeat("a", 64), strings.Repeat("a", 256), strings.Repeat("a", 50_000)}},
		"in the path":                {inPath, []string{"..", ".", "a\x00b", strings.Repeat("a", 256)}},
		"against the pattern":        {patterned, []string{"acm", "acmee", "ACME", "acme.evil"}},
		"that is not among the list": {listed, []string{"Acme", "acme ltd", "initech"}},
	} {
		for _, tenant := range ask.tenants {
			t.Run(name+" "+short(tenant), func(t *testing.T) {
				s := s.in(t)
				got := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: ask.profile.Slug, User: "u", Tenant: tenant})
				p := got.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
				if p.Field != "tenant" || len(tenant) > 5 && strings.Contains(got.Body, tenant) {
					t.Errorf("the field is %q: %s", p.Field, got.Body)
				}
				of := s.begin(ask.profile)
				s.asked(of, s.browser().post(of.link, values("tenant", tenant)), http.StatusUnprocessableEntity, "tenant", "")
				s.asked(of, s.browser().post(of.link, nil), http.StatusUnprocessableEntity, "tenant", "")
			})
		}
	}
	t.Run("of a megabyte, by the API", func(t *testing.T) {
		got := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: s.Profile.Slug, User: "u", Tenant: strings.Repeat("a", 1<<20)})
		if got.Status != http.StatusRequestEntityTooLarge && got.Status != http.StatusUnprocessableEntity || len(got.Body) > 2000 {
			t.Errorf("status %d: %.300s", got.Status, got.Body)
		}
	})
	t.Run("of a megabyte, on the page", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		s.ends(of, s.browser().post(of.link, values("tenant", strings.Repeat("a", 1<<20))), still(http.StatusBadRequest, []string{"The form could not be read; try again"}))
	})
	s.untouched()

	t.Run("that is a name is taken", func(t *testing.T) {
		s := s.in(t)
		for profile, tenant := range map[*behalf.Profile]string{&s.Profile: " Acme-7 ", &inPath: "a.b@c", &patterned: "acme", &listed: "globex"} {
			of := s.begin(*profile)
			if c := s.connected(of, s.browser().connects(of, "tenant", tenant)); c.Tenant != strings.TrimSpace(tenant) {
				t.Errorf("the tenant is %q", c.Tenant)
			}
		}
	})
	t.Run("where the profile has none is refused", func(t *testing.T) {
		s := s.in(t)
		plain := s.profile()
		got := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: plain.Slug, User: "u", Tenant: "acme"})
		if p := got.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); p.Field != "tenant" {
			t.Errorf("the field is %q", p.Field)
		}
		of := s.begin(plain)
		if c := s.connected(of, s.browser().connects(of, "tenant", "acme")); c.Tenant != "" {
			t.Errorf("the tenant is %q", c.Tenant)
		}
	})
}

// short is a text as the name of a test.
func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func TestAdditionalFields(t *testing.T) {
	t.Parallel()
	const password = "hunter2-of-hazel"
	s := newStage(t, servertest.Setup{Profile: func(d *behalf.Definition) {
		d.AdditionalFields = []behalf.AdditionalField{
			{Key: "account", Title: "Account number", Hint: "On your card", Required: true, Pattern: "[0-9]{4}"},
			{Key: "pin", Title: "PIN", Type: behalf.FieldPassword, Required: true},
			{Key: "region", Title: "Region", Visibility: behalf.ReadOnly, Value: "eu"},
			{Key: "plan", Visibility: behalf.Hidden, Value: "hidden-constant"},
			{Key: "note", Title: "Note", Value: "none"},
		}
		d.AuthorizationFields = []behalf.AuthorizationField{
			{In: behalf.InQuery, Key: "fields", Value: "{{account}}|{{region}}|{{plan}}|{{note}}"},
			{In: behalf.InHeader, Key: "X-Pin", Value: "{{pin}}", Secret: true},
		}
	}})
	s.Secret(password)
	good := []string{"field.account", "1234", "field.pin", password, "field.note", "hello"}

	t.Run("are asked for, the hidden and the passwords not shown", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.Fields = map[string]string{"account": "9876", "pin": password} })
		p := s.browser().get(of.link)
		s.ends(of, p, asking)
		if strings.Contains(p.Body, password) || strings.Contains(p.Body, "hidden-constant") || p.input("field.plan") != nil {
			t.Errorf("the page tells: %s", p.Body)
		}
		if a, pin, region := p.input("field.account"), p.input("field.pin"), p.input("field.region"); attribute(a, "value") != "9876" || attribute(pin, "type") != "password" || attribute(region, "value") != "eu" {
			t.Errorf("the inputs are %v, %v, %v", a, pin, region)
		}
	})
	for _, wrong := range []struct {
		name        string
		change      []string
		field, says string
	}{
		{"that are required must be given", []string{"field.account", ""}, "field.account", "Required"},
		{"that are required are no blanks", []string{"field.account", "  "}, "field.account", "Required"},
		{"that are required, also a password", []string{"field.pin", ""}, "field.pin", "Required"},
		{"must match their pattern", []string{"field.account", "12345"}, "field.account", "It does not have the form that is expected here"},
		{"must match their pattern as a whole", []string{"field.account", "1234\n"}, "", ""}, // blanks around are taken off
		{"are one line", []string{"field.note", "a\nb"}, "field.note", "one line"},
		{"are text", []string{"field.note", "a\x00b"}, "field.note", "one line"},
		{"are UTF-8", []string{"field.note", "\xff"}, "field.note", "one line"},
		{"have an end", []string{"field.note", strings.Repeat("x", 4001)}, "field.note", "at most 4000 characters"},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			s := s.in(t)
			of := s.begin(s.Profile)
			b := s.browser()
			form := append(append([]string{}, good...), wrong.change...)
			if wrong.field == "" {
				s.connected(of, b.connects(of, form...))
				return
			}
			p := b.post(of.link, values(form...))
			s.asked(of, p, http.StatusUnprocessableEntity, wrong.field, wrong.says)
			if strings.Contains(p.Body, password) {
				t.Error("the password comes back")
			}
			s.connected(of, b.connects(of, good...))
		})
	}
	t.Run("of the profile itself cannot be overridden by the form", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		s.connected(of, s.browser().connects(of, append([]string{"field.region", "us", "field.plan", "mine", "field.unknown", "x"}, good...)...))
		if got := s.echo(of); got != "1234|eu|hidden-constant|hello" {
			t.Errorf("a call carries %q", got)
		}
	})
	t.Run("with a default may be left as they are", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.Fields = map[string]string{"account": "9876", "pin": password} })
		s.connected(of, s.browser().connects(of))
		if got := s.echo(of); got != "9876|eu|hidden-constant|none" {
			t.Errorf("a call carries %q", got)
		}
	})
	t.Run("keep a password that is left empty when the page comes back", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		b := s.browser()
		b.presses(of, good...)
		if p := b.get(of.link); strings.Contains(p.Body, password) || attribute(p.input("field.account"), "value") != "1234" {
			t.Errorf("the page is %s", p.text)
		}
		s.connected(of, b.connects(of, "field.account", "1234", "field.pin", "", "field.note", "hello"))
	})
	t.Run("that somebody typed are not shown to another browser", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile)
		s.browser().presses(of, good...)
		if p := s.browser().get(of.link); p.Status != http.StatusForbidden || strings.Contains(p.Body, "1234") {
			t.Errorf("status %d: %s", p.Status, p.text)
		}
	})
	for name, fields := range map[string]map[string]string{
		"region":  {"region": "us"},
		"plan":    {"plan": "mine"},
		"unknown": {"unknown": "x"},
		"account": {"account": "12a4"},
		"note":    {"note": strings.Repeat("x", 4001)},
		"pin":     {"pin": "a\r\nX-Injected: 1"},
	} {
		t.Run("of the API are checked: "+name, func(t *testing.T) {
			got := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: s.Profile.Slug, User: "u", Fields: fields})
			p := got.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
			if p.Field != "fields."+name || strings.Contains(got.Body, "Injected") || strings.Contains(got.Body, "12a4") {
				t.Errorf("the field is %q: %s", p.Field, got.Body)
			}
		})
	}
}

// echo is what a call on behalf of the session's user carries as its fields.
func (s *stage) echo(of session) string {
	s.t.Helper()
	var got struct {
		Query string `json:"query"`
	}
	s.Do(s.Key, http.MethodGet, s.api("/proxy/"+s.Profile.Slug+"/echo"), nil, "Behalf-User", of.User).Into(s.t, &got)
	return param("?"+got.Query, "fields")
}

func TestWhatASessionBeginsWithIsChecked(t *testing.T) {
	t.Parallel()
	s := newStage(t, servertest.Setup{})
	long := strings.Repeat("ä", 256)
	for _, wrong := range []struct {
		name  string
		body  map[string]any
		field string
	}{
		{"no user", map[string]any{"user": ""}, "user"},
		{"a blank user", map[string]any{"user": "  "}, "user"},
		{"a user of 256 characters", map[string]any{"user": long}, "user"},
		{"a user of two lines", map[string]any{"user": "a\nb"}, "user"},
		{"a user with a NUL", map[string]any{"user": "a\x00b"}, "user"},
		{"a user that is a number", map[string]any{"user": 7}, "user"},
		{"a name of 256 characters", map[string]any{"user_name": long}, "user_name"},
		{"a name of two lines", map[string]any{"user_name": "a\r\nb"}, "user_name"},
		{"59 seconds", map[string]any{"expires_in": 59}, "expires_in"},
		{"3601 seconds", map[string]any{"expires_in": 3601}, "expires_in"},
		{"minus one second", map[string]any{"expires_in": -1}, "expires_in"},
		{"half a second more", map[string]any{"expires_in": 60.5}, "expires_in"},
		{"a locale that is none", map[string]any{"locale": strings.Repeat("x", 36)}, "locale"},
		{"no profile", map[string]any{"profile": ""}, "profile"},
		{"a profile that is not there", map[string]any{"profile": "nobody"}, "profile"},
		{"a return URL where there is none", map[string]any{"return_url": "https://bot.example/back"}, "return_url"},
		{"a field that is not there", map[string]any{"redirect_uri": "https://evil.example"}, "redirect_uri"},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			body := map[string]any{"profile": s.Profile.Slug, "user": "u"}
			for k, v := range wrong.body {
				body[k] = v
			}
			p := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), body).Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid)
			if p.Field != wrong.field {
				t.Errorf("the field is %q: %s", p.Field, p.Detail)
			}
		})
	}
	t.Run("255 characters are taken and shown", func(t *testing.T) {
		s := s.in(t)
		name := strings.Repeat("ä", 255)
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.User, b.UserName = name, name })
		if p := s.browser().get(of.link); !strings.Contains(p.text, "You are connecting as "+name) {
			t.Errorf("status %d", p.Status)
		}
	})
	t.Run("a name without letters leaves the page in order", func(t *testing.T) {
		s := s.in(t)
		of := s.begin(s.Profile, func(b *api.SessionBody) { b.UserName = "<b>enaJ</b>{assistant}" })
		p := s.browser().get(of.link)
		if !strings.Contains(p.text, "You are connecting as <b>enaJ</b>{assistant}.") || len(p.elements("b")) != 0 {
			t.Errorf("the page says %s", p.text)
		}
	})
	t.Run("a session of another assistant's profile is refused", func(t *testing.T) {
		s := s.in(t)
		another := s.NewAssistant(behalf.NewAssistant("Another", s.DB.Now()))
		theirs := s.NewProfile(another, s.Definition("Theirs"))
		for _, name := range []string{theirs.Slug, string(theirs.ID)} {
			got := s.Do(s.Key, http.MethodPost, s.api("/connect-sessions"), api.SessionBody{Profile: name, User: "u"})
			if p := got.Problem(t, http.StatusUnprocessableEntity, behalf.CodeInvalid); p.Field != "profile" {
				t.Errorf("the field is %q", p.Field)
			}
		}
	})
}
