package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for a condition on a slow machine.
const patience = 30 * time.Second

var quiet = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url, QueryTimeout: patience})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// start starts an engine with the queues. It is stopped at the end of the test, unless it was.
func start(t testing.TB, db *database.DB, o Options, queues ...Queue) *Engine {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	e := NewEngine(db, o)
	for _, q := range queues {
		must(t, e.Handle(q))
	}
	must(t, e.Start(t.Context()))
	t.Cleanup(func() {
		e.mu.Lock()
		stopped := e.draining
		e.mu.Unlock()
		if !stopped {
			must(t, e.Stop(context.Background()))
		}
	})
	return e
}

// add inserts tasks in one transaction.
func add(t testing.TB, db *database.DB, e *Engine, tasks ...New) {
	t.Helper()
	must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		for _, n := range tasks {
			if _, err := Insert(ctx, tx, n); err != nil {
				return err
			}
		}
		if e != nil {
			e.OnCommit(tx)
		}
		return nil
	}))
	var keys []Key
	for _, n := range tasks {
		if n.Key != "" {
			keys = append(keys, Key{n.Queue, n.Key})
		}
	}
	if e != nil {
		must(t, e.Advance(t.Context(), keys...))
	}
}

// eventually polls until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %s", patience, what)
		}
		<-tick.C
	}
}

func count(t testing.TB, db *database.DB, query string, args ...any) (n int) {
	t.Helper()
	must(t, db.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

func empty(t testing.TB, db *database.DB) func() bool {
	return func() bool { return count(t, db, "SELECT count(*) FROM chassi_tasks") == 0 }
}

// seen counts the runs of tasks by uid, and keeps their order.
type seen struct {
	mu    sync.Mutex
	count map[string]int
	order []string
}

func (s *seen) add(uid string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = make(map[string]int)
	}
	s.count[uid]++
	s.order = append(s.order, uid)
	return s.count[uid]
}

// ran reports whether a task has run.
func (s *seen) ran(uid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[uid] > 0
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Each task runs once, on two nodes.
func TestTasksRunOnce(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		var s seen
		q := Queue{Name: "q", Run: func(_ context.Context, task *Task) error { s.add(task.UID); return nil }}
		db := open(t, url)
		first := start(t, db, Options{}, q)
		start(t, open(t, url), Options{}, q)
		for i := range 10 {
			var tasks []New
			for j := range 50 {
				tasks = append(tasks, New{Queue: "q", UID: strconv.Itoa(i*50 + j), Body: []byte("body")})
			}
			add(t, db, first, tasks...)
		}
		eventually(t, "the queue is empty", empty(t, db))
		if len(s.count) != 500 || len(s.order) != 500 {
			t.Errorf("%d tasks of 500 ran %d times", len(s.count), len(s.order))
		}
	})
}

// A failed task runs again with growing delays and becomes a dead letter at last; a permanent
// error makes it one at once.
func TestRetryAndDeadLetter(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		var s seen
		db := open(t, url)
		e := start(t, db, Options{Poll: 10 * time.Millisecond}, Queue{
			Name: "q", Tries: 3, Delay: time.Millisecond,
			Run: func(_ context.Context, task *Task) error {
				n := s.add(task.UID)
				if n != task.Try {
					t.Errorf("try %d of %s is number %d", task.Try, task.UID, n)
				}
				switch {
				case task.UID == "permanent":
					return chassi.NewError(chassi.NotFound, "gone", "It is gone")
				case task.UID == "panics":
					panic("boom")
				case task.UID == "recovers" && n == 2:
					return nil
				}
				return errors.New("fails")
			},
		})
		add(t, db, e, New{Queue: "q", UID: "permanent"}, New{Queue: "q", UID: "panics"}, New{Queue: "q", UID: "recovers"}, New{Queue: "q", UID: "fails"})
		eventually(t, "the queue is empty", empty(t, db))
		for uid, want := range map[string]int{"permanent": 1, "panics": 3, "recovers": 2, "fails": 3} {
			if s.count[uid] != want {
				t.Errorf("%s ran %d times, want %d", uid, s.count[uid], want)
			}
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_dead WHERE uid IN ('permanent', 'panics', 'fails')"); n != 3 {
			t.Errorf("%d dead letters, want 3", n)
		}
	})
}

