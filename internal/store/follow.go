package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/behalf-dev/behalf"
)

// This file follows the change log. The rules are:
//
//   - What is held in memory is used only while the log was read within a second:
//     a process that was frozen must not serve its past when it wakes up. The
//     time of a reading is the one at which it began.
//   - While the database does not answer, what is held is used on for the grace
//     that the operator gives, and then no longer.
//   - Without Run the log is read when something held is asked for.

const (
	followEvery = 250 * time.Millisecond
	bound       = time.Second      // of what is held, while the database answers
	awayFor     = 3 * time.Second  // a failure tells that the database is away for so long
	readLimit   = time.Second      // of one reading
	keepNotes   = 10 * time.Minute // longer than anybody is behind
	forgetAfter = 5 * time.Minute  // without a reading, everything held is dropped: notes may be gone

	defaultGrace = 5 * time.Minute
)

// follower reads the change log and tells the caches and whoever waits.
type follower struct {
	db    *DB
	grace time.Duration
	start time.Time    // what the following two count from; monotonic
	good  atomic.Int64 // when the last reading that succeeded began, in ns
	bad   atomic.Int64 // when the last one that failed began

	mu   sync.Mutex // one reading at a time
	from int64
	seen map[[2]any]bool // of the lines that may be read again

	waiting sync.Mutex
	waiters map[string][]chan struct{} // by object
}

func (f *follower) elapsed() int64 { return int64(f.db.clock.local().Sub(f.start)) }

// begin reads where the log is now: nothing is held yet.
func (f *follower) begin(ctx context.Context) error {
	f.start = f.db.clock.local().Add(-time.Hour) // so that no time is 0
	return f.read(ctx, f.pool)
}

// reader reads the log from a transaction number on, without what this node has
// written: of that everybody here was told when it was made.
type reader func(ctx context.Context, from int64) (upto int64, notes []note, err error)

func (f *follower) pool(ctx context.Context, from int64) (upto int64, notes []note, err error) {
	rows, err := f.db.engine.reader.QueryContext(ctx, f.db.engine.tailQuery(), from, string(f.db.Node))
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n note
		var has bool
		if upto, n, has, err = scanNote(rows); err != nil {
			return 0, nil, err
		}
		if has {
			notes = append(notes, n)
		}
	}
	return upto, notes, rows.Err()
}

// read reads the log once and drops what has changed.
func (f *follower) read(ctx context.Context, from reader) error {
	asked := f.elapsed()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.good.Load() > asked {
		return nil // somebody has read it while we waited
	}
	began := f.elapsed()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readLimit)
	defer cancel()
	first := f.from == 0
	start := f.from
	if first {
		start = 1 << 62 // only where it is
	}
	upto, notes, err := from(ctx, start)
	if err != nil {
		f.bad.Store(began)
		return err
	}
	if !first && began-f.good.Load() > int64(forgetAfter) {
		f.db.held.clear()
	}
	f.apply(upto, notes)
	f.good.Store(began)
	return nil
}

// apply tells of what was not told yet, and remembers what may be read again.
func (f *follower) apply(upto int64, notes []note) {
	again := map[[2]any]bool{}
	for _, n := range notes {
		key := [2]any{n.Node, n.Seq}
		if n.txid >= upto {
			again[key] = true
		}
		if !f.seen[key] {
			f.tell(n)
		}
	}
	f.from, f.seen = upto, again
}

func (f *follower) tell(n note) {
	if n.Noun == nounKeyring {
		f.db.keyring.stale.Store(true)
	}
	f.db.held.drop(n)
	f.waiting.Lock()
	defer f.waiting.Unlock()
	for _, w := range f.waiters[n.Object] {
		close(w)
	}
	delete(f.waiters, n.Object)
}

// current returns nil where what this node holds may be used.
func (f *follower) current(ctx context.Context) error {
	now := f.elapsed()
	if now-f.good.Load() <= int64(bound) {
		return nil
	}
	if now-f.bad.Load() <= int64(awayFor) && f.bad.Load() > f.good.Load() {
		return f.without(now)
	}
	if err := f.read(ctx, f.pool); err != nil {
		return f.without(f.elapsed())
	}
	return nil
}

func (f *follower) without(now int64) error {
	if now-f.good.Load() <= int64(f.grace) {
		return nil
	}
	return &behalf.Error{Code: behalf.CodeUnavailable, RetryAfter: time.Second,
		Message: "The database has not answered for longer than tokens are given out without it. Nothing was changed; try again."}
}

