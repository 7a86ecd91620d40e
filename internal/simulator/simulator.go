package simulator

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf/internal/secret"
)

// User is a person who can sign in.
type User struct {
	Name     string      // what is typed at sign-in
	Password secret.Text // likewise
	Subject  string      // the sub claim; Name where it is empty
	Email    string
	FullName string
}

// Client is an application that may ask people for access.
type Client struct {
	ID           string
	Secret       secret.Text
	Name         string   // shown on the consent page; ID where it is empty
	RedirectURIs []string // compared character by character (RFC 9700 §2.1)
	Public       bool     // has no secret and authenticates with nothing
}

// Scope is something that a client may ask for.
type Scope struct {
	Name        string // the scope-token of RFC 6749 §3.3
	Description string // completes "It will be able to"; not shown where it is empty
}

// Config says who takes part. Its zero value is a provider without people.
type Config struct {
	// BaseURL is the issuer and the beginning of every endpoint, without a
	// slash at the end. Empty, it is taken from the Host of each request,
	// which suits an httptest.Server.
	BaseURL string
	Users   []User
	Clients []Client
	// Scopes are those that exist, 64 at most; DefaultScopes where it is nil.
	Scopes []Scope
	// Prefill fills the sign-in form with the first user's name and password,
	// so that a demo needs two clicks.
	Prefill         bool
	AccessTokenTTL  time.Duration // one hour where it is zero
	RefreshTokenTTL time.Duration // unlimited where it is zero; each new token counts anew
	Now             func() time.Time
}

// DefaultScopes are the scopes of Acorn Notes.
func DefaultScopes() []Scope {
	return []Scope{
		{Name: "openid", Description: "Know who you are"},
		{Name: "profile", Description: "See your name"},
		{Name: "email", Description: "See your email address"},
		{Name: "offline_access", Description: "Stay connected while you are away"},
		{Name: "notes:read", Description: "Read your notes"},
		{Name: "notes:write", Description: "Write new notes"},
	}
}

// Simulator is a provider in one http.Handler. All its methods may be called at
// any time from anywhere.
type Simulator struct {
	cfg      Config
	mux      *http.ServeMux
	keys     keys
	mac      []byte // authenticates tokens and forms
	armed    atomic.Pointer[armed]
	arming   sync.Mutex
	counts   atomic.Pointer[counts]
	log      requestLog
	refusals refusals
	clients  map[string]*client
	users    map[string]*User

	mu     sync.RWMutex
	grants map[string]*grant
	codes  map[string]*code
	people map[string]signedIn    // by session cookie
	agreed map[[2]string]scopeSet // by user and client
	notes  map[string]*notebook   // by subject
}

type client struct {
	Client
	mu sync.RWMutex // guards RedirectURIs
}

