package job

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
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

// world is a database with a clock that the test sets, and nodes.
type world struct {
	t   *testing.T
	url string
	db  *database.DB
}

const clockTable = "(SELECT micro FROM test_clock)"

func newWorld(t *testing.T, url string, now time.Time) *world {
	t.Helper()
	w := &world{t: t, url: url, db: open(t, url)}
	w.exec("CREATE TABLE test_clock (micro BIGINT NOT NULL)")
	w.exec("INSERT INTO test_clock VALUES ($1)", now.UnixMicro())
	return w
}

func open(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url, QueryTimeout: patience})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), query, args...)
	must(w.t, err)
}

func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	must(w.t, w.db.QueryRow(w.t.Context(), query, args...).Scan(&n))
	return n
}

// eventually polls until f returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond) // each look also wakes the nodes
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %s", patience, what)
		}
		<-tick.C
	}
}

// node is an engine and a server.
type node struct {
	t      *testing.T
	engine *task.Engine
	server *Server
}

// node starts a node by the clock of the world.
func (w *world) node(jobs ...Definition) *node {
	w.t.Helper()
	return startNode(w.t, open(w.t, w.url), task.Options{Now: clockTable, Lease: 1000 * time.Hour}, nil, jobs...)
}

func startNode(t *testing.T, db *database.DB, engine task.Options, inner []chassi.Middleware, jobs ...Definition) *node {
	t.Helper()
	engine.Logger = quiet
	n := &node{t: t, engine: task.NewEngine(db, engine)}
	n.server = NewServer(db, Options{Logger: quiet, Engine: n.engine})
	must(t, n.server.Add(append([]chassi.Middleware{middleware.Recover(), middleware.Timeout(time.Second)}, inner...), jobs...))
	must(t, n.engine.Start(t.Context()))
	must(t, n.server.Start(t.Context()))
	t.Cleanup(func() { n.stop(patience) })
	return n
}

// stop stops the node, whose runs have that time to end.
func (n *node) stop(grace time.Duration) {
	n.t.Helper()
	if n.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	must(n.t, n.server.Stop(ctx))
	must(n.t, n.engine.Stop(ctx))
	n.server = nil
}

// set sets the clock, and waits until nothing is left to do.
func (w *world) set(now time.Time, nodes ...*node) {
	w.t.Helper()
	w.exec("UPDATE test_clock SET micro = $1", now.UnixMicro())
	w.settle(nodes...)
}

func (w *world) settle(nodes ...*node) {
	w.t.Helper()
	eventually(w.t, "nothing is left to do", func() bool {
		for _, n := range nodes {
			n.server.Wake()
			n.engine.Wake()
		}
		return w.count("SELECT count(*) FROM chassi_schedules WHERE expression <> '' AND next_run <= "+clockTable) == 0 &&
			w.count("SELECT count(*) FROM chassi_tasks WHERE state <> 1 OR due_at <= "+clockTable) == 0
	})
}

// ids collects the IDs of runs.
type ids struct {
	mu   sync.Mutex
	list []string
}

func (i *ids) run(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.list = append(i.list, RunFrom(ctx).ID)
	return nil
}

// are compares the runs of a job so far with scheduled times.
func (i *ids) are(t *testing.T, job string, want ...time.Time) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	var all []string
	for _, at := range want {
		all = append(all, job+"@"+at.UTC().Format(time.RFC3339))
	}
	got := slices.Clone(i.list)
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("runs %v, want %v", got, all)
	}
}

func at(hour, minute int) time.Time { return time.Date(2027, 5, 1, hour, minute, 0, 0, time.UTC) }

// Two nodes start each run once, in its order, whatever the database's clock does: it is set by
// an hour, forward and back.
func TestTwoNodesRunEachTimeOnce(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, at(9, 59))
		var hourly, often ids
		jobs := func() []Definition {
			return []Definition{Cron("hourly", "0 * * * *", hourly.run), Cron("often", "*/10 * * * *", often.run)}
		}
		a, b := w.node(jobs()...), w.node(jobs()...)
		var tens []time.Time
		for m := 0; m <= 60; m += 10 {
			w.set(at(10, m), a, b)
			tens = append(tens, at(10, m))
		}
		hourly.are(t, "hourly", at(10, 0), at(11, 0))
		w.set(at(12, 1), a, b) // forward
		w.set(at(11, 1), a, b) // back
		w.set(at(12, 1), a, b)
		hourly.are(t, "hourly", at(10, 0), at(11, 0), at(12, 0))
		w.set(at(12, 10), a, b)
		often.are(t, "often", append(tens, at(12, 0), at(12, 10))...)
	})
}

