//go:build linux

package torture

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/simulator"
)

// storm keeps callers busy while servers are killed and frozen, the database is
// taken away, and the provider is slow and lies.
func (t *torture) storm(ctx context.Context) error {
	calls, calm := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range t.cfg.Callers {
		wg.Go(func() { t.call(calls) })
	}
	wg.Go(func() { t.watch(calls) })
	if !t.cfg.Calm && t.provider != nil {
		wg.Go(func() { t.lie(calls) })
	}
	if t.cfg.Jumps {
		wg.Go(func() { t.jump(calls) })
	}
	err := t.hurtAll(ctx)
	calm()
	wg.Wait()
	t.cfg.Progress("the storm is over: %d kills, %d freezes", t.report.Kills, t.report.Freezes)
	return errors.Join(err, t.provide(ctx, simulator.Switches{}))
}

// jump sets the clocks of the servers, one after the other.
func (t *torture) jump(ctx context.Context) {
	for i := 0; t.until(ctx, t.cfg.Now().Add(2*time.Second)) == nil; i++ {
		t.nodes[i%len(t.nodes)].jump()
		t.report.Jumps++
	}
}

// hurtAll does what is done to servers and database, spread over the time.
func (t *torture) hurtAll(ctx context.Context) error {
	began := t.cfg.Now()
	var wg sync.WaitGroup
	defer wg.Wait()
	var failed atomic.Pointer[error]
	each := t.cfg.For / time.Duration(max(1, t.cfg.Kills))
	if t.cfg.Outage > 0 {
		wg.Go(func() {
			if t.until(ctx, began.Add(max(0, t.cfg.For-t.cfg.Outage)/2)) == nil {
				t.databaseAway(ctx, t.cfg.Outage, &failed)
			}
		})
	}
	for i := range t.cfg.Kills {
		if err := t.until(ctx, began.Add(time.Duration(i)*each)); err != nil {
			return err
		}
		if i == t.cfg.Kills/3 || i == 2*t.cfg.Kills/3 {
			wg.Go(func() { t.databaseAway(ctx, time.Second, &failed) })
		}
		d, c, name, err := t.victim(ctx)
		if err != nil {
			return err
		}
		t.report.Kills++
		if i%20 == 19 {
			t.cfg.Progress("%d of %d kills after %s, %d reads, %d failed", i+1, t.cfg.Kills, t.cfg.Now().Sub(began).Round(time.Second), atomic.LoadInt64(&t.report.Reads), atomic.LoadInt64(&t.report.ReadsFailed))
		}
		freeze := !t.cfg.Calm && i%8 == 3
		wg.Go(func() {
			if freeze {
				t.freeze(ctx, c, name)
				_ = t.until(ctx, t.cfg.Now().Add(100*time.Millisecond)) // what it does when it wakes up
			}
			t.hurtOne(ctx, d, c, name, &failed)
		})
		if !t.cfg.Calm && i%16 == 8 {
			if err := t.thaw(ctx, &wg); err != nil {
				return err
			}
		}
		if err := failed.Load(); err != nil {
			return *err
		}
	}
	err := t.until(ctx, began.Add(t.cfg.For))
	wg.Wait()
	if failed := failed.Load(); failed != nil {
		return *failed
	}
	return err
}

// until waits for a time.
func (t *torture) until(ctx context.Context, at time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(at.Sub(t.cfg.Now())):
		return nil
	}
}

