package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// This file keeps a root key with a key management service. The rules are:
//
//   - The service wraps the root key, and nothing else: it is asked once, when a
//     process starts, and never for a row.
//   - It is told the database's id each time, and opens the key for no other.
//   - It is not believed: what it wrapped is opened again before anything depends
//     on it, and what it opens must be a key that opens the keyring.

// ErrHeld is returned where a service has answered with something else than the
// root key that it was given.
var ErrHeld = errors.New("vault: the key management service answered with something that is not the root key")

// heldKey is a root key as a service has wrapped it. It is kept with the keyring
// and at the head of a backup.
type heldKey struct {
	By       string `json:"by"` // URI of the service's key
	Database string `json:"database"`
	Key      []byte `json:"key"`
}

// Kept is what a database, or a backup of it, tells of its root key.
type Kept struct {
	Keyring  bool   // there is one: its root key must be found, not made
	Database string // id, to which a new root key is bound
	Held     []byte // the root key as a key management service has wrapped it, if one has
}

// HoldRootKey makes a root key that a service holds. by is the URI of its key.
func HoldRootKey(ctx context.Context, by string, service tink.AEADWithContext, database string) (RootKey, error) {
	root, err := newRootKey()
	if err != nil {
		return RootKey{}, err
	}
	key, err := rootBytes(root.text)
	if err != nil {
		return RootKey{}, err
	}
	wrapped, err := service.EncryptWithContext(ctx, key, heldLabel(database))
	if err != nil {
		return RootKey{}, fmt.Errorf("vault: hold a new root key: %w", err)
	}
	held, err := json.Marshal(heldKey{By: by, Database: database, Key: wrapped})
	if err != nil {
		return RootKey{}, fmt.Errorf("vault: hold a new root key: %w", err)
	}
	opened, err := OpenHeldRootKey(ctx, service, held)
	switch {
	case err != nil:
		return RootKey{}, err
	case !opened.text.Equal(root.text), shows(wrapped, key):
		return RootKey{}, ErrHeld
	}
	return opened, nil
}

// shows reports whether a key can be read in what is to be kept of it.
func shows(wrapped, key []byte) bool {
	return bytes.Contains(wrapped, key) || bytes.Contains(wrapped, []byte(base64.StdEncoding.EncodeToString(key)))
}

// OpenHeldRootKey opens a root key as HoldRootKey has kept it.
func OpenHeldRootKey(ctx context.Context, service tink.AEADWithContext, held []byte) (RootKey, error) {
	var h heldKey
	if err := json.Unmarshal(held, &h); err != nil {
		return RootKey{}, ErrHeld // err would quote what is kept
	}
	key, err := service.DecryptWithContext(ctx, h.Key, heldLabel(h.Database))
	if err != nil {
		return RootKey{}, fmt.Errorf("vault: open the root key: %w", err)
	}
	root, err := ParseRootKey(rootText(key))
	if err != nil {
		return RootKey{}, ErrHeld
	}
	root.held = held
	return root, nil
}

// HeldBy returns the URI of the key that has wrapped a root key, as Kept.Held
// tells; "" where none has.
func HeldBy(held []byte) string {
	var h heldKey
	if json.Unmarshal(held, &h) != nil {
		return ""
	}
	return h.By
}

// HeldBy returns the URI of the service's key that holds the root key, or "".
func (r RootKey) HeldBy() string { return HeldBy(r.held) }

// Held returns the root key as a service has wrapped it; nil where none has.
func (r RootKey) Held() []byte { return r.held }

// Held returns what a wrapped keyring tells of who holds its root key.
func Held(wrapped []byte) []byte {
	var w wrappedKeyring
	if json.Unmarshal(wrapped, &w) != nil {
		return nil
	}
	return w.Root
}

// HeldAs returns the root key of a keyring that it has opened, held as that tells:
// whoever came in by a recovery kit must not lose what the service holds.
func (r RootKey) HeldAs(wrapped []byte) RootKey {
	if r.held == nil {
		r.held = Held(wrapped)
	}
	return r
}

func heldLabel(database string) []byte { return []byte("behalf/root-key/v1/" + database) }
