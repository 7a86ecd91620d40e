-- What keeps refreshes apart and plans them; what many share a commit for is in
-- commit.go.

-- name: SeeNode :exec
INSERT INTO nodes (id, address, spills, keyring, started_at, seen_at) VALUES (@id, @address, @spills, @keyring, @now, @now)
ON CONFLICT (id) DO UPDATE SET address = excluded.address, keyring = excluded.keyring, seen_at = excluded.seen_at;

-- name: Nodes :many
SELECT * FROM nodes WHERE seen_at > @since ORDER BY id;

-- name: DeleteNode :exec
DELETE FROM nodes WHERE id = @id;

-- name: ForgetNodes :exec
DELETE FROM nodes WHERE seen_at <= @before;

-- name: NewestGeneration :one
SELECT CAST(COALESCE(MAX(generation), 0) AS BIGINT) AS generation FROM credentials WHERE connection = @connection;

-- name: UnsignedConnections :many
SELECT id, generation, fence FROM connections WHERE id > @after AND signed_generation = 0 ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: SignConnection :exec
UPDATE connections SET signed_generation = @generation, signed_fence = @fence, signature = @signature
WHERE id = @id AND generation = @generation AND fence = @fence;

-- name: PutMeta :exec
INSERT INTO meta (name, value) VALUES (@name, @value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: SignGranted :exec
UPDATE connections SET signed_generation = @generation, signed_fence = @fence, signature = @signature, granted_at = @granted_at, warned_at = 0, refresh_at = 0, lane = 0,
    refresh_ends_at = @refresh_ends_at, refresh_life = @refresh_life
WHERE id = @id;

-- name: LiveProfiles :many
-- Deleted ones too: their connections are kept alive while they can be restored.
SELECT id, assistant FROM profiles WHERE status <> 'reserved' ORDER BY id;

-- name: CountDue :one
SELECT COUNT(*) FROM (SELECT 1 AS one FROM connections WHERE profile = @profile AND lane IN (0, 1) AND status = 'active' AND refresh_at > 0 AND refresh_at <= @now LIMIT 1) AS due;

-- name: UnplannedConnections :many
SELECT * FROM connections WHERE status = 'active' AND refresh_at = 0 ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: ClaimedConnections :many
SELECT * FROM connections WHERE profile = @profile AND lane = @lane AND status = 'active' AND refresh_at > 0 AND refresh_at = @until ORDER BY id;

-- name: PlanConnection :exec
UPDATE connections SET refresh_at = @refresh_at WHERE id = @id AND version = @version AND status = 'active';

-- name: WarnConnection :execrows
UPDATE connections SET warned_at = @warned_at WHERE id = @id AND status = 'active' AND warned_at = 0;

-- name: ProfileProbes :one
SELECT probe_at, probes FROM profiles WHERE id = @id AND status = 'failing';

-- name: ProbeProfile :execrows
UPDATE profiles SET probe_at = @next, probes = probes + 1 WHERE id = @id AND status = 'failing' AND probes = @probes;