// The database's own clock, which is ahead by an hour, then right, then behind.
func TestTheDatabasesClockIsSet(t *testing.T) {
	t.Parallel()
	url, set := dbtest.PostgresWithClock(t)
	db := open(t, url)
	var runs ids
	n := startNode(t, db, task.Options{}, nil, Cron("often", "@every 1s", runs.run, Missed(All)))
	inOrder := func(what string, more int) {
		t.Helper()
		runs.mu.Lock()
		from := len(runs.list)
		runs.mu.Unlock()
		eventually(t, what, func() bool {
			n.server.Wake()
			runs.mu.Lock()
			defer runs.mu.Unlock()
			return len(runs.list) >= from+more
		})
	}
	inOrder("runs", 2)
	set(20 * time.Second)
	inOrder("runs of the time that was skipped", 20)
	set(0)
	n.server.Wake()
	set(30 * time.Second)
	inOrder("runs after the clock was set back and forward", 5)
	runs.mu.Lock()
	defer runs.mu.Unlock()
	for i := 1; i < len(runs.list); i++ {
		before, _ := time.Parse(time.RFC3339, strings.TrimPrefix(runs.list[i-1], "often@"))
		after, _ := time.Parse(time.RFC3339, strings.TrimPrefix(runs.list[i], "often@"))
		if after.Sub(before) != time.Second {
			t.Errorf("%s follows %s", runs.list[i], runs.list[i-1])
		}
	}
}

// A program that is restarted every 30 seconds runs its hourly job.
func TestRestartsLoseNoRun(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		now := at(10, 57).Add(10 * time.Second)
		w := newWorld(t, url, now)
		var runs ids
		for range 8 {
			n := w.node(Cron("hourly", "0 * * * *", runs.run))
			now = now.Add(30 * time.Second)
			w.set(now, n)
			n.stop(patience)
		}
		runs.are(t, "hourly", at(11, 0))
	})
}

// Runs that no node could start, by policy.
func TestMissedRunsAtAStart(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, at(9, 30))
		var once, skip, all, paused ids
		var order []string
		jobs := func() []Definition {
			return []Definition{
				Cron("once", "0 * * * *", once.run),
				Cron("skip", "0 * * * *", skip.run, Missed(Skip)),
				Cron("all", "0 * * * *", func(ctx context.Context) error {
					order = append(order, RunFrom(ctx).Scheduled.Format("15:04")) // runs never overlap
					return all.run(ctx)
				}, Missed(All), In("Europe/Lisbon")),
				Cron("paused", "0 * * * *", paused.run, Missed(All)),
			}
		}
		n := w.node(jobs()...)
		must(t, Pause(t.Context(), w.db, "paused"))
		n.stop(patience)
		w.exec("UPDATE test_clock SET micro = $1", at(14, 30).UnixMicro())
		n = w.node(jobs()...)
		w.settle(n)
		once.are(t, "once", at(14, 0))
		skip.are(t, "skip")
		all.are(t, "all", at(10, 0), at(11, 0), at(12, 0), at(13, 0), at(14, 0))
		paused.are(t, "paused")
		if want := []string{"11:00", "12:00", "13:00", "14:00", "15:00"}; !slices.Equal(order, want) {
			t.Errorf("in the order %v, want %v", order, want)
		}
		w.exec("UPDATE chassi_schedules SET paused = FALSE WHERE job = 'paused'")
		w.set(at(15, 0), n)
		skip.are(t, "skip", at(15, 0))
		paused.are(t, "paused", at(15, 0))
	})
}

