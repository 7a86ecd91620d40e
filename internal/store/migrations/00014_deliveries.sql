-- What an endpoint was sent at the last attempt, and what it answered, for a
-- person to read.

-- +goose Up
ALTER TABLE deliveries ADD COLUMN sealed BYTEA NOT NULL DEFAULT ''; -- empty: nothing is known of it

-- +goose Down
ALTER TABLE deliveries DROP COLUMN sealed;
