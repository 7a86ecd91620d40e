-- Connectors, their agents and tunnels, and the nodes that have these.

-- name: InsertConnector :exec
INSERT INTO connectors (id, name, enabled, version, created_at, updated_at, seen_at) VALUES (@id, @name, 1, 1, @created_at, @created_at, 0);

-- name: Connector :one
SELECT * FROM connectors WHERE id = @id OR name = @id;

-- name: Connectors :many
SELECT * FROM connectors WHERE id > @after ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: AllConnectors :many
SELECT * FROM connectors ORDER BY id;

-- name: UpdateConnector :execrows
UPDATE connectors SET enabled = @enabled, version = version + 1, updated_at = @updated_at WHERE id = @id AND version = @version;

-- name: SeeConnector :execrows
UPDATE connectors SET seen_at = @seen_at WHERE id = @id AND enabled = 1;

-- name: TouchConnector :execrows
UPDATE connectors SET seen_at = @seen_at WHERE id = @id;

-- name: DeleteConnector :execrows
DELETE FROM connectors WHERE id = @id;

-- name: DeleteConnectorTokens :exec
DELETE FROM connector_tokens WHERE connector = @connector;

-- name: DeleteConnectorAgents :exec
DELETE FROM connector_agents WHERE connector = @connector;

-- name: DeleteConnectorTunnels :exec
DELETE FROM tunnels WHERE connector = @connector;

-- name: DeleteConnectorTraffic :exec
DELETE FROM connector_traffic WHERE connector = @connector;

-- name: ProfilesThrough :many
SELECT id, assistant, slug FROM profiles WHERE deleted_at = 0 AND definition LIKE @pattern ORDER BY id;

-- name: InsertConnectorToken :exec
INSERT INTO connector_tokens (hash, connector, created_at, expires_at) VALUES (@hash, @connector, @created_at, @expires_at);

-- name: TakeConnectorToken :one
DELETE FROM connector_tokens WHERE hash = @hash AND expires_at > @now RETURNING connector;

-- name: DeleteEndedConnectorTokens :exec
DELETE FROM connector_tokens WHERE expires_at <= @now;

-- name: InsertConnectorAgent :exec
INSERT INTO connector_agents (id, connector, public_key, hostname, version, system, address, published, created_at, seen_at, revoked_at)
VALUES (@id, @connector, @public_key, @hostname, '', '', '', '', @created_at, 0, 0);

-- name: ConnectorAgent :one
SELECT * FROM connector_agents WHERE id = @id;

-- name: ConnectorAgents :many
SELECT * FROM connector_agents WHERE connector = @connector ORDER BY id;

-- name: AllConnectorAgents :many
SELECT * FROM connector_agents WHERE revoked_at = 0 ORDER BY id;

-- name: SeeConnectorAgent :execrows
UPDATE connector_agents SET version = @version, system = @system, hostname = @hostname, address = @address, published = @published, seen_at = @seen_at
WHERE id = @id AND connector = @connector AND revoked_at = 0;

-- name: TouchConnectorAgent :exec
UPDATE connector_agents SET seen_at = @seen_at WHERE id = @id;

-- name: RevokeConnectorAgent :execrows
UPDATE connector_agents SET revoked_at = @revoked_at WHERE id = @id AND connector = @connector AND revoked_at = 0;

-- name: InsertTunnel :exec
INSERT INTO tunnels (id, connector, agent, node, opened_at) VALUES (@id, @connector, @agent, @node, @opened_at);

-- name: DeleteTunnel :execrows
DELETE FROM tunnels WHERE id = @id AND connector = @connector;

-- name: CountTunnels :one
SELECT COUNT(*) FROM tunnels WHERE connector = @connector;

-- name: Tunnels :many
SELECT * FROM tunnels ORDER BY id;

-- name: DeadTunnels :many
SELECT t.* FROM tunnels AS t LEFT JOIN nodes AS n ON n.id = t.node WHERE n.id IS NULL OR n.seen_at < @before ORDER BY t.id;

-- name: AddTraffic :exec
INSERT INTO connector_traffic (connector, at, calls, failed, bytes_in, bytes_out) VALUES (@connector, @at, @calls, @failed, @bytes_in, @bytes_out)
ON CONFLICT (connector, at) DO UPDATE SET calls = connector_traffic.calls + excluded.calls, failed = connector_traffic.failed + excluded.failed,
    bytes_in = connector_traffic.bytes_in + excluded.bytes_in, bytes_out = connector_traffic.bytes_out + excluded.bytes_out;

-- name: ConnectorTraffic :many
SELECT * FROM connector_traffic WHERE connector = @connector AND at >= @since ORDER BY at LIMIT 3000;

-- name: DeleteOldTraffic :exec
DELETE FROM connector_traffic WHERE at < @before;
