-- Deleted profiles, and what is still to be revoked at a provider.

-- name: DeleteProfile :execrows
UPDATE profiles SET deleted_at = @deleted_at, purge_at = @purge_at, was_slug = slug, slug = id, name_key = id
WHERE id = @id AND assistant = @assistant AND version = @version AND deleted_at = 0;

-- name: EndDeletedProfile :execrows
UPDATE profiles SET purge_at = @purge_at WHERE id = @id AND assistant = @assistant AND deleted_at > 0 AND purge_at <> @purge_at;

-- name: RestoreProfile :execrows
UPDATE profiles SET deleted_at = 0, purge_at = 0, was_slug = '', slug = @slug, name_key = @name_key, updated_at = @updated_at
WHERE id = @id AND assistant = @assistant AND deleted_at > 0
    AND CASE WHEN purge_at = 0 THEN deleted_at + CAST(@keep AS BIGINT) ELSE purge_at END > CAST(@now AS BIGINT);

-- name: DeletedProfile :one
SELECT * FROM profiles WHERE assistant = @assistant AND (id = @id OR was_slug = @id) AND deleted_at > 0 ORDER BY deleted_at DESC LIMIT 1;

-- name: DeletedProfiles :many
SELECT * FROM profiles WHERE assistant = @assistant AND deleted_at > 0 AND status <> 'reserved' AND id > @after
ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: KeptProfile :one
SELECT * FROM profiles WHERE assistant = @assistant AND id = @id;

-- name: OverdueProfiles :many
SELECT * FROM profiles WHERE deleted_at > 0
    AND CASE WHEN purge_at = 0 THEN deleted_at + CAST(@keep AS BIGINT) ELSE purge_at END <= CAST(@now AS BIGINT)
ORDER BY deleted_at LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: ProfileConnections :many
SELECT status, COUNT(*) AS number FROM connections WHERE profile = @profile GROUP BY status;

-- name: ProfileUsers :one
SELECT COUNT(DISTINCT end_user) FROM connections WHERE profile = @profile AND status <> 'revoked' AND end_user <> '';

-- name: ProfileLinks :one
SELECT COUNT(*) FROM connect_sessions WHERE profile = @profile AND ended_at = 0 AND trial = '';

-- name: ForgetEndedCredentials :exec
-- One may have come after its connection had ended: it is owed by itself.
DELETE FROM credentials WHERE credentials.connection IN (SELECT connections.id FROM connections
    WHERE connections.profile = @profile AND connections.status = 'revoked' AND connections.lease_until < @now
    AND NOT EXISTS (SELECT 1 FROM revocations WHERE revocations.connection = connections.id));

-- name: ForgetEndedConnections :exec
-- A refresh that is under way still has something to save.
DELETE FROM connections WHERE connections.profile = @profile AND connections.status = 'revoked' AND connections.lease_until < @now
    AND NOT EXISTS (SELECT 1 FROM revocations WHERE revocations.connection = connections.id);

-- name: HasConnections :one
SELECT COUNT(*) FROM connections WHERE profile = @profile;

-- name: ForgetSessionsOf :exec
DELETE FROM connect_sessions WHERE profile = @profile;

-- name: ForgetTranscriptsOf :exec
DELETE FROM transcripts WHERE profile = @profile;

-- name: ForgetProfile :execrows
DELETE FROM profiles WHERE id = @id AND assistant = @assistant AND deleted_at > 0;

-- name: SecretTold :one
SELECT secret_told_at FROM profiles WHERE id = @id;

-- name: TellSecret :execrows
UPDATE profiles SET secret_told_at = @told WHERE id = @id AND deleted_at = 0 AND secret_told_at < @told;

-- name: InsertRevocation :exec
INSERT INTO revocations (connection, generation, fence, assistant, profile, sealed, tries, next_attempt_at, created_at, grant_at)
VALUES (@connection, @generation, @fence, @assistant, @profile, @sealed, @tries, @next_attempt_at, @created_at, @grant_at)
ON CONFLICT (connection, generation, fence) DO NOTHING;

-- name: DueRevocations :many
SELECT * FROM revocations WHERE next_attempt_at <= @now ORDER BY next_attempt_at LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: DueGrants :many
SELECT * FROM revocations WHERE grant_at > 0 AND grant_at <= @now ORDER BY grant_at LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: RevocationsOf :many
SELECT * FROM revocations WHERE connection = @connection ORDER BY generation, fence;

-- name: ClaimRevocation :execrows
UPDATE revocations SET tries = tries + 1, next_attempt_at = @next_attempt_at, grant_at = @grant_at
WHERE connection = @connection AND generation = @generation AND fence = @fence AND tries = @tries;

-- name: PostponeRevocation :exec
UPDATE revocations SET next_attempt_at = @next_attempt_at, grant_at = @grant_at, tries = @tries, host = @host, answer = @answer
WHERE connection = @connection AND generation = @generation AND fence = @fence;

-- name: DeleteRevocation :execrows
DELETE FROM revocations WHERE connection = @connection AND generation = @generation AND fence = @fence;

-- name: InsertRevocationOutcome :exec
INSERT INTO revocation_outcomes (connection, generation, fence, assistant, profile, outcome, host, answer, attempts, detail, at)
VALUES (@connection, @generation, @fence, @assistant, @profile, @outcome, @host, @answer, @attempts, @detail, @at)
ON CONFLICT (connection, generation, fence) DO UPDATE SET outcome = excluded.outcome, host = excluded.host, answer = excluded.answer,
    attempts = excluded.attempts, detail = excluded.detail, at = excluded.at;

-- name: RevocationOutcomes :many
SELECT * FROM revocation_outcomes WHERE connection = @connection ORDER BY generation DESC, fence DESC;

-- name: ForgetRevocationOutcomes :exec
DELETE FROM revocation_outcomes WHERE profile = @profile;

-- name: HasRevocations :one
-- Or sessions that hold what may have to be revoked.
SELECT CAST((SELECT COUNT(*) FROM revocations WHERE revocations.profile = @profile)
    + (SELECT COUNT(*) FROM connect_sessions WHERE connect_sessions.profile = @profile AND ended_at = 0 AND status IN ('returned', 'choosing', 'pending')) AS BIGINT) AS number;

-- name: ProfilesOfSubject :many
-- Where an account has a live connection; one whose account nobody knows may be
-- its own.
SELECT profiles.* FROM profiles WHERE EXISTS (SELECT 1 FROM connections WHERE connections.profile = profiles.id AND connections.subject IN ('', @subject) AND connections.status <> 'revoked');

-- name: SessionsUnderWay :many
-- That have a grant which is not a connection yet.
SELECT * FROM connect_sessions WHERE ended_at = 0 AND status IN ('returned', 'choosing', 'pending') AND trial = '';

-- name: SessionsHolding :many
SELECT * FROM connect_sessions WHERE assistant = @assistant AND end_user = @end_user AND ended_at = 0 AND status IN ('returned', 'choosing', 'pending');

-- name: ForgetSessionOutcomes :exec
DELETE FROM revocation_outcomes WHERE connection IN (SELECT id FROM connect_sessions WHERE ended_at > 0 AND ended_at < @before);
