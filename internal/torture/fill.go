//go:build linux

package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
)

const (
	clientID = "torture"
	password = "in-autumn"
)

// forgiving is for how many seconds a lying provider gives again what it has
// lost. A profile must be told of less.
const forgiving = 120

// clientSecret is no secret: both sides of it are made and thrown away here.
func clientSecret() secret.Text { return secret.New("torture-client-secret") }

func person(n int) string { return fmt.Sprintf("user-%d", n) }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Provider returns the provider of a torture, for the process that serves it.
func Provider(users int, life time.Duration, now func() time.Time) *simulator.Simulator {
	cfg := simulator.Config{AccessTokenTTL: life, Now: now, Clients: []simulator.Client{{ID: clientID, Secret: clientSecret()}}}
	for n := range users {
		cfg.Users = append(cfg.Users, simulator.User{Name: person(n), Password: secret.New(password)})
	}
	return simulator.New(cfg)
}

// fill makes an assistant, a profile, a key, and a connection for each user.
func (t *torture) fill(ctx context.Context) (err error) {
	t.scope = t.db.As(behalf.System("torture"))
	a := behalf.NewAssistant("Torture", t.db.Now())
	a.Finish, a.TokenReads = false, true
	if t.assistant, err = t.scope.CreateAssistant(ctx, a); err != nil {
		return err
	}
	if t.profile, err = t.scope.CreateProfile(ctx, t.newProfile()); err != nil {
		return err
	}
	_, key, err := t.scope.CreateKey(ctx, behalf.Key{Name: "Torture", Assistant: t.assistant.ID})
	if err != nil {
		return err
	}
	t.key = key.Reveal()
	for len(t.all) < t.cfg.Connections {
		if err := t.connect(ctx, len(t.all), min(500, t.cfg.Connections-len(t.all))); err != nil {
			return err
		}
	}
	return nil
}

func (t *torture) newProfile() behalf.Profile {
	p := behalf.Profile{Assistant: t.assistant.ID, Definition: behalf.Definition{Type: behalf.OAuth2, Name: "Acorn Notes", Provider: "Acorn Notes", ClientID: clientID,
		AuthorizationURL: t.asked.Authorization, TokenURL: t.asked.Token, Scope: []behalf.ScopeParam{{Key: "scope", Value: "notes:read"}}, API: behalf.API{BaseURL: t.asked.Token}}}
	client := clientSecret()
	if i := t.cfg.Issuer; i.URL != "" {
		p.ClientID, client = i.ClientID, i.ClientSecret
		p.Scope = []behalf.ScopeParam{{Key: "scope", Value: strings.Join(issuerScopes, " ")}}
		p.OAuth.Issuer, p.OAuth.JWKSURL = i.URL, t.asked.JWKS
	}
	if t.cfg.Lies {
		p.OAuth.Refresh.ReplayWindow = forgiving - 20
	}
	p.Secrets.Client = []behalf.ClientSecret{{Value: client, CreatedAt: t.db.Now()}}
	return p
}

// connect imports n grants, beginning with a user's.
func (t *torture) connect(ctx context.Context, from, n int) error {
	rows, inputs := make([]behalf.Import, n), make([]behalf.Inputs, n)
	get := t.grant
	if t.cfg.Issuer.URL != "" {
		get = t.authorize
	}
	if err := each(n, func(i int) (err error) {
		if rows[i], err = get(ctx, from+i); err == nil {
			inputs[i], err = rows[i].Inputs(t.profile.Plan, t.db.Now)
		}
		return err
	}); err != nil {
		return err
	}
	made, err := t.scope.Import(ctx, t.profile, rows, inputs, false, false)
	for _, m := range made {
		t.all = append(t.all, m.Connection)
	}
	return err
}

// each does something n times, a few at a time.
func each(n int, do func(int) error) error {
	failed := make([]error, n)
	var wg sync.WaitGroup
	places := make(chan struct{}, 16)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			failed[i] = do(i)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

func (t *torture) grant(ctx context.Context, n int) (behalf.Import, error) {
	form := url.Values{"grant_type": {"password"}, "username": {person(n)}, "password": {password}, "scope": {"notes:read"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.asked.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return behalf.Import{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(clientID, clientSecret().Reveal())
	var got struct {
		AccessToken  secret.Text `json:"access_token"`
		RefreshToken secret.Text `json:"refresh_token"`
		ExpiresIn    int64       `json:"expires_in"`
	}
	if status, _, err := t.ask(req, &got); err != nil || status != http.StatusOK {
		return behalf.Import{}, fmt.Errorf("a grant of the provider: status %d: %w", status, err)
	}
	now := t.db.Now()
	return behalf.Import{User: person(n), Account: behalf.Account{Subject: person(n)}, Credential: behalf.Credential{AccessToken: got.AccessToken, RefreshToken: got.RefreshToken,
		TokenType: "Bearer", Scopes: []string{"notes:read"}, ObtainedAt: now, ExpiresAt: now.Add(time.Duration(got.ExpiresIn) * time.Second)}}, nil
}
