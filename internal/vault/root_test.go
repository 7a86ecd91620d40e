package vault_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

func TestANewRootKeyIsOneLineThatOnlyItsOwnerReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	created, err := vault.CreateRootKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	text := read(t, path)
	if !strings.HasPrefix(text, "behalf-root-key-v1 ") || strings.Count(text, "\n") != 1 || len(text) != 19+43+1 {
		t.Fatalf("%d characters in a wrong form", len(text))
	}
	loaded, err := vault.LoadRootKey(path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := vault.ParseRootKey(secret.New("\t" + text + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, wrapped, err := vault.NewKeyring(created)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []vault.RootKey{loaded, parsed} {
		if _, err := vault.OpenKeyring(root, wrapped); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Fatalf("left behind: %v", files)
	}
}

func TestAnExistingRootKeyIsNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	for _, content := range []string{"", "half a k", "behalf-root-key-v1 x"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := vault.CreateRootKey(path); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("CreateRootKey: %v", err)
		}
		if read(t, path) != content {
			t.Fatal("the file was changed")
		}
	}
}

func TestADanglingLinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	path, elsewhere := filepath.Join(dir, "root.key"), filepath.Join(dir, "elsewhere")
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.CreateRootKey(path); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("CreateRootKey: %v", err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a key was written where the link points")
	}
}

func TestOfManyFirstStartsExactlyOneMakesTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { _, errs[n] = vault.CreateRootKey(path) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d winners", won)
	}
	if _, err := vault.LoadRootKey(path); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Fatalf("left behind: %v", files)
	}
}

func TestAStartThatDiedWhileWritingLeavesNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path+".new-123", []byte("behalf-root-key-v1 AAAA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.LoadRootKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("LoadRootKey: %v", err)
	}
	if _, err := vault.CreateRootKey(path); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyCannotBeMadeInADirectoryThatIsNotThere(t *testing.T) {
	if _, err := vault.CreateRootKey(filepath.Join(t.TempDir(), "no", "root.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("CreateRootKey: %v", err)
	}
}

func TestAFileThatOthersCanReachIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if _, err := vault.CreateRootKey(path); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[fs.FileMode]bool{
		0o644: true, 0o640: true, 0o604: true, 0o620: true, 0o602: true, 0o610: true, 0o600: false, 0o400: false,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := vault.LoadRootKey(path)
		if errors.Is(err, vault.ErrKeyPermissions) != refused || (err != nil) != refused {
			t.Errorf("%v: %v", mode, err)
		}
		if refused && !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("does not say what to do: %v", err)
		}
	}
}

func TestOnlyAWholeKeyIsAKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if _, err := vault.CreateRootKey(path); err != nil {
		t.Fatal(err)
	}
	whole := strings.TrimSpace(read(t, path))
	key := strings.TrimPrefix(whole, "behalf-root-key-v1 ")
	for name, text := range map[string]string{
		"empty":                     "",
		"the mark alone":            "behalf-root-key-v1",
		"a truncated key":           whole[:len(whole)-1],
		"a key without its mark":    key,
		"a later version":           "behalf-root-key-v2 " + key,
		"a longer key":              whole + "A",
		"padding":                   whole + "=",
		"two keys":                  whole + "\n" + whole,
		"another file":              "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----",
		"characters beside base64":  whole[:len(whole)-1] + "*",
		"bits after the last byte":  "behalf-root-key-v1 " + strings.Repeat("A", 42) + "B",
		"a key followed by a space": "behalf-root-key-v1 " + key[:20] + " " + key[20:],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := vault.ParseRootKey(secret.New(text))
			if !errors.Is(err, vault.ErrKeyFormat) {
				t.Fatalf("ParseRootKey: %v", err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = vault.LoadRootKey(path)
			if !errors.Is(err, vault.ErrKeyFormat) || !strings.Contains(err.Error(), path) {
				t.Fatalf("LoadRootKey: %v", err)
			}
			if len(text) > 20 && strings.Contains(err.Error(), text[20:]) {
				t.Fatal("the error holds a part of the file")
			}
		})
	}
}

func TestNothingPrintsARootKeyOrAKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	root, err := vault.CreateRootKey(path)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := vault.NewKeyring(root)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Fields(read(t, path))[1]
	raw := secret.New(key)
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, root, &root, k, struct{ R vault.RootKey }{root})
	}
	b, err := json.Marshal(struct {
		R vault.RootKey
		K *vault.Keyring
	}{root, k})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, form := range forms(t, raw) {
		if strings.Contains(out.String(), form) {
			t.Fatalf("the root key was printed:\n%s", out.String())
		}
	}
}

// forms returns how fmt would show the bytes of a key in base64url.
func forms(t *testing.T, key secret.Text) []string {
	t.Helper()
	raw := decode(t, key.Reveal())
	return []string{
		key.Reveal(), string(raw), fmt.Sprintf("%x", raw),
		strings.Trim(fmt.Sprint(raw), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", raw), "[]byte{"), "}"),
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
