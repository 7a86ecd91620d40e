-- How a credential came to be kept, so that an administrator can choose which
-- one to restore. Of what code keeps that does not know the columns, it is not
-- told.

-- +goose Up
ALTER TABLE credentials ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE credentials ADD COLUMN kept_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credentials ADD COLUMN stray BIGINT NOT NULL DEFAULT 0; -- 1: it came when another was in force

-- +goose Down
ALTER TABLE credentials DROP COLUMN stray;
ALTER TABLE credentials DROP COLUMN kept_at;
ALTER TABLE credentials DROP COLUMN origin;
