-- name: InsertTranscript :exec
INSERT INTO transcripts (id, kind, assistant, profile, connection, session, end_user, actor, status, sealed, version, created_at, ended_at)
VALUES (@id, @kind, @assistant, @profile, @connection, @session, @end_user, @actor, @status, @sealed, 1, @created_at, @ended_at);

-- name: UpdateTranscript :execrows
UPDATE transcripts SET connection = @connection, status = @status, sealed = @sealed, version = version + 1, ended_at = @ended_at
WHERE id = @id AND assistant = @assistant AND version = @version;

-- name: Transcript :one
SELECT * FROM transcripts WHERE id = @id;

-- name: TranscriptOfSession :one
SELECT * FROM transcripts WHERE session = @session AND session <> '' ORDER BY id DESC LIMIT 1;

-- name: TranscriptsOfProfile :many
SELECT * FROM transcripts WHERE profile = @profile AND kind IN ('trial', 'quick') AND (CAST(@before AS TEXT) = '' OR id < @before)
ORDER BY id DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: TranscriptsOfConnection :many
SELECT * FROM transcripts WHERE connection = @connection AND connection <> '' AND (CAST(@before AS TEXT) = '' OR id < @before)
ORDER BY id DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: FailedAuthorizations :many
SELECT * FROM transcripts WHERE profile = @profile AND end_user = @end_user AND connection = '' AND end_user <> '' AND (CAST(@before AS TEXT) = '' OR id < @before)
ORDER BY id DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: OpenTrials :many
SELECT * FROM transcripts WHERE profile = @profile AND kind = 'trial' AND ended_at = 0 ORDER BY id DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: TrimTrials :exec
DELETE FROM transcripts WHERE transcripts.profile = @profile AND transcripts.kind IN ('trial', 'quick') AND transcripts.id <= COALESCE((
    SELECT t.id FROM transcripts t WHERE t.profile = @profile AND t.kind IN ('trial', 'quick') ORDER BY t.id DESC LIMIT 1 OFFSET CAST(@kept AS BIGINT)), '');

-- name: TrimTranscripts :exec
DELETE FROM transcripts WHERE transcripts.connection = @connection AND transcripts.connection <> '' AND transcripts.id <= COALESCE((
    SELECT t.id FROM transcripts t WHERE t.connection = @connection AND t.connection <> '' ORDER BY t.id DESC LIMIT 1 OFFSET CAST(@kept AS BIGINT)), '');

-- name: TrimRefreshes :exec
DELETE FROM transcripts WHERE transcripts.connection = @connection AND transcripts.connection <> '' AND transcripts.kind = 'refresh' AND transcripts.status = 'passed'
    AND transcripts.id <= COALESCE((
    SELECT t.id FROM transcripts t WHERE t.connection = @connection AND t.connection <> '' AND t.kind = 'refresh' AND t.status = 'passed'
    ORDER BY t.id DESC LIMIT 1 OFFSET CAST(@kept AS BIGINT)), '');

-- name: TrimFailedAuthorizations :exec
DELETE FROM transcripts WHERE transcripts.profile = @profile AND transcripts.end_user = @end_user AND transcripts.connection = '' AND transcripts.end_user <> '' AND transcripts.id <= COALESCE((
    SELECT t.id FROM transcripts t WHERE t.profile = @profile AND t.end_user = @end_user AND t.connection = '' AND t.end_user <> ''
    ORDER BY t.id DESC LIMIT 1 OFFSET CAST(@kept AS BIGINT)), '');

-- name: DeleteTranscripts :exec
DELETE FROM transcripts WHERE created_at < @before;
