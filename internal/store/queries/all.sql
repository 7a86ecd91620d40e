-- Runs on SQLite and on PostgreSQL: no casts by ::, no arrays, no row locks.

-- name: InsertMeta :execrows
INSERT INTO meta (name, value) VALUES (@name, @value) ON CONFLICT (name) DO NOTHING;

-- name: Meta :one
SELECT value FROM meta WHERE name = @name;

-- name: InsertAssistant :exec
INSERT INTO assistants (id, slug, name, settings, version, created_at, updated_at)
VALUES (@id, @slug, @name, @settings, @version, @created_at, @updated_at);

-- name: Assistant :one
SELECT * FROM assistants WHERE id = @id OR slug = @id;

-- name: Assistants :many
SELECT * FROM assistants WHERE id > @after AND (CAST(@visible AS TEXT) = '' OR id = @visible) ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: UpdateAssistant :execrows
UPDATE assistants SET slug = @slug, name = @name, settings = @settings, version = version + 1, updated_at = @updated_at
WHERE id = @id AND version = @version;

-- name: InsertKey :exec
INSERT INTO keys (id, assistant, role, name, hash, created_at, expires_at, revoked_at, last_used_at)
VALUES (@id, @assistant, @role, @name, @hash, @created_at, @expires_at, 0, 0);

-- name: KeyByHash :one
SELECT * FROM keys WHERE hash = @hash;

-- name: Key :one
SELECT * FROM keys WHERE id = @id;

-- name: Keys :many
SELECT * FROM keys WHERE id > @after ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: RevokeKey :execrows
UPDATE keys SET revoked_at = @revoked_at WHERE id = @id AND revoked_at = 0;

-- name: CountKeys :one
SELECT COUNT(*) FROM keys;

-- name: InsertProfile :exec
INSERT INTO profiles (id, assistant, slug, name_key, status, definition, sealed, version, created_at, updated_at, deleted_at)
VALUES (@id, @assistant, @slug, @name_key, @status, @definition, @sealed, @version, @created_at, @updated_at, 0);

-- name: Profile :one
SELECT * FROM profiles WHERE assistant = @assistant AND (id = @id OR slug = @id) AND deleted_at = 0;

-- name: ProfileByID :one
SELECT * FROM profiles WHERE id = @id AND deleted_at = 0;

-- name: Profiles :many
SELECT * FROM profiles WHERE assistant = @assistant AND deleted_at = 0 AND status <> 'reserved' AND id > @after
ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: ProfileVersion :one
SELECT version FROM profiles WHERE id = @id AND deleted_at = 0;

-- name: UpdateProfile :execrows
UPDATE profiles SET slug = @slug, name_key = @name_key, status = @status, definition = @definition, sealed = @sealed,
    version = version + 1, updated_at = @updated_at
WHERE id = @id AND assistant = @assistant AND version = @version AND deleted_at = 0;

-- name: SetProfileStatus :execrows
UPDATE profiles SET status = @status, probe_at = @probe_at, probes = 0 WHERE id = @id AND status = @before;

-- name: InsertConnection :exec
INSERT INTO connections (id, assistant, profile, end_user, tenant, subject, label, status, reason, is_default, scopes_granted, scopes_missing,
    sealed_inputs, generation, fence, expires_at, obtained_at, refreshable, rotates, lease_owner, lease_fence, lease_until, intent_at,
    intent_before, next_attempt_at, failures, version, created_at, updated_at, last_used_at)
VALUES (@id, @assistant, @profile, @end_user, @tenant, @subject, @label, @status, @reason, @is_default, @scopes_granted, @scopes_missing,
    @sealed_inputs, @generation, @fence, @expires_at, @obtained_at, @refreshable, @rotates, '', @fence, 0, 0,
    0, 0, 0, 1, @created_at, @updated_at, 0);

-- name: Connection :one
SELECT * FROM connections WHERE id = @id;

-- name: ConnectionsOf :many
SELECT * FROM connections WHERE assistant = @assistant AND profile = @profile AND end_user = @end_user
    AND (CAST(@tenant AS TEXT) = '' OR tenant = @tenant) AND status <> 'revoked'
ORDER BY is_default DESC, id LIMIT 20;

-- name: ConnectionOfAccount :one
SELECT * FROM connections WHERE assistant = @assistant AND profile = @profile AND end_user = @end_user
    AND tenant = @tenant AND subject = @subject AND status <> 'revoked';

