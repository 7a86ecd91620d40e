package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
)

// This file lets one statement take many rows, which is what makes it cheap for
// many to share a commit. PostgreSQL takes them in one round trip, as an array
// for each column. SQLite is in this process: it is given one row after the
// other, by a statement that it has parsed once.

// many is a statement over rows. In its text, "FROM many" is where they come
// from. Its columns are named here as "name type", in the order of the rows'
// values; each name begins with r, so that no table has it. The types are text,
// bigint and bytea. TXID is the number of the transaction.
type many struct {
	text    string
	columns []string
}

// row is one of many.
type row interface{ values() []any }

// manies are all such statements.
var manies = []*many{takeLeases, giveBackLeases, insertCredentials, findLapsed, keepPointers, keepAnyPointers, trimCredentials, releaseLeases,
	insertAuditLines, insertNoteLines, insertTranscripts}

// statement is one of them as the database takes it.
type statement struct {
	text string
	stmt *sql.Stmt // on SQLite
}

var word = regexp.MustCompile(`[a-z_]+`)

func (m *many) on(e engine) string {
	var names, arrays []string
	place := map[string]string{}
	for i, c := range m.columns {
		name, kind, _ := strings.Cut(c, " ")
		names, arrays = append(names, name), append(arrays, fmt.Sprintf("CAST($%d AS %s[])", i+1, kind))
		place[name] = fmt.Sprintf("$%d", i+1)
	}
	text := strings.ReplaceAll(m.text, "TXID", e.txid)
	if e.name == "postgres" {
		return strings.Replace(text, "FROM many", "FROM unnest("+strings.Join(arrays, ", ")+") AS r("+strings.Join(names, ", ")+")", 1)
	}
	text = strings.NewReplacer("FROM many, ", "FROM ", "FROM many", "").Replace(text)
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if p, ok := place[w]; ok {
			return p
		}
		return w
	})
}

// prepareMany parses them once. It must not be done within a transaction: on
// SQLite that has the only connection that writes.
func (db *DB) prepareMany(ctx context.Context) (err error) {
	db.many = map[*many]statement{}
	for _, m := range manies {
		s := statement{text: m.on(db.engine)}
		if db.engine.name == "sqlite" {
			if s.stmt, err = db.engine.writer.PrepareContext(ctx, s.text); err != nil {
				return fmt.Errorf("%s: %w", s.text, err)
			}
		}
		db.many[m] = s
	}
	return nil
}

// each runs a statement for rows, and reads what it returns; read may be nil.
func each[R row](ctx context.Context, c *change, m *many, rows []R, read func(*sql.Rows) error) error {
	if len(rows) == 0 {
		return nil
	}
	s := c.scope.db.many[m]
	if s.stmt == nil {
		return reading(read, func() (*sql.Rows, error) { return c.tx.QueryContext(ctx, s.text, arrays(m, rows)...) },
			func() error { _, err := c.tx.ExecContext(ctx, s.text, arrays(m, rows)...); return err })
	}
	// Nothing here waits but for the disk: what watches for the end of a context
	// would cost more than the statement.
	steps := context.WithoutCancel(ctx)
	stmt := c.tx.StmtContext(steps, s.stmt)
	for _, r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := reading(read, func() (*sql.Rows, error) { return stmt.QueryContext(steps, r.values()...) },
			func() error { _, err := stmt.ExecContext(steps, r.values()...); return err }); err != nil {
			return err
		}
	}
	return nil
}

func reading(read func(*sql.Rows) error, query func() (*sql.Rows, error), exec func() error) error {
	if read == nil {
		return exec()
	}
	out, err := query()
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	for out.Next() {
		if err := read(out); err != nil {
			return err
		}
	}
	return out.Err()
}

// arrays returns the values of the rows column by column.
func arrays[R row](m *many, rows []R) []any {
	texts, numbers, bytes := make([][]string, len(m.columns)), make([][]int64, len(m.columns)), make([][][]byte, len(m.columns))
	for _, r := range rows {
		for i, v := range r.values() {
			switch v := v.(type) {
			case string:
				texts[i] = append(texts[i], v)
			case int64:
				numbers[i] = append(numbers[i], v)
			case []byte:
				bytes[i] = append(bytes[i], v)
			}
		}
	}
	out := make([]any, len(m.columns))
	for i, c := range m.columns {
		switch _, kind, _ := strings.Cut(c, " "); kind {
		case "text":
			out[i] = texts[i]
		case "bigint":
			out[i] = numbers[i]
		case "bytea":
			out[i] = bytes[i]
		}
	}
	return out
}

// ids runs a statement that returns ids.
func ids[R row](ctx context.Context, c *change, m *many, rows []R) (map[string]bool, error) {
	found := map[string]bool{}
	err := each(ctx, c, m, rows, func(row *sql.Rows) error {
		var id string
		err := row.Scan(&id)
		found[id] = true
		return err
	})
	return found, err
}
