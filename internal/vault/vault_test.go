package vault_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

var here = vault.Place{Table: "credentials", Row: "con_1", Column: "secret", Generation: 7}

// elsewhere is every way in which a place can be another one than here.
var elsewhere = map[string]vault.Place{
	"another table":                      {Table: "sessions", Row: "con_1", Column: "secret", Generation: 7},
	"another row":                        {Table: "credentials", Row: "con_2", Column: "secret", Generation: 7},
	"another column":                     {Table: "credentials", Row: "con_1", Column: "id_token", Generation: 7},
	"another generation":                 {Table: "credentials", Row: "con_1", Column: "secret", Generation: 8},
	"a negative generation":              {Table: "credentials", Row: "con_1", Column: "secret", Generation: -7},
	"no place":                           {},
	"a border moved between row, column": {Table: "credentials", Row: "con_1s", Column: "ecret", Generation: 7},
	"a border moved between table, row":  {Table: "credentialsc", Row: "on_1", Column: "secret", Generation: 7},
	"parts swapped":                      {Table: "credentials", Row: "secret", Column: "con_1", Generation: 7},
}

func TestSealedBytesOpenOnlyWhereTheyWereSealed(t *testing.T) {
	k, _ := keyring(t)
	sealed := seal(t, k, "refresh-token", here)
	if got, err := k.Open(sealed, here); err != nil || string(got) != "refresh-token" {
		t.Fatalf("Open at its place: %q, %v", got, err)
	}
	for name, place := range elsewhere {
		t.Run(name, func(t *testing.T) {
			if got, err := k.Open(sealed, place); !errors.Is(err, vault.ErrOpen) || got != nil {
				t.Fatalf("Open: %q, %v", got, err)
			}
		})
	}
}

func TestChangedBytesDoNotOpen(t *testing.T) {
	k, _ := keyring(t)
	sealed := seal(t, k, "refresh-token", here)
	for n := range sealed {
		if _, err := k.Open(sealed[:n], here); err == nil {
			t.Fatalf("opened the first %d bytes", n)
		}
		for bit := range 8 {
			flipped := bytes.Clone(sealed)
			flipped[n] ^= 1 << bit
			if _, err := k.Open(flipped, here); err == nil {
				t.Fatalf("opened with bit %d of byte %d flipped", bit, n)
			}
		}
	}
	if _, err := k.Open(append(bytes.Clone(sealed), 0), here); err == nil {
		t.Fatal("opened with a byte more")
	}
}

func TestSealingTwiceGivesDifferentBytes(t *testing.T) {
	k, _ := keyring(t)
	if bytes.Equal(seal(t, k, "same", here), seal(t, k, "same", here)) {
		t.Fatal("equal secrets can be told from their sealed bytes")
	}
	if n := len(seal(t, k, "same", here)); n != 4+45 {
		t.Fatalf("%d bytes", n)
	}
}

func TestTextsAndEmptyTextsComeBack(t *testing.T) {
	k, _ := keyring(t)
	for _, want := range []secret.Text{secret.New("s3cr:t/+ %x"), {}} {
		sealed, err := k.SealText(want, here)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.OpenText(sealed, here)
		if err != nil || !got.Equal(want) || got.Empty() != want.Empty() {
			t.Fatalf("OpenText: %v", err)
		}
	}
	if got, err := k.OpenText([]byte("not sealed"), here); err == nil || !got.Empty() {
		t.Fatal("opened what was never sealed")
	}
}

func TestErrorsHoldNothingThatWasSealed(t *testing.T) {
	k, _ := keyring(t)
	sealed := seal(t, k, "canary-5f1d", here)
	_, err := k.Open(sealed, elsewhere["another row"])
	if strings.Contains(err.Error(), "canary-5f1d") || strings.Contains(err.Error(), string(sealed)) {
		t.Fatal(err)
	}
	if !strings.Contains(err.Error(), "con_2") {
		t.Fatalf("does not say where: %v", err)
	}
}

