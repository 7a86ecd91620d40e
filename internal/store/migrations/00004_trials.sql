-- What was sent and received in authorizations, refreshes and failed calls: the
-- flight recorder, and the trials of profiles. A connect session of a trial
-- makes no connection; code that does not know the column cannot finish one,
-- because it waits for a verifier that nobody has.

-- +goose Up
CREATE TABLE transcripts (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    assistant  TEXT NOT NULL REFERENCES assistants (id),
    profile    TEXT NOT NULL REFERENCES profiles (id),
    connection TEXT NOT NULL, -- empty: none was made
    session    TEXT NOT NULL, -- empty: none was run
    end_user   TEXT NOT NULL,
    actor      TEXT NOT NULL,
    status     TEXT NOT NULL,
    sealed     BYTEA NOT NULL, -- the steps: masked, and yet of a person
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL
);
CREATE INDEX transcripts_connection ON transcripts (connection, id) WHERE connection <> '';
CREATE INDEX transcripts_profile ON transcripts (profile, kind, id);
CREATE INDEX transcripts_user ON transcripts (profile, end_user, id) WHERE connection = '' AND end_user <> '';
CREATE INDEX transcripts_session ON transcripts (session) WHERE session <> '';
CREATE INDEX transcripts_age ON transcripts (created_at);

ALTER TABLE connect_sessions ADD COLUMN trial TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE connect_sessions DROP COLUMN trial;
DROP TABLE transcripts;
