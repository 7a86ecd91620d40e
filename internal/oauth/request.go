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
	"strconv"
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
func (paths ReplyPaths) refused(r reply, doc any) *Error {
	w := paths.words(doc)
	e := r.fail(kind(r.status, r.header, w.code), "the provider answered with an error")
	if paths.RetryAfter != "" {
		e.RetryAfter = paths.retry(r, doc)
	}
	e.say(w, r.secrets...)
	return e
}

// retry reads when a server of its own manner wants to be asked again.
func (paths ReplyPaths) retry(r reply, doc any) time.Duration {
	value := r.header.Get(paths.RetryAfter)
	if strings.HasPrefix(paths.RetryAfter, "/") {
		value = text(at(doc, paths.RetryAfter))
	}
	when, told := moment(value, paths.RetryFormat, paths.RetryUnit, r.now)
	if !told {
		return retryAfter(r.header, r.now)
	}
	return min(when.Sub(r.now), maxRetryAfter)
}

// judge returns nil for a success, by the shape's rules where it has some. doc
// is what was read of the body, nil if nothing.
func (s Shape) judge(r reply, doc any) error {
	a := &Answer{Status: r.status, Header: r.header, Body: r.body}
	if len(s.Success) > 0 && s.succeeds(a, r.success()) {
		return nil
	}
	for _, rule := range s.Errors {
		if rule.Holds(a) {
			e := s.Reply.refused(r, doc)
			e.Kind = rule.Kind
			return e
		}
	}
	if len(s.Success) > 0 || !r.success() || s.Reply.failed(doc) {
		return s.Reply.refused(r, doc)
	}
	return nil
}

// succeeds reports whether all rules hold. A status other than 2xx is a success
// only where a rule says so.
func (s Shape) succeeds(a *Answer, usual bool) bool {
	for _, rule := range s.Success {
		if !rule.Holds(a) {
			return false
		}
		usual = usual || rule.Status != 0
	}
	return usual
}

// call is one request, before it is made.
type call struct {
	op      Op
	url     string
	shape   Shape
	body    TokenBody
	params  []Param // of the RFC, filled
	extra   []Param // of the profile
	facts   Facts
	secrets []secret.Text
	anyone  bool // the client does not prove itself unless the shape says how
}

// make sends a call.
func (c Client) make(ctx context.Context, a call) (reply, error) {
	facts := c.known().with(a.facts)
	secrets := append(slices.Clone(a.secrets), a.facts.secrets()...)
	credentials, params, err := c.prove(a, facts)
	if err != nil {
		return reply{}, err
	}
	if !credentials.Empty() {
		secrets = append(secrets, credentials) // masked in base64 too
	}
	extra, hidden, err := fill(a.extra, facts.Lookup)
	if err != nil {
		return reply{}, unfilled(a.op, err)
	}
	secrets = append(secrets, hidden...)
	req, hidden, err := c.request(ctx, a, a.shape.merge(params, extra, a.anyone), facts)
	if err != nil {
		return reply{}, err
	}
	secrets = append(secrets, hidden...)
	switch user, password, ok := strings.Cut(credentials.Reveal(), ":"); {
	case a.shape.Auth == Bearer:
		req.Header.Set("Authorization", "Bearer "+facts["accessToken"].Text)
	case ok:
		req.SetBasicAuth(user, password)
	}
	return c.send(a.op, req, secrets...)
}

// known are the facts that every request has.
func (c Config) known() Facts {
	now := c.Now()
	return Facts{
		"clientSecret":  {Text: c.ClientSecret.Reveal(), Secret: true},
		"redirectUri":   {Text: c.redirectURI()},
		"requestTime":   {Text: strconv.FormatInt(now.Unix(), 10)},
		"requestTimeMs": {Text: strconv.FormatInt(now.UnixMilli(), 10)},
	}
}

// prove returns what authenticates the client: credentials of the Basic scheme,
// or parameters.
func (c Config) prove(a call, facts Facts) (basic secret.Text, params []Param, err error) {
	auth := a.shape.Auth
	if auth == "" && !a.anyone {
		auth = or(c.ClientAuth, Basic)
	}
	params = slices.Clone(a.params)
	switch auth {
	case "":
	case Basic:
		basic = secret.New(c.basicCredentials())
	case BasicSecret:
		basic = secret.New(c.basicSecret() + ":")
	case Post:
		params = append(params, Param{Name: "client_id", Value: c.ClientID}, Param{Name: "client_secret", Value: c.ClientSecret.Reveal()})
	case None:
		params = append(params, Param{Name: "client_id", Value: c.ClientID}) // RFC 6749 §4.1.3
	case Bearer:
		if facts["accessToken"].Text == "" {
			return basic, nil, unsent(a.op, "there is no access token to send")
		}
	default:
		return basic, nil, unsent(a.op, "the client authentication method is not known")
	}
	return basic, params, nil
}

