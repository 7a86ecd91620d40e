package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/behalf-dev/behalf/internal/kms"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

// rootKey returns the operator's key, or makes one for a database that has no
// keyring yet. A database that has one is never given another key. Where the
// key is held by a service it is decided by the settings and never by what the
// database says: whoever writes there must not choose whom we ask.
func (c Config) rootKey(ctx context.Context, kept vault.Kept) (vault.RootKey, error) {
	by := vault.HeldBy(kept.Held)
	switch {
	case kms.Named(c.RootKey):
		return c.heldRootKey(ctx, kept)
	case !c.RootKey.Empty():
		return vault.ParseRootKey(c.RootKey)
	case c.DataDir == "":
		return vault.RootKey{}, errors.New("no root key: set BEHALF_ROOT_KEY, or --data to where root.key is")
	}
	key, err := vault.LoadRootKey(c.rootKeyFile())
	switch {
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return key, err
	case by != "":
		return key, fmt.Errorf("this database's root key is held by %s: start with --root-key or BEHALF_ROOT_KEY set to that; without it, behalf keyring recover makes the key of the recovery kit", by)
	case kept.Keyring:
		return key, fmt.Errorf("the database is sealed with a root key, and there is none at %s: put back the file that this database was made with, or make it of the recovery kit (behalf keyring recover); a new key could not open it", c.rootKeyFile())
	}
	return c.newRootKeyFile()
}

func (c Config) newRootKeyFile() (vault.RootKey, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return vault.RootKey{}, fmt.Errorf("make the data directory: %w", err)
	}
	key, err := vault.CreateRootKey(c.rootKeyFile())
	if errors.Is(err, fs.ErrExist) {
		return vault.LoadRootKey(c.rootKeyFile()) // another node made it a moment ago
	}
	if err == nil {
		c.Log.Warn("made a root key: back it up apart from the database, without it nothing can be opened", "file", c.rootKeyFile())
	}
	return key, err
}

// heldRootKey asks the key management service that the settings name.
func (c Config) heldRootKey(ctx context.Context, kept vault.Kept) (vault.RootKey, error) {
	uri := c.RootKey.Reveal()
	switch by := vault.HeldBy(kept.Held); {
	case !kept.Keyring:
		return HoldRootKey(ctx, c, kept.Database)
	case by == "":
		return vault.RootKey{}, fmt.Errorf("no key management service holds this root key, it is a file's or a variable's: start with that one. To have %s hold it: behalf keyring rewrap --new-root-key %s, with the old one as --root-key", uri, uri)
	default:
		key, err := kms.Open(ctx, uri, c.kms())
		if err != nil {
			return vault.RootKey{}, err
		}
		root, err := vault.OpenHeldRootKey(ctx, key, kept.Held)
		return root, told(err, uri, by)
	}
}

// told says what to do where a service does not give the root key.
func told(err error, uri, by string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kms.ErrAway):
		return fmt.Errorf("%w. Start it, or make the way to it free, and start again; nothing was changed. If it is lost, behalf keyring recover makes the root key of the recovery kit", err)
	case uri != by:
		return fmt.Errorf("%w. This database's root key is held by %s, and %s was asked: is --root-key or BEHALF_ROOT_KEY right?", err, by, uri)
	}
	return fmt.Errorf("%w. Look whether the credentials may decrypt with this key, and whether it is still the key that was there when the database was made. If it is lost, behalf keyring recover makes the root key of the recovery kit", err)
}

// HoldRootKey makes a root key that is held by the key management service's key
// of cfg.RootKey, for a database.
func HoldRootKey(ctx context.Context, cfg Config, database string) (vault.RootKey, error) {
	uri := cfg.RootKey.Reveal()
	key, err := kms.Open(ctx, uri, cfg.kms())
	if err != nil {
		return vault.RootKey{}, err
	}
	root, err := vault.HoldRootKey(ctx, uri, key, database)
	if err != nil {
		return root, fmt.Errorf("%w. The key must be there, and the credentials must be allowed to encrypt and decrypt with it; nothing was changed", err)
	}
	return root, nil
}

// HoldsRootKey reports whether a setting names a key of a key management
// service, rather than a file or a key.
func HoldsRootKey(setting secret.Text) bool { return kms.Named(setting) }

func (c Config) kms() kms.Config { return kms.Config{Token: c.KMSToken, Wait: c.KMSWait, Log: c.Log} }
