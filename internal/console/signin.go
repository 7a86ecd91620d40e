package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

func escapeQuery(s string) string { return url.QueryEscape(s) }

// signInPage asks who comes.
type signInPage struct {
	Email, Next string
	faults
	Fresh bool   // nobody is here yet
	SSO   string // what the single sign-on is called; empty: there is none
}

func (v *visit) askSignIn() error {
	if v.member.ID != "" {
		return v.to()
	}
	page := signInPage{Next: v.r.URL.Query().Get("next"), SSO: v.ssoLabel()}
	members, err := v.Console.db.As(system()).Members(v.ctx(), store.Page{Limit: 1})
	if err != nil {
		return err
	}
	page.Fresh = len(members) == 0
	return v.write(http.StatusOK, page.card())
}

func (v *visit) ssoLabel() string {
	if v.cfg.SSO.Issuer == "" {
		return ""
	}
	return v.cfg.SSO.button()
}

func (v *visit) signIn() error {
	page := signInPage{Email: v.line("email"), Next: v.form("next"), SSO: v.ssoLabel()}
	m, err := v.byPassword(page.Email, v.password("password"))
	if f, ok := faultsOf(err, "You are not signed in"); ok {
		page.faults = f
		if wait := retryAfter(err); wait > 0 {
			v.w.Header().Set("Retry-After", seconds(wait))
		}
		return v.write(statusOf(err), page.card())
	}
	if err != nil {
		return err
	}
	return v.comeIn(m, next(page.Next))
}

// byPassword checks a password, at a bounded rate and a few at a time.
func (v *visit) byPassword(email string, password secret.Text) (behalf.Member, error) {
	giveBack, err := v.limits.try(behalf.FoldEmail(email), v.address())
	if err != nil {
		return behalf.Member{}, err
	}
	done, err := v.hash()
	if err != nil {
		giveBack()
		return behalf.Member{}, err
	}
	defer done()
	m, err := v.Console.db.MemberByPassword(v.ctx(), email, password)
	if behalf.CodeOf(err) != behalf.CodeUnauthenticated {
		giveBack()
	}
	return m, err
}

// hash waits for a place to hash a password in.
func (v *visit) hash() (done func(), err error) {
	select {
	case v.hashing <- struct{}{}:
		return func() { <-v.hashing }, nil
	case <-v.ctx().Done():
		return nil, behalf.Errorf(behalf.CodeUnavailable, "The server is busy. Try again.")
	}
}

// comeIn signs a member in, in this browser.
func (v *visit) comeIn(m behalf.Member, to string) error {
	if err := v.remember(m); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}

// remember binds this browser to a member, under a new cookie.
func (v *visit) remember(m behalf.Member) error {
	if err := v.signIns.Clear(v.ctx()); err != nil {
		return err
	}
	if err := v.signIns.RenewToken(v.ctx()); err != nil {
		return err
	}
	for name, value := range map[string]string{keyMember: string(m.ID), keyID: string(behalf.NewSignInID(v.Console.db.Now())), keyAgent: agentOf(v.r), keyAddress: v.address()} {
		v.signIns.Put(v.ctx(), name, value)
	}
	return nil
}

// agentOf returns what a browser calls itself, in words that a list can show.
func agentOf(r *http.Request) string {
	ua := r.UserAgent()
	name, system := "Another browser", ""
	for _, b := range []struct{ mark, name string }{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}} {
		if strings.Contains(ua, b.mark) {
			name = b.name
			break
		}
	}
	for _, s := range []struct{ mark, name string }{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}} {
		if strings.Contains(ua, s.mark) {
			system = " on " + s.name
			break
		}
	}
	return name + system
}

func (v *visit) signOut() error {
	if err := v.signIns.Destroy(v.ctx()); err != nil {
		return err
	}
	return v.to("sign-in")
}

// linkPage is what somebody sees who comes by a link.
type linkPage struct {
	Link   behalf.MemberLink
	Member behalf.Member
	Email  string
	Name   string
	faults
}

// openLink shows what a link is good for. It uses up nothing, because previews
// of messages open links too: but a link that signs in at once does so for a
// person who opened it by hand, which only a browser can tell, and which no
// other site can make it tell (Fetch Metadata: Sec-Fetch-Site is "none").
func (v *visit) openLink() error {
	link := secret.New(v.r.PathValue("link"))
	l, m, err := v.Console.db.MemberByLink(v.ctx(), link)
	if err != nil {
		return err
	}
	h := v.r.Header
	if l.Purpose == behalf.LinkSignIn && h.Get("Sec-Fetch-Site") == "none" && h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Purpose") == "" {
		return v.useLink()
	}
	return v.write(http.StatusOK, linkPage{Link: l, Member: m, Email: m.Email, Name: m.Name}.card())
}

func (v *visit) useLink() error {
	link := secret.New(v.r.PathValue("link"))
	l, m, err := v.Console.db.MemberByLink(v.ctx(), link)
	if err != nil {
		return err
	}
	page := linkPage{Link: l, Member: m, Email: v.line("email"), Name: v.line("name")}
	done, err := v.hash()
	if err != nil {
		return err
	}
	m, err = v.Console.db.UseLink(v.ctx(), link, store.Arrival{Email: page.Email, Name: page.Name, Password: v.password("password")})
	done()
	if f, ok := faultsOf(err, "Something has to be corrected"); ok {
		page.faults = f
		return v.write(statusOf(err), page.card())
	}
	if err != nil {
		return err
	}
	return v.comeIn(m, Prefix)
}

func (p linkPage) inputs() []look.Input {
	var in []look.Input
	if p.Link.Purpose == behalf.LinkSetUp {
		in = append(in, look.Input{Name: "email", Label: "Email address", Type: "email", Value: p.Email, Required: true, Autocomplete: "username"})
	}
	if p.Link.Purpose != behalf.LinkReset {
		in = append(in, look.Input{Name: "name", Label: "Your name", Value: p.Name, Autocomplete: "name"})
	}
	in = append(in, look.Input{Name: "password", Label: "Password", Type: "password", Required: true, Autocomplete: "new-password",
		Hint: "At least 12 characters. A few words that you remember are good."})
	return p.mark(in)
}

func (p signInPage) inputs() []look.Input {
	return []look.Input{
		{Name: "email", Label: "Email address", Type: "email", Value: p.Email, Required: true, Autocomplete: "username", Focus: p.Title == ""},
		{Name: "password", Label: "Password", Type: "password", Required: true, Autocomplete: "current-password"},
	}
}
