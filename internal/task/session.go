package task

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// session is a period in which the other nodes regard a node as alive: from the insertion of a row
// into chassi_leases to the loss of that row. The lease has two parts, so that a node that renews
// it does not lose it when the clock of the database is set: a node that finds the lease of another
// node expired grants the second part once, which is longer than the interval of renewals.
type session struct {
	id      string
	renewed time.Time // when the last successful renewal began
	lost    bool
}

// newSession begins a session, with a new row in chassi_leases.
func (e *Engine) newSession(ctx context.Context) error {
	s := &session{id: rand.Text(), renewed: time.Now()}
	if _, err := e.db.Exec(ctx, e.sql.join, s.id); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.session = s
	return nil
}

// Session returns the id of the current session, by which leases name this node. It changes when
// the node loses its lease.
func (e *Engine) Session() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session.id
}

// cancel cancels the contexts of all functions that run.
func (e *Engine) cancel(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.active {
		r.stop(cause)
	}
}

// endSession gives back the tasks that still run, and ends the session.
func (e *Engine) endSession(ctx context.Context) error {
	id := e.Session()
	return e.db.Batch(ctx, database.Statement{SQL: e.sql.giveAll, Args: []any{id}}, database.Statement{SQL: e.sql.leave, Args: []any{id}},
		database.Statement{SQL: e.sql.freeLeases})
}

// maintain calls look and logOverdue, and wakes this node, at intervals of at most [Options].Poll
// until ctx ends.
func (e *Engine) maintain(ctx context.Context) {
	for next := e.o.Poll; Sleep(ctx, min(next, e.o.Poll)); e.Wake() {
		e.logOverdue()
		var err error
		if next, err = e.look(ctx); err != nil && ctx.Err() == nil {
			e.outages.Failed(err)
			next = e.o.Poll / 2
		}
	}
}

// look renews the session, takes over the tasks of dead nodes, notices suspects, makes tasks ready
// that are due, and sweeps after a third of the lease. It returns the time until the next waiting
// task is due.
func (e *Engine) look(ctx context.Context) (next time.Duration, err error) {
	if err := e.renew(ctx); err != nil {
		return 0, err
	}
	var micro int64
	var suspects, lost bool
	if err := e.db.QueryRow(ctx, e.sql.look, e.queueNames()).Scan(&micro, &suspects, &lost); err != nil {
		return 0, err
	}
	if lost {
		err = e.takeOver(ctx)
	}
	if suspects {
		e.mu.Lock()
		e.suspected = true
		e.mu.Unlock()
	}
	if err == nil && micro <= 0 {
		err = e.db.BatchShared(ctx, database.Statement{SQL: e.sql.promote})
	}
	if err == nil && time.Since(e.swept) > e.o.Lease/3 {
		e.swept, err = time.Now(), e.sweep(ctx)
	}
	return time.Duration(micro) * time.Microsecond, err
}

// renew renews the session if a third of the lease has passed since the last renewal. If the
// session is lost, it cancels the tasks and begins a new session.
func (e *Engine) renew(ctx context.Context) error {
	e.mu.Lock()
	s := *e.session
	e.mu.Unlock()
	began := time.Now()
	if began.Sub(s.renewed) < e.o.Lease/3 {
		return nil
	}
	left := s.renewed.Add(e.o.Lease * 9 / 10).Sub(began)
	renewing, cancel := context.WithTimeout(ctx, max(left, e.o.Lease/3)) // a call of the database may take longer
	defer cancel()
	n, err := e.db.Exec(renewing, e.sql.renew, s.id)
	switch {
	case err == nil && n == 1:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.session.renewed, e.session.lost = began, false
		return nil
	case err != nil && time.Since(began) < left:
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !s.lost {
		e.o.Logger.Error("tasks: this node lost its lease, its tasks are canceled", "renewed_before", time.Since(s.renewed).String())
	}
	e.mu.Lock()
	e.session.lost = true
	e.mu.Unlock()
	e.cancel(ErrLeaseLost) // others may run them by now
	return errors.Join(err, e.newSession(ctx))
}

// maxLost is how often in succession a task may lose its lease before it becomes a dead letter at
// the next loss: twice while it runs beside other tasks, and twice while it runs alone.
const maxLost = 4

const poisonError = "the task has lost its lease three times while it ran alone; it probably ends the process"

// takeOver ends the sessions of nodes that have not renewed them. It makes the tasks of nodes
// without a session ready: as suspects if their leases were lost before. Tasks whose leases were
// lost too often become dead letters.
func (e *Engine) takeOver(ctx context.Context) error {
	var dead []keyed
	err := e.db.BatchShared(ctx,
		database.Statement{SQL: e.sql.evict}, database.Statement{SQL: e.sql.grace}, database.Statement{SQL: e.sql.freeLeases},
		database.Statement{SQL: e.sql.buryPoison, Args: []any{poisonError}},
		database.Statement{SQL: e.sql.buried, Rows: Into(&dead, (*keyed).fields)},
		database.Statement{SQL: e.sql.takeOver})
	if err != nil {
		return err
	}
	for _, p := range dead {
		e.o.Logger.Error("tasks: failed for good, and is a dead letter now", "queue", p.Queue, "id", p.id, "error", poisonError)
	}
	e.o.Observe.Count("dead_letter", len(dead))
	return e.Advance(ctx, keysOf(dead)...)
}

// sweep advances the keys for which a crash has prevented a call of [Advance].
func (e *Engine) sweep(ctx context.Context) error {
	keys, err := Select(ctx, e.db, (*Key).Fields, `SELECT queue, key FROM
		(SELECT queue, key, min(id) AS first FROM chassi_tasks WHERE key <> '' AND state = 2 GROUP BY queue, key) AS k
		WHERE NOT EXISTS (SELECT 1 FROM chassi_tasks AS a WHERE a.queue = k.queue AND a.key = k.key AND a.key <> '' AND a.state <> 2)
		AND NOT EXISTS (SELECT 1 FROM chassi_dead AS d WHERE d.queue = k.queue AND d.key = k.key AND d.hold AND d.id < k.first) LIMIT 1000`)
	if err != nil {
		return err
	}
	return e.Advance(ctx, keys...)
}
