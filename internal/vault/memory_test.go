package vault_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/behalf-dev/behalf/internal/vault"
)

func TestMemoryOpensOnlyWhatItSealedForTheSameLabel(t *testing.T) {
	m, err := vault.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	other, err := vault.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("what is secret")
	sealed := m.Seal(text, "con_1")
	if bytes.Contains(sealed, text) || bytes.Equal(sealed, m.Seal(text, "con_1")) {
		t.Error("it can be read, or is the same twice")
	}
	if got, err := m.Open([]byte("> "), sealed, "con_1"); err != nil || string(got) != "> what is secret" {
		t.Errorf("%q, %v", got, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another label":   func() ([]byte, error) { return m.Open(nil, sealed, "con_2") },
		"another process": func() ([]byte, error) { return other.Open(nil, sealed, "con_1") },
		"a changed bit":   func() ([]byte, error) { return m.Open(nil, changed, "con_1") },
		"too short":       func() ([]byte, error) { return m.Open(nil, sealed[:5], "con_1") },
	} {
		if got, err := open(); !errors.Is(err, vault.ErrOpen) || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
