package testdb

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func TestEveryTestHasItsOwnDatabase(t *testing.T) {
	first, second := connect(t, Postgres(t)), connect(t, Postgres(t))
	run(t, first, "CREATE TABLE notes (id TEXT)")
	run(t, second, "CREATE TABLE notes (id TEXT)")
	run(t, first, "INSERT INTO notes VALUES ('a')")
	if got := value(t, second, "SELECT count(*)::TEXT FROM notes"); got != "0" {
		t.Errorf("the second database has %s notes", got)
	}
}

func TestADatabaseIsDroppedAfterItsTest(t *testing.T) {
	var url string
	t.Run("the test", func(t *testing.T) {
		url = Postgres(t)
		connect(t, url)
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		conn.Close(t.Context())
		t.Error("the database is still there")
	}
}

func TestATemplateIsFilledOnceAndCopied(t *testing.T) {
	filled := 0
	fill := func(url string) error {
		filled++
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), "CREATE TABLE notes (id TEXT); INSERT INTO notes VALUES ('a')")
		return err
	}
	first := connect(t, PostgresFrom(t, "notes", fill))
	run(t, first, "DELETE FROM notes")
	second := connect(t, PostgresFrom(t, "notes", fill))
	if got := value(t, second, "SELECT count(*)::TEXT FROM notes"); got != "1" {
		t.Errorf("the second copy has %s notes", got)
	}
	if filled != 1 {
		t.Errorf("the template was filled %d times", filled)
	}
}

func TestOnlyTheDurableServerSyncs(t *testing.T) {
	for setting, want := range map[string][2]string{
		"fsync":              {"off", "on"},
		"full_page_writes":   {"off", "on"},
		"synchronous_commit": {"off", "on"},
	} {
		got := [2]string{
			value(t, connect(t, Postgres(t)), "SHOW "+setting),
			value(t, connect(t, PostgresDurable(t)), "SHOW "+setting),
		}
		if got != want {
			t.Errorf("%s is %s on the quick and %s on the durable server", setting, got[0], got[1])
		}
	}
}

func TestAPasswordIsAskedFor(t *testing.T) {
	config, err := pgx.ParseConfig(Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "another"
	if conn, err := pgx.ConnectConfig(t.Context(), config); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password was let in")
	}
}

func TestAServerThatIsStoppedLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starting PostgreSQL takes too long for short mode")
	}
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.Create("notes")
	if err != nil {
		s.Stop()
		t.Fatal(err)
	}
	if conn, err := pgx.Connect(t.Context(), url); err != nil {
		t.Errorf("its database: %v", err)
	} else {
		conn.Close(t.Context())
	}
	s.Stop()
	if _, err := os.Stat(s.server.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
	if err := syscall.Kill(-s.server.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("its process group: %v", err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, conn *pgx.Conn, query string) string {
	t.Helper()
	var text string
	if err := conn.QueryRow(t.Context(), query).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}
