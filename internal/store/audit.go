package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// Audit returns the newest audit lines of an assistant, or of all where it is
// empty.
func (s Scope) Audit(ctx context.Context, assistant behalf.AssistantID, since time.Time, page Page) ([]behalf.AuditEntry, error) {
	if err := s.allow(behalf.ReadAudit, assistant, "audit log"); err != nil {
		return nil, err
	}
	if !text(string(assistant)) {
		return nil, nil
	}
	rows, err := s.db.read.Audit(ctx, query.AuditParams{Assistant: string(assistant), Since: micros(since), Max: page.limit()})
	out := make([]behalf.AuditEntry, 0, len(rows))
	for _, r := range rows {
		out = append(out, behalf.AuditEntry{At: at(r.At), Actor: r.Actor, Assistant: behalf.AssistantID(r.Assistant), Action: r.Action, Object: r.Object, Detail: r.Detail, Count: r.Count})
	}
	return out, unavailableIf(err)
}

func (db *DB) insertAudits(ctx context.Context, q *query.Queries, entries []behalf.AuditEntry) error {
	for _, e := range entries {
		if err := q.InsertAudit(ctx, query.InsertAuditParams{Node: string(db.Node), Seq: db.seq.Add(1), At: micros(e.At), Actor: e.Actor, Assistant: string(e.Assistant),
			Action: e.Action, Object: e.Object, Detail: e.Detail, Count: e.Count}); err != nil {
			return err
		}
	}
	return nil
}

// Use kinds, as the audit log names them.
const (
	UseToken = "connection.token" // an access token was given out
	UseProxy = "connection.call"  // a call was proxied
)

// Used notes that a connection was used. It is kept in memory and written in
// batches of at most a second, off the caller's path; uses of one connection by
// one actor in that second are one line with a count.
func (s Scope) Used(c behalf.Connection, kind string) {
	s.db.uses.add(use{s.actor.String(), c.Assistant, string(c.ID), kind}, s.db.Now())
}

type use struct {
	actor     string
	assistant behalf.AssistantID
	object    string
	kind      string
}

type used struct {
	count int64
	last  time.Time
}

type uses struct {
	mu   sync.Mutex
	m    map[use]used
	keys map[behalf.KeyID]time.Time
}

func (u *uses) add(key use, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.m == nil {
		u.m = map[use]used{}
	}
	u.m[key] = used{u.m[key].count + 1, now}
}

func (u *uses) key(id behalf.KeyID, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.keys == nil {
		u.keys = map[behalf.KeyID]time.Time{}
	}
	u.keys[id] = now
}

func (u *uses) take() (map[use]used, map[behalf.KeyID]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m, keys := u.m, u.keys
	u.m, u.keys = nil, nil
	return m, keys
}

// putBack returns what could not be written, for the next batch.
func (u *uses) putBack(m map[use]used, keys map[behalf.KeyID]time.Time) {
	for key, n := range m {
		u.mu.Lock()
		if u.m == nil {
			u.m = map[use]used{}
		}
		sum := u.m[key]
		u.m[key] = used{sum.count + n.count, later(sum.last, n.last)}
		u.mu.Unlock()
	}
	for id, last := range keys {
		u.key(id, last)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// inOrder returns the keys of m in one order on all nodes: two that lock the same
// rows in different orders would wait for each other.
func inOrder[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}

func (db *DB) flushUses(ctx context.Context) error {
	m, keys := db.uses.take()
	if len(m) == 0 && len(keys) == 0 {
		return nil
	}
	err := db.As(behalf.System("uses")).change(ctx, func(c *change) error {
		for _, key := range inOrder(m, func(a, b use) int { return strings.Compare(a.object+a.actor+a.kind, b.object+b.actor+b.kind) }) {
			n := m[key]
			c.audits = append(c.audits, behalf.AuditEntry{At: n.last, Actor: key.actor, Assistant: key.assistant, Action: key.kind, Object: key.object, Count: n.count})
			if err := c.TouchConnection(ctx, query.TouchConnectionParams{LastUsedAt: micros(n.last), ID: key.object}); err != nil {
				return err
			}
		}
		for _, id := range inOrder(keys, cmp.Compare[behalf.KeyID]) {
			if err := c.TouchKey(ctx, query.TouchKeyParams{LastUsedAt: micros(keys[id]), ID: string(id)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		db.uses.putBack(m, keys)
	}
	return err
}
