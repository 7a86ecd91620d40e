//go:build linux

package torture

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/secret"
	"github.com/behalf-dev/behalf/internal/simulator"
	"github.com/behalf-dev/behalf/internal/store"
)

// settleLimit is longer than a lease, a token's life and some backoff: after it
// nothing may be under way any more.
const settleLimit = 4 * time.Minute

// settle lets every connection refresh once more, each on any server.
func (t *torture) settle(ctx context.Context) error {
	t.cfg.Progress("every connection is refreshed once more")
	began := t.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, settleLimit+t.tokenLife())
	defer cancel()
	var next, unsettled atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(t.all)); n = next.Add(1) - 1 {
				if !t.once(ctx, int(n)) {
					unsettled.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.report.Unsettled = int(unsettled.Load())
	t.report.SettledAfterMS = t.cfg.Now().Sub(began).Milliseconds()
	return nil
}

// once refreshes a connection, and reports whether it came to an end: it was
// refreshed, or it is lost.
func (t *torture) once(ctx context.Context, n int) bool {
	for try := n; ctx.Err() == nil; try++ {
		at, _ := t.nodes[try%len(t.nodes)].at()
		req, err := t.request(ctx, at, "/connections/"+string(t.all[n])+"/refresh", nil)
		if err != nil {
			return false
		}
		status, code, err := t.ask(req, nil)
		if err == nil && (status == http.StatusOK || code == string(behalf.CodeAuthorizationRequired)) {
			return true
		}
		_ = t.until(ctx, t.cfg.Now().Add(time.Second))
	}
	return false
}

// judge compares what the provider committed with what is stored.
func (t *torture) judge(ctx context.Context) error {
	grants, err := t.grants(ctx)
	if err != nil {
		return err
	}
	told, err := t.announced(ctx)
	if err != nil {
		return err
	}
	found := make([]verdict, len(t.all))
	if err := each(len(t.all), func(n int) (err error) {
		found[n], err = t.verdict(ctx, t.all[n], grants[n])
		return err
	}); err != nil {
		return err
	}
	for n, v := range found {
		t.count(v, grants[n], told[v.ID])
	}
	t.report.WindowMS, t.report.AnswerMS = t.windows()
	return nil
}

// verdict is on a connection as it is in the end.
type verdict struct {
	behalf.Connection
	excused bool
	late    time.Duration
}

func (t *torture) verdict(ctx context.Context, id behalf.ConnectionID, g simulator.GrantStat) (v verdict, err error) {
	if v.Connection, err = t.scope.Connection(ctx, id); err == nil {
		v.excused, v.late, err = t.excused(ctx, v.Connection, g)
	}
	return v, err
}

func (t *torture) count(v verdict, g simulator.GrantStat, story string) {
	r := &t.report
	if v.excused {
		r.Unavoidable++
	} else {
		r.Duplicates += g.Duplicates - g.Forgiven
		if g.Revoked {
			r.FamiliesRevoked++
		}
	}
	if v.Status == behalf.ConnectionActive {
		return
	}
	r.Lost++
	if !v.excused {
		r.Avoidable++
	}
	if story != "" {
		r.Announced++
	}
	if v.late > 0 {
		r.Late++
		story += fmt.Sprintf(" The process that had asked was dead for %s when the provider committed.", v.late)
	}
	if len(r.Stories) < 10 || !v.excused && len(r.Stories) < 50 {
		r.Stories = append(r.Stories, Story{v.ID, v.excused, fmt.Sprintf("%s (stored generation %d, the provider issued %d, the last one at %s to %s)", story, v.Generation, g.Generation,
			time.UnixMicro(g.CommittedUS).UTC().Format("15:04:05.000000"), strings.TrimPrefix(g.By, "Behalf/"))})
	}
}

// excused reports whether the newest answer of the provider is not stored, and
// went to a process that was killed or frozen before it could be. Where that
// process was dead already when the provider committed what it had asked for,
// late says for how long: those are counted apart, too.
func (t *torture) excused(ctx context.Context, c behalf.Connection, g simulator.GrantStat) (is bool, late time.Duration, err error) {
	stored, _, err := t.scope.Secrets(ctx, c)
	if err != nil {
		return false, 0, err
	}
	if hex.EncodeToString(secret.Hash(stored.RefreshToken))[:16] == g.IssuedSHA256 {
		return false, 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hurt[strings.TrimPrefix(g.By, "Behalf/")]
	if h.killed > 0 && h.killed < g.CommittedUS {
		late = time.Duration(g.CommittedUS-h.killed) * time.Microsecond
	}
	return h.killed > 0 || g.CommittedUS <= h.thawed, late, nil
}

// announced returns the stories that events tell of lapsed connections.
func (t *torture) announced(ctx context.Context) (map[behalf.ConnectionID]string, error) {
	out, page := map[behalf.ConnectionID]string{}, store.Page{}
	for {
		events, err := t.scope.Events(ctx, t.assistant.ID, page)
		if err != nil || len(events) == 0 {
			return out, err
		}
		for _, e := range events {
			if page.After = string(e.ID); e.Type == behalf.EventConnectionLapsed {
				out[e.Connection] = e.Detail
			}
		}
	}
}

// windows returns how long answers took from the provider's commit to being
// durable, and how much of that they took to come.
func (t *torture) windows() (durable, came Window) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all, before []float64
	for c, commits := range t.commits {
		for generation, at := range commits {
			saved, ok := t.saved[c][generation]
			if !ok || saved < at {
				continue
			}
			all = append(all, float64(saved-at)/1000)
			before = append(before, float64(max(0, saved-at-t.took[c][generation]))/1000)
		}
	}
	return windowOf(all), windowOf(before)
}

func windowOf(took []float64) Window {
	if len(took) == 0 {
		return Window{}
	}
	slices.Sort(took)
	return Window{Median: took[len(took)/2], Max: took[len(took)-1], Samples: len(took)}
}