// A job is paused, run while it is paused, and resumed, by the database's clock.
func TestPauseRunNowResume(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		ran := make(chan Run, 10)
		n := startNode(t, db, task.Options{}, nil,
			Cron("report", "0 4 1 1 *", func(ctx context.Context) error { ran <- RunFrom(ctx); return nil }, In("Europe/Lisbon")),
			New("mail", func(context.Context, *struct{}) error { return nil }))
		must(t, Pause(t.Context(), db, "report"))
		id, err := RunNow(t.Context(), db, "report", "{}")
		must(t, err)
		n.engine.Wake()
		if run := <-ran; run.ID != id || !run.Scheduled.IsZero() || run.Try != 1 {
			t.Errorf("%+v ran, want %s", run, id)
		}
		_, err = db.Exec(t.Context(), "UPDATE chassi_schedules SET next_run = next_run - 100000000000000 WHERE job = 'report'") // three years
		must(t, err)
		must(t, Resume(t.Context(), db, "report"))
		var list []Status
		eventually(t, "the run is recorded", func() bool {
			list, err = List(t.Context(), db)
			must(t, err)
			return len(list) == 2 && list[1].Last != nil
		})
		s := list[1]
		if s.Job != "report" || s.Paused || s.Overdue || !s.Next.After(time.Now()) || s.Next.Format("01-02 15:04 MST") != "01-01 04:00 WET" || s.Last.ID != id {
			t.Errorf("%+v, last %+v", s, s.Last)
		}
		n.server.Wake()
		if len(ran) != 0 {
			t.Error("a run of the pause took place")
		}
		for what, err := range map[string]error{"pause": Pause(t.Context(), db, "none"), "resume": Resume(t.Context(), db, "none")} {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s of an unknown job: %v", what, err)
			}
		}
		for argument, want := range map[string]error{"{}": ErrUnknown, "{": errArgument} {
			if id, err := RunNow(t.Context(), db, "none", argument); id != "" || !errors.Is(err, want) {
				t.Errorf("run of %q with %s: %q %v, want %v", "none", argument, id, err, want)
			}
		}
		if err := Pause(t.Context(), db, "mail"); chassi.ErrorOf(err).Reason != "no_schedule" {
			t.Errorf("pause of a job without a schedule: %v", err)
		}
	})
}

// A run that is due while an earlier one runs is skipped or waits.
func TestOverlappingRuns(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, at(9, 59))
		var skipped, queued ids
		began, release := make(chan string, 10), make(chan struct{})
		wait := func(i *ids) func(context.Context) error {
			return func(ctx context.Context) error {
				began <- RunFrom(ctx).ID
				<-release
				return i.run(ctx)
			}
		}
		jobs := func() []Definition {
			return []Definition{Cron("skip", "* * * * *", wait(&skipped)), Cron("queue", "* * * * *", wait(&queued), Overlap(Queue))}
		}
		a, b := w.node(jobs()...), w.node(jobs()...)
		for m := range 3 {
			w.exec("UPDATE test_clock SET micro = $1", at(10, m).UnixMicro())
			eventually(t, "the schedules move on", func() bool {
				a.server.Wake()
				b.server.Wake()
				return w.count("SELECT count(*) FROM chassi_schedules WHERE next_run <= "+clockTable) == 0
			})
		}
		for range 2 {
			<-began
		}
		if len(began) != 0 {
			t.Errorf("%s runs beside another run", <-began)
		}
		close(release)
		w.settle(a, b)
		skipped.are(t, "skip", at(10, 0))
		queued.are(t, "queue", at(10, 0), at(10, 1), at(10, 2))
		records, err := History(t.Context(), w.db, "skip")
		must(t, err)
		outcomes := make(map[string]string)
		for _, r := range records {
			outcomes[r.ID] = r.Outcome
		}
		for m, want := range []string{"succeeded", "skipped", "skipped"} {
			if id := "skip@" + at(10, m).Format(time.RFC3339); outcomes[id] != want {
				t.Errorf("%s: %q, want %q", id, outcomes[id], want)
			}
		}
	})
}

// The runs that wait are bounded.
func TestQueuedRunsAreBounded(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, at(9, 59))
		release := make(chan struct{})
		n := w.node(Cron("slow", "* * * * *", func(context.Context) error { <-release; return nil }, Missed(All)))
		defer close(release)
		for h := range 3 {
			w.exec("UPDATE test_clock SET micro = $1", at(11+h, 0).UnixMicro())
			eventually(t, "the schedule moves on", func() bool {
				n.server.Wake()
				return w.count("SELECT count(*) FROM chassi_schedules WHERE next_run <= "+clockTable) == 0
			})
		}
		if got := w.count("SELECT count(*) FROM chassi_tasks"); got != maxQueued {
			t.Errorf("%d runs wait, want %d", got, maxQueued)
		}
		if got := w.count("SELECT count(*) FROM chassi_runs"); got == 0 || got > kept {
			t.Errorf("%d runs are kept, want at most %d", got, kept)
		}
	})
}

