package e2e

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// This file searches for secrets where none may be. The rules are:
//
//   - What is searched for is taken from the run itself, not from a list: every
//     value that a provider, a browser or the API handed over.
//   - It is searched for as it is, and as URL, JSON, hex and base64 encode it,
//     wherever in a longer text it stands.
//   - A search that would find nothing proves nothing: it must find what is
//     planted in each place and each form, and a journey must have known a
//     secret of every kind.

// evidence is the secrets of a run, and what of the run others may see.
type evidence struct {
	mu       sync.Mutex
	secrets  map[string]string // what it is, by value
	exhibits []exhibit
}

// exhibit is something that must hold no secret.
type exhibit struct {
	where   string
	content []byte
}

func newEvidence() *evidence { return &evidence{secrets: map[string]string{}} }

// secret adds a value that nobody may find, and returns it.
func (e *evidence) secret(what, value string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets[value] = what
	return value
}

// show adds something that is searched.
func (e *evidence) show(where string, content []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exhibits = append(e.exhibits, exhibit{where, content})
}

// kinds returns what is known of at least one secret.
func (e *evidence) kinds() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	kinds := slices.Sorted(maps.Values(e.secrets))
	return slices.Compact(kinds)
}

// minSecret is the length below which a value may stand anywhere by accident.
const minSecret = 8

