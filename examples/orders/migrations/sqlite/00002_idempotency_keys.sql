-- +goose Up
CREATE TABLE idempotency_keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    token       TEXT    NOT NULL,
    finished    INTEGER NOT NULL,
    outcome     BLOB,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
