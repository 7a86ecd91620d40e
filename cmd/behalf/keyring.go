package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/server"
	"github.com/behalf-dev/behalf/internal/store"
	"github.com/behalf-dev/behalf/internal/vault"
)

type keyringCommand struct {
	Status  keyringStatusCommand  `cmd:"" help:"Show the keys that seal the database, and how far a rotation is."`
	Rotate  keyringRotateCommand  `cmd:"" help:"Add a key and seal everything again with it, while everything is served."`
	Disable keyringDisableCommand `cmd:"" help:"Make a key that nothing is sealed under open nothing any more."`
	Enable  keyringEnableCommand  `cmd:"" help:"Make a disabled key open again."`
	Destroy keyringDestroyCommand `cmd:"" help:"Remove a disabled key for ever."`
	Rewrap  keyringRewrapCommand  `cmd:"" help:"Wrap the keyring with another root key."`
	Kit     keyringKitCommand     `cmd:"" help:"Write a page to print and keep in a safe, from which the root key can be made again; or check one."`
	Recover keyringRecoverCommand `cmd:"" help:"Make the root key's file again from a recovery kit."`
}

type keyringStatusCommand struct {
	storage
	JSON bool `help:"Print JSON." name:"json"`
}

func (c *keyringStatusCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error {
		k, err := db.Keyring(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(keyringView(k))
		}
		for _, key := range k.Keys {
			fmt.Printf("%s  %-8s  %s\n", key.ID, key.State, counted(key.Rows, "value", "values"))
		}
		if k.Rotation != nil {
			fmt.Println(told(*k.Rotation, k.Waiting))
		}
		if k.HeldBy != "" {
			fmt.Fprintln(os.Stderr, "the root key is held by", k.HeldBy)
		}
		fmt.Fprintln(os.Stderr, k.Kit)
		return nil
	})
}

func keyringView(k behalf.Keyring) map[string]any {
	keys := []map[string]any{}
	for _, key := range k.Keys {
		keys = append(keys, map[string]any{"id": key.ID, "state": key.State, "rows": key.Rows})
	}
	out := map[string]any{"keys": keys, "database": k.Database}
	if k.HeldBy != "" {
		out["held_by"] = k.HeldBy
	}
	if k.Kit != nil {
		out["kit"] = map[string]any{"made_at": k.Kit.MadeAt, "void": !k.Kit.VoidAt.IsZero()}
	}
	if r := k.Rotation; r != nil {
		out["rotation"] = rotationView(*r)
	}
	return out
}

func rotationView(r behalf.KeyRotation) map[string]any {
	return map[string]any{"key": r.Key, "stage": r.Stage, "done": r.Done, "total": r.Total, "damaged": r.Damaged}
}

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// told says in one line where a rotation is.
func told(r behalf.KeyRotation, waiting []behalf.NodeID) string {
	switch r.Stage {
	case behalf.KeyRotationAdded:
		if len(waiting) > 0 {
			names := make([]string, len(waiting))
			for i, n := range waiting {
				names[i] = string(n)
			}
			return "key " + r.Key + " was added; waiting for these servers to load it: " + strings.Join(names, ", ")
		}
		return "key " + r.Key + " was added"
	case behalf.KeyRotationSealing:
		line := fmt.Sprintf("sealing again with key %s: %d of %d", r.Key, r.Done, r.Total)
		if r.Done >= r.Total {
			line += "; waiting a moment for what servers still seal with the old key"
		}
		return line
	}
	line := "rotated to key " + r.Key + " on " + r.EndedAt.Format(time.RFC3339) + ": " + counted(r.Done, "value was", "values were") + " sealed again"
	if r.Damaged > 0 {
		line += fmt.Sprintf("; %d do not open and stay under their old key: see the log", r.Damaged)
	}
	return line
}

type keyringRotateCommand struct {
	storage
	JSON bool `help:"Print JSON when it has ended." name:"json"`
}

