// Package api is the HTTP API under /v1 and its OpenAPI document.
//
// Handlers decode, call and encode; no rule of the product lives here. Errors
// become problem documents in one place (problem.go).
package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/broker"
	"github.com/behalf-dev/behalf/internal/catalog"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/egress"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/store"
)

// Config is what the API works with.
type Config struct {
	DB      *store.DB
	Broker  *broker.Broker
	Connect *connect.Connect
	Egress  *egress.Egress                   // the way out for discovery
	Catalog func() (*catalog.Catalog, error) // the known providers, read when first asked for
	Version string                           // of this binary
	Log     *slog.Logger
}

// API serves /v1.
type API struct {
	cfg  Config
	mux  *http.ServeMux
	huma huma.API
}

// New returns the API. It serves everything under /v1 but the proxy, and
// /openapi.json.
func New(cfg Config) *API {
	ownErrors()
	a := &API{cfg: cfg, mux: http.NewServeMux()}
	c := huma.DefaultConfig("Behalf", cfg.Version)
	c.Info.Description = "Let AI assistants act on people's behalf."
	c.CreateHooks, c.DocsPath, c.OpenAPIPath, c.SchemasPath = nil, "", "", ""
	c.RejectUnknownQueryParameters = true
	c.Formats = map[string]huma.Format{"application/json": strictJSON(), "json": strictJSON()}
	c.DefaultFormat = "application/json"
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", Description: "A key that begins with " + behalf.KeyPrefix + ": an assistant's or an administrator's."}}
	c.Security = []map[string][]string{{"key": {}}}
	a.huma = humago.New(a.mux, c)
	a.huma.UseMiddleware(a.authenticated)
	a.routes()
	return a
}

// ServeHTTP serves one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern == "" {
		a.unknown(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// unknown answers what ServeMux would answer in plain text.
func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := a.mux.Handler(probe); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		write(w, newProblem(behalf.CodeNotFound, "There is no such address. /openapi.json lists them all."))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	p := newProblem(behalf.CodeInvalid, "This address takes "+strings.Join(allowed, ", ")+".")
	p.Status = http.StatusMethodNotAllowed
	write(w, p)
}

// OpenAPI returns the OpenAPI 3.1 document.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

// Authenticate returns the actor whose key a request shows. Cookies are never
// looked at. Of two keys none counts: what stands before us may have looked at
// the other.
func (a *API) Authenticate(r *http.Request) (behalf.Actor, error) {
	if len(r.Header["Authorization"]) > 1 {
		return behalf.Actor{}, behalf.Errorf(behalf.CodeUnauthenticated, "Send the header Authorization once.")
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(key, behalf.KeyPrefix) {
		return behalf.Actor{}, behalf.Errorf(behalf.CodeUnauthenticated, "Send a key as Authorization: Bearer %s…", behalf.KeyPrefix)
	}
	return a.cfg.DB.Authenticate(r.Context(), secret.New(key))
}

type scopeKey struct{}

// authenticated hands the actor's scope to handle, which is the only reader of
// this context value: handlers get it as a parameter.
func (a *API) authenticated(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	actor, err := a.Authenticate(r)
	if err != nil {
		_ = huma.WriteErr(a.huma, ctx, 0, "", err)
		return
	}
	next(huma.WithValue(ctx, scopeKey{}, a.cfg.DB.As(actor)))
}

// handle registers an operation whose handler is given the caller's scope.
func handle[I, O any](a *API, op huma.Operation, do func(ctx context.Context, db store.Scope, in *I) (*O, error)) {
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, ctx.Value(scopeKey{}).(store.Scope), in)
		if err == nil {
			return out, nil
		}
		p := problemOf(err)
		if p.Status >= 500 {
			a.cfg.Log.Error("request failed", "operation", op.OperationID, "code", p.Code, "err", err)
		}
		return nil, p
	})
}

// Page is the query of a list.
type Page struct {
	Limit  int64  `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"At most so many items."`
	Cursor string `query:"cursor" doc:"next_cursor of the page before." maxLength:"64" pattern:"^[a-z_0-9]*$"`
}

func (p Page) page() store.Page { return store.Page{After: p.Cursor, Limit: p.Limit} }

// List is a page of a list.
type List[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Absent on the last page."`
}

// ListOutput is an answer with a page of a list.
type ListOutput[T any] struct{ Body List[T] }

func listOf[D, T any](items []D, limit int64, id func(D) string, view func(D) T) *ListOutput[T] {
	out := &ListOutput[T]{Body: List[T]{Items: make([]T, 0, len(items))}}
	for _, d := range items {
		out.Body.Items = append(out.Body.Items, view(d))
	}
	if n := len(items); n > 0 && int64(n) == limit {
		out.Body.NextCursor = id(items[n-1])
	}
	return out
}

// Output is an answer with a body.
type Output[T any] struct{ Body T }

func output[T any](v T) *Output[T] { return &Output[T]{v} }
