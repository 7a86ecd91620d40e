package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file lets the writes of many refreshes share a commit. The rules are:
//
//   - Nobody hears of a write before its commit has succeeded.
//   - Who comes while a commit is under way goes into the next one, together with
//     all others who came: no time is spent waiting for company. But whoever could
//     run now runs first, and may come: on busy processors each commit would
//     have few otherwise, and cost the more.
//   - A write that the database refuses for what is in it fails alone.
//   - A lease whose commit has an unknown outcome is in doubt: only this process
//     may take it again, and knows then that it has asked nobody with it. The
//     next commit gives it back, so that other nodes need not wait for this one.

const (
	maxBatch    = 256
	commitLimit = 5 * time.Second
)

// job is one write: exactly one of lease, keep and release is set.
type job struct {
	scope   Scope
	c       behalf.Connection // for audit, event and change log
	action  string            // of a kept credential, for the audit log; empty: connection.refresh
	lease   *leaseRow
	keep    *keepRow
	release *releaseRow

	taken   taken      // of a lease
	moved   bool       // of a kept credential: it is in force
	version int64      // of the connection then
	in      *spillFile // where a kept credential is until it is committed
	err     error
	done    chan struct{} // closed when the above is final
	lead    chan struct{} // closed when it is this job's turn to commit
}

// taken is what a lease found, in the statement that took it.
type taken struct {
	fence, before int64
	row           query.Connection // what is sealed and signed of it, and what that is bound to
	sealed        []byte           // the credential in force
	newest        int64            // generation that is kept
}

type leaseRow struct {
	id                         string
	owner                      string
	until                      int64
	generation, fence, version int64
	doubt                      int64
	now, alive, dead           int64
}

func (r *leaseRow) values() []any {
	return []any{r.id, r.owner, r.until, r.generation, r.fence, r.version, r.doubt, r.now, r.alive, r.dead}
}

type keepRow struct {
	ID          string `json:"rid"`
	Seen        int64  `json:"rseen"`
	SeenFence   int64  `json:"rseen_fence"`
	Generation  int64  `json:"rgeneration"`
	Fence       int64  `json:"rfence"`
	Sealed      hexed  `json:"rsealed"`
	Scopes      string `json:"rscopes"`
	ExpiresAt   int64  `json:"rexpires_at"`
	ObtainedAt  int64  `json:"robtained_at"`
	Refreshable int64  `json:"rrefreshable"`
	Rotates     string `json:"rrotates"`
	RefreshAt   int64  `json:"rrefresh_at"`
	RefreshEnds int64  `json:"rrefresh_ends_at"`
	Signature   hexed  `json:"rsignature"`
	Now         int64  `json:"rnow"`
	Trim        int64  `json:"rtrim"`
	Origin      string `json:"rorigin"`
}

func (r *keepRow) values() []any {
	return []any{r.ID, r.Seen, r.SeenFence, r.Generation, r.Fence, r.Scopes, r.ExpiresAt, r.ObtainedAt, r.Refreshable, r.Rotates, r.RefreshAt, r.RefreshEnds, []byte(r.Signature), r.Now}
}

// keptRow is the part of it that is a row of its own.
type keptRow struct{ *keepRow }

func (r keptRow) values() []any {
	return []any{r.ID, r.Generation, r.Fence, []byte(r.Sealed), r.ObtainedAt, r.Origin, r.Now}
}

// trimRow names a generation that is not kept any longer.
type trimRow struct{ *keepRow }

func (r trimRow) values() []any { return []any{r.ID, r.Trim} }

// hexed are bytes that a spilled record writes in hexadecimal.
type hexed []byte

func (h hexed) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexed) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

type releaseRow struct {
	id                        string
	leaseFence, generation    int64
	intentAt, nextAttemptAt   int64
	failures, lane, refreshAt int64
	status, reason            string
	now                       int64
}

func (r *releaseRow) values() []any {
	return []any{r.id, r.leaseFence, r.generation, r.intentAt, r.nextAttemptAt, r.failures, r.lane, r.refreshAt, r.status, r.reason, r.now}
}

// group commits what has gathered. Whoever finds nobody committing does it, for
// all who are there; then the first of those who came meanwhile.
type group struct {
	db    *DB
	mu    sync.Mutex
	queue []*job
	led   bool
	doubt map[behalf.ConnectionID][]*job // leases that may have been taken for us
}

