-- +goose Up
CREATE TABLE tasks (
    id         TEXT    NOT NULL PRIMARY KEY,
    title      TEXT    NOT NULL UNIQUE,
    owner      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    done_at    INTEGER
) STRICT;
