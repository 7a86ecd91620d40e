package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// Problem is an error on the wire (RFC 9457). It never holds a value that was
// sent, only the name of its field.
type Problem struct {
	Type        string         `json:"type" doc:"A URI that identifies the code."`
	Title       string         `json:"title"`
	Status      int            `json:"status"`
	Code        string         `json:"code" doc:"Stable: invalid, unauthenticated, forbidden, not_found, conflict, authorization_required, refresh_in_progress, provider, limited or unavailable; or one that begins with connector_ and names the side of a connector that failed."`
	Detail      string         `json:"detail,omitempty" doc:"What happened, why, and what to do."`
	Field       string         `json:"field,omitempty" doc:"The first field that is wrong."`
	Errors      []ProblemField `json:"errors,omitempty" doc:"All fields that are wrong."`
	ConnectURL  string         `json:"connect_url,omitempty" doc:"With authorization_required: show this link to the end user."`
	Connections []string       `json:"connections,omitempty" doc:"With conflict: the connections that match."`

	retryAfter time.Duration
}

// ProblemField is one field that is wrong.
type ProblemField struct {
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string             { return p.Code + ": " + p.Detail }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders returns the headers of the answer.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	p.headers(h)
	return h
}

func (p *Problem) headers(h http.Header) {
	h.Set("Behalf-Error", p.Code)
	h.Set("Cache-Control", "no-store")
	if p.Code == string(behalf.CodeUnauthenticated) {
		h.Set("WWW-Authenticate", `Bearer realm="behalf"`)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
}

var statuses = map[behalf.Code]int{
	behalf.CodeInvalid:               http.StatusUnprocessableEntity,
	behalf.CodeUnauthenticated:       http.StatusUnauthorized,
	behalf.CodeForbidden:             http.StatusForbidden,
	behalf.CodeNotFound:              http.StatusNotFound,
	behalf.CodeConflict:              http.StatusConflict,
	behalf.CodeAuthorizationRequired: http.StatusConflict,
	behalf.CodeRefreshInProgress:     http.StatusServiceUnavailable,
	behalf.CodeProvider:              http.StatusBadGateway,
	behalf.CodeLimited:               http.StatusTooManyRequests,
	behalf.CodeUnavailable:           http.StatusServiceUnavailable,
	behalf.CodeConnectorNotConnected: http.StatusServiceUnavailable,
	behalf.CodeConnectorLimited:      http.StatusServiceUnavailable,
	behalf.CodeConnectorLost:         http.StatusBadGateway,
	behalf.CodeConnectorNotAllowed:   http.StatusBadGateway,
	behalf.CodeConnectorNotResolved:  http.StatusBadGateway,
	behalf.CodeConnectorRefused:      http.StatusBadGateway,
	behalf.CodeConnectorUnreachable:  http.StatusBadGateway,
	behalf.CodeConnectorTLS:          http.StatusBadGateway,
}

var titles = map[behalf.Code]string{
	behalf.CodeInvalid:               "The request is not valid",
	behalf.CodeUnauthenticated:       "A valid key is needed",
	behalf.CodeForbidden:             "This key may not do that",
	behalf.CodeNotFound:              "Not found",
	behalf.CodeConflict:              "Not possible in this state",
	behalf.CodeAuthorizationRequired: "The end user must authorize first",
	behalf.CodeRefreshInProgress:     "A refresh is under way",
	behalf.CodeProvider:              "The provider failed or refused",
	behalf.CodeLimited:               "Too many requests",
	behalf.CodeUnavailable:           "Not available right now",
	behalf.CodeConnectorNotConnected: "The connector is not connected",
	behalf.CodeConnectorLimited:      "The connector has no room",
	behalf.CodeConnectorLost:         "The tunnel broke",
	behalf.CodeConnectorNotAllowed:   "The connector does not allow it",
	behalf.CodeConnectorNotResolved:  "The name is not known inside",
	behalf.CodeConnectorRefused:      "The connection was refused inside",
	behalf.CodeConnectorUnreachable:  "The application is not reached inside",
	behalf.CodeConnectorTLS:          "The application's certificate is not trusted inside",
}

// problemOf maps an error to the wire: here and nowhere else. What is no Error
// of ours is a fault of ours; its text stays inside.
func problemOf(err error) *Problem {
	e := (*behalf.Error)(nil)
	switch {
	case errors.As(err, &e):
	case errors.Is(err, store.ErrStale), errors.Is(err, store.ErrBusy):
		e = behalf.Errorf(behalf.CodeConflict, "It was changed by another request meanwhile; read it again.")
	default:
		e = behalf.Errorf(behalf.CodeUnavailable, "Something went wrong on our side. It was logged; nothing more is known to this answer.")
	}
	p := newProblem(e.Code, e.Message)
	p.Field, p.ConnectURL, p.retryAfter = e.Field, e.ConnectURL, e.RetryAfter
	for _, c := range e.Candidates {
		p.Connections = append(p.Connections, string(c))
	}
	for _, f := range e.Fields {
		p.Errors = append(p.Errors, ProblemField{f.Field, string(e.Code), f.Message})
	}
	if len(p.Errors) == 0 && p.Field != "" {
		p.Errors = []ProblemField{{p.Field, p.Code, p.Detail}}
	}
	return p
}

func newProblem(code behalf.Code, detail string) *Problem {
	return &Problem{Type: "https://behalf.dev/problems/" + string(code), Title: titles[code], Status: statuses[code], Code: string(code), Detail: detail}
}

// WriteProblem answers a request with an error.
func (a *API) WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status >= 500 {
		a.cfg.Log.Error("request failed", "method", r.Method, "path", r.Pattern, "code", p.Code, "err", err)
	}
	write(w, p)
}

