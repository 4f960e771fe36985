-- +goose Up

-- The highest time that was reached: one row. What has ended by it does not begin anew
-- when the database's clock is set back.
CREATE TABLE clock (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    highest INTEGER NOT NULL
) STRICT;

INSERT INTO clock (id, highest) VALUES (1, 0);
