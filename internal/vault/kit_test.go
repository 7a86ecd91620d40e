package vault_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/vault"
)

// kitOf returns a new root key and the lines of its kit.
func kitOf(t testing.TB, database string) (vault.RootKey, []string) {
	t.Helper()
	root, err := vault.CreateRootKey(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := root.Kit(database)
	if err != nil {
		t.Fatal(err)
	}
	return root, strings.Split(strings.TrimSpace(code.Reveal()), "\n")
}

func parseKit(lines ...string) (vault.Kit, error) {
	return vault.ParseKit(secret.New(strings.Join(lines, "\n")))
}

func TestAKitGivesTheRootKeyBack(t *testing.T) {
	root, lines := kitOf(t, "dbs_a")
	_, wrapped, err := vault.NewKeyring(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"as it is":                     strings.Join(lines, "\n"),
		"in small letters":             strings.ToLower(strings.Join(lines, "\n")),
		"with letters that look alike": strings.NewReplacer("0", "o", "1  ", "1  ", "-1", "-l").Replace(strings.Join(lines, "\n")),
		"with points and spaces":       strings.NewReplacer("  ", ". ", "-", "  ").Replace(strings.Join(lines, "\n")),
		"in another order":             strings.Join([]string{lines[4], lines[0], lines[3], lines[1], lines[2]}, "\n"),
		"in a page":                    "<h1>Recovery</h1>\n<pre>\r\n" + strings.Join(lines, "\r\n") + "\r\n</pre>\n<p>2 pages</p>",
	} {
		t.Run(name, func(t *testing.T) {
			kit, err := parseKit(text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vault.OpenKeyring(kit.Root, wrapped); err != nil {
				t.Error(err)
			}
			if !kit.Of("dbs_a") || kit.Of("dbs_b") || kit.Of("") {
				t.Error("it is not the kit of its own database alone")
			}
		})
	}
}

func TestEveryTypingErrorIsNamedByItsLine(t *testing.T) {
	_, lines := kitOf(t, "dbs_a")
	missed := 0
	for i, line := range lines {
		for at := 3; at < len(line); at++ {
			for _, letter := range "0123456789ABCDEFGHJKMNPQRSTVWXYZ" {
				if line[at] == '-' || line[at] == byte(letter) {
					continue
				}
				typed := append([]string{}, lines...)
				typed[i] = line[:at] + string(letter) + line[at+1:]
				_, err := parseKit(typed...)
				if err == nil {
					t.Fatalf("%q is taken for %q", typed[i], line)
				}
				if !strings.Contains(err.Error(), "line "+line[:1]+" of the code has a typing error") {
					missed++
				}
				if strings.Contains(err.Error(), line[3:7]) {
					t.Fatalf("the error quotes the code: %v", err)
				}
			}
		}
	}
	if missed > 3 { // of 2480; a line's checksum has 16 bits, and the last line sees the rest
		t.Errorf("%d typing errors were not found by their line's checksum", missed)
	}
}

func TestWhatIsNotOneKitIsRefused(t *testing.T) {
	_, one := kitOf(t, "dbs_a")
	_, two := kitOf(t, "dbs_a")
	for name, lines := range map[string][]string{
		"nothing":                   nil,
		"a line is missing":         one[:4],
		"lines of two kits":         {one[0], one[1], one[2], two[3], two[4]},
		"two kits":                  append(append([]string{}, one...), two...),
		"lines that changed places": {"1" + one[1][1:], "2" + one[0][1:], one[2], one[3], one[4]},
		"a letter too few":          {one[0], one[1], one[2], one[3], one[4][:len(one[4])-1]},
		"a letter too many":         {one[0], one[1], one[2], one[3], one[4] + "0"},
		"no letter of ours":         {one[0], one[1], one[2], one[3], one[4][:len(one[4])-1] + "U"},
	} {
		if _, err := parseKit(lines...); err == nil {
			t.Errorf("%s is taken for a kit", name)
		}
	}
	if _, err := parseKit(one[0], one[1], one[2], two[3], two[4]); !errors.Is(err, vault.ErrKit) {
		t.Error(err)
	}
	if _, err := (vault.RootKey{}).Kit("dbs_a"); err == nil {
		t.Error("there is a kit of no key")
	}
}

func FuzzParseKit(f *testing.F) {
	_, lines := kitOf(f, "dbs_a")
	f.Add(strings.Join(lines, "\n"))
	f.Add("1  0000-0000-0000-0000\n2 1")
	f.Fuzz(func(t *testing.T, text string) {
		kit, err := vault.ParseKit(secret.New(text))
		if err != nil {
			return
		}
		if _, err := kit.Root.Kit("dbs_a"); err != nil {
			t.Error("a kit was read that gives no key")
		}
	})
}
