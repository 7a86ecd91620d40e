package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file knows every column that the keyring has made, so that all of it can
// be made again under another key. A test looks for columns that are missing
// here.

// sealedColumn is a column of sealed bytes, or of MACs.
type sealedColumn struct {
	table, column string
	key           []string // the primary key, as "name type"; see engine.rows
	beside        []string // further columns that tell the place
	place         func(r sealedRow) vault.Place
	data          func(r sealedRow) []byte // of a MAC: what it is of; nil: the column is sealed
}

// sealedRow is one row of a sealedColumn, its texts and numbers as text.
type sealedRow struct {
	key, beside []string
	value       []byte
}

func (r sealedRow) number(i int) int64 {
	n, _ := strconv.ParseInt(r.beside[i], 10, 64) // the column is a BIGINT
	return n
}

// The columns in which something may be long come last: what matters most is
// under the new key first.
var sealedColumns = []sealedColumn{
	{table: "profiles", column: "sealed", key: []string{"id text"}, beside: []string{"definition", "version"},
		place: func(r sealedRow) vault.Place {
			return profilePlace(behalf.ProfileID(r.key[0]), r.number(1), r.beside[0])
		}},
	{table: "credentials", column: "sealed", key: []string{"connection text", "generation bigint", "fence bigint"}, beside: []string{"generation", "fence"},
		place: func(r sealedRow) vault.Place {
			return credentialPlace(behalf.ConnectionID(r.key[0]), r.number(0), r.number(1))
		}},
	{table: "connections", column: "sealed_inputs", key: []string{"id text"}, beside: []string{"assistant", "profile", "end_user", "tenant"},
		place: func(r sealedRow) vault.Place {
			return inputsPlace(behalf.Connection{ID: behalf.ConnectionID(r.key[0]), Assistant: behalf.AssistantID(r.beside[0]), Profile: behalf.ProfileID(r.beside[1]), User: r.beside[2], Tenant: r.beside[3]})
		}},
	{table: "connections", column: "signature", key: []string{"id text"}, beside: []string{"signed_generation", "signed_fence"},
		place: func(r sealedRow) vault.Place { return pointerPlace(r.key[0]) },
		data:  func(r sealedRow) []byte { return pointerBytes(r.number(0), r.number(1)) }},
	{table: "variables", column: "sealed", key: []string{"id text"}, beside: []string{"assistant", "namespace", "end_user", "name"},
		place: func(r sealedRow) vault.Place {
			return variablePlace(behalf.Variable{Assistant: behalf.AssistantID(r.beside[0]), Namespace: behalf.Namespace(r.beside[1]), User: r.beside[2], Name: r.beside[3]})
		}},
	{table: "webhooks", column: "sealed", key: []string{"id text"}, beside: []string{"assistant", "url"},
		place: func(r sealedRow) vault.Place {
			return webhookPlace(behalf.Webhook{ID: behalf.WebhookID(r.key[0]), Assistant: behalf.AssistantID(r.beside[0]), URL: r.beside[1]})
		}},
	{table: "deliveries", column: "sealed", key: []string{"id text"},
		place: func(r sealedRow) vault.Place { return deliveryPlace(behalf.DeliveryID(r.key[0])) }},
	{table: "audit_links", column: "mac", key: []string{"chain text", "link bigint"}, beside: []string{"link", "hash", "forgotten"},
		place: func(r sealedRow) vault.Place { return linkPlace(r.key[0], r.number(0)) },
		data:  func(r sealedRow) []byte { return linkBytes([]byte(r.beside[1]), r.number(2)) }},
	{table: "revocations", column: "sealed", key: []string{"connection text", "generation bigint", "fence bigint"}, beside: []string{"assistant", "profile", "generation", "fence"},
		place: func(r sealedRow) vault.Place {
			return Owed{Connection: behalf.ConnectionID(r.key[0]), Assistant: behalf.AssistantID(r.beside[0]), Profile: behalf.ProfileID(r.beside[1]), Generation: r.number(2), Fence: r.number(3)}.place()
		}},
	{table: "connect_sessions", column: "sealed", key: []string{"id text"}, beside: []string{"version"},
		place: func(r sealedRow) vault.Place { return sessionPlace(behalf.SessionID(r.key[0]), r.number(0)) }},
	{table: "sign_ins", column: "sealed", key: []string{"id text"}, beside: []string{"hash"},
		place: func(r sealedRow) vault.Place { return signInPlace(r.beside[0]) }},
	{table: "transcripts", column: "sealed", key: []string{"id text"}, beside: []string{"version"},
		place: func(r sealedRow) vault.Place { return transcriptPlace(behalf.TranscriptID(r.key[0]), r.number(0)) }},
}

