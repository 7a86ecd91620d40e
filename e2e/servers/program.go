package servers

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// node returns the command line of one of this directory's JavaScript files.
func node(file string) func(testing.TB) []string {
	return func(t testing.TB) []string {
		t.Helper()
		if _, err := os.Stat(filepath.Join(Directory(t), "node_modules")); err != nil {
			t.Fatal("servers: the npm packages are missing; `make deps` installs them")
		}
		return []string{"node", file}
	}
}

// debianPython returns the command line of one of this directory's Python
// files. Debian's packages belong to Debian's Python, which need not be the
// first one in PATH.
func debianPython(file string) func(testing.TB) []string {
	return func(testing.TB) []string { return []string{"/usr/bin/python3", file} }
}

// goProgram returns the command line of a program of the nested module goas,
// which is built when it is missing or older than its sources.
func goProgram(name string) func(testing.TB) []string {
	return func(t testing.TB) []string {
		t.Helper()
		source := filepath.Join(Directory(t), "goas")
		bin := filepath.Join(Directory(t), "bin")
		binary := filepath.Join(bin, name)
		defer lock(t, bin)()
		if modified(t, binary).After(modified(t, source)) {
			return []string{binary}
		}
		build := exec.Command("go", "build", "-o", binary, "./"+name)
		build.Dir = source
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("servers: go build %s: %v\n%s", name, err, output)
		}
		now := time.Now() // the linker leaves an unchanged binary's time alone
		if err := os.Chtimes(binary, now, now); err != nil {
			t.Fatalf("servers: %v", err)
		}
		return []string{binary}
	}
}

// lock makes the directory and holds it against other test binaries until the
// returned function is called.
func lock(t testing.TB, dir string) (unlock func()) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("servers: %v", err)
	}
	file, err := os.Open(dir)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("servers: lock %s: %v", dir, err)
	}
	return func() { file.Close() }
}

// modified returns when the newest file below path was changed, or the zero
// time when there is none.
func modified(t testing.TB, path string) time.Time {
	t.Helper()
	var newest time.Time
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return err
	})
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	return newest
}

// Directory returns this package's directory, for tests and programs that run
// anywhere in the repository.
func Directory(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		servers := filepath.Join(dir, "e2e", "servers")
		if _, missing := os.Stat(filepath.Join(servers, "package.json")); missing == nil {
			return servers
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("servers: not inside the repository")
	return ""
}
