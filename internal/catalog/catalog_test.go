package catalog

import (
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-dev/behalf"
)

func open(t *testing.T) *Catalog {
	t.Helper()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Open refuses what no file may have; this is what is asked of the whole.
func TestTheCatalogueThatComesWithTheBinaryIsWhole(t *testing.T) {
	entries := open(t).List()
	if len(entries) < 160 {
		t.Errorf("%d providers, expected 160 and more", len(entries))
	}
	files, err := fs.Glob(providers, "providers/*.yaml")
	if err != nil || len(files) != len(entries) {
		t.Errorf("%d files, %d entries, %v", len(files), len(entries), err)
	}
	verified := 0
	for _, e := range entries {
		if e.Verified {
			verified++
		}
		t.Run(e.Slug, func(t *testing.T) { whole(t, e) })
	}
	if verified*2 < len(entries) {
		t.Errorf("%d of %d providers are verified, expected half of them", verified, len(entries))
	}
}

// httpURL finds every URL of a file.
var httpURL = regexp.MustCompile(`\bhttp://[^"\s]+`)

func whole(t *testing.T, e Entry) {
	for _, variant := range append([]string{""}, e.variantNames()...) {
		d, err := e.Draft(variant, "client-id")
		if err != nil {
			t.Fatal(err)
		}
		plan, err := behalf.Compile(d)
		if err != nil {
			t.Fatal(explain(err))
		}
		for _, w := range behalf.Lint(d, e.Known()) {
			if slices.Contains([]behalf.WarningCode{behalf.WarnNoRefreshToken, behalf.WarnSeparator, behalf.WarnOverridden, behalf.WarnHardCodedState, behalf.WarnTokenNotSent,
				behalf.WarnFieldUnused, behalf.WarnPasswordUnused, behalf.WarnPlainSecret, behalf.WarnOpenIDNoIssuer, behalf.WarnIssuerNoOpenID}, w.Code) && !forgiven[e.Slug+" "+string(w.Code)] {
				t.Errorf("%s %s: %s %s", variant, w.Field, w.Code, w.Message)
			}
		}
		if len(plan.HostPatterns) == 0 {
			t.Errorf("%s: no host may be called", variant)
		}
	}
	if plain := httpURL.FindString(string(e.raw)); plain != "" {
		t.Errorf("plain http: %s", plain)
	}
	for _, s := range e.Scopes {
		if s.Value == "" || s.Title == "" {
			t.Errorf("scope %q has no title", s.Value)
		}
	}
}

// forgiven are warnings that are right, and meant.
var forgiven = map[string]bool{
	"onelogin no_refresh_token": true, // whether one is given is a setting of the application there
}

const good = `
slug: acorn
name: Acorn Notes
aliases: [Acorn]
categories: [notes]
docs: https://acorn.example.com/oauth
verified: true
evidence:
  - {knobs: [endpoints], kind: documentation, url: https://acorn.example.com/oauth}
  - {knobs: [oauth.client_auth, oauth.refresh], kind: thread, url: https://acorn.example.com/1}
profile:
  authorization_url: https://acorn.example.com/authorize
  token_url: https://acorn.example.com/token
  scope: [{key: scope, value: notes}]
  api: {base_url: https://api.acorn.example.com}
  oauth: {client_auth: post, refresh: {rotates: "yes"}}
variants:
  - name: sandbox
    profile:
      token_url: https://sandbox.acorn.example.com/token
      oauth: {client_auth: null}
`

func read(t *testing.T, files ...string) (*Catalog, error) {
	t.Helper()
	in := fstest.MapFS{}
	for _, text := range files {
		slug, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(text), "slug: "), "\n")
		in[slug+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	return Read(in)
}

func TestFilesThatAreNotAsTheyShouldBeAreRefused(t *testing.T) {
	if _, err := read(t, good); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct{ old, new, want string }{
		"a key that nobody knows":              {"docs:", "homepage: https://x.example\ndocs:", `unknown field "homepage"`},
		"a field that profiles do not have":    {"client_auth: post", "client_auth: post, secret: x", `unknown field "secret"`},
		"a key twice":                          {"docs:", "name: Other\ndocs:", "already defined"},
		"another slug than the file's":         {"slug: acorn", "slug: acorn\n#", ""},
		"a slug with capitals":                 {"slug: acorn", "slug: Acorn", "slug: expected"},
		"no category":                          {"[notes]", "[]", "categories"},
		"documentation by plain http":          {"docs: https", "docs: http", "docs: expected an https URL"},
		"a client id":                          {"profile:\n", "profile:\n  client_id: mine\n", "the administrator's"},
		"evidence of no kind":                  {"kind: thread", "kind: rumour", "evidence[1]"},
		"a quirk without evidence":             {"oauth.client_auth, oauth.refresh", "oauth.client_auth", "evidence: none for oauth.refresh.rotates"},
		"a quirk of a variant alone":           {"client_auth: null", "pkce: \"off\"", "evidence: none for oauth.pkce"},
		"evidence for what is not set":         {"[oauth.client_auth, oauth.refresh]", "[oauth.client_auth, oauth.refresh, oauth.pkce]", "does not set oauth.pkce"},
		"verified by a thread":                 {"kind: documentation", "kind: thread", "verified"},
		"verified by what was never looked at": {"kind: documentation", "kind: unchecked", "verified"},
		"a profile that does not compile":      {"https://acorn.example.com/token", "ftp://acorn.example.com", "token_url"},
		"a variant that does not compile":      {"https://sandbox.acorn.example.com/token", "no url", "profile sandbox"},
		"no YAML":                              {"categories: [notes]", "categories: [notes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, x.old, x.new, 1)
			if text == good {
				t.Fatal("nothing was changed")
			}
			if name == "another slug than the file's" {
				_, err := Read(fstest.MapFS{"birch.yaml": {Data: []byte(good)}})
				if err == nil || !strings.Contains(err.Error(), "birch.yaml") {
					t.Errorf("got %v", err)
				}
				return
			}
			_, err := read(t, text)
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, expected %q", err, x.want)
			}
		})
	}
}