const resealBatch = 200 // rows in one transaction: on SQLite nobody else writes meanwhile

func (s sealedColumn) names() []string {
	var names []string
	for _, k := range s.key {
		name, _, _ := strings.Cut(k, " ")
		names = append(names, name)
	}
	return names
}

// first is before every key.
func (s sealedColumn) first() []string {
	var first []string
	for _, k := range s.key {
		if strings.HasSuffix(k, " bigint") {
			first = append(first, "-1")
		} else {
			first = append(first, "")
		}
	}
	return first
}

// prefix is what the column's values begin with that need not be made again.
func (s sealedColumn) prefix(k *vault.Keyring) []byte {
	if s.data != nil {
		return k.MACPrefix()
	}
	return k.SealPrefix()
}

// pick is a query for the rows behind a key that wait. On PostgreSQL it locks
// them and passes over those that somebody else has locked: so it waits for
// nobody, and with nobody in a circle.
func (s sealedColumn) pick(e engine) string {
	names := s.names()
	marks := make([]string, len(names))
	for i := range names {
		marks[i] = "$" + strconv.Itoa(i+1)
		if e.name == "postgres" && strings.HasSuffix(s.key[i], " bigint") {
			marks[i] = "CAST(" + marks[i] + " AS bigint)"
		}
	}
	lock := ""
	if e.name == "postgres" {
		lock = " FOR NO KEY UPDATE SKIP LOCKED"
	}
	columns := strings.Join(append(append(append([]string{}, names...), s.beside...), s.column), ", ")
	return fmt.Sprintf("SELECT %s FROM %s WHERE (%s) > (%s) AND length(%s) > 0 AND substr(%[5]s, 1, 5) <> $%[6]d ORDER BY %[3]s LIMIT %[7]d%[8]s",
		columns, s.table, strings.Join(names, ", "), strings.Join(marks, ", "), s.column, len(names)+1, resealBatch, lock)
}

