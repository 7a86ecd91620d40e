package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
	"github.com/behalf-dev/behalf/internal/server"
)

// place is where everything is kept.
type place struct {
	Data     string `help:"Data directory: root key, and the SQLite database." default:"behalf-data" env:"BEHALF_DATA" type:"path"`
	Database string `help:"sqlite:PATH or postgres://… (default: behalf.db in the data directory)." env:"BEHALF_DATABASE_URL"`
}

// storage is that with what opens it, for all commands that do.
type storage struct {
	place
	RootKey  secretFlag `help:"Root key, file:PATH, or the URI of a key that holds it: hcvault://HOST/transit/keys/NAME, aws-kms://ARN or gcp-kms://NAME (default: root.key in the data directory)." env:"BEHALF_ROOT_KEY" placeholder:"KEY"`
	KMSToken secretFlag `help:"Token for Vault or OpenBao, or file:PATH." name:"kms-token" env:"BEHALF_KMS_TOKEN,VAULT_TOKEN,BAO_TOKEN" placeholder:"TOKEN"`
}

// config is what opens the database, for the server and for tools beside it.
func (s *storage) config(log *slog.Logger) server.Config {
	return server.Config{DataDir: s.Data, Database: s.Database, RootKey: s.RootKey.Text, KMSToken: s.KMSToken.Text, Version: versionOf(), Log: log}
}

type serveCommand struct {
	storage
	Listen       string        `help:"Address to listen on." default:"127.0.0.1:8788" env:"BEHALF_LISTEN"`
	PublicURL    string        `help:"URL by which browsers and providers reach this server." name:"public-url" env:"BEHALF_PUBLIC_URL"`
	AllowPrivate []network     `help:"Private networks that profiles may reach, such as 10.1.0.0/16." env:"BEHALF_ALLOW_PRIVATE" placeholder:"CIDR"`
	Grace        time.Duration `help:"How long tokens that are good are given out while the database does not answer; below zero: not at all." default:"5m" env:"BEHALF_GRACE"`
	AuditKeep    time.Duration `help:"How long audit lines are kept, such as 9600h (default: for ever)." env:"BEHALF_AUDIT_KEEP"`
	AuditLines   int64         `help:"How many audit lines are kept (default: all)." env:"BEHALF_AUDIT_LINES"`
	OnDemand     bool          `help:"Renew tokens only when somebody asks for them, not before." name:"on-demand" env:"BEHALF_ON_DEMAND"`
	KMSWait      time.Duration `help:"How long a key management service that is away at the start is asked again." name:"kms-wait" env:"BEHALF_KMS_WAIT" default:"1m"`
	Catalog      string        `help:"Folder with files of known applications of your own, beside those of the catalogue." env:"BEHALF_CATALOG" type:"existingdir" placeholder:"DIR"`
	nodeFlags
	ssoFlags
	LogLevel string `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"BEHALF_LOG_LEVEL"`
}

// nodeFlags say how nodes of one database reach each other.
type nodeFlags struct {
	InternalListen  string `help:"Address to listen on for other nodes of the same database (default: a free port)." env:"BEHALF_INTERNAL_LISTEN"`
	InternalAddress string `help:"host:port by which other nodes reach that (default: this machine's)." env:"BEHALF_INTERNAL_ADDRESS"`
}

