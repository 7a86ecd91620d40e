-- What became of each revocation, and revocations of what an authorization
-- brought that no connection was made of.

-- +goose Up
CREATE TABLE revocation_outcomes (
    connection TEXT NOT NULL,   -- or the session, or test, that made none
    generation BIGINT NOT NULL,
    fence      BIGINT NOT NULL,
    assistant  TEXT NOT NULL,
    profile    TEXT NOT NULL,
    outcome    TEXT NOT NULL,   -- revoked, given_up, not_offered, left
    host       TEXT NOT NULL,   -- that was asked; empty: none
    answer     TEXT NOT NULL,   -- class of its last answer, as 2xx; empty: none came
    attempts   BIGINT NOT NULL,
    detail     TEXT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (connection, generation, fence)
);

-- Of a grant that no connection was made of: when it is looked at. Its
-- next_attempt_at is never, for code that does not know to ask first whether the
-- account is in use.
ALTER TABLE revocations ADD COLUMN grant_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE revocations ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE revocations ADD COLUMN answer TEXT NOT NULL DEFAULT '';
CREATE INDEX revocations_grants ON revocations (grant_at) WHERE grant_at > 0;
CREATE INDEX connections_subject ON connections (profile, subject) WHERE status <> 'revoked';

-- +goose Down
DROP INDEX connections_subject;
DROP INDEX revocations_grants;
ALTER TABLE revocations DROP COLUMN answer;
ALTER TABLE revocations DROP COLUMN host;
ALTER TABLE revocations DROP COLUMN grant_at;
DROP TABLE revocation_outcomes;