// A run that starts does not make a transaction fail that ends another task, such as that of a
// transactional subscription.
func TestStartsDoNotConflict(t *testing.T) {
	t.Parallel()
	start := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	w := newWorld(t, dbtest.Postgres(t), start)
	n := w.node(Cron("job", "@every 1h", func(context.Context) error { return nil }))
	w.exec("INSERT INTO chassi_tasks (queue, uid, headers, body) VALUES ('other', 'a', '{}', '')")
	tries := 0
	must(t, w.db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		if tries++; tries > 1 {
			return nil
		}
		if _, err := tx.Exec(ctx, "DELETE FROM chassi_tasks WHERE uid = 'a'"); err != nil {
			return err
		}
		w.exec("UPDATE test_clock SET micro = $1", start.Add(time.Hour).UnixMicro())
		_, err := n.server.StartDue(t.Context())
		return err
	}))
	if tries != 1 {
		t.Error("the transaction had to be repeated")
	}
}

// A run whose end cannot be recorded at once keeps the time that it took.
func TestDurationIsKept(t *testing.T) {
	t.Parallel()
	const took = 300 * time.Millisecond
	db := open(t, dbtest.SQLite(t))
	must(t, Migrate(t.Context(), db))
	exec := func(query string) {
		t.Helper()
		_, err := db.Exec(t.Context(), query)
		must(t, err)
	}
	exec("CREATE TABLE test_fails (n INTEGER)")
	exec("INSERT INTO test_fails VALUES (1)")
	exec(`CREATE TRIGGER test_fail BEFORE INSERT ON chassi_runs WHEN EXISTS (SELECT 1 FROM test_fails) BEGIN SELECT RAISE(ABORT, 'fails'); END`)
	ended := make(chan struct{})
	startNode(t, db, task.Options{}, nil, New("job", func(context.Context, *struct{}) error {
		<-time.After(took)
		close(ended)
		return nil
	}))
	_, err := RunNow(t.Context(), db, "job", "{}")
	must(t, err)
	<-ended
	<-time.After(took) // the end is not recorded
	exec("DELETE FROM test_fails")
	eventually(t, "the run is recorded", func() bool {
		records, err := History(t.Context(), db, "job")
		must(t, err)
		if len(records) > 0 && records[0].Ended.Sub(records[0].Started) < took {
			t.Errorf("%+v took less than %v", records[0], took)
		}
		return len(records) > 0
	})
}

// Jitter delays starts by the same time on all nodes, and no run is lost.
func TestJitter(t *testing.T) {
	t.Parallel()
	d := Cron("spread", "* * * * *", func(context.Context) error { return nil }, Jitter(30*time.Second)).define()
	seen := make(map[time.Duration]bool)
	for m := range 100 {
		delay := d.delay(at(0, m))
		if delay < 0 || delay >= 30*time.Second || delay != d.delay(at(0, m)) {
			t.Fatalf("a delay of %v", delay)
		}
		seen[delay] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d delays in 100 runs", len(seen))
	}
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, at(9, 59))
		var runs ids
		n := w.node(Cron("spread", "* * * * *", runs.run, Jitter(30*time.Second)))
		w.exec("UPDATE test_clock SET micro = $1", at(10, 0).UnixMicro())
		n.server.Wake()
		w.exec("UPDATE test_clock SET micro = $1", at(10, 1).Add(-1).UnixMicro())
		w.settle(n)
		runs.are(t, "spread", at(10, 0))
	})
}

