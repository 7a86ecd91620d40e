-- LastUse finds the line of the audit log that a connection's last use wrote, in
-- the same transaction and with the same time.
-- name: LastUse :one
SELECT action FROM audit WHERE assistant = @assistant AND at = @at AND object = @object AND action IN ('connection.token', 'connection.call') LIMIT 1;
