-- +goose Up
CREATE TABLE attachments (
    order_id   TEXT    NOT NULL PRIMARY KEY,
    version    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    sha256     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE attachment_parts (
    version    TEXT    NOT NULL,
    part       INTEGER NOT NULL,
    content    BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (version, part)
) STRICT;
