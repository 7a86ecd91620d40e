package tunnel

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

var mebibytes = flag.Int64("mib", 64, "how much TestTheAgentKeepsToItsMemory moves each way")

func TestWhatMemoryThereIs(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no cgroups":                     {nil, defaultMemory},
		"version 2, a container":         {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "50331648\n"}, 24 << 20},
		"version 2, no limit":            {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, defaultMemory},
		"version 2, a limit above":       {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "41943040\n"}, 20 << 20},
		"version 1":                      {map[string]string{"proc/self/cgroup": "5:cpu:/x\n4:memory:/y\n0::/\n", "sys/fs/cgroup/memory/y/memory.limit_in_bytes": "50331648\n"}, 24 << 20},
		"version 1, no limit":            {map[string]string{"proc/self/cgroup": "4:memory:/y\n", "sys/fs/cgroup/memory/y/memory.limit_in_bytes": "9223372036854771712\n"}, defaultMemory},
		"more than an agent needs":       {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "8589934592\n"}, defaultMemory},
		"less than an agent can do with": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"}, leastMemory},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memoryBy(root); got != c.want {
			t.Errorf("%s: %d MiB, want %d", name, got>>20, c.want>>20)
		}
	}
}

// TestTheAgentKeepsToItsMemory runs the program as it is shipped, in a cgroup of
// 64 MiB where one can be made, with a thousand connections at once of which a
// fifth stall, and moves much beside them both ways.
func TestTheAgentKeepsToItsMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	binary := filepath.Join(t.TempDir(), "behalf")
	if said, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", binary, "github.com/behalf-dev/behalf/cmd/behalf").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	for _, c := range []struct {
		kind    Kind
		base    string
		streams int
	}{
		{TCP, "http://app.corp.example", 1000},
		{HTTP, "http://web.corp.example", 150}, // as many as there is room for at once
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			app, held := stalling(t), newHolding(t)
			s := newStage(t)
			p := s.process(binary, allowing(row("{tcp: 'app.corp.example:80', to: '%s'}", app), row("{http: 'http://web.corp.example', to: 'http://%s'}", app),
				row("{tcp: 'app.corp.example:81', to: '%s'}", held.address), row("{http: 'http://web.corp.example:81', to: 'http://%s'}", held.address)))
			idle := p.read()
			client := s.client(c.kind)
			stall(t, client, c.base, c.streams/10)
			var calls sync.WaitGroup
			for range c.streams - c.streams/5 {
				calls.Go(func() {
					if code, body, err := s.get(client, c.base+":81/"); err != nil || code != http.StatusOK || len(body) != 1000 {
						t.Error("a call:", code, len(body), err)
					}
				})
			}
			s.within(2*time.Minute, "all calls at the application", func() bool { return held.calls.Load() == int64(c.streams-c.streams/5) || t.Failed() })
			began := time.Now()
			var moving sync.WaitGroup
			for _, move := range []func(*http.Client, string, int64) error{upload, download} {
				moving.Go(func() {
					if err := move(client, c.base, *mebibytes<<20); err != nil {
						t.Error("beside them:", err)
					}
				})
			}
			moving.Wait()
			took := time.Since(began)
			held.release()
			calls.Wait()
			peak := p.read()
			t.Logf("%d %s connections at once, %d of them stalled, and %d MiB each way beside them in %s: idle %s; peak %s",
				c.streams, c.kind, c.streams/5, *mebibytes, took.Round(time.Millisecond), idle, peak)
			if peak.own > defaultMemory {
				t.Errorf("the agent had %.1f MiB, and may have %d", mib(peak.own), defaultMemory>>20)
			}
			if c.kind == TCP {
				p.freeze(s)
			}
		})
	}
}

// holding is an application that answers when it is told to.
type holding struct {
	address string
	calls   atomic.Int64
	release func()
}

