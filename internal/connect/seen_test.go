package connect

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/look"
)

// seen holds every page of this package as people get it: those of page_test.go,
// and what takes more to come to.
func seen() map[string]func(w http.ResponseWriter, r *http.Request, locale string) {
	const long = "Wolpertinger & Söhne Incident Management of the Northern District"
	brand := look.Brand{Name: "Acme & Söhne", Style: StyleURL(behalf.Branding{Accent: "#8a1c5a"})}
	then := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	pages := map[string]func(w http.ResponseWriter, r *http.Request, locale string){
		"asking for much": func(w http.ResponseWriter, r *http.Request, locale string) {
			p := askWith(long)
			p.Brand = brand
			renderAsk(w, r, p, 200, locale) // Chromium complains of the status of an error
		},
		"asking for nothing": func(w http.ResponseWriter, r *http.Request, locale string) {
			renderAsk(w, r, askPage{Assistant: "Acme", Provider: long, Person: "Jane Doe", Action: "/connect/link", ExpiresIn: "14 minutes"}, 200, locale)
		},
		"choosing": func(w http.ResponseWriter, r *http.Request, locale string) {
			p := choosePage{Assistant: "Acme", Provider: long, Action: "/callback/x/choose", State: "s", Wrong: true, Brand: brand,
				Questions: []behalf.Question{{Name: "site", Title: "Which site?", Options: []behalf.Option{{Value: "a", Label: long}, {Value: "b", Label: "b"}}}}}
			writePage(w, r, 200, look.Policy{Form: true}, p.page(spoken(r, locale)))
		},
		"one's own": func(w http.ResponseWriter, r *http.Request, locale string) {
			p := ownPage{Assistant: "Acme", Person: "Jane Doe", Action: "/own/x", ReturnURL: "https://acme.example/", Brand: brand, Told: &ownTold{Provider: "Asana", ManageURL: "https://asana.example"}}
			p.Connections = []ownConnection{{ID: "1", Provider: long, Account: "jane@example.com", Since: then},
				{ID: "2", Provider: "Asana", Lapsed: true, Tenant: "north", Since: then, Used: then, For: "own.used.token", Scopes: []string{"read", "write"}}}
			writePage(w, r, 200, look.Policy{Form: true}, p.page(spoken(r, locale)))
		},
		"one's own without anything": func(w http.ResponseWriter, r *http.Request, locale string) {
			writePage(w, r, 200, look.Policy{Form: true}, ownPage{Assistant: "Acme", Person: "Jane Doe", Action: "/own/x"}.page(spoken(r, locale)))
		},
	}
	for kind := range outcomeLooks {
		pages[string(kind)] = func(w http.ResponseWriter, r *http.Request, locale string) {
			p := outcomePage{Kind: kind, Assistant: "Acme", Provider: long, Person: "Jane Doe", Account: "jane@example.com", Detail: "invalid_scope: The scope is not known.", Fix: "Mend the scope.", ReturnURL: "https://acme.example/", Brand: brand}
			writePage(w, r, 200, look.Policy{}, p.page(spoken(r, locale)))
		}
	}
	return pages
}

// TestEveryPageIsFitForEverybody looks at each page in a browser: axe finds
// nothing wrong with it, light and dark; nothing sticks out of a screen of 320
// pixels in any language; and with everything that it loads it is light.
func TestEveryPageIsFitForEverybody(t *testing.T) {
	b := browser.New(t, browser.Options{})
	pages := seen()
	mux := http.NewServeMux()
	mux.Handle(look.Prefix, look.Handler())
	mux.HandleFunc("GET /brand/{file}", (&Connect{}).Brand)
	mux.HandleFunc("GET /favicon.ico", http.NotFound)
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		pages[r.URL.Query().Get("name")](w, r, r.URL.Query().Get("locale"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	at := func(name, locale string) string {
		return server.URL + "/page?" + url.Values{"name": {name}, "locale": {locale}}.Encode()
	}
	for name := range pages {
		b.Open(at(name, "en"))
		for mode, dark := range map[string]bool{"light": false, "dark": true} {
			b.Appear(browser.Options{Dark: dark, Mobile: dark})
			b.Accessible(name + ", " + mode)
		}
		b.Appear(browser.Options{})
		if weight := b.Weight(); weight > 100_000 {
			t.Errorf("%s weighs %d bytes", name, weight)
		}
		for _, language := range words {
			b.Open(at(name, language.Tag))
			if err := chromedp.Do(b.Context(), chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile)); err != nil {
				t.Fatal(err)
			}
			if over := b.Overflow(); over > 0 {
				b.Screenshot("too-wide")
				t.Errorf("%s in %s is %d pixels too wide", name, language.Tag, over)
			}
		}
	}
	for _, c := range b.Complaints() {
		t.Errorf("the browser's console says %q", c)
	}
}
