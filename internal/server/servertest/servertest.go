// Package servertest gives tests a running server with a simulated provider
// beside it, an assistant with a profile of that provider, and keys.
package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/api"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/storetest"
)

// Setup says what is not as it is by default: an assistant that may read tokens
// and does not finish its connections, with one profile of the simulator.
type Setup struct {
	Bare      bool // nothing is made: no assistant, no profile, no key
	Config    func(*server.Config)
	Assistant func(*behalf.Assistant)
	Profile   func(*behalf.Definition)
}

// Server is a server that runs until the test ends.
type Server struct {
	t        testing.TB
	URL      string // of the server
	Provider string // of the simulator
	DataDir  string
	Sim      *simulator.Simulator
	Clock    *storetest.Clock
	Log      *Log
	DB       *store.DB
	System   store.Scope

	Assistant behalf.Assistant
	Profile   behalf.Profile
	Owner     string // an owner's key
	Key       string // the assistant's key

	client  *http.Client
	stop    func() error
	secrets []string
}

// Log is what a server has logged.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const (
	userName = "hazel"
	password = "acorns-of-last-autumn"
)

// New starts a server. When the test ends the server must stop by itself, and
// nothing secret may be in its log.
func New(t testing.TB, with Setup) *Server {
	t.Helper()
	s := &Server{t: t, Clock: &storetest.Clock{}, Log: &Log{}, DataDir: t.TempDir(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	s.Sim = simulator.New(simulator.Config{Now: s.Clock.Now, AccessTokenTTL: time.Hour,
		Users: []simulator.User{{Name: userName, Password: secret.New(password), Subject: "u-1", Email: "hazel@acorn.example", FullName: "Hazel Birch"},
			{Name: "jay", Password: secret.New(password), Subject: "u-2", Email: "jay@acorn.example", FullName: "Jay Oak"}},
		Clients: []simulator.Client{{ID: "bot", Name: "Support Bot", Secret: secret.New(storetest.ClientSecret)}}})
	provider := httptest.NewServer(s.Sim)
	t.Cleanup(provider.Close)
	s.Provider = provider.URL
	s.secrets = []string{storetest.ClientSecret, url.QueryEscape(storetest.ClientSecret), password, "acorn_at_", "acorn_rt_"}

	cfg := server.Config{Listen: "127.0.0.1:0", DataDir: s.DataDir, Version: "test", Now: s.Clock.Now, StopTimeout: 10 * time.Second,
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Log:          slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if with.Config != nil {
		with.Config(&cfg)
	}
	s.run(cfg)
	if !with.Bare {
		s.furnish(with)
	}
	return s
}

func (s *Server) run(cfg server.Config) {
	s.t.Helper()
	if cfg.Database == "" && cfg.RootKey.Empty() {
		storetest.DataDir(s.t, cfg.DataDir)
	}
	srv, err := server.New(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.URL, s.DB = srv.URL().String(), srv.DB()
	s.System = s.DB.As(behalf.System("test"))
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		s.client.CloseIdleConnections()
		cancel()
		return <-stopped
	})
	s.t.Cleanup(func() {
		if err := s.stop(); err != nil {
			s.t.Errorf("the server did not stop well: %v", err)
		}
		s.nothingSecretIsLogged()
	})
}

// Stop stops the server, which the end of the test does otherwise.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) furnish(with Setup) {
	s.t.Helper()
	a := behalf.NewAssistant("Support Bot", s.DB.Now())
	a.Finish, a.TokenReads = false, true
	if with.Assistant != nil {
		with.Assistant(&a)
	}
	s.Assistant = s.NewAssistant(a)
	d := s.Definition("Acorn")
	if with.Profile != nil {
		with.Profile(&d)
	}
	s.Profile = s.NewProfile(s.Assistant, d)
	s.Owner = s.NewKey(behalf.Key{Name: "owner", Role: behalf.RoleOwner})
	s.Key = s.NewKey(behalf.Key{Name: "assistant", Assistant: s.Assistant.ID})
}

// Definition is a profile's whose provider is the simulator.
func (s *Server) Definition(name string) behalf.Definition { return Definition(name, s.Provider) }

// Definition is a profile's whose provider is the simulator at the base URL,
// and whose calls go below /api.
func Definition(name, base string) behalf.Definition {
	return behalf.Definition{Type: behalf.OAuth2, Name: name, Provider: "Acorn Notes", ClientID: "bot",
		AuthorizationURL: base + "/authorize", TokenURL: base + "/token",
		Scope: []behalf.ScopeParam{{Key: "scope", Value: "notes:read notes:write offline_access"}},
		API:   behalf.API{BaseURL: base + "/api"}}
}

// NewAssistant makes one more assistant.
func (s *Server) NewAssistant(a behalf.Assistant) behalf.Assistant {
	s.t.Helper()
	made, err := s.System.CreateAssistant(s.t.Context(), a)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// NewProfile makes one more profile, with the simulator's client secret.
func (s *Server) NewProfile(a behalf.Assistant, d behalf.Definition) behalf.Profile {
	s.t.Helper()
	made, err := s.System.CreateProfile(s.t.Context(), behalf.Profile{Assistant: a.ID, Definition: d,
		Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: secret.New(storetest.ClientSecret), CreatedAt: s.DB.Now()}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// NewKey makes one more key and returns it.
func (s *Server) NewKey(k behalf.Key) string {
	s.t.Helper()
	_, key, err := s.System.CreateKey(s.t.Context(), k)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Secret(key.Reveal())
	return key.Reveal()
}

// Granted is a credential that the simulator has just issued.
func (s *Server) Granted() behalf.Credential {
	s.t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {userName}, "password": {password}, "scope": {"notes:read notes:write offline_access"}}
	r, err := http.NewRequest(http.MethodPost, s.Provider+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("bot", url.QueryEscape(storetest.ClientSecret))
	var got struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	s.Send(r).Into(s.t, &got)
	now := s.DB.Now()
	return behalf.Credential{AccessToken: secret.New(got.AccessToken), RefreshToken: secret.New(got.RefreshToken), TokenType: "Bearer",
		Scopes: []string{"notes:read", "notes:write"}, ExpiresAt: now.Add(time.Duration(got.ExpiresIn) * time.Second), ObtainedAt: now}
}

// Connected is a new connection of the profile for a user, with a credential
// that the provider's API takes. Another subject is another account.
func (s *Server) Connected(p behalf.Profile, user, subject string) behalf.Connection {
	s.t.Helper()
	return s.Connect(p, behalf.ConnectSession{User: user}, s.Granted(), behalf.Account{Subject: subject, Label: subject + "@acorn.example"}, nil)
}

// Connect makes a connection with a credential and with values of additional
// fields. Of the session it takes User and Tenant.
func (s *Server) Connect(p behalf.Profile, of behalf.ConnectSession, c behalf.Credential, account behalf.Account, fields map[string]secret.Text) behalf.Connection {
	s.t.Helper()
	now := s.DB.Now()
	n := behalf.ConnectSession{ID: behalf.NewSessionID(now), Assistant: p.Assistant, Profile: p.ID, User: of.User, Tenant: of.Tenant, Status: behalf.SessionCreated,
		LinkHash: secret.Hash(secret.Random()), Version: 1, CreatedAt: now, ExpiresAt: now.Add(behalf.SessionLifetime)}
	if err := s.System.CreateSession(s.t.Context(), n, behalf.SessionSecrets{}); err != nil {
		s.t.Fatal(err)
	}
	made, err := s.System.Connect(s.t.Context(), n, behalf.SessionResult{Credential: c, Account: account}, behalf.Inputs{Fields: fields}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// Secret names what must not be in the log.
func (s *Server) Secret(values ...string) { s.secrets = append(s.secrets, values...) }

func (s *Server) nothingSecretIsLogged() {
	log := s.Log.String()
	for _, value := range s.secrets {
		if at := strings.Index(log, value); at >= 0 {
			s.t.Errorf("the log holds a secret: …%.300s", log[max(0, at-200):])
		}
	}
}

// Answer is a whole answer.
type Answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    string
}

// Do sends a request to the server: body is sent as it is where it is a string
// or a reader, and as JSON otherwise; headers are names and values in turn. A
// path that is a whole URL is taken as it is.
func (s *Server) Do(key, method, path string, body any, headers ...string) Answer {
	s.t.Helper()
	return s.Send(s.Request(key, method, path, body, headers...))
}

// Request is what Do sends.
func (s *Server) Request(key, method, path string, body any, headers ...string) *http.Request {
	s.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	case io.Reader:
		in = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	if strings.HasPrefix(path, "/") {
		path = s.URL + path
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// Send sends any request and reads the whole answer.
func (s *Server) Send(r *http.Request) Answer {
	s.t.Helper()
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return Answer{res.StatusCode, res.Header, res.Trailer, string(body)}
}

// Into reads a good answer.
func (a Answer) Into(t testing.TB, v any) {
	t.Helper()
	if a.Status >= 300 {
		t.Fatalf("status %d: %.500s", a.Status, a.Body)
	}
	if err := json.Unmarshal([]byte(a.Body), v); err != nil {
		t.Fatalf("status %d, %v: %.500s", a.Status, err, a.Body)
	}
}

// Problem reads a problem document (RFC 9457), which must be whole and have the
// status and code that are wanted.
func (a Answer) Problem(t testing.TB, status int, code behalf.Code) api.Problem {
	t.Helper()
	p, err := a.problem()
	if err != nil || a.Status != status || p.Code != string(code) {
		t.Fatalf("status %d, code %q, want %d, %q (%v): %.500s", a.Status, p.Code, status, code, err, a.Body)
	}
	return p
}

func (a Answer) problem() (api.Problem, error) {
	var p api.Problem
	d := json.NewDecoder(strings.NewReader(a.Body))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	switch {
	case err != nil:
		return p, err
	case a.Header.Get("Content-Type") != "application/problem+json":
		return p, errors.New("not sent as application/problem+json")
	case a.Header.Get("Behalf-Error") != p.Code:
		return p, errors.New("Behalf-Error is not the code")
	case p.Status != a.Status:
		return p, errors.New("status is not the answer's")
	case p.Type == "" || p.Title == "" || p.Detail == "":
		return p, errors.New("type, title or detail is missing")
	case len(p.Errors) > 0 && p.Field != p.Errors[0].Field:
		return p, errors.New("field is not the first of errors")
	}
	return p, nil
}

// Tap starts a server that answers nothing useful and hands over every request.
// It returns its URL.
func Tap(t testing.TB, see func(*http.Request)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