// merge puts the profile's parameters to the standard ones: one of the same
// name replaces it, except what the request itself proves. Then come the names
// that the server has for them. A request of the profile's own (free) proves
// only what it has.
func (s Shape) merge(params, extra []Param, free bool) []Param {
	params = slices.DeleteFunc(params, func(p Param) bool { return slices.Contains(s.Omit, p.Name) })
	standard := slices.Clone(params)
	fixed := func(name string) bool {
		return credential(name) && !slices.Contains(s.Omit, name) && (!free || has(standard, name))
	}
	params = slices.DeleteFunc(params, func(p Param) bool { return has(extra, p.Name) && !fixed(p.Name) })
	// What proves the request stays last, where it cannot be taken for a default.
	at := slices.IndexFunc(params, func(p Param) bool { return credential(p.Name) })
	if at < 0 {
		at = len(params)
	}
	for i, p := range params {
		if name, ok := s.Rename[p.Name]; ok {
			params[i].Name = name
		}
	}
	var more []Param
	for _, p := range extra {
		if p.Value != "" && !fixed(p.Name) {
			more = append(more, p)
		}
	}
	return slices.Insert(params, at, more...)
}

// request makes the HTTP request. Headers are filled last: they may sign the body.
func (c Client) request(ctx context.Context, a call, params []Param, facts Facts) (req *http.Request, secrets []secret.Text, err error) {
	method := or(a.shape.Method, http.MethodPost)
	format := a.body
	if format == "" && (method == http.MethodGet || method == http.MethodHead) {
		format = QueryBody
	}
	target, body, contentType := a.url, []byte(nil), ""
	switch or(format, Form) {
	case Form:
		body, contentType = encodeForm(params), "application/x-www-form-urlencoded"
	case JSON:
		body, contentType = encodeJSON(params), "application/json"
	case QueryBody:
		target = withQuery(target, params)
	case NoBody:
	default:
		return nil, nil, unsent(a.op, "the format of the body is not known")
	}
	req, err = http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" {
		return nil, nil, unsent(a.op, "the endpoint is not an absolute URL")
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	facts = facts.with(Facts{"requestBody": {Text: string(body), Secret: true}})
	headers, secrets, err := fill(a.shape.Headers, facts.Lookup)
	if err != nil {
		return nil, nil, unfilled(a.op, err)
	}
	for _, h := range headers {
		if h.Value != "" {
			req.Header.Set(h.Name, h.Value)
		}
	}
	return req, secrets, nil
}

// withQuery puts parameters behind those that a URL has.
func withQuery(target string, params []Param) string {
	if len(params) == 0 {
		return target
	}
	join := "?"
	if strings.Contains(target, "?") {
		join = "&"
	}
	return target + join + string(encodeForm(params))
}

// endpoint returns a URL of the Config, filled now if it could not be before.
func (c Config) endpoint(op Op, name, known string, facts Facts) (Fact, error) {
	late, ok := c.Late[name]
	if !ok || known != "" {
		return Fact{Text: known}, nil
	}
	v, err := late(c.known().with(facts).Lookup)
	if err != nil {
		return Fact{}, unfilled(op, err)
	}
	return v, nil
}

// unfilled is a request whose placeholders have no value: it was not sent.
func unfilled(op Op, err error) *Error {
	return &Error{Op: op, Kind: ClientFault, Reason: "a part of the request could not be filled", Err: err}
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

// basicSecret is the secret as the user of Basic, which ends at the first colon.
func (c Config) basicSecret() string {
	if c.BasicRaw {
		return c.ClientSecret.Reveal()
	}
	return url.QueryEscape(c.ClientSecret.Reveal())
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
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json") // some servers answer with a form otherwise
	}
	var progress progress
	req = req.WithContext(httptrace.WithClientTrace(secret.Carrying(req.Context(), secrets), progress.trace()))
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
