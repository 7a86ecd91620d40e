package console_test

import (
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/server/servertest"
)

// drawing is a file with a logo.
func drawing(t *testing.T) string {
	t.Helper()
	p := image.NewNRGBA(image.Rect(0, 0, 240, 240))
	for y := range 240 {
		for x := range 240 {
			if dx, dy := x-120, y-120; dx*dx+dy*dy < 110*110 {
				p.Set(x, y, color.NRGBA{0x8a, 0x1c, 0x5a, 0xff})
			}
			if dx, dy := x-120, y-120; dx*dx+dy*dy < 60*60 {
				p.Set(x, y, color.White)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "logo.png")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := png.Encode(f, p); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnAssistantLooksLikeItselfToPeople(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	b := s.arrives(s.member("Ada", behalf.RoleAdministrator))
	b.Open(s.at("/assistants/" + s.Assistant.Slug + "/settings"))
	b.Fill("branding.accent", "#ffd500")
	b.Click("Save")
	b.WaitText("contrast of 1.2:1 on light pages")
	b.Fill("branding.accent", "#8a1c5a")
	b.Click("Save")
	b.WaitText("The settings are saved")
	b.WaitText("contrast 8")
	if _, err := chromedp.Run(b.Context(), chromedp.Evaluate[bool]("true")); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(b.Context(), chromedp.SetUploadFiles("input[type=file]", []string{drawing(t)})); err != nil {
		t.Fatal(err)
	}
	b.Click("Save the logo")
	b.WaitText("The logo is saved")
	b.Accessible("settings with a logo")

	var session, own struct{ URL string }
	s.Connected(s.Profile, "42", "sub-42")
	base := "/v1/assistants/" + s.Assistant.Slug
	s.Do(s.Key, http.MethodPost, base+"/connect-sessions", map[string]any{"profile": s.Profile.Slug, "user": "42", "user_name": "Jane Doe"}).Into(t, &session)
	s.Do(s.Key, http.MethodPost, base+"/users/42/page", map[string]any{"user_name": "Jane Doe"}).Into(t, &own)
	p := b.NewPerson(browser.Options{})
	for name, at := range map[string]string{"connect": session.URL, "own": own.URL} {
		p.Open(at)
		p.Fit("brand-" + name)
		colour, err := chromedp.Run(p.Context(), chromedp.Evaluate[string](`getComputedStyle(document.documentElement).getPropertyValue("--accent").trim()`))
		if err != nil || colour != "#8a1c5a" {
			t.Errorf("%s: the accent is %q, %v", name, colour, err)
		}
		loaded, err := chromedp.Run(p.Context(), chromedp.Evaluate[bool](`[...document.images].length > 0 && [...document.images].every(i => i.naturalWidth > 0)`))
		if err != nil || !loaded {
			t.Errorf("%s: the logo is not shown (%v)", name, err)
		}
	}
	for _, c := range p.Complaints() {
		t.Errorf("the browser's console says %q", c)
	}
}
