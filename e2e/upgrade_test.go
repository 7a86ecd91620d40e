package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/internal/testdb"
)

// aLaterMigration is what the next version may do to the database while servers
// of this version use it.
const aLaterMigration = `-- +goose Up
ALTER TABLE connections ADD COLUMN later TEXT NOT NULL DEFAULT '';
CREATE TABLE laters (id TEXT PRIMARY KEY);
CREATE INDEX connections_later ON connections (later);

-- +goose Down
`

// newerBinary builds the next version: this one, with one more migration.
func newerBinary(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	migration, overlay, newer := filepath.Join(dir, "later.sql"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "behalf")
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "internal/store/migrations/99999_later.sql"): migration}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{migration: []byte(aLaterMigration), overlay: replace} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := buildCommand(newer, "-overlay", overlay)
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	return newer
}

// TestServersOfTwoVersionsShareADatabase replaces three servers one after the
// other, in a storm of refreshes, by ones of the next version, which changes the
// schema when the first of them starts.
func TestServersOfTwoVersionsShareADatabase(t *testing.T) {
	binary := behalfBinary(t)
	newer := newerBinary(t)
	url := testdb.Postgres(t)
	torture := exec.CommandContext(t.Context(), binary, "torture", "--upgrade-to", newer, "--nodes", "3", "--connections", "60", "--callers", "6", "--kills", "6", "--for", "12s",
		"--signal", "TERM", "--calm", "--json", "--database", url)
	torture.Stderr = os.Stderr
	output, err := torture.Output()
	if err != nil {
		t.Errorf("torture: %v", err)
	}
	var got struct {
		Upgraded, Refreshes, Duplicates, Lost, Unsettled, Unreplayed int
		FamiliesRevoked                                              int `json:"families_revoked"`
	}
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if got.Upgraded != 3 || got.Refreshes < 60 || got.Duplicates+got.Lost+got.Unsettled+got.Unreplayed+got.FamiliesRevoked > 0 {
		t.Errorf("%s", output)
	}
	// The older version does not come back: it does not know this schema.
	again := exec.CommandContext(t.Context(), binary, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--database", url)
	cannot := time.AfterFunc(time.Minute, func() { _ = again.Process.Kill() })
	defer cannot.Stop()
	if said, err := again.CombinedOutput(); err == nil || !strings.Contains(string(said), "start the newer binary") {
		t.Errorf("the older version starts: %v\n%s", err, said)
	}
}
