package vault_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/behalf-dev/behalf/internal/vault"
)

func sealedStream(t *testing.T, root vault.RootKey, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := vault.SealStream(root, &b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openedStream(root vault.RootKey, sealed []byte) ([]byte, error) {
	r, err := vault.OpenStream(func([]byte) (vault.RootKey, error) { return root, nil }, bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestAStreamComesBackWhole(t *testing.T) {
	_, root := keyring(t)
	_, other := keyring(t)
	for _, size := range []int{0, 1, 1 << 20, 3<<20 + 7} {
		content := bytes.Repeat([]byte("x"), size)
		sealed := sealedStream(t, root, content)
		if got, err := openedStream(root, sealed); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes: %d, %v", size, len(got), err)
		}
		if size > 0 && bytes.Contains(sealed, []byte("xxxx")) {
			t.Fatal("it is readable")
		}
		for name, bad := range map[string][]byte{
			"cut off":           sealed[:len(sealed)-1],
			"cut to its head":   sealed[:40],
			"empty":             nil,
			"something else":    []byte("SQLite format 3"),
			"a byte changed":    flipped(sealed, len(sealed)-3),
			"a key byte change": flipped(sealed, 40),
			"continued":         append(bytes.Clone(sealed), 'x'),
		} {
			if _, err := openedStream(root, bad); !errors.Is(err, vault.ErrStream) {
				t.Errorf("%d bytes, %s: %v", size, name, err)
			}
		}
		if _, err := openedStream(other, sealed); !errors.Is(err, vault.ErrStream) {
			t.Errorf("another root key: %v", err)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
