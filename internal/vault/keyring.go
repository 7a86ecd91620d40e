package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrWrongRootKey is returned where a root key does not open a keyring.
var ErrWrongRootKey = errors.New("vault: the root key does not open this database's keyring: it is another key, or the keyring is damaged; start with the key that this database was made with")

// The two keysets of a keyring are wrapped apart; each wrapping says which it is.
const (
	sealLabel = "behalf/keyset/v1/seal"
	macLabel  = "behalf/keyset/v1/mac"
)

// Keyring holds the keys that seal, and those that make MACs. It never changes:
// Rotate and Promote return another. It is safe for concurrent use.
//
// The rules of rotation are:
//
//   - A key is added (Rotate) and loaded by every node before it is used, or a
//     node would meet bytes that it cannot open.
//   - Then it is made primary (Promote): new bytes are sealed under it.
//   - Bytes under older keys open all the while, until they are sealed again.
type Keyring struct {
	sealKeys, macKeys *keyset.Handle

	aead tink.AEAD
	mac  tink.MAC
	ids  []uint32 // of sealKeys, in the order in which they were added
}

// wrappedKeyring is how a keyring is stored: JSON, so that a later version can
// add a keyset and still read the older ones.
type wrappedKeyring struct {
	Seal []byte `json:"seal"` // an EncryptedKeyset of Tink under the root key
	MAC  []byte `json:"mac"`
}

// NewKeyring makes a keyring with one key and returns it with its wrapped form
// for the database.
func NewKeyring(root RootKey) (*Keyring, []byte, error) {
	sealKeys, err := keyset.NewHandle(sealTemplate())
	if err != nil {
		return nil, nil, fmt.Errorf("vault: new keyring: %w", err)
	}
	macKeys, err := keyset.NewHandle(macTemplate())
	if err != nil {
		return nil, nil, fmt.Errorf("vault: new keyring: %w", err)
	}
	return wrapped(root, sealKeys, macKeys)
}

// OpenKeyring opens a wrapped keyring. It returns ErrWrongRootKey where the
// root key does not fit.
func OpenKeyring(root RootKey, wrapped []byte) (*Keyring, error) {
	var w wrappedKeyring
	if err := json.Unmarshal(wrapped, &w); err != nil {
		return nil, ErrWrongRootKey // err would quote what is stored
	}
	sealKeys, err := unwrap(root, w.Seal, sealLabel)
	if err != nil {
		return nil, err
	}
	macKeys, err := unwrap(root, w.MAC, macLabel)
	if err != nil {
		return nil, err
	}
	return keyring(sealKeys, macKeys)
}

// PrimaryID returns the id of the key that Seal uses.
func (k *Keyring) PrimaryID() uint32 { return k.sealKeys.KeysetInfo().GetPrimaryKeyId() }

// Wrap returns the keyring under a root key, which may be a new one.
func (k *Keyring) Wrap(root RootKey) ([]byte, error) {
	seal, err := wrap(root, k.sealKeys, sealLabel)
	if err != nil {
		return nil, err
	}
	mac, err := wrap(root, k.macKeys, macLabel)
	if err != nil {
		return nil, err
	}
	return json.Marshal(wrappedKeyring{Seal: seal, MAC: mac})
}

// Rotate returns a keyring with one more key, which opens but does not seal
// yet, and its wrapped form.
func (k *Keyring) Rotate(root RootKey) (*Keyring, []byte, error) {
	sealKeys, err := withKey(k.sealKeys, sealTemplate())
	if err != nil {
		return nil, nil, err
	}
	macKeys, err := withKey(k.macKeys, macTemplate())
	if err != nil {
		return nil, nil, err
	}
	return wrapped(root, sealKeys, macKeys)
}

// Promote returns a keyring that seals under the key that was added last, and
// its wrapped form.
func (k *Keyring) Promote(root RootKey) (*Keyring, []byte, error) {
	sealKeys, err := withNewestPrimary(k.sealKeys)
	if err != nil {
		return nil, nil, err
	}
	macKeys, err := withNewestPrimary(k.macKeys)
	if err != nil {
		return nil, nil, err
	}
	return wrapped(root, sealKeys, macKeys)
}

func (k *Keyring) has(id uint32) bool { return slices.Contains(k.ids, id) }

// XAES-256-GCM has nonces long enough to be random for ever, so that no key
// wears out by the number of things it sealed.
func sealTemplate() *tinkpb.KeyTemplate { return aead.XAES256GCM192BitNonceKeyTemplate() }
func macTemplate() *tinkpb.KeyTemplate  { return mac.HMACSHA256Tag256KeyTemplate() }

func keyring(sealKeys, macKeys *keyset.Handle) (*Keyring, error) {
	a, err := aead.New(sealKeys)
	if err != nil {
		return nil, fmt.Errorf("vault: keyring: %w", err)
	}
	m, err := mac.New(macKeys)
	if err != nil {
		return nil, fmt.Errorf("vault: keyring: %w", err)
	}
	return &Keyring{sealKeys: sealKeys, macKeys: macKeys, aead: a, mac: m, ids: ids(sealKeys)}, nil
}

func wrapped(root RootKey, sealKeys, macKeys *keyset.Handle) (*Keyring, []byte, error) {
	k, err := keyring(sealKeys, macKeys)
	if err != nil {
		return nil, nil, err
	}
	w, err := k.Wrap(root)
	if err != nil {
		return nil, nil, err
	}
	return k, w, nil
}

func wrap(root RootKey, keys *keyset.Handle, label string) ([]byte, error) {
	if root.aead == nil {
		return nil, errors.New("vault: wrap the keyring: there is no root key")
	}
	var b bytes.Buffer
	if err := keys.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), root.aead, []byte(label)); err != nil {
		return nil, fmt.Errorf("vault: wrap the keyring: %w", err)
	}
	return b.Bytes(), nil
}

func unwrap(root RootKey, wrapped []byte, label string) (*keyset.Handle, error) {
	if root.aead == nil {
		return nil, ErrWrongRootKey
	}
	keys, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), root.aead, []byte(label))
	if err != nil {
		return nil, ErrWrongRootKey
	}
	return keys, nil
}

func withKey(keys *keyset.Handle, template *tinkpb.KeyTemplate) (*keyset.Handle, error) {
	m := keyset.NewManagerFromHandle(keys)
	if _, err := m.Add(template); err != nil {
		return nil, fmt.Errorf("vault: rotate: %w", err)
	}
	return handle(m)
}

func withNewestPrimary(keys *keyset.Handle) (*keyset.Handle, error) {
	all := ids(keys)
	m := keyset.NewManagerFromHandle(keys)
	if err := m.SetPrimary(all[len(all)-1]); err != nil {
		return nil, fmt.Errorf("vault: promote: %w", err)
	}
	return handle(m)
}

func handle(m *keyset.Manager) (*keyset.Handle, error) {
	keys, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("vault: keyring: %w", err)
	}
	return keys, nil
}

func ids(keys *keyset.Handle) []uint32 {
	var ids []uint32
	for _, key := range keys.KeysetInfo().GetKeyInfo() {
		ids = append(ids, key.GetKeyId())
	}
	return ids
}
