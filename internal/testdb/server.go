package testdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startLimit is generous: a busy machine is slow to start anything.
const startLimit = time.Minute

// undurable are the settings that make a server quick and forgetful.
var undurable = []string{
	"-c", "fsync=off",
	"-c", "full_page_writes=off",
	"-c", "synchronous_commit=off",
}

// The servers of this test binary: started by the first test that needs them,
// stopped by Run.
var (
	running atomic.Bool
	quick   = &lazy{settings: undurable}
	durable = &lazy{}
)

// lazy is a server that is started once.
type lazy struct {
	settings []string

	once   sync.Once
	server *server
	err    error
}

func (l *lazy) get(t testing.TB) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("starting PostgreSQL takes too long for short mode")
	}
	if !running.Load() {
		t.Fatal("testdb: the package under test needs func TestMain(m *testing.M) { testdb.Main(m) }")
	}
	l.once.Do(func() { l.server, l.err = start(l.settings) })
	if l.err != nil {
		t.Fatalf("testdb: %v", l.err)
	}
	return l.server
}

func stopAll() {
	for _, l := range []*lazy{quick, durable} {
		if l.server != nil {
			l.server.stop()
		}
	}
}

// server is a PostgreSQL server with its own data directory.
type server struct {
	dir      string // holds data, log and password
	port     int
	password string
	cmd      *exec.Cmd
	exited   chan struct{}

	databases atomic.Int64
	templates sync.Map // name: func() (database string, err error)
}

func (s *server) url(database string) string {
	return fmt.Sprintf("postgres://app:%s@127.0.0.1:%d/%s?sslmode=disable", s.password, s.port, database)
}

// start makes a data directory and serves it.
func start(settings []string) (*server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "behalf-postgres-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, password: rand.Text()}
	if err := s.start(bin, settings); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *server) start(bin string, settings []string) error {
	credential, err := notRoot(s.dir)
	if err != nil {
		return err
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.password), 0o644); err != nil {
		return err
	}
	initdb := s.command(credential, filepath.Join(bin, "initdb"),
		"--pgdata="+s.data(), "--username=app", "--pwfile="+password,
		"--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync")
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}

	// Nobody can reserve a port for another process: when somebody else has
	// taken this one, the server ends, and the next port is tried.
	for range 5 {
		s.port = 20000 + mathrand.IntN(10000) // below the range of outgoing connections
		arguments := append([]string{
			"-D", s.data(),
			"-p", strconv.Itoa(s.port),
			"-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=",
		}, settings...)
		if err = s.serve(s.command(credential, filepath.Join(bin, "postgres"), arguments...)); err == nil {
			return nil
		}
	}
	return err
}

// serve starts the command and waits until the server answers.
func (s *server) serve(cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.exited:
			output, _ := os.ReadFile(log.Name())
			return fmt.Errorf("postgres ended at once\n%s", output)
		default:
		}
		if s.ping() == nil {
			return nil
		}
	}
	s.kill()
	return fmt.Errorf("postgres did not answer within %s", startLimit)
}

func (s *server) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// stop ends the server without saving anything, and removes its files.
func (s *server) stop() {
	s.kill()
	os.RemoveAll(s.dir)
}

// kill ends the server: SIGQUIT is PostgreSQL's immediate shutdown, which takes
// its own children along.
func (s *server) kill() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	<-s.exited
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// command prepares a program that runs as the given user, apart from the
// terminal's signals, and that ends when the test binary dies without a word.
func (s *server) command(credential *syscall.Credential, path string, arguments ...string) *exec.Cmd {
	cmd := exec.Command(path, arguments...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: credential,
		Pdeathsig:  syscall.SIGQUIT,
		Setpgid:    true,
	}
	return cmd
}

// notRoot returns whom PostgreSQL, which refuses root, is to run as, and gives
// that user the directory. It returns nil where we are not root ourselves.
func notRoot(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

// binaries returns the directory of initdb and postgres: that of the postgres
// in PATH, or the newest of Debian's.
func binaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no PostgreSQL server on this machine; `make deps` installs it")
	}
	return filepath.Dir(found[len(found)-1]), nil
}
