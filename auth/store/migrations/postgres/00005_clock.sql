-- +goose Up

-- The highest time that was reached: one row. What has ended by it does not begin anew
-- when the database's clock is set back.
CREATE TABLE clock (
    id      BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    highest BIGINT NOT NULL
);

INSERT INTO clock (id, highest) VALUES (1, 0);
