-- The generations of a credential that are kept.

-- name: Generations :many
SELECT generation, fence, obtained_at, origin, kept_at, stray FROM credentials WHERE connection = @connection ORDER BY generation DESC, fence DESC;

-- name: TrimCredentials :exec
DELETE FROM credentials WHERE connection = @connection AND generation <= @generation;

-- name: MarkStray :exec
UPDATE credentials SET stray = 1 WHERE connection = @connection AND generation = @generation AND fence = @fence;

-- name: RestoreConnection :execrows
-- As whoever refreshes takes a lease: not while another has it, nor while one
-- who did not give it back may still have an answer.
UPDATE connections SET generation = @generation, fence = @fence, status = 'active', reason = '', scopes_granted = @scopes_granted,
    expires_at = @expires_at, obtained_at = @obtained_at, refreshable = @refreshable, refresh_at = 0, lane = 0, warned_at = 0,
    signed_generation = @generation, signed_fence = @fence, signature = @signature, lease_fence = @fence,
    lease_owner = '', lease_until = 0, intent_at = 0, next_attempt_at = 0, failures = 0, version = version + 1, updated_at = @now
WHERE connections.id = @id AND assistant = @assistant AND version = @version AND lease_fence < @fence AND status <> 'revoked' AND lease_until <= @now
    AND (lease_owner = '' OR lease_owner = @owner OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = connections.lease_owner
        AND (nodes.seen_at > @alive OR nodes.spills = 1 AND nodes.seen_at > @dead)));