func newHolding(t *testing.T) *holding {
	t.Helper()
	goOn := make(chan struct{})
	h := &holding{release: sync.OnceFunc(func() { close(goOn) })}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.calls.Add(1)
		<-goOn
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	h.address = strings.TrimPrefix(web.URL, "http://")
	t.Cleanup(web.Close)
	t.Cleanup(h.release)
	return h
}

// process is an agent in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	cgroup string // "": none could be made
	most   atomic.Int64
}

func (s *stage) process(binary, yaml string) *process {
	s.t.Helper()
	dir := s.t.TempDir()
	file := filepath.Join(dir, "connector.yaml")
	if err := os.WriteFile(file, []byte("server: "+s.web.URL+"\naudit: audit.jsonl\n"+yaml), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := s.identity("agt_1").save(filepath.Join(dir, "agent.json")); err != nil {
		s.t.Fatal(err)
	}
	p := &process{t: s.t, cgroup: newCgroup(s.t, 64<<20)}
	into := "true"
	if p.cgroup != "" {
		into = "echo $$ > " + filepath.Join(p.cgroup, "cgroup.procs")
	}
	p.cmd = exec.Command("sh", "-c", into+` && exec "$0" connector run -f "$1"`, binary, file)
	p.cmd.Stdout, p.cmd.Stderr = &s.log, &s.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { p.watch(done) })
	s.t.Cleanup(func() {
		close(done)
		watching.Wait()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if p.cgroup != "" {
			_ = os.Remove(p.cgroup)
		}
	})
	s.within(time.Minute, "the tunnel", func() bool { return s.attached("agt_1") })
	return p
}

// newCgroup makes one below our own, of either version, and returns its
// directory; "" where that cannot be.
func newCgroup(t *testing.T, limit int64) string {
	own, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(own)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		root, file := "/sys/fs/cgroup", "memory.max"
		switch {
		case len(part) != 3:
			continue
		case part[1] == "memory":
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case part[1] != "":
			continue
		}
		dir := filepath.Join(root, part[2], fmt.Sprintf("behalf-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0o644) == nil {
			return dir
		}
		_ = os.Remove(dir)
	}
	t.Log("no cgroup can be made here: the agent keeps to its budget without one")
	return ""
}

// watch keeps the most memory that the process had of its own.
func (p *process) watch(done chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			p.most.Store(max(p.most.Load(), p.status("RssAnon:")))
		}
	}
}

func (p *process) status(field string) int64 {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// usage is what an agent has had at most: of its own, and resident with the
// pages of its program; by the kernel's count for the cgroup, with its own part.
type usage struct{ own, resident, cgroup int64 }

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func (u usage) String() string {
	return fmt.Sprintf("%.1f MiB, with its program %.1f, cgroup %.1f", mib(u.own), mib(u.resident), mib(u.cgroup))
}

func (p *process) read() usage {
	u := usage{own: max(p.most.Load(), p.status("RssAnon:")), resident: p.status("VmHWM:")}
	for _, file := range []string{"memory.peak", "memory.max_usage_in_bytes"} {
		if raw, err := os.ReadFile(filepath.Join(p.cgroup, file)); err == nil && p.cgroup != "" {
			u.cgroup, _ = strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		}
	}
	return u
}

// freeze stops the process as if its machine hung: its connections stay open, and
// nothing comes.
func (p *process) freeze(s *stage) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	began := time.Now()
	s.within(2*heartbeat+5*time.Second, "the end of a tunnel whose agent is frozen", func() bool { return !s.attached("agt_1") })
	p.t.Logf("a frozen agent was given up after %s", time.Since(began).Round(100*time.Millisecond))
	if _, err := s.hub.Dial(p.t.Context(), "office", Target{TCP, "app.corp.example", 80}); CodeOf(err) != NotConnected {
		p.t.Error(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
	s.within(time.Minute, "the agent, thawed", func() bool { return s.attached("agt_1") })
}
