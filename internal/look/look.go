// Package look is how every page of ours looks: design tokens, components,
// assets and the words of a page in its reader's language.
//
// A page is a templ component inside Page, styled by classes of
// assets/look.css only. No style and no script stands in a page itself, so that
// the content security policy can forbid both (see Headers).
package look

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Prefix is where Handler is served.
const Prefix = "/assets/"

//go:embed assets
var embedded embed.FS

// asset is a file as it is served.
type asset struct {
	name        string // with the hash of its content: look.0123456789ab.css
	contentType string
	content     []byte
	zipped      []byte // the same by gzip
}

var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// Made when somebody first asks: of the programs in this binary only the server
// needs them.
var (
	assets = sync.OnceValue(func() map[string]asset { return load(embedded) }) // by plain name
	served = sync.OnceValue(func() map[string]asset { return byURL(assets()) })
)

func load(files fs.FS) map[string]asset {
	found := map[string]asset{}
	names, _ := fs.Glob(files, "assets/*") // fails on a bad pattern only
	for _, file := range names {
		content, err := fs.ReadFile(files, file)
		if err != nil {
			panic("look: " + err.Error())
		}
		sum := sha256.Sum256(content)
		plain, ext := path.Base(file), path.Ext(file)
		found[plain] = asset{
			name:        strings.TrimSuffix(plain, ext) + "." + hex.EncodeToString(sum[:6]) + ext,
			contentType: contentTypes[ext],
			content:     content,
			zipped:      Zip(content),
		}
	}
	return found
}

// Zip compresses what has no secret in it, once: where somebody else's text
// stands beside a secret, its length tells of it (RFC 8446 Appendix E.3).
func Zip(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that exists
	_, _ = w.Write(content)                               // to memory
	_ = w.Close()
	return b.Bytes()
}

func byURL(assets map[string]asset) map[string]asset {
	urls := make(map[string]asset, len(assets))
	for _, a := range assets {
		urls[Prefix+a.name] = a
	}
	return urls
}

// URL returns where the asset of that plain name ("look.css") is served. The
// URL changes with the content. It panics if there is no such asset: the names
// are constants of our pages.
func URL(name string) string {
	a, ok := assets()[name]
	if !ok {
		panic("look: no asset " + strconv.Quote(name))
	}
	return Prefix + a.name
}

// Handler serves the assets below Prefix. What has a hash in its name never
// changes and may be kept for ever; anything else is not found, and that is
// not kept, since the next version may have it.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		a, ok := served()[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Content-Type", a.contentType)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		Write(w, r, a.content, a.zipped)
	})
}

// Write answers with content, or with the same by gzip where the browser takes
// it. Its type is set before.
func Write(w http.ResponseWriter, r *http.Request, content, zipped []byte) {
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		content = zipped
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(content) // the reader has gone
	}
}

// takesGzip reads Accept-Encoding (RFC 9110 §12.5.3) as far as it matters here.
func takesGzip(accepts string) bool {
	for one := range strings.SplitSeq(accepts, ",") {
		name, weight, _ := strings.Cut(one, ";")
		if strings.TrimSpace(name) == "gzip" {
			weight = strings.ReplaceAll(weight, " ", "")
			return !strings.HasPrefix(weight, "q=0") || strings.Trim(weight, "q=0.") != ""
		}
	}
	return false
}