// submit waits until the job is done and returns its error.
func (g *group) submit(j *job) error {
	j.done, j.lead = make(chan struct{}), make(chan struct{})
	g.mu.Lock()
	g.queue = append(g.queue, j)
	first := !g.led
	g.led = true
	g.mu.Unlock()
	if !first {
		select {
		case <-j.done:
			return j.err
		case <-j.lead:
		}
	}
	runtime.Gosched()
	g.commit(g.take())
	g.mu.Lock()
	if g.led = len(g.queue) > 0; g.led {
		close(g.queue[0].lead)
	}
	g.mu.Unlock()
	<-j.done // it was the first in the queue
	return j.err
}

func (g *group) take() []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.queue), maxBatch)
	batch := g.queue[:n:n]
	g.queue = g.queue[n:]
	return batch
}

// commit writes a batch, one by one where something in it is refused.
func (g *group) commit(batch []*job) {
	err := g.together(batch)
	for try := 0; deadlocked(err) && try < 5; try++ { // with somebody who locks in another order: it was rolled back
		err = g.together(batch)
	}
	if err != nil && len(batch) > 1 && refusedContent(err) {
		for _, j := range batch {
			g.commit([]*job{j})
		}
		return
	}
	for _, j := range batch {
		if err != nil {
			j.err = known(err)
		}
		close(j.done)
	}
}

// refusedContent reports whether the database answered, and did not like what it
// was given: a part of it may be liked.
func refusedContent(err error) bool {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code[:2] == "22" || e.Code[:2] == "23"
	}
	e := (*sqlite.Error)(nil)
	return errors.As(err, &e) && (e.Code()&0xff == 19 || e.Code()&0xff == 1) // SQLITE_CONSTRAINT, SQLITE_ERROR
}

func deadlocked(err error) bool {
	e := (*pgconn.PgError)(nil)
	return errors.As(err, &e) && e.Code == "40P01"
}

// lock locks the connections of a batch in the order of their ids. Two nodes
// whose batches have some in common would wait for each other, if each statement
// locked them in the order that its plan happens to have. SQLite has one writer.
func (c *change) lock(ctx context.Context, batches ...[]*job) error {
	if c.scope.db.engine.name != "postgres" {
		return nil
	}
	ids := map[string]bool{}
	for _, batch := range batches {
		for _, j := range batch {
			if j.c.ID != "" {
				ids[string(j.c.ID)] = true
			}
		}
	}
	if len(ids) < 2 {
		return nil
	}
	_, err := c.tx.ExecContext(ctx, "SELECT id FROM connections WHERE id = ANY(CAST($1 AS text[])) ORDER BY id FOR NO KEY UPDATE", slices.Sorted(maps.Keys(ids)))
	return err
}

// together writes a batch in one transaction.
func (g *group) together(batch []*job) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitLimit)
	defer cancel()
	tx, err := g.db.engine.writer.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = tx.Rollback() }()
	c := &change{Queries: g.db.write.WithTx(tx), scope: batch[0].scope, now: g.db.Now(), tx: tx}
	var leases, keeps, releases []*job
	for _, j := range batch {
		j.err = nil
		switch {
		case j.lease != nil:
			leases = append(leases, j)
		case j.keep != nil:
			keeps = append(keeps, j)
		case j.release != nil:
			releases = append(releases, j)
		}
	}
	doubted := g.doubtedBut(leases)
	if err = c.lock(ctx, batch, doubted); err == nil {
		err = g.giveBack(ctx, c, doubted)
	}
	if err == nil {
		err = g.takeLeases(ctx, c, leases)
	}
	if err == nil {
		err = g.keepAll(ctx, c, keeps)
	}
	if err == nil {
		err = g.releaseAll(ctx, c, releases)
	}
	if err == nil {
		err = c.finish(ctx)
	}
	g.doubtful(leases, err != nil)
	if err == nil {
		g.doubtful(doubted, false)
	}
	return err
}

// doubtful notes, or forgets, that leases may have been taken without our
// knowledge.
func (g *group) doubtful(leases []*job, in bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, j := range leases {
		if !in {
			delete(g.doubt, j.c.ID)
			continue
		}
		if g.doubt == nil {
			g.doubt = map[behalf.ConnectionID][]*job{}
		}
		g.doubt[j.c.ID] = append(g.doubt[j.c.ID], j)
	}
}

// doubtedBut returns the leases in doubt, but for those that are just taken
// again.
func (g *group) doubtedBut(taken []*job) []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	again := map[behalf.ConnectionID]bool{}
	for _, j := range taken {
		again[j.c.ID] = true
	}
	var out []*job
	for id, jobs := range g.doubt {
		if !again[id] {
			out = append(out, jobs...)
		}
	}
	return out
}

