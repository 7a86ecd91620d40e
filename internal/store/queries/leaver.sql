-- What is kept of an end user beside connections.

-- name: DeleteUserSessions :execrows
DELETE FROM connect_sessions WHERE assistant = @assistant AND end_user = @end_user AND trial = '';

-- name: DeleteUserVariables :execrows
DELETE FROM variables WHERE assistant = @assistant AND end_user = @end_user;
