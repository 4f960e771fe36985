-- +goose Up

-- At most one task of a key is ready, waits for its next try, or runs. Of those that an earlier
-- version has made ready together, the others are blocked by the one that runs, or by the first.
UPDATE chassi_tasks SET state = 2, owner = '', fence = fence + 1 WHERE id IN
    (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY queue, key ORDER BY CASE WHEN state = 3 THEN 0 ELSE 1 END, id) AS place
        FROM chassi_tasks WHERE key <> '' AND state <> 2) AS active WHERE place > 1);
CREATE UNIQUE INDEX chassi_tasks_active ON chassi_tasks (queue, key) WHERE key <> '' AND state <> 2;
CREATE INDEX chassi_tasks_blocked ON chassi_tasks (queue, key, id) WHERE key <> '' AND state = 2;
DROP INDEX chassi_tasks_key;
