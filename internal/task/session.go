package task

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// session is the life of a node in the eyes of the others: from an insert into chassi_leases to
// the loss of that row. The lease has two parts, so that a step of the database's clock takes
// nothing from a node that renews: whoever finds it expired grants the second part once, which
// is longer than the interval of renewals.
type session struct {
	id      string
	renewed time.Time // when the last successful renewal began
	lost    bool
}

// newSession begins a session.
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

// Session returns the id by which leases name this node. It changes when the node loses its
// lease.
func (e *Engine) Session() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session.id
}

// loseSession cancels everything that runs: others may run it by now. It returns whether the session
// was not lost before.
func (e *Engine) loseSession() (first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, e.session.lost = !e.session.lost, true
	for _, r := range e.running {
		r.cancel(ErrLeaseLost)
	}
	return first
}

// endSession gives back what still runs and ends the session.
func (e *Engine) endSession(ctx context.Context) error {
	id := e.Session()
	return e.db.Batch(ctx, database.Statement{SQL: e.sql.giveAll, Args: []any{id}}, database.Statement{SQL: e.sql.leave, Args: []any{id}},
		database.Statement{SQL: e.sql.freeLeases})
}

// maintain renews the session, makes tasks ready that are due, and takes over those of dead
// nodes.
func (e *Engine) maintain(ctx context.Context) {
	lastSweep := time.Time{}
	next := e.o.Poll
	for {
		e.pause(ctx, min(next, e.o.Poll))
		if ctx.Err() != nil {
			return
		}
		err := e.renew(ctx)
		if err == nil {
			err = e.reap(ctx)
		}
		if err == nil {
			next, err = e.promote(ctx)
		}
		if err == nil && time.Since(lastSweep) > e.o.Lease/3 {
			lastSweep, err = time.Now(), e.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			e.outages.Failed(err)
			next = e.o.Poll / 2
		}
		e.Wake()
	}
}

// renew renews the session at a third of the lease, and begins a new one if it is lost.
func (e *Engine) renew(ctx context.Context) error {
	e.mu.Lock()
	s := *e.session
	e.mu.Unlock()
	began := time.Now()
	if began.Sub(s.renewed) < e.o.Lease/3 {
		return nil
	}
	n, err := e.db.Exec(ctx, e.sql.renew, s.id)
	switch {
	case err == nil && n == 1:
		e.mu.Lock()
		defer e.mu.Unlock()
		e.session.renewed = began
		return nil
	case err != nil && time.Since(s.renewed) < e.o.Lease*9/10:
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.loseSession() {
		e.o.Logger.Error("tasks: this node lost its lease, its tasks are canceled", "renewed_before", time.Since(s.renewed).String())
	}
	return errors.Join(err, e.newSession(ctx))
}

// promote makes waiting tasks ready, and notices suspects. It returns how long the next task
// waits.
func (e *Engine) promote(ctx context.Context) (next time.Duration, err error) {
	var micro int64
	var suspects int
	if err := e.db.QueryRow(ctx, e.sql.nextDue, e.queueNames()...).Scan(&micro, &suspects); err != nil {
		return e.o.Poll, err
	}
	if suspects > 0 {
		e.mu.Lock()
		e.suspected = true
		e.mu.Unlock()
	}
	if micro > 0 {
		return time.Duration(min(micro, e.o.Poll.Microseconds())) * time.Microsecond, nil
	}
	if err := e.db.BatchShared(ctx, database.Statement{SQL: e.sql.promote}); err != nil {
		return e.o.Poll, err
	}
	return 0, nil
}

// reap takes over the tasks of nodes that have not renewed their session.
func (e *Engine) reap(ctx context.Context) error {
	rows, err := e.db.Query(ctx, e.sql.expired)
	if err != nil {
		return err
	}
	expired := make(map[string]bool)
	for rows.Next() {
		var id string
		var grace bool
		if err := rows.Scan(&id, &grace); err != nil {
			return errors.Join(err, rows.Close())
		}
		expired[id] = grace
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	var batch []database.Statement
	for id, grace := range expired {
		sql := e.sql.grace
		if grace {
			sql = e.sql.evict
		}
		batch = append(batch, database.Statement{SQL: sql, Args: []any{id}})
	}
	if len(batch) > 0 {
		if err := e.db.BatchShared(ctx, append(batch, database.Statement{SQL: e.sql.freeLeases})...); err != nil {
			return err
		}
	}
	return e.adopt(ctx)
}

// maxLost is how often a suspect loses its lease before it is poison.
const maxLost = 3

var errPoison = errors.New("the task has lost its lease three times while it ran alone; it probably ends the process")

// orphan is a running task whose node has no session.
type orphan struct {
	Key

	id, fence int64
	lost      int
	owner     string
}

// adopt makes suspects of the tasks of nodes that have no session, or dead letters of those that
// are poison.
func (e *Engine) adopt(ctx context.Context) error {
	rows, err := e.db.Query(ctx, e.sql.orphans)
	if err != nil {
		return err
	}
	var batch []database.Statement
	var keys []Key
	for rows.Next() {
		var o orphan
		if err := rows.Scan(&o.id, &o.Queue, &o.Key.Key, &o.lost, &o.fence, &o.owner); err != nil {
			return errors.Join(err, rows.Close())
		}
		id := []any{o.id, o.fence, o.owner}
		if o.lost < maxLost {
			batch = append(batch, database.Statement{SQL: e.sql.takeOver, Args: id})
			continue
		}
		batch = append(batch, database.Statement{SQL: e.sql.bury, Args: append(id, "aborted", "poison", errPoison.Error())},
			database.Statement{SQL: e.sql.done, Args: id})
		keys = append(keys, o.Key)
		e.o.Logger.Error("tasks: a dead letter", "queue", o.Queue, "id", o.id, "error", errPoison.Error())
		e.o.DeadLettered(o.Queue)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(batch) == 0 {
		return err
	}
	if err := e.db.BatchShared(ctx, batch...); err != nil {
		return err
	}
	return e.Advance(ctx, keys...)
}

// sweep advances keys that a crash has left without a task that may begin.
func (e *Engine) sweep(ctx context.Context) error {
	rows, err := e.db.Query(ctx, e.sql.sweep)
	if err != nil {
		return err
	}
	var keys []Key
	for rows.Next() {
		var k Key
		if err := rows.Scan(&k.Queue, &k.Key); err != nil {
			return errors.Join(err, rows.Close())
		}
		keys = append(keys, k)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	return e.Advance(ctx, keys...)
}
