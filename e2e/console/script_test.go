package console_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/e2e/browser"
	"github.com/behalf-dev/behalf/internal/server/servertest"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// site is an assistant's web application: the page of the documentation, with
// the server's address in it, and its backend.
type site struct {
	*stage
	page  string        // its address
	began atomic.Int64  // sessions
	hold  chan struct{} // what the backend waits for before it answers; nil: nothing
}

func newSite(t *testing.T) *site {
	t.Helper()
	example, err := os.ReadFile("../../docs/connect.html")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, strings.ReplaceAll(string(example), "https://behalf.example.com", s.URL))
	})
	mux.HandleFunc("POST /connect", s.begins)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.page = server.URL + "/"
	s.stage = newStage(t, servertest.Setup{Assistant: func(a *behalf.Assistant) { a.ReturnURLs = []string{s.page} }})
	s.Sim.Set(simulator.Switches{NoLogin: "hazel"})
	if err := s.Sim.AddRedirectURI("bot", s.callback(s.Profile)); err != nil {
		t.Fatal(err)
	}
	return s
}

// begins is what the page's comment says.
func (s *site) begins(w http.ResponseWriter, r *http.Request) {
	if s.hold != nil {
		<-s.hold
	}
	s.began.Add(1)
	var made struct{ URL string }
	s.Do(s.Key, http.MethodPost, "/v1/assistants/"+s.Assistant.Slug+"/connect-sessions", map[string]any{"profile": s.Profile.Slug, "user": "42", "return_url": s.page}).Into(s.t, &made)
	if r.Header.Get("Accept") == "text/plain" {
		_, _ = io.WriteString(w, made.URL)
		return
	}
	http.Redirect(w, r, made.URL, http.StatusSeeOther)
}

