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

func TestAKeyIsDisabledTakenBackAndDestroyed(t *testing.T) {
	k, root := keyring(t)
	first := k.PrimaryID()
	old := seal(t, k, "old", here)
	code, err := k.MAC([]byte("x"), here)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(vault.RootKey) (*vault.Keyring, []byte, error){
		func(r vault.RootKey) (*vault.Keyring, []byte, error) { return k.Rotate(r) },
		func(r vault.RootKey) (*vault.Keyring, []byte, error) { return k.Promote(r) },
	} {
		if k, _, err = step(root); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := k.Destroy(root, first); !errors.Is(err, vault.ErrKeyInUse) {
		t.Fatal("a key that opens was destroyed", err)
	}
	if _, _, err := k.Disable(root, k.PrimaryID()); !errors.Is(err, vault.ErrKeyInUse) {
		t.Fatal("the key that seals was disabled", err)
	}
	if _, _, err := k.Disable(root, first+1); !errors.Is(err, vault.ErrNoKey) {
		t.Fatal("a key that is not there was disabled", err)
	}

	_, wrapped, err := k.Disable(root, first)
	if err != nil {
		t.Fatal(err)
	}
	without, err := vault.OpenKeyring(root, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := without.Open(old, here); !errors.Is(err, vault.ErrUnknownKey) {
		t.Fatal("a disabled key opens", err)
	}
	if without.CheckMAC(code, []byte("x"), here) == nil {
		t.Fatal("a disabled key's MAC is taken")
	}
	if keys := without.Keys(); len(keys) != 2 || keys[0].State != vault.KeyDisabled || keys[1].State != vault.KeyPrimary {
		t.Fatal(keys)
	}

	again, _, err := without.Enable(root, first)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(old, here); err != nil || string(got) != "old" {
		t.Fatal(string(got), err)
	}
	if again.CheckMAC(code, []byte("x"), here) != nil {
		t.Fatal("an enabled key's MAC is refused")
	}

	gone, _, err := without.Destroy(root, first)
	if err != nil {
		t.Fatal(err)
	}
	if keys := gone.Keys(); len(keys) != 1 || keys[0].ID != k.PrimaryID() {
		t.Fatal(keys)
	}
	if got, err := gone.Open(seal(t, k, "new", here), here); err != nil || string(got) != "new" {
		t.Fatal(string(got), err)
	}
}

func TestThePrefixTellsWhatWaits(t *testing.T) {
	k, root := keyring(t)
	old := seal(t, k, "old", here)
	k, _, err := k.Rotate(root)
	if err != nil {
		t.Fatal(err)
	}
	if k, _, err = k.Promote(root); err != nil {
		t.Fatal(err)
	}
	code, err := k.MAC(nil, here)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasPrefix(old, k.SealPrefix()) || !bytes.HasPrefix(seal(t, k, "new", here), k.SealPrefix()) || !bytes.HasPrefix(code, k.MACPrefix()) {
		t.Fatal("the prefix is not that of the primary key")
	}
}
