-- Who signs in to the console, by what links they come in, and where they are
-- signed in.

-- +goose Up
CREATE TABLE members (
    id           TEXT PRIMARY KEY,
    email        TEXT NOT NULL UNIQUE, -- folded: lower case
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    password     TEXT NOT NULL, -- argon2id in PHC form; empty: none
    issuer       TEXT NOT NULL, -- with subject: who this is at the single sign-on
    subject      TEXT NOT NULL,
    disabled_at  BIGINT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE UNIQUE INDEX members_subject ON members (issuer, subject) WHERE subject <> '';

CREATE TABLE member_links (
    hash       BYTEA PRIMARY KEY,
    member     TEXT NOT NULL, -- empty: of the first owner, who is not yet known
    purpose    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX member_links_member ON member_links (member);

CREATE TABLE sign_ins (
    id         TEXT PRIMARY KEY, -- what a list names it by
    hash       TEXT NOT NULL UNIQUE, -- of the cookie's token
    member     TEXT NOT NULL, -- empty: on the way
    agent      TEXT NOT NULL,
    address    TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_member ON sign_ins (member);
CREATE INDEX sign_ins_expires ON sign_ins (expires_at);

-- +goose Down
DROP TABLE sign_ins;
DROP TABLE member_links;
DROP TABLE members;
