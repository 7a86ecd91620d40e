package look

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

func TestAssetsMayBeKeptForEver(t *testing.T) {
	server := httptest.NewServer(Handler())
	defer server.Close()
	for plain, a := range assets() {
		t.Run(plain, func(t *testing.T) {
			resp, err := http.Get(server.URL + URL(plain))
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, a.content, body)
			require.NotEmpty(t, resp.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			require.Contains(t, resp.Header.Get("Cache-Control"), "immutable")
		})
	}
}

func TestAnythingElseIsNotFoundAndNotKept(t *testing.T) {
	server := httptest.NewServer(Handler())
	defer server.Close()
	for _, path := range []string{"/assets/", "/assets/look.css", "/assets/look.000000000000.css", "/assets/../look.go", "/assets/%2e%2e/look.go"} {
		resp, err := http.Get(server.URL + path)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"), path)
	}
	resp, err := http.Post(server.URL+URL("look.css"), "text/plain", nil)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	require.PanicsWithValue(t, `look: no asset "none.css"`, func() { URL("none.css") })
}

func TestAURLChangesWithItsContent(t *testing.T) {
	name := func(content string) string {
		return load(fstest.MapFS{"assets/a.css": {Data: []byte(content)}})["a.css"].name
	}
	require.Regexp(t, `^a\.[0-9a-f]{12}\.css$`, name("one"))
	require.Equal(t, name("one"), name("one"))
	require.NotEqual(t, name("one"), name("two"))
}

func TestHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		policy           Policy
		content, referer string
	}{
		"a page that only shows": {Policy{},
			"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'", "no-referrer"},
		"a page with a form": {Policy{Form: true},
			"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'", "same-origin"},
		"a page with a script": {Policy{Script: true},
			"default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'", "no-referrer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Headers(w, c.policy)
			require.Equal(t, http.Header{
				"Content-Security-Policy":    {c.content},
				"Referrer-Policy":            {c.referer},
				"X-Content-Type-Options":     {"nosniff"},
				"Cross-Origin-Opener-Policy": {"same-origin"},
				"Cache-Control":              {"no-store"},
			}, w.Header())
		})
	}
}

func TestEverySymbolIsInTheSprite(t *testing.T) {
	doc, err := html.Parse(strings.NewReader(string(assets()["icons.svg"].content)))
	require.NoError(t, err)
	ids := map[string]bool{}
	for n := range doc.Descendants() {
		if n.Data == "symbol" {
			for _, a := range n.Attr {
				if a.Key == "id" {
					require.False(t, ids[a.Val], a.Val)
					ids[a.Val] = true
				}
			}
		}
	}
	for _, name := range []string{"logo", "alert", "arrow", "check", "clock", "cloud", "link", "lock", "no", "people", "person", "question", "reload", "wait", "window"} {
		require.True(t, ids[name], name)
	}
}

// WCAG 2.2: 1.4.3 for text, 1.4.11 for what is needed to tell a control.
func TestColoursCanBeToldApart(t *testing.T) {
	css := string(assets()["look.css"].content)
	light, rest, _ := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	dark, _, _ := strings.Cut(rest, "/* Ground */")
	for mode, source := range map[string]string{"light": light, "dark": dark} {
		colours := map[string][3]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(source, -1) {
			rgb, err := strconv.ParseUint(m[2], 16, 32)
			require.NoError(t, err)
			colours[m[1]] = [3]float64{float64(rgb >> 16), float64(rgb >> 8 & 255), float64(rgb & 255)}
		}
		for _, p := range []struct {
			over, under string
			least       float64
		}{
			{"text", "ground", 4.5}, {"text", "surface", 4.5}, {"text", "sunken", 4.5}, {"text", "tint", 4.5},
			{"text", "good-tint", 4.5}, {"text", "warn-tint", 4.5}, {"text", "bad-tint", 4.5},
			{"soft", "ground", 4.5}, {"soft", "surface", 4.5}, {"soft", "sunken", 4.5}, {"soft", "quiet", 4.5}, {"text", "quiet", 4.5},
			{"accent", "ground", 4.5}, {"accent", "surface", 4.5}, {"accent", "sunken", 4.5},
			{"on-accent", "accent", 4.5}, {"on-accent", "accent-over", 4.5}, {"on-tint", "tint", 4.5},
			{"good", "good-tint", 4.5}, {"warn", "warn-tint", 4.5}, {"bad", "bad-tint", 4.5}, {"bad", "surface", 4.5},
			{"field-line", "surface", 3}, {"field-line", "sunken", 3}, {"field-line", "ground", 3},
			{"focus", "ground", 3}, {"focus", "surface", 3}, {"focus", "sunken", 3}, {"focus", "bad-tint", 3},
		} {
			require.Contains(t, colours, p.over)
			require.Contains(t, colours, p.under)
			got := contrast(colours[p.over], colours[p.under])
			require.GreaterOrEqual(t, got, p.least, "%s: %s on %s", mode, p.over, p.under)
		}
	}
}

