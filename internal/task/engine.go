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
	Lease  time.Duration // after which others take over the tasks of a node; default 30 s, renewed at a third
	Poll   time.Duration // interval of looking for work that no notification announced; default 1 s

	// Now is the SQL expression of the time, which a test may replace; default that of [Now].
	Now string

	// DeadLettered is called for each task that became a dead letter. It may be nil.
	DeadLettered func(queue string)
}

// Engine runs the tasks of its queues. It is a [chassi.Component].
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
	started chan struct{} // closed by Start

	advance   []Key         // keys whose first task may begin; the conductor's
	isolation time.Duration // how long a suspect runs alone at most

	stop  context.CancelFunc // of all goroutines but the handlers
	loops sync.WaitGroup

	stats Cache[Stats]

	mu        sync.Mutex
	session   *session // never nil after Start
	finished  []finished
	running   map[int64]*run
	suspected bool   // whether suspects may wait; then nothing else begins
	woken     uint64 // counts wakes
	reconcile bool   // whether an unknown commit may have claimed tasks
	draining  bool
	idle      chan struct{} // closed when draining and nothing runs
}

// Queue is a queue of tasks and the function that runs them.
type Queue struct {
	Name string

	// Run runs a task. Its context ends with the cause [ErrLeaseLost] or [ErrDrained].
	Run func(ctx context.Context, t *Task) error

	// Transactional calls Run within [database.DB.Write]: the transaction, which [Tx] returns,
	// also deletes the task. Run may be called more than once for one try.
	Transactional bool

	Concurrency int           // tasks that this node runs at the same time; default 16
	Tries       int           // default 12
	Delay       time.Duration // after the first failed try, doubled for each further one; default 1 s
	MaxDelay    time.Duration // default 15 min

	// Ending returns further statements for the transaction that ends tries, before the rows of
	// the tasks are changed. They are executed even if the lease was lost meanwhile: their
	// condition must be that chassi_tasks has a row with [Task.Fence]. It may be nil.
	Ending func([]Ended) []database.Statement
}

// Ended is the end of a try.
type Ended struct {
	*Task

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
)

// queue is a Queue with its state. Its mutable fields belong to the conductor.
type queue struct {
	Queue

	free int
	dry  uint64 // the count of wakes at which a claim found no more tasks; 0 if there may be more
}

// run is a claimed task.
type run struct {
	task    *Task
	queue   *queue
	suspect bool
	began   time.Time
	session *session
	cancel  context.CancelCauseFunc
}

// finished is a run whose function has returned.
type finished struct {
	*run
	err     error
	took    time.Duration
	deleted bool // by its own transaction
	drained bool
}

