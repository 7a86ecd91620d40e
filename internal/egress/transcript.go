package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/behalf-dev/behalf/internal/secret"
)

// Transcript is what went out and came back, for a person to read. Its secrets
// were masked before it was written; there is no other copy.
type Transcript struct{ Exchanges []Exchange }

// Exchange is one call.
type Exchange struct {
	StartedAt time.Time
	Took      time.Duration
	Request   Request
	Response  Response // zero where there was none
	Error     string   // why there is no whole answer; "" where there is one
}

// Request is a request with its secrets masked.
type Request struct {
	Method    string
	URL       string
	Header    http.Header
	Body      string // or its type and size in brackets, where it is not text
	Truncated bool   // whether Body is cut after 64 KiB
}

// Response is an answer with its secrets masked.
type Response struct {
	Status    int
	Header    http.Header
	Body      string // as that of Request
	Truncated bool
}

// maxCopy is how much of a body a transcript keeps, in bytes.
const maxCopy = 64 << 10

// maxRead is how much of a request's body is looked at, in bytes.
const maxRead = 1 << 20

// Recorder writes a Transcript. The zero Recorder is ready; it is safe for
// concurrent use once Secrets is set.
type Recorder struct {
	// Secrets are masked wherever they appear, in any encoding, in addition to
	// what is masked by its name and what a request carries (secret.Carrying). Secrets of fewer than 4 bytes are masked by name only.
	Secrets []secret.Text

	mu        sync.Mutex
	pending   []func(m *masker) Exchange // calls that are over, as they were
	carried   []secret.Text              // what requests carried (secret.Carrying)
	learned   []secret.Text              // what was masked by its name, and must be from then on wherever it appears
	exchanges []Exchange
}

type recorderKey struct{}

// WithRecorder returns a context in which the calls of a Client are recorded.
func WithRecorder(ctx context.Context, r *Recorder) context.Context {
	return context.WithValue(ctx, recorderKey{}, r)
}

func recorder(ctx context.Context) *Recorder {
	r, _ := ctx.Value(recorderKey{}).(*Recorder)
	return r
}

// Transcript returns the calls that are over, in the order in which they ended.
func (r *Recorder) Transcript() Transcript {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write()
	return Transcript{Exchanges: slices.Clone(r.exchanges)}
}

// Seen returns a request that a browser made for us, masked like those that
// were sent from here: what it shows by name as secret is masked in them too.
func (r *Recorder) Seen(method string, u *url.URL) Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write()
	m := newMasker(slices.Concat(r.Secrets, r.carried), r.learned)
	_ = m.url(u)
	x := Request{Method: method, URL: m.url(u)}
	r.learned = m.learned
	return x
}

// record keeps a call as it is now: http.Client goes on changing both its
// request and its answer, while another goroutine may read the transcript.
func (r *Recorder) record(req *http.Request, resp *http.Response, err error, began, ended time.Time) {
	u, carried := *req.URL, secret.Carried(req.Context())
	req = &http.Request{Method: req.Method, URL: &u, Header: req.Header.Clone(), Body: req.Body, GetBody: req.GetBody}
	if resp != nil {
		resp = &http.Response{StatusCode: resp.StatusCode, Header: resp.Header.Clone(), Body: resp.Body}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carried = append(r.carried, carried...)
	r.pending = append(r.pending, func(m *masker) Exchange {
		x := m.exchange(req, resp, err)
		x.StartedAt, x.Took = began, ended.Sub(began)
		return x
	})
}

// write masks what has been recorded, not before somebody wants it: a token that
// was just issued is kept first. Once to learn what is secret by its name, once
// to mask it wherever it is: an answer may repeat what a later member of it
// calls a token.
func (r *Recorder) write() {
	for _, exchange := range r.pending {
		m := newMasker(slices.Concat(r.Secrets, r.carried), r.learned)
		_ = exchange(m)
		r.exchanges = append(r.exchanges, exchange(m))
		r.learned = m.learned
	}
	r.pending = nil
}

// Add records a call that was made elsewhere, with what of its bodies is at
// hand. Either body may end within a secret.
func (r *Recorder) Add(req *http.Request, sent []byte, resp *http.Response, got []byte, err error, began, ended time.Time) {
	req = &http.Request{Method: req.Method, URL: req.URL, Header: req.Header}
	if len(sent) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(sent))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(sent)), nil }
	}
	if resp != nil {
		resp = &http.Response{StatusCode: resp.StatusCode, Header: resp.Header, Body: &body{Reader: bytes.NewReader(got), all: got, cut: true}}
	}
	r.record(req, resp, err, began, ended)
}

