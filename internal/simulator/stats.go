package simulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Stats says what has happened since the start or the last reset.
type Stats struct {
	TokenRequests     int64       `json:"token_requests"` // POSTs to the token endpoint, whatever came of them
	Exchanges         int64       `json:"exchanges"`      // of these, with grant_type=authorization_code
	Refreshes         int64       `json:"refreshes"`      // of these, with grant_type=refresh_token
	Duplicates        int64       `json:"duplicates"`     // spent refresh tokens presented again
	GraceReplays      int64       `json:"grace_replays"`  // of these, forgiven because of grace_seconds
	CodeReplays       int64       `json:"code_replays"`
	FamiliesRevoked   int64       `json:"families_revoked"` // grants that a duplicate or a replay ended
	Revocations       int64       `json:"revocations"`      // requests to /revoke
	RedirectsFollowed int64       `json:"redirects_followed"`
	APIRequests       int64       `json:"api_requests"`      // to /api/ and /userinfo
	APIRefused        int64       `json:"api_refused"`       // of these, for the sake of the token
	Refused           []string    `json:"refused,omitempty"` // what a dialect has refused, oldest first
	Grants            []GrantStat `json:"grants,omitempty"`
}

// GrantStat is one person's yes to one client.
type GrantStat struct {
	ID          string `json:"id"`
	Client      string `json:"client"`
	Subject     string `json:"subject"`
	Generation  int    `json:"generation"`   // how many pairs were issued
	CommittedUS int64  `json:"committed_us"` // when the last one was, in Unix microseconds
	Duplicates  int    `json:"duplicates"`
	Forgiven    int    `json:"forgiven,omitempty"` // of the duplicates, because of grace_seconds
	Revoked     bool   `json:"revoked"`
	// RefreshTokenSHA256 is the first 16 hex digits of the SHA-256 of the only
	// refresh token that is good; empty where there is none.
	RefreshTokenSHA256 string `json:"refresh_token_sha256,omitempty"`
	// IssuedSHA256 is that of the newest refresh token, good or not, and By the
	// User-Agent of the refresh request that it answered.
	IssuedSHA256 string `json:"issued_sha256,omitempty"`
	By           string `json:"by,omitempty"`
}

type counts struct {
	tokenRequests, exchanges, refreshes, duplicates, graceReplays, codeReplays atomic.Int64
	familiesRevoked, revocations, redirectsFollowed, apiRequests, apiRefused   atomic.Int64
}

func (n *counts) request(grantType string) {
	n.tokenRequests.Add(1)
	switch grantType {
	case "authorization_code":
		n.exchanges.Add(1)
	case "refresh_token":
		n.refreshes.Add(1)
	}
}

// Stats returns the counts and every grant in the order of their ids.
func (s *Simulator) Stats() Stats {
	out := s.totals()
	s.mu.RLock()
	grants := make([]*grant, 0, len(s.grants))
	for _, g := range s.grants {
		grants = append(grants, g)
	}
	s.mu.RUnlock()
	slices.SortFunc(grants, func(a, b *grant) int { return strings.Compare(a.id, b.id) })
	for _, g := range grants {
		out.Grants = append(out.Grants, g.stat())
	}
	return out
}

func (s *Simulator) totals() Stats {
	n := s.counts.Load()
	return Stats{
		TokenRequests: n.tokenRequests.Load(), Exchanges: n.exchanges.Load(), Refreshes: n.refreshes.Load(),
		Duplicates: n.duplicates.Load(), GraceReplays: n.graceReplays.Load(), CodeReplays: n.codeReplays.Load(),
		FamiliesRevoked: n.familiesRevoked.Load(), Revocations: n.revocations.Load(),
		RedirectsFollowed: n.redirectsFollowed.Load(), APIRequests: n.apiRequests.Load(), APIRefused: n.apiRefused.Load(),
		Refused: s.refusals.list(),
	}
}

func (g *grant) stat() GrantStat {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := GrantStat{
		ID: g.id, Client: g.client.ID, Subject: g.subject(), Generation: g.access,
		CommittedUS: g.committed.UnixMicro(), Duplicates: g.duplicates, Forgiven: g.forgiven, Revoked: g.revoked, IssuedSHA256: g.issued, By: g.by,
	}
	if g.pair.refresh != "" && !g.revoked {
		out.RefreshTokenSHA256 = digest(g.pair.refresh)
	}
	return out
}

