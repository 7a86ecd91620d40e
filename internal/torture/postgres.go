//go:build linux

package torture

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
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is a server of our own, with PostgreSQL's default durability, that
// can be taken away and brought back.
type postgres struct {
	dir      string
	bin      string
	port     int
	password string
	as       *syscall.Credential
	cmd      *exec.Cmd
	exited   chan struct{}
}

const postgresLimit = time.Minute

var errNoPostgres = errors.New("there is no PostgreSQL server on this machine to start")

func newPostgres(ctx context.Context) (*postgres, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "behalf-torture-postgres-")
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir, bin: bin, port: 20000 + mathrand.IntN(10000), password: rand.Text()} // below the range of outgoing connections
	if err := p.make(ctx); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return p, nil
}

func (p *postgres) make(ctx context.Context) (err error) {
	if p.as, err = unprivileged(p.dir); err != nil {
		return err
	}
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(p.password), 0o600); err != nil {
		return err
	}
	if p.as != nil {
		if err := os.Chown(password, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return err
		}
	}
	initdb := p.command("initdb", "--pgdata="+p.data(), "--username=behalf", "--pwfile="+password, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	return p.start(ctx)
}

func (p *postgres) start(ctx context.Context) error {
	p.cmd = p.command("postgres", "-D", p.data(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) { _ = cmd.Wait(); close(exited) }(p.cmd, p.exited)
	ctx, cancel := context.WithTimeout(ctx, postgresLimit)
	defer cancel()
	for {
		if conn, err := pgx.Connect(ctx, p.url()); err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.exited:
			return errors.New("the PostgreSQL server of the torture ended at once")
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL server of the torture does not answer: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server as a crash would: what was not durable is gone.
func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	<-p.exited
}

func (p *postgres) remove() {
	p.stop()
	_ = os.RemoveAll(p.dir)
}

func (p *postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *postgres) url() string {
	return fmt.Sprintf("postgres://behalf:%s@127.0.0.1:%d/postgres?sslmode=disable", p.password, p.port)
}

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	return cmd
}

// unprivileged returns whom PostgreSQL, which refuses root, is to run as, and
// gives that user the directory; nil where we are not root ourselves.
func unprivileged(dir string) (*syscall.Credential, error) {
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

func postgresBinaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errNoPostgres
	}
	return filepath.Dir(found[len(found)-1]), nil
}
