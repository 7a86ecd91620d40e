-- name: PutVariable :one
INSERT INTO variables (id, assistant, namespace, end_user, name, sealed, secret, expires_at, updated_at)
VALUES (@id, @assistant, @namespace, @end_user, @name, @sealed, @secret, @expires_at, @updated_at)
ON CONFLICT (assistant, namespace, end_user, name) DO UPDATE SET sealed = excluded.sealed, secret = excluded.secret,
    expires_at = excluded.expires_at, updated_at = excluded.updated_at
RETURNING id;

-- name: Variable :one
SELECT * FROM variables WHERE assistant = @assistant AND namespace = @namespace AND end_user = @end_user AND name = @name
    AND (expires_at = 0 OR expires_at > @now);

-- name: Variables :many
SELECT * FROM variables WHERE assistant = @assistant AND id > @after AND (expires_at = 0 OR expires_at > @now)
    AND (CAST(@namespace AS TEXT) = '' OR namespace = @namespace) AND (CAST(@end_user AS TEXT) = '' OR end_user = @end_user)
ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: VariablesFor :many
SELECT * FROM variables WHERE assistant = @assistant AND (end_user = '' OR end_user = @end_user) AND (expires_at = 0 OR expires_at > @now);

-- name: CountVariables :one
SELECT COUNT(*) FROM variables WHERE assistant = @assistant AND end_user = @end_user AND (expires_at = 0 OR expires_at > @now)
    AND NOT (namespace = @namespace AND name = @name);

-- name: DeleteVariable :execrows
DELETE FROM variables WHERE assistant = @assistant AND namespace = @namespace AND end_user = @end_user AND name = @name;

-- name: ForgetVariables :exec
DELETE FROM variables WHERE expires_at > 0 AND expires_at <= @now;
