package broker

import (
	"container/heap"
	"testing"
	"time"
)

// answering is when requests are answered, the next first.
type answering []time.Time

func (a answering) Len() int           { return len(a) }
func (a answering) Less(i, j int) bool { return a[i].Before(a[j]) }
func (a answering) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *answering) Push(x any)        { *a = append(*a, x.(time.Time)) }
func (a *answering) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// ask lets as many ask as may, always with others who wait, until n are
// answered. It returns for how much of the time there were so many at once.
func ask(turns *turns, n int, took func(at time.Time, busy int) time.Duration) map[int]time.Duration {
	now, under, at := time.Unix(0, 0), answering{}, map[int]time.Duration{}
	for range n {
		for len(under) < turns.width() {
			turns.mu.Lock()
			turns.busy++
			turns.mu.Unlock()
			heap.Push(&under, now.Add(took(now, len(under)+1)))
		}
		next := heap.Pop(&under).(time.Time)
		at[turns.width()] += next.Sub(now)
		now = next
		turns.waiting = []chan struct{}{make(chan struct{})}
		before := turns.busy
		turns.done(now)
		if turns.busy == before { // who waited has the turn
			heap.Push(&under, now.Add(took(now, len(under)+1)))
		}
	}
	return at
}

func TestAHostIsAskedForAsMuchAsItCanDoAtOnce(t *testing.T) {
	part := func(at map[int]time.Duration, of ...int) float64 {
		var all, those time.Duration
		for _, d := range at {
			all += d
		}
		for _, width := range of {
			those += at[width]
		}
		return float64(those) / float64(all)
	}
	t.Run("one that answers any number at once", func(t *testing.T) {
		var turns turns
		at := ask(&turns, 10_000, func(time.Time, int) time.Duration { return 100 * time.Millisecond })
		if p := part(at, perHost); p < 0.95 {
			t.Errorf("it is asked for %d at once for %.2f of the time: %v", perHost, p, at)
		}
	})
	t.Run("one that answers one after the other", func(t *testing.T) {
		var turns turns
		var free time.Time
		at := ask(&turns, 10_000, func(now time.Time, _ int) time.Duration {
			if free.Before(now) {
				free = now
			}
			free = free.Add(2 * time.Millisecond)
			return free.Sub(now)
		})
		if p := part(at, widths[0]); p < 0.8 {
			t.Errorf("it is asked for %d at once for %.2f of the time: %v", widths[0], p, at)
		}
	})
	t.Run("one that is overloaded for a while", func(t *testing.T) {
		var turns turns
		var free time.Time
		slow := func(now time.Time, _ int) time.Duration {
			if free.Before(now) {
				free = now
			}
			free = free.Add(10 * time.Millisecond)
			return free.Sub(now)
		}
		quick := func(time.Time, int) time.Duration { return 20 * time.Millisecond }
		ask(&turns, 2_000, quick)
		if turns.width() != perHost {
			t.Fatalf("%d at once", turns.width())
		}
		turns.busy = 0
		ask(&turns, 2_000, slow)
		if turns.width() > widths[1] {
			t.Errorf("%d at once when it is overloaded", turns.width())
		}
		turns.busy = 0
		ask(&turns, 5_000, quick)
		if turns.width() != perHost {
			t.Errorf("%d at once when it can do as much as before", turns.width())
		}
	})
}

func TestAHostsTurnsAreKept(t *testing.T) {
	var turns turns
	for range widths[0] {
		if !turns.take(nil) {
			t.Fatal("a turn that is free is not given")
		}
	}
	impatient := make(chan time.Time, 1)
	impatient <- time.Time{}
	if turns.take(impatient) {
		t.Error("one more than there are was given")
	}
	got := make(chan bool)
	go func() { got <- turns.take(nil) }()
	for turns.waits() == 0 {
		time.Sleep(time.Millisecond)
	}
	turns.done(time.Now())
	if !<-got || turns.busy != widths[0] || turns.waits() != 0 {
		t.Errorf("%d are busy and %d wait", turns.busy, turns.waits())
	}
}

func (t *turns) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}
