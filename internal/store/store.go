// Package store keeps everything that must outlive a process, on SQLite or
// PostgreSQL.
//
// The rules are:
//
//   - Nobody reads or writes but through a Scope, which As gives to an actor:
//     it decides, isolates assistants from each other, and audits.
//   - A change, its audit line and its event are one transaction. Audit lines hang
//     on chains (chain.go).
//   - What is secret is sealed before it reaches SQL, bound to its row, its
//     column and where there is one its generation or version.
//   - The doors (doors.go, member_doors.go) turn a key, a link, a state, a
//     password or a sign-in into an actor. They are the only reads without one,
//     and find by hash only; a password by its owner's address.
//   - No network call happens inside a transaction.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// Config says where everything is kept.
type Config struct {
	URL string // sqlite:/path/to/behalf.db or postgres://…
	// RootKey returns the key that wraps the keyring. It is asked once; where a
	// database has a keyring already, a key must not be made but found.
	RootKey func(context.Context, vault.Kept) (vault.RootKey, error)
	// Grace is for how long tokens that are good are given out while the database
	// does not answer; default 5 minutes, below zero: not at all.
	Grace time.Duration
	// SpillDir is where refreshed credentials are kept while the database does not
	// take them. Without it they are in memory only, until it does.
	SpillDir string
	// AuditKeep and AuditLines bound the audit log by age and by number of lines;
	// 0: not at all.
	AuditKeep  time.Duration
	AuditLines int64
	Address    string // where other nodes reach this one; empty: they do not
	Now        func() time.Time
	Log        *slog.Logger
}

// DB is an open database. Close it when nothing uses it any more.
type DB struct {
	Node behalf.NodeID // this process, as leases and audit lines name it

	id            behalf.DatabaseID
	engine        engine
	read          *query.Queries
	write         *query.Queries
	many          map[*many]statement
	keyring       *ring
	clock         *clock
	log           *slog.Logger
	seq           atomic.Int64 // of this node's audit lines
	lastEvent     atomic.Int64 // milliseconds in the id of this node's newest event
	chain         chain
	auditKeep     time.Duration
	auditLines    int64
	uses          uses
	tallies       tallies
	records       records
	plans         plans
	noteSeq       atomic.Int64 // of this node's lines in the change log
	held          *held
	group         group
	unwritten     unwritten
	address       string // where other nodes reach this one
	unsignedUntil time.Time
	follow        follower
}

// engine is what differs between the two databases.
type engine struct {
	name       string
	reader     *sql.DB
	writer     *sql.DB
	unique     func(error) bool // whether an error is a broken unique index
	txid       string           // the number of a transaction, as SQL
	upto       string           // below which all transactions have ended, as SQL
	skipLocked string           // of a subquery: what others are just claiming is passed over
	notify     string           // a statement that wakes the other nodes; empty: they look often enough
	now        string           // a query for the database's own time in microseconds; empty: this machine's
	pool       *pgxpool.Pool    // under reader and writer, on PostgreSQL
}

// Open opens the database, brings its schema up to date and opens the keyring;
// the first Open makes both.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	e, err := connect(ctx, cfg.URL)
	if err != nil {
		return nil, err
	}
	db := &DB{Node: behalf.NewNodeID(cfg.Now()), engine: e, log: cfg.Log, clock: &clock{local: cfg.Now}}
	db.auditKeep, db.auditLines = cfg.AuditKeep, cfg.AuditLines
	db.follow.db, db.follow.grace = db, grace(cfg.Grace)
	db.group.db = db
	if err := db.open(ctx, cfg); err != nil {
		_ = e.close()
		return nil, err
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, cfg Config) (err error) {
	if err := migrate(ctx, db.engine); err != nil {
		return fmt.Errorf("store: bring the schema up to date: %w", err)
	}
	if err := db.clock.measure(ctx, db.engine); err != nil {
		return fmt.Errorf("store: read the database's clock: %w", err)
	}
	if err := db.prepare(ctx); err != nil {
		return fmt.Errorf("store: prepare: %w", err)
	}
	if err := db.identify(ctx); err != nil {
		return fmt.Errorf("store: read the database's id: %w", err)
	}
	if err := db.openKeyring(ctx, cfg.RootKey); err != nil {
		return err
	}
	if db.held, err = newHeld(); err != nil {
		return err
	}
	if err := db.follow.begin(ctx); err != nil {
		return err
	}
	if err := db.signAll(ctx); err != nil {
		return err
	}
	return db.enter(ctx, cfg)
}

