package behalf_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/behalf-dev/behalf"

// floors are the rooms of the house from the ground up: a package imports only
// what is on a lower floor. Moving a number is a commit with a reason.
var floors = map[string]int{
	"internal/secret":      0,
	"internal/expand":      1, // its values mask themselves in the words of secret
	"internal/vault":       1,
	"internal/oauth":       1,
	"internal/egress":      1,
	"internal/tunnel":      1,
	"internal/kms":         1,
	"internal/look":        1, // how every page looks; connect and the console share it
	"":                     2, // the vocabulary
	"internal/profilefile": 3,
	"internal/simulator":   2,
	"internal/store/query": 2, // generated
	"internal/catalog":     3,
	"internal/discover":    3,
	"internal/store":       3,
	"internal/broker":      4,
	"internal/notify":      4,
	"internal/connect":     5,
	"internal/proxy":       6,
	"internal/api":         6,
	"internal/console":     6,
	"internal/server":      8,
	"internal/torture":     9, // it opens the store as the server does
	"cmd/behalf":           10,
}

// outside are packages that are no part of the product: they may import any of
// it, and none of it may import them.
var outside = []string{"bench", "e2e", "e2e/browser", "e2e/servers", "internal/testdb", "internal/storetest", "internal/kms/kmstest", "internal/server/servertest"}

func TestFloors(t *testing.T) {
	for pkg, files := range sources(t, false) {
		if slices.ContainsFunc(outside, func(o string) bool { return pkg == o || strings.HasPrefix(pkg, o+"/") }) {
			continue
		}
		floor, ok := floors[pkg]
		if !ok {
			t.Errorf("package %s has no floor: give it one in this table and in docs/architecture.md", pkg)
			continue
		}
		for _, f := range files {
			for _, i := range f.ast.Imports {
				path, _ := strconv.Unquote(i.Path.Value)
				below, ours := strings.CutPrefix(path, module)
				if !ours {
					continue
				}
				below = strings.TrimPrefix(below, "/")
				if of, ok := floors[below]; !ok || of >= floor {
					t.Errorf("%s (floor %d) imports %s (floor %d): arrows go down", f.name, floor, path, of)
				}
			}
		}
	}
}

// revealed are the functions that take a secret out of its wrapping. The diff
// of this list is the security review.
func TestRevealIsCalledWhereItIsListed(t *testing.T) {
	golden(t, "testdata/reveal.txt", calls(t, func(call *ast.CallExpr) bool {
		sel, ok := call.Fun.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == "Reveal"
	}))
}

// TestOnlyEgressDials holds the list of everything that opens a connection by
// itself: what a profile or a user named is dialled by egress alone.
func TestOnlyEgressDials(t *testing.T) {
	dials := map[string][]string{
		"net":  {"Dial", "DialTimeout", "Dialer", "Listen"},
		"http": {"DefaultClient", "DefaultTransport", "Get", "Post", "PostForm", "Head", "Client", "Transport"},
		"tls":  {"Dial", "Dialer"},

		// clients of key management services, which dial by themselves
		"vaultapi": {"NewClient"},
		"awskms":   {"NewAEADWithContext"},
		"google":   {"FindDefaultCredentials"},
		"oauth2":   {"NewClient"},
	}
	var found []string
	for _, files := range product(t) {
		for _, f := range files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(dials[x.Name], sel.Sel.Name) && !isType(f.ast, sel) {
					found = append(found, fmt.Sprintf("%s: %s.%s", f.name, x.Name, sel.Sel.Name))
				}
				return true
			})
		}
	}
	golden(t, "testdata/dials.txt", found)
}

// isType reports whether a selector only names a type, as in *http.Client.
func isType(file *ast.File, sel *ast.SelectorExpr) bool {
	typed := false
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StarExpr:
			typed = typed || n.X == sel
		case *ast.Field:
			typed = typed || n.Type == sel
		}
		return !typed
	})
	return typed
}

// TestClock holds that time.Now is read in server only, and handed down: what
// is decided by a clock can be tested with another.
func TestClock(t *testing.T) {
	for pkg, files := range product(t) {
		if pkg == "internal/server" || pkg == "cmd/behalf" || pkg == "internal/simulator" {
			continue
		}
		for _, f := range files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Now" {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
						t.Errorf("%s reads time.Now: take a func() time.Time", f.name)
					}
				}
				return true
			})
		}
	}
}

// TestHouseSpeaksOfItselfAlone holds that nothing in the repository names the
// place where it was made.
func TestHouseSpeaksOfItselfAlone(t *testing.T) {
	words := []string{"/wo" + "rk/main", "../sha" + "red", "proxy.go" + "lang.org", "registry.np" + "mjs.org", "deb.deb" + "ian.org"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(d.Name()):
			return fs.SkipDir
		case d.IsDir() || d.Name() == ".git" || strings.HasSuffix(path, ".png"): // of a linked work tree .git is a file
			return nil
		}
		content, err := os.ReadFile(path)
		for _, w := range words {
			if strings.Contains(string(content), w) {
				t.Errorf("%s contains %q", path, w)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

type source struct {
	name string
	ast  *ast.File
}

func product(t *testing.T) map[string][]source {
	all := sources(t, false)
	for pkg := range all {
		if _, ok := floors[pkg]; !ok || pkg == "internal/store/query" {
			delete(all, pkg)
		}
	}
	return all
}

// sources parses every Go file by the folder it is in.
func sources(t *testing.T, tests bool) map[string][]source {
	t.Helper()
	found := map[string][]source{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (skipped(d.Name()) || d.Name() == "goas" || d.Name() == "tools"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") != tests:
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "." {
			dir = ""
		}
		found[dir] = append(found[dir], source{filepath.ToSlash(path), f})
		return nil
	})
	if err != nil || len(found) < 10 {
		t.Fatal("the sources were not found:", len(found), err)
	}
	return found
}

func skipped(dir string) bool {
	return dir == ".git" || dir == "node_modules" || dir == "bin" || dir == "out"
}

// calls lists, as "file: function", the functions that make a call of a kind.
func calls(t *testing.T, is func(*ast.CallExpr) bool) []string {
	var found []string
	for _, files := range product(t) {
		for _, f := range files {
			for _, d := range f.ast.Decls {
				name := "package"
				if fn, ok := d.(*ast.FuncDecl); ok {
					name = fn.Name.Name
				}
				ast.Inspect(d, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && is(call) {
						found = append(found, f.name+": "+name)
					}
					return true
				})
			}
		}
	}
	return found
}

// golden compares a list with its file. BEHALF_GOLDEN=write writes it anew.
func golden(t *testing.T, name string, found []string) {
	t.Helper()
	slices.Sort(found)
	got := strings.Join(slices.Compact(found), "\n") + "\n"
	if os.Getenv("BEHALF_GOLDEN") == "write" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the code does. Where the change is meant, write it anew with BEHALF_GOLDEN=write.\nin the code:\n%s\nin the file:\n%s", name, got, want)
	}
}
