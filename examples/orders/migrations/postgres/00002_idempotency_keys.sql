-- +goose Up
CREATE TABLE idempotency_keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    fingerprint BYTEA   NOT NULL,
    token       TEXT    NOT NULL,
    finished    BOOLEAN NOT NULL,
    outcome     BYTEA,
    expires_at  BIGINT  NOT NULL
);

CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
