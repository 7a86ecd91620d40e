package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"strings"

	"github.com/behalf-dev/behalf"
)

// This file keeps the change log, by which every node learns what it must not
// hold in memory any longer. The rules are:
//
//   - A change is noted in its own transaction: there is none without its note.
//   - Transactions do not commit in the order of their numbers. On PostgreSQL the
//     log is read again from the oldest that was still open, or a revocation could
//     be passed over for ever. What is read twice is dropped twice, which is
//     harmless.

// The nouns of the change log.
const (
	nounKey        = "key" // object: its hash
	nounAssistant  = "assistant"
	nounProfile    = "profile"
	nounConnection = "connection" // holder: profile/user
	nounKeyring    = "keyring"
)

// note is one line of the change log.
type note struct {
	Node   string
	Seq    int64
	Noun   string
	Object string
	Holder string
	txid   int64
}

func (n note) values() []any { return []any{n.Node, n.Seq, n.Noun, n.Object, n.Holder} }

func (c *change) noteKey(hash []byte)                { c.note(nounKey, hex.EncodeToString(hash), "") }
func (c *change) noteAssistant(a behalf.AssistantID) { c.note(nounAssistant, string(a), "") }
func (c *change) noteProfile(p behalf.ProfileID)     { c.note(nounProfile, string(p), "") }

func (c *change) noteConnection(n behalf.Connection) {
	c.note(nounConnection, string(n.ID), holderOf(n.Profile, n.User))
}

// holderOf joins both; a profile's id holds no slash.
func holderOf(p behalf.ProfileID, user string) string { return string(p) + "/" + user }

func (c *change) note(noun, object, holder string) {
	db := c.scope.db
	c.notes = append(c.notes, note{Node: string(db.Node), Seq: db.noteSeq.Add(1), Noun: noun, Object: object, Holder: holder})
}

var insertNoteLines = &many{"INSERT INTO changes (txid, node, seq, noun, object, holder) SELECT TXID, rnode, rseq, rnoun, robject, rholder FROM many",
	[]string{"rnode text", "rseq bigint", "rnoun text", "robject text", "rholder text"}}

// insertNotes writes what was noted, and on PostgreSQL wakes the other nodes
// when the transaction commits.
func (db *DB) insertNotes(ctx context.Context, c *change, notes []note) error {
	if len(notes) == 0 {
		return nil
	}
	if err := each(ctx, c, insertNoteLines, notes, nil); err != nil || db.engine.notify == "" {
		return err
	}
	_, err := c.tx.ExecContext(ctx, db.engine.notify, string(db.Node))
	return err
}

// What differs in the change log. SQLite has one writer at a time, so there the
// numbers are ours.
const (
	sqliteTxid = "(SELECT COALESCE(MAX(txid), 0) + 1 FROM changes)"
	sqliteUpto = "COALESCE((SELECT MAX(txid) + 1 FROM changes), 1)"

	postgresTxid   = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
	postgresUpto   = "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"
	postgresNotify = "SELECT pg_notify('behalf_changes', $1)" // with the node that need not be woken: itself
	postgresListen = "LISTEN behalf_changes"
)

// tailQuery reads what other nodes have written from the log, with what to read
// from the next time in every line, also where there is nothing to read. A line
// may be read again.
func (e engine) tailQuery() string {
	return "SELECT s.upto, c.txid, c.node, c.seq, c.noun, c.object, c.holder FROM (SELECT " + e.upto +
		" AS upto) AS s LEFT JOIN changes AS c ON c.txid >= $1 AND c.node <> $2 ORDER BY c.txid"
}

// scanner is a row of either driver.
type scanner interface{ Scan(into ...any) error }

func scanNote(row scanner) (upto int64, n note, has bool, err error) {
	var txid, seq sql.NullInt64
	var node, noun, object, holder sql.NullString
	err = row.Scan(&upto, &txid, &node, &seq, &noun, &object, &holder)
	return upto, note{node.String, seq.Int64, noun.String, object.String, holder.String, txid.Int64}, txid.Valid, err
}

// trim forgets lines that every node has read long ago. The newest stays: on
// SQLite the numbers go on from it.
func (db *DB) trim(ctx context.Context, before int64) error {
	_, err := db.engine.writer.ExecContext(ctx, "DELETE FROM changes WHERE txid < $1 AND txid < (SELECT MAX(txid) FROM changes)", before)
	return err
}

// splitHolder is the inverse of holderOf.
func splitHolder(holder string) owner {
	profile, user, _ := strings.Cut(holder, "/")
	return owner{behalf.ProfileID(profile), user}
}
