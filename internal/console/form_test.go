package console_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/console"
)

// TestAFormThatNobodyTouchesSavesTheSameDefinition holds for every provider of
// the catalogue: nothing of a definition is lost by editing it.
func TestAFormThatNobodyTouchesSavesTheSameDefinition(t *testing.T) {
	c, err := catalog.Open()
	require.NoError(t, err)
	require.NotEmpty(t, c.List())
	for _, e := range c.List() {
		d, err := e.Draft("", "client")
		if err != nil {
			continue
		}
		same(t, e.Slug, d)
	}
	no := false
	same(t, "by hand", behalf.Definition{Type: behalf.OAuth2, Name: "x <b>", Description: "one\n\ntwo\n", SendToken: &no,
		Tenancy:          &behalf.Tenancy{BaseURL: "https://{tenant}.example.com", Allowed: []string{"a", "b"}},
		AdditionalFields: []behalf.AdditionalField{{Key: "pin", Title: "PIN", Required: true, Visibility: behalf.ReadOnly, Value: " 1"}, {Key: "b"}},
		AuthorizationFields: []behalf.AuthorizationField{{In: behalf.InQuery, Key: "k", Value: "{{pin}}", Methods: []string{"GET", "POST"}, Paths: []string{"/a"}},
			{In: behalf.InHeader, Key: "X-Key", Value: "Bearer {{accessToken}}", Secret: true}},
		OAuth: behalf.OAuthSettings{PKCE: behalf.PKCEOff, TokenLifetime: 3600, Refresh: behalf.Refresh{Rotates: "no", MinAge: 5}}})
}

func same(t *testing.T, name string, d behalf.Definition) {
	t.Helper()
	got, err := console.Round(d)
	require.NoError(t, err, name)
	want, err := json.Marshal(d)
	require.NoError(t, err)
	have, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(have), name)
}

func TestNoFieldOfTheBasicFormIsLeftToTheLastGroup(t *testing.T) {
	for _, path := range []string{"name", "client_id", "authorization_url", "token_url", "scope", "tenancy", "additional_fields", "authorization_fields", "oauth.pkce", "oauth.refresh"} {
		require.False(t, slices.Contains(console.Unlabelled(), path), path)
	}
	require.Contains(t, console.Unlabelled(), "oauth.token", "what the table does not name is in the form all the same")
}

// TestAFormThatIsABombIsRefused: what is typed may not take more memory or time
// than it is worth.
func TestAFormThatIsABombIsRefused(t *testing.T) {
	bomb := "headers: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for _, text := range []string{bomb, strings.Repeat("[", 300_000)} {
		_, err := console.Typed(url.Values{"oauth.token": {text}})
		require.Error(t, err)
	}
	many := url.Values{}
	for i := range 150_000 {
		many[strconv.FormatInt(int64(i), 36)] = []string{""}
	}
	for _, list := range []string{"scope", "additional_fields", "authorization_fields", "oauth.authorization_params", "oauth.token_params", "oauth.refresh_params"} {
		many[list+"[199].key"] = []string{""} // so that the rows before it are looked for
	}
	began := time.Now()
	_, err := console.Typed(many)
	require.NoError(t, err)
	require.Less(t, time.Since(began), 10*time.Second)
}

func TestAnAnswerDoesNotEndTheEventThatShowsIt(t *testing.T) {
	for line := range strings.SplitSeq(strings.ReplaceAll("data: "+console.EventData("a\rb\r\revent: end\r\nc\n\nd"), "\r", "\n"), "\n") {
		require.True(t, strings.HasPrefix(line, "data: "), "%q", line)
	}
}

func TestWhereASignInLeads(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                  "/console",
		"/console/people":                   "/console/people",
		"/console/assistants?x=1":           "/console/assistants?x=1",
		"/v1/keys":                          "/console",
		"https://evil.example/":             "/console",
		"//evil.example/console/":           "/console",
		"/console//evil.example":            "/console",
		"/console/../docs":                  "/console",
		"/console/\\evil.example":           "/console",
		"/console/x\r\nSet-Cookie: a=b":     "/console",
		"javascript:alert(1)//console/":     "/console",
		"/consoleevil":                      "/console",
		"/console/assistants/a/profiles/b/": "/console/assistants/a/profiles/b/",
	} {
		require.Equal(t, want, console.Next(raw), "%q", raw)
	}
}

func TestWhoIsTakenInBySingleSignOn(t *testing.T) {
	s := console.SSO{Domains: []string{"Acme.example"}, Emails: []string{"guest@else.example"}, Role: behalf.RoleDeveloper,
		RoleClaim: "groups", Roles: map[string]behalf.Role{"admins": behalf.RoleAdministrator, "staff": behalf.RoleViewer}}
	for name, c := range map[string]struct {
		claims map[string]any
		email  string
		role   behalf.Role
		mapped bool
	}{
		"an address of the domain":          {map[string]any{"email": "Jane@ACME.example", "email_verified": true}, "jane@acme.example", behalf.RoleDeveloper, false},
		"an address that is named":          {map[string]any{"email": "guest@else.example", "email_verified": "true"}, "guest@else.example", behalf.RoleDeveloper, false},
		"an address that is not verified":   {map[string]any{"email": "jane@acme.example"}, "", "", false},
		"an address that looks like it":     {map[string]any{"email": "jane@acme.example.evil.example", "email_verified": true}, "jane@acme.example.evil.example", "", false},
		"another address":                   {map[string]any{"email": "x@y.example", "email_verified": true}, "x@y.example", "", false},
		"a group":                           {map[string]any{"email": "x@y.example", "email_verified": true, "groups": []any{"staff"}}, "x@y.example", behalf.RoleViewer, true},
		"two groups: the most":              {map[string]any{"email": "x@y.example", "email_verified": true, "groups": []any{"staff", "admins"}}, "x@y.example", behalf.RoleAdministrator, true},
		"a group as text":                   {map[string]any{"groups": "admins"}, "", behalf.RoleAdministrator, true},
		"a group that is not mapped":        {map[string]any{"email": "x@y.example", "email_verified": true, "groups": []any{"root"}}, "x@y.example", "", false},
		"claims of the wrong kind":          {map[string]any{"email": 5, "email_verified": 1, "groups": map[string]any{"admins": true}}, "", "", false},
		"verified in a way that is not one": {map[string]any{"email": "jane@acme.example", "email_verified": "yes"}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			i := s.Identify(c.claims)
			require.Equal(t, c.email, i.Email)
			require.Equal(t, c.role, i.Role)
			require.Equal(t, c.mapped, i.Mapped)
		})
	}
}

// TestNoPageRunsOrStylesAnythingInItsText holds for the templates themselves.
func TestNoPageRunsOrStylesAnythingInItsText(t *testing.T) {
	for _, pattern := range []string{"*.templ", "../look/*.templ", "../connect/*.templ"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			require.NotRegexp(t, `style=|<style|<script>|\son[a-z]+=|hx-on|templ\.Raw|javascript:`, string(text), f)
		}
	}
}