// An error may delay the next try, as long as the longest delay of all. Its RetryAfter may be that
// of another service, whose error it is.
func TestRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		e := start(t, db, Options{Poll: 10 * time.Millisecond}, Queue{
			Name: "q", Tries: 3, Delay: time.Millisecond,
			Run: func(_ context.Context, task *Task) error {
				after, _ := time.ParseDuration(task.UID)
				return chassi.NewError(chassi.Unavailable, "busy", "Busy").WithRetryAfter(after)
			},
		})
		add(t, db, e, New{Queue: "q", UID: "10m"}, New{Queue: "q", UID: "24h"}, New{Queue: "q", UID: "2000000h"})
		eventually(t, "all tasks wait", func() bool { return count(t, db, "SELECT count(*) FROM chassi_tasks WHERE state = 1") == 3 })
		for uid, want := range map[string]time.Duration{"10m": 10 * time.Minute, "24h": maxDelay, "2000000h": maxDelay} {
			var left int64 // how long it waits
			must(t, db.QueryRow(t.Context(), "SELECT due_at - created_at FROM chassi_tasks WHERE uid = $1", uid).Scan(&left))
			if d := time.Duration(left) * time.Microsecond; d < want || d > want+patience {
				t.Errorf("%s waits for %v, want %v", uid, d, want)
			}
		}
	})
}

// A time that has no number of microseconds, which may come from a client, does not stop others.
func TestExtremeTimes(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		var s seen
		q := Queue{Name: "q", Run: func(_ context.Context, task *Task) error { s.add(task.UID); return nil }}
		db := open(t, url)
		e := start(t, db, Options{Poll: 10 * time.Millisecond}, q)
		early := time.UnixMilli(math.MinInt64 / 1000)
		add(t, db, e, New{Queue: "q", UID: "early", Due: early}, New{Queue: "q", UID: "soon", Due: time.Now().Add(50 * time.Millisecond)})
		eventually(t, "the queue is empty", empty(t, db))
		if _, err := Insert(t.Context(), nil, New{Queue: "q", UID: "late", Due: time.UnixMilli(math.MaxInt64)}); err == nil {
			t.Error("a task that is never due is inserted")
		}
	})
}

// The tasks of a key run one after the other in order, on two nodes, also if they fail; others
// are not delayed.
func TestKeysKeepTheirOrder(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		const keys, each = 20, 10
		var mu sync.Mutex
		got := make(map[string][]string)
		active := make(map[string]bool)
		q := Queue{Name: "q", Delay: time.Millisecond, Tries: 100, Run: func(_ context.Context, task *Task) error {
			mu.Lock()
			defer mu.Unlock()
			if active[task.Key] {
				t.Errorf("two tasks of %s run", task.Key)
			}
			if (task.ID+int64(task.Try))%7 == 0 {
				return errors.New("fails at random")
			}
			got[task.Key] = append(got[task.Key], task.UID)
			return nil
		}}
		db := open(t, url)
		first := start(t, db, Options{Poll: 20 * time.Millisecond}, q)
		start(t, open(t, url), Options{Poll: 20 * time.Millisecond}, q)
		for i := range each {
			var tasks []New
			for k := range keys {
				tasks = append(tasks, New{Queue: "q", UID: strconv.Itoa(i), Key: fmt.Sprint("key", k)})
			}
			add(t, db, first, tasks...)
		}
		eventually(t, "the queue is empty", empty(t, db))
		for k, uids := range got {
			for i, uid := range uids {
				if uid != strconv.Itoa(i) {
					t.Errorf("%s: %v", k, uids)
					break
				}
			}
		}
		if len(got) != keys {
			t.Errorf("%d keys, want %d", len(got), keys)
		}
	})
}

