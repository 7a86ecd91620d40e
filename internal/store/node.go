package store

import (
	"context"
	"os"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
)

// This file keeps the list of nodes: who is alive, where it is reached, and
// whether it may have something that the database has not.

const (
	seeEvery    = 2 * time.Second
	forgetNodes = time.Hour
)

// Node is one running server.
type Node struct {
	ID      behalf.NodeID
	Address string // where other nodes reach it; empty: they do not
	SeenAt  time.Time
}

// see says that this node is alive.
func (db *DB) see(ctx context.Context) error {
	return db.write.SeeNode(ctx, query.SeeNodeParams{ID: string(db.Node), Address: db.address, Spills: flag(db.unwritten.dir != ""), Keyring: int64(db.keyring.now.Load().Newest()), Now: micros(db.Now())})
}

// Nodes returns the nodes that are alive.
func (s Scope) Nodes(ctx context.Context) ([]Node, error) {
	if err := s.allow(behalf.Maintain, "", "node"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.Nodes(ctx, micros(s.db.Now().Add(-nodeAlive)))
	out := make([]Node, 0, len(rows))
	for _, r := range rows {
		out = append(out, Node{behalf.NodeID(r.ID), r.Address, at(r.SeenAt)})
	}
	return out, unavailableIf(err)
}

// buried forgets a node that is gone, all of whose writes are in the database:
// nobody need wait for it.
func (db *DB) buried(l left) error {
	if err := db.write.DeleteNode(context.Background(), l.node); err != nil {
		return unavailable(err)
	}
	defer func() { _ = l.file.Close() }()
	return os.Remove(l.file.Name())
}

// leave is the end of a node that has stopped as it should. What it could not
// write stays in its file, and its row says that it may.
func (db *DB) leave() {
	u := &db.unwritten
	if err := u.settle(); err != nil || u.dir == "" {
		return
	}
	if u.file.open > 0 { // of a refresh that nobody waited for
		_ = u.file.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitLimit)
	defer cancel()
	if db.write.DeleteNode(ctx, string(db.Node)) == nil {
		_ = os.Remove(u.file.Name())
	}
	_ = u.file.Close()
}

// beat says every so often that this node is alive, writes what could not be
// written, and forgets nodes that are gone for long.
func (db *DB) beat(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		if n%4 == 0 {
			if err := db.see(ctx); err != nil && ctx.Err() == nil {
				db.log.Warn("the database was not told that this node is alive", "err", err)
			}
		}
		if n%240 == 239 {
			_ = db.write.ForgetNodes(ctx, micros(db.Now().Add(-forgetNodes))) // the next time, then
		}
		_ = db.unwritten.settle() // it is tried again in a moment
		db.group.undoubt()
		select {
		case <-ctx.Done():
		case <-time.After(seeEvery / 4):
		}
	}
}