// Run begins a rotation, or goes on with one that is under way, and works on it
// until it has ended. Servers that run work on it too.
func (c *keyringRotateCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error {
		if _, err := db.RotateKeyring(ctx); err != nil && behalf.CodeOf(err) != behalf.CodeConflict {
			return err
		}
		said, at, tries := "", db.Now().Add(-time.Minute), 0
		for {
			began := db.Now()
			r, more, err := db.TurnKeyring(ctx)
			if tries++; behalf.CodeOf(err) == behalf.CodeUnavailable && tries < 10 { // others are busy with the database
				err = wait(ctx, time.Second)
				more, r = true, behalf.KeyRotation{}
			} else if err == nil {
				tries = 0
			}
			if err != nil {
				return err
			}
			if more { // rest as long as that took: on SQLite nobody else could write meanwhile
				if err := wait(ctx, min(time.Second, db.Now().Sub(began))); err != nil {
					return err
				}
				if db.Now().Sub(at) < time.Second || r.Key == "" {
					continue
				}
			}
			var waiting []behalf.NodeID
			if !more {
				k, err := db.Keyring(ctx) // somebody else may do the work
				if err != nil {
					return err
				}
				r, waiting = *k.Rotation, k.Waiting
			}
			if line := told(r, waiting); line != said && !c.JSON {
				said, at = line, db.Now()
				fmt.Fprintln(os.Stderr, line)
			}
			if r.Stage == behalf.KeyRotationDone {
				if c.JSON {
					return printJSON(rotationView(r))
				}
				return nil
			}
			if !more {
				if err := wait(ctx, time.Second); err != nil {
					return err
				}
			}
		}
	})
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return errors.New("stopped; the servers that run go on with the rotation, and so does this command when it is run again")
	case <-time.After(d):
		return nil
	}
}

type keyringDisableCommand struct {
	storage
	Key string `arg:"" help:"The key's id, as status shows it."`
}

func (c *keyringDisableCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error { return db.DisableKey(ctx, c.Key) })
}

type keyringEnableCommand struct {
	storage
	Key string `arg:"" help:"The key's id, as status shows it."`
}

func (c *keyringEnableCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error { return db.EnableKey(ctx, c.Key) })
}

type keyringDestroyCommand struct {
	storage
	Key string `arg:"" help:"The key's id, as status shows it."`
	Yes bool   `help:"Do it: what is sealed under the key, in backups too, can never be opened again." required:""`
}

func (c *keyringDestroyCommand) Run(ctx context.Context) error {
	return c.existing(ctx, func(db store.Scope) error { return db.DestroyKey(ctx, c.Key) })
}

type keyringRewrapCommand struct {
	storage
	NewRootKey string `help:"File of the new root key, which is made where there is none; or the URI of a key management service's key, which will hold a new one." name:"new-root-key" required:"" placeholder:"FILE"`
}

// Run makes the new key first: a keyring must never be wrapped with a key that is
// nowhere.
func (c *keyringRewrapCommand) Run(ctx context.Context) error {
	return c.open(ctx, func(db *store.DB) error {
		held := server.HoldsRootKey(secret.New(c.NewRootKey))
		make, then := c.inFile, "Put it where the servers look for root.key, back it up, and start them again with it"
		if held {
			make, then = c.held, "Start the servers again with --root-key or BEHALF_ROOT_KEY set to that; a root.key from before opens older backups only"
		}
		root, err := make(ctx, db)
		if err != nil {
			return err
		}
		if err := db.As(behalf.System("cli")).RewrapKeyring(ctx, root); err != nil {
			return err
		}
		_, err = fmt.Printf("The keyring is wrapped with the key in %s. %s; those that run go on until then. A recovery kit from before is void: make another with behalf keyring kit.\n", c.NewRootKey, then)
		return err
	})
}

func (c *keyringRewrapCommand) inFile(context.Context, *store.DB) (vault.RootKey, error) {
	root, err := vault.LoadRootKey(c.NewRootKey)
	if errors.Is(err, os.ErrNotExist) {
		return vault.CreateRootKey(c.NewRootKey)
	}
	return root, err
}

func (c *keyringRewrapCommand) held(ctx context.Context, db *store.DB) (vault.RootKey, error) {
	log, err := newLog("warn")
	if err != nil {
		return vault.RootKey{}, err
	}
	cfg := c.config(log)
	cfg.RootKey = secret.New(c.NewRootKey)
	return server.HoldRootKey(ctx, cfg, string(db.ID()))
}
