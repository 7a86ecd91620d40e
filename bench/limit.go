package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The limits, as -serve names them.
const (
	limitToken    = "token"    // a handler that answers 1 KB of JSON
	limitProxy    = "proxy"    // ReverseProxy that adds one header
	limitUpstream = "upstream" // the application that is called
	limitRefresh  = "refresh"  // a token endpoint that takes every refresh token
)

// tokenLength makes an answer of the product, too, about 1 KB.
const tokenLength = 870

// serveLimit serves until ctx ends, and says where as the product does.
func serveLimit(ctx context.Context, which, to string) error {
	if hub, ok := strings.CutPrefix(which, agentOf); ok {
		return serveAgent(ctx, hub, to)
	}
	h, err := limit(which, to)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("ready", "url", "http://"+l.Addr().String())
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { <-ctx.Done(); _ = s.Close() }()
	if err := s.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func limit(which, to string) (http.Handler, error) {
	switch which {
	case limitToken:
		return kilobyte(), nil
	case limitProxy:
		return reverseProxy(to)
	case limitUpstream:
		return upstream(), nil
	case limitRefresh:
		return tokenEndpoint(), nil
	case bareHub, joinedHub, ownHub:
		return serveHub(which, to)
	}
	return nil, fmt.Errorf("there is no limit %q", which)
}

// kilobyte answers with what a token read looks like.
func kilobyte() http.Handler {
	answer := []byte(`{"access_token":"` + strings.Repeat("x", tokenLength) + `","token_type":"Bearer","expires_at":"2030-01-01T00:00:00Z","scope":"notes:read","connection":"con_01jd0000000000000000000000"}` + "\n")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(answer)
	})
}

// upstream is the application: small answers, large ones, and a place for large
// requests, which it counts.
func upstream() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /small", kilobyte())
	mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
		if err != nil || n < 0 || n > gigabyte {
			http.Error(w, "too many", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		for chunk := make([]byte, 256<<10); n > 0; n -= int64(len(chunk)) {
			if _, err := w.Write(chunk[:min(n, int64(len(chunk)))]); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("PUT /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 256<<10))
		if err != nil {
			http.Error(w, "cut off", http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprint(w, n)
	})
	return mux
}

// reverseProxy is the best that the standard library does: a transport that
// keeps its connections, pooled buffers, and a header as long as a token.
func reverseProxy(to string) (http.Handler, error) {
	target, err := url.Parse(to)
	if err != nil || target.Host == "" {
		return nil, fmt.Errorf("-to must be the URL of the application")
	}
	token := []string{"Bearer " + strings.Repeat("x", tokenLength)}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
			r.Out.Header["Authorization"] = token
		},
		Transport:  &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, DisableCompression: true},
		BufferPool: &buffers{},
	}, nil
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[64 << 10]byte); ok {
		return p[:]
	}
	return make([]byte, 64<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[64 << 10]byte)(p)) }
