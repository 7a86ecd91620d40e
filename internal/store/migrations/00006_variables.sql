-- Variables that are kept for an assistant, or for one of its users. Code that
-- does not know the table has no profile that uses one.

-- +goose Up
CREATE TABLE variables (
    id         TEXT PRIMARY KEY,
    assistant  TEXT NOT NULL REFERENCES assistants (id),
    namespace  TEXT NOT NULL,
    end_user   TEXT NOT NULL, -- empty: the same for all users
    name       TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    secret     BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, -- 0: never
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX variables_name ON variables (assistant, namespace, end_user, name);
CREATE INDEX variables_user ON variables (assistant, end_user);
CREATE INDEX variables_end ON variables (expires_at) WHERE expires_at > 0;

-- +goose Down
DROP TABLE variables;