func TestAMACHoldsForItsDataAtItsPlaceOnly(t *testing.T) {
	k, _ := keyring(t)
	code, err := k.MAC([]byte("generation 7"), here)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.CheckMAC(code, []byte("generation 7"), here); err != nil {
		t.Fatal(err)
	}
	if err := k.CheckMAC(code, []byte("generation 6"), here); !errors.Is(err, vault.ErrMAC) {
		t.Fatalf("other data: %v", err)
	}
	for name, place := range elsewhere {
		if err := k.CheckMAC(code, []byte("generation 7"), place); !errors.Is(err, vault.ErrMAC) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, _ := keyring(t)
	if err := other.CheckMAC(code, []byte("generation 7"), here); !errors.Is(err, vault.ErrMAC) {
		t.Fatalf("another keyring: %v", err)
	}
}

func TestTheCanaryKnowsItsKeyring(t *testing.T) {
	k, _ := keyring(t)
	canary, err := k.Canary()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.CheckCanary(canary); err != nil {
		t.Fatal(err)
	}
	other, _ := keyring(t)
	if err := other.CheckCanary(canary); !errors.Is(err, vault.ErrUnknownKey) {
		t.Fatalf("another keyring: %v", err)
	}
	if err := k.CheckCanary(seal(t, k, "behalf canary v1", here)); !errors.Is(err, vault.ErrOpen) {
		t.Fatalf("something else sealed: %v", err)
	}
	if err := k.CheckCanary(nil); !errors.Is(err, vault.ErrOpen) {
		t.Fatalf("nothing: %v", err)
	}
}

func TestManyGoroutinesUseOneKeyring(t *testing.T) {
	k, _ := keyring(t)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			place := here
			place.Generation = int64(n)
			for range 50 {
				sealed, err := k.Seal([]byte{byte(n)}, place)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := k.Open(sealed, place); err != nil || got[0] != byte(n) {
					t.Error(got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// FuzzOpen looks for bytes or a place that open although nobody sealed them so.
func FuzzOpen(f *testing.F) {
	k, _ := keyring(f)
	sealed := seal(f, k, "refresh-token", here)
	f.Add(sealed, here.Table, here.Row, here.Column, here.Generation)
	f.Add(sealed[:20], "credentials", "con_2", "secret", int64(math.MinInt64))
	f.Add([]byte{}, "", "", "", int64(0))
	f.Add([]byte{1, 0, 0, 0, 0}, "a", "b", "c", int64(1))
	f.Fuzz(func(t *testing.T, in []byte, table, row, column string, generation int64) {
		at := vault.Place{Table: table, Row: row, Column: column, Generation: generation}
		_, _ = vault.KeyID(in)
		got, err := k.Open(in, at)
		genuine := bytes.Equal(in, sealed) && at == here
		if genuine != (err == nil) || (err != nil && got != nil) {
			t.Fatalf("genuine %v, err %v", genuine, err)
		}
	})
}

func BenchmarkSeal2KB(b *testing.B) {
	k, _ := keyring(b)
	plaintext := make([]byte, 2048)
	b.SetBytes(2048)
	for b.Loop() {
		if _, err := k.Seal(plaintext, here); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen2KB(b *testing.B) {
	k, _ := keyring(b)
	sealed := seal(b, k, strings.Repeat("x", 2048), here)
	b.SetBytes(2048)
	for b.Loop() {
		if _, err := k.Open(sealed, here); err != nil {
			b.Fatal(err)
		}
	}
}

func keyring(t testing.TB) (*vault.Keyring, vault.RootKey) {
	t.Helper()
	root, err := vault.CreateRootKey(t.TempDir() + "/root.key")
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := vault.NewKeyring(root)
	if err != nil {
		t.Fatal(err)
	}
	return k, root
}

func seal(t testing.TB, k *vault.Keyring, text string, at vault.Place) []byte {
	t.Helper()
	sealed, err := k.Seal([]byte(text), at)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}
