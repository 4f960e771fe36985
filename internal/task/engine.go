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

// Causes of the end of a task's context.
var (
	// ErrLeaseLost means that another node may run the task.
	ErrLeaseLost = errors.New("task: the lease is lost; another node may run the task")
	// ErrDrained means that the node stops. The task is given back and this try is not counted.
	ErrDrained = errors.New("task: the node stops; the task is given back")
)

// Options configures an [Engine]. Zero fields mean their defaults.
type Options struct {
	Logger *slog.Logger
	Lease  time.Duration // after which other nodes take over the tasks of a lost node; default 30 s, renewed at a third
	Poll   time.Duration // interval of looking for work that no notification announced; default 1 s

	// Now is the SQL expression for the current time, which a test may replace. The default is that
	// of the function [Now].
	Now string

	// Observe counts each "dead_letter".
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
	wakers  []func() // called for each notification
	sent    chan struct{}
	wakeup  chan struct{}

	isolation    time.Duration // the maximum time for which a suspect runs alone
	overdueAfter time.Duration // see the constant
	swept        time.Time     // when sweep was last called; used only by maintain

	lifecycle sync.Mutex         // held by Start and Stop
	stop      context.CancelFunc // of all goroutines but the handlers; nil before Start and after Stop
	loops     sync.WaitGroup

	mu        sync.Mutex
	session   *session          // never nil after Start
	running   map[int64]*run    // runs that are not settled, by the id of the task
	active    map[*run]struct{} // runs whose function has not returned
	finished  []*run            // runs whose function has returned, for the next turn
	keys      []Key             // keys of ended tasks, whose next tasks may begin
	suspected bool              // whether suspects may wait; then nothing else begins
	woken     uint64            // counts wakes
	reconcile bool              // whether an unknown commit may have claimed tasks
	draining  bool
}

// Queue is a queue of tasks and the function that runs them.
type Queue struct {
	Name string

	// Run runs a task. If the engine cancels its context, the cause is [ErrLeaseLost] or
	// [ErrDrained].
	Run func(ctx context.Context, t *Task) error

	// Transactional makes the engine call Run within [database.DB.Write]: the transaction, which
	// [Tx] returns, also deletes the task. Run may be called more than once for one try.
	Transactional bool

	Concurrency int           // tasks that this node runs at the same time; default [DefaultConcurrency]
	Tries       int           // default 12
	Delay       time.Duration // after the first failed try, doubled for each further one up to 15 min; default 1 s

	// Ending returns further statements for the transaction that ends tries of the queue, which
	// precede the changes to the rows of the tasks. They are executed even if the lease was lost
	// meanwhile: their condition must be that chassi_tasks has a row with [Task.Fence]. Ending may
	// be nil. It is not called for tasks that their own transactions have deleted.
	Ending func([]Ended) []database.Statement
}

// DefaultConcurrency is the default of [Queue].Concurrency.
const DefaultConcurrency = 16

// Ended is the end of a try.
type Ended struct {
	Task

	Began   time.Time
	Outcome Outcome
	Err     error
	Took    time.Duration
}

// Outcome is how a try ended.
type Outcome int

// The outcomes of a try.
const (
	Done Outcome = iota
	Retry
	Dead
	GivenBack // the node stops; the try is not counted
	lost      // another node has the task
)

// queue is a Queue with its state. Its mutable fields belong to the conductor.
type queue struct {
	Queue

	free int    // how many further tasks may begin
	dry  uint64 // the count of wakes at which a claim found no more tasks; 0 if there may be more
}

// run is a claimed task.
type run struct {
	Ended

	losses  int // how often in succession its lease was lost
	queue   *queue
	session *session
	cancel  context.CancelCauseFunc
	failure *chassi.Error // of the outcomes Retry and Dead
	deleted bool          // by its own transaction
	ends    time.Time     // when the context of the function ends or has ended, if that is known; with the engine's lock
	overdue bool          // whether it is logged that the function does not return; with the engine's lock
}

func (r *run) fields() []any {
	return []any{&r.ID, &r.Queue, &r.UID, &r.Key, &r.Try, &r.losses, &r.fence, (*Headers)(&r.Headers), &r.Body, (*Time)(&r.Created)}
}

// NewEngine returns an engine for the tables in db.
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

