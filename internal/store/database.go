package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

func connect(ctx context.Context, raw string) (engine, error) {
	switch scheme, rest, _ := strings.Cut(raw, ":"); scheme {
	case "sqlite":
		return openSQLite(ctx, rest)
	case "postgres", "postgresql":
		return openPostgres(ctx, raw)
	}
	return engine{}, errors.New("store: the database URL must begin with sqlite: or postgres://")
}

// openSQLite opens one writer and a few readers: a shared pool of writers
// starves under SQLite's polling for its lock. synchronous=FULL makes each
// commit durable, which a rotated refresh token needs.
func openSQLite(ctx context.Context, path string) (engine, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return engine{}, fmt.Errorf("store: make the data directory: %w", err)
	}
	if err := touch(path); err != nil {
		return engine{}, fmt.Errorf("store: make the database file: %w", err)
	}
	common := "&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)&_dqs=0&_defensive=1"
	name := "file:" + (&url.URL{Path: path}).EscapedPath()
	writer, err := sql.Open("sqlite", name+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+common)
	if err != nil {
		return engine{}, err
	}
	writer.SetMaxOpenConns(1)
	if err := reach(ctx, writer); err != nil {
		_ = writer.Close()
		return engine{}, fmt.Errorf("store: open %s: %w", path, err)
	}
	reader, err := sql.Open("sqlite", name+"?mode=ro&_pragma=query_only(1)"+common)
	if err != nil {
		_ = writer.Close()
		return engine{}, err
	}
	reader.SetMaxOpenConns(max(4, 2*runtime.NumCPU()))
	reader.SetMaxIdleConns(max(4, 2*runtime.NumCPU()))
	return engine{name: "sqlite", reader: reader, writer: writer, unique: sqliteUnique, txid: sqliteTxid, upto: sqliteUpto}, nil
}

// reach opens the first connection. While another process turns a new file to
// its write-ahead log, SQLite answers busy at once instead of waiting.
func reach(ctx context.Context, writer *sql.DB) error {
	for tries := 0; ; tries++ {
		err := writer.PingContext(ctx)
		if busy := (*sqlite.Error)(nil); !errors.As(err, &busy) || busy.Code()&0xff != 5 || tries == 100 { // SQLITE_BUSY
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// touch makes the file readable for its owner only; SQLite gives its journal
// the same mode.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func sqliteUnique(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == 1555 || e.Code() == 2067) // SQLITE_CONSTRAINT_PRIMARYKEY, …_UNIQUE
}

func openPostgres(ctx context.Context, raw string) (engine, error) {
	cfg, err := pgxpool.ParseConfig(raw)
	if err != nil {
		return engine{}, errors.New("store: the database URL is not a valid postgres:// URL") // err would show the password
	}
	if !strings.Contains(raw, "pool_max_conns") {
		cfg.MaxConns = int32(max(16, 4*runtime.NumCPU()))
	}
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	for name, value := range map[string]string{"statement_timeout": "15s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "30s", "application_name": "behalf"} {
		if _, ok := cfg.ConnConfig.RuntimeParams[name]; !ok {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return engine{}, fmt.Errorf("store: open PostgreSQL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return engine{}, fmt.Errorf("store: reach PostgreSQL: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	return engine{name: "postgres", pool: pool, reader: db, writer: db, unique: postgresUnique, txid: postgresTxid, upto: postgresUpto, notify: postgresNotify, skipLocked: " FOR UPDATE SKIP LOCKED",
		now: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"}, nil
}

func postgresUnique(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23505"
}

// migrate brings the schema up to date. Several processes may start at once: on
// PostgreSQL a session lock lets one of them work; on SQLite all but one fail,
// and see the schema made when they look again. A schema that is newer than this
// binary is refused.
func migrate(ctx context.Context, e engine) error {
	err := migrateOnce(ctx, e)
	for try := 1; err != nil && e.name == "sqlite" && try < 5; try++ {
		err = migrateOnce(ctx, e)
	}
	return err
}

func migrateOnce(ctx context.Context, e engine) error {
	p, err := provider(e)
	if err != nil {
		return err
	}
	has, wants, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case has > wants:
		return fmt.Errorf("the database has schema %d and this binary knows %d: start the newer binary", has, wants)
	}
	if pending, err := p.HasPending(ctx); err != nil || !pending { // one of a lower number may have come later
		return err
	}
	_, err = p.Up(ctx)
	return err
}

func provider(e engine) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if e.name == "sqlite" {
		return goose.NewProvider(goose.DialectSQLite3, e.writer, dir, goose.WithAllowOutofOrder(true))
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // ask every second, not every five
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, e.writer, dir, goose.WithAllowOutofOrder(true), goose.WithSessionLocker(locker))
}