func TestNoTwoProvidersAnswerToOneWord(t *testing.T) {
	for name, other := range map[string]string{
		"a name":               strings.NewReplacer("slug: acorn", "slug: birch", "name: Acorn Notes", "name: ACORN-notes", "aliases: [Acorn]", "").Replace(good),
		"an alias that a slug": strings.NewReplacer("slug: acorn", "slug: birch", "name: Acorn Notes", "name: Birch", "aliases: [Acorn]", "aliases: [acorn]").Replace(good),
	} {
		if _, err := read(t, good, other); err == nil || !strings.Contains(err.Error(), "both answer to") {
			t.Errorf("%s has: %v", name, err)
		}
	}
}

func TestFilesOfOnesOwnComeBesideOursAndReplaceThem(t *testing.T) {
	own := fstest.MapFS{
		"acorn.yaml": {Data: []byte(good)},
		"asana.yaml": {Data: []byte(strings.NewReplacer("slug: acorn", "slug: asana", "name: Acorn Notes", "name: Our Asana", "[Acorn]", "[]").Replace(good))},
	}
	c, err := Open(own)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(c.List()), len(open(t).List())+1; got != want {
		t.Errorf("%d providers, expected %d", got, want)
	}
	if e, err := c.Get("asana"); err != nil || e.Name != "Our Asana" {
		t.Errorf("got %+v, %v", e, err)
	}
	own["acorn.yaml"].Data = []byte(strings.Replace(good, "[Acorn]", "[Slack]", 1))
	if _, err := Open(own); err == nil || !strings.Contains(err.Error(), "both answer to") {
		t.Errorf("got %v", err)
	}
}

