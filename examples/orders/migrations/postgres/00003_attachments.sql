-- +goose Up
CREATE TABLE attachments (
    order_id   TEXT   NOT NULL PRIMARY KEY,
    version    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    type       TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE attachment_parts (
    version    TEXT   NOT NULL,
    part       BIGINT NOT NULL,
    content    BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (version, part)
);
