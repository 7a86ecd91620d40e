package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// backend is an assistant's own web application, which finishes its
// connections: people sign in to it, begin, and come back to it.
type backend struct {
	url     string
	bot     *bot
	profile string

	mu    sync.Mutex
	begun map[string]begun // by session
	hold  bool             // a code that comes is kept, and nothing is finished
	held  string           // the last such code
}

// begun is what the backend keeps of a session.
type begun struct{ user, verifier string }

func newBackend(t testing.TB) *backend {
	b := &backend{begun: map[string]begun{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in/{user}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "signed_in", Value: r.PathValue("user"), Path: "/"})
		fmt.Fprintln(w, "Hello", r.PathValue("user"))
	})
	mux.HandleFunc("GET /connect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, b.begin(signedIn(r)).URL, http.StatusSeeOther)
	})
	mux.HandleFunc("GET /return", b.back)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// settings are those of its assistant.
func (b *backend) settings() map[string]any {
	return map[string]any{"finish": true, "return_urls": []string{b.url + "/return"}}
}

// signedIn returns whose request it is.
func signedIn(r *http.Request) string {
	cookie, err := r.Cookie("signed_in")
	if err != nil {
		return ""
	}
	return cookie.Value
}

// begin makes a session for a user, whose verifier stays here.
func (b *backend) begin(user string) session {
	verifier := b.bot.s.secret("finish verifier", rand.Text()+rand.Text())
	challenge := sha256.Sum256([]byte(verifier))
	made := b.bot.begin(map[string]any{"profile": b.profile, "user": user, "return_url": b.url + "/return",
		"finish_challenge": base64.RawURLEncoding.EncodeToString(challenge[:])})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun[made.ID] = begun{user, verifier}
	return made
}

func (b *backend) verifier(session string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.begun[session].verifier
}

// back is where the browser returns to: it finishes the session in the request
// of whoever is signed in.
func (b *backend) back(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	code := query.Get("finish_code")
	if code == "" {
		fmt.Fprintln(w, "It ended as", query.Get("status"))
		return
	}
	b.bot.s.secret("finish_code", code)
	if b.keep(code) {
		fmt.Fprintln(w, "Held back")
		return
	}
	got := b.finish(query.Get("session"), code, b.verifier(query.Get("session")), signedIn(r))
	var ended session
	var refused problem
	switch {
	case got.ok() && json.Unmarshal(got.body, &ended) == nil:
		fmt.Fprintln(w, "Finished:", ended.Status)
	case json.Unmarshal(got.body, &refused) == nil:
		fmt.Fprintln(w, "Refused:", refused.Code)
	}
}

// holdBack says whether a code that comes is kept, and returns the last one.
func (b *backend) holdBack(hold bool) (code string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold = hold
	return b.held
}

func (b *backend) keep(code string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hold {
		b.held = code
	}
	return b.hold
}

func (b *backend) finish(session, code, verifier, user string) reply {
	return b.bot.send("POST", "/connect-sessions/"+session+"/finish",
		map[string]any{"code": code, "verifier": verifier, "user": user})
}
