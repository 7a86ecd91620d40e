package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// TokenHeader carries the access token for clients that cannot use Authorization.
const TokenHeader = "X-Acorn-Token"

func (s *Simulator) apiRoutes(m *http.ServeMux) {
	read, write := s.scope("notes:read"), s.scope("notes:write")
	m.HandleFunc("GET /api/me", s.bearer(0, s.me))
	m.HandleFunc("GET /api/notes", s.bearer(read, s.listNotes))
	m.HandleFunc("POST /api/notes", s.bearer(write, s.addNote))
	m.HandleFunc("GET /api/notes/{id}", s.bearer(read, s.oneNote))
	m.HandleFunc("/api/echo", s.echo)
	m.HandleFunc("/api/echo/", s.echo)
	m.HandleFunc("GET /api/stream", s.bearer(0, stream))
	m.HandleFunc("GET /api/bytes", s.bearer(0, someBytes))
	m.HandleFunc("POST /api/upload", s.bearer(0, upload))
	m.HandleFunc("GET /api/slow", s.bearer(0, slow))
	m.HandleFunc("GET /api/redirect", s.bearer(0, moved))
}

// bearer lets a request through whose token is good and has every scope of need
// (RFC 6750). The token is taken from Authorization, X-Acorn-Token or the query.
func (s *Simulator) bearer(need scopeSet, next func(http.ResponseWriter, *http.Request, opened)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.counts.Load().apiRequests.Add(1)
		sw := s.take(atAPI)
		time.Sleep(milliseconds(sw.APIDelayMS))
		token := presented(r)
		if token == "" {
			challenge(w, http.StatusUnauthorized, `Bearer realm="Acorn Notes"`, "unauthenticated", "An access token is needed.")
			return
		}
		o, ok := s.open(token)
		switch {
		case sw.APIAlways401 || !ok || !o.access || !s.good(o, sw):
			s.badToken(w, sw)
		case need&^o.scope != 0:
			names := strings.Join(s.names(need), " ")
			challenge(w, http.StatusForbidden, `Bearer realm="Acorn Notes", error="insufficient_scope", scope="`+names+`"`,
				"insufficient_scope", "The token lacks a scope.")
		default:
			next(w, r, o)
		}
	}
}

func presented(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	if token := r.Header.Get(TokenHeader); token != "" {
		return token
	}
	return r.URL.Query().Get("access_token")
}

func (s *Simulator) badToken(w http.ResponseWriter, sw *Switches) {
	s.counts.Load().apiRefused.Add(1)
	if sw.API403Expired {
		writeJSON(w, http.StatusForbidden, map[string]any{"error": map[string]string{"message": "expired"}})
		return
	}
	challenge(w, http.StatusUnauthorized, `Bearer realm="Acorn Notes", error="invalid_token", error_description="The access token is expired, revoked or unknown"`,
		"invalid_token", "The access token is expired, revoked or unknown.")
}

func challenge(w http.ResponseWriter, status int, header, code, message string) {
	w.Header().Set("WWW-Authenticate", header)
	writeJSON(w, status, map[string]string{"error": code, "message": message})
}

func (s *Simulator) me(w http.ResponseWriter, _ *http.Request, o opened) {
	if o.grant.user == nil {
		writeJSON(w, http.StatusOK, map[string]string{"id": o.grant.client.ID, "app": o.grant.client.Name})
		return
	}
	u := o.grant.user
	writeJSON(w, http.StatusOK, map[string]string{"id": u.Subject, "username": u.Name, "name": u.FullName, "email": u.Email})
}

// note is a note of Acorn Notes.
type note struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	Text    string    `json:"text"`
	Created time.Time `json:"created"`
}

// notebook is one person's notes, newest last; it keeps the newest 1000.
type notebook struct {
	mu    sync.Mutex
	last  int
	notes []note
}

func (b *notebook) add(title, text string, now time.Time) note {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	n := note{ID: strconv.Itoa(b.last), Title: title, Text: text, Created: now.UTC()}
	b.notes = append(b.notes, n)
	if len(b.notes) > 1000 {
		b.notes = b.notes[1:]
	}
	return n
}

func (b *notebook) list() []note {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notes)
}

// notebook returns a person's notes; a new person finds three.
func (s *Simulator) notebook(subject string) *notebook {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.notes[subject]
	if b == nil {
		b = &notebook{}
		now := s.cfg.Now()
		b.add("Winter store", "Forty acorns under the birch, twelve behind the shed. Do not tell the jays.", now.Add(-72*time.Hour))
		b.add("Call the orchard", "Ask whether the hazels want pruning before the frost.", now.Add(-26*time.Hour))
		b.add("Idea", "A map of everything that was buried and forgotten. Some of it is trees by now.", now.Add(-2*time.Hour))
		s.notes[subject] = b
	}
	return b
}