// undoubt makes a commit where leases are in doubt and nobody else makes one.
func (g *group) undoubt() {
	if len(g.doubtedBut(nil)) > 0 {
		_ = g.submit(&job{scope: g.db.As(behalf.System("lease"))}) // it is tried again in a moment
	}
}

func (g *group) inDoubt(id behalf.ConnectionID) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return flag(len(g.doubt[id]) > 0)
}

// A lease is free where none is held, or its end has come; but where its owner
// did not give it back, only when nothing of that owner can turn up any more:
// it is neither alive nor has it died lately with a spill file. What is needed
// for the request comes with it, as it is then.
var takeLeases = &many{`UPDATE connections SET lease_owner = rowner, lease_fence = lease_fence + 1, lease_until = runtil,
	intent_before = CASE WHEN rdoubt = 1 AND lease_owner = rowner THEN intent_before ELSE intent_at END, intent_at = rnow, version = version + 1
FROM many WHERE id = rid AND generation = rgeneration AND fence = rfence AND status = 'active'
	AND (rversion = 0 OR version = rversion OR rdoubt = 1 AND lease_owner = rowner)
	AND (lease_until <= rnow OR rdoubt = 1 AND lease_owner = rowner)
	AND (lease_owner = '' OR lease_owner = rowner OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = connections.lease_owner
		AND (nodes.seen_at > ralive OR nodes.spills = 1 AND nodes.seen_at > rdead)))
RETURNING connections.id, lease_fence, intent_before, version, assistant, profile, end_user, tenant, sealed_inputs,
	generation, fence, signed_generation, signed_fence, signature,
	(SELECT k.sealed FROM credentials AS k WHERE k.connection = connections.id AND k.generation = connections.generation AND k.fence = connections.fence),
	(SELECT MAX(n.generation) FROM credentials AS n WHERE n.connection = connections.id)`, leaseColumns}

var leaseColumns = []string{"rid text", "rowner text", "runtil bigint", "rgeneration bigint", "rfence bigint", "rversion bigint", "rdoubt bigint", "rnow bigint", "ralive bigint", "rdead bigint"}

var giveBackLeases = &many{`UPDATE connections SET lease_owner = '', lease_until = 0, intent_at = intent_before, version = version + 1
FROM many WHERE id = rid AND lease_owner = rowner AND lease_until = runtil`, leaseColumns}

// giveBack ends leases in doubt. Each is known by its end, and nobody was asked
// with it: the intent before it is in force again.
func (g *group) giveBack(ctx context.Context, c *change, jobs []*job) error {
	rows := make([]*leaseRow, len(jobs))
	for i, j := range jobs {
		rows[i] = j.lease
		c.noteConnection(j.c) // whoever waits for the lease looks again
	}
	return each(ctx, c, giveBackLeases, rows, nil)
}

func (g *group) takeLeases(ctx context.Context, c *change, jobs []*job) error {
	rows, first := make([]*leaseRow, 0, len(jobs)), map[string]*job{}
	for _, j := range jobs {
		if first[j.lease.id] != nil {
			continue // of two for one connection, one gets it
		}
		first[j.lease.id] = j
		j.lease.doubt = g.inDoubt(j.c.ID)
		rows = append(rows, j.lease)
	}
	got := map[string]taken{}
	err := each(ctx, c, takeLeases, rows, func(row *sql.Rows) error {
		var t taken
		var newest sql.NullInt64
		r := &t.row
		err := row.Scan(&r.ID, &t.fence, &t.before, &r.Version, &r.Assistant, &r.Profile, &r.EndUser, &r.Tenant, &r.SealedInputs,
			&r.Generation, &r.Fence, &r.SignedGeneration, &r.SignedFence, &r.Signature, &t.sealed, &newest)
		t.newest = newest.Int64
		got[r.ID] = t
		return err
	})
	if err != nil {
		return err
	}
	for _, j := range jobs {
		t, ok := got[j.lease.id]
		if ok && first[j.lease.id] == j {
			j.taken = t
			continue
		}
		j.err = j.scope.whyNoLease(ctx, c, j.c, j.lease.version)
		if j.err != nil && !errors.Is(j.err, ErrBusy) && !errors.Is(j.err, ErrStale) && behalf.CodeOf(j.err) != behalf.CodeNotFound {
			return j.err
		}
	}
	return nil
}

var insertCredentials = &many{`INSERT INTO credentials (connection, generation, fence, sealed, obtained_at, origin, kept_at)
SELECT rid, rgeneration, rfence, rsealed, robtained_at, rorigin, rnow FROM many WHERE true ON CONFLICT (connection, generation, fence) DO NOTHING`,
	[]string{"rid text", "rgeneration bigint", "rfence bigint", "rsealed bytea", "robtained_at bigint", "rorigin text", "rnow bigint"}}

