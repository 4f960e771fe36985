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
