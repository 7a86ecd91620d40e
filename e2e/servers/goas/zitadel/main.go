// Command zitadel serves the example provider of zitadel/oidc, which keeps
// everything in memory.
package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/behalf-dev/behalf/e2e/servers/goas/settings"
)

func main() {
	config := settings.FromEnvironment()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	storage.RegisterClients(
		storage.WebClient("basic", config.ClientSecret, config.RedirectURIs...),
		storage.WebClient("post", config.ClientSecret, config.RedirectURIs...),
		storage.NativeClient("public", config.RedirectURIs...),
	)
	store := &shortLived{
		Storage: storage.NewStorage(newUsers(config)),
		ttl:     config.TokenTTL,
		expires: map[string]time.Time{},
	}
	handler := exampleop.SetupServer("http://"+config.Addr+"/", store, logger, false)
	log.Fatal(http.ListenAndServe(config.Addr, handler))
}

// users implements storage.UserStore; the key is the user's name and id.
type users map[string]*storage.User

func newUsers(config settings.Settings) users {
	all := users{}
	for _, name := range config.Users {
		all[name] = &storage.User{ID: name, Username: name, Password: config.Password, Email: name, EmailVerified: true}
	}
	return all
}

func (u users) GetUserByID(id string) *storage.User         { return u[id] }
func (u users) GetUserByUsername(name string) *storage.User { return u[name] }
func (u users) ExampleClientID() string                     { return "none" }

// shortLived lets access tokens end after ttl. The example's own lifetime is a
// constant of five minutes, which stays the most that its endpoints accept.
type shortLived struct {
	*storage.Storage
	ttl time.Duration

	mu      sync.Mutex
	expires map[string]time.Time // by id of the access token
}

func (s *shortLived) CreateAccessToken(ctx context.Context, request op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, request)
	return id, s.expire(id), err
}

func (s *shortLived) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, refreshToken string) (string, string, time.Time, error) {
	id, next, _, err := s.Storage.CreateAccessAndRefreshTokens(ctx, request, refreshToken)
	return id, next, s.expire(id), err
}

func (s *shortLived) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, origin string) error {
	s.mu.Lock()
	expired := time.Now().After(s.expires[id])
	s.mu.Unlock()
	if expired {
		return errors.New("token is expired")
	}
	return s.Storage.SetUserinfoFromToken(ctx, info, id, subject, origin)
}

func (s *shortLived) expire(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires[id] = time.Now().Add(s.ttl)
	return s.expires[id]
}
