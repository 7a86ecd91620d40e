package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file notices a connection that was pointed back at an older credential by
// somebody who can write to the database but has no key. The rules are:
//
//   - Whoever moves the pointer signs where it is then. It may later be found at
//     what was signed, or beyond it, but never below: code from before the
//     signatures moves it without signing.
//   - No credential is newer than the one in force.
//   - A connection without a signature is one from before them. They are signed
//     when the database is first opened by code that knows of them, and for a day
//     more may be made without, by nodes that are not replaced yet.
//
// A database that was put back as a whole, signatures and all, is not noticed.

const (
	metaSigned   = "signed_since" // when unsigned connections are no longer taken, with a MAC
	unsignedFor  = 24 * time.Hour
	unsignedPage = 500
)

var errPointer = &behalf.Error{Code: behalf.CodeUnavailable,
	Message: "The connection points at an older credential than the newest one that was kept. Somebody has changed the database; end the connection, or restore the database from a backup."}

var signedPlace = vault.Place{Table: "meta", Row: metaSigned, Column: "value"}

func pointerPlace(id string) vault.Place {
	return vault.Place{Table: "connections", Row: id, Column: "signature"}
}

func pointerBytes(generation, fence int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(generation)), uint64(fence))
}

func (db *DB) signPointer(id string, generation, fence int64) ([]byte, error) {
	return db.keyring.MAC(pointerBytes(generation, fence), pointerPlace(id))
}

// checkSignature returns nil where a connection's pointer is not below what was
// signed.
func (db *DB) checkSignature(row query.Connection) error {
	switch {
	case len(row.Signature) == 0:
		if !db.Now().Before(db.unsignedUntil) {
			return fmt.Errorf("store: %s has no signature: %w", row.ID, errPointer)
		}
	case db.keyring.CheckMAC(row.Signature, pointerBytes(row.SignedGeneration, row.SignedFence), pointerPlace(row.ID)) != nil:
		return fmt.Errorf("store: the signature of %s is not ours: %w", row.ID, errPointer)
	case row.Generation < row.SignedGeneration, row.Generation == row.SignedGeneration && row.Fence != row.SignedFence:
		return fmt.Errorf("store: %s points below what was signed: %w", row.ID, errPointer)
	}
	return nil
}

func errNewer(id string) error {
	return fmt.Errorf("store: %s has a newer credential than the one in force: %w", id, errPointer)
}

// checkPointer returns nil where a connection's pointer is where it may be.
func (db *DB) checkPointer(ctx context.Context, row query.Connection) error {
	if err := db.checkSignature(row); err != nil {
		return err
	}
	newest, err := db.read.NewestGeneration(ctx, row.ID)
	if err != nil {
		return unavailable(err)
	}
	if newest > row.Generation {
		// It may have been refreshed since the row was read.
		again, err := db.read.Connection(ctx, row.ID)
		if err == nil && again.Generation < newest {
			return errNewer(row.ID)
		}
		return unavailableIf(err)
	}
	return nil
}

// signAll signs the connections of a database that is opened for the first time
// by code that signs.
func (db *DB) signAll(ctx context.Context) error {
	kept, err := db.read.Meta(ctx, metaSigned)
	if err == nil && len(kept) > 8 {
		if db.keyring.CheckMAC(kept[8:], kept[:8], signedPlace) != nil {
			return errors.New("store: the database's record of when its connections were signed was changed; restore it from a backup")
		}
		db.unsignedUntil = time.UnixMicro(int64(binary.BigEndian.Uint64(kept)))
		return nil
	}
	if err != nil && !isNoRows(err) {
		return unavailable(err)
	}
	signed, err := db.signPages(ctx)
	if err != nil {
		return err
	}
	if signed > 0 {
		db.unsignedUntil = db.Now().Add(unsignedFor)
	} else {
		db.unsignedUntil = time.UnixMicro(0)
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(db.unsignedUntil.UnixMicro()))
	mac, err := db.keyring.MAC(value, signedPlace)
	if err != nil {
		return err
	}
	return unavailableIf(db.write.PutMeta(ctx, query.PutMetaParams{Name: metaSigned, Value: append(value, mac...)}))
}

func (db *DB) signPages(ctx context.Context) (signed int, err error) {
	for after := ""; ; {
		rows, err := db.read.UnsignedConnections(ctx, query.UnsignedConnectionsParams{After: after, Max: unsignedPage})
		if err != nil || len(rows) == 0 {
			return signed, unavailableIf(err)
		}
		err = db.As(behalf.System("sign")).change(ctx, func(c *change) error {
			for _, r := range rows {
				signature, err := db.signPointer(r.ID, r.Generation, r.Fence)
				if err != nil {
					return err
				}
				if err := c.SignConnection(ctx, query.SignConnectionParams{Generation: r.Generation, Fence: r.Fence, Signature: signature, ID: r.ID}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return signed, err
		}
		signed += len(rows)
		after = rows[len(rows)-1].ID
	}
}