func (s *site) connected() int {
	s.t.Helper()
	all, err := s.System.ConnectionsOf(s.t.Context(), s.Assistant.ID, s.Profile.ID, "42", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return len(all)
}

const press, goOn = "Connect Acorn Notes", "Continue to Acorn Notes"

func TestAPageConnectsInAPopup(t *testing.T) {
	s := newSite(t)
	b := browser.New(t, browser.Options{})
	s.hold = make(chan struct{})
	b.Open(s.page)
	popup := b.Popup(func() { b.Click(press) }) // it opens in the click: the backend has not answered yet
	if s.began.Load() != 0 {
		t.Error("the window was opened after the backend had answered")
	}
	close(s.hold)
	popup.WaitURL(s.URL + "/connect/")
	popup.WaitText("Support Bot")
	if text := b.Text(); strings.Contains(text, "is connected") || !strings.Contains(text, "Go on in the window") {
		t.Errorf("the page says %q", text)
	}
	popup.Click(goOn)
	b.WaitText("Acorn Notes is connected.") // asked of the server
	popup.WaitURL(s.page + "?")
	if n := s.connected(); n != 1 {
		t.Errorf("%d connections", n)
	}
	for _, c := range b.Complaints() {
		if !strings.Contains(c, "favicon") {
			t.Errorf("the browser's console says %q", c)
		}
	}
}

func TestAPageLearnsThatSomebodySaidNo(t *testing.T) {
	s := newSite(t)
	b := browser.New(t, browser.Options{})
	b.Open(s.page)
	popup := b.Popup(func() { b.Click(press) })
	popup.WaitText("Support Bot")
	popup.Click("No, don’t connect")
	b.WaitText("Nothing was connected.")
	if n := s.connected(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A window that is closed is no outcome: the page waits, and another press
// begins anew.
func TestAClosedPopupIsNoOutcome(t *testing.T) {
	s := newSite(t)
	b := browser.New(t, browser.Options{})
	b.Open(s.page)
	popup := b.Popup(func() { b.Click(press) })
	popup.WaitText("Support Bot")
	popup.CloseWindow()
	waits, err := chromedp.Run(b.Context(), chromedp.Evaluate[string](`new Promise(done => setTimeout(() => done(document.getElementById("outcome").textContent), 2500))`, chromedp.EvalAwaitPromise))
	if err != nil || !strings.Contains(waits, "Go on in the window") {
		t.Errorf("the page says %q, %v", waits, err)
	}
	again := b.Popup(func() { b.Click(press) })
	again.WaitText("Support Bot")
	again.Click(goOn)
	b.WaitText("Acorn Notes is connected.")
	if s.began.Load() != 2 || s.connected() != 1 {
		t.Errorf("%d sessions, %d connections", s.began.Load(), s.connected())
	}
}

func TestWherePopupsAreBlockedThePageItselfGoes(t *testing.T) {
	s := newSite(t)
	b := browser.New(t, browser.Options{})
	b.Open(s.page)
	if _, err := chromedp.Run(b.Context(), chromedp.Evaluate[bool](`window.open = () => null, true`)); err != nil { // what a blocker answers
		t.Fatal(err)
	}
	b.Click(press)
	b.WaitURL(s.URL + "/connect/")
	b.Click(goOn)
	b.WaitURL(s.page + "?")
	b.WaitText("Acorn Notes is connected.")
	if n := s.connected(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A link that a page has from elsewhere must not run in that page: it may have
// the host of this machine and be a script all the same.
func TestALinkThatIsAScriptIsNotOpened(t *testing.T) {
	s := newSite(t)
	b := browser.New(t, browser.Options{})
	b.Open(s.page)
	const opens = `(async () => {
		const { connect } = await import("%s/connect.js");
		window.name = "";
		const link = "javascript://localhost/%%0a(opener??window).name='ran'";
		try { await Promise.race([connect(link, { mode: "redirect" }), new Promise(done => setTimeout(done, 1000))]); } catch (e) { return e.constructor.name + window.name }
		return "opened " + window.name
	})()`
	got, err := chromedp.Run(b.Context(), chromedp.Evaluate[string](fmt.Sprintf(opens, s.URL), chromedp.EvalAwaitPromise))
	if err != nil || got != "TypeError" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAPageConnectsWithoutJavaScript(t *testing.T) {
	s := newSite(t)
	b := browser.New(t, browser.Options{NoScript: true})
	b.Open(s.page)
	b.Click(press)
	b.WaitURL(s.URL + "/connect/")
	b.Click(goOn)
	b.WaitURL(s.page + "?")
	if n := s.connected(); n != 1 || !strings.Contains(b.URL(), "status=connected") {
		t.Errorf("%d connections, at %s", n, b.URL())
	}
}

func TestAPersonDisconnectsOnTheirOwnPage(t *testing.T) {
	s := newStage(t, servertest.Setup{})
	mine := s.Connected(s.Profile, "42", "sub-42")
	s.Do(s.Key, http.MethodPost, "/v1/assistants/"+s.Assistant.Slug+"/token", map[string]any{"profile": s.Profile.Slug, "user": "42"})
	var made struct{ URL string }
	s.Do(s.Key, http.MethodPost, "/v1/assistants/"+s.Assistant.Slug+"/users/42/page", map[string]any{"user_name": "Jane Doe"}).Into(t, &made)
	b := browser.New(t, browser.Options{})
	b.Open(made.URL)
	for range 100 { // uses are written within a second or so
		if strings.Contains(b.Text(), "fetched an access token") {
			break
		}
		b.Reload()
	}
	b.WaitText("Support Bot fetched an access token for Acorn Notes")
	b.Accessible("a person's own page")
	b.Click("summary:has(+ form)")
	b.WaitText("its access is erased here")
	b.Click("Yes, disconnect Acorn Notes")
	b.WaitText("Acorn Notes is disconnected")
	b.WaitText("Nothing is connected")
	b.Accessible("a person's own page without anything")
	if c := s.connection(mine); c.Status != behalf.ConnectionRevoked {
		t.Errorf("it is %s", c.Status)
	}
}
