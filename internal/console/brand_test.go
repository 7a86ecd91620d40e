package console_test

import (
	"bytes"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// uploads sends a file as a browser's form does.
func (p *person) uploads(path string, file []byte) servertest.Answer {
	p.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("branding.logo", `"><script>.svg`)
	require.NoError(p.t, err)
	_, err = part.Write(file)
	require.NoError(p.t, err)
	require.NoError(p.t, form.Close())
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.URL+path, &body)
	require.NoError(p.t, err)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := p.client.Do(r)
	require.NoError(p.t, err)
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	require.NoError(p.t, err)
	return servertest.Answer{Status: res.StatusCode, Header: res.Header, Body: b.String()}
}

func TestALogoIsUploadedAndTakenAway(t *testing.T) {
	s := newStage(t)
	p := s.person().signsIn(s.member("me", behalf.RoleAdministrator))
	settings := "/console/assistants/" + s.Assistant.Slug + "/settings"
	logoOf := func() string {
		a, err := s.System.Assistant(t.Context(), string(s.Assistant.ID))
		require.NoError(t, err)
		return a.Branding.Logo
	}
	for name, file := range map[string][]byte{"a script": []byte(`<svg onload="xss=1"><script>xss=1</script></svg>`), "nothing": nil} {
		got := p.uploads(settings+"/logo", file)
		require.Equal(t, http.StatusUnprocessableEntity, got.Status, name)
		require.Contains(t, got.Body, "The logo is not saved", name)
		isText(t, name, got)
		require.Empty(t, logoOf())
	}
	require.Equal(t, http.StatusUnprocessableEntity, p.uploads(settings+"/logo", make([]byte, 2<<20)).Status, "more than a form may send")

	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 64, 64))))
	require.Equal(t, http.StatusSeeOther, p.uploads(settings+"/logo", b.Bytes()).Status)
	require.NotEmpty(t, logoOf())
	require.Contains(t, p.get(settings).Body, "/brand/"+logoOf()+".png")

	saved := p.do("POST", settings, map[string][]string{"name": {"Support Bot"}, "branding.accent": {"#ffd500"}, "version": {"3"}})
	require.Equal(t, http.StatusUnprocessableEntity, saved.Status)
	require.Contains(t, saved.Body, "contrast of 1.2:1 on light pages")
	require.NotEmpty(t, logoOf(), "saving the form leaves the logo")
	require.Equal(t, http.StatusSeeOther, p.do("POST", settings+"/logo", map[string][]string{"do": {"remove"}}).Status)
	require.Empty(t, logoOf())
}
