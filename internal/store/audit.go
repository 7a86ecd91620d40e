package store

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
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

// AuditFilter narrows the audit log; empty fields take everything.
type AuditFilter struct {
	Assistant behalf.AssistantID
	Actor     string // as a line has it
	Action    string // the whole, or what stands before a dot: all of "connection"
	Object    string
	Quiet     bool // without what happens all the time: token reads, calls, refreshes
}

// AuditLines returns audit lines, newest first; page.After is the id of the
// last line of the page before.
func (s Scope) AuditLines(ctx context.Context, f AuditFilter, page Page) ([]behalf.AuditEntry, error) {
	if err := s.allow(behalf.ReadAudit, f.Assistant, "audit log"); err != nil {
		return nil, err
	}
	from, ok := parseLine(page.After)
	if !ok || !text(string(f.Assistant), f.Actor, f.Action, f.Object) {
		return nil, nil
	}
	rows, err := s.db.read.AuditBefore(ctx, query.AuditBeforeParams{Assistant: string(f.Assistant), Actor: f.Actor, Object: f.Object, Action: f.Action, Below: f.Action + ".%",
		Quiet: flag(f.Quiet), At: from.At, Node: from.Node, Seq: from.Seq, Max: page.limit()})
	out := make([]behalf.AuditEntry, 0, len(rows))
	for _, r := range rows {
		out = append(out, behalf.AuditEntry{ID: lineID(r), At: at(r.At), Actor: r.Actor, Assistant: behalf.AssistantID(r.Assistant), Action: r.Action, Object: r.Object, Detail: r.Detail, Count: r.Count})
	}
	return out, unavailableIf(err)
}

// A line is named by when it was written, where, and as which one there.
func lineID(r query.Audit) string {
	return strconv.FormatInt(r.At, 10) + "." + strconv.FormatInt(r.Seq, 10) + "." + r.Node
}

// parseLine reads the name of a line. None means the end of the log, which is
// where reading begins.
func parseLine(id string) (query.Audit, bool) {
	if id == "" {
		return query.Audit{At: math.MaxInt64}, true
	}
	when, rest, _ := strings.Cut(id, ".")
	seq, node, _ := strings.Cut(rest, ".")
	r := query.Audit{Node: node}
	var wrong, bad error
	r.At, wrong = strconv.ParseInt(when, 10, 64)
	r.Seq, bad = strconv.ParseInt(seq, 10, 64)
	return r, wrong == nil && bad == nil && text(node)
}

// auditRow is a line as it travels to the database.
type auditRow struct {
	Node      string
	Seq       int64
	At        int64
	Actor     string
	Assistant string
	Action    string
	Object    string
	Detail    string
	Count     int64
}

func (r auditRow) values() []any {
	return []any{r.Node, r.Seq, r.At, r.Actor, r.Assistant, r.Action, r.Object, r.Detail, r.Count}
}

var insertAuditLines = &many{`INSERT INTO audit (node, seq, at, actor, assistant, action, object, detail, count)
SELECT rnode, rseq, rat, ractor, rassistant, raction, robject, rdetail, rcount FROM many`,
	[]string{"rnode text", "rseq bigint", "rat bigint", "ractor text", "rassistant text", "raction text", "robject text", "rdetail text", "rcount bigint"}}

func (db *DB) insertAudits(ctx context.Context, c *change, entries []behalf.AuditEntry) (lines []auditRow, err error) {
	lines = make([]auditRow, len(entries))
	for i, e := range entries {
		lines[i] = auditRow{string(db.Node), db.seq.Add(1), micros(e.At), e.Actor, string(e.Assistant), e.Action, e.Object, e.Detail, e.Count}
	}
	return lines, each(ctx, c, insertAuditLines, lines, nil)
}

// Use kinds, as the audit log names them.
const (
	UseToken = "connection.token" // an access token was given out
	UseProxy = "connection.call"  // a call was proxied
)

// Used notes that a connection was used. It is kept in memory and written in
// batches of at most a second, off the caller's path; uses of one connection by
// one actor in that second are one line with a count.
//
// Of a connection that serves all users, user is who it was used for: nothing
// else tells.
func (s Scope) Used(c behalf.Connection, kind, user string) {
	detail := ""
	if c.User == "" && user != "" {
		detail = "for user " + user
	}
	now := s.db.Now()
	s.db.uses.add(use{s.actor.Kind, s.actor.ID, c.Assistant, string(c.ID), kind, detail}, now)
	s.db.tallies.add(c, kind, now)
}

// LastUse returns the kind of a connection's last use, or "" where the audit log
// does not have it any more.
func (s Scope) LastUse(ctx context.Context, c behalf.Connection) (string, error) {
	if err := s.allow(behalf.ReadConnections, c.Assistant, "connection"); err != nil || c.LastUsedAt.IsZero() {
		return "", err
	}
	kind, err := s.db.read.LastUse(ctx, query.LastUseParams{Assistant: string(c.Assistant), At: micros(c.LastUsedAt), Object: string(c.ID)})
	if err = found(err, "use"); behalf.CodeOf(err) == behalf.CodeNotFound {
		return "", nil
	}
	return kind, err
}

type use struct {
	by        behalf.ActorKind
	actor     string
	assistant behalf.AssistantID
	object    string
	kind      string
	detail    string
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
	counts := db.tallies.take()
	if len(m) == 0 && len(keys) == 0 && len(counts) == 0 {
		return nil
	}
	err := db.As(behalf.System("uses")).change(ctx, func(c *change) error {
		for _, key := range inOrder(m, func(a, b use) int {
			return strings.Compare(a.object+a.actor+a.kind+string(a.by)+a.detail, b.object+b.actor+b.kind+string(b.by)+b.detail)
		}) {
			n := m[key]
			c.audits = append(c.audits, behalf.AuditEntry{At: n.last, Actor: behalf.Actor{Kind: key.by, ID: key.actor}.String(), Assistant: key.assistant, Action: key.kind, Object: key.object, Detail: key.detail, Count: n.count})
			if err := c.TouchConnection(ctx, query.TouchConnectionParams{LastUsedAt: micros(n.last), ID: key.object}); err != nil {
				return err
			}
		}
		for _, id := range inOrder(keys, cmp.Compare[behalf.KeyID]) {
			if err := c.TouchKey(ctx, query.TouchKeyParams{LastUsedAt: micros(keys[id]), ID: string(id)}); err != nil {
				return err
			}
		}
		return c.tally(ctx, counts)
	})
	if err != nil {
		db.uses.putBack(m, keys)
		db.tallies.putBack(counts)
	}
	return err
}
