package browser

import (
	"strings"

	"github.com/chromedp/chromedp"
)

// maxPages is how many pages of a provider Login answers before it gives up:
// signing in, consenting, and what may lie between.
const maxPages = 6

// Login answers the pages of an authorization server as a person who agrees:
// it fills in name and password, presses what says yes, and goes on so until
// the address begins with until and the page there has loaded. It returns that
// address.
//
// Login may follow a Click at once: it waits until the page clicked on is gone.
func (b *Browser) Login(username, password, until string) string {
	b.t.Helper()
	for range maxPages {
		v := b.waitForForm(until)
		if strings.HasPrefix(v.URL, until) {
			return v.URL
		}
		for part, value := range map[string]string{"username": username, "password": password} {
			if b.has(find("login", part)) {
				b.fill("fill in the "+part, find("login", part), value)
			}
		}
		b.click("say yes", find("login", "yes"))
	}
	b.fatalf("still not at %s after %d pages", until, maxPages)
	return ""
}

// waitForForm waits for a page other than the one clicked on that is either
// the end or has a form to answer.
func (b *Browser) waitForForm(until string) view {
	b.t.Helper()
	return b.wait("get from the provider to "+until, func(v view) bool {
		return v.Born != b.clickedOn && (strings.HasPrefix(v.URL, until) || b.has(find("login", "yes")))
	})
}

func (b *Browser) has(element chromedp.JSPath) bool {
	found, err := evaluate[bool](b, "("+string(element)+") !== null")
	return err == nil && found
}
