-- +goose Up

-- One row per event that was published and not yet relayed, or that is kept for replay, for keep
-- microseconds. xid is the transaction that published it. A replayed event has a target, the only
-- subscription that receives it, and the id of the replay.
CREATE TABLE chassi_outbox (
    id         INTEGER  NOT NULL PRIMARY KEY AUTOINCREMENT,
    xid        INTEGER  NOT NULL DEFAULT 0,
    event_id   TEXT     NOT NULL,
    topic      TEXT     NOT NULL,
    key        TEXT     NOT NULL,
    shard      INT      NOT NULL,
    headers    TEXT     NOT NULL,
    body       BLOB     NOT NULL,
    created_at INTEGER  NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    relayed_at INTEGER,
    keep       INTEGER NOT NULL DEFAULT 0,
    target     TEXT    NOT NULL DEFAULT '',
    replay     TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX chassi_outbox_pending ON chassi_outbox (xid, id) WHERE relayed_at IS NULL;
CREATE INDEX chassi_outbox_kept ON chassi_outbox (topic, xid, id) WHERE relayed_at IS NOT NULL;

-- The subscriptions of all programs that use this database. position is where a subscription is in
-- the messages of its broker.
CREATE TABLE chassi_subscriptions (
    name    TEXT    NOT NULL PRIMARY KEY,
    topic   TEXT    NOT NULL,
    ordered INT     NOT NULL,
    hold    INT NOT NULL,
    position TEXT NOT NULL DEFAULT '',
    seen_at INTEGER NOT NULL
) STRICT;

-- The ids of events that came through a broker or a replay.
CREATE TABLE chassi_inbox (
    subscription TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    until        INTEGER NOT NULL,
    PRIMARY KEY (subscription, id)
) STRICT;

CREATE INDEX chassi_inbox_until ON chassi_inbox (until);

-- One row per event and subscription, or per run of a job. state is 0 ready, 1 waiting until
-- due_at, 2 blocked by an earlier task of its key, 3 running, 4 ready after it lost its lease.
-- A queue is ordered by id.
CREATE TABLE chassi_tasks (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    queue      TEXT    NOT NULL,
    uid        TEXT    NOT NULL,
    unique_key TEXT,
    key        TEXT    NOT NULL DEFAULT '',
    state      INT     NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL DEFAULT 0,
    hold       INT     NOT NULL DEFAULT FALSE,
    tries      INT     NOT NULL DEFAULT 0,
    lost       INT     NOT NULL DEFAULT 0,
    owner      TEXT    NOT NULL DEFAULT '',
    fence      INTEGER NOT NULL DEFAULT 0,
    headers    TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    last_error TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;

CREATE INDEX chassi_tasks_ready ON chassi_tasks (queue, id) WHERE state = 0;
CREATE INDEX chassi_tasks_waiting ON chassi_tasks (due_at) WHERE state = 1;
CREATE INDEX chassi_tasks_running ON chassi_tasks (owner) WHERE state = 3;
CREATE INDEX chassi_tasks_suspect ON chassi_tasks (queue, id) WHERE state = 4;
CREATE UNIQUE INDEX chassi_tasks_unique ON chassi_tasks (queue, unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX chassi_tasks_key ON chassi_tasks (queue, key, state, id) WHERE key <> '';

-- Tasks that failed for good. hold keeps later tasks of the key behind them.
CREATE TABLE chassi_dead (
    id         INTEGER NOT NULL PRIMARY KEY,
    queue      TEXT    NOT NULL,
    uid        TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    hold       INT     NOT NULL,
    tries      INT     NOT NULL,
    lost       INT     NOT NULL,
    headers    TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    code       TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    error      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    died_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX chassi_dead_queue ON chassi_dead (queue, key, id);

-- The running programs ("node/ID") and what each alone may do ("relay/3"). An owner is never the
-- same again, so that it is the fence that every write compares.
CREATE TABLE chassi_leases (
    name  TEXT    NOT NULL PRIMARY KEY,
    owner TEXT    NOT NULL,
    until INTEGER NOT NULL DEFAULT 0,
    grace INT     NOT NULL DEFAULT FALSE
) STRICT;

CREATE TABLE chassi_schedules (
    job        TEXT    NOT NULL PRIMARY KEY,
    expression TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    next_run   INTEGER NOT NULL,
    paused     INT     NOT NULL
) STRICT;

-- The last runs of each job.
CREATE TABLE chassi_runs (
    job        TEXT    NOT NULL,
    run_id     TEXT    NOT NULL,
    node       TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    outcome    TEXT    NOT NULL,
    error      TEXT    NOT NULL,
    PRIMARY KEY (job, run_id)
) STRICT;

CREATE INDEX chassi_runs_job ON chassi_runs (job, started_at);
