package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// profile is a profile as the API shows it.
type profile struct {
	ID              string   `json:"id"`
	Slug            string   `json:"slug"`
	Status          string   `json:"status"`
	CallbackURL     string   `json:"callback_url"`
	Name            string   `json:"name"`
	ClientSecretSet bool     `json:"client_secret_set"`
	SecretsSet      []string `json:"secrets_set"`
	Version         int64    `json:"version"`
}

const (
	headerSecret   = "header-value-4c1f"
	passwordSecret = "password-value-77aa"
	newSecret      = "another-client-secret"
)

// secretive is a profile with one secret of each kind.
func secretive(s *servertest.Server) map[string]any {
	return with(with(profileBody(s.Definition("Acorn")),
		"authorization_fields", []map[string]any{{"in": "header", "key": "X-Api-Key", "value": headerSecret, "secret": true}, {"in": "query", "key": "v", "value": "2"}}),
		"additional_fields", []map[string]any{{"key": "pin", "type": "password", "value": passwordSecret, "visibility": "hidden"}})
}

// kept opens what is sealed of the profile.
func kept(t *testing.T, b *building) (client, header, password string) {
	t.Helper()
	p, err := b.System.Profile(t.Context(), b.Assistant.ID, "acorn")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Secrets.Client) > 0 {
		client = p.Secrets.Client[0].Value.Reveal()
	}
	for _, f := range p.AuthorizationFields {
		if f.Secret {
			header = f.Value
		}
	}
	for _, f := range p.AdditionalFields {
		password = f.Value
	}
	return client, header, password
}

func TestNoSecretOfAProfileIsEverReturned(t *testing.T) {
	b := newBuilding(t)
	b.Secret(headerSecret, passwordSecret)
	var p profile
	var answers []string
	put := b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), secretive(b.Server))
	put.Into(t, &p)
	answers = append(answers, put.Body)
	if !p.ClientSecretSet || !slices.Equal(p.SecretsSet, []string{"authorization_fields[0].value", "additional_fields"}) {
		t.Errorf("client_secret_set %v, secrets_set %v", p.ClientSecretSet, p.SecretsSet)
	}
	var made profile
	post := b.Do(b.Owner, "POST", b.at("/profiles"), with(secretive(b.Server), "name", "Second"))
	post.Into(t, &made)
	answers = append(answers, post.Body)
	for _, path := range []string{"/profiles", "/profiles/acorn", "/profiles/" + made.ID, "", "/connections", "/connect-sessions/" + b.session, "/connections/" + string(b.c.ID), "/events"} {
		for _, who := range b.everybody {
			answers = append(answers, b.Do(who.key, "GET", b.at(path), nil).Body)
		}
	}
	answers = append(answers, b.Do(b.Owner, "GET", "/v1/audit", nil).Body, b.Do(b.Owner, "GET", "/v1/keys", nil).Body)
	for _, a := range answers {
		for _, s := range []string{headerSecret, passwordSecret, `s3cr:t/+`, "acorn_at_", "acorn_rt_", b.Owner, b.Key} {
			if strings.Contains(a, s) {
				t.Errorf("an answer holds %q: %.300s", s, a)
			}
		}
	}
	if client, header, password := kept(t, b); client != "s3cr:t/+ %x" || header != headerSecret || password != passwordSecret {
		t.Errorf("what is kept: %q %q %q", client, header, password)
	}
}

func TestWhatIsReadCanBeSentBackAndKeepsItsSecrets(t *testing.T) {
	b := newBuilding(t)
	var read map[string]any
	b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), secretive(b.Server)).Into(t, &read)
	for _, name := range []string{"id", "slug", "status", "callback_url", "client_secret_set", "secrets_set", "client_secrets", "warnings", "created_at", "updated_at"} {
		delete(read, name)
	}
	read["description"] = "Changed."
	var p profile
	b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), read).Into(t, &p)
	if client, header, password := kept(t, b); client != "s3cr:t/+ %x" || header != headerSecret || password != passwordSecret {
		t.Errorf("what is kept: %q %q %q", client, header, password)
	}
	t.Run("a new secret replaces the old one", func(t *testing.T) {
		delete(read, "version")
		b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), with(read, "client_secret", newSecret)).Into(t, &p)
		if client, _, _ := kept(t, b); client != newSecret || !p.ClientSecretSet {
			t.Errorf("kept %q", client)
		}
	})
	t.Run("an empty one forgets it", func(t *testing.T) {
		b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), with(read, "client_secret", "")).Into(t, &p)
		if client, _, _ := kept(t, b); client != "" || p.ClientSecretSet {
			t.Errorf("kept %q", client)
		}
	})
}

