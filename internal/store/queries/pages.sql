-- name: LatestConnections :many
SELECT * FROM connections WHERE assistant = @assistant AND (CAST(@before AS TEXT) = '' OR id < @before)
    AND (CAST(@profile AS TEXT) = '' OR profile = @profile) AND (CAST(@end_user AS TEXT) = '' OR end_user = @end_user)
    AND (CAST(@tenant AS TEXT) = '' OR tenant = @tenant) AND (CAST(@status AS TEXT) = '' OR status = @status)
ORDER BY id DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: CountConnections :many
SELECT profile, status, COUNT(*) AS n FROM connections WHERE assistant = @assistant GROUP BY profile, status;

-- name: AddTally :exec
INSERT INTO tallies (assistant, profile, kind, hour, count) VALUES (@assistant, @profile, @kind, @hour, @count)
ON CONFLICT (assistant, hour, kind, profile) DO UPDATE SET count = tallies.count + excluded.count;

-- name: Tallies :many
SELECT profile, kind, hour, count FROM tallies WHERE assistant = @assistant AND hour >= @since ORDER BY hour, kind, profile;

-- name: ForgetTallies :exec
DELETE FROM tallies WHERE hour < @before;

-- AuditBefore reads the audit log backwards from a line of it.
-- name: AuditBefore :many
SELECT * FROM audit WHERE (CAST(@assistant AS TEXT) = '' OR assistant = @assistant)
    AND (CAST(@actor AS TEXT) = '' OR actor = @actor) AND (CAST(@object AS TEXT) = '' OR object = @object)
    AND (CAST(@action AS TEXT) = '' OR action = @action OR action LIKE CAST(@below AS TEXT))
    AND (CAST(@quiet AS BIGINT) = 0 OR action NOT IN ('connection.token', 'connection.call', 'connection.refresh'))
    AND at <= @at AND (at < @at OR node < @node OR node = @node AND seq < @seq)
ORDER BY at DESC, node DESC, seq DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);
