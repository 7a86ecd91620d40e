package broker

import (
	"slices"
	"sync"
	"time"
)

// widths are how many requests one host is asked at once, from the least to the
// most.
var widths = [...]int{perHost / 8, perHost / 4, perHost / 2, perHost}

// turns are the requests to one host that nobody waits for. There are as many at
// once as make it answer more in a second, and not more: those that only wait in
// a queue there would be lost with us, were this process killed, and with them
// what the provider makes of them.
type turns struct {
	mu      sync.Mutex
	busy    int
	level   int // of widths
	waiting []chan struct{}

	since   time.Time            // when the first answer of this measurement came
	answers int                  // after it
	rates   [len(widths)]float64 // answers a second, as measured last at each width
	stay    int                  // so many measurements until a wider one is tried again
}

const (
	gain  = 1.2 // of two widths the wider must bring so much more
	stays = 16
)

func (t *turns) width() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return widths[t.level]
}

// take waits for a turn, for as long as patience does not come.
func (t *turns) take(patience <-chan time.Time) bool {
	t.mu.Lock()
	if t.busy < widths[t.level] && len(t.waiting) == 0 {
		t.busy++
		t.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-patience:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, mine)
	if i < 0 {
		return true // it came at the same moment
	}
	t.waiting = slices.Delete(t.waiting, i, i+1)
	return false
}

// done gives a turn to the next.
func (t *turns) done(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy--
	t.measure(now)
	for len(t.waiting) > 0 && t.busy < widths[t.level] {
		close(t.waiting[0])
		t.waiting = t.waiting[1:]
		t.busy++
	}
}

// measure counts an answer, and decides on the width when there are enough.
func (t *turns) measure(now time.Time) {
	t.answers++
	switch {
	case len(t.waiting) == 0: // nobody would have used more
		t.since = time.Time{}
		return
	case t.since.IsZero():
		t.since, t.answers = now, 0
		return
	case t.answers < 2*widths[t.level]:
		return
	}
	t.rates[t.level] = float64(t.answers) / max(now.Sub(t.since), time.Microsecond).Seconds()
	t.since, t.answers = now, 0
	switch {
	case t.level > 0 && t.rates[t.level] < gain*t.rates[t.level-1]:
		t.level, t.stay = t.level-1, stays
	case t.stay > 0:
		t.stay--
	case t.level < len(widths)-1:
		t.level++
	}
}