// control is where other processes steer the simulator. Pages of other sites
// cannot: browsers say where a request comes from.
const control = "/_simulator/"

func (s *Simulator) controlRoutes(m *http.ServeMux) {
	own := http.NewServeMux()
	own.HandleFunc("GET "+control+"switches", s.getSwitches)
	own.HandleFunc("PUT "+control+"switches", s.putSwitches)
	own.HandleFunc("POST "+control+"reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	own.HandleFunc("POST "+control+"expire", func(w http.ResponseWriter, _ *http.Request) {
		s.Expire()
		w.WriteHeader(http.StatusNoContent)
	})
	own.HandleFunc("POST "+control+"redirect-uris", s.postRedirectURI)
	own.HandleFunc("GET "+control+"stats", s.getStats)
	own.HandleFunc("GET "+control+"log", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"requests": s.Log()})
	})
	m.Handle(control, http.NewCrossOriginProtection().Handler(own))
}

func (s *Simulator) getSwitches(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Switches())
}

// putSwitches replaces all switches; a name that does not exist is an error.
func (s *Simulator) putSwitches(w http.ResponseWriter, r *http.Request) {
	var sw Switches
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(&sw); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid", "message": "switches: " + err.Error()})
		return
	}
	if err := sw.Dialect.check(); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid", "message": "switches: " + err.Error()})
		return
	}
	s.Set(sw)
	s.getSwitches(w, r)
}

// postRedirectURI registers a redirect URI, as an administrator does on a
// provider's page for OAuth applications.
func (s *Simulator) postRedirectURI(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ClientID    string `json:"client_id"`
		RedirectURI string `json:"redirect_uri"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	err := d.Decode(&body)
	u, parseErr := url.Parse(body.RedirectURI)
	if err != nil || parseErr != nil || u.Host == "" || s.AddRedirectURI(body.ClientID, body.RedirectURI) != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid", "message": "expected a client_id that exists and an absolute redirect_uri"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// getStats answers Stats; ?grants=false leaves the grants out.
func (s *Simulator) getStats(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("grants") == "false" {
		writeJSON(w, http.StatusOK, s.totals())
		return
	}
	writeJSON(w, http.StatusOK, s.Stats())
}

// Entry is one request in the log. Secrets in it are "sha256:" and the first 16
// hex digits of their SHA-256, so that two can be compared.
type Entry struct {
	At            time.Time         `json:"at"`
	Method        string            `json:"method"`
	Path          string            `json:"path"`
	Authorization string            `json:"authorization,omitempty"` // the scheme and the masked credential
	Form          map[string]string `json:"form,omitempty"`
	Status        int               `json:"status"` // 0 where the connection was broken off
	TookMS        float64           `json:"took_ms"`
}

// requestLog keeps the newest 1000 requests while the switch log is on.
type requestLog struct {
	mu      sync.Mutex
	entries []Entry
}

// Log returns what was logged, oldest first.
func (s *Simulator) Log() []Entry {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return append([]Entry{}, s.log.entries...)
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

func (l *requestLog) add(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 1000 {
		l.entries = slices.Delete(l.entries, 0, 1)
	}
	l.entries = append(l.entries, e)
}

func (l *requestLog) serve(w http.ResponseWriter, r *http.Request, next http.Handler, now func() time.Time) {
	e := Entry{At: now(), Method: r.Method, Path: r.URL.Path}
	seen := &statusWriter{ResponseWriter: w}
	began := time.Now()
	defer func() { // also when a fault breaks the connection off
		e.Status, e.TookMS = seen.status, float64(time.Since(began).Microseconds())/1000
		e.Authorization, e.Form = maskedRequest(r)
		l.add(e)
	}()
	next.ServeHTTP(seen, r)
}

// plain are the form parameters that are no secrets.
var plain = []string{"grant_type", "client_id", "redirect_uri", "scope", "token_type_hint", "username", "answer", "remember", "resource", "audience"}

func maskedRequest(r *http.Request) (authorization string, form map[string]string) {
	if scheme, credential, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		authorization = scheme + " sha256:" + digest(credential)
	}
	for name := range r.PostForm {
		if form == nil {
			form = map[string]string{}
		}
		form[name] = r.PostForm.Get(name)
		if !slices.Contains(plain, name) {
			form[name] = "sha256:" + digest(form[name])
		}
	}
	return authorization, form
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
