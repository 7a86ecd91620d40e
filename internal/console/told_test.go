package console_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func TestWhoLooksAfterTheServerIsToldThatThereIsNoRecoveryKit(t *testing.T) {
	const told, page = "No recovery kit was made yet", "/console/assistants"
	s := newStage(t)
	owner, viewer := s.person().signsIn(s.member("owner", behalf.RoleOwner)), s.person().signsIn(s.member("viewer", behalf.RoleViewer))
	require.Contains(t, owner.get(page).Body, told)
	require.Contains(t, owner.get(page).Body, "behalf keyring kit")
	require.NotContains(t, viewer.get(page).Body, "recovery kit")
	code, _, err := s.System.TakeRecoveryKit(t.Context())
	require.NoError(t, err)
	s.Secret(code.Reveal())
	require.NotContains(t, owner.get(page).Body, "recovery kit")

	t.Run("but not where all of it goes when the server stops", func(t *testing.T) {
		s := &stage{servertest.New(t, servertest.Setup{Config: func(c *server.Config) { c.Temporary = true }}), t}
		require.NotContains(t, s.person().signsIn(s.member("owner", behalf.RoleOwner)).get(page).Body, "recovery kit")
	})
}

func TestAClientSecretIsNotRemovedWithoutSayingWhatWillBe(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	base := "/console/assistants/" + s.Assistant.Slug + "/profiles/" + string(s.Profile.ID) + "/secrets"
	link := func(i int) string {
		profile, err := s.System.Profile(t.Context(), s.Assistant.ID, string(s.Profile.ID))
		require.NoError(t, err)
		return base + "/remove?secret=" + console.SecretID(profile.Secrets.Client[i])
	}
	require.Contains(t, p.get(base).Body, link(0))
	require.Contains(t, p.get(link(0)).Body, "It is the only one that is tried")

	kept, err := s.System.Profile(t.Context(), s.Assistant.ID, string(s.Profile.ID))
	require.NoError(t, err)
	now := s.DB.Now()
	for i, ends := range []time.Time{{}, now.Add(-time.Hour)} {
		kept.Secrets.Client = append(kept.Secrets.Client, behalf.ClientSecret{Value: secret.Random(), CreatedAt: now.Add(-time.Duration(i+1) * time.Hour), ExpiresAt: ends})
	}
	_, err = s.System.SaveProfile(t.Context(), kept)
	require.NoError(t, err)
	require.Contains(t, p.get(link(0)).Body, "It is tried first")
	require.Contains(t, p.get(link(1)).Body, "only where Acorn Notes refuses those before it")
	require.Contains(t, p.get(link(2)).Body, "nothing changes")

	gone := link(1)
	u, err := url.Parse(gone)
	require.NoError(t, err)
	require.Equal(t, http.StatusSeeOther, p.do("POST", base+"/remove", u.Query()).Status)
	require.NotContains(t, p.get(base).Body, gone)
	require.Equal(t, http.StatusSeeOther, p.get(gone).Status, "it is removed already")
}

func TestAConnectionOfADeletedProfileSaysSo(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("dev", behalf.RoleDeveloper))
	c := s.Connected(s.Profile, "42", "sub-42")
	require.NoError(t, s.System.DeleteProfile(t.Context(), s.Profile))
	base := "/console/assistants/" + s.Assistant.Slug + "/connections"
	require.Contains(t, p.get(base).Body, s.Profile.Name+", which is deleted")
	page := p.get(base + "/" + string(c.ID)).Body
	require.Contains(t, page, "Its authorization profile was deleted: no call goes through.")
	require.NotContains(t, page, "Nothing is wrong")
	require.NotContains(t, page, "Refresh now")
}

func TestTheActivityNamesWhatItIsAbout(t *testing.T) {
	s := newStage(t)
	c := s.Connected(s.Profile, "42", "sub-42")
	p := s.person().signsIn(s.member("owner", behalf.RoleOwner))
	for _, page := range []string{"/console/activity", "/console/assistants/" + s.Assistant.Slug + "/activity"} {
		body := p.get(page).Body
		require.Contains(t, body, "42 at "+s.Profile.Name+"</a>", page)
		require.Contains(t, body, "/connections/"+string(c.ID))
		require.Contains(t, body, ">"+s.Profile.Name+"</a>")
		require.NotContains(t, body, "<code></code>")
	}
}
