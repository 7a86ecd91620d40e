-- What the hot paths load into memory.

-- name: ConnectionsOwned :many
SELECT * FROM connections WHERE assistant = @assistant AND profile = @profile AND end_user = @end_user AND status <> 'revoked'
ORDER BY is_default DESC, id LIMIT CAST(sqlc.arg(max) AS BIGINT);
