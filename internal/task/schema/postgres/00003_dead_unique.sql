-- +goose Up

-- The unique key that a task had, and has again when it is redriven.
ALTER TABLE chassi_dead ADD COLUMN unique_key TEXT;
