-- Endpoints of assistants that are told of events, and the outbox of what they
-- are told. Code that does not know them writes events all the same: whoever
-- knows them finds those that are not spread yet. What happened before has
-- nobody to be told to.

-- +goose Up
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    assistant     TEXT NOT NULL REFERENCES assistants (id),
    url           TEXT NOT NULL,
    events        TEXT NOT NULL,   -- types, with spaces between them; empty: all
    sealed        BYTEA NOT NULL,  -- its secrets
    overlap_until BIGINT NOT NULL, -- until when the secret before signs too
    enabled       BIGINT NOT NULL,
    reason        TEXT NOT NULL,   -- why we disabled it
    failing_since BIGINT NOT NULL, -- 0: the last delivery was taken
    failures      BIGINT NOT NULL, -- attempts since then
    told          BIGINT NOT NULL, -- 1: an event has said that it fails
    version       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX webhooks_assistant ON webhooks (assistant, id);

CREATE TABLE deliveries (
    id         TEXT PRIMARY KEY,
    assistant  TEXT NOT NULL,
    webhook    TEXT NOT NULL,
    event      TEXT NOT NULL,
    type       TEXT NOT NULL,   -- the event's
    status     TEXT NOT NULL,   -- waiting, delivered, failed
    attempts   BIGINT NOT NULL, -- that have begun
    answer     BIGINT NOT NULL, -- the last one's HTTP status; 0: none
    problem    TEXT NOT NULL,   -- of the last one
    took       BIGINT NOT NULL, -- milliseconds
    next_at    BIGINT NOT NULL, -- when it may be taken; 0: it is over
    until      BIGINT NOT NULL, -- for how long it is tried
    created_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL
);
CREATE INDEX deliveries_webhook ON deliveries (webhook, id);
CREATE INDEX deliveries_due ON deliveries (webhook, next_at) WHERE next_at > 0;
CREATE INDEX deliveries_event ON deliveries (event, webhook);

ALTER TABLE events ADD COLUMN webhook TEXT NOT NULL DEFAULT '';
UPDATE events SET delivered_at = created_at WHERE delivered_at = 0;
CREATE INDEX events_waiting ON events (id) WHERE delivered_at = 0;
CREATE INDEX events_time ON events (assistant, created_at);

-- +goose Down
DROP INDEX events_time;
DROP INDEX events_waiting;
ALTER TABLE events DROP COLUMN webhook;
DROP TABLE deliveries;
DROP TABLE webhooks;
