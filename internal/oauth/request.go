package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// reply is a server's whole answer, and what must not be repeated of it.
type reply struct {
	op      Op
	status  int
	header  http.Header
	body    []byte
	now     time.Time
	secrets []secret.Text
}

func (r reply) success() bool { return r.status >= 200 && r.status < 300 }

func (r reply) fail(kind Kind, reason string) *Error {
	return &Error{Op: r.op, Kind: kind, Reason: reason, Status: r.status,
		RetryAfter: retryAfter(r.header, r.now), Written: true}
}

// refused is the error of a reply that is not a success; doc may be nil.
func (c Config) refused(r reply, doc document) *Error {
	w := c.Reply.words(doc)
	e := r.fail(c.kind(r.status, r.header, w.code), "the provider answered with an error")
	e.say(w, r.secrets...)
	return e
}

// post sends params with the client's authentication.
func (c Client) post(ctx context.Context, op Op, endpoint string, params []Param, secrets ...secret.Text) (reply, error) {
	credentials := ""
	switch or(c.ClientAuth, Basic) {
	case Basic:
		credentials = c.basicCredentials()
		secrets = append(secrets, secret.New(credentials)) // masked in base64 too
	case Post:
		params = append(params, Param{"client_id", c.ClientID}, Param{"client_secret", c.ClientSecret.Reveal()})
	case None:
		params = append(params, Param{"client_id", c.ClientID}) // RFC 6749 §4.1.3
	default:
		return reply{}, unsent(op, "the client authentication method is not known")
	}
	body, contentType := encodeForm(params), "application/x-www-form-urlencoded"
	if c.TokenBody == JSON {
		body, contentType = encodeJSON(params), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" {
		return reply{}, unsent(op, "the endpoint is not an absolute URL")
	}
	req.Header.Set("Content-Type", contentType)
	if user, password, ok := strings.Cut(credentials, ":"); ok {
		req.SetBasicAuth(user, password)
	}
	return c.send(op, req, secrets...)
}

func unsent(op Op, reason string) *Error {
	return &Error{Op: op, Kind: ClientFault, Reason: reason}
}

// basicCredentials are form-encoded each before they are joined (RFC 6749
// §2.3.1), which also keeps a colon in the id from moving the boundary.
func (c Config) basicCredentials() string {
	if c.BasicRaw {
		return c.ClientID + ":" + c.ClientSecret.Reveal()
	}
	return url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.ClientSecret.Reveal())
}

func encodeForm(params []Param) []byte {
	pairs := make([]string, len(params))
	for i, p := range params {
		pairs[i] = url.QueryEscape(p.Name) + "=" + url.QueryEscape(p.Value)
	}
	return []byte(strings.Join(pairs, "&"))
}

// encodeJSON makes an array of a name that repeats.
func encodeJSON(params []Param) []byte {
	object := map[string]any{}
	for _, p := range params {
		switch v := object[p.Name].(type) {
		case nil:
			object[p.Name] = p.Value
		case string:
			object[p.Name] = []string{v, p.Value}
		case []string:
			object[p.Name] = append(v, p.Value)
		}
	}
	b, _ := json.Marshal(object) // strings always encode
	return b
}

func (c Config) secrets(more ...secret.Text) []secret.Text {
	return slices.Concat(more, c.Secrets, []secret.Text{c.ClientSecret})
}

// send makes one request and reads the whole reply. Redirects are answers, not
// followed: a 307 would hand the credentials on (RFC 9700 §4.12).
func (c Client) send(op Op, req *http.Request, secrets ...secret.Text) (reply, error) {
	req.Header.Set("Accept", "application/json") // some servers answer with a form otherwise
	var progress progress
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), progress.trace()))
	once := *c.HTTP
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	now := c.Now()
	if err := req.Context().Err(); err != nil {
		return reply{}, unanswered(op, err, false)
	}
	res, err := once.Do(req)
	if err != nil {
		return reply{}, unanswered(op, err, progress.written(err))
	}
	defer func() { _ = res.Body.Close() }()
	r := reply{op: op, status: res.StatusCode, header: res.Header, now: now, secrets: c.secrets(secrets...)}
	r.body, err = io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	switch {
	case err != nil:
		e := r.fail(Ambiguous, "the reply broke off")
		e.Err = withoutURL(err)
		return reply{}, e
	case len(r.body) > maxReply:
		return reply{}, r.fail(Ambiguous, "the reply is too long")
	}
	return r, nil
}

// progress learns how far a request got.
type progress struct{ asked, connected atomic.Bool }

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { p.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.connected.Store(true) },
	}
}

// written reports whether the server may have seen the request that failed: the
// client knows best; else it was surely not seen if a connection (dialled, with
// its TLS) was wanted and never had; else it counts as seen.
func (p *progress) written(err error) bool {
	var knows interface{ RequestWritten() bool }
	if errors.As(err, &knows) {
		return knows.RequestWritten()
	}
	return p.connected.Load() || !p.asked.Load()
}

func unanswered(op Op, err error, written bool) *Error {
	e := &Error{Op: op, Kind: Transient, Reason: "no connection", Written: written, Err: withoutURL(err)}
	var timeout net.Error
	switch late := errors.As(err, &timeout) && timeout.Timeout(); {
	case written && late:
		e.Kind, e.Reason = Ambiguous, "no answer in time"
	case written:
		e.Kind, e.Reason = Ambiguous, "the connection ended without an answer"
	case late:
		e.Reason = "no connection in time"
	}
	return e
}

// withoutURL takes off the layer that quotes the URL, whose query may be secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
