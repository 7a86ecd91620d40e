package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
)

type keysCommand struct {
	Create createKeyCommand `cmd:"" help:"Make a key and print it, this once."`
	List   listKeysCommand  `cmd:"" help:"List all keys."`
	Revoke revokeKeyCommand `cmd:"" help:"Revoke a key at once."`
}

// existing runs do with the database open, which must be there already: in a
// mistaken directory a command makes none, nor a key that opens nothing. The
// server may be running meanwhile.
func (s *storage) existing(ctx context.Context, do func(store.Scope) error) error {
	return s.open(ctx, func(db *store.DB) error { return do(db.As(behalf.System("cli"))) })
}

// open is existing for the whole database.
func (s *storage) open(ctx context.Context, do func(*store.DB) error) error {
	if path, missing := s.sqliteMissing(); missing {
		return fmt.Errorf("there is no database at %s: name the server's data directory with --data or BEHALF_DATA", path)
	}
	log, err := newLog("warn")
	if err != nil {
		return err
	}
	db, err := server.OpenStore(ctx, s.config(log))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(db)
}

// sqliteMissing reports whether the database is a file that is not there.
func (p *place) sqliteMissing() (path string, missing bool) {
	path = strings.TrimPrefix(p.Database, "sqlite:")
	if p.Database == "" {
		path = filepath.Join(p.Data, "behalf.db")
	}
	_, err := os.Stat(path)
	return path, errors.Is(err, fs.ErrNotExist) && !strings.Contains(p.Database, "://")
}

type createKeyCommand struct {
	storage
	Name      string        `help:"What the key is for." required:""`
	Role      string        `help:"owner, administrator, developer or viewer: an administrator's key." xor:"whose" required:"" enum:"owner,administrator,developer,viewer,"`
	Assistant string        `help:"Id or slug: that assistant's key." xor:"whose" required:""`
	For       time.Duration `help:"How long the key is good (default: until it is revoked)."`
	JSON      bool          `help:"Print JSON." name:"json"`
}

// Run prints the key alone, so that it can be put into a file.
func (c *createKeyCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error {
		k := behalf.Key{Name: c.Name, Role: behalf.Role(c.Role)}
		if c.Assistant != "" {
			a, err := db.Assistant(ctx, c.Assistant)
			if err != nil {
				return err
			}
			k.Assistant = a.ID
		}
		if c.For > 0 {
			k.ExpiresAt = db.Now().Add(c.For)
		}
		k, key, err := db.CreateKey(ctx, k)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]string{"id": string(k.ID), "key": key.Reveal()})
		}
		_, err = fmt.Println(key.Reveal())
		return err
	})
}

type listKeysCommand struct {
	storage
	JSON bool `help:"Print JSON." name:"json"`
}

func (c *listKeysCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error {
		var keys []behalf.Key
		for page := (store.Page{Limit: 200}); ; page.After = string(keys[len(keys)-1].ID) {
			some, err := db.Keys(ctx, page)
			if err != nil {
				return err
			}
			if keys = append(keys, some...); len(some) < int(page.Limit) {
				break
			}
		}
		if len(keys) == 0 {
			fmt.Fprintln(os.Stderr, "There are no keys.")
		}
		for _, k := range keys {
			var err error
			whose, state := string(k.Role), "active"
			if k.Assistant != "" {
				whose = string(k.Assistant)
			}
			if !k.Good(db.Now()) {
				state = "ended"
			}
			if c.JSON {
				err = printJSON(map[string]string{"id": string(k.ID), "name": k.Name, "for": whose, "state": state})
			} else {
				_, err = fmt.Printf("%s  %-7s  %-32s  %s\n", k.ID, state, whose, k.Name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

type revokeKeyCommand struct {
	storage
	ID string `arg:"" help:"The key's id: key_…"`
}

func (c *revokeKeyCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error { return db.RevokeKey(ctx, behalf.KeyID(c.ID)) })
}

func printJSON(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