// enter makes this one of the nodes, with what those before it have left.
func (db *DB) enter(ctx context.Context, cfg Config) error {
	db.address = cfg.Address
	old, err := db.openSpills(cfg.SpillDir)
	if err == nil {
		err = db.replay(ctx, old)
	}
	if err == nil && cfg.SpillDir != "" {
		err = db.see(ctx)
	}
	if err != nil {
		db.unwritten.abandon(old)
	}
	return err
}

func grace(d time.Duration) time.Duration {
	if d == 0 {
		return defaultGrace
	}
	return max(0, d)
}

// prepare parses every statement once on SQLite, which saves a third of a read.
// On PostgreSQL the driver does that by itself, for each connection of its
// pool; database/sql would do it anew for each use.
func (db *DB) prepare(ctx context.Context) (err error) {
	if err := db.prepareMany(ctx); err != nil {
		return err
	}
	if db.engine.name == "postgres" {
		db.read, db.write = query.New(db.engine.reader), query.New(db.engine.writer)
		return nil
	}
	if db.read, err = query.Prepare(ctx, db.engine.reader); err != nil {
		return err
	}
	db.write, err = query.Prepare(ctx, db.engine.writer)
	return err
}

// Close ends all connections to the database.
func (db *DB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	if err := db.linkLines(ctx); err != nil {
		db.log.Warn("the last audit lines are linked by another server", "err", err)
	}
	db.leave()
	return db.engine.close()
}

func (e engine) close() error {
	if e.pool != nil {
		defer e.pool.Close() // which closing the sql.DB over it does not do
		return e.writer.Close()
	}
	return errors.Join(e.reader.Close(), e.writer.Close())
}

// Engine returns "sqlite" or "postgres".
func (db *DB) Engine() string { return db.engine.name }

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	return db.engine.writer.PingContext(ctx)
}

// Run does the store's own background work until ctx ends: it follows the
// change log and the database's clock, and writes uses in batches, and
// transcripts. What is unwritten when ctx ends is written before Run returns.
func (db *DB) Run(ctx context.Context) error {
	var following sync.WaitGroup
	following.Go(func() { db.follow.run(ctx) })
	following.Go(func() { db.beat(ctx) })
	following.Go(func() { db.turn(ctx) })
	defer following.Wait()
	var trimmed trimmer
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(db.flushRecords(last), db.flushUses(last), db.linkLines(last))
		case <-tick.C:
		}
		if err := db.flushUses(ctx); err != nil {
			db.log.Warn("uses not written yet", "err", err)
		}
		if err := db.linkLines(ctx); err != nil && !errors.Is(err, ErrBusy) {
			db.log.Warn("audit lines not linked yet", "err", err)
		}
		if err := db.flushRecords(ctx); err != nil {
			db.log.Warn("transcripts not written yet", "err", err)
		}
		if err := db.keyring.refresh(ctx); err != nil {
			db.log.Error("the keyring was changed and not loaded", "err", err)
		}
		if n%60 == 30 {
			if err := db.adopt(ctx); err != nil && !errors.Is(err, ErrBusy) {
				db.log.Warn("audit lines of nodes that are gone not linked yet", "err", err)
			}
		}
		if n%60 == 45 {
			if err := db.forgetAudit(ctx); err != nil {
				db.log.Warn("the audit log was not trimmed", "err", err)
			}
		}
		if n%60 == 59 {
			if err := trimmed.step(ctx, db); err != nil {
				db.log.Warn("the change log was not trimmed", "err", err)
			}
		}
		if n%10 == 9 {
			if err := db.clock.measure(ctx, db.engine); err != nil {
				db.log.Warn("database clock not read", "err", err)
			}
		}
	}
}

// Now returns the database's time: what all nodes agree on. It moves with this
// process's monotonic clock between measurements, so that a jump of the wall
// clock does not reach it.
func (db *DB) Now() time.Time { return db.clock.now() }

type clock struct {
	local func() time.Time
	mu    sync.RWMutex
	base  time.Time // local, when the database's clock was read
	at    time.Time // what it said
}

func (c *clock) now() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.at.Add(c.local().Sub(c.base)).Truncate(time.Microsecond).UTC() // as it is kept
}

