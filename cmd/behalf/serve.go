package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/behalf-dev/behalf/internal/server"
)

// storage is where everything is kept, for all commands that open it.
type storage struct {
	Data     string     `help:"Data directory: root key, and the SQLite database." default:"behalf-data" env:"BEHALF_DATA" type:"path"`
	Database string     `help:"sqlite:PATH or postgres://… (default: behalf.db in the data directory)." env:"BEHALF_DATABASE_URL"`
	RootKey  secretFlag `help:"Root key, or file:PATH (default: root.key in the data directory)." env:"BEHALF_ROOT_KEY" placeholder:"KEY"`
}

type serveCommand struct {
	storage
	Listen       string         `help:"Address to listen on." default:"127.0.0.1:8788" env:"BEHALF_LISTEN"`
	PublicURL    string         `help:"URL by which browsers and providers reach this server." name:"public-url" env:"BEHALF_PUBLIC_URL"`
	AllowPrivate []netip.Prefix `help:"Private networks that profiles may reach, such as 10.1.0.0/16." env:"BEHALF_ALLOW_PRIVATE" placeholder:"CIDR"`
	LogLevel     string         `help:"debug, info, warn or error." enum:"debug,info,warn,error" default:"info" env:"BEHALF_LOG_LEVEL"`
}

// Run serves until it is told to stop.
func (c *serveCommand) Run(ctx context.Context) error {
	log, err := newLog(c.LogLevel)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, c.config(log))
	if err != nil {
		return err
	}
	first, err := s.FirstKey(ctx)
	if err != nil {
		_ = s.Close()
		return err
	}
	if first != "" {
		log.Warn("made the first key, an owner's: take it from the file and delete the file", "file", first)
	}
	log.Info("ready", "url", s.URL().String(), "database", s.DB().Engine(), "version", versionOf(), "node", s.DB().Node)
	err = s.Run(ctx)
	log.Info("stopped")
	return err
}

func (c *serveCommand) config(log *slog.Logger) server.Config {
	return server.Config{Listen: c.Listen, PublicURL: c.PublicURL, DataDir: c.Data, Database: c.Database, RootKey: c.RootKey.Text,
		AllowPrivate: c.AllowPrivate, Version: versionOf(), Log: log}
}

func newLog(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
