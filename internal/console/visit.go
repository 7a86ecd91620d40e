package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// visit is one request of somebody.
type visit struct {
	*Console
	w         http.ResponseWriter
	r         *http.Request
	member    behalf.Member    // the zero Member where nobody is signed in
	db        store.Scope      // as the member
	assistant behalf.Assistant // whose pages these are; set by inAssistant
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// may reports whether the member's role allows p: what it does not is not
// offered.
func (v *visit) may(p behalf.Permission) bool { return v.member.Actor().May(p, v.assistant.ID) }

// maxForm bounds what a form may send.
const maxForm = 1 << 20

// form returns a field of what was sent.
func (v *visit) form(name string) string { return v.r.PostFormValue(name) }

// password returns a secret field, which is not trimmed.
func (v *visit) password(name string) secret.Text { return secret.New(v.r.PostFormValue(name)) }

// line returns a field of one line without the space around it.
func (v *visit) line(name string) string { return strings.TrimSpace(v.form(name)) }

// inAssistant reads the assistant of the path.
func (v *visit) inAssistant() error {
	a, err := v.db.Assistant(v.ctx(), v.r.PathValue("assistant"))
	if err == nil {
		v.assistant = a
	}
	return err
}

// address returns where the browser is, as far as we can know it.
func (v *visit) address() string {
	ap, err := netip.ParseAddrPort(v.r.RemoteAddr)
	if err != nil {
		return v.r.RemoteAddr
	}
	return ap.Addr().Unmap().WithZone("").String()
}

// to sends the browser to another page of ours.
func (v *visit) to(path ...string) error {
	http.Redirect(v.w, v.r, at(path...), http.StatusSeeOther)
	return nil
}

// at returns the address of a page, by the segments of its path.
func at(path ...string) string {
	for i, p := range path {
		path[i] = url.PathEscape(p)
	}
	return strings.TrimSuffix(Prefix+"/"+strings.Join(path, "/"), "/")
}

// done notes what to say on the next page.
func (v *visit) done(text string) { v.signIns.Put(v.ctx(), keyToast, text) }

// show writes a page inside the console's frame.
func (v *visit) show(status int, title string, content templ.Component) error {
	return v.write(status, v.frame(title, v.signIns.PopString(v.ctx(), keyToast), content))
}

// write writes a whole page, and nothing before it is whole.
func (v *visit) write(status int, page templ.Component) error {
	var b bytes.Buffer
	if err := page.Render(v.ctx(), &b); err != nil {
		return err
	}
	look.Headers(v.w, look.Policy{Form: true, Script: true, Fetch: true})
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // fails only when the reader has gone
	return nil
}

// statusOf is the status of a page that tells an error.
func statusOf(err error) int {
	switch behalf.CodeOf(err) {
	case behalf.CodeInvalid:
		return http.StatusUnprocessableEntity
	case behalf.CodeUnauthenticated:
		return http.StatusUnauthorized
	case behalf.CodeForbidden:
		return http.StatusForbidden
	case behalf.CodeNotFound:
		return http.StatusNotFound
	case behalf.CodeConflict, behalf.CodeAuthorizationRequired, behalf.CodeRefreshInProgress:
		return http.StatusConflict
	case behalf.CodeLimited:
		return http.StatusTooManyRequests
	case behalf.CodeProvider:
		return http.StatusBadGateway
	case behalf.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	if fromConnector(err) {
		return http.StatusBadGateway
	}
	return http.StatusInternalServerError
}

// fromConnector reports whether a connector met the error: it names the side
// that is at fault, and the form can tell it.
func fromConnector(err error) bool {
	return strings.HasPrefix(string(behalf.CodeOf(err)), "connector_")
}

// fail shows an error that no form tells.
func (v *visit) fail(err error) {
	status := statusOf(err)
	if status >= 500 {
		v.log.Error("console", "pattern", v.r.Pattern, "actor", v.member.Actor().String(), "err", err)
	}
	if wait := retryAfter(err); wait > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
	}
	p := problemPage{Status: status, Text: messageOf(err)}
	page := p.card()
	if v.member.ID != "" {
		page = v.frame(p.title(), "", p.content())
	}
	if err := v.write(status, page); err != nil {
		v.log.Error("console", "err", err)
	}
}

func retryAfter(err error) time.Duration {
	if e := (*behalf.Error)(nil); errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// messageOf returns the words of an error that are for anybody.
func messageOf(err error) string {
	if e := (*behalf.Error)(nil); errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return "Something went wrong on our side. It was logged."
}

// faults is what is wrong with a form.
type faults struct {
	Title  string            // empty: nothing is
	Fields map[string]string // by name
	order  []behalf.FieldError
}

// faultsOf returns what an error says about a form, or false where it is not
// about what was sent.
func faultsOf(err error, title string) (faults, bool) {
	e := (*behalf.Error)(nil)
	if !errors.As(err, &e) {
		return faults{}, false
	}
	switch e.Code {
	case behalf.CodeInvalid, behalf.CodeConflict, behalf.CodeUnauthenticated, behalf.CodeLimited, behalf.CodeProvider:
	default:
		if !fromConnector(e) {
			return faults{}, false
		}
	}
	f := faults{Title: title, Fields: map[string]string{}, order: e.Fields}
	if len(f.order) == 0 {
		f.order = []behalf.FieldError{{Field: e.Field, Message: e.Message}}
	}
	for _, o := range f.order {
		if f.Fields[o.Field] == "" {
			f.Fields[o.Field] = o.Message
		}
	}
	return f, true
}

// all returns what is wrong for the summary. The fields of the form have the
// labels given; what is about none of them is told without one.
func (f faults) all(inputs ...look.Input) []look.Wrong {
	labels := map[string]look.Input{}
	for _, in := range inputs {
		labels[in.Name] = in
	}
	var out []look.Wrong
	for _, o := range f.order {
		w := look.Wrong{Text: o.Message}
		if in, ok := labels[o.Field]; ok {
			w.ID, w.Label = in.ID(), in.Label
		} else if o.Field != "" {
			w.Text = o.Field + ": " + o.Message
		}
		out = append(out, w)
	}
	return out
}

// mark puts what is wrong with each input beside it.
func (f faults) mark(inputs []look.Input) []look.Input {
	for i := range inputs {
		inputs[i].Error = f.Fields[inputs[i].Name]
	}
	return inputs
}
