package connect

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

// This file serves how an assistant looks. The rules are:
//
//   - A style sheet is made of its own name: it says nothing of whose it is, and
//     holds nothing but colours.
//   - Both may be kept for ever: other content has another name.

const brandPrefix = "/brand/"

// LogoURL returns where an assistant's logo is served, or "".
func LogoURL(b behalf.Branding) string {
	if b.Logo == "" {
		return ""
	}
	return brandPrefix + b.Logo + ".png"
}

// StyleURL returns where an assistant's colours are served, or "".
func StyleURL(b behalf.Branding) string {
	light, dark, ok := b.Accents()
	if !ok {
		return ""
	}
	return brandPrefix + light.String()[1:] + "-" + dark.String()[1:] + ".css"
}

// brandOf is how a page of the assistant looks. One that has nothing of its own
// has our pages.
func brandOf(a behalf.Assistant) look.Brand {
	b := look.Brand{Logo: LogoURL(a.Branding), Style: StyleURL(a.Branding)}
	if b.Logo != "" || b.Style != "" {
		b.Name = a.Name
	}
	return b
}

// Brand serves GET /brand/{file}.
func (c *Connect) Brand(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	content, kind := []byte(nil), "image/png"
	if colours, ok := strings.CutSuffix(file, ".css"); ok {
		content, kind = styleSheet(colours), "text/css; charset=utf-8"
	} else if name, ok := strings.CutSuffix(file, ".png"); ok {
		var err error
		if content, err = c.db.Logo(r.Context(), name); err != nil && behalf.CodeOf(err) != behalf.CodeNotFound {
			c.cfg.Log.Error("logo", "err", err)
			http.Error(w, "The database does not answer as it should. Try again in a moment.", http.StatusServiceUnavailable)
			return
		}
	}
	if content == nil {
		http.NotFound(w, r)
		return
	}
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // the reader has gone
}

// styleSheet sets the tokens of look.css that depend on the accent, or is nil
// where the name is not that of two colours that may be an accent.
func styleSheet(name string) []byte {
	light, dark, ok := strings.Cut(name, "-")
	b := behalf.Branding{Accent: "#" + light, AccentDark: "#" + dark}
	if !ok || behalf.CheckBranding(b) != nil {
		return nil
	}
	l, d, _ := b.Accents()
	return fmt.Appendf(nil, "@media (prefers-color-scheme: light) {\n%s}\n@media (prefers-color-scheme: dark) {\n%s}\n",
		tokens(l, behalf.Black, behalf.White, surfaceLight), tokens(d, behalf.White, behalf.Black, surfaceDark))
}

// The surface of cards, as look.css has it.
var (
	surfaceLight = behalf.White
	surfaceDark  = behalf.Colour{0x1b, 0x1e, 0x29}
)

// tokens are those of one mode: strong is where the accent has more contrast,
// under it is the colour of text that stands on it.
func tokens(accent, strong, under, surface behalf.Colour) string {
	tint := surface.Mixed(accent, 0.12)
	return fmt.Sprintf("  :root {\n    --accent: %s;\n    --accent-over: %s;\n    --on-accent: %s;\n    --tint: %s;\n    --on-tint: %s;\n    --focus: %[1]s;\n  }\n",
		accent, accent.Mixed(strong, 0.15), under, tint, accent.Readable(tint, strong))
}