// Handle adds a queue. It must be called before Start.
func (e *Engine) Handle(q Queue) error {
	switch {
	case q.Name == "" || q.Run == nil:
		return fmt.Errorf("task: queue %q needs a name and a function", q.Name)
	case e.byName[q.Name] != nil:
		return fmt.Errorf("task: two queues are called %q", q.Name)
	}
	q.Concurrency, q.Tries, q.Delay = cmp.Or(q.Concurrency, DefaultConcurrency), cmp.Or(q.Tries, 12), cmp.Or(q.Delay, time.Second)
	own := &queue{Queue: q, free: q.Concurrency}
	e.queues, e.byName[q.Name] = append(e.queues, own), own
	return nil
}

// DB returns the database of the tables.
func (e *Engine) DB() *database.DB { return e.db }

// Now returns the SQL expression for the current time, see [Options].Now.
func (e *Engine) Now() string { return e.o.Now }

// OnWake registers a function that is called when there may be new rows in any of the tables, and
// also at the interval [Options].Poll. f must not block. OnWake must be called before Start.
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
	ctx, e.stop = context.WithCancel(context.Background())
	for _, loop := range []func(context.Context){e.conduct, e.maintain, e.listen, e.notify} {
		e.loops.Go(func() { loop(ctx) })
	}
	e.Wake()
	return nil
}

// Wake makes this node look for new work. See also [Engine.Notify].
func (e *Engine) Wake() {
	e.mu.Lock()
	e.woken++
	e.mu.Unlock()
	Signal(e.wakeup)
	for _, f := range e.wakers {
		f()
	}
}

// begin runs a claimed task in a goroutine, unless this node has no queue for the task or runs it
// already.
func (e *Engine) begin(s *session, r *run) {
	if r.queue = e.byName[r.Queue]; r.queue == nil {
		return // of a queue of an earlier program
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

// run calls the function of the queue, and adds the run to those that have finished. T is a copy,
// because the conductor may change the fence.
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
		again := t // the transaction may be repeated
		return call(context.WithValue(ctx, txKey{}, tx), r.queue.Run, &again)
	})
	r.deleted = r.Err == nil
}

var errExited = errors.New("task: the function ended its goroutine")

// stop cancels the context of the function. It is called with the engine's lock.
func (r *run) stop(cause error) {
	if now := time.Now(); r.ends.IsZero() || r.ends.After(now) {
		r.ends = now
	}
	r.cancel(cause)
}

// call calls the function and recovers its panic.
func call(ctx context.Context, f func(context.Context, *Task) error, t *Task) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
		}
	}()
	return f(ctx, t)
}

// end sets the outcome of the run from its error. Cause is the cause of the end of the context, or
// nil if the context has not ended.
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

// Tx returns the transaction in which a task of a transactional queue is run with ctx, or nil.
func Tx(ctx context.Context) *database.Tx {
	tx, _ := ctx.Value(txKey{}).(*database.Tx)
	return tx
}

// Once calls run with a task that is in no table, in a transaction if transactional is true. It is
// for tests.
func Once(ctx context.Context, db *database.DB, transactional bool, run func(context.Context, *Task) error, t *Task) error {
	if !transactional {
		return run(ctx, t)
	}
	return db.Write(ctx, func(ctx context.Context, tx *database.Tx) error { return run(context.WithValue(ctx, txKey{}, tx), t) })
}

// Stop claims no more tasks and waits for the tasks that run. Shortly before the deadline of ctx it
// cancels them, and gives those that do not succeed back without counting the try. It returns an
// error if tasks did not return in time. Only the first call has an effect.
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
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), reserve)
	defer cancel()
	if err := e.endSession(ending); err != nil {
		return fmt.Errorf("tasks: cannot be given back now; they are when the lease ends: %w", err)
	}
	if left > 0 {
		return fmt.Errorf("tasks: %d did not return in time and were given back", left)
	}
	return nil
}

// reserve is how long before the deadline of a stop tasks are canceled. They have half of this time
// to return; then they are given back.
const reserve = time.Second

// drain waits for the tasks that run, and cancels them shortly before the deadline of ctx. It
// returns the number of tasks that are left.
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

// wait waits until no task runs, ctx ends or the time until comes. It returns the number of tasks
// that are left.
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

// waitPoll is the interval at which a stop checks whether tasks still run.
const waitPoll = 5 * time.Millisecond
