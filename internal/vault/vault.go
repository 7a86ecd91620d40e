// Package vault seals and opens bytes bound to where they are stored, under a
// keyring that rotates.
//
// A root key (of a file, of the environment, or held by a key management
// service) wraps the keyring, which is kept in the
// database; the keyring seals. Nothing in this package reads or writes a
// database, and no error of it holds anything that was sealed.
package vault

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/behalf-dev/behalf/internal/secret"
)

var (
	// ErrOpen is returned for sealed bytes that are damaged, or that were sealed at another place.
	ErrOpen = errors.New("damaged, or moved from another place")

	// ErrUnknownKey is returned for bytes under a key that this keyring does not
	// have, or that was disabled: another node has rotated, or the bytes come from
	// another installation.
	ErrUnknownKey = errors.New("sealed under a key that this keyring does not have, or that was disabled")

	// ErrMAC is returned for a MAC that is not that of the data at its place.
	ErrMAC = errors.New("does not match its MAC")
)

// Place says where sealed bytes are stored. What is sealed at one place opens
// at no other: a row, column or generation cannot be given another's secret.
type Place struct {
	Table      string // "credentials"
	Row        string // the row's id
	Column     string // "secret"
	Generation int64  // of the row's content; 0 where there are none
}

// String names the place for an error or a log.
func (p Place) String() string {
	return fmt.Sprintf("%s %s %s generation %d", p.Table, p.Row, p.Column, p.Generation)
}

// bytes is different for different places, whatever their parts contain (each
// carries its length), and is never the beginning of another's.
func (p Place) bytes() []byte {
	b := make([]byte, 0, 64)
	for _, part := range [...]string{p.Table, p.Row, p.Column} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(p.Generation))
}

// Seal encrypts plaintext for a place under the primary key. What it returns is
// 45 bytes longer: version, key id, nonce and tag.
func (k *Keyring) Seal(plaintext []byte, at Place) ([]byte, error) {
	sealed, err := k.aead.Encrypt(plaintext, at.bytes())
	if err != nil {
		return nil, fmt.Errorf("vault: seal %s: %w", at, err)
	}
	return sealed, nil
}

// Open returns what Seal was given for this place, ErrOpen or ErrUnknownKey.
func (k *Keyring) Open(sealed []byte, at Place) ([]byte, error) {
	plaintext, err := k.aead.Decrypt(sealed, at.bytes())
	if err != nil {
		return nil, fmt.Errorf("vault: open %s: %w", at, k.why(sealed))
	}
	return plaintext, nil
}

func (k *Keyring) why(sealed []byte) error {
	if id, err := KeyID(sealed); err == nil && !k.has(id) {
		return ErrUnknownKey
	}
	return ErrOpen
}

// SealText is Seal for a secret.
func (k *Keyring) SealText(t secret.Text, at Place) ([]byte, error) {
	return k.Seal([]byte(t.Reveal()), at)
}

// OpenText is Open for a secret.
func (k *Keyring) OpenText(sealed []byte, at Place) (secret.Text, error) {
	plaintext, err := k.Open(sealed, at)
	return secret.New(string(plaintext)), err
}

// KeyID returns the id of the key that sealed something, without opening it:
// what is not under PrimaryID waits to be sealed again. It returns ErrOpen for
// bytes that no keyring sealed.
func KeyID(sealed []byte) (uint32, error) {
	if len(sealed) < 5 || sealed[0] != 1 {
		return 0, fmt.Errorf("vault: key id: %w", ErrOpen)
	}
	return binary.BigEndian.Uint32(sealed[1:5]), nil
}

// MAC returns a code (37 bytes) that only this keyring can make, for data that
// is stored readable at a place but must not be changed behind our back.
func (k *Keyring) MAC(data []byte, at Place) ([]byte, error) {
	code, err := k.mac.ComputeMAC(append(at.bytes(), data...))
	if err != nil {
		return nil, fmt.Errorf("vault: mac %s: %w", at, err)
	}
	return code, nil
}

// CheckMAC returns nil where MAC made the code for this data and place, else ErrMAC.
func (k *Keyring) CheckMAC(code, data []byte, at Place) error {
	if err := k.mac.VerifyMAC(code, append(at.bytes(), data...)); err != nil {
		return fmt.Errorf("vault: %s: %w", at, ErrMAC)
	}
	return nil
}

const canaryText = "behalf canary v1"

var canaryPlace = Place{Table: "keyring", Row: "canary", Column: "sealed"}

// Canary returns sealed bytes to keep beside what is sealed: CheckCanary tells
// at start whether this keyring belongs to it.
func (k *Keyring) Canary() ([]byte, error) { return k.Seal([]byte(canaryText), canaryPlace) }

// CheckCanary returns nil where the keyring opens the canary, else ErrOpen or ErrUnknownKey.
func (k *Keyring) CheckCanary(sealed []byte) error {
	text, err := k.Open(sealed, canaryPlace)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(text, []byte(canaryText)) != 1 {
		return fmt.Errorf("vault: canary: %w", ErrOpen)
	}
	return nil
}
