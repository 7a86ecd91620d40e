-- Logos of assistants, which their connect pages show. Code that does not know
-- the table shows none.

-- +goose Up
CREATE TABLE logos (
    assistant TEXT NOT NULL PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE, -- a digest: whoever knows it has seen the page
    image     BYTEA NOT NULL
);

-- +goose Down
DROP TABLE logos;
