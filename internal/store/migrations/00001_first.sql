-- One text for both databases. Times are microseconds since 1970, 0 for never;
-- flags are BIGINT; JSON is TEXT. SQLite gives BYTEA no affinity of its own and
-- keeps blobs as they are. What is named sealed was encrypted by the vault.

-- +goose Up
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE assistants (
    id         TEXT PRIMARY KEY,
    slug       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE keys (
    id           TEXT PRIMARY KEY,
    assistant    TEXT NOT NULL, -- empty: an administrator's
    role         TEXT NOT NULL,
    name         TEXT NOT NULL,
    hash         BYTEA NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    revoked_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE profiles (
    id         TEXT PRIMARY KEY,
    assistant  TEXT NOT NULL REFERENCES assistants (id),
    slug       TEXT NOT NULL,
    name_key   TEXT NOT NULL, -- the name as it is compared: folded
    status     TEXT NOT NULL,
    definition TEXT NOT NULL,
    sealed     BYTEA NOT NULL, -- client secrets and secret field values
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX profiles_slug ON profiles (assistant, slug) WHERE deleted_at = 0;
CREATE UNIQUE INDEX profiles_name ON profiles (assistant, name_key) WHERE deleted_at = 0;

CREATE TABLE connections (
    id              TEXT PRIMARY KEY,
    assistant       TEXT NOT NULL REFERENCES assistants (id),
    profile         TEXT NOT NULL REFERENCES profiles (id),
    end_user        TEXT NOT NULL,
    tenant          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    label           TEXT NOT NULL,
    status          TEXT NOT NULL,
    reason          TEXT NOT NULL,
    is_default      BIGINT NOT NULL,
    scopes_granted  TEXT NOT NULL,
    scopes_missing  TEXT NOT NULL,
    sealed_inputs   BYTEA NOT NULL,
    generation      BIGINT NOT NULL, -- with fence: the row of credentials in force
    fence           BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    obtained_at     BIGINT NOT NULL,
    refreshable     BIGINT NOT NULL,
    rotates         TEXT NOT NULL,
    lease_owner     TEXT NOT NULL,
    lease_fence     BIGINT NOT NULL, -- only grows
    lease_until     BIGINT NOT NULL,
    intent_at       BIGINT NOT NULL, -- a refresh was begun and its outcome is not known
    intent_before   BIGINT NOT NULL, -- intent_at as the lease found it
    next_attempt_at BIGINT NOT NULL,
    failures        BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    last_used_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX connections_account ON connections (assistant, profile, end_user, tenant, subject) WHERE status <> 'revoked';
CREATE INDEX connections_profile ON connections (profile, id);
CREATE INDEX connections_assistant ON connections (assistant, id);

CREATE TABLE credentials (
    connection  TEXT NOT NULL REFERENCES connections (id),
    generation  BIGINT NOT NULL,
    fence       BIGINT NOT NULL,
    sealed      BYTEA NOT NULL,
    obtained_at BIGINT NOT NULL,
    PRIMARY KEY (connection, generation, fence)
);

CREATE TABLE connect_sessions (
    id               TEXT PRIMARY KEY,
    assistant        TEXT NOT NULL REFERENCES assistants (id),
    profile          TEXT NOT NULL REFERENCES profiles (id),
    profile_version  BIGINT NOT NULL,
    end_user         TEXT NOT NULL,
    user_name        TEXT NOT NULL,
    tenant           TEXT NOT NULL,
    locale           TEXT NOT NULL,
    return_url       TEXT NOT NULL,
    status           TEXT NOT NULL,
    connection       TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    finish_challenge TEXT NOT NULL,
    finish_tries     BIGINT NOT NULL,
    link_hash        BYTEA NOT NULL UNIQUE,
    browser_hash     BYTEA NOT NULL,
    state_hash       BYTEA NOT NULL,
    finish_hash      BYTEA NOT NULL,
    redirect_uri     TEXT NOT NULL,
    issuer           TEXT NOT NULL,
    sealed           BYTEA NOT NULL,
    version          BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    redirected_at    BIGINT NOT NULL,
    returned_at      BIGINT NOT NULL,
    ended_at         BIGINT NOT NULL
);
CREATE INDEX connect_sessions_state ON connect_sessions (state_hash);
CREATE INDEX connect_sessions_open ON connect_sessions (expires_at) WHERE ended_at = 0;

CREATE TABLE audit (
    node      TEXT NOT NULL,
    seq       BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    actor     TEXT NOT NULL,
    assistant TEXT NOT NULL,
    action    TEXT NOT NULL,
    object    TEXT NOT NULL,
    detail    TEXT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (node, seq)
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE events (
    id           TEXT PRIMARY KEY,
    assistant    TEXT NOT NULL,
    type         TEXT NOT NULL,
    profile      TEXT NOT NULL,
    connection   TEXT NOT NULL,
    end_user     TEXT NOT NULL,
    detail       TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    delivered_at BIGINT NOT NULL
);
CREATE INDEX events_assistant ON events (assistant, id);

-- +goose Down
DROP TABLE events;
DROP TABLE audit;
DROP TABLE connect_sessions;
DROP TABLE credentials;
DROP TABLE connections;
DROP TABLE profiles;
DROP TABLE keys;
DROP TABLE assistants;
DROP TABLE meta;
