package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
)

// seeded is what a database holds for the load.
type seeded struct {
	key         string
	assistant   string
	profile     string
	people      []person
	connections []behalf.ConnectionID // of those that were imported
}

// person is an end user with a connection, and the token that must come back.
type person struct{ user, token string }

// seed fills a database as the server would: an assistant that may read tokens,
// a profile for the application, and a connection for each user whose token is
// good for a day.
func seed(ctx context.Context, cfg server.Config, application string, users int) (seeded, error) {
	db, err := server.OpenStore(ctx, cfg)
	if err != nil {
		return seeded{}, err
	}
	defer func() { _ = db.Close() }()
	scope := db.As(behalf.System("bench"))
	a := behalf.NewAssistant("Bench", db.Now())
	a.Finish, a.TokenReads = false, true
	if a, err = scope.CreateAssistant(ctx, a); err != nil {
		return seeded{}, err
	}
	p, err := scope.CreateProfile(ctx, behalf.Profile{Assistant: a.ID, Definition: definition(application)})
	if err != nil {
		return seeded{}, err
	}
	_, key, err := scope.CreateKey(ctx, behalf.Key{Name: "Bench", Assistant: a.ID})
	if err != nil {
		return seeded{}, err
	}
	s := seeded{key: key.Reveal(), assistant: a.Slug, profile: p.Slug}
	for n := range users {
		one := person{fmt.Sprintf("user-%d", n), token()}
		if err := connect(ctx, scope, p, one); err != nil {
			return s, err
		}
		s.people = append(s.people, one)
	}
	return s, nil
}

func definition(application string) behalf.Definition {
	return behalf.Definition{Type: behalf.OAuth2, Name: "Application", Provider: "Application", ClientID: "bench",
		AuthorizationURL: application + "/authorize", TokenURL: application + "/token",
		Scope: []behalf.ScopeParam{{Key: "scope", Value: "notes:read"}},
		API:   behalf.API{BaseURL: application}}
}

func connect(ctx context.Context, scope store.Scope, p behalf.Profile, who person) error {
	now := scope.Now()
	s := behalf.ConnectSession{ID: behalf.NewSessionID(now), Assistant: p.Assistant, Profile: p.ID, User: who.user, Status: behalf.SessionCreated,
		LinkHash: secret.Hash(secret.Random()), Version: 1, CreatedAt: now, ExpiresAt: now.Add(behalf.SessionLifetime)}
	if err := scope.CreateSession(ctx, s, behalf.SessionSecrets{}); err != nil {
		return err
	}
	credential := behalf.Credential{AccessToken: secret.New(who.token), RefreshToken: secret.Random(), TokenType: "Bearer",
		Scopes: []string{"notes:read"}, ExpiresAt: now.Add(24 * time.Hour), ObtainedAt: now}
	_, err := scope.Connect(ctx, s, behalf.SessionResult{Credential: credential}, behalf.Inputs{}, nil)
	return err
}

// token is as long as the signed ones of large providers.
func token() string {
	raw := make([]byte, tokenLength)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)[:tokenLength]
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
