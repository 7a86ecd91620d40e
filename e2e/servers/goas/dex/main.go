// Command dex serves Dex's own server package with a store in memory.
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	gosundheit "github.com/AppsFlyer/go-sundheit"
	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/server/tokens"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/dexidp/dex/web"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"github.com/behalf-dev/behalf/e2e/servers/goas/settings"
)

func main() {
	config := settings.FromEnvironment()
	handler, err := newServer(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(config.Addr, handler))
}

func newServer(ctx context.Context, config settings.Settings) (http.Handler, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := newStorage(config, logger)
	if err != nil {
		return nil, err
	}
	keys := &signer.LocalConfig{KeysRotationPeriod: "6h"}
	sign, err := keys.Open(ctx, store, config.TokenTTL, time.Now, logger)
	if err != nil {
		return nil, err
	}
	return server.NewServer(ctx, server.Config{
		Issuer:                 "http://" + config.Addr + "/dex",
		Storage:                store,
		Signer:                 sign,
		SupportedResponseTypes: []string{"code"},
		AllowedGrantTypes:      []string{"authorization_code", "refresh_token"},
		IDTokensValidFor:       config.TokenTTL,
		RefreshTokenPolicy:     tokens.NewRefreshStrategy(true, 0, 0, 0, time.Now), // rotate, no reuse
		Web:                    server.WebConfig{WebFS: web.FS(), Issuer: "Dex"},
		Logger:                 logger,
		PrometheusRegistry:     prometheus.NewRegistry(),
		HealthChecker:          gosundheit.New(),
	})
}

func newStorage(config settings.Settings, logger *slog.Logger) (storage.Storage, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(config.Password), bcrypt.DefaultCost)
	if err != nil {
		return nil, err
	}
	var users []storage.Password
	for _, name := range config.Users {
		users = append(users, storage.Password{Email: name, Username: name, UserID: name, Hash: hash})
	}

	uris := config.RedirectURIs
	clients := []storage.Client{
		{ID: "basic", Name: "basic", Secret: config.ClientSecret, RedirectURIs: uris},
		{ID: "post", Name: "post", Secret: config.ClientSecret, RedirectURIs: uris},
		{ID: "public", Name: "public", Public: true, RedirectURIs: uris},
	}

	var store storage.Storage = &unlocked{Storage: memory.New(logger)}
	store = storage.WithStaticClients(store, clients)
	store = storage.WithStaticPasswords(store, users, logger)
	return storage.WithStaticConnectors(store, []storage.Connector{{ID: "local", Type: "local", Name: "Email"}}), nil
}

// unlocked calls the updater of a refresh token outside the only lock of Dex's
// memory store. The server's updater reads the offline session from the same
// store and would wait for that lock forever.
type unlocked struct {
	storage.Storage
	mu sync.Mutex
}

func (u *unlocked) UpdateRefreshToken(ctx context.Context, id string, update func(storage.RefreshToken) (storage.RefreshToken, error)) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	current, err := u.GetRefresh(ctx, id)
	if err != nil {
		return err
	}
	updated, err := update(current)
	if err != nil {
		return err
	}
	return u.Storage.UpdateRefreshToken(ctx, id, func(storage.RefreshToken) (storage.RefreshToken, error) {
		return updated, nil
	})
}