// NewEngine returns an engine for the tables in db.
func NewEngine(db *database.DB, o Options) *Engine {
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Now = cmp.Or(o.Now, Now(db.Dialect()))
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.DeadLettered == nil {
		o.DeadLettered = func(string) {}
	}
	return &Engine{
		db: db, o: o, isolation: o.Lease / 6, byName: make(map[string]*queue), running: make(map[int64]*run),
		outages: outage.New(o.Logger, slog.LevelWarn, "tasks: the database cannot be used, trying again", "tasks: the database can be used again"),
		wakeup:  make(chan struct{}, 1), sent: make(chan struct{}, 1), woken: 1, idle: make(chan struct{}), started: make(chan struct{}),
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
	q.Concurrency, q.Tries = cmp.Or(q.Concurrency, 16), cmp.Or(q.Tries, 12)
	q.Delay, q.MaxDelay = cmp.Or(q.Delay, time.Second), cmp.Or(q.MaxDelay, 15*time.Minute)
	own := &queue{Queue: q, free: q.Concurrency}
	e.queues, e.byName[q.Name] = append(e.queues, own), own
	return nil
}

// DB returns the database of the tables.
func (e *Engine) DB() *database.DB { return e.db }

// Now returns [Options].Now.
func (e *Engine) Now() string { return e.o.Now }

// OnWake makes f be called when there may be new rows in any of the tables, which is also every
// second. f must not block. OnWake must be called before Start.
func (e *Engine) OnWake(f func()) { e.wakers = append(e.wakers, f) }

// Name returns "tasks".
func (*Engine) Name() string { return "tasks" }

var errDatabase = chassi.NewError(chassi.Unavailable, "database_unavailable", "The database cannot be used")

// Start creates the tables, and begins to run tasks.
func (e *Engine) Start(ctx context.Context) error {
	e.sql = newStatementsAt(e.o.Now, e.db.Dialect(), e.o.Lease, len(e.queues))
	err := Migrate(ctx, e.db)
	if err == nil {
		err = e.newSession(ctx)
	}
	if database.IsUnavailable(err) {
		return errDatabase.WithCause(err)
	}
	if err != nil {
		return err
	}
	ctx, e.stop = context.WithCancel(context.Background())
	for _, loop := range []func(context.Context){e.conduct, e.maintain, e.listen, e.notify} {
		e.loops.Go(func() { loop(ctx) })
	}
	close(e.started)
	e.Wake()
	return nil
}

// Started returns a channel that is closed when Start has succeeded. Until then only Handle,
// OnWake, OnCommit and Stats may be called.
func (e *Engine) Started() <-chan struct{} { return e.started }

// Wake makes this node look for new work. See also [Engine.Notify].
func (e *Engine) Wake() {
	e.mu.Lock()
	e.woken++
	e.mu.Unlock()
	e.signal()
	for _, f := range e.wakers {
		f()
	}
}

func (e *Engine) signal() {
	select {
	case e.wakeup <- struct{}{}:
	default:
	}
}

// begin runs a claimed task in a goroutine.
func (e *Engine) begin(s *session, q *queue, r *row) {
	ctx, cancel := context.WithCancelCause(context.Background())
	run := &run{task: &r.Task, queue: q, suspect: r.suspicion > 0, began: time.Now(), session: s, cancel: cancel}
	e.mu.Lock()
	if known := e.running[r.ID]; known != nil && known.session == s {
		known.task.fence = r.fence // the server lost its last commits; the task runs already
		e.mu.Unlock()
		cancel(nil)
		return
	}
	e.running[r.ID] = run
	q.free--
	e.suspected = e.suspected || run.suspect
	lost := e.session != s
	e.mu.Unlock()
	if lost {
		cancel(ErrLeaseLost)
	}
	go e.run(ctx, run)
}

// run calls the function of the queue.
func (e *Engine) run(ctx context.Context, r *run) {
	f := finished{run: r}
	defer func() {
		r.cancel(nil)
		f.took = time.Since(r.began)
		e.mu.Lock()
		e.finished = append(e.finished, f)
		e.mu.Unlock()
		e.signal()
	}()
	f.err = errExited
	if r.queue.Transactional {
		f.err = e.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			if n, err := tx.Exec(ctx, e.sql.done, r.task.ID, r.fence(), r.session.id); err != nil || n == 0 {
				return errors.Join(err, unless(n == 1, ErrLeaseLost))
			}
			return call(context.WithValue(ctx, txKey{}, tx), r)
		})
		f.deleted = f.err == nil
	} else {
		f.err = call(ctx, r)
	}
	f.drained = f.err != nil && errors.Is(context.Cause(ctx), ErrDrained)
}

var errExited = errors.New("task: the function ended its goroutine")

func unless(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

func (r *run) fence() int64 { return r.task.fence }

// call calls the function and recovers its panic.
func call(ctx context.Context, r *run) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
		}
	}()
	t := *r.task
	return r.queue.Run(ctx, &t)
}

type txKey struct{}

// Tx returns the transaction of a task of a transactional queue, or nil.
func Tx(ctx context.Context) *database.Tx {
	tx, _ := ctx.Value(txKey{}).(*database.Tx)
	return tx
}

// Once runs a task that is in no table, for tests.
func Once(ctx context.Context, db *database.DB, transactional bool, run func(context.Context, *Task) error, t *Task) error {
	if !transactional {
		return run(ctx, t)
	}
	return db.Write(ctx, func(ctx context.Context, tx *database.Tx) error { return run(context.WithValue(ctx, txKey{}, tx), t) })
}

// Stop claims nothing more and waits for the tasks that run. When the time of ctx is almost over
// it cancels them, and gives those that do not succeed back without counting the try.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	e.draining = true
	e.checkIdle()
	e.mu.Unlock()
	e.signal()
	left := e.drain(ctx)
	e.stop()
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

// reserve is how long before the end of a stop tasks are canceled. They have half of it to
// return; then they are given back.
const reserve = time.Second

// drain waits for the tasks that run. It returns how many are left.
func (e *Engine) drain(ctx context.Context) (left int) {
	canceling, returning := ctx, ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		before := min(reserve, time.Until(deadline)/2)
		canceling, cancel = context.WithDeadline(ctx, deadline.Add(-before))
		defer cancel()
		returning, cancel = context.WithDeadline(ctx, deadline.Add(-before/2))
		defer cancel()
	}
	select {
	case <-e.idle:
		return 0
	case <-canceling.Done():
	}
	e.mu.Lock()
	for _, r := range e.running {
		r.cancel(ErrDrained)
	}
	e.mu.Unlock()
	select {
	case <-e.idle:
	case <-returning.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.running)
}