// leaks returns a line for each secret in each exhibit that holds it.
func (e *evidence) leaks() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []string
	for value, what := range e.secrets {
		if len(value) < minSecret {
			found = append(found, fmt.Sprintf("a secret (%s) of %d bytes is too short to be searched for", what, len(value)))
			continue
		}
		for form, needle := range forms(value) {
			for _, x := range e.exhibits {
				if bytes.Contains(x.content, []byte(needle)) {
					found = append(found, fmt.Sprintf("%s: holds a secret (%s) %s", x.where, what, form))
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// piece is how much of a long secret is too much: every run of twice as much
// holds a whole piece.
const piece = 24

// forms returns how a secret may be written, by the name of the form.
func forms(value string) map[string]string {
	quoted, _ := json.Marshal(value) // a string always encodes
	all := map[string]string{
		"as it is":            value,
		"encoded for a query": url.QueryEscape(value),
		"encoded for a path":  url.PathEscape(value),
		"encoded as JSON":     strings.Trim(string(quoted), `"`),
		"in hex":              hex.EncodeToString([]byte(value)),
		"in upper-case hex":   strings.ToUpper(hex.EncodeToString([]byte(value))),
	}
	for shift := range 3 { // where it begins in what was encoded
		std := base64Within(value, shift)
		all[fmt.Sprintf("in base64, shifted by %d", shift)] = std
		all[fmt.Sprintf("in base64url, shifted by %d", shift)] = strings.NewReplacer("+", "-", "/", "_").Replace(std)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(value); err == nil && len(raw) >= 16 {
		all["decoded"] = string(raw)
	}
	for i := 0; len(value) >= 2*piece && i+piece <= len(value); i += piece {
		all[fmt.Sprintf("in part (from %d)", i)] = value[i : i+piece]
	}
	return all
}

// base64Within returns the characters that stand in the base64 of any text that
// has value behind the given number of bytes, modulo 3.
func base64Within(value string, shift int) string {
	encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
	return encoded[(shift*8+5)/6 : (shift+len(value))*8/6]
}

// search fails the test where something of the run holds a secret of it.
func (s *stage) search(t testing.TB) {
	t.Helper()
	s.collect(t, s.evidence)
	for _, leak := range s.leaks() {
		t.Error(leak)
	}
}

// collect shows all logs, every column of every table, and the files of SQLite.
func (s *stage) collect(t testing.TB, into *evidence) {
	t.Helper()
	for _, n := range s.nodes {
		into.show("log", n.written())
	}
	db, tables := s.open(t)
	defer db.Close()
	for _, table := range rows(t, db, tables) {
		query := `SELECT * FROM "` + string(table) + `"`
		into.show("table "+string(table), bytes.Join(rows(t, db, query), []byte("\n")))
	}
	if s.database != "" {
		return
	}
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(s.node.file() + suffix)
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		into.show("file behalf.db"+suffix, content)
	}
}

// open opens the database beside the server, and returns the query for its
// tables.
func (s *stage) open(t testing.TB) (db *sql.DB, tables string) {
	t.Helper()
	driver, address, tables := "pgx", s.database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
	if s.database == "" {
		driver, address, tables = "sqlite", "file:"+s.node.file(), "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	return db, tables
}

// rows returns the columns of all rows one after another, blobs as they are.
func rows(t testing.TB, db *sql.DB, query string) [][]byte {
	t.Helper()
	result, err := db.Query(query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return nil
	}
	defer result.Close()
	names, err := result.Columns()
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	var found [][]byte
	for result.Next() {
		columns := make([]sql.RawBytes, len(names))
		into := make([]any, len(names))
		for i := range columns {
			into[i] = &columns[i]
		}
		if err := result.Scan(into...); err != nil {
			t.Errorf("%s: %v", query, err)
		}
		for _, c := range columns {
			found = append(found, bytes.Clone(c))
		}
	}
	if err := result.Err(); err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return found
}

func TestTheLeakSearchFindsWhatIsPlanted(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			s := newStage(t, engine)
			planted := newEvidence()
			text := planted.secret("planted text", "canary/+ in a~column")
			blob := planted.secret("planted blob", "canary/+ in a~blob")
			line := planted.secret("planted line", "canary/+ in a~log")
			body := planted.secret("planted body", "canary/+ in a~body")

			s.plant(text, blob)
			if err := appendTo(s.node.log, "{\"msg\":\"leak\",\"err\":\""+line+"\"}\n"); err != nil {
				t.Fatal(err)
			}
			planted.show("answer", []byte(`{"detail":"`+url.QueryEscape(body)+`"}`))
			s.collect(t, planted)
			found := strings.Join(planted.leaks(), "\n")
			for _, want := range []string{
				"table meta: holds a secret (planted text) as it is",
				"table meta: holds a secret (planted blob) as it is",
				"log: holds a secret (planted line) as it is",
				"answer: holds a secret (planted body) encoded for a query",
			} {
				if !strings.Contains(found, want) {
					t.Errorf("it does not find %q, only\n%s", want, found)
				}
			}
		})
	}
}

// plant writes into a column of text and into a blob.
func (s *stage) plant(text, blob string) {
	s.t.Helper()
	db, _ := s.open(s.t)
	defer db.Close()
	if _, err := db.Exec("INSERT INTO meta (name, value) VALUES ($1, $2)", "x"+text, []byte("\x00"+blob)); err != nil {
		s.t.Fatal(err)
	}
}

func appendTo(name, text string) error {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(text)
	return err
}

func TestTheLeakSearchKnowsEveryForm(t *testing.T) {
	const value = "s3cr:t/+ %x~é"
	tests := map[string]string{
		"a text":             "x" + value + "y",
		"a query":            "?a=" + url.QueryEscape(value) + "&b=",
		"a path":             "/a/" + url.PathEscape(value) + "/b",
		"hex":                "00" + hex.EncodeToString([]byte(value)) + "ff",
		"upper-case hex":     strings.ToUpper(hex.EncodeToString([]byte(value))),
		"base64 of itself":   base64.StdEncoding.EncodeToString([]byte(value)),
		"base64 behind one":  base64.StdEncoding.EncodeToString([]byte("1" + value + "1")),
		"base64 behind two":  base64.URLEncoding.EncodeToString([]byte("12" + value + "12")),
		"base64 behind many": base64.RawURLEncoding.EncodeToString([]byte("user:" + value)),
		"JSON":               fmt.Sprintf("%q", value),
	}
	for name, content := range tests {
		t.Run("in "+name, func(t *testing.T) {
			e := newEvidence()
			e.secret("it", value)
			e.show("somewhere", []byte(content))
			if len(e.leaks()) == 0 {
				t.Error("it is not found")
			}
		})
	}
	t.Run("in a part of a long one", func(t *testing.T) {
		e := newEvidence()
		long := strings.Repeat("0123456789", 20)
		e.secret("it", long+"ab"+long)
		e.show("somewhere", []byte("cut off: "+long[:47]))
		if len(e.leaks()) == 0 {
			t.Error("it is not found")
		}
	})
	t.Run("and not where it is not", func(t *testing.T) {
		e := newEvidence()
		e.secret("it", value)
		e.show("somewhere", []byte("s3cr:t/+ %X~é"))
		if found := e.leaks(); len(found) > 0 {
			t.Error(found)
		}
	})
}
