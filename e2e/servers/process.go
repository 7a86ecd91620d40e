package servers

import (
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// startLimit is generous: a cold Python on a busy machine takes ten seconds.
const startLimit = 90 * time.Second

// process is a program in a process group of its own.
type process struct {
	name   string
	file   string // takes what the program writes
	exited chan struct{}
}

// start runs the command with the given environment beside our own. The
// process group is killed when the test ends, and the process itself also when
// the test binary dies without a word.
func start(t testing.TB, name string, command, env []string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".log")
	out, err := os.Create(file)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	defer out.Close()

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = Directory(t)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("servers: cannot start %s: %v; `make deps` installs what the test servers need", name, err)
	}
	p := &process{name: name, file: file, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	})
	return p
}

// waitFor returns once a GET of the address is answered with 200.
func (p *process) waitFor(t testing.TB, address string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case <-p.exited:
			t.Fatalf("servers: %s ended at once; `make deps` installs what the test servers need\n%s", p.name, p.output(t))
		default:
		}
		response, err := client.Get(address)
		if err != nil {
			continue
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("servers: %s did not answer %s within %s\n%s", p.name, address, startLimit, p.output(t))
}

func (p *process) output(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	return string(text)
}

// FreePort returns a port of 127.0.0.1 on which nothing listens. It is below
// the range from which the kernel takes the ports of outgoing connections, so
// that none of these gets it before the caller does.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("servers: found no free port")
	return 0
}
