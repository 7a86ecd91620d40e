-- What keeps several nodes of one mind: the change log, the nodes themselves,
-- and when which connection is refreshed. Code that does not know the new
-- columns leaves them as they are by default, which is the careful side.

-- +goose Up
CREATE TABLE changes (
    txid   BIGINT NOT NULL, -- of the transaction; commits do not come in its order
    node   TEXT NOT NULL,
    seq    BIGINT NOT NULL,
    noun   TEXT NOT NULL,
    object TEXT NOT NULL,
    holder TEXT NOT NULL,   -- of a connection: profile/user
    PRIMARY KEY (txid, node, seq)
);

CREATE TABLE nodes (
    id         TEXT PRIMARY KEY,
    address    TEXT NOT NULL,   -- where other nodes reach it; empty: they do not
    spills     BIGINT NOT NULL, -- 1: it may have refreshed credentials in a file of its own
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

ALTER TABLE connections ADD COLUMN refresh_at BIGINT NOT NULL DEFAULT 0;        -- by ourselves; 0: not planned yet, -1: never
ALTER TABLE connections ADD COLUMN lane BIGINT NOT NULL DEFAULT 0;              -- 1: its last refresh failed
ALTER TABLE connections ADD COLUMN granted_at BIGINT NOT NULL DEFAULT 0;        -- by the person; 0: when it was created
ALTER TABLE connections ADD COLUMN warned_at BIGINT NOT NULL DEFAULT 0;         -- that its authorization ends
ALTER TABLE connections ADD COLUMN signed_generation BIGINT NOT NULL DEFAULT 0; -- with the next two: below what the pointer may not be
ALTER TABLE connections ADD COLUMN signed_fence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN signature BYTEA NOT NULL DEFAULT '';
CREATE INDEX connections_due ON connections (profile, lane, refresh_at) WHERE status = 'active' AND refresh_at > 0;
CREATE INDEX connections_unplanned ON connections (id) WHERE status = 'active' AND refresh_at = 0;

ALTER TABLE profiles ADD COLUMN probe_at BIGINT NOT NULL DEFAULT 0; -- of a failing one: when it may be asked once
ALTER TABLE profiles ADD COLUMN probes BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE profiles DROP COLUMN probes;
ALTER TABLE profiles DROP COLUMN probe_at;
DROP INDEX connections_unplanned;
DROP INDEX connections_due;
ALTER TABLE connections DROP COLUMN signature;
ALTER TABLE connections DROP COLUMN signed_fence;
ALTER TABLE connections DROP COLUMN signed_generation;
ALTER TABLE connections DROP COLUMN warned_at;
ALTER TABLE connections DROP COLUMN granted_at;
ALTER TABLE connections DROP COLUMN lane;
ALTER TABLE connections DROP COLUMN refresh_at;
DROP TABLE nodes;
DROP TABLE changes;
