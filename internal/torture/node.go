//go:build linux

package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a process of this binary that says in its log where it is ready.
type child struct {
	cmd    *exec.Cmd
	url    string
	exited chan struct{}
	err    error // of its end
}

const childLimit = time.Minute

// newChild starts the binary and waits until it is ready. Each line of its log
// goes to hear and into the file.
func newChild(ctx context.Context, binary string, log io.Writer, hear func([]byte), args ...string) (*child, error) {
	c := &child{cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "BEHALF_") {
			c.cmd.Env = append(c.cmd.Env, e)
		}
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go c.listen(out, log, ready, hear)
	select {
	case c.url = <-ready:
		return c, nil
	case <-c.exited:
		return nil, errors.New("a process ended before it was ready")
	case <-ctx.Done():
		c.end(syscall.SIGKILL)
		return nil, ctx.Err()
	case <-time.After(childLimit):
		c.end(syscall.SIGKILL)
		return nil, errors.New("a process was not ready in time")
	}
}

func (c *child) listen(out io.Reader, log io.Writer, ready chan<- string, hear func([]byte)) {
	defer close(c.exited)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		_, _ = log.Write(line)
		var said struct{ Msg, URL string }
		if json.Unmarshal(line, &said) == nil && said.Msg == "ready" {
			ready <- said.URL
		}
		hear(line)
		if err != nil {
			c.err = c.cmd.Wait()
			return
		}
	}
}

// end signals the process and waits for its end.
func (c *child) end(s syscall.Signal) {
	_ = c.cmd.Process.Signal(s)
	<-c.exited
}

// node is one server, run after run.
type node struct {
	t       *torture
	n       int
	dir     string
	log     *os.File
	mu      sync.Mutex
	run     int
	process *child // nil: it is being started
	since   time.Time
	works   bool // it has refreshed something, or tried
}

func (t *torture) newNode(n int) (*node, error) {
	d := &node{t: t, n: n, dir: filepath.Join(t.dir, fmt.Sprintf("node-%d", n))}
	if t.cfg.Database == sqlite {
		d.dir = t.dataDir()
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(t.dataDir(), "root.key"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "root.key"), key, 0o600); err != nil {
		return nil, err
	}
	d.log, err = os.Create(filepath.Join(t.dir, fmt.Sprintf("node-%d.log", n)))
	return d, err
}

// start runs the server once more. On PostgreSQL each run's clock is wrong in
// its own way: nodes must agree on the database's.
func (d *node) start(ctx context.Context) error {
	d.mu.Lock()
	d.run++
	d.works = false
	name, binary := d.name(), d.t.cfg.Binary
	if d.run > 1 && d.t.cfg.UpgradeTo != "" {
		binary = d.t.cfg.UpgradeTo
	}
	first := d.run == 2
	d.mu.Unlock()
	args := []string{"torture-node", "--name", name, "--data", d.dir, "--listen", "127.0.0.1:0", "--allow-private", "127.0.0.0/8"}
	if d.t.cfg.Database != sqlite {
		wrong := []time.Duration{0, time.Hour, -time.Hour, 25 * time.Hour}[(d.n+d.run)%4]
		args = append(args, "--database", d.t.url, "--clock="+wrong.String())
	}
	c, err := newChild(ctx, binary, d.log, d.heard, args...)
	if err != nil {
		return fmt.Errorf("%s: %w (its log is %s)", name, err, d.log.Name())
	}
	if first && binary != d.t.cfg.Binary {
		d.t.add(&d.t.report.Upgraded, 1)
		d.t.cfg.Progress("%s is of the newer program", name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.process, d.since = c, d.t.cfg.Now()
	return nil
}

// at returns where the server is, and the name of its run; "" while it is not.
func (d *node) at() (url, run string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return "", ""
	}
	return d.process.url, d.name()
}

func (d *node) name() string { return fmt.Sprintf("node-%d.%d", d.n, d.run) }

// jump sets the clock of the running server.
func (d *node) jump() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil {
		_ = d.process.cmd.Process.Signal(syscall.SIGUSR1)
	}
}

// back says that a process that was taken away is there still.
func (d *node) back(c *child) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.process = c
}

// heard takes a line of the log.
func (d *node) heard(line []byte) {
	if d.t.heard(line) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.works = true
	}
}

// down takes the running process away.
func (d *node) down() (*child, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.process
	d.process = nil
	return c, d.name()
}

// How long a server lives before it may be killed: one that has only just
// started has nothing to lose. One that has not refreshed anything may be
// waited for.
const (
	life     = time.Second
	idleLife = 10 * time.Second
)

// upgraded reports whether the server is of the newer program, or will be.
func (d *node) upgraded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.run > 1
}

// ripe reports whether the server may be killed.
func (d *node) ripe() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	up := d.t.cfg.Now().Sub(d.since)
	return d.process != nil && (up >= idleLife || up >= life && d.works)
}
