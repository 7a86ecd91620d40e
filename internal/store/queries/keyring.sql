-- What rotates the keyring; how rows are sealed again is in reseal.go.

-- name: TurnMeta :execrows
UPDATE meta SET value = @value WHERE name = @name AND value = @was;

-- name: NodesWithout :many
SELECT id FROM nodes WHERE seen_at > @since AND keyring <> @keyring ORDER BY id;

-- name: SpillingNodes :one
SELECT COUNT(*) FROM nodes WHERE spills = 1 AND seen_at <= @since;