func TestASecretDoesNotMoveToAnotherHostUnknown(t *testing.T) {
	b := newBuilding(t)
	full := secretive(b.Server)
	b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), full).Into(t, &profile{})
	without := maps.Clone(full)
	delete(without, "client_secret")
	without["authorization_fields"] = []map[string]any{{"in": "header", "key": "X-Api-Key", "secret": true}}
	without["additional_fields"] = []map[string]any{{"key": "pin", "type": "password", "visibility": "hidden"}}
	for _, c := range []struct {
		name string
		with map[string]any
		want []string
	}{
		{"the token URL", map[string]any{"token_url": "https://evil.example/token"}, []string{"additional_fields[0].value", "authorization_fields[0].value", "client_secret"}},
		{"the refresh URL", map[string]any{"refresh_url": "https://evil.example/token"}, []string{"additional_fields[0].value", "authorization_fields[0].value", "client_secret"}},
		{"the revocation URL", map[string]any{"oauth": map[string]any{"revocation_url": "https://evil.example/r"}}, []string{"additional_fields[0].value", "authorization_fields[0].value", "client_secret"}},
		{"the API", map[string]any{"api": map[string]any{"base_url": "https://evil.example/"}}, []string{"additional_fields[0].value", "authorization_fields[0].value"}},
		{"the allowed hosts", map[string]any{"api": map[string]any{"base_url": b.Provider + "/api", "allowed_hosts": []string{strings.TrimPrefix(b.Provider, "http://"), "evil.example"}}}, []string{"additional_fields[0].value", "authorization_fields[0].value"}},
		{"the scheme", map[string]any{"token_url": strings.Replace(b.Provider, "http:", "https:", 1) + "/token"}, []string{"client_secret"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := maps.Clone(without)
			maps.Copy(body, c.with)
			before := b.audited(t)
			a := b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), body)
			a.Problem(t, 422, behalf.CodeInvalid)
			got := fieldsOf(t, a)
			slices.Sort(got)
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("fields %v, want %v", got, c.want)
				}
			}
			if b.audited(t) != before {
				t.Error("something was changed")
			}
			entered := maps.Clone(full)
			maps.Copy(entered, c.with)
			if a := b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), entered); a.Status != 200 {
				t.Errorf("entered again: status %d: %.300s", a.Status, a.Body)
			}
			b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), full).Into(t, &profile{})
		})
	}
}

func TestACallbackURLIsKnownBeforeTheProfileIs(t *testing.T) {
	b := newBuilding(t)
	var reserved, saved, read profile
	b.Do(b.Owner, "POST", b.at("/profiles"), map[string]bool{"reserve": true}).Into(t, &reserved)
	if reserved.CallbackURL != b.URL+"/callback/"+reserved.ID || reserved.Status != "reserved" || !behalf.IsID(reserved.ID, "prf_") {
		t.Fatalf("%+v", reserved)
	}
	b.Do(b.Owner, "GET", b.at("/profiles/"+reserved.ID), nil).Into(t, &read)
	if read.CallbackURL != reserved.CallbackURL || read.Status != "reserved" {
		t.Errorf("%+v", read)
	}
	t.Run("nobody can connect yet", func(t *testing.T) {
		b.Do(b.Key, "POST", b.at("/connect-sessions"), map[string]string{"profile": reserved.ID, "user": "1"}).Problem(t, 422, behalf.CodeInvalid)
		b.Do(b.Key, "POST", b.at("/token"), map[string]string{"profile": reserved.ID, "user": "1"}).Problem(t, 404, behalf.CodeNotFound)
		b.Do(b.Key, "GET", b.at("/proxy/"+reserved.ID+"/me"), nil, "Behalf-User", "1").Problem(t, 404, behalf.CodeNotFound)
	})
	t.Run("it is not in the list", func(t *testing.T) {
		if a := b.Do(b.Owner, "GET", b.at("/profiles"), nil); strings.Contains(a.Body, reserved.ID) {
			t.Error("it is")
		}
	})
	b.Do(b.Owner, "PUT", b.at("/profiles/"+reserved.ID), profileBody(b.Definition("Reserved"))).Into(t, &saved)
	if saved.ID != reserved.ID || saved.CallbackURL != reserved.CallbackURL || saved.Status != "configured" || saved.Slug != "reserved" {
		t.Errorf("%+v", saved)
	}
	t.Run("POST with the id does the same", func(t *testing.T) {
		b.Do(b.Owner, "POST", b.at("/profiles"), map[string]bool{"reserve": true}).Into(t, &reserved)
		b.Do(b.Owner, "POST", b.at("/profiles"), with(profileBody(b.Definition("Also reserved")), "id", reserved.ID)).Into(t, &saved)
		if saved.ID != reserved.ID || saved.Status != "configured" {
			t.Errorf("%+v", saved)
		}
	})
	t.Run("an id that was not reserved is not found", func(t *testing.T) {
		b.Do(b.Owner, "POST", b.at("/profiles"), with(profileBody(b.Definition("Mine")), "id", "prf_01jd0000000000000000000000")).Problem(t, 404, behalf.CodeNotFound)
	})
}

