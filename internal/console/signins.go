package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store"
)

// This file remembers who is signed in. The rules are:
//
//   - The cookie holds 256 random bits; what is kept is found by their hash, in
//     the database that all nodes share.
//   - Whoever comes in gets a new cookie: one that was planted before is worth
//     nothing.
//   - What has been signed out stays so: a request that was under way meanwhile
//     does not bring it back.

const (
	// idle ends a sign-in that nobody used, absolute any.
	idle     = 8 * time.Hour
	absolute = 7 * 24 * time.Hour
)

// What a sign-in remembers.
const (
	keyMember  = "member"
	keyID      = "id"
	keyAgent   = "agent"
	keyAddress = "address"
	keyToast   = "toast"
	keySSO     = "sso"
)

func system() behalf.Actor { return behalf.System("console") }

// newSignIns fills in the manager by itself: scs.New would start a store in
// memory, with a goroutine that nothing stops.
func newSignIns(cfg Config) *scs.SessionManager {
	name, secure := cookieName(cfg)
	return &scs.SessionManager{
		Store: &signInStore{cfg.DB}, Codec: codec{}, HashTokenInStore: true, IdleTimeout: idle, Lifetime: absolute,
		Cookie: scs.SessionCookie{Name: name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: secure, Persist: true},
		ErrorFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			cfg.Log.Error("sign-in not kept", "err", err)
			http.Error(w, "The database does not answer as it should. Try again in a moment.", http.StatusServiceUnavailable)
		},
	}
}

// cookieName returns the name of the cookie, and whether it is sent by https
// only. The prefix keeps other hosts from setting it. On this machine itself,
// without https, cookies are shared by all ports: so the port is in the name.
func cookieName(cfg Config) (name string, secure bool) {
	if cfg.PublicURL.Scheme == "https" {
		return "__Host-behalf_console", true
	}
	return "behalf_console_" + cfg.PublicURL.Port(), false
}

// carried notes which sign-in a request came with.
type carried struct{ hash string }

type carriedKey struct{}

// remembered gives each request what its sign-in remembers.
func (c *Console) remembered(next http.Handler) http.Handler {
	load := c.signIns.LoadAndSave(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		load.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), carriedKey{}, &carried{})))
	})
}

// codec writes what is remembered as JSON, always in the same order.
type codec struct{}

type remembered struct {
	Deadline time.Time         `json:"deadline"`
	Values   map[string]string `json:"values"`
}

func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	m := remembered{deadline.UTC(), map[string]string{}}
	for name, v := range values {
		if s, ok := v.(string); ok && s != "" {
			m.Values[name] = s
		}
	}
	return json.Marshal(m)
}

func (codec) Decode(b []byte) (time.Time, map[string]any, error) {
	var m remembered
	err := json.Unmarshal(b, &m)
	values := map[string]any{}
	for name, v := range m.Values {
		values[name] = v
	}
	return m.Deadline, values, err
}

// signInStore keeps sign-ins in our database, as scs asks for it.
type signInStore struct{ db *store.DB }

func (s *signInStore) FindCtx(ctx context.Context, hash string) ([]byte, bool, error) {
	k, found, err := s.db.FindSignIn(ctx, hash)
	if c, ok := ctx.Value(carriedKey{}).(*carried); ok && found {
		c.hash = hash
	}
	return k.Data, found, err
}

func (s *signInStore) CommitCtx(ctx context.Context, hash string, data []byte, expiry time.Time) error {
	var m remembered
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	k := store.KeptSignIn{SignIn: behalf.SignIn{ID: behalf.SignInID(m.Values[keyID]), Member: behalf.MemberID(m.Values[keyMember]),
		Agent: m.Values[keyAgent], Address: m.Values[keyAddress], ExpiresAt: expiry}, Data: data}
	c, ok := ctx.Value(carriedKey{}).(*carried)
	return s.db.KeepSignIn(ctx, hash, k, !ok || c.hash != hash)
}

func (s *signInStore) DeleteCtx(ctx context.Context, hash string) error {
	return s.db.DropSignIn(ctx, hash)
}

// scs asks for these only of a store that takes no context.
func (s *signInStore) Find(hash string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), hash)
}

func (s *signInStore) Commit(hash string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), hash, data, expiry)
}

func (s *signInStore) Delete(hash string) error { return s.DeleteCtx(context.Background(), hash) }
