package task

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// session is a period in which the other nodes regard a node as alive. It begins when the node
// inserts a row into chassi_leases, and ends when that row is deleted. The lease of a session has
// two parts, each longer than the interval of renewals: another node that finds the first part
// expired grants the second part, once. A node that renews its lease therefore does not lose it
// when the clock of the database is set.
type session struct {
	id      string
	renewed time.Time // when the last successful renewal began
	lost    bool
}

// newSession inserts a row into chassi_leases and makes the new session the current one.
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

// Session returns the ID of the current session, which identifies this node as the owner of leases.
// The ID changes when the session is lost because it was not renewed in time, and when the engine is
// started again. Session must not be called before Start.
func (e *Engine) Session() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session.id
}

// cancel cancels the contexts of all running functions with the given cause.
func (e *Engine) cancel(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.active {
		r.stop(cause)
	}
}

// endSession gives back the tasks that are still running, and ends the session.
func (e *Engine) endSession(ctx context.Context) error {
	id := e.Session()
	return e.db.Batch(ctx, database.Statement{SQL: e.sql.giveAll, Args: []any{id}}, database.Statement{SQL: e.sql.leave, Args: []any{id}},
		database.Statement{SQL: e.sql.freeLeases})
}

// maintain calls look and logOverdue, and wakes this node, at intervals of at most [Options].Poll
// until ctx is done.
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

// look calls renew, takes over the tasks of dead nodes, checks whether suspects are waiting, and
// makes due tasks ready. At intervals of a third of the lease, it also calls sweep. It returns the
// time until the next waiting task is due, which is 0 or negative if a task was due, and centuries
// if no task is waiting.
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
		e.o.Logger.Error("tasks: this node lost its lease: its running tasks are canceled", "renewed_before", time.Since(s.renewed).String())
	}
	e.mu.Lock()
	e.session.lost = true
	e.mu.Unlock()
	e.cancel(ErrLeaseLost) // others may run them by now
	return errors.Join(err, e.newSession(ctx))
}

// maxLost is the maximum number of times in succession that the lease of a task may be lost: twice
// while the task runs beside other tasks, and twice while it runs alone. At the next loss the task
// becomes a dead letter.
const maxLost = 4

const poisonError = "the lease was lost five times in succession while the task ran; the task probably ends the process"

// takeOver ends the sessions of which both parts of the lease have expired, and grants the second
// part to those of which only the first has expired. It makes the tasks of nodes without a session
// ready; tasks whose leases were lost before become suspects. Tasks whose leases were lost more
// than maxLost times in succession become dead letters.
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
		e.o.Logger.Error("tasks: a task failed for good and is now a dead letter", "queue", p.Queue, "id", p.id, "error", poisonError)
	}
	e.o.Observe.Count("dead_letter", len(dead))
	return e.Advance(ctx, keysOf(dead)...)
}

// sweep calls [Engine.Advance] for at most 1000 keys for which a crash has prevented the call.
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
