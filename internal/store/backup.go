package store

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-dev/behalf/internal/vault"
)

// This file writes everything to a backup, and a backup to an empty database.
// The rules are:
//
//   - A backup is one state of the database, read in one transaction while
//     everything goes on.
//   - It is sealed as a whole under the root key: names and addresses are in it,
//     and the database does not seal those.
//   - It is rows, not files: made of SQLite it can be restored to PostgreSQL, and
//     the other way.
//   - A database is restored whole, in one transaction, or not at all.

const backupFormat = 1

// passing are the tables that are of use only to servers that run.
var passing = []string{"nodes", "changes", "tunnels"}

// parents are the tables that others refer to, in the order in which they are
// filled.
var parents = []string{"assistants", "profiles", "connections", "connectors", "members"}

// backupHead is the first line of a backup; a backupTable with its rows, each an
// array, follows for each table, and a backupEnd.
type backupHead struct {
	Format int       `json:"format"`
	Schema int64     `json:"schema"`
	Made   time.Time `json:"made"`
	By     string    `json:"by"` // the engine
}

type backupTable struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

type backupEnd struct {
	End  bool  `json:"end"`
	Rows int64 `json:"rows"`
}

// BackupReport is what a backup holds.
type BackupReport struct {
	Made   time.Time
	Engine string
	Schema int64
	Tables int
	Rows   int64
}

// Backup writes everything to w, sealed under the root key. tell, which may be
// nil, is called as it goes on.
func (db *DB) Backup(ctx context.Context, w io.Writer, tell func(table string, rows int64)) (BackupReport, error) {
	report := BackupReport{Made: db.Now(), Engine: db.engine.name}
	sealed, err := vault.SealStream(*db.keyring.root.Load(), w)
	if err != nil {
		return report, err
	}
	packed := gzip.NewWriter(sealed)
	out := bufio.NewWriterSize(packed, 1<<16)
	if err := db.dump(ctx, json.NewEncoder(out), &report, tell); err != nil {
		return report, fmt.Errorf("store: back up: %w", err)
	}
	return report, errors.Join(out.Flush(), packed.Close(), sealed.Close())
}

func (db *DB) dump(ctx context.Context, out *json.Encoder, report *BackupReport, tell func(string, int64)) error {
	// On SQLite a transaction that only reads sees one state by itself.
	options := &sql.TxOptions{ReadOnly: true}
	if db.engine.name == "postgres" {
		options.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.engine.reader.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if db.engine.name == "postgres" {
		if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return err
		}
	}
	if err := tx.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&report.Schema); err != nil {
		return err
	}
	tables, err := db.engine.tables(ctx, tx)
	if err != nil {
		return err
	}
	if err := out.Encode(backupHead{backupFormat, report.Schema, report.Made, report.Engine}); err != nil {
		return err
	}
	for _, table := range tables {
		n, err := dumpTable(ctx, tx, table, out)
		if err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		report.Tables, report.Rows = report.Tables+1, report.Rows+n
		if tell != nil {
			tell(table, n)
		}
	}
	return out.Encode(backupEnd{true, report.Rows})
}

// tables returns the tables of a backup, in the order in which they are filled.
func (e engine) tables(ctx context.Context, tx *sql.Tx) ([]string, error) {
	text := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
	if e.name == "postgres" {
		text = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name"
	}
	rows, err := tx.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	tables := slices.Clone(parents)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if name != "goose_db_version" && !slices.Contains(passing, name) && !slices.Contains(parents, name) {
			tables = append(tables, name)
		}
	}
	return tables, rows.Err()
}