func TestANameIsTakenOnce(t *testing.T) {
	b := newBuilding(t)
	for _, name := range []string{"Acorn", "acorn", "ACORN", " acorn ", "Acorn!"} {
		before := b.audited(t)
		p := b.Do(b.Owner, "POST", b.at("/profiles"), profileBody(b.Definition(name))).Problem(t, 409, behalf.CodeConflict)
		if p.Field != "name" || b.audited(t) != before {
			t.Errorf("%q: field %q, %d changes", name, p.Field, b.audited(t)-before)
		}
	}
	second := b.NewProfile(b.Assistant, b.Definition("Second"))
	if p := b.Do(b.Owner, "PUT", b.at("/profiles/second"), profileBody(b.Definition("Acorn"))).Problem(t, 409, behalf.CodeConflict); p.Field != "name" {
		t.Errorf("renamed: field %q", p.Field)
	}
	if got, _ := b.System.Profile(t.Context(), b.Assistant.ID, string(second.ID)); got.Name != "Second" {
		t.Errorf("it is called %q now", got.Name)
	}
	other := b.NewAssistant(behalf.NewAssistant("Second Bot", b.DB.Now()))
	if a := b.Do(b.Owner, "POST", "/v1/assistants/"+other.Slug+"/profiles", profileBody(b.Definition("Acorn"))); a.Status != http.StatusCreated {
		t.Errorf("in another assistant: status %d: %.200s", a.Status, a.Body)
	}
	if p := b.Do(b.Owner, "POST", "/v1/assistants", map[string]string{"name": "Support Bot"}).Problem(t, 409, behalf.CodeConflict); p.Field != "slug" {
		t.Errorf("an assistant: field %q", p.Field)
	}
	b.Do(b.Owner, "DELETE", b.at("/profiles/second"), nil)
	if a := b.Do(b.Owner, "POST", b.at("/profiles"), profileBody(b.Definition("Second"))); a.Status != http.StatusCreated {
		t.Errorf("after it was deleted: status %d: %.200s", a.Status, a.Body)
	}
}

func TestAChangeOfAnOldVersionIsRefused(t *testing.T) {
	b := newBuilding(t)
	body := profileBody(b.Definition("Acorn"))
	var p profile
	b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), with(body, "version", 1)).Into(t, &p)
	if p.Version != 2 {
		t.Errorf("version %d", p.Version)
	}
	if got := b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), with(body, "version", 1)).Problem(t, 409, behalf.CodeConflict); got.Field != "version" {
		t.Errorf("field %q", got.Field)
	}
	b.Do(b.Owner, "PATCH", b.at(""), map[string]any{"version": 9}).Problem(t, 409, behalf.CodeConflict)
	var x struct{ Version int64 }
	b.Do(b.Owner, "PATCH", b.at(""), map[string]any{"version": 1}).Into(t, &x)
	if x.Version != 2 {
		t.Errorf("assistant's version %d", x.Version)
	}
}

