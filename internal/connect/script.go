package connect

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
)

// This file is what an assistant's own web page uses. The rules are:
//
//   - The script and the status are for any origin, and never with cookies.
//   - Who knows the link may know how its session stands, and no more: neither
//     whose it is, nor the code that finishes it.

//go:embed script
var script embed.FS

// Script serves GET /connect.js and GET /connect.d.ts.
func Script(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	content, err := script.ReadFile("script/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	if path.Ext(name) == ".ts" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(content) // the reader has gone
}

// Status serves GET /connect/{link}/status: how the link's session stands.
func (c *Connect) Status(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	_, s, err := c.db.SessionByLink(r.Context(), secret.New(r.PathValue("link")))
	status := http.StatusOK
	out := struct {
		Status string `json:"status"`
	}{s.Status.Public()}
	switch {
	case behalf.CodeOf(err) == behalf.CodeNotFound:
		status, out.Status = http.StatusNotFound, "unknown"
	case err != nil:
		status, out.Status = http.StatusServiceUnavailable, "unavailable"
	case s.Expired(c.db.Now()):
		out.Status = string(behalf.SessionExpired)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the reader has gone
}
