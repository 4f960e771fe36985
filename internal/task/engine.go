package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/transport"
)

// Causes of the cancellation of a task's context; see [context.Cause].
var (
	// ErrLeaseLost means that the node has lost its lease, so that another node may run the task.
	ErrLeaseLost = errors.New("task: the lease was lost; another node may run the task")
	// ErrDrained means that the node is stopping. Unless the task still succeeds, it is returned to
	// its queue, and this try is not counted.
	ErrDrained = errors.New("task: the node is stopping; the task is returned to its queue")
)

// Options configures an [Engine]. Zero fields mean their defaults.
type Options struct {
	Logger *slog.Logger // default slog.Default()

	// Lease is the time after which other nodes take over the tasks of a node that does not renew
	// its lease. A node renews its lease after a third of this time. The default is 30 s.
	Lease time.Duration

	Poll time.Duration // interval of checks for work without a notification; default 1 s

	// Now is the SQL expression for the current time, in microseconds since the Unix epoch. The
	// default is the result of the function [Now]. Tests may set another clock.
	Now string

	// Observe is called with "dead_letter" for each task that becomes a dead letter. It may be nil.
	Observe Observer
}

// Engine runs the tasks of its queues.
type Engine struct {
	db      *database.DB
	o       Options
	sql     statements
	queues  []*queue
	byName  map[string]*queue
	outages *outage.Log
	wakers  []func() // called by Wake
	sent    chan struct{}
	wakeup  chan struct{}

	isolation    time.Duration // the maximum time for which a suspect runs alone
	overdueAfter time.Duration // default: the constant of this name
	swept        time.Time     // when sweep was last called; used only by maintain

	lifecycle sync.Mutex         // held by Start and Stop
	stop      context.CancelFunc // ends all goroutines except tasks; nil before Start and after Stop
	loops     sync.WaitGroup

	mu        sync.Mutex
	session   *session          // the current session; not nil after Start
	running   map[int64]*run    // runs that are not settled, by the ID of the task
	active    map[*run]struct{} // runs whose function has not returned
	finished  []*run            // runs whose function has returned, for the next turn
	keys      []Key             // keys of ended tasks, whose next tasks may begin
	suspected bool              // whether suspects may be waiting; then no other task begins
	woken     uint64            // number of calls of Wake plus one, so that it is never 0
	reconcile bool              // whether the session may have claimed tasks that are not in running
	draining  bool
}

// Queue is a queue of tasks and the function that runs them.
type Queue struct {
	Name string

	// Run runs a task and returns nil if the task has succeeded. If the engine cancels the context
	// of Run, the cause is [ErrLeaseLost] or [ErrDrained].
	Run func(ctx context.Context, t *Task) error

	// Transactional makes the engine call Run in a transaction of [database.DB.Write]. [Tx] returns
	// the transaction, which also deletes the task. Run may be called more than once for one try,
	// because Write retries a transaction that conflicts with another one.
	Transactional bool

	Concurrency int // maximum number of tasks that run at once on this node; default 16
	Tries       int // maximum number of tries; default 12

	// Delay is the delay after the first failed try, which doubles after each further failed try, up
	// to 15 minutes. A longer RetryAfter of the error replaces it, within the same limit. The default
	// is 1 s.
	Delay time.Duration

	// Ending returns additional statements for the transaction that ends tries of the queue. They
	// precede the statements that end the tries, and are executed even if the lease has been lost in
	// the meantime. A statement may therefore change data for a try only on the condition that
	// chassi_tasks has a row with the ID and the [Task.Fence] of the task. Ending may be nil. It is
	// not called for tries that are known to have lost the lease, or for tasks that their own
	// transactions have deleted.
	Ending func([]Ended) []database.Statement
}

// DefaultConcurrency is the default of [Queue].Concurrency.
const DefaultConcurrency = 16

// Ended describes a try that has ended.
type Ended struct {
	Task

	Began   time.Time
	Outcome Outcome
	Err     error
	Took    time.Duration
}

