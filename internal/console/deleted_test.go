package console_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/storetest"
)

func TestADeletedProfileStandsBelowTheListAndIsRestored(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("me", behalf.RoleDeveloper))
	list := "/console/assistants/" + s.Assistant.Slug + "/profiles"
	own := list + "/" + string(s.Profile.ID)

	asked := p.get(own + "/delete").Body
	for _, want := range []string{"Active connections", "Open connect links", "For 30 days you can restore it"} {
		require.Contains(t, asked, want)
	}
	require.Equal(t, 303, p.do("POST", own+"/delete", url.Values{"version": {"1"}}).Status)
	shown := p.get(list).Body
	require.Contains(t, shown, "It can be restored for 30 days")
	require.Contains(t, shown, "Its connections are kept until")
	require.Contains(t, shown, own+"/restore")

	s.NewProfile(s.Assistant, storetest.Definition(s.Profile.Name, "https://acorn.example"))
	taken := p.do("POST", own+"/restore", nil)
	require.Equal(t, 409, taken.Status)
	require.Contains(t, taken.Body, "Another profile of this assistant has this name by now")

	other, err := s.System.Profile(t.Context(), s.Assistant.ID, s.Profile.Slug)
	require.NoError(t, err)
	require.NoError(t, s.System.EndProfile(t.Context(), other))
	require.Equal(t, 303, p.do("POST", own+"/restore", nil).Status)
	require.Equal(t, 303, p.do("POST", own+"/restore", nil).Status) // a second click
	back := p.get(list).Body
	require.Contains(t, back, "is restored, with its connections")
	require.Contains(t, back, "Its connections are being revoked at the provider") // the other's
	require.Equal(t, 1, strings.Count(back, `class="row"`))
}
