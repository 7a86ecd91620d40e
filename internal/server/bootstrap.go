package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/behalf-dev/behalf"
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