// measure takes the database's time as that of the middle of the question.
func (c *clock) measure(ctx context.Context, e engine) error {
	before := c.local()
	at, base := before.Round(0), before
	if e.now != "" {
		var us int64
		if err := e.writer.QueryRowContext(ctx, e.now).Scan(&us); err != nil {
			return err
		}
		at, base = time.UnixMicro(us), before.Add(c.local().Sub(before)/2)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.base = at, base
	return nil
}

// As returns what the actor may see and do. A Scope is a small value; make one
// per request.
func (db *DB) As(actor behalf.Actor) Scope { return Scope{db, actor} }

// Scope is the database as one actor may use it.
type Scope struct {
	db    *DB
	actor behalf.Actor
}

// Actor returns who asks.
func (s Scope) Actor() behalf.Actor { return s.actor }

// Now returns the database's time.
func (s Scope) Now() time.Time { return s.db.Now() }

// allow returns nil where the actor may do p with something of the assistant.
// What belongs to another assistant does not exist for an assistant's key.
func (s Scope) allow(p behalf.Permission, assistant behalf.AssistantID, noun string) error {
	switch {
	case s.actor.May(p, assistant):
		return nil
	case (s.actor.Kind == behalf.ActorAssistant || s.actor.Kind == behalf.ActorEndUser) && assistant != "" && assistant != s.actor.Assistant:
		return behalf.NotFound(noun)
	case s.actor.Kind == "":
		return behalf.Errorf(behalf.CodeUnauthenticated, "A key is needed for this.")
	}
	return behalf.Forbidden(s.actor, p)
}

// change is one transaction with its audit lines and events.
type change struct {
	*query.Queries
	scope  Scope
	now    time.Time
	tx     *sql.Tx
	audits []behalf.AuditEntry
	events []behalf.Event
	notes  []note // for the change log
}

func (c *change) audit(assistant behalf.AssistantID, action, object, detail string) {
	c.audits = append(c.audits, behalf.AuditEntry{At: c.now, Actor: c.scope.actor.String(), Assistant: assistant, Action: action, Object: object, Detail: detail, Count: 1})
}

func (c *change) event(e behalf.Event) {
	e.ID, e.CreatedAt = c.scope.db.eventID(c.now), c.now
	c.events = append(c.events, e)
}

// eventID returns an id that sorts behind all that this process made before:
// within one millisecond the ids themselves sort at random.
func (db *DB) eventID(now time.Time) behalf.EventID {
	for {
		last := db.lastEvent.Load()
		at := max(now.UnixMilli(), last+1)
		if db.lastEvent.CompareAndSwap(last, at) {
			return behalf.NewEventID(time.UnixMilli(at))
		}
	}
}

// change runs do in a transaction and writes what it audited and told with it.
// A change that does nothing audits nothing.
func (s Scope) change(ctx context.Context, do func(*change) error) error {
	tx, err := s.db.engine.writer.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = tx.Rollback() }()
	c := &change{Queries: s.db.write.WithTx(tx), scope: s, now: s.db.Now(), tx: tx}
	if err := do(c); err != nil {
		return known(err)
	}
	return c.finish(ctx)
}

// known passes on what is an Error already; all else is the database's.
func known(err error) error {
	if behalf.CodeOf(err) != "" || errors.Is(err, ErrStale) || errors.Is(err, ErrBusy) {
		return err
	}
	return unavailable(err)
}

func unavailable(err error) error {
	return &behalf.Error{Code: behalf.CodeUnavailable, Message: "The database does not answer as it should. Nothing was changed; try again.", Err: err}
}

// text reports whether s is what both databases take as text: PostgreSQL takes
// neither a NUL nor what is not UTF-8. What is no text names nothing.
func text(s ...string) bool {
	for _, s := range s {
		if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

// found turns a read's error into ours.
func found(err error, noun string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return behalf.NotFound(noun)
	}
	return unavailable(err)
}

// ErrStale says that a row is not in the state it was read in any more: look
// again.
var ErrStale = errors.New("store: changed since it was read")

// one returns ErrStale where a change by version or state met no row.
func one(rows int64, err error) error {
	if err == nil && rows == 0 {
		return ErrStale
	}
	return err
}

func conflictStale(noun string) error {
	return behalf.Errorf(behalf.CodeConflict, "The %s was changed meanwhile. Read it again and repeat the change.", noun)
}

// micros and its inverse keep the zero time as 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Page asks for a part of a list.
type Page struct {
	After string // the last id of the page before
	Limit int64
}

const maxPage = 200

func (p Page) limit() int64 {
	if p.Limit <= 0 || p.Limit > maxPage {
		return maxPage
	}
	return p.Limit
}