var keepColumns = []string{"rid text", "rseen bigint", "rseen_fence bigint", "rgeneration bigint", "rfence bigint", "rscopes text", "rexpires_at bigint",
	"robtained_at bigint", "rrefreshable bigint", "rrotates text", "rrefresh_at bigint", "rrefresh_ends_at bigint", "rsignature bytea", "rnow bigint"}

const keepSQL = `UPDATE connections SET generation = rgeneration, fence = rfence, status = 'active', reason = '', scopes_granted = rscopes,
	expires_at = rexpires_at, obtained_at = robtained_at, refreshable = rrefreshable, rotates = rrotates, refresh_at = rrefresh_at, refresh_ends_at = rrefresh_ends_at, lane = 0,
	signed_generation = rgeneration, signed_fence = rfence, signature = rsignature,
	lease_owner = '', lease_until = 0, intent_at = 0, next_attempt_at = 0, failures = 0, version = version + 1, updated_at = rnow
FROM many WHERE id = rid AND generation = rseen AND fence = rseen_fence AND status `

// Nearly always the connection is still active. Of the others it must be known
// what they were.
var (
	keepPointers    = &many{keepSQL + `= 'active' RETURNING connections.id, fence, version`, keepColumns}
	findLapsed      = &many{`SELECT id FROM many, connections WHERE id = rid AND status = 'lapsed'`, keepColumns[:1]}
	keepAnyPointers = &many{keepSQL + `<> 'revoked' RETURNING connections.id, fence, version`, keepColumns}
)

var trimCredentials = &many{`DELETE FROM credentials WHERE (connection, generation) IN (SELECT rid, rtrim FROM many)`, []string{"rid text", "rtrim bigint"}}

// idRow is a row that is an id.
type idRow string

func (r idRow) values() []any { return []any{string(r)} }

func (g *group) keepAll(ctx context.Context, c *change, jobs []*job) error {
	kept, trim := make([]keptRow, len(jobs)), make([]trimRow, 0, len(jobs))
	for i, j := range jobs {
		kept[i] = keptRow{j.keep}
		if j.keep.Trim > 0 {
			trim = append(trim, trimRow{j.keep})
		}
	}
	if err := each(ctx, c, insertCredentials, kept, nil); err != nil {
		return err
	}
	lapsed, err := g.movePointers(ctx, c, jobs)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		c.scope = j.scope
		if !j.moved {
			if err := g.stray(ctx, c, j); err != nil {
				return err
			}
			continue
		}
		c.audit(j.c.Assistant, cmp.Or(j.action, "connection.refresh"), j.keep.ID, "")
		c.noteConnection(j.c)
		if lapsed[j.keep.ID] { // a quicker refresh was refused
			c.event(eventOf(j.c, behalf.EventConnectionRecovered, ""))
		}
	}
	return each(ctx, c, trimCredentials, trim, nil)
}

// movePointers puts credentials in force where nobody was quicker, and returns
// which of the connections had lapsed.
func (g *group) movePointers(ctx context.Context, c *change, jobs []*job) (lapsed map[string]bool, err error) {
	left, err := g.move(ctx, c, keepPointers, jobs)
	if err != nil || len(left) == 0 {
		return nil, err
	}
	found := make([]idRow, len(left))
	for i, j := range left {
		found[i] = idRow(j.keep.ID)
	}
	if lapsed, err = ids(ctx, c, findLapsed, found); err == nil {
		_, err = g.move(ctx, c, keepAnyPointers, left)
	}
	return lapsed, err
}

// move returns the jobs whose credential did not come into force.
func (g *group) move(ctx context.Context, c *change, m *many, jobs []*job) (left []*job, err error) {
	type pointer struct {
		id    string
		fence int64
	}
	rows, moved := make([]*keepRow, len(jobs)), map[pointer]int64{}
	for i, j := range jobs {
		rows[i] = j.keep
	}
	if err := each(ctx, c, m, rows, func(row *sql.Rows) error {
		var p pointer
		var version int64
		err := row.Scan(&p.id, &p.fence, &version)
		moved[p] = version
		return err
	}); err != nil {
		return nil, err
	}
	for _, j := range jobs {
		p := pointer{j.keep.ID, j.keep.Fence}
		if j.version, j.moved = moved[p]; !j.moved {
			left = append(left, j)
		}
		delete(moved, p)
	}
	return left, nil
}