func (m *masker) exchange(req *http.Request, resp *http.Response, err error) Exchange {
	var x Exchange
	x.Request.Method = m.text(req.Method)
	x.Request.URL = m.url(req.URL)
	x.Request.Header = m.header(req.Header)
	x.Request.Body, x.Request.Truncated = m.requestBody(req)
	if err != nil {
		x.Error = m.text(safe(err))
	}
	if resp == nil {
		return x
	}
	x.Response.Status = resp.StatusCode
	x.Response.Header = m.header(resp.Header)
	if b, ok := resp.Body.(*body); ok {
		x.Response.Body, x.Response.Truncated = m.body(resp.Header.Get("Content-Type"), b.all, b.err != nil || b.cut)
		if b.err != nil {
			x.Error = m.text(safe(b.err))
		}
	}
	return x
}

// safe returns the text of our own errors, and nothing of anybody else's.
func safe(err error) string {
	var call *CallError
	var large *TooLargeError
	switch {
	case errors.As(err, &call):
		return call.Error()
	case errors.As(err, &large):
		return large.Error()
	}
	return "failed"
}

func (m *masker) url(u *url.URL) string {
	shown := *u
	shown.User = nil
	shown.Fragment, shown.RawFragment = "", "" // is not sent
	text := m.text(shown.String())
	if u.User != nil {
		text = strings.Replace(text, "://", "://"+secret.Mask+"@", 1)
	}
	return text
}

// requestBody copies a body that can be read twice; another one is not worth
// holding up a request for.
func (m *masker) requestBody(r *http.Request) (string, bool) {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return "", false
	case r.GetBody == nil:
		return "[a stream]", false
	}
	again, err := r.GetBody()
	if err != nil {
		return "[a stream]", false
	}
	defer func() { _ = again.Close() }()
	b, _ := io.ReadAll(io.LimitReader(again, maxRead))
	return m.body(r.Header.Get("Content-Type"), b, len(b) == maxRead)
}

// body masks first and cuts afterwards, so that no secret is cut in two. A body
// that did not come whole may end within a secret.
func (m *masker) body(contentType string, b []byte, incomplete bool) (string, bool) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "" // a type that cannot be read says nothing
	}
	if len(b) == 0 {
		return "", false
	}
	if !readable(kind, b) {
		return m.text(strings.TrimSpace(fmt.Sprintf("[%d bytes %s", len(b), kind)) + "]"), false
	}
	masked := string(b)
	if kind == "application/x-www-form-urlencoded" {
		masked = m.form(masked)
	} else {
		masked = m.names(masked, 0)
	}
	masked = m.values(masked, incomplete)
	if len(masked) <= maxCopy {
		return masked, false
	}
	return strings.ToValidUTF8(masked[:maxCopy], ""), true
}

// readable reports whether a body is one that masking understands: what it does
// not understand may hold a secret in a form of its own.
func readable(kind string, b []byte) bool {
	if !utf8.Valid(b) || strings.ContainsRune(string(b), 0) {
		return false
	}
	switch kind {
	case "", "application/json", "application/x-www-form-urlencoded", "application/javascript":
		return true
	case "text/xml":
		return false
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json")
}