// The next task of a key begins when the one before it has ended, not when the node polls.
func TestNextOfAKeyBeginsAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		for name, transactional := range map[string]bool{"simple": false, "transactional": true} {
			db := open(t, url)
			e := start(t, db, Options{Poll: time.Hour, Lease: 10 * time.Hour}, Queue{
				Name: name, Transactional: transactional, Run: func(context.Context, *Task) error { return nil },
			})
			var tasks []New
			for i := range 50 {
				tasks = append(tasks, New{Queue: name, UID: strconv.Itoa(i), Key: "a"})
			}
			add(t, db, e, tasks...)
			eventually(t, "the queue is empty", empty(t, db))
		}
	})
}

// A state of a later version does not end the metrics of the others.
func TestStatsWithAnUnknownState(t *testing.T) {
	t.Parallel()
	db := open(t, dbtest.SQLite(t))
	e := start(t, db, Options{})
	_, err := db.Exec(t.Context(), "INSERT INTO chassi_tasks (queue, uid, headers, body, state) VALUES ('q', 'a', '{}', x'', 9), ('q', 'b', '{}', x'', 2)")
	must(t, err)
	if counts := e.Gauges()[0].Values(); counts["blocked"] != 1 {
		t.Errorf("counted %v", counts)
	}
}

// Many keys that a dead letter holds do not keep another one waiting that a crash has left blocked.
func TestSweepBesideHeldKeys(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		var s seen
		db := open(t, url)
		must(t, Migrate(t.Context(), db))
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			for i := range 1500 {
				if _, err := tx.Exec(ctx, `INSERT INTO chassi_dead (id, queue, uid, key, hold, tries, lost, headers, body, code, reason, error, created_at, died_at)
					VALUES ($1, 'q', 'dead', $2, TRUE, 1, 0, '{}', $3, '', '', '', 0, 0)`, -1-i, fmt.Sprintf("held-%04d", i), []byte{}); err != nil {
					return err
				}
				if _, err := Insert(ctx, tx, New{Queue: "q", UID: "held", Key: fmt.Sprintf("held-%04d", i)}); err != nil {
					return err
				}
			}
			_, err := Insert(ctx, tx, New{Queue: "q", UID: "left", Key: "left"})
			return err
		}))
		start(t, db, Options{Poll: 10 * time.Millisecond, Lease: 3 * time.Second}, Queue{Name: "q", Run: func(_ context.Context, task *Task) error {
			s.add(task.UID)
			return nil
		}})
		eventually(t, "the key that was left is handled", func() bool { return count(t, db, "SELECT count(*) FROM chassi_tasks WHERE uid = 'left'") == 0 })
		if s.count["held"] > 0 {
			t.Errorf("%d held tasks ran", s.count["held"])
		}
	})
}

// The loss of a lease is logged once, however long the database is away.
func TestLostLeaseIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	db := open(t, dbtest.SQLite(t))
	e := NewEngine(db, Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	must(t, Migrate(t.Context(), db))
	e.sql = newStatements(e.o.Now, db.Dialect(), e.o.Lease)
	must(t, e.newSession(t.Context()))
	e.session.renewed = time.Now().Add(-time.Hour)
	must(t, db.Close())
	for range 3 {
		if err := e.renew(t.Context()); err == nil {
			t.Error("the lease is renewed")
		}
	}
	if n := strings.Count(out.String(), "lost its lease"); n != 1 {
		t.Errorf("logged %d times: %s", n, out.String())
	}
}

// At the end of a stop, a task that runs is given back and its try is not counted.
func TestDrainGivesBack(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		began := make(chan error, 10)
		e := start(t, db, Options{}, Queue{Name: "q", Run: func(ctx context.Context, _ *Task) error {
			began <- nil
			<-ctx.Done()
			began <- context.Cause(ctx)
			return ctx.Err()
		}})
		add(t, db, e, New{Queue: "q", UID: "a"})
		<-began
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		must(t, e.Stop(ctx))
		if cause := <-began; !errors.Is(cause, ErrDrained) {
			t.Errorf("the cause is %v", cause)
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_tasks WHERE state = 0 AND tries = 0 AND lost = 0"); n != 1 {
			t.Error("the task was not given back")
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_leases"); n != 0 {
			t.Error("the session was not ended")
		}
	})
}