// Without returns since when the database has not answered, and for how long
// tokens that are good are still given out then; since is 0 where it answers.
func (db *DB) Without() (since, left time.Duration) {
	f := &db.follow
	good, bad := f.good.Load(), f.bad.Load()
	since = time.Duration(f.elapsed() - good)
	left = max(0, f.grace-since)
	if bad < good {
		since = 0
	}
	return since, left
}

// Changed returns a channel that is closed when a change of the connection is
// noted, by whatever node, after this call. forget ends the wait.
func (db *DB) Changed(id behalf.ConnectionID) (changed <-chan struct{}, forget func()) {
	f, w := &db.follow, make(chan struct{})
	f.waiting.Lock()
	defer f.waiting.Unlock()
	if f.waiters == nil {
		f.waiters = map[string][]chan struct{}{}
	}
	f.waiters[string(id)] = append(f.waiters[string(id)], w)
	return w, func() { f.forget(string(id), w) }
}

func (f *follower) forget(object string, w chan struct{}) {
	f.waiting.Lock()
	defer f.waiting.Unlock()
	for i, other := range f.waiters[object] {
		if other == w {
			f.waiters[object] = append(f.waiters[object][:i:i], f.waiters[object][i+1:]...)
		}
	}
	if len(f.waiters[object]) == 0 {
		delete(f.waiters, object)
	}
}

// run follows the log until ctx ends.
func (f *follower) run(ctx context.Context) {
	if f.db.engine.pool != nil {
		f.listen(ctx)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(followEvery):
		}
		f.once(ctx, f.pool)
	}
}

func (f *follower) once(ctx context.Context, from reader) bool {
	away := f.bad.Load() > f.good.Load()
	err := f.read(ctx, from)
	switch {
	case ctx.Err() != nil:
	case err != nil && !away:
		f.db.log.Error("the database does not answer: tokens that are good are served without it for a while", "for", f.grace, "err", err)
	case err == nil && away:
		f.db.log.Warn("the database answers again")
	}
	return err == nil
}

// listen follows the log on a connection of its own, which no crowd of requests
// can take from it, and which other nodes wake.
func (f *follower) listen(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := pgx.ConnectConfig(ctx, f.db.engine.pool.Config().ConnConfig)
		if err == nil {
			_, err = conn.Exec(ctx, postgresListen)
		}
		if err != nil {
			f.once(ctx, func(context.Context, int64) (int64, []note, error) { return 0, nil, err })
		}
		for err == nil && ctx.Err() == nil {
			if !f.once(ctx, f.over(conn)) {
				break
			}
			err = f.waitFor(ctx, conn)
		}
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
		select {
		case <-ctx.Done():
		case <-time.After(followEvery):
		}
	}
}

// waitFor waits to be woken by another node, at most until the next reading is
// due.
func (f *follower) waitFor(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, followEvery)
	defer cancel()
	n, err := conn.WaitForNotification(ctx)
	for err == nil && n.Payload == string(f.db.Node) {
		n, err = conn.WaitForNotification(ctx)
	}
	if pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (f *follower) over(conn *pgx.Conn) reader {
	return func(ctx context.Context, from int64) (upto int64, notes []note, err error) {
		rows, err := conn.Query(ctx, f.db.engine.tailQuery(), from, string(f.db.Node))
		if err != nil {
			return 0, nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var n note
			var has bool
			if upto, n, has, err = scanNote(rows); err != nil {
				return 0, nil, err
			}
			if has {
				notes = append(notes, n)
			}
		}
		if err := rows.Err(); err != nil {
			return 0, nil, fmt.Errorf("store: read the change log: %w", err)
		}
		return upto, notes, nil
	}
}

// trimmer remembers where the log was, so that what is older than keepNotes can
// be deleted.
type trimmer struct{ past []int64 }

// step is called each minute.
func (t *trimmer) step(ctx context.Context, db *DB) error {
	db.follow.mu.Lock()
	t.past = append(t.past, db.follow.from)
	db.follow.mu.Unlock()
	if len(t.past) <= int(keepNotes/time.Minute) {
		return nil
	}
	before := t.past[0]
	t.past = t.past[1:]
	return db.trim(ctx, before)
}