func (s *Simulator) listNotes(w http.ResponseWriter, _ *http.Request, o opened) {
	writeJSON(w, http.StatusOK, map[string]any{"notes": s.notebook(o.grant.subject()).list()})
}

func (s *Simulator) addNote(w http.ResponseWriter, r *http.Request, o opened) {
	var in struct{ Title, Text string }
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	if err := d.Decode(&in); err != nil || in.Title == "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid", "message": "A note is a JSON object with a title and a text."})
		return
	}
	n := s.notebook(o.grant.subject()).add(in.Title, in.Text, s.cfg.Now())
	w.Header().Set("Location", "/api/notes/"+n.ID)
	writeJSON(w, http.StatusCreated, n)
}

func (s *Simulator) oneNote(w http.ResponseWriter, r *http.Request, o opened) {
	for _, n := range s.notebook(o.grant.subject()).list() {
		if n.ID == r.PathValue("id") {
			writeJSON(w, http.StatusOK, n)
			return
		}
	}
	writeJSON(w, http.StatusNotFound, map[string]string{"error": "not_found", "message": "There is no such note."})
}

// echo shows how a request arrived. It answers without a token too, for it is
// there to show where a request carried its token; one in Authorization or
// X-Acorn-Token is checked.
func (s *Simulator) echo(w http.ResponseWriter, r *http.Request) {
	show := func(w http.ResponseWriter, r *http.Request, _ opened) { echo(w, r) }
	if r.Header.Get("Authorization") == "" && r.Header.Get(TokenHeader) == "" {
		s.counts.Load().apiRequests.Add(1)
		echo(w, r)
		return
	}
	s.bearer(0, show)(w, r)
}

func echo(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "too_large", "message": "At most 1 MiB is echoed."})
		return
	}
	headers := r.Header.Clone()
	for i, value := range headers["Authorization"] {
		scheme, credential, _ := strings.Cut(value, " ")
		headers["Authorization"][i] = scheme + " sha256:" + digest(credential)
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"method": r.Method, "path": r.URL.EscapedPath(), "query": r.URL.RawQuery, "host": r.Host, "proto": r.Proto,
		"headers": headers, "body": parsed(r.Header.Get("Content-Type"), raw), "bytes": len(raw),
	})
}

// digest is the beginning of a SHA-256: enough to compare, too little to guess.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// parsed returns JSON as it is, a form as an object of lists, else text.
func parsed(contentType string, raw []byte) any {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(raw) == 0:
		return nil
	case strings.HasSuffix(kind, "json") && json.Valid(raw):
		return json.RawMessage(raw)
	case kind == "application/x-www-form-urlencoded":
		if form, err := url.ParseQuery(string(raw)); err == nil {
			return form
		}
	}
	return string(raw)
}

// number reads a query parameter between 0 and limit.
func number(r *http.Request, name string, otherwise, limit int64) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < 0 {
		return otherwise
	}
	return min(n, limit)
}

// pause waits unless the client goes away first.
func pause(r *http.Request, d time.Duration) bool {
	select {
	case <-r.Context().Done():
		return false
	case <-time.After(d):
		return true
	}
}

// stream sends n server-sent events, ms apart.
func stream(w http.ResponseWriter, r *http.Request, _ opened) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	n, ms := number(r, "n", 5, 1_000_000), number(r, "ms", 100, 60_000)
	for i := int64(1); i <= n; i++ {
		if _, err := fmt.Fprintf(w, "id: %d\nevent: acorn\ndata: {\"n\":%d,\"of\":%d}\n\n", i, i, n); err != nil {
			return
		}
		_ = flusher.Flush()
		if i < n && !pause(r, time.Duration(ms)*time.Millisecond) {
			return
		}
	}
}

// someBytes sends n bytes, at most 1 GiB: the digits 0 to 9, repeated.
func someBytes(w http.ResponseWriter, r *http.Request, _ opened) {
	n := number(r, "n", 1024, 1<<30)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	block := []byte(strings.Repeat("0123456789", 3200))
	for n > 0 {
		m, err := w.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			return
		}
		n -= int64(m)
	}
}

// upload counts what arrives and keeps nothing.
func upload(w http.ResponseWriter, r *http.Request, _ opened) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "incomplete", "message": "The body ended early."})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"bytes": n, "sha256": hex.EncodeToString(sum.Sum(nil))})
}

// slow answers after ms, at most ten minutes.
func slow(w http.ResponseWriter, r *http.Request, _ opened) {
	ms := number(r, "ms", 1000, 600_000)
	if pause(r, time.Duration(ms)*time.Millisecond) {
		writeJSON(w, http.StatusOK, map[string]int64{"waited_ms": ms})
	}
}

// moved redirects anywhere: a proxy must not take its credentials along.
func moved(w http.ResponseWriter, r *http.Request, _ opened) {
	w.Header().Set("Location", r.URL.Query().Get("to"))
	w.WriteHeader(http.StatusFound)
}