func TestAllFilesThatAreWrongAreNamed(t *testing.T) {
	bad := strings.Replace(good, "categories: [notes]", "categories: []", 1)
	_, err := read(t, bad, strings.NewReplacer("slug: acorn", "slug: birch", "name: Acorn Notes", "name: Birch", "[Acorn]", "[]").Replace(bad))
	if err == nil || !strings.Contains(err.Error(), "acorn.yaml") || !strings.Contains(err.Error(), "birch.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestADraftLacksOnlyTheClient(t *testing.T) {
	c, err := read(t, good)
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Get("acorn")
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Draft("", "my-client")
	if err != nil || d.Name != "Acorn Notes" || d.Provider != "Acorn Notes" || d.Type != behalf.OAuth2 || d.ClientID != "my-client" || d.OAuth.ClientAuth != behalf.ClientAuthPost {
		t.Errorf("got %+v, %v", d, err)
	}
	if _, err := behalf.Compile(d); err != nil {
		t.Errorf("the draft is not a profile: %s", explain(err))
	}
	d, err = e.Draft(Sandbox, "my-client")
	if err != nil || d.Name != "Acorn Notes (sandbox)" || d.TokenURL != "https://sandbox.acorn.example.com/token" || d.OAuth.ClientAuth != "" || d.OAuth.Refresh.Rotates != "yes" {
		t.Errorf("the sandbox: got %+v, %v", d, err)
	}
	if _, err = e.Draft("moon", ""); err == nil {
		t.Error("a variant that is not there was drafted")
	}
	if _, err := c.Get("birch"); err == nil {
		t.Error("a provider that is not there was found")
	}
}

func TestWhatIsSetComesOverTheDraft(t *testing.T) {
	c, err := read(t, good)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := c.Get("acorn")
	d, err := e.Over("", behalf.Definition{Name: "Mine", ClientID: "me", Scope: []behalf.ScopeParam{{Key: "scope", Value: "a b"}}, OAuth: behalf.OAuthSettings{TokenLifetime: 60}})
	if err != nil || d.Name != "Mine" || d.ClientID != "me" || len(d.Scope) != 1 || d.Scope[0].Value != "a b" || d.OAuth.TokenLifetime != 60 || d.OAuth.ClientAuth != behalf.ClientAuthPost || d.TokenURL == "" {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestSearchFindsTheBestFirst(t *testing.T) {
	c := open(t)
	for query, want := range map[string]string{
		"google-drive":  "google-drive",
		"Google Drive":  "google-drive",
		"gdrive":        "google-drive",
		"monday":        "monday",
		"monday.com":    "monday",
		"Twitter":       "x",
		"teams":         "microsoft-teams",
		"azure ad":      "microsoft",
		"exchange":      "outlook",
		"hub git":       "github",
		"  SHOPIFY!  ":  "shopify",
		"stackoverflow": "stackexchange",
	} {
		found := c.Search(query)
		if len(found) == 0 || found[0].Slug != want {
			t.Errorf("%q: got %v, expected %s first", query, slugs(found), want)
		}
	}
	if found := c.Search("calendar"); len(found) < 3 {
		t.Errorf("calendar: got %v", slugs(found))
	}
	if found := c.Search("no such thing"); len(found) != 0 {
		t.Errorf("got %v", slugs(found))
	}
	if all := c.Search(""); len(all) != len(c.List()) || !slices.IsSortedFunc(all, func(a, b Entry) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) }) {
		t.Error("without text it is not all, by name")
	}
}

func slugs(entries []Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.Slug)
	}
	return out
}

func TestTheLinterKnowsWhatGivesARefreshToken(t *testing.T) {
	c := open(t)
	e, err := c.Get("google-drive")
	if err != nil {
		t.Fatal(err)
	}
	d, _ := e.Draft("", "id")
	d.OAuth.AuthorizationParams = nil
	var codes []string
	for _, w := range behalf.Lint(d, c.Known(d)) {
		codes = append(codes, fmt.Sprint(w.Code, " ", w.Fix))
	}
	if !slices.ContainsFunc(codes, func(s string) bool { return strings.Contains(s, "access_type=offline") }) {
		t.Errorf("got %v", codes)
	}
}

// Nobody may be sent to a host that only looks like the provider's.
func TestDocumentationIsAtHostsThatAreNames(t *testing.T) {
	for _, e := range open(t).List() {
		for _, link := range append([]string{e.Docs}, urls(e.Evidence)...) {
			u, err := url.Parse(link)
			if err != nil || !strings.Contains(u.Hostname(), ".") || u.User != nil || u.Port() != "" {
				t.Errorf("%s: %s", e.Slug, link)
			}
		}
	}
}

func urls(all []Evidence) (out []string) {
	for _, e := range all {
		out = append(out, e.URL)
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("slug: acorn\nprofile: {oauth: []}\nvariants: [{name: a, profile: 1}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := parse("acorn", raw)
		if err != nil {
			return
		}
		for _, v := range append([]string{""}, e.variantNames()...) {
			if _, err := e.Draft(v, "id"); err != nil {
				t.Errorf("an entry that was taken does not draft: %v", err)
			}
		}
	})
}