// ssoFlags set up single sign-on to the console.
type ssoFlags struct {
	SSOIssuer       string            `help:"OpenID Connect issuer that signs people in to the console." name:"sso-issuer" env:"BEHALF_SSO_ISSUER" placeholder:"URL"`
	SSOClientID     string            `help:"Client id there; its redirect URI is PUBLIC-URL/console/sso/callback." name:"sso-client-id" env:"BEHALF_SSO_CLIENT_ID"`
	SSOClientSecret secretFlag        `help:"Client secret, or file:PATH." name:"sso-client-secret" env:"BEHALF_SSO_CLIENT_SECRET" placeholder:"SECRET"`
	SSOLabel        string            `help:"What the button says." name:"sso-label" env:"BEHALF_SSO_LABEL" default:"Sign in with single sign-on"`
	SSOScopes       []string          `help:"Scopes to ask for beside openid, email and profile." name:"sso-scopes" env:"BEHALF_SSO_SCOPES"`
	SSODomains      []string          `help:"Domains whose verified addresses are let in without an invitation." name:"sso-domains" env:"BEHALF_SSO_DOMAINS"`
	SSOEmails       []string          `help:"Verified addresses that are let in without an invitation." name:"sso-emails" env:"BEHALF_SSO_EMAILS"`
	SSORole         string            `help:"Role of those: owner, administrator, developer or viewer." name:"sso-role" env:"BEHALF_SSO_ROLE" enum:"owner,administrator,developer,viewer" default:"viewer"`
	SSORoleClaim    string            `help:"Claim whose values give roles, such as groups." name:"sso-role-claim" env:"BEHALF_SSO_ROLE_CLAIM"`
	SSORoles        map[string]string `help:"Role by value of that claim: admins=administrator;staff=viewer." name:"sso-roles" env:"BEHALF_SSO_ROLES"`
}

func (f ssoFlags) sso() console.SSO {
	roles := map[string]behalf.Role{}
	for value, role := range f.SSORoles {
		roles[value] = behalf.Role(role)
	}
	return console.SSO{Issuer: f.SSOIssuer, ClientID: f.SSOClientID, ClientSecret: f.SSOClientSecret.Text, Label: f.SSOLabel, Scopes: f.SSOScopes,
		Domains: f.SSODomains, Emails: f.SSOEmails, Role: behalf.Role(f.SSORole), RoleClaim: f.SSORoleClaim, Roles: roles}
}

// Run serves until it is told to stop.
func (c *serveCommand) Run(ctx context.Context) error {
	log, err := newLog(c.LogLevel)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, c.config(log))
	if err != nil {
		return listening(err)
	}
	first, err := s.FirstKey(ctx)
	if err != nil {
		_ = s.Close()
		return err
	}
	if first != "" {
		log.Warn("made the first key, an owner's: take it from the file and delete the file", "file", first)
	}
	if err := setUp(ctx, s); err != nil {
		_ = s.Close()
		return err
	}
	log.Info("ready", "url", s.URL().String(), "database", s.DB().Engine(), "version", versionOf(), "node", s.DB().Node)
	err = s.Run(ctx)
	log.Info("stopped")
	return err
}

// setUp prints the link by which the first owner comes in. It goes to the
// standard output and not to the log, which is kept and read by others; it
// works once and for a day.
func setUp(ctx context.Context, s *server.Server) error {
	link, err := s.SetUpLink(ctx)
	if err != nil || link == "" {
		return err
	}
	_, err = fmt.Printf("Set up the console: open this link and choose the first owner's password. It works once, within a day.\n  %s\n", link)
	return err
}

func (c *serveCommand) config(log *slog.Logger) server.Config {
	cfg := server.Config{Listen: c.Listen, PublicURL: c.PublicURL, DataDir: c.Data, Database: c.Database, RootKey: c.RootKey.Text, KMSToken: c.KMSToken.Text, KMSWait: c.KMSWait,
		Grace: c.Grace, AuditKeep: c.AuditKeep, AuditLines: c.AuditLines, InternalListen: c.InternalListen, InternalAddress: c.InternalAddress, OnDemand: c.OnDemand, SSO: c.sso(), Version: versionOf(), Log: log}
	for _, n := range c.AllowPrivate {
		cfg.AllowPrivate = append(cfg.AllowPrivate, n.Prefix)
	}
	if c.Catalog != "" {
		cfg.Catalog = os.DirFS(c.Catalog)
	}
	return cfg
}

func newLog(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
