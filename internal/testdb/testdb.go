// Package testdb gives every test a PostgreSQL database of its own.
//
// The server is started from the machine's binaries, as a user other than root,
// once in each test binary, whose TestMain must be Main:
//
//	func TestMain(m *testing.M) { testdb.Main(m) }
//
// A program that is no test starts a Server.
package testdb

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Main runs the tests, stops the servers that they started and ends the
// program.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain that has more to do before the program ends.
func Run(m interface{ Run() int }) int {
	running.Store(true)
	defer stopAll()
	return m.Run()
}

// Postgres returns the address of an empty database, as a postgres URL with
// user and password, that is dropped when the test ends.
//
// The server gives up durability for speed: what it has lost in a crash nobody
// can say. In short mode the test is skipped.
func Postgres(t testing.TB) string {
	t.Helper()
	return quick.get(t).create(t, "template0")
}

// PostgresFrom is Postgres with a copy of a database that fill has prepared,
// which it does once for each name: migrating takes longer than copying. fill
// must have closed its connections when it returns.
func PostgresFrom(t testing.TB, name string, fill func(url string) error) string {
	t.Helper()
	s := quick.get(t)
	return s.create(t, s.template(t, name, fill))
}

// PostgresDurable is Postgres on a server with PostgreSQL's own defaults, which
// keep a committed change through any crash. Its files are in the directory for
// temporary files: what that is made of decides what a commit costs.
func PostgresDurable(t testing.TB) string {
	t.Helper()
	return durable.get(t).create(t, "template0")
}

// Server is a PostgreSQL server for a program that is no test, such as a
// benchmark. It has PostgreSQL's own defaults, as PostgresDurable's, and ends
// with the program however that ends.
type Server struct{ server *server }

// Start makes a data directory and serves it until Stop.
func Start() (*Server, error) {
	s, err := start(nil)
	return &Server{s}, err
}

// Create makes an empty database and returns its address.
func (s *Server) Create(name string) (url string, err error) {
	return s.server.url(name), s.server.exec("CREATE DATABASE " + name + " TEMPLATE template0")
}

// Stop ends the server without saving anything, and removes its files.
func (s *Server) Stop() { s.server.stop() }

// create makes a database, and drops it when the test ends.
func (s *server) create(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.databases.Add(1))
	if err := s.exec("CREATE DATABASE " + name + " TEMPLATE " + template); err != nil {
		t.Fatalf("testdb: create a database: %v", err)
	}
	t.Cleanup(func() {
		// FORCE, for a test that failed may have left connections.
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("testdb: drop a database: %v", err)
		}
	})
	return s.url(name)
}

// template returns the name of the database that fill has prepared.
func (s *server) template(t testing.TB, name string, fill func(url string) error) string {
	t.Helper()
	made, _ := s.templates.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		database := fmt.Sprintf("template_%d", s.databases.Add(1))
		if err := s.exec("CREATE DATABASE " + database + " TEMPLATE template0"); err != nil {
			return "", err
		}
		return database, fill(s.url(database))
	}))
	database, err := made.(func() (string, error))()
	if err != nil {
		t.Fatalf("testdb: prepare the template %s: %v", name, err)
	}
	return database
}

// exec runs one statement on the maintenance database.
func (s *server) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}
