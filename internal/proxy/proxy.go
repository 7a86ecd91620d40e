// Package proxy puts the credential into an assistant's request and sends it
// on.
//
// The rules are:
//
//   - What was ours stays here: the key, Behalf- headers and cookies never
//     reach the application; its Set-Cookie never comes back on our origin.
//   - Fields are set after everything the assistant sent has been cleaned, so
//     that they win.
//   - A credential goes to allowed hosts only, and follows no redirect.
//   - A refused credential is refreshed and the request repeated once, where
//     its body is still at hand.
//   - An answer of ours carries Behalf-Error; one of the application's does not.
package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Config is what a Proxy works with.
type Config struct {
	Broker *broker.Broker
	Egress *egress.Egress
	Now    func() time.Time
	Log    *slog.Logger
	Self   string // our public host: what has come through us already is not sent on again
	// Problem answers with an error of ours.
	Problem func(http.ResponseWriter, *http.Request, error)
	// Offer adds a link to an error of a user who has not connected yet.
	Offer func(*http.Request, store.Scope, behalf.Assistant, broker.Ask, error) error
	// Record keeps the transcript of a call that failed.
	Record func(behalf.Transcript)
}

// Proxy sends calls on. It is safe for concurrent use.
type Proxy struct {
	cfg     Config
	via     string // RFC 9110 §7.6.3: by it we recognise what has come through us already
	recent  recent
	reverse *httputil.ReverseProxy
}

// New returns a Proxy.
func New(cfg Config) *Proxy {
	p := &Proxy{cfg: cfg, via: fmt.Sprintf("1.1 bhf-%.6x", sha256.Sum256([]byte(cfg.Self)))}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      &sender{proxy: p},
		ModifyResponse: clean,
		ErrorHandler:   p.failed,
		BufferPool:     &buffers{},
		ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return p
}

// Request headers by which an assistant says on whose behalf it calls.
const (
	headerUser       = "Behalf-User"
	headerTenant     = "Behalf-Tenant"
	headerConnection = "Behalf-Connection"
	headerVariables  = "Behalf-Variables"
	ourHeaders       = "Behalf-"
	forwarded        = "X-Forwarded-"
)

// Serve sends one request on. The path is escaped, as it came, below the
// profile's part of our own.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, db store.Scope, assistant, profile, path string) {
	c, err := p.call(w, r, db, assistant, profile, path)
	if err != nil {
		p.cfg.Problem(w, r, err)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // from here on it may take as long as the application does
	if c.stream {                            // or net/http throws away what has not been read when the answer begins
		_ = control.EnableFullDuplex()
	}
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
}

// call is one proxied request.
type call struct {
	db      store.Scope
	profile *behalf.Profile
	good    broker.Good
	asked   behalf.Call
	out     behalf.Authorized
	via     string
	body    []byte // at hand for a repetition; nil where it is streamed
	stream  bool   // the body is streamed and can be sent once
}

type callKey struct{}

func (p *Proxy) call(w http.ResponseWriter, r *http.Request, db store.Scope, assistant, profile, path string) (*call, error) {
	switch {
	case r.Method == http.MethodTrace || r.Method == "TRACK": // the answer would be the request, with its credential
		return nil, behalf.Errorf(behalf.CodeForbidden, "Calls of this method are not passed on.")
	case strings.Contains(strings.Join(r.Header.Values("Via"), ","), p.via):
		return nil, behalf.Errorf(behalf.CodeForbidden, "This call has come through Behalf already: the profile's API base URL leads back to it.")
	}
	a, err := db.HeldAssistant(r.Context(), assistant)
	if err != nil {
		return nil, err
	}
	if !a.Calls.Allows(r.Method, path) {
		return nil, behalf.Errorf(behalf.CodeForbidden, "This assistant's policy does not allow calls of this method and path.")
	}
	ask := broker.Ask{Profile: profile, User: r.Header.Get(headerUser), Tenant: r.Header.Get(headerTenant), Connection: behalf.ConnectionID(r.Header.Get(headerConnection))}
	if ask.Variables, err = behalf.DecodeVariables(r.Header.Get(headerVariables)); err != nil {
		return nil, err
	}
	ready, err := p.cfg.Broker.Use(r.Context(), db, a, ask)
	if err != nil {
		return nil, p.cfg.Offer(r, db, *a, ready.Named(ask), err)
	}
	good, err := ready.Good(r.Context())
	if err != nil {
		return nil, err
	}
	c := &call{db: db, via: p.via, profile: ready.Profile, good: good, asked: behalf.Call{Method: r.Method, Path: path, Query: r.URL.RawQuery}}
	if c.out, err = c.profile.Plan.Authorize(good.Values(*c.profile), c.asked, p.cfg.Now); err != nil {
		return nil, err
	}
	if err := good.Inputs.MaySend(c.out.URL.String()); err != nil {
		return nil, p.cfg.Offer(r, db, *a, ask, err)
	}
	if err := c.takeBody(w, r); err != nil {
		return nil, err
	}
	db.Used(good.Connection, store.UseProxy, ask.User)
	return c, nil
}