// stray is for a credential that did not come into force: it is left beside the
// pointer, or erased where the connection was revoked meanwhile: of what was
// ended nothing is kept. One that is in force already was saved before, by a
// commit of which nobody heard.
func (g *group) stray(ctx context.Context, c *change, j *job) error {
	row, err := c.Connection(ctx, j.keep.ID)
	switch {
	case isNoRows(err):
		j.err = behalf.NotFound("connection")
		return nil
	case err != nil:
		return err
	case row.Generation == j.keep.Generation && row.Fence == j.keep.Fence:
		j.moved = true
		return nil
	case row.Status == string(behalf.ConnectionRevoked):
		c.audit(j.c.Assistant, "connection.stray", j.keep.ID, "a refreshed credential came after the connection was ended, and was erased")
		if err := j.scope.oweLate(ctx, c, row, j.keep.Generation, j.keep.Fence, j.keep.Sealed); err != nil {
			return err
		}
		return c.EraseCredentials(ctx, j.keep.ID)
	}
	c.audit(j.c.Assistant, "connection.stray", j.keep.ID, "a refreshed credential came after another was in force")
	return c.MarkStray(ctx, query.MarkStrayParams{Connection: j.keep.ID, Generation: j.keep.Generation, Fence: j.keep.Fence})
}

var releaseLeases = &many{`UPDATE connections SET lease_owner = '', lease_until = 0, intent_at = rintent_at, next_attempt_at = rnext_attempt_at,
	failures = rfailures, lane = rlane, refresh_at = rrefresh_at, status = rstatus, reason = rreason, version = version + 1, updated_at = rnow
FROM many WHERE id = rid AND lease_fence = rlease_fence AND generation = rgeneration AND status <> 'revoked' RETURNING connections.id`,
	[]string{"rid text", "rlease_fence bigint", "rgeneration bigint", "rintent_at bigint", "rnext_attempt_at bigint", "rfailures bigint",
		"rlane bigint", "rrefresh_at bigint", "rstatus text", "rreason text", "rnow bigint"}}

func (g *group) releaseAll(ctx context.Context, c *change, jobs []*job) error {
	rows := make([]*releaseRow, len(jobs))
	for i, j := range jobs {
		rows[i] = j.release
	}
	released, err := ids(ctx, c, releaseLeases, rows)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if !released[j.release.id] {
			continue
		}
		c.scope = j.scope
		c.noteConnection(j.c) // whoever waits for the lease looks again
		if j.c.Status == behalf.ConnectionLapsed {
			c.audit(j.c.Assistant, "connection.lapse", j.release.id, j.c.Reason)
			c.event(eventOf(j.c, behalf.EventConnectionLapsed, j.c.Reason))
		}
	}
	return nil
}

// keepRowOf prepares what a refresh brought for its commit.
func (db *DB) keepRowOf(l Lease, c behalf.Connection, got behalf.Credential) (*keepRow, error) {
	sealed, err := db.sealCredential(l.Connection, c.Generation, l.Fence, got)
	if err != nil {
		return nil, err
	}
	signature, err := db.signPointer(string(l.Connection), c.Generation, l.Fence)
	if err != nil {
		return nil, err
	}
	return &keepRow{ID: string(l.Connection), Seen: l.Generation, SeenFence: l.SeenFence, Generation: c.Generation, Fence: l.Fence, Sealed: sealed,
		Scopes: joinScopes(c.ScopesGranted), ExpiresAt: micros(c.ExpiresAt), ObtainedAt: micros(c.ObtainedAt), Refreshable: flag(c.Refreshable), Rotates: string(c.Rotates),
		RefreshAt: planned(c.RefreshAt), RefreshEnds: micros(c.RefreshEndsAt), Signature: signature, Now: micros(db.Now()), Trim: c.Generation - keptGenerations,
		Origin: string(behalf.OriginRefresh)}, nil
}

// planned is when a connection is refreshed by ourselves, as it is kept.
func planned(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return micros(t)
}

// finish writes what was audited, told and noted, and commits.
func (c *change) finish(ctx context.Context) error {
	db := c.scope.db
	lines, err := db.insertAudits(ctx, c, c.audits)
	if err != nil {
		return unavailable(err)
	}
	if err := insertEvents(ctx, c.Queries, c.events); err != nil {
		return unavailable(err)
	}
	if err := db.insertNotes(ctx, c, c.notes); err != nil {
		return unavailable(err)
	}
	err = c.tx.Commit()
	db.chain.add(lines, err)
	for _, n := range c.notes { // also where it is not known what became of it
		db.follow.tell(n)
	}
	return unavailableIf(err)
}