// A new expression takes effect when a node with it starts; nodes with the old one leave the job
// alone meanwhile, and take over when no other node starts its runs.
func TestChangedExpression(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWorld(t, url, at(9, 59))
		var first, second ids
		a := w.node(Cron("report", "0 * * * *", first.run))
		b := w.node(Cron("report", "30 * * * *", second.run))
		w.exec("UPDATE test_clock SET micro = $1", at(10, 30).UnixMicro())
		w.settle(a, b)
		runs := len(first.list) + len(second.list) // any node may carry out a run that the second has started
		if runs != 1 || w.count("SELECT count(*) FROM chassi_runs WHERE run_id = 'report@2027-05-01T10:30:00Z'") != 1 {
			t.Errorf("%d runs: %v, %v", runs, first.list, second.list)
		}
		b.stop(patience)
		w.set(at(11, 31), a)
		if n := w.count("SELECT count(*) FROM chassi_schedules WHERE expression = '0 * * * *'"); n != 1 {
			t.Error("the node with the old expression has not taken over")
		}
	})
}

// Enqueue takes part in the transaction, with database.Tx and sql.Tx.
func TestEnqueue(t *testing.T) {
	t.Parallel()
	type mail struct {
		To    string        `json:"to" validate:"required"`
		After time.Duration `json:"after"`
	}
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		got := make(chan string, 10)
		send := New("send-mail", func(ctx context.Context, m *mail) error {
			if id := chassi.CallFrom(ctx).In.Get(transport.IdempotencyKey); id != RunFrom(ctx).ID || id == "" {
				t.Errorf("the key is %q, the id %q", id, RunFrom(ctx).ID)
			}
			got <- fmt.Sprint(m.To, " ", m.After)
			return nil
		})
		startNode(t, db, task.Options{}, []chassi.Middleware{middleware.Validation()}, send)
		rollback := errors.New("roll back")
		err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			if _, err := send.Enqueue(ctx, tx, &mail{To: "nobody"}); err != nil {
				return err
			}
			return rollback
		})
		if !errors.Is(err, rollback) {
			t.Fatal(err)
		}
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := send.Enqueue(ctx, tx, &mail{To: "ada", After: time.Minute})
			return err
		}))
		if m := <-got; m != "ada 1m0s" {
			t.Errorf("got %q", m)
		}
		tx, err := db.SQL().BeginTx(t.Context(), nil)
		must(t, err)
		_, err = send.Enqueue(t.Context(), tx, &mail{To: "bob"}, At(time.Now().Add(-time.Hour)))
		must(t, errors.Join(err, tx.Commit()))
		if m := <-got; m != "bob 0s" {
			t.Errorf("got %q", m)
		}
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := send.Enqueue(ctx, tx, &mail{To: "later"}, At(time.Now().Add(time.Hour)))
			if err == nil {
				_, err = send.Enqueue(ctx, tx.DBTX(), &mail{}) // invalid
			}
			return err
		}))
		var n int
		eventually(t, "an invalid argument is a dead letter", func() bool {
			must(t, db.QueryRow(t.Context(), "SELECT count(*) FROM chassi_dead WHERE queue = 'job/send-mail' AND code = 'invalid_argument'").Scan(&n))
			return n == 1
		})
		must(t, db.QueryRow(t.Context(), "SELECT count(*) FROM chassi_tasks WHERE state = 1").Scan(&n))
		if n != 1 || len(got) != 0 {
			t.Errorf("%d runs wait, want that of in an hour; %d ran", n, len(got))
		}
	})
}

// Runs with one key exist once while one is waiting or running.
func TestUnique(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		began, release := make(chan string, 10), make(chan struct{})
		j := New("sync", func(ctx context.Context, _ *struct{}) error {
			began <- RunFrom(ctx).ID
			<-release
			return nil
		})
		startNode(t, db, task.Options{}, nil, j)
		enqueue := func(options ...EnqueueOption) (id string) {
			t.Helper()
			must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) (err error) {
				id, err = j.Enqueue(ctx, tx, new(struct{}), options...)
				return err
			}))
			return id
		}
		var all sync.WaitGroup
		found := make([]string, 8)
		for i := range found {
			all.Go(func() { found[i] = enqueue(Unique("a")) })
		}
		all.Wait()
		for _, id := range found {
			if id != found[0] || id == "" {
				t.Fatalf("ids %v, want one", found)
			}
		}
		if id := <-began; id != found[0] {
			t.Errorf("%s runs, want %s", id, found[0])
		}
		if id := enqueue(Unique("a")); id != found[0] {
			t.Errorf("%s beside the running %s", id, found[0])
		}
		if other, none := enqueue(Unique("b")), enqueue(); other == found[0] || none == found[0] {
			t.Error("another key, or none, is the same run")
		}
		close(release)
		eventually(t, "a new run when the first has ended", func() bool { return enqueue(Unique("a")) != found[0] })
	})
}