// kill ends the goroutines of a node without giving anything back.
func (e *Engine) kill() {
	e.mu.Lock()
	e.draining = true
	e.mu.Unlock()
	e.stop()
	e.loops.Wait()
}

// The tasks of a node that does not renew its lease run elsewhere, and what the first node does
// later changes nothing. A suspect whose lease is lost three times is a dead letter.
func TestLostLease(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		o := Options{Lease: 300 * time.Millisecond, Poll: 10 * time.Millisecond}
		release := make(chan struct{})
		defer close(release)
		for lost := range 1 + maxLost {
			var s seen
			began := make(chan *Task, 10)
			e := start(t, open(t, url), o, Queue{Name: "q", Run: func(_ context.Context, task *Task) error {
				s.add(task.UID)
				began <- task
				<-release
				return nil
			}})
			if lost == 0 {
				add(t, db, e, New{Queue: "q", UID: "poison"})
			}
			if task := <-began; task.Try != lost+1 {
				t.Errorf("try %d after %d lost leases", task.Try, lost)
			}
			e.kill()
		}
		var s seen
		e := start(t, db, o, Queue{Name: "q", Run: func(_ context.Context, task *Task) error { s.add(task.UID); return nil }})
		add(t, db, e, New{Queue: "q", UID: "neighbor"})
		eventually(t, "the poison is a dead letter", func() bool {
			return count(t, db, "SELECT count(*) FROM chassi_dead WHERE reason = 'poison' AND lost = 5") == 1
		})
		eventually(t, "the queue is empty", empty(t, db))
		if len(s.order) != 1 || s.order[0] != "neighbor" {
			t.Errorf("%v ran", s.order)
		}
	})
}

// Tasks whose node ended once run again beside each other, and beside others.
func TestOneLossDelaysNothing(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		const tasks = 10
		db := open(t, url)
		o := Options{Lease: 300 * time.Millisecond, Poll: 10 * time.Millisecond}
		began, release := make(chan struct{}, tasks), make(chan struct{})
		defer close(release)
		lost := start(t, open(t, url), o, Queue{Name: "q", Run: func(context.Context, *Task) error {
			began <- struct{}{}
			<-release
			return nil
		}})
		for i := range tasks {
			add(t, db, lost, New{Queue: "q", UID: strconv.Itoa(i)})
		}
		for range tasks {
			<-began
		}
		lost.kill()
		var running sync.WaitGroup
		running.Add(tasks + 1)
		e := NewEngine(db, Options{Logger: quiet, Lease: o.Lease, Poll: o.Poll})
		e.isolation = time.Hour
		must(t, e.Handle(Queue{Name: "q", Run: func(context.Context, *Task) error {
			running.Done()
			running.Wait()
			return nil
		}}))
		must(t, e.Start(t.Context()))
		defer e.kill()
		add(t, db, e, New{Queue: "q", UID: "new"})
		eventually(t, "all tasks run at the same time", empty(t, db))
	})
}

