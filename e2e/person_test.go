package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf/e2e/browser"
)

// person is somebody at a browser of their own.
type person struct {
	*browser.Browser
	s *stage
}

// person opens Chromium for somebody.
func (s *stage) person(t testing.TB) *person {
	t.Helper()
	return s.watch(t, browser.New(t, browser.Options{}))
}

// watch takes into evidence, when the test ends, what the browser has carried.
func (s *stage) watch(t testing.TB, b *browser.Browser) *person {
	p := &person{b, s}
	t.Cleanup(func() {
		if !t.Failed() {
			p.carried()
		}
	})
	return p
}

// carried takes into evidence what the browser has seen so far that belongs to
// one session alone.
func (p *person) carried() {
	for _, address := range p.Visited() {
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		query := u.Query()
		for name, what := range map[string]string{"state": "state", "nonce": "nonce", "code": "authorization code", "finish_code": "finish_code"} {
			if value := query.Get(name); value != "" {
				p.s.secret(what, value)
			}
		}
	}
	for name, value := range p.Cookies(p.s.node.url) {
		if strings.HasPrefix(name, "behalf_") {
			p.s.secret("cookie", value)
		}
	}
}