// The engine of events is started and stopped by whoever is the first.
func TestSharedEngine(t *testing.T) {
	t.Parallel()
	db := open(t, dbtest.SQLite(t))
	must(t, Migrate(t.Context(), db))
	_, err := db.Exec(t.Context(), "INSERT INTO chassi_schedules (job, expression, zone, next_run, paused) VALUES ('report', '@hourly', 'UTC', 0, FALSE)")
	must(t, err)
	ran := make(chan string, 1)
	engine := task.NewEngine(db, task.Options{Logger: quiet})
	server := NewServer(db, Options{Logger: quiet, Engine: engine})
	must(t, server.Add(nil, Cron("report", "@hourly", func(ctx context.Context) error { ran <- RunFrom(ctx).ID; return nil })))
	must(t, server.Start(t.Context()))
	must(t, engine.Start(t.Context()))
	<-ran
	must(t, server.Stop(t.Context()))
	must(t, engine.Stop(t.Context()))
}

// A run of a node that stops completes in the grace period, or is given back.
func TestStopDuringARun(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		began, release, causes := make(chan Run, 10), make(chan struct{}), make(chan error, 10)
		jobs := func() []Definition {
			return []Definition{
				Cron("completes", "0 0 1 1 *", func(ctx context.Context) error { began <- RunFrom(ctx); <-release; return ctx.Err() }),
				Cron("stays", "0 0 1 1 *", func(ctx context.Context) error {
					began <- RunFrom(ctx)
					<-ctx.Done()
					causes <- context.Cause(ctx)
					return ctx.Err()
				}, Endpoint(chassi.Timeout(time.Hour))),
			}
		}
		n := startNode(t, db, task.Options{}, nil, jobs()...)
		for _, job := range []string{"completes", "stays"} {
			_, err := RunNow(t.Context(), db, job, "{}")
			must(t, err)
			n.engine.Wake()
			<-began
		}
		close(release)
		n.stop(2 * time.Second)
		if cause := <-causes; !errors.Is(cause, ErrDrained) {
			t.Errorf("the cause is %v", cause)
		}
		for job, want := range map[string]string{"completes": "succeeded", "stays": "given back"} {
			if records, err := History(t.Context(), db, job); err != nil || len(records) != 1 || records[0].Outcome != want {
				t.Errorf("%s: %+v, %v, want %s", job, records, err, want)
			}
		}
		n = startNode(t, open(t, url), task.Options{}, nil, jobs()...)
		if run := <-began; !strings.HasPrefix(run.ID, "stays@") || run.Try != 1 {
			t.Errorf("%+v, want the first try of stays", run)
		}
		n.stop(2 * time.Second)
	})
}

// A node that has lost its lease cancels its runs.
func TestLostLeaseEndsTheContext(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		began, causes := make(chan struct{}, 10), make(chan error, 10)
		n := startNode(t, db, task.Options{Lease: 3 * time.Second, Poll: 20 * time.Millisecond}, nil,
			Cron("report", "0 0 1 1 *", func(ctx context.Context) error {
				began <- struct{}{}
				if RunFrom(ctx).Try > 1 {
					return nil
				}
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return ctx.Err()
			}, Endpoint(chassi.Timeout(time.Hour))))
		_, err := RunNow(t.Context(), db, "report", "{}")
		must(t, err)
		n.engine.Wake()
		<-began
		_, err = db.Exec(t.Context(), "DELETE FROM chassi_leases")
		must(t, err)
		if cause := <-causes; !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("the cause is %v", cause)
		}
		<-began
		eventually(t, "the second try is recorded", func() bool {
			records, err := History(t.Context(), db, "report")
			must(t, err)
			return len(records) == 1 && records[0].Outcome == "succeeded"
		})
	})
}

