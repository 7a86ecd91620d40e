package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
)

// process is a server that we started and that we end.
type process struct {
	name   string
	url    string
	began  time.Time
	cmd    *exec.Cmd
	exited chan struct{}
	said   *tail
}

// start starts a server that logs a JSON line with msg "ready" and its url, as
// the product does and the limits do.
func start(ctx context.Context, name, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), exited: make(chan struct{}), said: &tail{}}
	p.cmd.Env = environment()
	// The servers are apart from the terminal's signals, and end with us
	// however we end.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	url := make(chan string, 1)
	go p.watch(log, url)
	if err := p.ready(ctx, url); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", name, err, p.said)
	}
	return p, nil
}

func (p *process) ready(ctx context.Context, url <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	select {
	case p.url = <-url:
		return nil
	case <-p.exited:
		return errors.New("it ended at once")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// environment is ours without what an operator has set for the product.
func environment() []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "BEHALF_") {
			out = append(out, e)
		}
	}
	return out
}

// watch reads the log to its end, and then waits for the process.
func (p *process) watch(log io.Reader, url chan<- string) {
	defer close(p.exited)
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		_, _ = p.said.Write(line)
		var ready struct{ Msg, URL string }
		if json.Unmarshal(line, &ready) == nil && ready.Msg == "ready" {
			select {
			case url <- ready.URL:
			default:
			}
		}
		if err != nil {
			_ = p.cmd.Wait()
			return
		}
	}
}

// answers waits until the server answers at the path, with whatever status
// below 500.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		if err == nil && res.StatusCode < 500 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", url, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// client has no kept connections: it must not hold one to a server that is gone.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}}

func (p *process) host() string { return strings.TrimPrefix(p.url, "http://") }

// stop ends the process: gracefully, and by force where that takes too long.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// resident returns the memory that the process holds, in bytes.
func (p *process) resident() (int64, error) { return p.status("VmRSS:") }

// peak returns the most memory that the process held since forgetPeak.
func (p *process) peak() (int64, error) { return p.status("VmHWM:") }

// forgetPeak sets the peak to what is held now (proc(5), clear_refs).
func (p *process) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

func (p *process) status(field string) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("there is no %s of %s", field, p.name)
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if over := len(t.end) - 4<<10; over > 0 {
		t.end = append([]byte(nil), t.end[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.end))
}
