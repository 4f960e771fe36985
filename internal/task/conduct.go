package task

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/chassi-go/chassi/database"
)

// conduct settles what has finished and claims new tasks, in one transaction for all queues.
func (e *Engine) conduct(ctx context.Context) {
	for {
		select {
		case <-e.wakeup:
		case <-ctx.Done():
			return
		}
		for e.turn(ctx) {
			runtime.Gosched() // tasks that end at once are settled together
		}
	}
}

// turn is one transaction of conduct. It returns whether there may be more to do.
func (e *Engine) turn(ctx context.Context) (more bool) {
	e.mu.Lock()
	t := &turn{engine: e, session: e.session, ended: e.finished, woken: e.woken, reconcile: e.reconcile, claiming: !e.draining}
	t.isolating, t.alone = e.suspected, e.suspected && !e.recent()
	e.finished = nil
	e.mu.Unlock()
	if batch := t.statements(); len(batch) > 0 {
		if err := e.db.BatchShared(ctx, batch...); err != nil {
			e.mu.Lock()
			e.finished, e.reconcile = append(t.ended, e.finished...), true
			e.mu.Unlock()
			if ctx.Err() == nil {
				e.outages.Failed(err)
			}
			e.pause(ctx, e.o.Poll/2)
			return ctx.Err() == nil
		}
		e.outages.Succeeded()
	}
	e.release(t)
	return t.start()
}

func (e *Engine) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// release frees the places of runs that are settled.
func (e *Engine) release(t *turn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.reconcile {
		e.reconcile = false
	}
	e.advance = e.advance[:0]
	for _, f := range t.ended {
		e.report(f)
		if k, ok := f.unblocks(); ok && !f.deleted {
			e.advance = append(e.advance, k) // after the commit
		}
		f.queue.free++
		if e.running[f.task.ID] == f.run {
			delete(e.running, f.task.ID)
		}
	}
	e.checkIdle()
}

func (e *Engine) checkIdle() {
	if e.draining && len(e.running) == 0 {
		select {
		case <-e.idle:
		default:
			close(e.idle)
		}
	}
}

// turn is the state of one [Engine.turn].
type turn struct {
	engine              *Engine
	session             *session
	ended               []finished
	woken               uint64
	claiming, reconcile bool
	isolating, alone    bool // whether suspects may wait, and whether one may begin

	claims  []*claim
	suspect []*row
	orphans []*row // owned by this session, unknown to it
}

type claim struct {
	queue *queue
	limit int
	rows  []*row
}

// row is a claimed row.
type row struct {
	Task

	suspicion int
	headers   string
	created   int64
}

func (r *row) scan(c database.Cursor) error {
	if err := c.Scan(&r.ID, &r.Queue, &r.UID, &r.Key, &r.Try, &r.suspicion, &r.fence, &r.headers, &r.Body, &r.created); err != nil {
		return err
	}
	r.Headers, r.Created = DecodeHeaders(r.headers), time.UnixMicro(r.created)
	return nil
}

func scanInto(rows *[]*row) func(database.Cursor) error {
	return func(c database.Cursor) error {
		*rows = (*rows)[:0]
		for c.Next() {
			r := new(row)
			if err := r.scan(c); err != nil {
				return err
			}
			*rows = append(*rows, r)
		}
		return nil
	}
}

// statements returns what the turn executes: the ends of runs, then the tasks that may follow
// those whose end was committed before, then claims.
func (t *turn) statements() (batch []database.Statement) {
	e := t.engine
	keys := slices.Clone(e.advance)
	batch = e.settle(t.ended)
	for _, f := range t.ended {
		if k, ok := f.unblocks(); ok && f.deleted {
			keys = append(keys, k)
		}
		f.queue.dry = 0
	}
	for _, k := range keys { // whose next task the claim of this turn may find
		e.byName[k.Queue].dry = 0
	}
	batch = append(batch, e.advanceStatements(keys)...)
	if !t.claiming {
		return batch
	}
	if t.reconcile {
		batch = append(batch, database.Statement{SQL: e.sql.owned, Args: []any{t.session.id}, Rows: scanInto(&t.orphans)})
	}
	if t.isolating {
		if t.alone && !t.reconcile {
			batch = append(batch, database.Statement{SQL: e.sql.claimSuspect, Args: e.queueNames(t.session.id), Rows: scanInto(&t.suspect)})
		}
		return batch
	}
	for _, q := range e.queues {
		if q.free <= 0 || q.dry == t.woken {
			continue
		}
		c := &claim{queue: q, limit: q.free}
		t.claims = append(t.claims, c)
		batch = append(batch, database.Statement{SQL: e.sql.claim, Args: []any{t.session.id, q.Name, c.limit}, Rows: scanInto(&c.rows)})
	}
	return batch
}

// recent reports whether a task runs that began less than [Engine.isolation] ago. It is called
// with the lock.
func (e *Engine) recent() bool {
	for _, r := range e.running {
		if time.Since(r.began) < e.isolation {
			return true
		}
	}
	return false
}

// queueNames returns the names of the queues behind other arguments.
func (e *Engine) queueNames(args ...any) []any {
	for _, q := range e.queues {
		args = append(args, q.Name)
	}
	return args
}

// start runs what was claimed. It returns whether another turn may have something to do.
func (t *turn) start() (more bool) {
	e := t.engine
	for _, c := range t.claims {
		slices.SortFunc(c.rows, func(a, b *row) int { return cmp.Compare(a.ID, b.ID) })
		for _, r := range c.rows {
			e.begin(t.session, c.queue, r)
		}
		c.queue.dry = 0
		if len(c.rows) < c.limit {
			c.queue.dry = t.woken
		}
	}
	for _, r := range t.suspect {
		e.begin(t.session, e.byName[r.Queue], r)
	}
	for _, r := range t.orphans {
		if q := e.byName[r.Queue]; q != nil {
			e.begin(t.session, q, r)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.claiming && t.isolating && t.alone && !t.reconcile && len(t.suspect) == 0 {
		e.suspected = false
		return true
	}
	return e.woken != t.woken || len(e.finished) > 0 || len(e.advance) > 0 || t.claiming && e.suspected && !e.recent()
}
