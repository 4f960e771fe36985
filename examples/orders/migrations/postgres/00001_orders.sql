-- +goose Up
CREATE TABLE orders (
    id         TEXT    NOT NULL PRIMARY KEY,
    customer   TEXT    NOT NULL,
    product    TEXT    NOT NULL,
    quantity   BIGINT  NOT NULL,
    total      BIGINT  NOT NULL,
    status     TEXT    NOT NULL,
    queued     BOOLEAN NOT NULL,
    created_at BIGINT  NOT NULL
);

CREATE INDEX orders_customer_created_at ON orders (customer, created_at, id);
CREATE INDEX orders_customer_total ON orders (customer, total, id);
CREATE INDEX orders_not_queued ON orders (created_at) WHERE NOT queued;
