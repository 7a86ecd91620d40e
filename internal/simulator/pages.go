package simulator

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// page is what every page knows.
type page struct {
	Title     string
	Query     template.URL // of the authorization request, for the forms
	Switch    template.URL // the same, asking for another person
	FormToken string
	Client    *Client
	User      *User
	Scopes    []Scope
	Host      string // where the person will be sent back to
	Username  string
	Password  string
	Practice  bool // the form is filled in
	Problem   string
	Text      string
	Notes     []note
	Apps      []app
}

// app is a connected app on the home page.
type app struct {
	Client *Client
	Scopes []Scope
}

func (s *Simulator) signInPage(w http.ResponseWriter, r *http.Request, a authorization, problem string, status int) {
	p := page{
		Title: "Sign in", Query: query(r), FormToken: s.formToken(w, r), Client: &a.client.Client,
		Problem: problem, Username: a.loginHint,
	}
	if s.cfg.Prefill && len(s.cfg.Users) > 0 && (a.loginHint == "" || a.loginHint == s.cfg.Users[0].Name) {
		p.Practice = true
		p.Username, p.Password = s.cfg.Users[0].Name, s.cfg.Users[0].Password.Reveal()
	}
	if typed := r.PostForm.Get("username"); typed != "" {
		p.Username = typed
	}
	render(w, "sign-in", status, p)
}

func (s *Simulator) consentPage(w http.ResponseWriter, r *http.Request, a authorization, who signedIn) {
	render(w, "consent", http.StatusOK, page{
		Title: "Allow access", Query: query(r), Switch: query(r, "prompt", "login"),
		FormToken: s.formToken(w, r), Client: &a.client.Client,
		User: who.user, Scopes: s.described(a.scope), Host: host(a.redirectURI),
	})
}

// query encodes the request's query anew, with one parameter changed; so encoded
// it cannot leave the attribute that it is put into.
func query(r *http.Request, change ...string) template.URL {
	q := r.URL.Query()
	if len(change) == 2 {
		q.Set(change[0], change[1])
	}
	return template.URL(q.Encode())
}

func (s *Simulator) errorPage(w http.ResponseWriter, _ *http.Request, status int, title, text string) {
	render(w, "error", status, page{Title: title, Text: text})
}

// home shows a signed-in person their notes, and the apps that have access with
// a way to take it back.
func (s *Simulator) home(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "Notes that stay where you put them"}
	if who, in := s.signedIn(r); in {
		p.Title, p.User, p.FormToken = "Your notes", who.user, s.formToken(w, r)
		p.Notes = s.notebook(who.user.Subject).list()
		p.Apps = s.apps(who.user)
	}
	render(w, "home", http.StatusOK, p)
}

func (s *Simulator) apps(u *User) []app {
	scopes := map[*client]scopeSet{}
	var order []*client
	for _, g := range s.grantsOf(u.Name) {
		g.mu.Lock()
		alive := !g.revoked
		g.mu.Unlock()
		if !alive {
			continue
		}
		if scopes[g.client] == 0 {
			order = append(order, g.client)
		}
		scopes[g.client] |= g.scope
	}
	var out []app
	for _, c := range order {
		out = append(out, app{&c.Client, s.described(scopes[c])})
	}
	return out
}

// described are the scopes that people are shown.
func (s *Simulator) described(set scopeSet) []Scope {
	var out []Scope
	for i, sc := range s.cfg.Scopes {
		if set&(1<<i) != 0 && sc.Description != "" {
			out = append(out, sc)
		}
	}
	return out
}

// Initials are one or two letters that stand for the person.
func (u *User) Initials() string { return initials(u.FullName, u.Name) }

// Initials are one or two letters that stand for the app.
func (c *Client) Initials() string { return initials(c.Name, c.ID) }

func initials(names ...string) string {
	for _, name := range names {
		words := strings.Fields(name)
		if len(words) == 0 {
			continue
		}
		out := string([]rune(words[0])[:1])
		if len(words) > 1 {
			out += string([]rune(words[len(words)-1])[:1])
		}
		return strings.ToUpper(out)
	}
	return "?"
}

func host(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return uri
	}
	return u.Host
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// render writes a page that runs nothing, loads only our own style and picture,
// and is framed by nobody. There is no form-action: browsers apply it to the
// redirect that follows a form, and ours leads to the client.
func render(w http.ResponseWriter, name string, status int, p page) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, p); err != nil {
		http.Error(w, "the simulator could not draw this page", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	write(w, status, "text/html; charset=utf-8", b.Bytes())
}

func asset(path, contentType string) http.HandlerFunc {
	body, err := files.ReadFile(path)
	if err != nil {
		panic(err) // embedded above
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		write(w, http.StatusOK, contentType, body)
	}
}