// A panic is a failed try.
func TestPanicsAndFailures(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		n := startNode(t, db, task.Options{}, nil,
			Cron("panics", "0 0 1 1 *", func(context.Context) error { panic("boom") }, Tries(1)),
			Cron("fails", "0 0 1 1 *", func(context.Context) error { return errors.New("no luck") }))
		for _, job := range []string{"panics", "fails"} {
			_, err := RunNow(t.Context(), db, job, "{}")
			must(t, err)
		}
		n.engine.Wake()
		for job, want := range map[string]string{"panics": "dead: boom", "fails": "failed: no luck"} {
			outcome, text, _ := strings.Cut(want, ": ")
			eventually(t, job+" is recorded", func() bool {
				records, err := History(t.Context(), db, job)
				must(t, err)
				return len(records) == 1 && records[0].Outcome == outcome && strings.Contains(records[0].Error, text)
			})
		}
	})
}

// poisonURL is the variable with the database of a process that a job ends.
const poisonURL = "CHASSI_TEST_POISON"

// A job that ends its process becomes a dead letter after five processes; its neighbors run.
func TestPoison(t *testing.T) {
	t.Parallel()
	o := task.Options{Lease: 1500 * time.Millisecond, Poll: 20 * time.Millisecond}
	if url := os.Getenv(poisonURL); url != "" {
		startNode(t, open(t, url), o, nil, Cron("poison", "0 0 1 1 *", func(context.Context) error { os.Exit(7); return nil }))
		<-t.Context().Done()
	}
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		none := New("neighbor", func(context.Context, *struct{}) error { return nil })
		idle := startNode(t, db, o, nil, none, Cron("poison", "0 0 1 1 *", func(context.Context) error { return nil }))
		idle.stop(patience)
		id, err := RunNow(t.Context(), db, "poison", "{}")
		must(t, err)
		for range 5 { // twice beside others, and then three times alone
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPoison$")
			cmd.Env = append(os.Environ(), poisonURL+"="+url)
			var exit *exec.ExitError
			if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		_, err = RunNow(t.Context(), db, "neighbor", "{}")
		must(t, err)
		startNode(t, open(t, url), o, nil, none, Cron("poison", "0 0 1 1 *", func(context.Context) error { t.Error("it ran again"); return nil }))
		eventually(t, "the poison is a dead letter and its neighbor has run", func() bool {
			poison, err := History(t.Context(), db, "poison")
			must(t, err)
			neighbor, err := History(t.Context(), db, "neighbor")
			must(t, err)
			return len(poison) == 1 && poison[0].ID == id && poison[0].Outcome == "dead" && len(neighbor) == 1 && neighbor[0].Outcome == "succeeded"
		})
	})
}

func TestInvalidJobs(t *testing.T) {
	t.Parallel()
	db := open(t, dbtest.SQLite(t))
	run := func(context.Context) error { return nil }
	for want, d := range map[string]Definition{
		`job "1" has an invalid name`:                   Cron("1", "0 0 * * *", run),
		`cron expression "x"`:                           Cron("a", "x", run),
		`unknown time zone "Mars/Olympus"`:              Cron("a", "0 0 * * *", run, In("Mars/Olympus")),
		`other than Once, Skip and All`:                 Cron("a", "0 0 * * *", run, Missed(Queue)),
		`other than Skip and Queue`:                     Cron("a", "0 0 * * *", run, Overlap(All)),
		`jitter of -1ns`:                                Cron("a", "0 0 * * *", run, Jitter(-1)),
		`has a concurrency of 0`:                        Cron("a", "0 0 * * *", run, Concurrency(0)),
		`has 0 tries`:                                   Cron("a", "0 0 * * *", run, Tries(0)),
		`has an option that is nil`:                     Cron("a", "0 0 * * *", run, nil),
		`has no method`:                                 Cron("a", "0 0 * * *", nil),
		`needs a schedule`:                              New("a", func(context.Context, *struct{}) error { return nil }, In("UTC")),
		`takes int, not a struct`:                       New("a", func(context.Context, *int) error { return nil }),
		`endpoint a has a timeout that is not positive`: Cron("a", "0 0 * * *", run, Endpoint(chassi.Timeout(0))),
	} {
		err := NewServer(db, Options{}).Add(nil, d)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	twice := []Definition{Cron("a", "0 0 * * *", run), Cron("a", "0 0 * * *", run)}
	if err := NewServer(db, Options{}).Add(nil, twice...); err == nil || !strings.Contains(err.Error(), `two jobs are named "a"`) {
		t.Errorf("%v", err)
	}
}

var _ Tx = (*sql.Tx)(nil)
