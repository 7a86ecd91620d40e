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
		"asking for all users": func(w http.ResponseWriter, r *http.Request, locale string) {
			renderAsk(w, r, askPage{Assistant: "Acme", Provider: "Asana", Person: "Jane Doe", Action: "/connect/link", ExpiresIn: "14 minutes", Shared: true, Scopes: []string{"tasks:read", "tasks:write", "projects:read", "users:read", "workspaces:read"}}, 200, locale)
		},
		"going": func(w http.ResponseWriter, r *http.Request, locale string) {
			renderGo(w, r, goPage{Provider: long, URL: "http://" + r.Host + stays, Brand: brand}, locale)
		},
		"fragment": func(w http.ResponseWriter, r *http.Request, locale string) {
			renderFragment(w, r, fragmentPage{Action: stays}, locale)
		},
		"choosing": func(w http.ResponseWriter, r *http.Request, locale string) {
			p := choosePage{Assistant: "Acme", Provider: long, Action: "/callback/x/choose", State: "s", Wrong: true, Brand: brand,
				Questions: []behalf.Question{{Name: "site", Title: "Which site?", Options: []behalf.Option{{Value: "9f1c7e02-41d3", Label: long}, {Value: "b", Label: "Sandbox"}, {Value: "0b6d5a90-77aa", Label: long}}}}}
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
	for of, keys := range map[way][]string{wayKey: {"key"}, wayLogin: {"username", "password"}, wayPassword: {"username", "password"}, wayPasswordKept: {"username", "password"}, wayClient: {}} {
		pages["asking, "+string(of)] = func(w http.ResponseWriter, r *http.Request, locale string) {
			p := askPage{Assistant: "Acme", Provider: "Zendesk", Person: "Jane Doe", Action: "/connect/link", ExpiresIn: "14 minutes", Way: of}
			for _, key := range keys {
				p.Inputs = append(p.Inputs, input{Name: "field." + key, Label: spoken(r, locale).Text("field."+key, nil), Password: key != "username", Required: true})
			}
			renderAsk(w, r, p, 200, locale)
		}
	}
	for kind := range outcomeLooks {
		pages[string(kind)] = func(w http.ResponseWriter, r *http.Request, locale string) {
			p := outcomePage{Kind: kind, Assistant: "Acme", Provider: long, Person: "Jane Doe", Account: "jane@example.com", Detail: "invalid_scope: The scope is not known.", Fix: "Mend the scope.", ReturnURL: "https://acme.example/", Brand: brand}
			writePage(w, r, 200, look.Policy{}, p.page(spoken(r, locale)))
		}
	}
	return pages
}

// TestEveryPageIsFitForEverybody looks at each page in a browser, in each look;
// and nothing sticks out of a screen of 320 pixels in any language.
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
	mux.HandleFunc(stays, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewServer(mux)
	defer server.Close()
	at := func(name, locale string) string {
		return server.URL + "/page?" + url.Values{"name": {name}, "locale": {locale}}.Encode()
	}
	small := func(b *browser.Browser, name string) {
		t.Helper()
		if err := chromedp.Do(b.Context(), chromedp.EmulateViewport(320, 640, chromedp.EmulateMobile)); err != nil {
			t.Fatal(err)
		}
		b.Picture(name)
		if over := b.Overflow(); over > 0 {
			b.Screenshot("too-wide")
			t.Errorf("%s is %d pixels too wide", name, over)
		}
	}
	for name := range pages {
		b.Open(at(name, "en"))
		b.Fit(name)
		for _, language := range words {
			b.Open(at(name, language.Tag))
			small(b, name+"-320-"+language.Tag)
		}
	}
	unscripted := b.NewPerson(browser.Options{NoScript: true})
	for _, language := range words {
		unscripted.Open(at("fragment", language.Tag))
		small(unscripted, "fragment-unscripted-320-"+language.Tag)
	}
	for _, c := range append(b.Complaints(), unscripted.Complaints()...) {
		t.Errorf("the browser's console says %q", c)
	}
}

// stays is an address that leaves a browser on the page where it is.
const stays = "/stays"
