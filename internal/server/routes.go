package server

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/connect"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/look"
	"github.com/behalf-dev/behalf/internal/tunnel"
)

// routes is everything that is served. The proxy is taken out before the mux,
// which would clean its paths: they are the application's.
func (s *Server) routes() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /connect/{link}", s.connect.Open)
	pages.HandleFunc("POST /connect/{link}", s.connect.Continue)
	pages.HandleFunc("GET /own/{link}", s.connect.OwnPage)
	pages.HandleFunc("POST /own/{link}", s.connect.OwnEnd)
	pages.HandleFunc("GET /callback/{profile}", s.connect.Callback)
	pages.HandleFunc("GET /callback/{profile}/{$}", s.connect.Callback)
	pages.HandleFunc("POST /callback/{profile}", s.connect.Fragment)
	pages.HandleFunc("POST /callback/{profile}/choose", s.connect.Choose)

	mux := http.NewServeMux()
	guarded := http.NewCrossOriginProtection().Handler(pages)
	mux.HandleFunc("GET /connect/{link}/status", s.connect.Status)
	mux.HandleFunc("GET /brand/{file}", s.connect.Brand)
	mux.HandleFunc("GET /connect.js", connect.Script)
	mux.HandleFunc("GET /connect.d.ts", connect.Script)
	mux.Handle("/own/", guarded)
	mux.Handle("/connect/", guarded)
	mux.Handle("/callback/", guarded)
	mux.Handle("/v1/", s.api)
	mux.Handle("GET /openapi.json", s.api)
	mux.Handle("GET /docs", api.Docs(s.api))
	mux.Handle(console.Prefix, s.console)
	mux.Handle(console.Prefix+"/", s.console)
	mux.Handle("GET /{$}", http.RedirectHandler(console.Prefix, http.StatusSeeOther))
	mux.Handle("GET "+tunnel.PathTunnel, s.into.hub)
	mux.HandleFunc("POST "+tunnel.PathEnrol, s.enrol)
	mux.Handle(look.Prefix, look.Handler())
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, look.URL("favicon.svg"), http.StatusFound)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("/", s.unknown)
	return s.outer(mux)
}

// outer is what every request passes.
func (s *Server) outer(mux http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.cfg.Now()
		seen := &status{ResponseWriter: w}
		defer s.done(seen, r, began)
		if r.URL.IsAbs() || r.Method == http.MethodConnect {
			plain(seen, http.StatusBadRequest, "This is not a forward proxy.\n")
			return
		}
		// A slow sender may hold a proxied upload as long as it likes once the call
		// is allowed (proxy.Serve), but nothing before that.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(30 * time.Second)) // the kernel's clock, not the one that tests move
		if assistant, profile, path, ok := proxied(r.URL.EscapedPath()); ok {
			s.call(seen, r, assistant, profile, path)
			return
		}
		if assistant, ok := tokenRead(r); ok { // the most frequent request of all takes the shortest way
			r.Pattern = "POST /v1/assistants/{assistant}/token"
			s.api.Token(seen, r, assistant)
			return
		}
		mux.ServeHTTP(seen, r)
	})
}

// done recovers from a fault of ours and logs the request: its pattern, never
// its path, which may hold the secret of a link.
func (s *Server) done(w *status, r *http.Request, began time.Time) {
	switch fault := recover(); {
	case fault == nil:
	case fault == http.ErrAbortHandler:
		panic(fault) // ReverseProxy's way to cut a broken answer
	default:
		s.log.Error("panic", "pattern", r.Pattern, "fault", fault, "stack", string(debug.Stack()))
		if w.code != 0 {
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
		plain(w, http.StatusInternalServerError, "Something went wrong on our side. It was logged.\n")
	}
	if !s.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	s.log.Debug("request", "method", r.Method, "pattern", r.Pattern, "status", w.code, "took", s.cfg.Now().Sub(began))
}

// tokenRead returns the assistant of a plainly written POST …/token; the mux has
// the others.
func tokenRead(r *http.Request) (assistant string, ok bool) {
	if r.Method != http.MethodPost || r.URL.RawPath != "" {
		return "", false
	}
	path, ours := strings.CutPrefix(r.URL.Path, "/v1/assistants/")
	assistant, ends := strings.CutSuffix(path, "/token")
	return assistant, ours && ends && assistant != "" && !strings.ContainsAny(assistant, "/.")
}

const proxyMark = "/proxy/"

// proxied splits the escaped path of a proxied call.
func proxied(path string) (assistant, profile, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, "/v1/assistants/")
	if !ok {
		return "", "", "", false
	}
	assistant, path, ok = strings.Cut(path, "/")
	path, ours := strings.CutPrefix("/"+path, proxyMark)
	if !ok || !ours {
		return "", "", "", false
	}
	profile, rest, _ = strings.Cut(path, "/")
	return assistant, profile, "/" + strings.TrimLeft(rest, "/"), profile != ""
}

// call serves a proxied call.
func (s *Server) call(w http.ResponseWriter, r *http.Request, assistant, profile, path string) {
	r.Pattern = "/v1/assistants/{assistant}/proxy/{profile}/{path...}"
	actor, err := s.api.Authenticate(r)
	if err != nil {
		s.api.WriteProblem(w, r, err)
		return
	}
	s.proxy.Serve(w, r, s.db.As(actor), assistant, profile, path)
}

// ready answers whether this node can do its work.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	err := s.db.Ping(ctx)
	since, left := s.db.Without()
	switch {
	case err == nil:
		plain(w, http.StatusOK, "ready\n")
	case left > 0: // to take this node out would take from everybody what it still can do
		s.log.Warn("without the database", "since", since, "left", left, "err", err)
		plain(w, http.StatusOK, "degraded: the database does not answer; tokens that are good are given out for another "+left.Round(time.Second).String()+"\n")
	default:
		s.log.Warn("not ready", "err", err)
		plain(w, http.StatusServiceUnavailable, "the database does not answer\n")
	}
}

// unknown answers an address that is none: a person with a page, a program with
// a problem.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		connect.Unknown(w, r)
		return
	}
	s.api.WriteProblem(w, r, behalf.Errorf(behalf.CodeNotFound, "There is no such page. The API is described at /docs."))
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}

// status remembers what was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	if s.code == 0 && code >= 200 {
		s.code = code
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) Write(b []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush and hijack.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
