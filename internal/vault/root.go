package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/behalf-dev/behalf/internal/secret"
)

// This file keeps the root key. The rules are:
//
//   - A root key that exists is never overwritten: what it wraps would be lost.
//   - A key file is there whole or not at all, even when the machine stops
//     while it is written.
//   - A file that others can read is no secret and is refused.

const (
	rootMark = "behalf-root-key-v1"
	rootSize = 32 // bytes, XChaCha20-Poly1305
)

var (
	// ErrKeyFormat is returned for a text or file that is not a whole root key.
	ErrKeyFormat = errors.New(`vault: this is not a whole root key: expected one line "` + rootMark + ` <43 characters of base64url>"`)

	// ErrKeyPermissions is returned for a key file that its group or others can read or write.
	ErrKeyPermissions = errors.New("vault: the root key file is open to other users of this machine: run chmod 600 on it")
)

// RootKey wraps keyrings. The zero RootKey wraps and opens nothing.
type RootKey struct {
	aead tink.AEAD
	text secret.Text // as a key file has it
	held []byte      // as a key management service has wrapped it; nil: none has
}

// ParseRootKey reads a root key from the text that is in a key file, as given
// in an environment variable. It returns ErrKeyFormat for any other text.
func ParseRootKey(text secret.Text) (RootKey, error) {
	key, err := rootBytes(text)
	if err != nil {
		return RootKey{}, err
	}
	aead, err := subtle.NewXChaCha20Poly1305(key)
	if err != nil {
		return RootKey{}, ErrKeyFormat
	}
	return RootKey{aead: aead, text: rootText(key)}, nil
}

// LoadRootKey reads a root key from its file. It returns fs.ErrNotExist where
// there is none, ErrKeyPermissions or ErrKeyFormat.
func LoadRootKey(path string) (RootKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return RootKey{}, fmt.Errorf("vault: root key: %w", err)
	}
	defer func() { _ = f.Close() }()

	info, err := f.Stat()
	if err != nil {
		return RootKey{}, fmt.Errorf("vault: root key: %w", err)
	}
	if open := info.Mode().Perm()&0o077 != 0; open && runtime.GOOS != "windows" { // Windows has no such bits
		return RootKey{}, fmt.Errorf("%w: %s", ErrKeyPermissions, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return RootKey{}, fmt.Errorf("vault: root key: %w", err)
	}
	root, err := ParseRootKey(secret.New(string(text)))
	if err != nil {
		return RootKey{}, fmt.Errorf("%w: %s", err, path)
	}
	return root, nil
}

// CreateRootKey makes a new root key and keeps it in a new file (0600) that is
// on the disk when CreateRootKey returns. Where the file exists, or another
// process is quicker, it returns fs.ErrExist and changes nothing.
func CreateRootKey(path string) (RootKey, error) {
	root, err := newRootKey()
	if err != nil {
		return RootKey{}, err
	}
	if err := root.WriteFile(path); err != nil {
		return RootKey{}, err
	}
	return root, nil
}

func newRootKey() (RootKey, error) {
	var key [rootSize]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand ends the process instead
	return ParseRootKey(rootText(key[:]))
}

// WriteFile keeps the root key in a new file, as CreateRootKey does.
func (r RootKey) WriteFile(path string) error {
	if err := writeOnce(path, r.text.Reveal()); err != nil {
		return fmt.Errorf("vault: new root key: %w", err)
	}
	return nil
}

// writeOnce makes the file by linking a finished one to its name: unlike a
// rename a link never replaces, and unlike O_EXCL it never shows half a file.
func writeOnce(path, text string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()

	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be synced there; NTFS journals the name
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