// Outcome is the result of a try.
type Outcome int

// The outcomes of a try.
const (
	Done      Outcome = iota
	Retry             // the task failed and is tried again
	Dead              // the task failed and becomes a dead letter
	GivenBack         // the node is stopping; the try is not counted
	lost              // the node has lost the lease of the task
)

// queue is a [Queue] with its state. Only the goroutine of [Engine.conduct] uses the mutable
// fields.
type queue struct {
	Queue

	free int    // number of further tasks that may begin
	dry  uint64 // the value of Engine.woken when a claim found no more tasks; 0 if there may be more
}

// run is a try of a claimed task.
type run struct {
	Ended

	losses  int // number of losses of the lease of the task in succession
	queue   *queue
	session *session
	cancel  context.CancelCauseFunc
	failure *chassi.Error // the error, if the outcome is Retry or Dead
	deleted bool          // whether its own transaction has deleted the task
	ends    time.Time     // end of the context of the function, zero if unknown; guarded by Engine.mu
	overdue bool          // whether the function was logged as overdue; guarded by Engine.mu
}

func (r *run) fields() []any {
	return []any{&r.ID, &r.Queue, &r.UID, &r.Key, &r.Try, &r.losses, &r.fence, (*Headers)(&r.Headers), &r.Body, (*Time)(&r.Created)}
}

// NewEngine returns an engine that runs the tasks in db after [Engine.Start].
func NewEngine(db *database.DB, o Options) *Engine {
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Now = cmp.Or(o.Now, Now(db.Dialect()))
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return &Engine{
		db: db, o: o, sql: newStatements(o.Now, db.Dialect(), o.Lease), isolation: o.Lease / 6, overdueAfter: overdueAfter,
		byName: make(map[string]*queue), running: make(map[int64]*run), active: make(map[*run]struct{}),
		outages: outage.New(o.Logger, slog.LevelWarn, "tasks: the database cannot be used, trying again", "tasks: the database can be used again"),
		wakeup:  make(chan struct{}, 1), sent: make(chan struct{}, 1), woken: 1,
	}
}

// Handle adds a queue. It must be called before Start. It returns an error if q has no name or no
// function, or if a queue of the same name was added before.
func (e *Engine) Handle(q Queue) error {
	switch {
	case q.Name == "" || q.Run == nil:
		return fmt.Errorf("task: queue %q needs a name and a function", q.Name)
	case e.byName[q.Name] != nil:
		return fmt.Errorf("task: two queues are named %q", q.Name)
	}
	q.Concurrency, q.Tries, q.Delay = cmp.Or(q.Concurrency, DefaultConcurrency), cmp.Or(q.Tries, 12), cmp.Or(q.Delay, time.Second)
	own := &queue{Queue: q, free: q.Concurrency}
	e.queues, e.byName[q.Name] = append(e.queues, own), own
	return nil
}

// DB returns the database that contains the tasks.
func (e *Engine) DB() *database.DB { return e.db }

// Now returns the SQL expression for the current time; see [Options].Now.
func (e *Engine) Now() string { return e.o.Now }

// OnWake registers f to be called by each [Engine.Wake] and at the interval [Options].Poll. A call
// of f means that there may be new rows in any of the tables. f must not block. OnWake must be
// called before Start.
func (e *Engine) OnWake(f func()) { e.wakers = append(e.wakers, f) }

// Start creates the tables and begins to run tasks. It returns a [chassi.Unavailable] error if the
// database is unavailable. It has no effect while the engine runs, so that each server that shares
// the engine may call it.
func (e *Engine) Start(ctx context.Context) error {
	e.lifecycle.Lock()
	defer e.lifecycle.Unlock()
	if e.stop != nil {
		return nil
	}
	if err := Migrate(ctx, e.db); err != nil {
		return err
	}
	if err := e.newSession(ctx); err != nil {
		return Unavailable(err)
	}
	e.mu.Lock()
	e.draining = false
	e.mu.Unlock()
	ctx, e.stop = context.WithCancel(context.Background())
	for _, loop := range []func(context.Context){e.conduct, e.maintain, e.listen, e.notify} {
		e.loops.Go(func() { loop(ctx) })
	}
	e.Wake()
	return nil
}