// read returns the rows behind after that wait.
func (s sealedColumn) read(ctx context.Context, c *change, after []string, prefix []byte) ([]sealedRow, error) {
	args := make([]any, 0, len(after)+1)
	for i, a := range after {
		if strings.HasSuffix(s.key[i], " bigint") {
			n, err := strconv.ParseInt(a, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("store: a rotation's position is damaged: %w", err)
			}
			args = append(args, n)
			continue
		}
		args = append(args, a)
	}
	rows, err := c.tx.QueryContext(ctx, s.pick(c.scope.db.engine), append(args, prefix)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []sealedRow
	for rows.Next() {
		texts := make([]string, len(s.key)+len(s.beside))
		r := sealedRow{key: texts[:len(s.key)], beside: texts[len(s.key):]}
		into := make([]any, 0, len(texts)+1)
		for i := range texts {
			into = append(into, &texts[i])
		}
		if err := rows.Scan(append(into, &r.value)...); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// again makes a row's value anew.
func (s sealedColumn) again(k *ring, r sealedRow) ([]byte, error) {
	if s.data != nil {
		if err := k.CheckMAC(r.value, s.data(r), s.place(r)); err != nil {
			return nil, err
		}
		return k.MAC(s.data(r), s.place(r))
	}
	plain, err := k.Open(r.value, s.place(r))
	if err != nil {
		return nil, err
	}
	return k.Seal(plain, s.place(r))
}

// reseal makes a batch of rows anew and returns the key of the last; nil where
// none was left. A row that does not open stays as it is, and is counted.
func (s sealedColumn) reseal(ctx context.Context, c *change, after []string, prefix []byte) (last []string, done, damaged int64, err error) {
	db := c.scope.db
	rows, err := s.read(ctx, c, after, prefix)
	if err != nil || len(rows) == 0 {
		return nil, 0, 0, err
	}
	var anew []map[string]string
	for _, r := range rows {
		value, err := s.again(db.keyring, r)
		if err != nil {
			db.log.Error("a sealed value does not open, and stays under its old key", "err", err)
			damaged++
			continue
		}
		row := map[string]string{"rold": hex.EncodeToString(r.value), "rnew": hex.EncodeToString(value)}
		for i, k := range r.key {
			row["rk"+strconv.Itoa(i)] = k
		}
		anew = append(anew, row)
	}
	columns, where := []string{"rold bytea", "rnew bytea"}, s.column+" = rold"
	for i, k := range s.key {
		name, kind, _ := strings.Cut(k, " ")
		mine := "rk" + strconv.Itoa(i)
		columns, where = append(columns, mine+" "+kind), where+" AND "+name+" = "+cast(mine, kind)
	}
	if len(anew) > 0 {
		err = c.withRows(ctx, fmt.Sprintf("UPDATE %s SET %s = rnew FROM %s WHERE %s", s.table, s.column, db.engine.rows(columns...), where), anew)
	}
	return rows[len(rows)-1].key, int64(len(anew)), damaged, err
}

// cast makes a number of one that came as text.
func cast(name, kind string) string {
	if kind == "bigint" {
		return "CAST(" + name + " AS bigint)"
	}
	return name
}

// waiting counts the rows of all columns that wait to be made anew.
func (db *DB) waiting(ctx context.Context) (n int64, err error) {
	for _, s := range sealedColumns {
		var here int64
		text := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE length(%s) > 0 AND substr(%[2]s, 1, 5) <> $1", s.table, s.column)
		if err := db.engine.reader.QueryRowContext(ctx, text, s.prefix(db.keyring.now.Load())).Scan(&here); err != nil {
			return 0, unavailable(err)
		}
		n += here
	}
	return n, nil
}

// under counts the rows that were made with each key, by the five bytes that
// what it makes begins with.
func (db *DB) under(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	for _, s := range sealedColumns {
		if err := db.count(ctx, s, counts); err != nil {
			return nil, unavailable(err)
		}
	}
	return counts, nil
}

func (db *DB) count(ctx context.Context, s sealedColumn, into map[string]int64) error {
	rows, err := db.engine.reader.QueryContext(ctx, fmt.Sprintf("SELECT substr(%s, 1, 5), COUNT(*) FROM %s WHERE length(%[1]s) > 0 GROUP BY 1", s.column, s.table))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var prefix []byte
		var n int64
		if err := rows.Scan(&prefix, &n); err != nil {
			return err
		}
		into[string(prefix)] += n
	}
	return rows.Err()
}

// resealMeta makes the canary anew, what the nodes share, and the record of when
// connections were signed.
func (db *DB) resealMeta(ctx context.Context, c *change) error {
	canary, err := db.keyring.now.Load().Canary()
	if err != nil {
		return err
	}
	if err := c.PutMeta(ctx, query.PutMetaParams{Name: metaCanary, Value: canary}); err != nil {
		return err
	}
	if err := c.resealNodes(ctx, db); err != nil {
		return err
	}
	kept, err := c.Meta(ctx, metaSigned)
	if err != nil || len(kept) <= 8 || bytes.HasPrefix(kept[8:], db.keyring.now.Load().MACPrefix()) {
		return err
	}
	if err := db.keyring.CheckMAC(kept[8:], kept[:8], signedPlace); err != nil {
		return err
	}
	mac, err := db.keyring.MAC(kept[:8], signedPlace)
	if err != nil {
		return err
	}
	return c.PutMeta(ctx, query.PutMetaParams{Name: metaSigned, Value: append(kept[:8:8], mac...)})
}
