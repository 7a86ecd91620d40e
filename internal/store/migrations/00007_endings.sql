-- What has ended and is not over yet: a deleted profile can be restored for a
-- while, and a provider that could not be asked to revoke is asked again. A
-- profile that older code deletes has no purge_at: its time is counted from
-- deleted_at, and it is found by its id only.

-- +goose Up
ALTER TABLE profiles ADD COLUMN was_slug TEXT NOT NULL DEFAULT '';         -- of a deleted one: the slug it had
ALTER TABLE profiles ADD COLUMN purge_at BIGINT NOT NULL DEFAULT 0;        -- of a deleted one: when its authorizations are revoked
ALTER TABLE profiles ADD COLUMN secret_told_at BIGINT NOT NULL DEFAULT 0;  -- up to when the end of its client secret was announced
CREATE INDEX profiles_deleted ON profiles (deleted_at) WHERE deleted_at > 0;

CREATE TABLE revocations (
    connection      TEXT NOT NULL,
    generation      BIGINT NOT NULL,
    fence           BIGINT NOT NULL,
    assistant       TEXT NOT NULL,
    profile         TEXT NOT NULL,
    sealed          BYTEA NOT NULL, -- the credential that is to be revoked, and the connection's inputs
    tries           BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (connection, generation, fence)
);
CREATE INDEX revocations_due ON revocations (next_attempt_at);

-- +goose Down
DROP TABLE revocations;
DROP INDEX profiles_deleted;
ALTER TABLE profiles DROP COLUMN secret_told_at;
ALTER TABLE profiles DROP COLUMN purge_at;
ALTER TABLE profiles DROP COLUMN was_slug;