// victim takes a server that is at work; while none is, it waits.
func (t *torture) victim(ctx context.Context) (*node, *child, string, error) {
	for {
		first := rand.IntN(len(t.nodes))
		for i := range t.nodes {
			d := t.nodes[(first+i)%len(t.nodes)]
			if !d.ripe() || d.upgraded() && t.mixed() {
				continue
			}
			c, name := d.down()
			return d, c, name, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, "", ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freeze puts a server on ice for a while.
func (t *torture) freeze(ctx context.Context, c *child, name string) {
	t.add(&t.report.Freezes, 1)
	_ = c.cmd.Process.Signal(syscall.SIGSTOP)
	_ = t.until(ctx, t.cfg.Now().Add(t.cfg.Freeze))
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
	t.hurts(name, func(h *hurt, now int64) { h.thawed = now })
}

// thaw freezes a server that goes on after that.
func (t *torture) thaw(ctx context.Context, wg *sync.WaitGroup) error {
	d, c, name, err := t.victim(ctx)
	if err != nil {
		return err
	}
	wg.Go(func() {
		t.freeze(ctx, c, name)
		d.back(c)
	})
	return nil
}

// hurtOne kills or stops a server, and starts it again.
func (t *torture) hurtOne(ctx context.Context, d *node, c *child, name string, failed *atomic.Pointer[error]) {
	c.end(t.cfg.Signal)
	t.hurts(name, func(h *hurt, now int64) { h.killed = now })
	for left := startTries; ; left-- {
		err := d.start(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
			return
		case t.isAway():
			left = startTries
		case left == 1: // it should have started
			failed.Store(&err)
			return
		default:
			t.cfg.Progress("%v", err)
		}
	}
}

// startTries is how often a server may fail to start while there is a database:
// on a machine that is too busy, asking it takes longer than a server waits.
const startTries = 5

// hurt is when a run of a server was last on ice, and when it was killed, in µs.
type hurt struct{ thawed, killed int64 }

func (t *torture) hurts(name string, how func(h *hurt, now int64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hurt[name]
	how(&h, t.cfg.Now().UnixMicro())
	t.hurt[name] = h
}

// databaseAway ends our own PostgreSQL as a crash would, and starts it again.
func (t *torture) databaseAway(ctx context.Context, d time.Duration, failed *atomic.Pointer[error]) {
	if t.postgres == nil {
		return
	}
	t.turn.Lock()
	defer t.turn.Unlock()
	t.cfg.Progress("the database is away for %s", d)
	t.away(true, time.Time{})
	if d == t.cfg.Outage { // what is asked now is answered when there is nobody to take it
		_ = t.provide(ctx, simulator.Switches{TokenDelayMS: 1500})
		_ = t.until(ctx, t.cfg.Now().Add(time.Second))
	}
	t.postgres.stop()
	t.away(true, t.cfg.Now())
	_ = t.until(ctx, t.cfg.Now().Add(d))
	t.away(true, time.Time{})
	if err := t.postgres.start(context.WithoutCancel(ctx)); err != nil {
		failed.Store(&err)
		return
	}
	t.add(&t.report.DatabaseRestarts, 1)
	_ = t.until(ctx, t.cfg.Now().Add(2*time.Second)) // servers that were just starting may still fail
	t.away(false, time.Time{})
}

// away notes whether the database may fail, and since when there is none.
func (t *torture) away(is bool, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dbAway, t.awaySince = is, since
}

// lie makes the provider slow, or answer nonsense, now and then. What it lies
// about it has not done: an answer that it loses itself nobody can save, but
// where it gives it again.
func (t *torture) lie(ctx context.Context) {
	moods := []simulator.Switches{
		{}, {TokenDelayAfterMS: 200}, {}, {TokenDelayMS: 500}, {},
		{Answer: &simulator.Answer{Status: 502, ContentType: "text/html", Body: "<h1>Bad gateway</h1>"}, Times: 20},
		{}, {RateLimit: "1", Times: 20}, {TokenDelayAfterMS: 50}, {Unavailable: "1", Times: 20}, {TokenReset: true, Times: 5},
	}
	if t.cfg.Lies {
		moods = append(moods, []simulator.Switches{{CommitThen500: true, Times: 20}, {CommitThenClose: true, Times: 20}, {GarbageHTML: true, Times: 20},
			{TruncatedJSON: true, Times: 20}, {EmptyBody: true, Times: 20}, {TokenDripMS: 5}, {TokenDelayMS: 12_000, Times: 20}}...)
	}
	for i := 0; ; i++ {
		if err := t.until(ctx, t.cfg.Now().Add(1500*time.Millisecond)); err != nil {
			return
		}
		if t.isAway() {
			continue
		}
		if err := t.provide(ctx, moods[i%len(moods)]); err != nil && ctx.Err() == nil {
			t.cfg.Progress("the provider was not set: %v", err)
		}
	}
}

func (t *torture) isAway() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dbAway
}

func (t *torture) provide(ctx context.Context, s simulator.Switches) error {
	if t.provider == nil {
		return nil
	}
	if t.cfg.Lies {
		s.GraceSeconds = forgiving
	}
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, t.provider.url+"/_simulator/switches", bytes.NewReader(body))
	if err != nil {
		return err
	}
	if status, _, err := t.ask(req, nil); err != nil || status != http.StatusOK {
		return fmt.Errorf("switches of the provider: status %d: %w", status, err)
	}
	return nil
}

// call asks for tokens, any server for anybody's, and now and then for a
// refresh.
func (t *torture) call(ctx context.Context) {
	for ctx.Err() == nil {
		n, d := rand.IntN(len(t.all)), t.nodes[rand.IntN(len(t.nodes))]
		if at, run := d.at(); at != "" {
			t.callOne(ctx, at, run, n)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(10+rand.IntN(20)) * time.Millisecond):
		}
	}
}

func (t *torture) callOne(ctx context.Context, at, run string, n int) {
	path, body := "/token", fmt.Appendf(nil, `{"profile":%q,"user":%q}`, t.profile.Slug, person(n))
	if rand.IntN(20) == 0 {
		path, body = "/connections/"+string(t.all[n])+"/refresh", nil
	}
	req, err := t.request(ctx, at, path, body)
	if err != nil {
		return
	}
	var got given
	began := t.cfg.Now()
	status, code, err := t.ask(req, &got)
	if ctx.Err() != nil || body == nil {
		return
	}
	got.at = began
	t.heardBack(run, n, err == nil && status == http.StatusOK, code, got)
}

func (t *torture) request(ctx context.Context, at, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/v1/assistants/"+t.assistant.Slug+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.key)
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// given is what a server has given out.
type given struct {
	ExpiresAt time.Time `json:"expires_at"`
	at        time.Time // when it was asked
}

// heardBack notes for how long a user got no token.
func (t *torture) heardBack(run string, n int, ok bool, code string, got given) {
	atomic.AddInt64(&t.report.Reads, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	since, failing := t.failing[n]
	switch {
	case ok:
		if t.gone(got) {
			t.report.OutageReads++
		}
		if t.held[run] == nil {
			t.held[run] = map[int]given{}
		}
		t.held[run][n] = got
		if failing {
			t.report.LongestOutageMS = max(t.report.LongestOutageMS, t.cfg.Now().Sub(since).Milliseconds())
		}
		delete(t.failing, n)
	case code == string(behalf.CodeAuthorizationRequired): // lost, and counted as that
	default:
		atomic.AddInt64(&t.report.ReadsFailed, 1)
		if t.report.FailedBy == nil {
			t.report.FailedBy = map[string]int64{}
		}
		t.report.FailedBy[cmp.Or(code, "no_answer")]++
		if !failing {
			t.failing[n] = t.cfg.Now()
		}
		if t.gone(got) && t.holds(run, n, got.at) {
			t.report.OutageFailed++
		}
	}
}

// gone reports whether there was no database when something was asked for, and
// is none.
func (t *torture) gone(g given) bool { return !t.awaySince.IsZero() && g.at.After(t.awaySince) }

// holds reports whether a server has a token in memory that is good: it has
// given it out before, and nobody has refreshed it since, or tried.
func (t *torture) holds(run string, n int, now time.Time) bool {
	last, ok := t.held[run][n]
	if !ok || !now.Add(time.Second).Before(last.ExpiresAt) {
		return false
	}
	return t.told[t.all[n]].Before(last.at.Add(-5 * time.Second))
}

// heard takes from a server's log when a credential was durable, and what went
// through spill files, and reports whether the line is of a refresh.
func (t *torture) heard(line []byte) (refresh bool) {
	var said struct {
		Time       time.Time
		Msg        string
		Connection behalf.ConnectionID
		Outcome    string
		Generation int
		Took       time.Duration
		Records    int
	}
	if json.Unmarshal(line, &said) != nil {
		return false
	}
	if said.Msg == "refresh" {
		t.mu.Lock()
		t.told[said.Connection] = said.Time
		t.mu.Unlock()
	}
	switch {
	case said.Msg == "refresh" && said.Outcome == "refreshed":
		t.note(t.saved, said.Connection, said.Generation, said.Time.UnixMicro())
		t.note(t.took, said.Connection, said.Generation, said.Took.Microseconds())
	case strings.HasSuffix(said.Msg, "it is in the spill file"):
		t.add(&t.report.Spilled, 1)
	case strings.HasSuffix(said.Msg, "had not taken is written"):
		t.add(&t.report.Replayed, said.Records)
	}
	return said.Msg == "refresh"
}

// mixed reports whether servers of the older program are there still.
func (t *torture) mixed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.UpgradeTo != "" && t.report.Upgraded < len(t.nodes)
}

func (t *torture) add(what *int, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*what += n
}

func (t *torture) note(in map[behalf.ConnectionID]map[int]int64, c behalf.ConnectionID, generation int, us int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in[c] == nil {
		in[c] = map[int]int64{}
	}
	if _, ok := in[c][generation]; !ok {
		in[c][generation] = us
	}
}

// watch takes from the provider when it committed what.
func (t *torture) watch(ctx context.Context) {
	for t.until(ctx, t.cfg.Now().Add(3*time.Second)) == nil {
		if _, err := t.grants(ctx); err != nil && ctx.Err() == nil {
			t.cfg.Progress("the provider was not asked: %v", err)
		}
	}
}

// grants returns the provider's view, by user.
func (t *torture) grants(ctx context.Context) ([]simulator.GrantStat, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.stats, nil)
	if err != nil {
		return nil, err
	}
	var s simulator.Stats
	if status, _, err := t.ask(req, &s); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("stats of the provider: status %d: %w", status, err)
	}
	atomic.StoreInt64(&t.report.Refreshes, s.Refreshes)
	out := make([]simulator.GrantStat, len(t.all))
	for _, g := range s.Grants {
		var n int
		if _, err := fmt.Sscanf(g.Subject, "user-%d", &n); err != nil || n >= len(out) || g.CommittedUS < t.began { // of another run
			continue
		}
		out[n] = g
		t.note(t.commits, t.all[n], g.Generation, g.CommittedUS)
	}
	return out, nil
}
