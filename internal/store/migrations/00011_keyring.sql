-- Which keys a node has loaded. Code that does not know the column leaves it 0,
-- and a rotation waits until there is no such node any more.

-- +goose Up
ALTER TABLE nodes ADD COLUMN keyring BIGINT NOT NULL DEFAULT 0; -- the id of the newest key that it has

-- +goose Down
ALTER TABLE nodes DROP COLUMN keyring;
