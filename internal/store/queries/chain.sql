-- What hangs the audit log on chains.

-- name: InsertLink :exec
INSERT INTO audit_links (chain, link, at, lines, count, digest, after, hash, forgotten, mac)
VALUES (@chain, @link, @at, @lines, @count, @digest, @after, @hash, 0, @mac);

-- name: OtherLink :many
SELECT chain, link, hash FROM audit_links WHERE chain <> @chain ORDER BY at DESC, chain, link DESC LIMIT 1;

-- name: Links :many
SELECT * FROM audit_links WHERE chain > @chain OR chain = @chain AND link > @link ORDER BY chain, link LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: LinksSince :many
SELECT lines FROM audit_links WHERE at >= @since;

-- name: CountLinks :one
SELECT COUNT(*) FROM audit_links;

-- name: LinkHeads :many
SELECT l.chain, l.link, l.hash, l.at FROM audit_links AS l
WHERE l.link = (SELECT MAX(m.link) FROM audit_links AS m WHERE m.chain = l.chain) ORDER BY l.chain;

-- name: AuditRange :many
SELECT * FROM audit WHERE node = @node AND seq >= @low AND seq <= @high ORDER BY seq;

-- name: AuditOf :many
SELECT * FROM audit WHERE node = @node AND at >= @since ORDER BY seq;

-- name: AuditNodes :many
SELECT DISTINCT node FROM audit WHERE at >= @since AND node <> @node AND node NOT IN (SELECT id FROM nodes WHERE seen_at > @alive);

-- name: CountAudit :one
SELECT COUNT(*) FROM audit;

-- name: OldestLinks :many
SELECT * FROM audit_links WHERE forgotten = 0 ORDER BY at, chain, link LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: ForgetLink :execrows
UPDATE audit_links SET forgotten = 1, mac = @mac WHERE chain = @chain AND link = @link AND forgotten = 0;

-- name: DeleteAuditRange :exec
DELETE FROM audit WHERE node = @node AND seq >= @low AND seq <= @high;
