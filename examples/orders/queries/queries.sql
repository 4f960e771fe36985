-- name: InsertOrder :exec
INSERT INTO orders (id, customer, product, quantity, total, status, queued, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: GetOrder :one
SELECT * FROM orders WHERE id = $1;

-- name: ListNewest :many
SELECT * FROM orders
WHERE customer = sqlc.arg(customer) AND (CAST(sqlc.arg(status) AS TEXT) = '' OR status = sqlc.arg(status))
  AND (created_at, id) < (CAST(sqlc.arg(after) AS BIGINT), CAST(sqlc.arg(after_id) AS TEXT))
ORDER BY created_at DESC, id DESC LIMIT sqlc.arg(max);

-- name: ListOldest :many
SELECT * FROM orders
WHERE customer = sqlc.arg(customer) AND (CAST(sqlc.arg(status) AS TEXT) = '' OR status = sqlc.arg(status))
  AND (created_at, id) > (CAST(sqlc.arg(after) AS BIGINT), CAST(sqlc.arg(after_id) AS TEXT))
ORDER BY created_at, id LIMIT sqlc.arg(max);

-- name: ListLargest :many
SELECT * FROM orders
WHERE customer = sqlc.arg(customer) AND (CAST(sqlc.arg(status) AS TEXT) = '' OR status = sqlc.arg(status))
  AND (total, id) < (CAST(sqlc.arg(after) AS BIGINT), CAST(sqlc.arg(after_id) AS TEXT))
ORDER BY total DESC, id DESC LIMIT sqlc.arg(max);

-- name: SetStatus :execrows
UPDATE orders SET status = sqlc.arg(status) WHERE id = sqlc.arg(id) AND status = sqlc.arg(previous);

-- name: ListNotQueued :many
SELECT id FROM orders WHERE NOT queued ORDER BY created_at LIMIT $1;

-- name: SetQueued :exec
UPDATE orders SET queued = TRUE WHERE id = $1;

-- name: DeleteOld :execrows
DELETE FROM orders WHERE status IN ('cancelled', 'rejected') AND created_at < $1;

-- name: InsertPart :exec
INSERT INTO attachment_parts (version, part, content, created_at) VALUES ($1, $2, $3, $4);

-- name: GetPart :one
SELECT content FROM attachment_parts WHERE version = $1 AND part = $2;

-- name: DeleteParts :exec
DELETE FROM attachment_parts WHERE version = $1;

-- name: DeleteUnusedParts :exec
DELETE FROM attachment_parts WHERE attachment_parts.created_at < $1 AND version NOT IN (SELECT a.version FROM attachments AS a);

-- name: SetAttachment :exec
INSERT INTO attachments (order_id, version, name, type, size, sha256, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, name = excluded.name, type = excluded.type,
  size = excluded.size, sha256 = excluded.sha256, created_at = excluded.created_at;

-- name: GetAttachment :one
SELECT * FROM attachments WHERE order_id = $1;

-- name: DeleteAttachmentsWithoutOrder :exec
DELETE FROM attachments WHERE order_id NOT IN (SELECT o.id FROM orders AS o);
