package connect

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

var token = regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)

// modes returns the colours of a style sheet on light and on dark pages.
func modes(t *testing.T, css string, dark *regexp.Regexp) [2]map[string]behalf.Colour {
	t.Helper()
	out := [2]map[string]behalf.Colour{{}, {}}
	at := dark.FindStringIndex(css)
	require.NotNil(t, at)
	for i, part := range []string{css[:at[0]], css[at[0]:]} {
		for _, m := range token.FindAllStringSubmatch(part, -1) {
			c, ok := behalf.ParseColour(m[2])
			require.True(t, ok)
			out[i][m[1]] = c
		}
	}
	return out
}

var darkPart = regexp.MustCompile(`prefers-color-scheme: dark`)

// Each pair of colours that our own style sheet keeps apart is kept apart with
// every accent that is taken, too.
func TestEveryAccentCanBeReadWhereverItIsUsed(t *testing.T) {
	w := httptest.NewRecorder()
	look.Handler().ServeHTTP(w, httptest.NewRequest("GET", look.URL("look.css"), nil))
	ours := modes(t, w.Body.String(), darkPart)
	require.Equal(t, surfaceLight, ours[0]["surface"])
	require.Equal(t, surfaceDark, ours[1]["surface"])
	tried := 0
	for n := 0; n < 1<<24; n += 0x0d0b07 {
		b := behalf.Branding{Accent: behalf.Colour{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}.String()}
		if behalf.CheckBranding(b) != nil {
			continue
		}
		tried++
		l, d, _ := b.Accents()
		css := styleSheet(l.String()[1:] + "-" + d.String()[1:])
		require.NotNil(t, css, b.Accent)
		for i, set := range modes(t, string(css), darkPart) {
			for name, c := range ours[i] {
				if _, is := set[name]; !is {
					set[name] = c
				}
			}
			for _, pair := range [][2]string{{"accent", "ground"}, {"accent", "surface"}, {"accent", "sunken"}, {"on-accent", "accent"}, {"on-accent", "accent-over"}, {"on-tint", "tint"}, {"text", "tint"}} {
				require.GreaterOrEqual(t, set[pair[0]].Contrast(set[pair[1]]), 4.5, "%s: %s on %s", b.Accent, pair[0], pair[1])
			}
			require.GreaterOrEqual(t, set["focus"].Contrast(set["bad-tint"]), 3.0, b.Accent)
		}
	}
	require.Greater(t, tried, 3)
}

func TestAStyleSheetHoldsColoursAndNothingElse(t *testing.T) {
	c := &Connect{}
	serve := func(file string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/brand/x", nil)
		r.SetPathValue("file", file)
		c.Brand(w, r)
		return w
	}
	good := serve("4248b8-aab0ff.css")
	require.Equal(t, http.StatusOK, good.Code)
	require.Contains(t, good.Header().Get("Content-Type"), "text/css")
	require.Contains(t, good.Header().Get("Cache-Control"), "immutable")
	for _, file := range []string{"ffd500-ffd500.css", "4248b8.css", "4248b8-.css", "-.css", "4248b8-aab0ff", "x", "red-blue.css", "4248b8-aab0ff;}body{display:none.css", "4248b8-aab0ff.svg"} {
		w := serve(file)
		require.Equal(t, http.StatusNotFound, w.Code, file)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"), file)
	}
}
