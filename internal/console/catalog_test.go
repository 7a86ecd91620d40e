package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/catalog"
)

// Every entry, in each of its variants, becomes a profile by what its page asks
// for and nothing else.
func TestEveryKnownApplicationIsAProfileByWhatItsPageAsksFor(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	known, err := catalog.Open()
	require.NoError(t, err)
	for _, e := range known.List() {
		for _, variant := range append([]catalog.Variant{{}}, e.Variants...) {
			id := s.reserve()
			page := "/console/assistants/support-bot/profiles/" + id + "/catalog/" + e.Slug + "?variant=" + url.QueryEscape(variant.Name)
			shown := p.get(page)
			require.Equal(t, http.StatusOK, shown.Status, page)
			require.Less(t, len(shown.Body), 60_000, page)
			form := url.Values{}
			for _, in := range inputsOf(t, shown.Body) {
				form.Set(in.name, in.value)
				if in.required && in.value == "" {
					form.Set(in.name, "bot")
				}
			}
			saved := p.do("POST", page, form)
			require.Equal(t, http.StatusSeeOther, saved.Status, "%s %s: %.600s", e.Slug, variant.Name, saved.Body)
			got, err := s.System.Profile(t.Context(), s.Assistant.ID, id)
			require.NoError(t, err)
			require.Equal(t, behalf.ProfileConfigured, got.Status, e.Slug)
			require.Equal(t, "bot", got.ClientID)
		}
	}
}

func TestAPageOfTheCatalogueIsOfAProfileThatIsNotDefinedYet(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	at := "/console/assistants/support-bot/profiles/"
	for _, path := range []string{"/catalog", "/catalog/asana"} {
		got := p.get(at + string(s.Profile.ID) + path)
		require.Equal(t, http.StatusSeeOther, got.Status)
		require.Equal(t, at+string(s.Profile.ID), got.Header.Get("Location"))
	}
	require.Equal(t, http.StatusSeeOther, p.do("POST", at+string(s.Profile.ID)+"/catalog/asana", url.Values{"client_id": {"me"}, "client_secret": {"x"}, "name": {"Mine"}}).Status)
	require.Equal(t, "Acorn", s.profile(s.Profile).Name, "it is not replaced")
	id := s.reserve()
	require.Equal(t, http.StatusNotFound, p.get(at+id+"/catalog/no-such-thing").Status)
	require.Equal(t, http.StatusUnprocessableEntity, p.get(at+id+"/catalog/asana?variant=moon").Status)

	list := p.do("GET", at+id+"/catalog?q=google", nil, "HX-Request", "true").Body
	require.NotContains(t, list, "<html")
	require.Contains(t, list, "Google Drive")
}

func (s *stage) profile(p behalf.Profile) behalf.Profile {
	got, err := s.System.Profile(s.t.Context(), p.Assistant, string(p.ID))
	require.NoError(s.t, err)
	return got
}

func TestWhatIsTypedOnAPageOfTheCatalogueIsText(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	at := "/console/assistants/support-bot/profiles/" + s.reserve() + "/catalog"
	isText(t, "the search", p.get(at+"?q="+url.QueryEscape(hostile)))
	form := url.Values{"client_secret": {"typed once"}}
	for _, name := range []string{"name", "client_id", "tenancy.default", "additional_fields[0].value"} {
		form.Set(name, hostile)
	}
	for _, provider := range []string{"asana", "dynamics-365", "exact-online", "shopify"} {
		for _, do := range []string{"", "edit"} {
			form.Set("do", do)
			got := p.do("POST", at+"/"+provider, form)
			if got.Status == http.StatusSeeOther {
				at = "/console/assistants/support-bot/profiles/" + s.reserve() + "/catalog" // that name and id may be had
				continue
			}
			require.Contains(t, []int{200, 422}, got.Status, provider)
			isText(t, provider, got)
			require.False(t, strings.Contains(got.Body, "typed once"), "a secret goes back to the browser")
		}
	}
}
