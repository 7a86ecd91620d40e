package store

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file counts what happens, by the hour, for charts. The rules are:
//
//   - Counting costs what happens nothing: it is kept in memory and written with
//     the uses, in batches. What a process that is killed had not written is lost.
//   - A count is no audit line: it tells how much, never who.

// What is counted beside UseToken and UseProxy.
const (
	CountRefresh = "refresh"
	CountFailed  = "refresh_failed" // the connection has lapsed, or it is tried again
)

// keptTallies is how far back a chart can look.
const keptTallies = 35 * 24 * time.Hour

// Tally is how often something happened in an hour.
type Tally struct {
	Profile behalf.ProfileID
	Kind    string
	Hour    time.Time // when it begins
	Count   int64
}

// Tallies returns what was counted of an assistant since a time, oldest first.
func (s Scope) Tallies(ctx context.Context, assistant behalf.AssistantID, since time.Time) ([]Tally, error) {
	if err := s.allow(behalf.ReadConnections, assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(string(assistant)) {
		return nil, nil
	}
	rows, err := s.db.read.Tallies(ctx, query.TalliesParams{Assistant: string(assistant), Since: micros(since)})
	out := make([]Tally, 0, len(rows))
	for _, r := range rows {
		out = append(out, Tally{behalf.ProfileID(r.Profile), r.Kind, at(r.Hour), r.Count})
	}
	return out, unavailableIf(err)
}

// ForgetTallies deletes what no chart shows any more.
func (s Scope) ForgetTallies(ctx context.Context) error {
	if err := s.allow(behalf.Maintain, "", "connection"); err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error { return c.ForgetTallies(ctx, micros(c.now.Add(-keptTallies))) })
}

// ConnectionCount is how many connections of a profile stand so.
type ConnectionCount struct {
	Profile behalf.ProfileID
	Status  behalf.ConnectionStatus
	Count   int64
}

// CountConnections counts an assistant's connections by profile and status.
func (s Scope) CountConnections(ctx context.Context, assistant behalf.AssistantID) ([]ConnectionCount, error) {
	if err := s.allow(behalf.ReadConnections, assistant, "connection"); err != nil {
		return nil, err
	}
	if !text(string(assistant)) {
		return nil, nil
	}
	rows, err := s.db.read.CountConnections(ctx, string(assistant))
	out := make([]ConnectionCount, 0, len(rows))
	for _, r := range rows {
		out = append(out, ConnectionCount{behalf.ProfileID(r.Profile), behalf.ConnectionStatus(r.Status), r.N})
	}
	return out, unavailableIf(err)
}

// counted is what one row counts.
type counted struct {
	assistant behalf.AssistantID
	profile   behalf.ProfileID
	kind      string
	hour      int64
}

func (k counted) compare(o counted) int {
	return cmp.Or(strings.Compare(string(k.assistant), string(o.assistant)), cmp.Compare(k.hour, o.hour), strings.Compare(k.kind, o.kind), strings.Compare(string(k.profile), string(o.profile)))
}

// tallies wait to be written.
type tallies struct {
	mu sync.Mutex
	m  map[counted]int64
}

func (t *tallies) add(c behalf.Connection, kind string, now time.Time) {
	t.put(counted{c.Assistant, c.Profile, kind, micros(now.Truncate(time.Hour))}, 1)
}

func (t *tallies) put(k counted, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[counted]int64{}
	}
	t.m[k] += n
}

func (t *tallies) take() map[counted]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.m
	t.m = nil
	return m
}

func (t *tallies) putBack(m map[counted]int64) {
	for k, n := range m {
		t.put(k, n)
	}
}

// tally writes them, in one order on all nodes.
func (c *change) tally(ctx context.Context, m map[counted]int64) error {
	for _, k := range inOrder(m, counted.compare) {
		if err := c.AddTally(ctx, query.AddTallyParams{Assistant: string(k.assistant), Profile: string(k.profile), Kind: k.kind, Hour: k.hour, Count: m[k]}); err != nil {
			return err
		}
	}
	return nil
}