// New makes a simulator of cfg, which it copies.
func New(cfg Config) *Simulator {
	cfg.BaseURL = strings.TrimSuffix(cfg.BaseURL, "/")
	if cfg.Scopes == nil {
		cfg.Scopes = DefaultScopes()
	}
	if cfg.AccessTokenTTL == 0 {
		cfg.AccessTokenTTL = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Simulator{cfg: cfg, mac: make([]byte, 32), clients: map[string]*client{}, users: map[string]*User{}}
	_, _ = rand.Read(s.mac) // never fails: crypto/rand ends the process instead
	for _, c := range cfg.Clients {
		s.clients[c.ID] = newClient(c)
	}
	for _, u := range cfg.Users {
		if u.Subject == "" {
			u.Subject = u.Name
		}
		s.users[u.Name] = &u
	}
	s.Reset()
	s.mux = s.routes()
	return s
}

func newClient(c Client) *client {
	if c.Name == "" {
		c.Name = c.ID
	}
	c.RedirectURIs = append([]string(nil), c.RedirectURIs...)
	return &client{Client: c}
}

// Reset forgets every grant, code, sign-in, note, count and log line, and turns
// all switches off. Clients, their redirect URIs and the signing keys stay.
func (s *Simulator) Reset() {
	s.Set(Switches{})
	s.counts.Store(&counts{})
	s.log.clear()
	s.refusals.clear()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants = map[string]*grant{}
	s.codes = map[string]*code{}
	s.people = map[string]signedIn{}
	s.agreed = map[[2]string]scopeSet{}
	s.notes = map[string]*notebook{}
}

// AddRedirectURI allows one more redirect URI of a client: a callback URL is
// often known only after both servers have started.
func (s *Simulator) AddRedirectURI(clientID, uri string) error {
	c := s.clients[clientID]
	if c == nil {
		return fmt.Errorf("simulator: no such client")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.RedirectURIs = append(c.RedirectURIs, uri)
	return nil
}

// Expire ends every access token that was issued until now, as a provider does
// without telling.
func (s *Simulator) Expire() {
	for _, g := range s.allGrants() {
		g.mu.Lock()
		g.expired = g.access
		g.mu.Unlock()
	}
}

// Disconnect revokes every grant that the user gave the client, as a person
// does on the provider's own page, and returns how many there were.
func (s *Simulator) Disconnect(clientID, userName string) int {
	n := 0
	for _, g := range s.grantsOf(userName) {
		if g.client.ID == clientID && g.revoke() {
			n++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.agreed, [2]string{userName, clientID})
	return n
}

func (s *Simulator) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", s.home)
	m.HandleFunc("GET /style.css", asset("pages/style.css", "text/css; charset=utf-8"))
	m.HandleFunc("GET /acorn.svg", asset("pages/acorn.svg", "image/svg+xml"))
	m.HandleFunc("GET /route.js", asset("pages/route.js", "text/javascript; charset=utf-8"))
	m.HandleFunc("GET /favicon.ico", asset("pages/acorn.svg", "image/svg+xml"))

	m.HandleFunc("GET /authorize", s.authorize)
	m.HandleFunc("POST /sign-in", s.signIn)
	m.HandleFunc("POST /consent", s.consent)
	m.HandleFunc("POST /sign-out", s.signOut)
	m.HandleFunc("POST /disconnect", s.disconnect)

	m.HandleFunc("POST /token", s.token)
	m.HandleFunc("POST /token/moved", s.tokenMoved)
	m.HandleFunc("POST /introspect", s.introspect)
	m.HandleFunc("POST /revoke", s.revoke)
	m.HandleFunc("GET /userinfo", s.bearer(0, s.userinfo))
	m.HandleFunc("POST /userinfo", s.bearer(0, s.userinfo))
	m.HandleFunc("GET /jwks", s.jwks)
	m.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	m.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)

	s.apiRoutes(m)
	s.keyedRoutes(m)
	s.controlRoutes(m)
	return m
}

// ServeHTTP answers one request.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.armed.Load().settings.Log && !strings.HasPrefix(r.URL.Path, control) {
		s.log.serve(w, r, http.HandlerFunc(s.serve), s.cfg.Now)
		return
	}
	s.serve(w, r)
}

func (s *Simulator) serve(w http.ResponseWriter, r *http.Request) {
	if ahead := s.settings().ClockOffsetSeconds; ahead != 0 {
		w.Header().Set("Date", s.cfg.Now().Add(time.Duration(ahead)*time.Second).UTC().Format(http.TimeFormat))
	}
	if d := s.settings().Dialect; d != nil && !strings.HasPrefix(r.URL.Path, control) && s.speak(w, r, d) {
		return
	}
	s.mux.ServeHTTP(w, r)
}

// issuer is what the iss claim and parameter carry for this request.
func (s *Simulator) issuer(r *http.Request) string {
	switch {
	case s.cfg.BaseURL != "":
		return s.cfg.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

// sum authenticates a text under the simulator's own key.
func (s *Simulator) sum(text string) string {
	h := hmac.New(sha256.New, s.mac)
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

func (s *Simulator) sumEqual(text, sum string) bool {
	return hmac.Equal([]byte(s.sum(text)), []byte(sum))
}

// random returns 96 random bits as 16 characters of base64url.
func random() string {
	var b [12]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the simulator could not encode its answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// scopeSet holds scopes as bits in the order of Config.Scopes.
type scopeSet uint64

// scopes reads a scope parameter and reports whether every name in it exists.
func (s *Simulator) scopes(param string) (scopeSet, bool) {
	var set scopeSet
	for _, name := range strings.Fields(param) {
		bit := s.scope(name)
		if bit == 0 {
			return 0, false
		}
		set |= bit
	}
	return set, true
}

// scope returns the bit of one name, or 0.
func (s *Simulator) scope(name string) scopeSet {
	for i, sc := range s.cfg.Scopes {
		if sc.Name == name {
			return 1 << i
		}
	}
	return 0
}

// names is the way back from scopes.
func (s *Simulator) names(set scopeSet) []string {
	var out []string
	for i, sc := range s.cfg.Scopes {
		if set&(1<<i) != 0 {
			out = append(out, sc.Name)
		}
	}
	return out
}
