-- The chains that the audit log is hung on. Code that does not know them writes
-- lines that are in no link; whoever knows them takes those in.

-- +goose Up
CREATE TABLE audit_links (
    chain     TEXT NOT NULL,   -- the node that writes it
    link      BIGINT NOT NULL, -- 1, 2, …
    at        BIGINT NOT NULL,
    lines     TEXT NOT NULL,   -- that hang on it: node:seq-seq,seq;node:…
    count     BIGINT NOT NULL, -- how many these are
    digest    BYTEA NOT NULL,  -- of the lines
    after     TEXT NOT NULL,   -- another chain's newest link at the time: chain/link/hash
    hash      BYTEA NOT NULL,  -- of the link before, of this digest, and of after
    forgotten BIGINT NOT NULL, -- 1: its lines were deleted by age or number
    mac       BYTEA NOT NULL,
    PRIMARY KEY (chain, link)
);
CREATE INDEX audit_links_at ON audit_links (at);

-- +goose Down
DROP TABLE audit_links;
