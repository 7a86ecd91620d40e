package simulator

import (
	"net/http"
	"strings"

	"github.com/behalf-dev/behalf/internal/secret"
)

// The API for those who do not speak OAuth: below /keyed/ with a key, below
// /login/ with a username and a password. Each has me, notes and echo.

// KeyHeader carries the key of the API below /keyed/; Authorization: Bearer and
// the query's api_key do so too.
const KeyHeader = "X-Acorn-Key"

// APIKey returns the key of a user. It works until the simulator is gone.
func (s *Simulator) APIKey(userName string) secret.Text {
	return secret.New("acorn_key_" + userName + "_" + s.sum("key "+userName))
}

func (s *Simulator) keyedRoutes(m *http.ServeMux) {
	for prefix, let := range map[string]func(*http.Request) *User{"/keyed": s.byKey, "/login": s.byPassword} {
		m.HandleFunc("GET "+prefix+"/me", s.letIn(let, s.me))
		m.HandleFunc("GET "+prefix+"/userinfo", s.letIn(let, s.userinfo))
		m.HandleFunc("GET "+prefix+"/notes", s.letIn(let, s.listNotes))
		m.HandleFunc(prefix+"/echo", s.letIn(let, func(w http.ResponseWriter, r *http.Request, _ opened) { echo(w, r) }))
	}
}

func (s *Simulator) byKey(r *http.Request) *User {
	key := r.Header.Get(KeyHeader)
	if scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " "); key == "" && strings.EqualFold(scheme, "Bearer") {
		key = bearer
	}
	if key == "" {
		key = r.URL.Query().Get("api_key")
	}
	for name, u := range s.users {
		if s.APIKey(name).Equal(secret.New(key)) {
			return u
		}
	}
	return nil
}

func (s *Simulator) byPassword(r *http.Request) *User {
	name, password, ok := r.BasicAuth()
	u := s.users[name]
	if !ok || u == nil || !u.Password.Equal(secret.New(password)) {
		return nil
	}
	return u
}

// letIn lets somebody in whom let knows.
func (s *Simulator) letIn(let func(*http.Request) *User, next func(http.ResponseWriter, *http.Request, opened)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.counts.Load().apiRequests.Add(1)
		sw := s.take(atAPI)
		u := let(r)
		if sw.APIAlways401 || u == nil {
			s.counts.Load().apiRefused.Add(1)
			challenge(w, http.StatusUnauthorized, `Basic realm="Acorn Notes"`, "unauthenticated", "The key, or the username with its password, is not known.")
			return
		}
		next(w, r, opened{grant: &grant{user: u}, scope: ^scopeSet(0)})
	}
}
