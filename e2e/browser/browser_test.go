package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

const formPage = `<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>A form</title>
<style>
	p { display: none }
	@media (max-width: 500px) { .narrow { display: block } }
	@media (prefers-color-scheme: dark) { .dark { display: block } }
</style>
<form method="post">
	<label for="tenant">Your  team *</label> <input id="tenant" value="old">
	<label>Region <input name="region"></label>
	<input name="code" aria-label="One-time code">
	<button>Cancel</button>
	<button name="go" value="1">Continue to <b>Example</b></button>
</form>
<p class="narrow">narrow</p>
<p class="dark">dark</p>
<p id="script">script</p>
<p id="date"></p>
<script>
	document.getElementById("script").style.display = "block"
	const date = document.getElementById("date")
	date.style.display = "block"
	date.textContent = new Date(0).toLocaleDateString(undefined, { weekday: "long", timeZone: "UTC" })
</script>
</html>`

// site shows the form, and what was sent with it.
func site(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes"})
		fmt.Fprint(w, formPage)
	})
	mux.HandleFunc("POST /form", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "region=%s code=%s go=%s", r.FormValue("region"), r.FormValue("code"), r.FormValue("go"))
	})
	mux.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "cookie=%s language=%s", r.Header.Get("Cookie"), r.Header.Get("Accept-Language"))
	})
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent) // else its absence is a complaint
	})
	mux.HandleFunc("GET /csp", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		fmt.Fprint(w, "<!doctype html><script>1</script>")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestAPersonFillsInAForm(t *testing.T) {
	b := New(t, Options{})
	b.Open(site(t) + "/form")
	b.Fill("Your team", "mine")
	b.Fill("Region", "first")
	b.Fill("region", "eu") // replaces
	b.Fill("One-time code", "a+b")
	b.Click("continue to example")
	b.WaitText("region=eu code=a+b go=1")
	if got := b.Complaints(); len(got) > 0 {
		t.Errorf("the console says %q", got)
	}
}

func TestAnotherPersonSharesNoCookies(t *testing.T) {
	url := site(t)
	b := New(t, Options{})
	b.Open(url + "/form")
	b.Open(url + "/headers")
	b.WaitText("cookie=seen=yes")
	other := b.NewPerson(Options{})
	other.Open(url + "/headers")
	other.WaitText("cookie= language")
}

func TestAPageIsSeenAsTheOptionsSay(t *testing.T) {
	url := site(t)
	tests := map[string]struct {
		options Options
		sees    string
		unseen  string
		accepts string
	}{
		"by default, wide, light and scripted":      {Options{}, "script Thursday", "narrow dark", "language=en-US"},
		"narrow on a phone":                         {Options{Mobile: true}, "narrow script", "dark", ""},
		"dark for who wants it so":                  {Options{Dark: true}, "dark script", "narrow", ""},
		"without the script when there is none":     {Options{NoScript: true}, "Region", "script Thursday", ""},
		"in the language of who speaks another one": {Options{Locale: "de-DE"}, "script Donnerstag", "", "language=de-DE"},
	}
	first := New(t, Options{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := first.NewPerson(test.options)
			b.Open(url + "/form")
			text := b.Text()
			for _, word := range strings.Fields(test.sees) {
				if !strings.Contains(text, word) {
					t.Errorf("does not see %q in %q", word, text)
				}
			}
			for _, word := range strings.Fields(test.unseen) {
				if strings.Contains(text, word) {
					t.Errorf("sees %q in %q", word, text)
				}
			}
			b.Open(url + "/headers")
			b.WaitText(test.accepts)
		})
	}
}

func TestAPageThatIsOpenAppearsAsAsked(t *testing.T) {
	b := New(t, Options{})
	b.Open(site(t) + "/form")
	for _, o := range []Options{{Mobile: true, Dark: true}, {Mobile: true}, {Dark: true}, {}} {
		b.Appear(o)
		text := b.Text()
		if got := strings.Contains(text, "narrow"); got != o.Mobile {
			t.Errorf("%+v: it is narrow: %t", o, got)
		}
		if got := strings.Contains(text, "dark"); got != o.Dark {
			t.Errorf("%+v: it is dark: %t", o, got)
		}
	}
}

func TestWhereAPersonWasIsKnown(t *testing.T) {
	url := site(t)
	b := New(t, Options{})
	b.Open(url + "/form")
	b.Open(url + "/headers")
	if got := b.Visited(); len(got) != 2 || got[0] != url+"/form" || got[1] != url+"/headers" {
		t.Errorf("it visited %q", got)
	}
	if got := b.Cookies(url); len(got) != 1 || got["seen"] != "yes" {
		t.Errorf("its cookies are %q", got)
	}
}

func TestAFormWorksWithoutJavaScript(t *testing.T) {
	b := New(t, Options{NoScript: true})
	b.Open(site(t) + "/form")
	b.Fill("Region", "eu")
	b.Click("Continue")
	b.WaitText("region=eu")
	b.Back()
	b.WaitText("Region")
	b.Reload()
	b.WaitText("Region")
}

func TestTheConsolesErrorsAreKept(t *testing.T) {
	b := New(t, Options{})
	b.Open(site(t) + "/csp")
	got := strings.Join(b.Complaints(), "\n")
	if !strings.Contains(got, "Content Security Policy") {
		t.Errorf("the console says %q", got)
	}
}

func TestAScreenshotIsAPicture(t *testing.T) {
	b := New(t, Options{Mobile: true})
	b.Open(site(t) + "/form")
	picture, err := os.ReadFile(b.Screenshot("form"))
	if err != nil {
		t.Fatal(err)
	}
	if got := http.DetectContentType(picture); got != "image/png" {
		t.Errorf("it is %s", got)
	}
}