// kept are the headers of a request that stay here: they are about us, or ask
// the application for another method or path than the policy has seen.
var kept = []string{"Authorization", "Cookie", "Forwarded", "Referer", "Origin", "X-Real-Ip",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"}

// rewrite makes the outgoing request. ReverseProxy has removed hop-by-hop
// headers and those that Connection names already.
func rewrite(pr *httputil.ProxyRequest) {
	c := pr.In.Context().Value(callKey{}).(*call)
	out := pr.Out
	for name := range out.Header {
		if strings.HasPrefix(name, ourHeaders) || strings.HasPrefix(name, forwarded) || slices.Contains(kept, name) {
			delete(out.Header, name)
		}
	}
	out.Header["Via"] = append(out.Header["Via"], c.via)
	out.Trailer = nil // it would come behind the cleaning; RFC 9110 §6.5.1 lets it be dropped
	c.put(out)
}

// put sets the fields of the credential in force on the request.
func (c *call) put(out *http.Request) {
	out.URL, out.Host = c.out.URL, c.out.URL.Host
	for _, f := range c.out.Header {
		out.Header[textproto.CanonicalMIMEHeaderKey(f.Key)] = []string{f.Value}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // the assistant's, or none: not Go's
	}
	if !c.stream {
		c.attach(out)
	}
}

// dropped are the headers of an answer that would act on our origin, on the
// server before us, or in our name.
var dropped = []string{"Set-Cookie", "Set-Cookie2", "Clear-Site-Data", "Strict-Transport-Security", "Public-Key-Pins", "Alt-Svc", "Service-Worker-Allowed", "X-Sendfile", "Behalf-Error"}

// clean removes from an answer what must not act on our origin.
func clean(res *http.Response) error {
	h := res.Header
	for name := range h {
		if slices.Contains(dropped, name) || strings.HasPrefix(name, "X-Accel-") {
			delete(h, name)
		}
	}
	h.Set("Content-Security-Policy", "sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	return nil
}

// failed answers for an application that could not be reached.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the assistant has gone
	}
	c := r.Context().Value(callKey{}).(*call)
	failure := unreached(err, c.out.Secrets)
	p.cfg.Log.Warn("call failed", "connection", c.good.ID, "profile", c.profile.ID, "err", failure)
	p.cfg.Problem(w, r, failure)
}

// unreached says what became of a call. net/http quotes what an application
// sent, which may be our own credential: the log gets it without.
func unreached(err error, secrets []secret.Text) error {
	if e := (*behalf.Error)(nil); errors.As(err, &e) {
		return e
	}
	if route := (*egress.RouteError)(nil); errors.As(err, &route) {
		return &behalf.Error{Code: behalf.ConnectorCode(route.Code), Message: said(route), Err: errors.New(masked(err.Error(), secrets))}
	}
	if blocked := (*egress.BlockedError)(nil); errors.As(err, &blocked) {
		return &behalf.Error{Code: behalf.CodeForbidden, Message: "The application's address may not be reached from here: " + blocked.Reason + ". An operator can allow it.", Err: err}
	}
	return &behalf.Error{Code: behalf.CodeProvider, Message: "The application could not be reached, or it broke off. It is not known whether the call was carried out.", Err: errors.New(masked(err.Error(), secrets))}
}

// said is the sentence of a connector's error, with what is not known where it is not.
func said(e *egress.RouteError) string {
	s := "The call did not go through: " + e.Reason + "."
	if !e.Unsent {
		s += " It is not known whether it was carried out."
	}
	return s
}

func masked(s string, secrets []secret.Text) string {
	for _, t := range secrets {
		if value := t.Reveal(); value != "" {
			s = strings.ReplaceAll(s, value, secret.Mask)
		}
	}
	return s
}

// buffers lends ReverseProxy its copy buffers.
type buffers struct{ pool sync.Pool }

const bufferSize = 64 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