func TestOfManyChangesAtOnceEachIsWholeOrRefused(t *testing.T) {
	b := newBuilding(t)
	type outcome struct{ status int }
	done := make(chan outcome)
	for i := range 20 {
		go func() {
			a := b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), with(profileBody(b.Definition("Acorn")), "description", fmt.Sprint(i)))
			done <- outcome{a.Status}
		}()
	}
	good := int64(0)
	for range 20 {
		switch o := <-done; o.status {
		case 200:
			good++
		case 409:
		default:
			t.Errorf("status %d", o.status)
		}
	}
	if p, _ := b.System.Profile(t.Context(), b.Assistant.ID, "acorn"); p.Version != 1+good {
		t.Errorf("version %d after %d changes", p.Version, good)
	}
}

func TestADeletedProfileIsGoneAtOnce(t *testing.T) {
	b := newBuilding(t)
	if a := b.Do(b.Owner, "DELETE", b.at("/profiles/acorn"), nil); a.Status != 200 {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	b.Do(b.Owner, "GET", b.at("/profiles/acorn"), nil).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Owner, "DELETE", b.at("/profiles/acorn"), nil).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "POST", b.at("/token"), map[string]string{"profile": "acorn", "user": "42"}).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "POST", b.at("/connections/"+string(b.c.ID)+"/token"), nil).Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "GET", b.at("/proxy/acorn/me"), nil, "Behalf-User", "42").Problem(t, 404, behalf.CodeNotFound)
	b.Do(b.Key, "POST", b.at("/connect-sessions"), map[string]string{"profile": "acorn", "user": "1"}).Problem(t, 422, behalf.CodeInvalid)
}

func TestAListIsWalkedPageByPage(t *testing.T) {
	b := newBuilding(t)
	for i := range 7 {
		b.NewProfile(b.Assistant, b.Definition(fmt.Sprint("P", i)))
		b.Connected(b.Profile, fmt.Sprint("user-", i), fmt.Sprint("s", i))
		b.NewAssistant(behalf.NewAssistant(fmt.Sprint("A", i), b.DB.Now()))
		b.NewKey(behalf.Key{Name: fmt.Sprint(i), Role: behalf.RoleViewer})
	}
	for _, path := range []string{"/v1/assistants", b.at("/profiles"), b.at("/connections"), b.at("/events"), "/v1/keys"} {
		t.Run(path, func(t *testing.T) {
			var all []string
			for _, limit := range []int{1, 3, 200} {
				seen, cursor := []string{}, ""
				for pages := 0; pages == 0 || cursor != ""; pages++ {
					var page struct {
						Items      []struct{ ID string }
						NextCursor string `json:"next_cursor"`
					}
					b.Do(b.Owner, "GET", fmt.Sprintf("%s?limit=%d&cursor=%s", path, limit, cursor), nil).Into(t, &page)
					if len(page.Items) > limit || pages > 50 {
						t.Fatalf("%d items in a page of %d", len(page.Items), limit)
					}
					for _, x := range page.Items {
						seen = append(seen, x.ID)
					}
					cursor = page.NextCursor
				}
				sorted := slices.Clone(seen)
				slices.Sort(sorted)
				if len(seen) < 8 || len(slices.Compact(sorted)) != len(seen) {
					t.Errorf("limit %d: %d items, some twice or missing", limit, len(seen))
				}
				if all == nil {
					all = seen
				}
				if !slices.Equal(all, seen) {
					t.Errorf("limit %d: another order or other items", limit)
				}
			}
		})
	}
	t.Run("filtered", func(t *testing.T) {
		var page struct{ Items []struct{ User, ID string } }
		b.Do(b.Key, "GET", b.at("/connections?user=user-3&profile=acorn&status=active"), nil).Into(t, &page)
		if len(page.Items) != 1 || page.Items[0].User != "user-3" {
			t.Errorf("%+v", page)
		}
		b.Do(b.Key, "GET", b.at("/connections?user=nobody"), nil).Into(t, &page)
		if len(page.Items) != 0 {
			t.Errorf("%+v", page)
		}
	})
}

