package connect

import (
	"bytes"
	"embed"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
)

// This file is what the person sees. The rules are:
//
//   - Every page says what happened, why, and what to do now, to a person who
//     knows neither OAuth nor us. What an administrator needs stands apart.
//   - All words are in messages/, one file for each language; a name that came
//     from elsewhere is set apart from them and cannot rearrange them.
//   - What was typed as a password never goes back to the browser.
//   - No 5xx but for our own fault: what stands before us may replace its body,
//     and with it the explanation.

//go:embed messages/*.json
var messages embed.FS

var words = look.MustWords(messages, "messages/*.json")

// askPage asks whether to connect, and for what the profile needs to know.
type askPage struct {
	Assistant, Provider, Person string
	Action                      string // where the form is posted to
	Inputs                      []input
	Problem                     string // what is wrong with the whole; each input has its own Error
	Scopes                      []string
	ExpiresIn                   string // as "14 minutes"; empty: not said
	Way                         way
	Shared                      bool // it is for all users of the assistant
	Brand                       look.Brand
}

// input is one field of the form.
type input struct {
	Name, Label, Hint, Value, Error string
	Password                        bool // its Value is never shown
	Required, ReadOnly              bool
	Data                            behalf.DataType
	Options                         []behalf.Option // what can be chosen; none: anything
}

// goPage sends the browser on. It is a page and not a redirect because Chromium
// stops a form whose answer redirects to another origin (look.Headers).
type goPage struct {
	Provider string // whose page it is
	URL      string // absolute, http or https
	Brand    look.Brand
}

// outcomePage says how it ended, or why it cannot go on.
type outcomePage struct {
	Kind                                 outcomeKind
	Assistant, Provider, Person, Account string // as far as known
	Detail, Fix                          string // of a failure, for whoever looks after the assistant
	ReturnURL                            string // of the assistant
	Brand                                look.Brand
}

// fragmentPage posts the fragment of its own address to Action, as the form
// field "fragment".
type fragmentPage struct{ Action string }

// outcomeKind is also the name of its messages.
type outcomeKind string

const (
	connected     outcomeKind = "connected"
	declined      outcomeKind = "declined"
	expired       outcomeKind = "expired"
	failed        outcomeKind = "failed"
	wrongAccount  outcomeKind = "wrong_account"
	used          outcomeKind = "used"           // the link's session has already connected
	otherBrowser  outcomeKind = "other_browser"  // not the one that pressed Continue
	unknown       outcomeKind = "unknown"        // a link or a callback that belongs to no open session
	busy          outcomeKind = "busy"           // another request works on it
	finishPending outcomeKind = "finish_pending" // the assistant has not confirmed yet
	unavailable   outcomeKind = "unavailable"    // our own fault, for now
	tested        outcomeKind = "tested"         // a trial that passed
	testFailed    outcomeKind = "test_failed"    // and one that did not
)

// outcomeLook is how an outcome appears: to HTTP and to the eye.
type outcomeLook struct {
	status int
	icon   string
	tone   string // a class of look.css
	reload bool   // the same address may say something else soon
}

var outcomeLooks = map[outcomeKind]outcomeLook{
	connected:     {http.StatusOK, "check", "good", false},
	declined:      {http.StatusOK, "no", "", false},
	expired:       {http.StatusGone, "clock", "", false},
	failed:        {http.StatusUnprocessableEntity, "alert", "bad", false},
	wrongAccount:  {http.StatusConflict, "people", "warn", false},
	used:          {http.StatusGone, "link", "", false},
	otherBrowser:  {http.StatusForbidden, "window", "warn", false},
	unknown:       {http.StatusNotFound, "question", "", false},
	busy:          {http.StatusConflict, "wait", "", true},
	finishPending: {http.StatusOK, "wait", "", false},
	unavailable:   {http.StatusServiceUnavailable, "cloud", "warn", true},
	tested:        {http.StatusOK, "check", "good", false},
	testFailed:    {http.StatusUnprocessableEntity, "alert", "bad", false},
}

// spoken returns the language of a page: the session's, else the browser's.
func spoken(r *http.Request, locale string) look.Language {
	return words.For(locale, r.Header.Get("Accept-Language"))
}

func renderAsk(w http.ResponseWriter, r *http.Request, p askPage, status int, locale string) {
	writePage(w, r, status, look.Policy{Form: true}, p.page(spoken(r, locale)))
}

func renderGo(w http.ResponseWriter, r *http.Request, p goPage, locale string) {
	writePage(w, r, http.StatusOK, look.Policy{}, p.page(spoken(r, locale)))
}

func renderOutcome(w http.ResponseWriter, r *http.Request, p outcomePage, locale string) {
	writePage(w, r, outcomeLooks[p.Kind].status, look.Policy{}, p.page(spoken(r, locale)))
}