// Tasks that end the process become dead letters. A task that takes long and runs each time that
// a new one of those arrives is handled, and so are all others.
func TestPoisonAndItsNeighbors(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		const neighbors = 10
		db := open(t, url)
		dies, release := make(chan struct{}, 100), make(chan struct{})
		defer close(release)
		var handled seen
		var poisons atomic.Int64
		for deaths := 0; ; deaths++ {
			wakes := make(chan struct{})
			var e *Engine
			q := Queue{Name: "q", Run: func(_ context.Context, task *Task) error {
				switch {
				case strings.HasPrefix(task.UID, "poison"):
					dies <- struct{}{}
					<-release
				case task.UID == "slow":
					add(t, db, e, New{Queue: "q", UID: fmt.Sprint("poison", poisons.Add(1))})
					for range 20 { // in which the poison would begin
						select {
						case <-wakes:
						case <-release:
							return nil
						}
					}
				}
				handled.add(task.UID)
				return nil
			}}
			e = NewEngine(open(t, url), Options{Logger: quiet, Lease: time.Second, Poll: 10 * time.Millisecond})
			e.isolation = time.Minute
			must(t, e.Handle(q))
			e.OnWake(func() {
				select {
				case wakes <- struct{}{}:
				default:
				}
			})
			must(t, e.Start(t.Context()))
			if deaths == 0 {
				add(t, db, e, New{Queue: "q", UID: "slow"})
				for i := range neighbors {
					add(t, db, e, New{Queue: "q", UID: fmt.Sprint("neighbor", i)})
				}
			}
			isEmpty := false
			eventually(t, "the process ends, or nothing is left", func() bool {
				isEmpty = empty(t, db)()
				return isEmpty || len(dies) > 0
			})
			if isEmpty {
				must(t, e.Stop(t.Context()))
				if most := int(poisons.Load()) * (1 + maxLost); deaths > most {
					t.Errorf("%d deaths by %d poisonous tasks, want at most %d", deaths, poisons.Load(), most)
				}
				break
			}
			<-dies
			e.kill()
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_dead WHERE uid LIKE 'poison%' AND reason = 'poison'"); n != int(poisons.Load()) {
			t.Errorf("%d dead letters of %d poisonous tasks", n, poisons.Load())
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_dead"); n != int(poisons.Load()) || len(handled.count) != neighbors+1 {
			t.Errorf("%d dead letters; %v were handled", n, handled.count)
		}
	})
}