func TestAKeyIsShownOnceAndEndsAtOnce(t *testing.T) {
	b := newBuilding(t)
	var made struct{ ID, Key, Status string }
	b.Do(b.Owner, "POST", "/v1/keys", map[string]string{"name": "mine", "assistant": "support-bot"}).Into(t, &made)
	if !strings.HasPrefix(made.Key, behalf.KeyPrefix) || len(made.Key) < 40 || made.Status != "active" {
		t.Fatalf("%+v", made)
	}
	if a := b.Do(b.Owner, "GET", "/v1/keys?limit=200", nil); strings.Contains(a.Body, made.Key) || !strings.Contains(a.Body, made.ID) {
		t.Error("the list shows the key, or has it not")
	}
	if a := b.Do(made.Key, "GET", b.at(""), nil); a.Status != 200 {
		t.Errorf("status %d", a.Status)
	}
	for range 2 { // the second time changes nothing
		if a := b.Do(b.Owner, "DELETE", "/v1/keys/"+made.ID, nil); a.Status != 204 {
			t.Errorf("status %d", a.Status)
		}
	}
	b.Do(made.Key, "GET", b.at(""), nil).Problem(t, 401, behalf.CodeUnauthenticated)
	b.Do(b.Owner, "DELETE", "/v1/keys/key_nothing", nil).Problem(t, 404, behalf.CodeNotFound)

	for name, c := range map[string]struct {
		body  map[string]any
		field string
	}{
		"neither role nor assistant": {map[string]any{"name": "n"}, "role"},
		"both":                       {map[string]any{"name": "n", "role": "viewer", "assistant": "support-bot"}, "role"},
		"a role that is none":        {map[string]any{"name": "n", "role": "root"}, "role"},
		"an assistant that is none":  {map[string]any{"name": "n", "assistant": "nobody"}, "assistant"},
		"already ended":              {map[string]any{"name": "n", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"},
		"no time":                    {map[string]any{"name": "n", "role": "viewer", "expires_at": "soon"}, "expires_at"},
	} {
		t.Run(name, func(t *testing.T) {
			if p := b.Do(b.Owner, "POST", "/v1/keys", c.body).Problem(t, 422, behalf.CodeInvalid); p.Field != c.field {
				t.Errorf("field %q", p.Field)
			}
		})
	}
	t.Run("only an owner makes and ends owners' keys", func(t *testing.T) {
		admin := b.everybody[1].key
		b.Do(admin, "POST", "/v1/keys", map[string]string{"name": "n", "role": "owner"}).Problem(t, 403, behalf.CodeForbidden)
		var owner struct{ ID string }
		b.Do(b.Owner, "POST", "/v1/keys", map[string]string{"name": "n", "role": "owner"}).Into(t, &owner)
		b.Do(admin, "DELETE", "/v1/keys/"+owner.ID, nil).Problem(t, 403, behalf.CodeForbidden)
	})
}

func TestAnAssistantIsSafeUnlessSaidOtherwise(t *testing.T) {
	b := newBuilding(t)
	var x struct {
		Slug       string
		Finish     bool     `json:"finish"`
		TokenReads bool     `json:"token_reads"`
		ReturnURLs []string `json:"return_urls"`
	}
	b.Do(b.Owner, "POST", "/v1/assistants", map[string]string{"name": "Café №5"}).Into(t, &x)
	if x.Slug != "caf-5" || !x.Finish || x.TokenReads || x.ReturnURLs == nil {
		t.Errorf("%+v", x)
	}
	b.Do(b.Owner, "PATCH", "/v1/assistants/caf-5", map[string]any{"return_urls": []string{"https://a.example/back"}}).Into(t, &x)
	b.Do(b.Owner, "PATCH", "/v1/assistants/caf-5", map[string]any{"token_reads": true}).Into(t, &x)
	if !x.TokenReads || !x.Finish || !slices.Equal(x.ReturnURLs, []string{"https://a.example/back"}) {
		t.Errorf("what was left out did not stay: %+v", x)
	}
	b.Do(b.Owner, "PATCH", "/v1/assistants/caf-5", map[string]any{"return_urls": []string{}}).Into(t, &x)
	if len(x.ReturnURLs) != 0 {
		t.Errorf("an empty list did not clear it: %v", x.ReturnURLs)
	}
	for field, bad := range map[string]any{"return_urls": []string{"https://ok.example", "javascript:alert(1)"}, "calls": map[string]any{"methods": []string{"get"}}, "slug": "Not A Slug"} {
		p := b.Do(b.Owner, "PATCH", "/v1/assistants/caf-5", map[string]any{field: bad}).Problem(t, 422, behalf.CodeInvalid)
		if !strings.HasPrefix(p.Field, field) {
			t.Errorf("%s: field %q", field, p.Field)
		}
	}
}

func TestAConnectionIsShownWithoutItsToken(t *testing.T) {
	b := newBuilding(t)
	a := b.Do(b.Key, "GET", b.at("/connections/"+string(b.c.ID)), nil)
	var c struct {
		Account struct{ Subject, Label string }
		Scopes  struct{ Granted, Missing []string }
		Default bool
	}
	a.Into(t, &c)
	if c.Account.Subject != "hazel" || !slices.Contains(c.Scopes.Granted, "notes:read") || !c.Default {
		t.Errorf("%s", a.Body)
	}
	second := b.Connected(b.Profile, "42", "other")
	b.Do(b.Key, "PATCH", b.at("/connections/"+string(second.ID)), map[string]bool{"default": true}).Into(t, &c)
	if first, _ := b.System.Connection(t.Context(), b.c.ID); first.Default || !c.Default {
		t.Error("both are the default, or neither")
	}
	if p := b.Do(b.Key, "PATCH", b.at("/connections/"+string(second.ID)), map[string]bool{"default": false}).Problem(t, 422, behalf.CodeInvalid); p.Field != "default" {
		t.Errorf("field %q", p.Field)
	}
	if a := b.Do(b.Key, "DELETE", b.at("/connections/"+string(second.ID)), nil); a.Status != 200 {
		t.Errorf("status %d", a.Status)
	}
	b.Do(b.Key, "POST", b.at("/connections/"+string(second.ID)+"/token"), nil).Problem(t, 409, behalf.CodeAuthorizationRequired)
	b.Do(b.Key, "POST", b.at("/connections/"+string(second.ID)+"/refresh"), nil).Problem(t, 409, behalf.CodeAuthorizationRequired)
}

func TestAConnectSessionIsBegunWithWhatItNeeds(t *testing.T) {
	b := newBuilding(t)
	d := b.Definition("Tenanted")
	d.Tenancy = &behalf.Tenancy{BaseURL: "https://{tenant}.acorn.example", Pattern: "[a-z0-9-]+"}
	d.AdditionalFields = []behalf.AdditionalField{{Key: "pin", Type: behalf.FieldPassword, Pattern: "[0-9]{4}"}}
	b.NewProfile(b.Assistant, d)
	good := map[string]any{"profile": "tenanted", "user": "1", "user_name": "Jane", "tenant": "acme", "fields": map[string]string{"pin": "4711"}, "locale": "de", "expires_in": 60}
	var s struct{ ID, URL, Status, Tenant string }
	a := b.Do(b.Key, "POST", b.at("/connect-sessions"), good)
	a.Into(t, &s)
	if a.Status != 201 || !strings.HasPrefix(s.URL, b.URL+"/connect/") || s.Status != "waiting" || s.Tenant != "acme" {
		t.Errorf("status %d: %s", a.Status, a.Body)
	}
	b.Secret(strings.TrimPrefix(s.URL, b.URL+"/connect/"))
	if a := b.Do("", "GET", s.URL, nil); a.Status != 200 || !strings.Contains(a.Body, "Jane") {
		t.Errorf("the link: status %d", a.Status)
	}
	if a := b.Do(b.Key, "GET", b.at("/connect-sessions/"+s.ID), nil); strings.Contains(a.Body, "/connect/") || strings.Contains(a.Body, "4711") {
		t.Errorf("the session shows its link or a field again: %s", a.Body)
	}
	for field, bad := range map[string]any{"profile": "nothing", "user": "a\nb", "user_name": strings.Repeat("x", 256), "return_url": "https://evil.example/",
		"locale": strings.Repeat("x", 36), "expires_in": 59} {
		if p := b.Do(b.Key, "POST", b.at("/connect-sessions"), with(good, field, bad)).Problem(t, 422, behalf.CodeInvalid); p.Field != field {
			t.Errorf("%s: field %q", field, p.Field)
		}
	}
	if got := fieldsOf(t, b.Do(b.Key, "POST", b.at("/connect-sessions"), with(good, "finish_challenge", "short"))); !slices.Contains(got, "finish_challenge") {
		t.Errorf("finish_challenge: fields %v", got)
	}
	for _, tenant := range []string{"evil.example/#", "a.b@c", "a/../b", "a b", "ä", "-", "a\r\nb", "%2e", "{tenant}", strings.Repeat("a", 64)} {
		if p := b.Do(b.Key, "POST", b.at("/connect-sessions"), with(good, "tenant", tenant)).Problem(t, 422, behalf.CodeInvalid); p.Field != "tenant" {
			t.Errorf("tenant %q: field %q", tenant, p.Field)
		}
	}
	for name, fields := range map[string]map[string]string{"fields.pin": {"pin": "abc"}, "fields.other": {"other": "1"}} {
		if p := b.Do(b.Key, "POST", b.at("/connect-sessions"), with(good, "fields", fields)).Problem(t, 422, behalf.CodeInvalid); p.Field != name {
			t.Errorf("%s: field %q", name, p.Field)
		}
	}
	if b.Sim.Stats().TokenRequests != 1 { // of newBuilding
		t.Error("the provider was asked")
	}
}

func TestTheSecretsOfAProfileAreNotPrinted(t *testing.T) {
	b := newBuilding(t)
	b.Do(b.Owner, "PUT", b.at("/profiles/acorn"), secretive(b.Server)).Into(t, &profile{})
	p, err := b.System.Profile(t.Context(), b.Assistant.ID, "acorn")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p.Secrets)
	if err != nil || strings.Contains(string(text), "s3cr") {
		t.Errorf("a secret is encoded: %s, %v", text, err)
	}
	if got := fmt.Sprintf("%v %+v %#v", p.Secrets, p.Secrets, p.Secrets); strings.Contains(got, "s3cr") || !strings.Contains(got, secret.Mask) {
		t.Errorf("a secret is printed: %s", got)
	}
}

func TestAReservationKeepsNothingButAnID(t *testing.T) {
	b := newBuilding(t)
	for name, body := range map[string]map[string]any{
		"a name":   {"reserve": true, "name": "Acorn 2"},
		"a secret": {"reserve": true, "client_secret": "s"},
		"an id":    {"reserve": true, "id": "prf_01jd0000000000000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			if p := b.Do(b.Owner, "POST", b.at("/profiles"), body).Problem(t, 422, behalf.CodeInvalid); p.Field != "reserve" {
				t.Errorf("field %q", p.Field)
			}
		})
	}
	var made profile
	b.Do(b.Owner, "POST", b.at("/profiles"), map[string]any{"reserve": true}).Into(t, &made)
	if made.ID == "" {
		t.Error("nothing was reserved")
	}
}

