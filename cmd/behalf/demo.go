package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/store"
)

type demoCommand struct {
	Listen         string `help:"Address of the server; port 0 takes a free one." default:"127.0.0.1:0"`
	ProviderListen string `help:"Address of the simulated provider." default:"127.0.0.1:0"`
	JSON           bool   `help:"Print one JSON object on one line when all is ready, and keep running." name:"json"`
	LogLevel       string `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"error"`
}

// demonstration is what the demo prints.
type demonstration struct {
	API       string `json:"api"`
	Console   string `json:"console"`
	Connect   string `json:"connect"`
	Key       string `json:"key"`
	AdminKey  string `json:"admin_key"`
	Assistant string `json:"assistant"`
	Profile   string `json:"profile"`
	User      string `json:"user"`
	Provider  string `json:"provider"`
	Username  string `json:"username"`
	Password  string `json:"password"`
	Path      string `json:"path"`
}

// Run starts the real server on a temporary database beside a simulated
// provider, with one assistant and one profile ready.
func (c *demoCommand) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "behalf-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log, err := newLog(c.LogLevel)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, server.Config{Listen: c.Listen, DataDir: dir, Temporary: true, Version: versionOf(), Log: log,
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	if err != nil {
		return listening(err)
	}
	d := demonstration{API: s.URL().String(), User: "42", Username: "jane", Password: "acorn-in-autumn", Path: "/api/me"}
	provider, err := c.provider(&d)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer func() { _ = provider.server.Close() }()
	if err := d.prepare(ctx, s, provider.sim); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := d.print(c.JSON); err != nil {
		return errors.Join(err, s.Close())
	}
	return s.Run(ctx)
}

type provider struct {
	sim    *simulator.Simulator
	server *http.Server
}

const demoClient = "support-bot"

// provider starts the simulator on a port of its own.
func (c *demoCommand) provider(d *demonstration) (provider, error) {
	l, err := net.Listen("tcp", c.ProviderListen)
	if err != nil {
		return provider{}, listening(fmt.Errorf("listen on %s: %w", c.ProviderListen, err))
	}
	d.Provider = "http://" + l.Addr().String()
	sim := simulator.New(simulator.Config{
		BaseURL: d.Provider,
		Users:   []simulator.User{{Name: d.Username, Password: secret.New(d.Password), Email: "jane@example.com", FullName: "Jane Doe"}},
		Clients: []simulator.Client{{ID: demoClient, Name: "Support Bot", Secret: demoSecret()}},
		Prefill: true,
		Now:     time.Now,
	})
	p := provider{sim, &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = p.server.Serve(l) }() // ends with Close
	return p, nil
}

// demoSecret is the client secret of the demo's provider. It is no secret:
// both sides of it are made and thrown away here.
func demoSecret() secret.Text { return secret.New("acorn-demo-client-secret") }

// prepare makes the assistant, its profile, the keys and a link.
func (d *demonstration) prepare(ctx context.Context, s *server.Server, sim *simulator.Simulator) error {
	db := s.DB().As(behalf.System("demo"))
	a := behalf.NewAssistant("Support Bot", s.DB().Now())
	a.Finish, a.TokenReads = false, true
	a, err := db.CreateAssistant(ctx, a)
	if err != nil {
		return err
	}
	p, err := db.CreateProfile(ctx, behalf.Profile{Assistant: a.ID, Definition: d.definition(),
		Secrets: behalf.ProfileSecrets{Client: []behalf.ClientSecret{{Value: demoSecret(), CreatedAt: s.DB().Now()}}}})
	if err != nil {
		return err
	}
	if err := sim.AddRedirectURI(demoClient, s.Connect().CallbackURL(p.ID)); err != nil {
		return err
	}
	d.Assistant, d.Profile = a.Slug, p.Slug
	if d.Key, err = demoKey(ctx, db, behalf.Key{Name: "Demo assistant", Assistant: a.ID}); err != nil {
		return err
	}
	if d.AdminKey, err = demoKey(ctx, db, behalf.Key{Name: "Demo owner", Role: behalf.RoleOwner}); err != nil {
		return err
	}
	if d.Console, err = s.DemoLink(ctx); err != nil {
		return err
	}
	_, d.Connect, err = s.Connect().Begin(ctx, db, a, behalf.NewSession{Profile: p.Slug, User: d.User, UserName: "Jane Doe", Lifetime: behalf.MaxSessionLifetime})
	return err
}

func demoKey(ctx context.Context, db store.Scope, k behalf.Key) (string, error) {
	_, key, err := db.CreateKey(ctx, k)
	return key.Reveal(), err
}

func (d *demonstration) definition() behalf.Definition {
	return behalf.Definition{
		Type: behalf.OAuth2, Name: "Acorn Notes", Provider: "Acorn Notes", Description: "The demo's simulated provider.",
		ClientID: demoClient, AuthorizationURL: d.Provider + "/authorize", TokenURL: d.Provider + "/token", CheckURL: d.Provider + "/api/me",
		Scope: []behalf.ScopeParam{{Key: "scope", Value: "openid profile email offline_access"}, {Key: "scope", Value: "notes:read notes:write", Required: true}},
		API:   behalf.API{BaseURL: d.Provider},
		OAuth: behalf.OAuthSettings{Issuer: d.Provider, RequireIss: true, JWKSURL: d.Provider + "/jwks", UserinfoURL: d.Provider + "/userinfo", RevocationURL: d.Provider + "/revoke",
			Refresh: behalf.Refresh{Rotates: "yes"}},
	}
}

func (d *demonstration) print(asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(d)
	}
	_, err := fmt.Printf(`Behalf is running, with a simulated provider beside it. Ctrl-C ends both; nothing is kept.

  1. Connect Jane Doe: open this link, press Continue, sign in (it is filled in) and allow.
     %s

  2. Call the application on her behalf:
     curl -H "Authorization: Bearer %s" -H "Behalf-User: %s" %s/v1/assistants/%s/proxy/%s%s

  3. Look at it in the console, as its owner:
     %s

  API documentation  %s/docs
  Owner's key        %s
  Provider           %s (%s, password %s)
`, d.Connect, d.Key, d.User, d.API, d.Assistant, d.Profile, d.Path, d.Console, d.API, d.AdminKey, d.Provider, d.Username, d.Password)
	return err
}
