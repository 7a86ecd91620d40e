package e2e

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/behalf-dev/behalf/e2e/servers"
)

const (
	startLimit = 60 * time.Second
	stopLimit  = 45 * time.Second // longer than the server itself takes to drain
)

// process is one run of the binary after another, with one log.
type process struct {
	t    testing.TB
	args []string
	env  []string
	log  string // file with everything that all runs wrote

	through []string // a program that runs the binary in its place

	cmd    *exec.Cmd
	out    *os.File // standard output; the log where it is nil
	exited chan error
}

// begin runs the binary. It is stopped when the test ends.
func begin(t testing.TB, p *process) *process {
	t.Helper()
	p.t = t
	p.log = filepath.Join(t.TempDir(), "log")
	p.start()
	t.Cleanup(p.end)
	return p
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	line := slices.Concat(p.through, []string{behalfBinary(p.t)}, p.args)
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if p.out != nil {
		p.cmd.Stdout = p.out
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start behalf: %v", err)
	}
	exited := make(chan error, 1)
	go func(cmd *exec.Cmd) { exited <- cmd.Wait() }(p.cmd)
	p.exited = exited
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("kill behalf: %v", err)
	}
	<-p.exited
	p.cmd = nil
}

// stop ends the process as an operator does, who expects exit status 0.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("stop behalf: %v", err)
	}
	select {
	case err := <-p.exited:
		if err != nil {
			p.t.Errorf("behalf ended with %v", err)
		}
	case <-time.After(stopLimit):
		p.t.Errorf("behalf did not stop within %s", stopLimit)
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	p.cmd = nil
}

func (p *process) end() {
	if p.cmd != nil {
		p.stop()
	}
	log := p.written()
	if bytes.Contains(log, []byte("DATA RACE")) || bytes.Contains(log, []byte(`"msg":"panic"`)) {
		p.t.Errorf("the log shows a fault:\n%s", log)
		return
	}
	if p.t.Failed() {
		p.t.Logf("the end of the log of %s:\n%s", strings.Join(p.args, " "), log[max(0, len(log)-8000):])
	}
}

func (p *process) written() []byte {
	content, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Errorf("read the log: %v", err)
	}
	return content
}

// node is a running server.
type node struct {
	*process
	url string
	dir string // its data
}

// serve starts a server on a port of its own and waits until it is ready. An
// empty database is SQLite in its data directory; more is added to its
// environment.
func serve(t testing.TB, database string, more ...string) *node {
	t.Helper()
	n := &node{dir: t.TempDir()}
	address := "127.0.0.1:" + itoa(servers.FreePort(t))
	n.url = "http://" + address
	env := []string{"BEHALF_DATABASE_URL=" + database}
	if database == "" {
		env = []string{"BEHALF_DATABASE_URL=sqlite:" + n.file()}
	}
	n.process = begin(t, &process{env: append(env, more...), args: []string{
		"serve", "--listen", address, "--data", n.dir, "--allow-private", "127.0.0.0/8", "--log-level", "debug",
	}})
	n.ready()
	return n
}

// file is the SQLite database.
func (n *node) file() string { return filepath.Join(n.dir, "behalf.db") }

// restart starts the server again after kill or stop, on the same port and
// data.
func (n *node) restart() {
	n.t.Helper()
	n.start()
	n.ready()
}

func (n *node) ready() {
	n.t.Helper()
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-n.exited:
			n.cmd = nil
			n.t.Fatalf("behalf ended at once: %v\n%s", err, n.written())
		default:
		}
		if response, err := http.Get(n.url + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
	}
	n.t.Fatalf("behalf was not ready within %s\n%s", startLimit, n.written())
}

// key returns the content of a key file in the data directory.
func (n *node) key(name string) string {
	n.t.Helper()
	content, err := os.ReadFile(filepath.Join(n.dir, name))
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func itoa(n int) string { return strconv.Itoa(n) }
