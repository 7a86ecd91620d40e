package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/console"
)

// FirstKey makes an owner's key for a database that has no key at all, and
// writes it to the data directory for the operator to take: nothing secret is
// ever logged. It returns the file's name, or "" where there are keys already.
func (s *Server) FirstKey(ctx context.Context) (string, error) {
	db := s.db.As(behalf.System("first start"))
	if has, err := db.HasKeys(ctx); err != nil || has || s.cfg.DataDir == "" {
		return "", err
	}
	name := filepath.Join(s.cfg.DataDir, "owner.key")
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory: %w", err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("write the first key: %w", err)
	}
	_, key, err := db.CreateKey(ctx, behalf.Key{Name: "First owner", Role: behalf.RoleOwner})
	if err == nil {
		_, err = fmt.Fprintln(f, key.Reveal())
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return name, err
}

// SetUpLink returns the link by which the first owner comes into the console,
// and "" where there is anybody already.
func (s *Server) SetUpLink(ctx context.Context) (string, error) {
	link, err := s.db.As(behalf.System("first start")).SetUp(ctx)
	if err != nil || link.Empty() {
		return "", err
	}
	return console.Link(s.public, link), nil
}

// DemoLink returns the link by which anybody who has it comes into the console
// as an owner who is made for that.
func (s *Server) DemoLink(ctx context.Context) (string, error) {
	db := s.db.As(behalf.System("demo"))
	m, _, err := db.InviteMember(ctx, behalf.Member{Email: "owner@demo.example", Name: "Demo Owner", Role: behalf.RoleOwner})
	if err != nil {
		return "", err
	}
	link, err := db.LinkMember(ctx, m.ID, behalf.LinkSignIn)
	return console.Link(s.public, link), err
}
