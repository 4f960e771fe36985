-- +goose Up

-- Which kinds of password hashes there are: the part before salt and hash.
CREATE INDEX users_hash_kind ON users ((rtrim(rtrim(rtrim(password, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'), '$'), 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')));

-- Rows that mean nothing, of the shape of users: what is written when the address of a
-- sign-up is taken, so that it takes the time of one that is not. Deleted every minute.
CREATE TABLE taken_sign_ups (
    id         TEXT    NOT NULL PRIMARY KEY,
    email      TEXT    NOT NULL UNIQUE,
    password   TEXT    NOT NULL,
    generation BIGINT NOT NULL,
    disabled   BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX taken_sign_ups_hash_kind ON taken_sign_ups ((rtrim(rtrim(rtrim(password, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'), '$'), 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')));

-- Random bytes that all nodes share.
CREATE TABLE secrets (
    name       TEXT    NOT NULL PRIMARY KEY,
    value      BYTEA   NOT NULL,
    sealed     BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);