// Wake makes this node check for new work at once. [Engine.Notify] also wakes the other nodes.
func (e *Engine) Wake() {
	e.mu.Lock()
	e.woken++
	e.mu.Unlock()
	Signal(e.wakeup)
	for _, f := range e.wakers {
		f()
	}
}

// begin runs a claimed task in a new goroutine, unless this node has no queue for the task or has
// already begun to run it in the session s.
func (e *Engine) begin(s *session, r *run) {
	if r.queue = e.byName[r.Queue]; r.queue == nil {
		return // of a queue of an earlier version of the program
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	r.session, r.Began, r.cancel = s, time.Now(), cancel
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.running[r.ID]; known != nil && known.session == s {
		known.fence = r.fence // the server lost its last commits; the task runs already
		cancel(nil)
		return
	}
	e.running[r.ID], e.active[r] = r, struct{}{}
	r.queue.free--
	e.suspected = e.suspected || r.losses > 1
	if e.session != s {
		r.stop(ErrLeaseLost)
	}
	go e.run(e.watch(ctx, r), r, r.Task)
}

// run calls the function of the queue with t and adds r to the runs that have finished. t is a copy
// of the task in r, because [Engine.begin] may change the fencing token in r.
func (e *Engine) run(ctx context.Context, r *run, t Task) {
	r.Err = errExited
	defer func() {
		r.end(context.Cause(ctx))
		r.cancel(nil)
		r.Took = time.Since(r.Began)
		e.mu.Lock()
		delete(e.active, r)
		e.finished = append(e.finished, r)
		if r.deleted {
			e.keys = append(e.keys, Key{r.Queue, r.Key})
		}
		if r.overdue {
			e.logReturn(r)
		}
		e.mu.Unlock()
		Signal(e.wakeup)
	}()
	if !r.queue.Transactional {
		r.Err = call(ctx, r.queue.Run, &t)
		return
	}
	r.Err = e.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		n, err := tx.Exec(ctx, e.sql.done, t.ID, t.fence, r.session.id)
		switch {
		case err != nil:
			return err
		case n == 0:
			return ErrLeaseLost
		}
		again := t // the transaction may be retried
		return call(context.WithValue(ctx, txKey{}, tx), r.queue.Run, &again)
	})
	r.deleted = r.Err == nil
}

var errExited = errors.New("task: the function called runtime.Goexit")

// stop cancels the context of the function with the given cause. The caller must hold Engine.mu.
func (r *run) stop(cause error) {
	if now := time.Now(); r.ends.IsZero() || r.ends.After(now) {
		r.ends = now
	}
	r.cancel(cause)
}

// call calls f and returns its error. If f panics, call recovers the panic and returns it as an
// error.
func call(ctx context.Context, f func(context.Context, *Task) error, t *Task) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
		}
	}()
	return f(ctx, t)
}

// end sets the outcome of the run from its error. The argument cause is the [context.Cause] of the
// context of the run, or nil if the context is not done.
func (r *run) end(cause error) {
	switch {
	case r.Err == nil:
		return
	case errors.Is(r.Err, ErrLeaseLost):
		r.Outcome = lost
		return
	case errors.Is(cause, ErrDrained):
		r.Outcome = GivenBack
		return
	}
	r.Outcome, r.failure = Retry, chassi.ErrorOf(r.Err)
	if (transport.Queue{MaxAttempts: r.queue.Tries}).Classify(r.failure, r.Try) == transport.DeadLetter {
		r.Outcome = Dead
	}
}

type txKey struct{}

