package console_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

func TestVariablesAreKeptChangedAndDeleted(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	base := "/console/assistants/" + s.Assistant.Slug + "/variables"
	post := func(path string, form url.Values, status int) string {
		t.Helper()
		a := p.do("POST", base+path, form)
		require.Equal(t, status, a.Status, "%s: %.2000s", path, a.Body)
		return a.Body
	}
	require.Contains(t, p.get(base).Body, "No variable is kept")

	d := s.Definition("Regional")
	d.API.BaseURL = "https://{{env.REGION}}.ledger.example.com"
	profile := s.NewProfile(s.Assistant, d)
	lacking := p.get(base).Body
	require.Contains(t, lacking, "Profiles need what is not set")
	require.Contains(t, lacking, "namespace=env&amp;name=REGION")

	tomorrow := s.DB.Now().Add(48 * time.Hour).UTC().Format(time.DateOnly)
	post("/new", url.Values{"namespace": {"env"}, "name": {"REGION"}, "value": {"eu"}, "expires_in": {tomorrow}}, http.StatusSeeOther)
	kept := p.get(base).Body
	require.NotContains(t, kept, "Profiles need what is not set")
	require.Contains(t, kept, `<code>eu</code>`)
	require.Contains(t, kept, "/profiles/"+string(profile.ID), "which profile uses it")

	require.Contains(t, post("/new", url.Values{"namespace": {"env"}, "name": {"REGION"}, "value": {"us"}}, 422), "There is a variable of this name already")
	require.Contains(t, post("/new", url.Values{"namespace": {"UserSession"}, "name": {"cart"}, "value": {"c"}}, 422), "f-user", "whose it is must be said")
	require.Contains(t, post("/new", url.Values{"namespace": {"env"}, "name": {"PAST"}, "value": {"v"}, "expires_in": {"2001-01-01"}}, 422), "a day that is to come")
	require.Contains(t, post("/new", url.Values{"namespace": {"UserContext"}, "name": {"user"}, "value": {"v"}}, 422), "read-only")
	require.NotContains(t, post("/new", url.Values{"namespace": {"env"}, "name": {"not a name"}, "value": {"hush-hush"}, "secret": {"yes"}}, 422), "hush-hush", "a secret does not go back")

	post("/env/REGION", url.Values{"value": {"us"}, "expires_in": {tomorrow}}, http.StatusSeeOther)
	v, err := s.System.Variable(t.Context(), s.Assistant.ID, behalf.NamespaceEnv, "", "REGION")
	require.NoError(t, err)
	require.Equal(t, "us", v.Value.Reveal())
	require.Equal(t, tomorrow, v.ExpiresAt.UTC().Format(time.DateOnly))

	post("/new", url.Values{"namespace": {"UserSession"}, "name": {"cart"}, "user": {"42 & 43"}, "value": {"c-1"}}, http.StatusSeeOther)
	mine := "/UserSession/cart?user=" + url.QueryEscape("42 & 43")
	before, err := s.System.Variable(t.Context(), s.Assistant.ID, behalf.NamespaceUser, "42 & 43", "cart")
	require.NoError(t, err)
	require.WithinDuration(t, s.DB.Now().Add(24*time.Hour), before.ExpiresAt, time.Minute, "a user's variable ends after a day")
	post(mine, url.Values{"value": {"c-2"}, "expires_in": {before.ExpiresAt.UTC().Format(time.DateOnly)}}, http.StatusSeeOther)
	after, err := s.System.Variable(t.Context(), s.Assistant.ID, behalf.NamespaceUser, "42 & 43", "cart")
	require.NoError(t, err)
	require.Equal(t, before.ExpiresAt, after.ExpiresAt, "an end that was not touched stays")

	post("/new", url.Values{"namespace": {"env"}, "name": {"PEPPER"}, "value": {"hush-hush"}, "secret": {"yes"}}, http.StatusSeeOther)
	for _, path := range []string{"", "/env/PEPPER", "/env/PEPPER/delete"} {
		require.NotContains(t, p.get(base+path).Body, "hush-hush", path)
	}
	require.Contains(t, post("/env/PEPPER", url.Values{"secret": {"yes"}}, 422), "Required")

	post("/env/REGION/delete", nil, http.StatusSeeOther)
	require.Equal(t, http.StatusNotFound, p.get(base+"/env/REGION").Status)
	require.Contains(t, p.get(base).Body, "Profiles need what is not set")
	require.Contains(t, p.get(base+"?user=nobody").Body, "None of these")
}

func TestAViewerSeesThatAVariableIsSetAndNotToWhat(t *testing.T) {
	s := newStage(t)
	dev := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	base := "/console/assistants/" + s.Assistant.Slug + "/variables"
	require.Equal(t, http.StatusSeeOther, dev.do("POST", base+"/new", url.Values{"namespace": {"env"}, "name": {"REGION"}, "value": {"eu-west"}}).Status)
	require.Contains(t, dev.get(base).Body, "eu-west")

	viewer := s.person().signsIn(s.member("viewer", behalf.RoleViewer))
	page := viewer.get(base)
	require.Equal(t, http.StatusOK, page.Status)
	require.Contains(t, page.Body, "REGION")
	require.Contains(t, page.Body, "not shown to your role")
	require.NotContains(t, page.Body, "eu-west")
	require.NotContains(t, page.Body, "New variable")
	require.Equal(t, http.StatusForbidden, viewer.get(base+"/env/REGION").Status)

	key := s.NewKey(behalf.Key{Name: "n", Role: behalf.RoleViewer})
	for _, path := range []string{"/variables", "/variables/env/REGION"} {
		require.NotContains(t, s.Do(key, http.MethodGet, "/v1/assistants/"+s.Assistant.Slug+path, nil).Body, "eu-west", path)
	}
}

func TestTheTestDialogAsksForVariablesThatAreNotKept(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	d := s.Definition("Per order")
	d.OAuth.AuthorizationParams = []behalf.Param{{Key: "order", Value: "{{context.order.id}}"}, {Key: "plan", Value: "{{context.session.BotContext.plan}}"}}
	profile := s.NewProfile(s.Assistant, d)
	_, err := s.System.PutVariable(t.Context(), behalf.Variable{Assistant: s.Assistant.ID, Namespace: behalf.NamespaceBot, Name: "plan", Value: secret.New("gold")})
	require.NoError(t, err)
	path := "/console/assistants/" + s.Assistant.Slug + "/profiles/" + string(profile.ID) + "/test"
	page := p.get(path).Body
	require.Contains(t, page, `name="variables.order.id"`)
	require.NotContains(t, page, `name="variables.session.BotContext.plan"`, "what is kept is not asked")

	without := p.do("POST", path, url.Values{})
	require.Equal(t, 422, without.Status)
	require.Contains(t, without.Body, `href="#f-variables-order-id"`, "the summary leads to the field")

	with := p.do("POST", path, url.Values{"variables.order.id": {"17"}})
	require.Equal(t, http.StatusOK, with.Status, "%.900s", with.Body)
	require.Contains(t, with.Body, "Open the login")
}
