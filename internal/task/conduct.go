package task

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/chassi-go/chassi/database"
)

// conduct settles the runs that have ended and claims new tasks, whenever this node is woken, until
// ctx is done. Each [Engine.turn] is one transaction for all queues.
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

// turn is the state of one call of [Engine.turn].
type turn struct {
	session   *session
	ended     []*run
	keys      []Key
	woken     uint64
	claiming  bool
	reconcile bool // whether the session may have claimed tasks that are not in Engine.running
	suspected bool // whether suspects may be waiting
	alone     bool // whether a suspect may begin
	claims    []*claim
}

// claim is the result of a statement that claims tasks, or that returns the tasks that the session
// has already claimed.
type claim struct {
	queue *queue // nil if the tasks may be of several queues
	limit int
	runs  []run
}

// turn settles the runs that have ended and claims new tasks, in one transaction. It reports
// whether another turn may have something to do. If the transaction fails, turn restores the state
// and waits for half of [Options].Poll.
func (e *Engine) turn(ctx context.Context) (more bool) {
	e.mu.Lock()
	t := &turn{
		session: e.session, ended: e.finished, keys: e.keys, woken: e.woken,
		claiming: !e.draining, reconcile: e.reconcile, suspected: e.suspected,
	}
	t.alone = t.claiming && t.suspected && !t.reconcile && !e.recent()
	e.finished, e.keys = nil, nil
	e.mu.Unlock()
	t.free(1)
	if batch := e.statements(t); len(batch) > 0 {
		if err := advancing(ctx, e.db, batch); err != nil {
			t.free(-1)
			e.mu.Lock()
			e.finished, e.keys, e.reconcile = append(t.ended, e.finished...), append(t.keys, e.keys...), true
			e.mu.Unlock()
			if ctx.Err() == nil {
				e.outages.Failed(err)
			}
			return Sleep(ctx, e.o.Poll/2)
		}
		e.outages.Succeeded()
	}
	e.release(t)
	return e.start(t)
}

// free adds places to the number of free places in the queue of each run that has ended. With 1, it
// frees the place of each run, and with -1, it occupies the place again.
func (t *turn) free(places int) {
	for _, r := range t.ended {
		r.queue.free += places
	}
}

// statements returns the statements of the turn in the order of execution: those that end runs,
// those that make the next tasks with the keys of ended tasks ready, and those that claim tasks. It
// adds the claims to t.
func (e *Engine) statements(t *turn) (batch []database.Statement) {
	batch = append(e.settle(t.ended), advance(t.keys)...)
	for _, k := range t.keys {
		if q := e.byName[k.Queue]; q != nil {
			q.dry = 0
		}
	}
	add := func(q *queue, limit int, sql string, args ...any) {
		c := &claim{queue: q, limit: limit}
		t.claims = append(t.claims, c)
		batch = append(batch, database.Statement{SQL: sql, Args: append([]any{t.session.id}, args...), Rows: Into(&c.runs, (*run).fields)})
	}
	if t.claiming && t.reconcile {
		add(nil, 0, e.sql.owned)
	}
	if t.alone {
		add(nil, 1, e.sql.claimSuspect, e.queueNames())
	}
	for _, q := range e.queues {
		if t.claiming && !t.suspected && q.free > 0 && q.dry != t.woken {
			add(q, q.free, e.sql.claim, q.Name, q.free)
		}
	}
	return batch
}

// recent reports whether there is a run that is not settled and began less than e.isolation ago.
// The caller must hold e.mu.
func (e *Engine) recent() bool {
	for _, r := range e.running {
		if time.Since(r.Began) < e.isolation {
			return true
		}
	}
	return false
}

// queueNames returns the names of the queues as an argument of a statement; see [List].
func (e *Engine) queueNames() any {
	names := make([]string, len(e.queues))
	for i, q := range e.queues {
		names[i] = q.Name
	}
	return List(e.db.Dialect(), names)
}

// release removes the settled runs from the engine. It logs and counts the dead letters among them,
// and records the keys whose next tasks may begin.
func (e *Engine) release(t *turn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reconcile = false
	for _, r := range t.ended {
		if r.Outcome == Dead {
			e.o.Logger.Error("tasks: a task failed for good and is now a dead letter", "queue", r.Queue, "id", r.ID, "uid", r.UID,
				"tries", r.Try, "error", r.failure)
			e.o.Observe.Count("dead_letter", 1)
		}
		if r.Outcome == Dead || r.Outcome == Done && !r.deleted {
			e.keys = append(e.keys, Key{r.Queue, r.Key})
		}
		if e.running[r.ID] == r {
			delete(e.running, r.ID)
		}
		if r.Outcome == lost && r.session == e.session { // or it has another fence, see begin
			e.reconcile = true
		}
	}
}

// start runs the claimed tasks. It reports whether another turn may have something to do.
func (e *Engine) start(t *turn) (more bool) {
	found := false
	for _, c := range t.claims {
		slices.SortFunc(c.runs, func(a, b run) int { return cmp.Compare(a.ID, b.ID) })
		for i := range c.runs {
			e.begin(t.session, &c.runs[i])
			found = true
		}
		if c.queue != nil && len(c.runs) < c.limit {
			c.queue.dry = t.woken
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.alone && !found {
		e.suspected = false
		return true
	}
	return len(e.finished) > 0 || len(e.keys) > 0 || e.reconcile || t.claiming && e.claimable()
}

// claimable reports whether a claim may find tasks. The caller must hold e.mu.
func (e *Engine) claimable() bool {
	if e.suspected {
		return !e.recent()
	}
	return slices.ContainsFunc(e.queues, func(q *queue) bool { return q.free > 0 && q.dry != e.woken })
}
