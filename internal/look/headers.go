package look

import "net/http"

// Policy is what a page may do beyond showing itself.
type Policy struct {
	Form   bool // it posts a form to us
	Script bool // it runs a script from our assets
	Fetch  bool // that script asks us for parts of the page
}

// Headers sets the security headers of a page. The rules are:
//
//   - Nothing is loaded but our own assets, nothing runs in the page's text, and
//     nobody frames it.
//   - A form goes to us only. Chromium holds the redirect that answers a form to
//     the same rule: to send the browser elsewhere, answer with a page that
//     carries Head.Refresh, not with 303.
//   - No other origin learns where the reader came from, for a link is a secret.
//     A page with a form may tell our own: under no-referrer a browser posts
//     "Origin: null" (Fetch §3.2), which a check for cross-origin requests takes
//     for a foreign page wherever Sec-Fetch-Site is missing.
//   - No page is kept, in the browser or on the way.
func Headers(w http.ResponseWriter, p Policy) {
	script, form, referrer := "", "form-action 'none'", "no-referrer"
	if p.Script {
		script = "script-src 'self'; "
	}
	if p.Fetch {
		script += "connect-src 'self'; "
	}
	if p.Form {
		form, referrer = "form-action 'self'", "same-origin"
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; "+script+form+"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", referrer)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