-- name: Connections :many
SELECT * FROM connections WHERE assistant = @assistant AND id > @after
    AND (CAST(@profile AS TEXT) = '' OR profile = @profile) AND (CAST(@end_user AS TEXT) = '' OR end_user = @end_user)
    AND (CAST(@tenant AS TEXT) = '' OR tenant = @tenant) AND (CAST(@status AS TEXT) = '' OR status = @status)
ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: UpdateConnection :execrows
UPDATE connections SET subject = @subject, label = @label, status = @status, reason = @reason, is_default = @is_default,
    scopes_granted = @scopes_granted, scopes_missing = @scopes_missing, sealed_inputs = @sealed_inputs,
    generation = @generation, fence = @fence, lease_fence = @fence, lease_until = 0, lease_owner = '', intent_at = 0, expires_at = @expires_at,
    obtained_at = @obtained_at, refreshable = @refreshable, rotates = @rotates, next_attempt_at = 0, failures = 0,
    version = version + 1, updated_at = @updated_at
WHERE id = @id AND version = @version AND lease_fence < @fence;

-- name: RevokeConnection :execrows
UPDATE connections SET status = 'revoked', reason = @reason, is_default = 0, version = version + 1, updated_at = @updated_at
WHERE id = @id AND assistant = @assistant AND status <> 'revoked';

-- name: SetDefaultConnection :exec
UPDATE connections SET is_default = CASE WHEN id = @id THEN 1 ELSE 0 END
WHERE assistant = @assistant AND profile = @profile AND end_user = @end_user AND status <> 'revoked';

-- name: InsertCredential :execrows
INSERT INTO credentials (connection, generation, fence, sealed, obtained_at, origin, kept_at)
VALUES (@connection, @generation, @fence, @sealed, @obtained_at, @origin, @kept_at) ON CONFLICT (connection, generation, fence) DO NOTHING;

-- name: Credential :one
SELECT * FROM credentials WHERE connection = @connection AND generation = @generation AND fence = @fence;

-- name: Stray :one
SELECT * FROM credentials WHERE connection = @connection AND generation >= @generation AND fence <> @fence ORDER BY generation DESC, fence DESC LIMIT 1;

-- name: EraseCredentials :exec
DELETE FROM credentials WHERE connection = @connection;

-- name: InsertSession :exec
INSERT INTO connect_sessions (id, assistant, profile, profile_version, end_user, user_name, tenant, locale, return_url, status, connection,
    outcome, finish_challenge, finish_tries, link_hash, browser_hash, state_hash, finish_hash, redirect_uri, issuer, sealed, version,
    created_at, expires_at, redirected_at, returned_at, ended_at, trial)
VALUES (@id, @assistant, @profile, @profile_version, @end_user, @user_name, @tenant, @locale, @return_url, @status, '',
    '', @finish_challenge, 0, @link_hash, @browser_hash, @state_hash, @finish_hash, @redirect_uri, @issuer, @sealed, 1,
    @created_at, @expires_at, 0, 0, 0, @trial);

-- name: Session :one
SELECT * FROM connect_sessions WHERE id = @id;

-- name: SessionByLink :one
SELECT * FROM connect_sessions WHERE link_hash = @link_hash;

-- name: SessionByState :one
SELECT * FROM connect_sessions WHERE state_hash = @state_hash;

-- name: UpdateSession :execrows
UPDATE connect_sessions SET profile_version = @profile_version, tenant = @tenant, status = @status, connection = @connection, outcome = @outcome,
    finish_tries = @finish_tries, browser_hash = @browser_hash, state_hash = @state_hash, finish_hash = @finish_hash,
    redirect_uri = @redirect_uri, issuer = @issuer, sealed = @sealed, version = version + 1,
    redirected_at = @redirected_at, returned_at = @returned_at, ended_at = @ended_at
WHERE id = @id AND assistant = @assistant AND version = @version;

-- name: OverdueSessions :many
SELECT * FROM connect_sessions WHERE ended_at = 0
    AND (status <> 'pending' AND expires_at <= @now OR status = 'pending' AND returned_at <= @pending_since) ORDER BY expires_at LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: DeleteSessions :exec
DELETE FROM connect_sessions WHERE ended_at > 0 AND ended_at < @before;

-- name: Audit :many
SELECT * FROM audit WHERE (CAST(@assistant AS TEXT) = '' OR assistant = @assistant) AND at >= @since ORDER BY at DESC, seq DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: InsertEvent :exec
INSERT INTO events (id, assistant, type, profile, connection, end_user, detail, created_at, delivered_at, webhook)
VALUES (@id, @assistant, @type, @profile, @connection, @end_user, @detail, @created_at, 0, @webhook);

-- name: Events :many
SELECT * FROM events WHERE assistant = @assistant AND id > @after ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: TouchConnection :exec
UPDATE connections SET last_used_at = @last_used_at WHERE id = @id AND last_used_at < @last_used_at;

-- name: TouchKey :exec
UPDATE keys SET last_used_at = @last_used_at WHERE id = @id AND last_used_at < @last_used_at;
