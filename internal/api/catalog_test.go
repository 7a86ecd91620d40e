package api_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func TestTheCatalogueIsSearchedByName(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	var got api.CatalogList
	s.Do(s.Owner, "GET", "/v1/catalog?q=google+drive", nil).Into(t, &got)
	if len(got.Items) != 1 || got.Items[0].Slug != "google-drive" || !got.Items[0].Verified || got.Items[0].Docs == "" {
		t.Errorf("got %+v", got)
	}
	s.Do(s.Owner, "GET", "/v1/catalog", nil).Into(t, &got)
	if len(got.Items) < 160 {
		t.Errorf("all are %d", len(got.Items))
	}
	got.Items = nil
	s.Do(s.Owner, "GET", "/v1/catalog?q=nothing+like+this", nil).Into(t, &got)
	if len(got.Items) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAProviderIsShownWithItsEvidenceAndAProfile(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	var got api.CatalogEntry
	s.Do(s.Owner, "GET", "/v1/catalog/square", nil).Into(t, &got)
	if got.Definition.TokenURL != "https://connect.squareup.com/oauth2/token" || len(got.Evidence) == 0 || len(got.Scopes) == 0 || !slices.Contains(got.Variants, "sandbox") || got.Definition.ClientID != "" {
		t.Errorf("got %+v", got)
	}
	s.Do(s.Owner, "GET", "/v1/catalog/square?variant=sandbox", nil).Into(t, &got)
	if got.Definition.TokenURL != "https://connect.squareupsandbox.com/oauth2/token" {
		t.Errorf("the sandbox is %+v", got.Definition)
	}
	s.Do(s.Owner, "GET", "/v1/catalog/no-such-thing", nil).Problem(t, 404, behalf.CodeNotFound)
	s.Do(s.Owner, "GET", "/v1/catalog/square?variant=moon", nil).Problem(t, 422, behalf.CodeInvalid)
}

func TestAProfileFromTheCatalogueNeedsOnlyIdAndSecret(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	at := "/v1/assistants/" + s.Assistant.Slug + "/profiles"
	var got api.Profile
	s.Do(s.Owner, "POST", at, map[string]any{"from": "asana", "client_id": "me", "client_secret": "s"}).Into(t, &got)
	if got.Status != "configured" || got.Name != "Asana" || got.ClientID != "me" || got.TokenURL != "https://app.asana.com/-/oauth_token" || !got.ClientSecretSet || got.OAuth.ClientAuth != behalf.ClientAuthPost {
		t.Errorf("got %+v", got)
	}
	s.Do(s.Owner, "POST", at, map[string]any{"from": "square", "variant": "sandbox", "name": "Till", "client_id": "me", "client_secret": "s",
		"scope": []map[string]string{{"key": "scope", "value": "ORDERS_READ"}}, "oauth": map[string]any{"token_lifetime": 60}}).Into(t, &got)
	if got.Name != "Till" || got.TokenURL != "https://connect.squareupsandbox.com/oauth2/token" || len(got.Scope) != 1 || got.Scope[0].Value != "ORDERS_READ" || got.OAuth.TokenBody != "json" || got.OAuth.TokenLifetime != 60 {
		t.Errorf("got %+v", got)
	}
	for field, body := range map[string]map[string]any{
		"from":      {"from": "no-such-thing", "client_id": "me"},
		"variant":   {"from": "asana", "variant": "moon", "client_id": "me"},
		"client_id": {"from": "asana", "name": "Another"},
	} {
		p := s.Do(s.Owner, "POST", at, body).Problem(t, 422, behalf.CodeInvalid)
		if !slices.ContainsFunc(p.Errors, func(d api.ProblemField) bool { return d.Field == field }) {
			t.Errorf("%s: got %+v", field, p)
		}
	}
	s.Do(s.Owner, "POST", at, map[string]any{"variant": "sandbox", "client_id": "me"}).Problem(t, 422, behalf.CodeInvalid)
}

// What the catalogue drafts can be applied, all at once, and reads back as it was.
func TestTheWholeCatalogueIsAppliedAndReadBack(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	c, err := catalog.Open()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]behalf.Definition{}
	var list []api.AppliedProfile
	secret := "sh!"
	for _, e := range c.List() {
		variant := ""
		if slices.ContainsFunc(e.Variants, func(v catalog.Variant) bool { return v.Name == catalog.Sandbox }) {
			variant = catalog.Sandbox
		}
		d, err := e.Draft(variant, "client-of-"+e.Slug)
		if err != nil {
			t.Fatal(err)
		}
		want[d.Name] = d
		list = append(list, api.AppliedProfile{Definition: d, ClientSecret: &secret})
	}
	at := "/v1/assistants/" + s.Assistant.Slug + "/profiles"
	var done api.Applied
	s.Do(s.Owner, "PUT", at, map[string]any{"profiles": list}).Into(t, &done)
	if len(done.Changes) != len(list) {
		t.Fatalf("%d changes for %d profiles", len(done.Changes), len(list))
	}
	for _, change := range done.Changes {
		var got api.Profile
		s.Do(s.Owner, "GET", at+"/"+change.Slug, nil).Into(t, &got)
		wanted, _ := json.Marshal(want[change.Name])
		read, _ := json.Marshal(got.Definition)
		if string(wanted) != string(read) {
			t.Errorf("%s reads back as\n%s\nand was\n%s", change.Slug, read, wanted)
		}
	}
}
