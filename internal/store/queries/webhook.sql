-- name: InsertWebhook :exec
INSERT INTO webhooks (id, assistant, url, events, sealed, overlap_until, enabled, reason, failing_since, failures, told, version, created_at, updated_at)
VALUES (@id, @assistant, @url, @events, @sealed, 0, 1, '', 0, 0, 0, 1, @created_at, @created_at);

-- name: Webhook :one
SELECT * FROM webhooks WHERE id = @id;

-- name: Webhooks :many
SELECT * FROM webhooks WHERE assistant = @assistant AND id > @after ORDER BY id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: CountWebhooks :one
SELECT COUNT(*) FROM webhooks WHERE assistant = @assistant;

-- name: EnabledWebhooks :many
SELECT * FROM webhooks WHERE assistant = @assistant AND enabled = 1;

-- name: UpdateWebhook :execrows
UPDATE webhooks SET url = @url, events = @events, sealed = @sealed, overlap_until = @overlap_until, enabled = @enabled, reason = @reason,
    failing_since = @failing_since, failures = @failures, told = @told, version = version + 1, updated_at = @updated_at
WHERE id = @id AND assistant = @assistant AND version = @version;

-- name: DeleteWebhook :execrows
DELETE FROM webhooks WHERE id = @id AND assistant = @assistant;

-- name: WebhookFailed :execrows
UPDATE webhooks SET failures = failures + 1, failing_since = CASE WHEN failing_since = 0 THEN CAST(@now AS BIGINT) ELSE failing_since END WHERE id = @id;

-- name: TellWebhook :execrows
UPDATE webhooks SET told = 1 WHERE id = @id AND told = 0;

-- name: UntellWebhook :execrows
UPDATE webhooks SET told = 0 WHERE id = @id AND told = 1;

-- name: WebhookWorks :exec
UPDATE webhooks SET failing_since = 0, failures = 0 WHERE id = @id AND failing_since > 0;

-- name: DisableWebhook :execrows
UPDATE webhooks SET enabled = 0, reason = @reason, version = version + 1, updated_at = @now WHERE id = @id AND enabled = 1;

-- name: HasWaitingEvents :one
SELECT EXISTS (SELECT 1 FROM events WHERE delivered_at = 0);

-- name: Event :one
SELECT * FROM events WHERE id = @id;

-- name: EventsBetween :many
SELECT * FROM events WHERE assistant = @assistant AND created_at >= @since AND created_at < @upto AND (created_at > @since OR id > @after)
ORDER BY created_at, id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: DueWebhooks :many
SELECT w.id, w.failing_since FROM webhooks w WHERE w.enabled = 1
    AND EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook = w.id AND d.next_at > 0 AND d.next_at <= @now);

-- name: InsertDelivery :exec
INSERT INTO deliveries (id, assistant, webhook, event, type, status, attempts, answer, problem, took, next_at, until, created_at, ended_at)
VALUES (@id, @assistant, @webhook, @event, @type, 'waiting', 0, 0, '', 0, @next_at, @until, @created_at, 0);

-- name: Delivery :one
SELECT * FROM deliveries WHERE id = @id;

-- name: Deliveries :many
SELECT * FROM deliveries WHERE webhook = @webhook AND assistant = @assistant AND (CAST(@before AS TEXT) = '' OR id < @before)
    AND (CAST(@status AS TEXT) = '' OR status = @status)
ORDER BY id DESC LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: FailedEvents :many
SELECT e.* FROM events e WHERE e.assistant = @assistant AND e.created_at >= @since AND e.created_at < @upto AND (e.created_at > @since OR e.id > @after)
    AND EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.id AND d.webhook = @webhook AND d.status = 'failed')
    AND NOT EXISTS (SELECT 1 FROM deliveries n WHERE n.event = e.id AND n.webhook = @webhook AND n.status <> 'failed')
ORDER BY e.created_at, e.id LIMIT CAST(sqlc.arg(max) AS BIGINT);

-- name: LastTaken :one
SELECT CAST(COALESCE(MAX(ended_at), 0) AS BIGINT) FROM (SELECT ended_at FROM deliveries WHERE webhook = @webhook AND status = 'delivered' ORDER BY id DESC LIMIT 50) AS taken;

-- name: WaitingDeliveries :one
SELECT COUNT(*) FROM deliveries WHERE webhook = @webhook AND next_at > 0;

-- name: HastenDelivery :execrows
UPDATE deliveries SET next_at = CASE WHEN next_at > @now THEN CAST(@now AS BIGINT) ELSE next_at END, until = @until
WHERE webhook = @webhook AND event = @event AND status = 'waiting';

-- name: SettleDelivery :exec
UPDATE deliveries SET status = @status, answer = @answer, problem = @problem, took = @took, next_at = @next_at, ended_at = @ended_at, sealed = @sealed
WHERE id = @id AND attempts = @attempts AND status <> 'delivered';

-- name: EndDeliveries :exec
UPDATE deliveries SET status = 'failed', problem = @problem, next_at = 0, ended_at = @now WHERE webhook = @webhook AND status = 'waiting';

-- name: DeleteDeliveries :exec
DELETE FROM deliveries WHERE webhook = @webhook;

-- name: ForgetDeliveries :exec
DELETE FROM deliveries WHERE created_at < @before;
