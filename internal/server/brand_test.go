package server_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

func logo(t *testing.T, c color.Color) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		p.Set(i%64, i/64, c)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnAssistantsLooksAreOnItsPagesAndOnNoOthers(t *testing.T) {
	s := servertest.New(t, servertest.Setup{})
	at := "/v1/assistants/" + s.Assistant.Slug
	var a api.Assistant
	s.Do(s.Owner, "PATCH", at, map[string]any{"branding": map[string]any{"accent": "#aa0055", "logo": logo(t, color.White)}}).Into(t, &a)
	if a.Branding.Accent != "#aa0055" || a.Branding.AccentDark != "" || !strings.HasPrefix(a.Branding.LogoURL, "/brand/") {
		t.Fatalf("got %+v", a.Branding)
	}
	other := s.NewAssistant(behalf.NewAssistant("Other Bot", s.DB.Now()))
	theirs := s.NewProfile(other, s.Definition("Theirs"))

	pages := func(assistant, profile, user string) map[string]string {
		var session, own struct{ URL string }
		base := "/v1/assistants/" + assistant
		s.Do(s.Owner, "POST", base+"/connect-sessions", map[string]any{"profile": profile, "user": user, "return_url": nil}).Into(t, &session)
		s.Do(s.Owner, "POST", base+"/users/"+user+"/page", map[string]any{}).Into(t, &own)
		declined := s.Do("", "POST", session.URL, "decline=yes", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
		return map[string]string{"own": s.Do("", "GET", own.URL, nil).Body, "declined": declined.Body, "again": s.Do("", "GET", session.URL, nil).Body}
	}
	for name, page := range pages(s.Assistant.Slug, s.Profile.Slug, "42") {
		for _, want := range []string{a.Branding.LogoURL, "/brand/aa0055-", "Support Bot"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: there is no %s: %.1500s", name, want, page)
			}
		}
	}
	if _, err := s.System.SaveAssistant(t.Context(), func() behalf.Assistant { other.Finish = false; return other }()); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages(other.Slug, theirs.Slug, "42") {
		if strings.Contains(page, "/brand/") {
			t.Errorf("%s of another assistant looks like this one", name)
		}
	}

	shown := s.Do("", "GET", a.Branding.LogoURL, nil)
	if shown.Status != http.StatusOK || shown.Header.Get("Content-Type") != "image/png" || shown.Header.Get("X-Content-Type-Options") != "nosniff" || shown.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("the logo is answered with %d %v", shown.Status, shown.Header)
	}
	if got := s.Do("", "GET", "/brand/"+strings.Repeat("0", 32)+".png", nil); got.Status != http.StatusNotFound {
		t.Errorf("a name that nobody gave is answered with %d", got.Status)
	}

	t.Run("the same picture of another has another name, and goes with its own", func(t *testing.T) {
		var b api.Assistant
		s.Do(s.Owner, "PATCH", "/v1/assistants/"+other.Slug, map[string]any{"branding": map[string]any{"logo": logo(t, color.White)}}).Into(t, &b)
		if b.Branding.LogoURL == a.Branding.LogoURL || b.Branding.LogoURL == "" {
			t.Errorf("got %s", b.Branding.LogoURL)
		}
		var without api.Assistant
		s.Do(s.Owner, "PATCH", at, map[string]any{"branding": map[string]any{"logo": ""}}).Into(t, &without)
		if without.Branding.LogoURL != "" || without.Branding.Accent != "#aa0055" {
			t.Errorf("got %+v", without.Branding)
		}
		if got := s.Do("", "GET", a.Branding.LogoURL, nil).Status; got != http.StatusNotFound {
			t.Errorf("the logo that was taken away is answered with %d", got)
		}
		if got := s.Do("", "GET", b.Branding.LogoURL, nil).Status; got != http.StatusOK {
			t.Errorf("the other's is answered with %d", got)
		}
	})
	t.Run("what is wrong is told and changes nothing", func(t *testing.T) {
		for field, branding := range map[string]map[string]any{
			"branding.accent":      {"accent": "#ffd500"},
			"branding.accent_dark": {"accent_dark": "#111111"},
			"branding.logo":        {"logo": base64.StdEncoding.EncodeToString([]byte(`<svg onload="alert(1)"></svg>`)), "accent": "#004400"},
		} {
			p := s.Do(s.Owner, "PATCH", at, map[string]any{"branding": branding}).Problem(t, 422, behalf.CodeInvalid)
			if p.Field != field {
				t.Errorf("%s: got %+v", field, p)
			}
		}
		var now api.Assistant
		s.Do(s.Owner, "GET", at, nil).Into(t, &now)
		if now.Branding.Accent != "#aa0055" {
			t.Errorf("it is %+v", now.Branding)
		}
		s.Do(s.Owner, "POST", "/v1/assistants", map[string]any{"name": "Third Bot", "branding": map[string]any{"logo": "AAAA"}}).Problem(t, 422, behalf.CodeInvalid)
		s.Do(s.Owner, "GET", "/v1/assistants/third-bot", nil).Problem(t, 404, behalf.CodeNotFound)
	})
}
