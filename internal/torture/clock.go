//go:build linux

package torture

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Clock is one that is wrong, and that somebody sets while it runs.
type Clock struct {
	Real  func() time.Time
	wrong atomic.Int64 // in seconds
}

// jumps are what a clock is wrong by after each time that it was set.
var jumps = []time.Duration{time.Hour, -time.Hour, 25 * time.Hour, 0, -25 * time.Hour}

// Set makes the clock wrong by so much.
func (c *Clock) Set(by time.Duration) { c.wrong.Store(int64(by / time.Second)) }

// Jump sets the clock for the n-th time.
func (c *Clock) Jump(n int) { c.Set(jumps[n%len(jumps)]) }

// Now returns the time of the clock. Its monotonic reading goes on as it was,
// which is so when somebody sets a machine's clock, and what Add cannot do: the
// seconds of the wall clock are above the lowest 30 bits of a Time that has a
// monotonic reading.
func (c *Clock) Now() time.Time {
	t := c.Real()
	*(*uint64)(unsafe.Pointer(&t)) += uint64(c.wrong.Load()) << 30
	return t
}
