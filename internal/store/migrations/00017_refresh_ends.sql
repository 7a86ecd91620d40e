-- When a refresh token ends, and how long it was to live when the person
-- authorized: of the connection, so that its end is announced and it is used
-- before. 0: not known.

-- +goose Up
ALTER TABLE connections ADD COLUMN refresh_ends_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN refresh_life BIGINT NOT NULL DEFAULT 0; -- microseconds

-- +goose Down
ALTER TABLE connections DROP COLUMN refresh_life;
ALTER TABLE connections DROP COLUMN refresh_ends_at;
