package connect

import (
	"net/http"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// cookie returns the name of the cookie that binds a browser to a session. Each
// session has its own, so that two tabs do not overwrite each other, and so
// that another server on the same host cannot be in its way: cookies are shared
// across ports. By https the __Host- prefix keeps other hosts from setting it.
func (c *Connect) cookie(id behalf.SessionID) string {
	name := "behalf_" + strings.TrimPrefix(string(id), "cs_")
	if c.secure() {
		return "__Host-" + name
	}
	return name
}

// give hands a browser a secret of its own. The page that asks does so, and
// binds nothing by it; Continue binds the session to what the browser holds. So
// the answer to a first click may get lost in a second one.
func (c *Connect) give(w http.ResponseWriter, s behalf.ConnectSession, browser secret.Text) {
	http.SetCookie(w, &http.Cookie{Name: c.cookie(s.ID), Value: browser.Reveal(), Path: "/", HttpOnly: true, Secure: c.secure(),
		SameSite: http.SameSiteLaxMode, MaxAge: int((behalf.MaxSessionLifetime + behalf.FinishLifetime) / time.Second)})
}

// held returns the secret that the browser was given for the session. Of
// several, which only somebody else on this host can have set, none counts, nor
// does what has not the length of secret.Random.
func (c *Connect) held(r *http.Request, s behalf.ConnectSession) secret.Text {
	got := r.CookiesNamed(c.cookie(s.ID))
	if len(got) != 1 || len(got[0].Value) != 43 {
		return secret.Text{}
	}
	return secret.New(got[0].Value)
}

// sameBrowser reports whether the request comes from the browser that pressed
// Continue.
func (c *Connect) sameBrowser(r *http.Request, s behalf.ConnectSession) bool {
	if len(s.BrowserHash) == 0 {
		return false
	}
	for _, got := range r.CookiesNamed(c.cookie(s.ID)) {
		if secret.HashEqual(secret.New(got.Value), s.BrowserHash) {
			return true
		}
	}
	return false
}
