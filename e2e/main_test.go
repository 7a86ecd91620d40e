// Package e2e proves the product from outside: the real binary as processes of
// its own, a real browser, authorization servers that others wrote, SQLite and
// PostgreSQL.
//
// Every test stands on a stage of its own (stage_test.go). What no database,
// log or error may hold is gathered while a test runs and searched for when it
// ends (leak_test.go).
package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/behalf-dev/behalf/internal/testdb"
)

func TestMain(m *testing.M) {
	code := testdb.Run(m)
	_ = os.RemoveAll(binaries)
	os.Exit(code)
}

// binaries is where the binary is built.
var binaries = filepath.Join(os.TempDir(), "behalf-e2e-"+itoa(os.Getpid()))

// build makes the binary once, under the race detector where the tests are, with
// what the Makefile leaves unwatched.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(binaries, "behalf")
	command := buildCommand(binary)
	command.Stderr = os.Stderr
	return binary, command.Run()
})

func buildCommand(binary string, more ...string) *exec.Cmd {
	args := append([]string{"build", "-o", binary}, more...)
	if raceDetector {
		args = append(args, "-race", "-gcflags=modernc.org/...=-race=false")
	}
	return exec.Command("go", append(args, "github.com/behalf-dev/behalf/cmd/behalf")...)
}

// behalfBinary returns the path of the binary. In short mode the test is
// skipped.
func behalfBinary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("processes take too long for short mode")
	}
	binary, err := build()
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	return binary
}