// Unknown writes the page of a link that belongs to nothing.
func Unknown(w http.ResponseWriter, r *http.Request) {
	renderOutcome(w, r, outcomePage{Kind: unknown}, "")
}

func renderFragment(w http.ResponseWriter, r *http.Request, p fragmentPage, locale string) {
	writePage(w, r, http.StatusOK, look.Policy{Form: true, Script: true}, p.page(spoken(r, locale)))
}

// writePage writes nothing before the page is whole.
func writePage(w http.ResponseWriter, r *http.Request, status int, policy look.Policy, page templ.Component) {
	var b bytes.Buffer
	if err := page.Render(r.Context(), &b); err != nil {
		return // only when the reader has gone: a component of ours cannot fail
	}
	look.Headers(w, policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

func (p askPage) values(l look.Language) look.Values {
	v := names(l, p.Assistant, p.Provider, p.Person)
	v["time"], v["count"] = p.ExpiresIn, strconv.Itoa(len(p.Scopes))
	return v
}

// manyScopes are folded away.
const manyScopes = 4

// wrong reports whether anything has to be corrected.
func (p askPage) wrong() bool {
	for _, in := range p.Inputs {
		if in.Error != "" {
			return true
		}
	}
	return p.Problem != ""
}

// who returns the id of the message that says for whom it is.
func (p askPage) who() string {
	if p.Shared {
		return "ask.who.all"
	}
	return "ask.who"
}

// proceed returns the id of the main button's label.
func (p askPage) proceed() string {
	if p.Way.leaves() {
		return "ask.continue"
	}
	return "ask.connect"
}

func (p askPage) title() string {
	if p.wrong() {
		return "ask.title.problem" // the first that a screen reader says
	}
	return "ask.title"
}

// inputID returns the id of the i-th input: names come from profiles, and an id
// takes no space.
func inputID(i int) string { return "input-" + strconv.Itoa(i) }

// describedBy returns the ids of what belongs to the i-th input.
func (in input) describedBy(i int) string {
	var ids []string
	if in.Hint != "" {
		ids = append(ids, inputID(i)+"-hint")
	}
	if in.Error != "" {
		ids = append(ids, inputID(i)+"-error")
	}
	return strings.Join(ids, " ")
}

// attributes returns what an input has only sometimes.
func (in input) attributes(i int) templ.Attributes {
	describedBy := in.describedBy(i)
	return templ.Attributes{
		"aria-describedby": templ.KV(describedBy, describedBy != ""),
		"aria-invalid":     templ.KV("true", in.Error != ""),
		"required":         in.Required,
		"readonly":         in.ReadOnly,
		"inputmode":        templ.KV(keyboards[in.Data], keyboards[in.Data] != ""),
	}
}

func (p goPage) values(l look.Language) look.Values {
	v := names(l, "", p.Provider, "")
	v["host"] = v["provider"]
	if u, err := url.Parse(p.URL); err == nil && u.Host != "" {
		v["host"] = u.Host
	}
	return v
}

func (p outcomePage) values(l look.Language) look.Values {
	v := names(l, p.Assistant, p.Provider, p.Person)
	v["account"] = p.Account
	return v
}

// text returns the id of what happened.
func (p outcomePage) text() string {
	if p.Kind == wrongAccount && p.Account != "" {
		return "wrong_account.text.account"
	}
	return string(p.Kind) + ".text"
}

// fix returns the id of what the person can do.
func (p outcomePage) fix() string {
	if p.Kind == failed && !p.detailed() {
		return "failed.fix.plain"
	}
	return string(p.Kind) + ".fix"
}

// detailed reports whether an administrator has something to read. A session
// that ended without fault has a Detail too, but the person knows it already.
func (p outcomePage) detailed() bool {
	return (p.Kind == failed || p.Kind == testFailed) && (p.Detail != "" || p.Fix != "")
}

// fact is a row of what has been connected; its label is a message.
type fact struct{ label, value string }

func (p outcomePage) facts() []fact {
	if p.Kind != connected {
		return nil
	}
	var known []fact
	for _, f := range []fact{
		{"outcome.application", p.Provider}, {"outcome.account", p.Account},
		{"outcome.assistant", p.Assistant}, {"outcome.person", p.Person},
	} {
		if f.value != "" {
			known = append(known, f)
		}
	}
	return known
}

// names returns the names that the messages use; who has none is called what
// they are.
func names(l look.Language, assistant, provider, person string) look.Values {
	v := look.Values{"assistant": assistant, "provider": provider, "person": person}
	for key, name := range v {
		if strings.TrimSpace(name) == "" {
			v[key] = l.Text(key, nil)
		}
	}
	return v
}
