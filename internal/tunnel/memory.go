package tunnel

import (
	"io/fs"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// This file shares out the memory of an agent. The rules are:
//
//   - All of it is counted in bytes: what the process is made of, what a stream
//     costs at most, and what windows and buffers may have for speed.
//   - A stream that does not fit waits, and is refused in the end; nothing grows
//     with what others do.
//   - The program itself is not counted: the system can take back its pages.

const (
	defaultMemory = 32 << 20
	leastMemory   = 16 << 20

	// What an agent without streams keeps, the garbage collector's own included.
	baseMemory = 9 << 20

	// What the server may send on a new stream unasked.
	agentWindow = 4 << 10

	// What a stream costs at most, measured with a thousand of them that stall: its
	// goroutines, what yamux, the poller and net/http keep, and the first window.
	costTCP  = 16 << 10
	costHTTP = 96 << 10
)

// shares is how the memory of an agent is used.
type shares struct {
	windows int64 // beyond their beginning, of all streams
	buffers int64
	streams int64
}

func shared(memory int64) shares {
	s := shares{windows: memory / 16, buffers: memory / 32}
	s.streams = max(memory-memory/8-baseMemory-s.windows-s.buffers, 1<<20) // an eighth is what is garbage and not yet collected
	return s
}

// HoldMemory has the garbage collector of this process keep to the memory of the
// configuration.
func (c *Config) HoldMemory() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(c.memory)
}

// memoryBy returns what an agent may use where nothing is configured: half of
// what its cgroup has, and not more than it needs for a thousand calls at once.
// The other half is for the kernel's part and the program's pages.
func memoryBy(root fs.FS) int64 {
	limit, ok := cgroupLimit(root)
	if !ok {
		return defaultMemory
	}
	return min(defaultMemory, max(leastMemory, limit/2))
}

// cgroupLimit returns the least limit of the cgroups that this process is in;
// root is the file system's.
func cgroupLimit(root fs.FS) (least int64, ok bool) {
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(own)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max" // cgroups(7), version 2
		switch {
		case part[1] == "memory":
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes" // version 1
		case part[1] != "":
			continue
		}
		for at := path.Clean("/" + part[2]); ; at = path.Dir(at) {
			raw, err := fs.ReadFile(root, path.Join(dir, at, file))
			n, bad := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
			if err == nil && bad == nil && n < 1<<50 && (!ok || n < least) { // version 1 writes a huge number for none, version 2 a word
				least, ok = n, true
			}
			if at == "/" {
				break
			}
		}
	}
	return least, ok
}
