// Package browser drives Chromium for the end-to-end tests the way a person
// does: by labels, by the words on buttons, and by looking at the page.
//
// Methods end the test when what they look for does not appear in time, and
// then report the address, the text and a screenshot of the page. They belong
// to the goroutine of the test.
package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	// limit is how long one step may take on a busy machine.
	limit = 30 * time.Second

	pause = 50 * time.Millisecond

	// noOutside lets names other than the machine's own fail at once: no test
	// depends on a network.
	noOutside = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost"
)

// Options of one person's browser. The zero value is a wide, light window in
// American English.
type Options struct {
	Locale   string // as in "de-DE": what pages are asked in and dates are shown in
	Mobile   bool   // a narrow touch screen
	Dark     bool   // prefers-color-scheme: dark
	NoScript bool   // JavaScript is switched off
}

// Browser is one person's window, with cookies and storage that nobody shares.
type Browser struct {
	t   testing.TB
	ctx context.Context

	// clickedOn is the Born of the page on which Click was called last; 0 after
	// any other way to go somewhere.
	clickedOn float64

	mu         sync.Mutex
	complaints []string
	visited    []string
}

// New starts Chromium with an empty profile, for one person. In short mode the
// test is skipped.
func New(t testing.TB, o Options) *Browser {
	t.Helper()
	if testing.Short() {
		t.Skip("a real browser takes too long for short mode")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("browser: Chromium is missing; `make deps` installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", noOutside),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses root otherwise
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	return open(t, ctx, o)
}

// NewPerson opens another person's window in the same Chromium.
func (b *Browser) NewPerson(o Options) *Browser {
	b.t.Helper()
	return open(b.t, b.ctx, o, chromedp.WithNewBrowserContext())
}

func open(t testing.TB, parent context.Context, o Options, options ...chromedp.ContextOption) *Browser {
	t.Helper()
	b := &Browser{t: t}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Do(ctx, o.emulate()); err != nil {
		t.Fatalf("browser: cannot start Chromium: %v", err)
	}
	return b
}

// Appear changes how the window shows its page from now on, and waits until the
// page has changed over. Whether scripts run is decided when a page is opened.
func (b *Browser) Appear(o Options) {
	b.t.Helper()
	b.do("appear otherwise", o.emulate())
	const still = `document.getAnimations().every(a => a.playState !== "running")`
	b.wait("come to rest", func(view) bool {
		resting, err := evaluate[bool](b, still)
		return err == nil && resting
	})
}

func (o Options) emulate() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		viewport := chromedp.EmulateViewport(1280, 900)
		if o.Mobile {
			viewport = chromedp.EmulateViewport(390, 844,
				chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait, chromedp.EmulateScale(2))
		}
		if _, err := viewport(ctx, target); err != nil {
			return err
		}
		scheme := "light"
		if o.Dark {
			scheme = "dark"
		}
		media := emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}
		if _, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, media); err != nil {
			return err
		}
		if o.NoScript {
			off := emulation.SetScriptExecutionDisabledParams{Value: true}
			if _, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, off); err != nil {
				return err
			}
		}
		return o.speak(ctx, target)
	})
}

// speak sets the locale of the page and of its requests.
func (o Options) speak(ctx context.Context, target *chromedp.Target) error {
	if o.Locale == "" {
		return nil
	}
	locale := emulation.SetLocaleOverrideParams{Locale: o.Locale}
	if _, err := cdp.Call(ctx, target, emulation.SetLocaleOverride, locale); err != nil {
		return err
	}
	headers := network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": o.Locale}}
	_, err := cdp.Call(ctx, target, network.SetExtraHTTPHeaders, headers)
	return err
}

// listen keeps where the window goes, and what the page's console calls an
// error.
func (b *Browser) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Type == network.ResourceTypeDocument {
			b.mu.Lock()
			b.visited = append(b.visited, e.Request.URL)
			b.mu.Unlock()
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			complaint = e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			complaint += " " + e.ExceptionDetails.Exception.Description
		}
	}
	if complaint == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, complaint)
}

// Complaints returns the errors of the console so far: scripts that threw,
// what the Content-Security-Policy forbade, resources that failed to load.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.complaints...)
}

// Visited returns the addresses of all pages that the window has asked for so
// far, those that redirected it included.
func (b *Browser) Visited() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.visited...)
}

// Cookies returns the cookies that the window would send to the address, by
// name, those that scripts cannot see included.
func (b *Browser) Cookies(url string) map[string]string {
	b.t.Helper()
	var cookies map[string]string
	b.do("read the cookies", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		got, err := cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{URLs: []string{url}})
		cookies = make(map[string]string, len(got.Cookies))
		for _, c := range got.Cookies {
			cookies[c.Name] = c.Value
		}
		return err
	}))
	return cookies
}

// Open goes to the address and waits until the page has loaded.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.do("open "+url, chromedp.Navigate(url))
	b.clickedOn = 0
}

// Back presses the back button.
func (b *Browser) Back() {
	b.t.Helper()
	b.do("go back", chromedp.NavigateBack())
	b.clickedOn = 0
}

// Reload presses the reload button.
func (b *Browser) Reload() {
	b.t.Helper()
	b.do("reload", chromedp.Reload())
	b.clickedOn = 0
}

// Fill replaces the content of a field, which is named by its label, its
// accessible name, its name attribute or a CSS selector, by typing.
func (b *Browser) Fill(field, value string) {
	b.t.Helper()
	b.fill("fill "+field, find("field", field), value)
}