func dumpTable(ctx context.Context, tx *sql.Tx, table string, out *json.Encoder) (n int64, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	if err := out.Encode(backupTable{table, columns}); err != nil {
		return 0, err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for i, v := range values {
			if b, ok := v.([]byte); ok { // a text is a string, so that a blob can be told
				values[i] = []string{base64.StdEncoding.EncodeToString(b)}
			}
		}
		if err := out.Encode(values); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

// ErrNotEmpty is returned where a backup would be restored to a database that
// has something in it.
var ErrNotEmpty = errors.New("store: the database is not empty: restore to a new one")

var errBackup = errors.New("store: the backup is damaged, or was made by a newer version")

// Restore fills an empty database with a backup. It returns vault.ErrStream,
// ErrNotEmpty, or what the database did not like; then nothing was changed.
func Restore(ctx context.Context, cfg Config, r io.Reader, tell func(table string, rows int64)) (report BackupReport, err error) {
	opened, err := vault.OpenStream(func(held []byte) (vault.RootKey, error) {
		return cfg.RootKey(ctx, vault.Kept{Keyring: true, Held: held})
	}, r)
	if err != nil {
		return report, err
	}
	unpacked, err := gzip.NewReader(opened)
	if err != nil {
		return report, cmp.Or(streamError(err), errBackup)
	}
	in := &backupReader{bufio.NewReaderSize(unpacked, 1<<16)}
	var head backupHead
	if err := in.next(&head); err != nil {
		return report, err
	}
	if head.Format != backupFormat {
		return report, errBackup
	}
	report = BackupReport{Made: head.Made, Engine: head.By, Schema: head.Schema}
	e, err := connect(ctx, cfg.URL)
	if err != nil {
		return report, err
	}
	defer func() { _ = e.close() }()
	if err := migrateTo(ctx, e, head.Schema); err != nil {
		return report, err
	}
	if err := e.load(ctx, in, &report, tell); err != nil {
		return report, err
	}
	return report, migrate(ctx, e) // to what this binary knows
}

// migrateTo brings an empty database to the schema of the backup: rows of an
// older one are brought on by the migrations that follow it.
func migrateTo(ctx context.Context, e engine, schema int64) error {
	p, err := provider(e)
	if err != nil {
		return err
	}
	has, wants, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case schema > wants:
		return fmt.Errorf("store: the backup has schema %d and this binary knows %d: use the newer binary", schema, wants)
	case has > schema:
		return ErrNotEmpty
	}
	_, err = p.UpTo(ctx, schema)
	return err
}

func (e engine) load(ctx context.Context, in *backupReader, report *BackupReport, tell func(string, int64)) error {
	tx, err := e.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if e.name == "postgres" {
		if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return err
		}
	}
	known, err := e.tables(ctx, tx)
	if err != nil {
		return err
	}
	for _, table := range known {
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return ErrNotEmpty
		}
	}
	l := loader{tx: tx, known: known, engine: e, report: report, tell: tell}
	if err := l.all(ctx, in); err != nil {
		return err
	}
	return tx.Commit()
}

// loader writes a backup's lines to the database.
type loader struct {
	tx     *sql.Tx
	engine engine
	known  []string
	report *BackupReport
	tell   func(string, int64)

	table string
	n     int64
	put   *sql.Stmt
}

func (l *loader) all(ctx context.Context, in *backupReader) error {
	for {
		line, err := in.line()
		if err != nil {
			return err
		}
		switch {
		case len(line) > 0 && line[0] == '[':
			err = l.row(ctx, line)
		default:
			var end backupEnd
			if json.Unmarshal(line, &end) == nil && end.End {
				if l.done(); end.Rows != l.report.Rows {
					return errBackup
				}
				return in.end()
			}
			err = l.begin(ctx, line)
		}
		if err != nil {
			return err
		}
	}
}

func (l *loader) begin(ctx context.Context, line []byte) (err error) {
	l.done()
	var t backupTable
	if json.Unmarshal(line, &t) != nil || !slices.Contains(l.known, t.Table) {
		return errBackup
	}
	marks := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if strings.Trim(c, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			return errBackup
		}
		marks[i] = "$" + strconv.Itoa(i+1)
	}
	l.table = t.Table
	l.put, err = l.tx.PrepareContext(ctx, "INSERT INTO "+t.Table+" ("+strings.Join(t.Columns, ", ")+") VALUES ("+strings.Join(marks, ", ")+")")
	return err
}

func (l *loader) done() {
	if l.table == "" {
		return
	}
	l.report.Tables, l.report.Rows = l.report.Tables+1, l.report.Rows+l.n
	if l.tell != nil {
		l.tell(l.table, l.n)
	}
	l.table, l.n = "", 0
}

func (l *loader) row(ctx context.Context, line []byte) error {
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.UseNumber()
	var values []any
	if err := d.Decode(&values); err != nil || l.put == nil {
		return errBackup
	}
	for i, v := range values {
		switch v := v.(type) {
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				return errBackup
			}
			values[i] = n
		case []any:
			text, ok := "", len(v) == 1
			if ok {
				text, ok = v[0].(string)
			}
			b, err := base64.StdEncoding.DecodeString(text)
			if !ok || err != nil {
				return errBackup
			}
			values[i] = b
		}
	}
	if _, err := l.put.ExecContext(ctx, values...); err != nil {
		return fmt.Errorf("store: restore %s: %w", l.table, err)
	}
	l.n++
	return nil
}

// backupReader reads lines. What follows the last one is read too: only then it
// is known that nothing was cut off.
type backupReader struct{ r *bufio.Reader }

func (b *backupReader) line() ([]byte, error) {
	line, err := b.r.ReadBytes('\n')
	if err != nil {
		return nil, cmp.Or(streamError(err), errBackup)
	}
	return line, nil
}

// end returns nil where nothing follows, and nothing was cut off.
func (b *backupReader) end() error {
	if _, err := b.r.ReadByte(); err != io.EOF {
		return cmp.Or(streamError(err), errBackup)
	}
	return nil
}

func streamError(err error) error {
	if errors.Is(err, vault.ErrStream) {
		return vault.ErrStream
	}
	return nil
}

func (b *backupReader) next(v any) error {
	line, err := b.line()
	if err != nil {
		return err
	}
	if json.Unmarshal(line, v) != nil {
		return errBackup
	}
	return nil
}