func write(w http.ResponseWriter, p *Problem) {
	p.headers(w.Header())
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		slog.Debug("answer not written", "err", err)
	}
}

// ownErrors makes huma's errors ours: its own would echo what was sent. huma
// takes the factory from a variable of its own, so this is done once.
var ownErrors = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return problemFor(status, message, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		p := problemFor(status, message, errs)
		for name, values := range p.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
		return p
	}
})

func problemFor(status int, message string, errs []error) *Problem {
	for _, err := range errs {
		if p := (*Problem)(nil); errors.As(err, &p) {
			return p
		}
		if e := (*behalf.Error)(nil); errors.As(err, &e) {
			return problemOf(err)
		}
	}
	return validation(status, message, errs)
}

var codesByStatus = map[int]behalf.Code{
	http.StatusUnauthorized: behalf.CodeUnauthenticated, http.StatusForbidden: behalf.CodeForbidden, http.StatusNotFound: behalf.CodeNotFound,
	http.StatusConflict: behalf.CodeConflict, http.StatusTooManyRequests: behalf.CodeLimited,
}

// validation is what huma itself found wrong with a request.
func validation(status int, message string, errs []error) *Problem {
	code, ok := codesByStatus[status]
	switch {
	case ok:
	case status >= 500:
		code, message = behalf.CodeUnavailable, "Something went wrong on our side. It was logged; nothing more is known to this answer."
	default:
		code = behalf.CodeInvalid
	}
	p := newProblem(code, sentence(message))
	p.Status = status
	for _, err := range errs {
		if d := (huma.ErrorDetailer)(nil); errors.As(err, &d) {
			detail := d.ErrorDetail() // never its Value: that is what was sent
			p.Errors = append(p.Errors, fieldOf(detail.Location, detail.Message))
		}
	}
	switch status {
	case http.StatusBadRequest: // huma's, for a body that cannot be read: one code, one status
		p.Status = statuses[behalf.CodeInvalid]
		if len(p.Errors) == 0 {
			p.Errors = []ProblemField{{"body", p.Code, p.Detail}}
		}
	case http.StatusRequestEntityTooLarge:
		p.Errors = []ProblemField{{"body", p.Code, "Expected at most 1 MiB."}}
	case http.StatusUnsupportedMediaType: // huma's words repeat the Content-Type
		p.Errors = []ProblemField{{"body", p.Code, "Expected Content-Type: application/json."}}
	}
	if len(p.Errors) > 0 {
		p.Field, p.Detail = p.Errors[0].Field, p.Errors[0].Detail
	}
	return p
}

// fieldOf names the field as the caller does. huma puts "body." before it, and
// a missing property into the message.
func fieldOf(location, message string) ProblemField {
	switch where, rest, _ := strings.Cut(location, "."); where {
	case "body", "path", "query", "header":
		location = rest
	}
	if name, ok := strings.CutPrefix(message, "expected required property "); ok {
		name = strings.TrimSuffix(name, " to be present")
		return ProblemField{bounded(strings.TrimPrefix(location+"."+name, ".")), string(behalf.CodeInvalid), "Required."}
	}
	switch ours, ok := strings.CutPrefix(message, "invalid: body: "); {
	case ok:
		message = ours // of checkJSON, through huma
	case message == "unexpected property":
		message = "There is no such field."
	case strings.Contains(message, "invalid character"), strings.Contains(message, "unmarshal"):
		message = "Expected valid JSON."
	}
	if location == "" {
		location = "body" // the whole of it
	}
	return ProblemField{bounded(location), string(behalf.CodeInvalid), sentence(message)}
}

// bounded cuts a field's name, which may be the caller's own invention.
func bounded(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
	if len(name) > 100 {
		return name[:100] + "…"
	}
	return name
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// problemErr returns the first Error in err's chain.
func problemErr(err error) *behalf.Error {
	e := (*behalf.Error)(nil)
	errors.As(err, &e)
	return e
}