// Click presses what bears the text: a button or a link, or else whatever
// matches it as a CSS selector. It does not wait for what comes of it.
func (b *Browser) Click(text string) {
	b.t.Helper()
	b.click("click "+text, find("clickable", text))
}

// Text returns what the page says, as a person sees it.
func (b *Browser) Text() string {
	b.t.Helper()
	return b.look("read the page").Text
}

// URL returns the address of the page.
func (b *Browser) URL() string {
	b.t.Helper()
	return b.look("read the address").URL
}

// WaitURL waits until the page's address begins with prefix and the page has
// loaded, and returns the address.
func (b *Browser) WaitURL(prefix string) string {
	b.t.Helper()
	return b.wait("arrive at "+prefix, func(v view) bool { return strings.HasPrefix(v.URL, prefix) }).URL
}

// WaitText waits until the page says text.
func (b *Browser) WaitText(text string) {
	b.t.Helper()
	b.wait("see "+text, func(v view) bool { return strings.Contains(v.Text, text) })
}

// Screenshot writes the whole page as NAME.png into the test's artifact
// directory, which `go test -artifacts` keeps, and returns the path.
func (b *Browser) Screenshot(name string) string {
	b.t.Helper()
	path, err := b.screenshot(name)
	if err != nil {
		b.fatalf("take a screenshot: %v", err)
	}
	return path
}

func (b *Browser) screenshot(name string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.t.ArtifactDir(), name+".png")
	return path, os.WriteFile(path, png, 0o644)
}

// Context returns the chromedp context of the window, for what this package
// has no words for.
func (b *Browser) Context() context.Context { return b.ctx }

// findScript is a function that finds an element of the page; see find.js.
//
//go:embed find.js
var findScript string

// find returns the selector of the element that find.js gives for what and
// name.
func find(what, name string) chromedp.JSPath {
	quoted, err := json.Marshal(name)
	if err != nil {
		panic(err) // no string fails to marshal
	}
	return chromedp.JSPath(fmt.Sprintf("(%s)(%q, %s)", strings.TrimSpace(findScript), what, quoted))
}

// view is what one look at the page shows.
type view struct {
	URL   string
	Text  string
	Ready bool
	Born  float64 // tells one load of a page from another
}

const viewScript = `({
	URL: location.href,
	Text: document.body?.innerText ?? "",
	Ready: document.readyState === "complete",
	Born: performance.timeOrigin,
})`

// look looks at the page once it has loaded.
func (b *Browser) look(what string) view {
	b.t.Helper()
	return b.wait(what, func(view) bool { return true })
}

// wait looks at the page until it has loaded and ok is content with it. A look
// in the middle of a navigation fails, and is repeated.
func (b *Browser) wait(what string, ok func(view) bool) view {
	b.t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(pause) {
		var v view
		v, err = evaluate[view](b, viewScript)
		if err == nil && v.Ready && ok(v) {
			return v
		}
	}
	if err != nil {
		b.fatalf("%s: %v", what, err)
	}
	b.fatalf("did not %s within %s", what, limit)
	return view{}
}

func evaluate[T any](b *Browser, script string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](script))
}

func (b *Browser) fill(what string, field chromedp.JSPath, value string) {
	b.t.Helper()
	chosen := chromedp.Evaluate[bool]("(e => { e.focus(); e.select?.(); return true })(" + string(field) + ")")
	b.do(what, chromedp.WaitVisible(field), void(chosen), chromedp.KeyEvent(kb.Delete+value))
}

// void drops an action's result.
func void[T any](action chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := action(ctx, target)
		return err
	})
}

func (b *Browser) click(what string, element chromedp.JSPath) {
	b.t.Helper()
	b.clickedOn = b.look(what).Born
	b.do(what, chromedp.Click(element))
}

func (b *Browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.fatalf("%s: %v", what, err)
	}
}

// fatalf ends the test and shows where it ended.
func (b *Browser) fatalf(format string, arguments ...any) {
	b.t.Helper()
	v, err := evaluate[view](b, viewScript)
	if err != nil {
		v.Text = err.Error()
	}
	path, err := b.screenshot("failed")
	if err != nil {
		path = err.Error()
	}
	b.t.Fatalf("browser: %s\naddress: %s\nscreenshot: %s\npage:\n%s", fmt.Sprintf(format, arguments...), v.URL, path, v.Text)
}

// Popup returns the window that do makes the page open.
func (b *Browser) Popup(do func()) *Browser {
	b.t.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, func(*target.Info) bool { return true })
	do()
	select {
	case id := <-opened:
		return open(b.t, b.ctx, Options{}, chromedp.WithTargetID(id))
	case <-time.After(limit):
		b.fatalf("no window was opened within %s", limit)
	}
	return nil
}

// CloseWindow closes the window, as its person would.
func (b *Browser) CloseWindow() {
	b.t.Helper()
	b.do("close the window", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.Close, cdp.Empty{})
		return err
	}))
}

// Overflow returns by how many pixels the page is wider than the window.
func (b *Browser) Overflow() int {
	b.t.Helper()
	return b.number("measure the page", `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
}

// Weight returns how many bytes the page takes with everything that it loads, as
// they are sent, and as if nothing had been kept from before.
func (b *Browser) Weight() int {
	b.t.Helper()
	return b.number("weigh the page", `performance.getEntries().filter(e => e.transferSize !== undefined).reduce((sum, e) => sum + Math.max(e.transferSize, e.encodedBodySize), 0)`)
}

func (b *Browser) number(what, script string) int {
	b.t.Helper()
	n, err := evaluate[float64](b, script)
	if err != nil {
		b.fatalf("%s: %v", what, err)
	}
	return int(n)
}
