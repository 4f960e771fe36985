-- +goose Up
CREATE TABLE orders (
    id         TEXT    NOT NULL PRIMARY KEY,
    customer   TEXT    NOT NULL,
    product    TEXT    NOT NULL,
    quantity   INTEGER NOT NULL,
    total      INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    queued     INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX orders_customer_created_at ON orders (customer, created_at, id);
CREATE INDEX orders_customer_total ON orders (customer, total, id);
CREATE INDEX orders_not_queued ON orders (created_at) WHERE NOT queued;