// A process that lives and loses its lease again and again makes no task poison.
func TestLostLeasesOfALiveProcess(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		// A busy machine must be able to keep a lease.
		e := start(t, db, Options{Lease: time.Second, Poll: 10 * time.Millisecond}, Queue{Name: "q", Run: func(ctx context.Context, task *Task) error {
			if task.Try > 2+maxLost {
				return nil
			}
			if _, err := db.Exec(ctx, "DELETE FROM chassi_leases"); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}})
		add(t, db, e, New{Queue: "q", UID: "a"})
		eventually(t, "the queue is empty", empty(t, db))
		if n := count(t, db, "SELECT count(*) FROM chassi_dead"); n > 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// A task that was canceled because the lease could not be renewed runs again if no other node has
// taken it over.
func TestRevivedSession(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	db, err := database.Open(t.Context(), database.Config{URL: url, QueryTimeout: 500 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	began, canceled := make(chan int, 10), make(chan error, 10)
	e := start(t, db, Options{Lease: time.Second, Poll: 10 * time.Millisecond}, Queue{Name: "q", Run: func(ctx context.Context, task *Task) error {
		began <- task.Try
		if task.Try > 1 || len(began) > 1 {
			return nil
		}
		<-ctx.Done()
		canceled <- context.Cause(ctx)
		return context.Cause(ctx)
	}})
	add(t, db, e, New{Queue: "q", UID: "a"})
	eventually(t, "the task begins", func() bool { return len(began) == 1 })
	lock, err := open(t, url).SQL().Conn(t.Context())
	must(t, err)
	defer lock.Close()
	_, err = lock.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	must(t, err)
	if err := <-canceled; !errors.Is(err, ErrLeaseLost) {
		t.Errorf("canceled by %v", err)
	}
	_, err = lock.ExecContext(t.Context(), "ROLLBACK")
	must(t, err)
	eventually(t, "the queue is empty", empty(t, db))
	if len(began) != 2 {
		t.Errorf("the task began %d times", len(began))
	}
}

// Neither a queue with one place nor a key waits for the next look at the tables.
func TestNoWaitBetweenTasks(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		e := start(t, db, Options{Poll: patience},
			Queue{Name: "narrow", Concurrency: 1, Run: func(context.Context, *Task) error { return nil }},
			Queue{Name: "ordered", Run: func(context.Context, *Task) error { return nil }})
		var tasks []New
		for i := range 5 {
			tasks = append(tasks, New{Queue: "narrow", UID: strconv.Itoa(i)}, New{Queue: "ordered", UID: strconv.Itoa(i), Key: "a"})
		}
		add(t, db, e, tasks...)
		eventually(t, "the queues are empty", empty(t, db))
	})
}

// Nodes share the leases of a group evenly, whoever comes first, and the leases of a session that
// has ended are free again.
func TestShare(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		const n = 5
		db := open(t, url)
		first, second := start(t, db, Options{Poll: 10 * time.Millisecond}), start(t, open(t, url), Options{Poll: 10 * time.Millisecond})
		share := func(e *Engine, want int) {
			t.Helper()
			owned, session, err := e.Share(t.Context(), "group", n)
			must(t, err)
			if len(owned) != want || count(t, db, "SELECT count(*) FROM chassi_leases WHERE name LIKE 'group/%' AND owner = $1", session) != want {
				t.Errorf("%v are owned, want %d of them", owned, want)
			}
		}
		share(first, n)
		share(second, 0)
		share(first, 3)
		share(second, 2)
		share(first, 3)
		_, err := db.Exec(t.Context(), "UPDATE chassi_leases SET owner = 'ended' WHERE name IN ('group/0', 'group/4')")
		must(t, err)
		eventually(t, "the leases are free", func() bool { return count(t, db, "SELECT count(*) FROM chassi_leases WHERE owner = 'ended'") == 0 })
		must(t, second.Stop(t.Context()))
		share(first, n)
		for range 2 {
			for _, similar := range []string{"a_b", "axb", "AXB", "a_b-node"} {
				if owned, _, err := first.Share(t.Context(), similar, 1); err != nil || len(owned) != 1 {
					t.Errorf("%v of %s are owned, %v", owned, similar, err)
				}
			}
		}
		if got := count(t, db, "SELECT count(*) FROM chassi_leases WHERE name LIKE '%/0'"); got != 5 {
			t.Errorf("%d leases have the number 0", got)
		}
	})
}

// A task whose numbers of tries and of lost leases are the largest that a column takes neither stops
// others nor runs for ever.
func TestMostTries(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		must(t, Migrate(t.Context(), db))
		_, err := db.Exec(t.Context(), `INSERT INTO chassi_tasks (queue, uid, state, owner, tries, lost, headers, body) VALUES
			('q', 'tried', 0, '', 2147483647, 0, '{}', $1), ('q', 'almost', 0, '', 2147483646, 0, '{}', $1), ('q', 'lost', 3, 'gone', 2147483647, 2147483647, '{}', $1)`, []byte{})
		must(t, err)
		var s seen
		e := start(t, db, Options{Poll: 10 * time.Millisecond, Lease: 3 * time.Second}, Queue{Name: "q", Run: func(_ context.Context, task *Task) error {
			if s.add(task.UID); task.UID == "neighbor" {
				return nil
			}
			return errors.New("fails")
		}})
		add(t, db, e, New{Queue: "q", UID: "neighbor"})
		eventually(t, "the queue is empty", empty(t, db))
		letters, err := DeadLetters(t.Context(), db, Selection{})
		must(t, err)
		if len(letters) != 3 || s.count["neighbor"] != 1 || s.count["tried"] != 1 || s.count["almost"] != 1 || s.count["lost"] != 0 {
			t.Errorf("%v ran; dead letters: %+v", s.count, letters)
		}
		for _, d := range letters {
			if d.Tries != math.MaxInt32 || d.UID == "lost" && d.Lost != math.MaxInt32 {
				t.Errorf("%s after %d tries and %d lost leases", d.UID, d.Tries, d.Lost)
			}
		}
	})
}