func TestAnAnswerAboutAProfileTellsWhatIsProbablyNotMeant(t *testing.T) {
	b := newBuilding(t)
	d := profileBody(b.Definition("Loose"))
	d["oauth"] = map[string]any{"pkce": "off"}
	says := func(a servertest.Answer) bool {
		var p struct{ Warnings []behalf.Warning }
		a.Into(t, &p)
		return slices.ContainsFunc(p.Warnings, func(w behalf.Warning) bool { return w.Code == behalf.WarnPKCEOff })
	}
	if !says(b.Do(b.Owner, "POST", b.at("/profiles"), d)) || !says(b.Do(b.Owner, "PUT", b.at("/profiles/loose"), d)) || !says(b.Do(b.Owner, "GET", b.at("/profiles/loose"), nil)) {
		t.Error("an answer does not say it")
	}
}

func TestWhoMayNotIsToldWhatInWords(t *testing.T) {
	b := newBuilding(t)
	p := b.Do(b.Key, "PUT", b.at("/profiles/acorn"), profileBody(b.Definition("Acorn"))).Problem(t, 403, behalf.CodeForbidden)
	if !strings.Contains(p.Detail, "change authorization profiles") || strings.Contains(p.Detail, "profiles.write") {
		t.Errorf("it says %q", p.Detail)
	}
}
