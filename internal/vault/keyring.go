package vault

import (
	"bytes"
	"encoding/binary"
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
// Rotate, Promote, Disable, Enable and Destroy return another. It is safe for concurrent use.
//
// The rules of rotation are:
//
//   - A key is added (Rotate) and loaded by every node before it is used, or a
//     node would meet bytes that it cannot open.
//   - Then it is made primary (Promote): new bytes are sealed under it.
//   - Bytes under older keys open all the while, until they are sealed again.
//   - A key that nothing is sealed under any more is disabled, which can be taken
//     back, and later destroyed, which cannot.
type Keyring struct {
	sealKeys, macKeys *keyset.Handle

	aead tink.AEAD
	mac  tink.MAC
	ids  []uint32 // of sealKeys that open, in the order in which they were added
}

// KeyState is what a key of a keyring does.
type KeyState string

const (
	KeyPrimary  KeyState = "primary"  // seals and opens
	KeyEnabled  KeyState = "enabled"  // opens
	KeyDisabled KeyState = "disabled" // is kept, and opens nothing
)

// Key describes one key of a keyring, without its material.
type Key struct {
	ID    uint32 // of the key that seals; the key that makes MACs goes with it
	MACID uint32
	State KeyState
}

var (
	// ErrNoKey is returned where a keyring does not have the key that was named.
	ErrNoKey = errors.New("vault: the keyring has no such key")

	// ErrKeyInUse is returned where a key cannot be disabled or destroyed: it
	// seals, or it was not disabled before it was to be destroyed.
	ErrKeyInUse = errors.New("vault: the key is in use")
)

// wrappedKeyring is how a keyring is stored: JSON, so that a later version can
// add a keyset and still read the older ones.
type wrappedKeyring struct {
	Seal []byte `json:"seal"` // an EncryptedKeyset of Tink under the root key
	MAC  []byte `json:"mac"`
	Root []byte `json:"root,omitempty"` // a heldKey, where a key management service holds the root key
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
	return json.Marshal(wrappedKeyring{Seal: seal, MAC: mac, Root: root.held})
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

// Keys returns the keys in the order in which they were added.
func (k *Keyring) Keys() []Key {
	seal, macs := k.sealKeys.KeysetInfo(), k.macKeys.KeysetInfo().GetKeyInfo()
	var out []Key
	for i, info := range seal.GetKeyInfo() {
		key := Key{ID: info.GetKeyId(), MACID: macs[i].GetKeyId(), State: KeyEnabled}
		switch {
		case key.ID == seal.GetPrimaryKeyId():
			key.State = KeyPrimary
		case info.GetStatus() != tinkpb.KeyStatusType_ENABLED:
			key.State = KeyDisabled
		}
		out = append(out, key)
	}
	return out
}

// Newest returns the id of the key that was added last.
func (k *Keyring) Newest() uint32 {
	all := ids(k.sealKeys)
	return all[len(all)-1]
}

// Disable returns a keyring in which the key opens nothing, and its wrapped
// form; Enable takes it back. The error is ErrNoKey or ErrKeyInUse.
func (k *Keyring) Disable(root RootKey, id uint32) (*Keyring, []byte, error) {
	return k.with(root, id, func(key Key) bool { return key.State != KeyPrimary }, (*keyset.Manager).Disable)
}

// Enable returns a keyring in which the key opens again, and its wrapped form.
func (k *Keyring) Enable(root RootKey, id uint32) (*Keyring, []byte, error) {
	return k.with(root, id, func(Key) bool { return true }, (*keyset.Manager).Enable)
}

// Destroy returns a keyring without a disabled key, and its wrapped form. What
// is sealed under it can never be opened again.
func (k *Keyring) Destroy(root RootKey, id uint32) (*Keyring, []byte, error) {
	return k.with(root, id, func(key Key) bool { return key.State == KeyDisabled }, (*keyset.Manager).Delete)
}

// with does the same to a key that seals and to the one that makes MACs with it.
func (k *Keyring) with(root RootKey, id uint32, may func(Key) bool, do func(*keyset.Manager, uint32) error) (*Keyring, []byte, error) {
	at := slices.IndexFunc(k.Keys(), func(key Key) bool { return key.ID == id })
	if at < 0 {
		return nil, nil, ErrNoKey
	}
	key := k.Keys()[at]
	if !may(key) {
		return nil, nil, ErrKeyInUse
	}
	seal, macs := keyset.NewManagerFromHandle(k.sealKeys), keyset.NewManagerFromHandle(k.macKeys)
	if err := errors.Join(do(seal, key.ID), do(macs, key.MACID)); err != nil {
		return nil, nil, fmt.Errorf("vault: key %08x: %w", id, err)
	}
	sealKeys, err := handle(seal)
	if err != nil {
		return nil, nil, err
	}
	macKeys, err := handle(macs)
	if err != nil {
		return nil, nil, err
	}
	return wrapped(root, sealKeys, macKeys)
}

// SealPrefix returns what everything begins with that the key seals, and
// MACPrefix the same of MACs.
func (k Key) SealPrefix() []byte { return prefix(k.ID) }
func (k Key) MACPrefix() []byte  { return prefix(k.MACID) }

// SealPrefix returns what everything begins with that Seal makes now, and
// MACPrefix the same of MAC: what begins otherwise waits to be made again.
func (k *Keyring) SealPrefix() []byte { return prefix(k.PrimaryID()) }
func (k *Keyring) MACPrefix() []byte  { return prefix(k.macKeys.KeysetInfo().GetPrimaryKeyId()) }

// Tink's wire format: 0x01, then four bytes of key id.
func prefix(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{1}, id) }

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
	return &Keyring{sealKeys: sealKeys, macKeys: macKeys, aead: a, mac: m, ids: enabled(sealKeys)}, nil
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

func enabled(keys *keyset.Handle) []uint32 {
	var ids []uint32
	for _, key := range keys.KeysetInfo().GetKeyInfo() {
		if key.GetStatus() == tinkpb.KeyStatusType_ENABLED {
			ids = append(ids, key.GetKeyId())
		}
	}
	return ids
}

func ids(keys *keyset.Handle) []uint32 {
	var ids []uint32
	for _, key := range keys.KeysetInfo().GetKeyInfo() {
		ids = append(ids, key.GetKeyId())
	}
	return ids
}
