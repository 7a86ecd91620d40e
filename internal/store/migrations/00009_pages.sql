-- What the console's charts are drawn from, counted as it happens: a chart that
-- read the audit log would read every call of a fortnight. Code that does not
-- know the table counts nothing. The audit log is read by assistant, too.

-- +goose Up
CREATE TABLE tallies (
    assistant TEXT NOT NULL,
    profile   TEXT NOT NULL,
    kind      TEXT NOT NULL,
    hour      BIGINT NOT NULL, -- when it begins
    count     BIGINT NOT NULL,
    PRIMARY KEY (assistant, hour, kind, profile)
);
CREATE INDEX tallies_hour ON tallies (hour);
CREATE INDEX audit_assistant ON audit (assistant, at);

-- +goose Down
DROP INDEX audit_assistant;
DROP TABLE tallies;
