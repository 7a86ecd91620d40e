package store

import "context"

// Adopt is what Run does each minute.
func (db *DB) Adopt(ctx context.Context) error { return db.adopt(ctx) }
