package vault_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/behalf-dev/behalf/internal/vault"
)

func TestAKeyringComesBackFromItsWrappedForm(t *testing.T) {
	_, root := keyring(t)
	k, wrapped, err := vault.NewKeyring(root)
	if err != nil {
		t.Fatal(err)
	}
	again, err := vault.OpenKeyring(root, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(seal(t, k, "x", here), here); err != nil || string(got) != "x" {
		t.Fatal(string(got), err)
	}
	if again.PrimaryID() != k.PrimaryID() {
		t.Fatal("another primary key")
	}
	code, err := k.MAC([]byte("x"), here)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.CheckMAC(code, []byte("x"), here); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyringOpensUnderItsRootKeyOnly(t *testing.T) {
	_, root := keyring(t)
	_, other := keyring(t)
	_, wrapped, err := vault.NewKeyring(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		root    vault.RootKey
		wrapped []byte
	}{
		"another root key":              {other, wrapped},
		"no root key":                   {vault.RootKey{}, wrapped},
		"a truncated keyring":           {root, wrapped[:len(wrapped)/2]},
		"no keyring":                    {root, nil},
		"an empty object":               {root, []byte("{}")},
		"the two keysets swapped":       {root, swapNames(wrapped)},
		"a keyset twice":                {root, bytes.ReplaceAll(wrapped, []byte(`"mac":`), []byte(`"seal":`))},
		"a damaged character of base64": {root, damaged(wrapped)},
	} {
		t.Run(name, func(t *testing.T) {
			if k, err := vault.OpenKeyring(c.root, c.wrapped); !errors.Is(err, vault.ErrWrongRootKey) || k != nil {
				t.Fatalf("OpenKeyring: %v", err)
			}
		})
	}
}

func TestWithoutARootKeyThereIsNoNewKeyring(t *testing.T) {
	if _, _, err := vault.NewKeyring(vault.RootKey{}); err == nil {
		t.Fatal("a keyring was wrapped by nothing")
	}
}

func TestARotationFromAddedToPrimary(t *testing.T) {
	old, root := keyring(t)
	before := seal(t, old, "before", here)
	code, err := old.MAC([]byte("x"), here)
	if err != nil {
		t.Fatal(err)
	}

	added, _, err := old.Rotate(root)
	if err != nil {
		t.Fatal(err)
	}
	if added.PrimaryID() != old.PrimaryID() {
		t.Fatal("the added key seals before all nodes have loaded it")
	}
	if _, err := old.Open(seal(t, added, "x", here), here); err != nil {
		t.Fatalf("a node with the older keyring cannot open: %v", err)
	}

	promoted, wrapped, err := added.Promote(root)
	if err != nil {
		t.Fatal(err)
	}
	after := seal(t, promoted, "after", here)
	id, err := vault.KeyID(after)
	if err != nil || id != promoted.PrimaryID() || id == old.PrimaryID() {
		t.Fatalf("sealed under %08x, primary %08x, old primary %08x, %v", id, promoted.PrimaryID(), old.PrimaryID(), err)
	}
	if _, err := added.Open(after, here); err != nil {
		t.Fatalf("a node that loaded the added key cannot open: %v", err)
	}
	if _, err := old.Open(after, here); !errors.Is(err, vault.ErrUnknownKey) {
		t.Fatalf("a node that missed the rotation: %v", err)
	}

	loaded, err := vault.OpenKeyring(root, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	for text, sealed := range map[string][]byte{"before": before, "after": after} {
		if got, err := loaded.Open(sealed, here); err != nil || string(got) != text {
			t.Fatalf("%s: %q, %v", text, got, err)
		}
	}
	if id, err := vault.KeyID(before); err != nil || id == loaded.PrimaryID() {
		t.Fatal("what waits to be sealed again cannot be told")
	}
	if err := loaded.CheckMAC(code, []byte("x"), here); err != nil {
		t.Fatalf("a MAC from before the rotation: %v", err)
	}
	newCode, err := loaded.MAC([]byte("x"), here)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.CheckMAC(newCode, []byte("x"), here); !errors.Is(err, vault.ErrMAC) {
		t.Fatal("the MAC key was not rotated")
	}
}

func TestPromotingTwiceOrBeforeRotatingChangesNothing(t *testing.T) {
	k, root := keyring(t)
	same, _, err := k.Promote(root)
	if err != nil || same.PrimaryID() != k.PrimaryID() {
		t.Fatal(err)
	}
}

func TestAKeyringMovesToAnotherRootKey(t *testing.T) {
	k, root := keyring(t)
	_, next := keyring(t)
	wrapped, err := k.Wrap(next)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := vault.OpenKeyring(next, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := moved.Open(seal(t, k, "x", here), here); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.OpenKeyring(root, wrapped); !errors.Is(err, vault.ErrWrongRootKey) {
		t.Fatalf("the old root key: %v", err)
	}
}

func swapNames(wrapped []byte) []byte {
	s := bytes.ReplaceAll(wrapped, []byte(`"seal":`), []byte(`"other":`))
	s = bytes.ReplaceAll(s, []byte(`"mac":`), []byte(`"seal":`))
	return bytes.ReplaceAll(s, []byte(`"other":`), []byte(`"mac":`))
}

func damaged(wrapped []byte) []byte {
	d := bytes.Clone(wrapped)
	at := bytes.Index(d, []byte(`"seal":"`)) + 60
	if d[at] == 'A' {
		d[at] = 'B'
	} else {
		d[at] = 'A'
	}
	return d
}