// Tx returns the transaction in which the engine runs a task of a transactional queue with ctx, or
// nil in any other context.
func Tx(ctx context.Context) *database.Tx {
	tx, _ := ctx.Value(txKey{}).(*database.Tx)
	return tx
}

// Once calls run with t, which need not be in a table, and returns the error of run. If
// transactional is true, it calls run in a transaction of db and returns the error of the
// transaction. It is intended for tests.
func Once(ctx context.Context, db *database.DB, transactional bool, run func(context.Context, *Task) error, t *Task) error {
	if !transactional {
		return run(ctx, t)
	}
	return db.Write(ctx, func(ctx context.Context, tx *database.Tx) error { return run(context.WithValue(ctx, txKey{}, tx), t) })
}

// Stop stops claiming tasks and waits for the tasks that are running. Shortly before the deadline
// of ctx, or when ctx is canceled, it cancels them with the cause [ErrDrained]; tasks that then do
// not succeed are given back, and the try is not counted. Stop returns an error if tasks do not
// return in time or cannot be given back. It is a no-op if the engine is not running.
func (e *Engine) Stop(ctx context.Context) error {
	e.lifecycle.Lock()
	defer e.lifecycle.Unlock()
	if e.stop == nil {
		return nil
	}
	e.mu.Lock()
	e.draining = true
	e.mu.Unlock()
	Signal(e.wakeup)
	left := e.drain(ctx)
	e.stop()
	e.stop = nil
	e.loops.Wait()
	ending, cancel := toEnd(ctx)
	defer cancel()
	if err := e.endSession(ending); err != nil {
		return fmt.Errorf("task: end the session: %w; tasks that did not end in time become available when the lease of the session expires", err)
	}
	if left > 0 {
		return fmt.Errorf("task: running tasks that did not end in time and were returned to their queues: %d", left)
	}
	return nil
}

// reserve is how long before the deadline of [Engine.Stop] running tasks are canceled. If less than
// twice this time is left, they are canceled after half of the time left. Canceled tasks have half of
// the time until the deadline to return; after that, they are given back. reserve is also the minimum
// timeout for ending the session.
const reserve = time.Second

// toEnd returns the context with which [Engine.Stop] ends the session. The context has the deadline
// of ctx, or a timeout of reserve if less time is left or ctx is done. Otherwise, if ctx has no
// deadline, only the timeout of the database applies. The context is not canceled with ctx, because
// tasks that are not given back have to wait until the lease expires.
func toEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	detached := context.WithoutCancel(ctx)
	ends, ok := ctx.Deadline()
	least := time.Now().Add(reserve)
	switch {
	case ctx.Err() != nil, ok && ends.Before(least):
		return context.WithDeadline(detached, least)
	case ok:
		return context.WithDeadline(detached, ends)
	}
	return detached, func() {}
}

// drain waits for the tasks that are running, and cancels them shortly before the deadline of ctx,
// or when ctx is canceled. It returns the number of tasks that are still running.
func (e *Engine) drain(ctx context.Context) (left int) {
	ends, ok := ctx.Deadline()
	if !ok {
		ends = time.Now().Add(100 * 365 * 24 * time.Hour)
	}
	before := min(reserve, time.Until(ends)/2)
	if left = e.wait(ctx, ends.Add(-before)); left > 0 {
		e.cancel(ErrDrained)
		left = e.wait(ctx, ends.Add(-before/2))
	}
	return left
}

// wait waits until no task is running, ctx is done, or the time given by until is reached. It returns
// the number of tasks that are still running.
func (e *Engine) wait(ctx context.Context, until time.Time) (left int) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		e.mu.Lock()
		left = len(e.running)
		e.mu.Unlock()
		if left == 0 || !Sleep(ctx, waitPoll) {
			return left
		}
	}
}

// waitPoll is the interval at which [Engine.Stop] checks whether tasks are still running.
const waitPoll = 5 * time.Millisecond