func contrast(a, b [3]float64) float64 {
	luminance := func(c [3]float64) float64 {
		var l float64
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			v := c[i] / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			l += weight * v
		}
		return l
	}
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func TestTheStyleSheetIsSmallAndUsesOnlyItsOwnTokens(t *testing.T) {
	css := string(assets()["look.css"].content)
	require.Less(t, len(css), 15000)
	for _, m := range regexp.MustCompile(`var\(--([a-z0-9-]+)\)`).FindAllStringSubmatch(css, -1) {
		require.Contains(t, css, "  --"+m[1]+":", "a token that does not exist")
	}
	require.NotContains(t, css, "url(", "everything a page loads is in its head")
}

func TestWords(t *testing.T) {
	words := MustWords(fstest.MapFS{
		"messages/en.json":    {Data: []byte(`{"hello": "{name} says hello to {other}, {name}.", "bye": "Bye"}`)},
		"messages/pt-BR.json": {Data: []byte(`{"bye": "Tchau"}`)},
	}, "messages/*.json")

	for locale, want := range map[string]string{"": "en", "en": "en", "en-GB": "en", "pt-BR": "pt-BR", "pt_br": "pt-BR", "pt-BR-x-a": "pt-BR", "pt": "en", "xx": "en", "-": "en", "<": "en"} {
		require.Equal(t, want, words.In(locale).Tag, "%q", locale)
	}
	require.Equal(t, "Tchau", words.In("pt-BR").Text("bye", nil))
	require.Equal(t, "A says hello to B, A.", words.In("pt-BR").Text("hello", Values{"name": "A", "other": "B"}), "a text that is missing is English")
	require.Equal(t, "{other} says hello to B, {other}.", words.In("en").Text("hello", Values{"name": "{other}", "other": "B"}), "a value is not read again")
	require.Equal(t, "none", words.In("en").Text("none", nil))
	require.Equal(t, []string{"bye", "hello"}, words.In("pt-BR").IDs())

	var b strings.Builder
	require.NoError(t, words.In("en").Rich("hello", Values{"name": "<b>", "other": `"`}).Render(t.Context(), &b))
	require.Equal(t, "<bdi>&lt;b&gt;</bdi> says hello to <bdi>&#34;</bdi>, <bdi>&lt;b&gt;</bdi>.", b.String())
}

func TestMonogram(t *testing.T) {
	for name, want := range map[string]string{"Asana": "A", "  élan": "É", "«3M»": "3", "日本": "日", "🤖": "·", "": "·"} {
		require.Equal(t, want, Monogram(name), "%q", name)
	}
}

func TestWhoTakesGzipGetsIt(t *testing.T) {
	for accepts, want := range map[string]bool{"": false, "br": false, "gzip": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.001": true, "xgzip": false} {
		require.Equal(t, want, takesGzip(accepts), accepts)
	}
}
