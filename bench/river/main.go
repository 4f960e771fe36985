// Command river compares the jobs and events of chassi with the jobs of River (riverqueue.com) on
// the same machine, with the same databases and work. It prints a table for docs/performance.md.
//
//	go -C bench/river run -mod=mod . -postgres postgres://postgres@127.0.0.1:5432/postgres
//
// It is a separate module, so that chassi does not depend on River.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// system is a queue and its database.
type system interface {
	// transact runs statements and then adds a task with the given number, in one serializable
	// transaction. It returns the number of attempts, including retries.
	transact(ctx context.Context, number int64, statements func(context.Context, querier) error) (attempts int, err error)
	// start starts the workers, which call work for each task.
	start(ctx context.Context, work func(number int64)) error
	stop(ctx context.Context) error
	// left returns the number of tasks in the database that are not completed.
	left(ctx context.Context) (int, error)
	close()
}

// querier runs statements in a transaction.
type querier interface {
	exec(ctx context.Context, query string, args ...any) error
	number(ctx context.Context, query string, args ...any) (int64, error)
}

// tables contains the statements that create and fill the tables to which the measured transactions
// write.
var tables = []string{
	"CREATE TABLE orders (id BIGINT PRIMARY KEY, account BIGINT NOT NULL)",
	"CREATE TABLE accounts (id BIGINT PRIMARY KEY, orders BIGINT NOT NULL)",
	fmt.Sprintf("WITH RECURSIVE n (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n WHERE id < %d) INSERT INTO accounts (id, orders) SELECT id, 0 FROM n", accounts-1),
	"ANALYZE accounts",
}

// accounts is the number of rows of the table accounts. Each producer uses an equal share of the
// rows, so no two producers change the same row. The queue or a false conflict is therefore the cause
// of each retry of a transaction.
const accounts = 16000

type settings struct {
	tasks, producers, rounds int
	rate                     int
	duration                 time.Duration
}

func main() {
	var s settings
	postgres := flag.String("postgres", "", "URL of a database in which databases may be created; empty to leave PostgreSQL out")
	sqlite := flag.Bool("sqlite", true, "measure SQLite")
	flag.IntVar(&s.tasks, "tasks", 10000, "tasks of each measurement")
	flag.IntVar(&s.producers, "producers", 8, "transactions at the same time")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds, interleaved; the medians are printed")
	flag.IntVar(&s.rate, "rate", 100, "tasks per second while the latency is measured")
	flag.DurationVar(&s.duration, "duration", 4*time.Second, "how long the latency is measured")
	only := flag.String("only", "", "measure only this system")
	flag.Parse()
	if err := run(context.Background(), s, *postgres, *sqlite, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings, postgres string, sqlite bool, only string) error {
	fmt.Println("| database | system | tasks/s of a backlog | transactions/s alone | transactions/s with workers | latency p50, ms | p99, ms | repeated, % alone | % with workers |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, dialect := range []string{"SQLite", "PostgreSQL"} {
		if dialect == "SQLite" && !sqlite || dialect == "PostgreSQL" && postgres == "" {
			continue
		}
		results := make([][]result, len(systems))
		for range s.rounds {
			for i, candidate := range systems {
				if only != "" && only != candidate.name {
					continue
				}
				r, err := measure(ctx, s, dialect, postgres, candidate)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", candidate.name, dialect, err)
				}
				results[i] = append(results[i], r)
			}
		}
		for i, candidate := range systems {
			if len(results[i]) > 0 {
				m := medians(results[i])
				fmt.Printf("| %s | %s | %.0f | %.0f | %.0f | %.1f | %.1f | %.2f | %.2f |\n", dialect, candidate.name, m[0], m[1], m[2], m[3], m[4], m[5], m[6])
			}
		}
	}
	return nil
}

// result contains the numbers in one row of the table, from left to right.
type result [7]float64

func medians(results []result) (m result) {
	for i := range m {
		values := make([]float64, len(results))
		for j, r := range results {
			values[j] = r[i]
		}
		slices.Sort(values)
		m[i] = values[len(values)/2]
	}
	return m
}

// measure measures a system in a new database and returns its row of the table.
func measure(ctx context.Context, s settings, dialect, postgres string, c candidate) (r result, err error) {
	url, remove, err := newDatabase(ctx, dialect, postgres)
	if err != nil {
		return r, err
	}
	defer remove()
	sys, err := c.open(ctx, dialect, url)
	if err != nil {
		return r, err
	}
	defer sys.close()
	b := &bench{settings: s, system: sys}
	if r[5], _, err = b.produce(ctx, s.tasks/2, b.countOrder); err != nil {
		return r, err
	}
	if _, r[1], err = b.produce(ctx, s.tasks, insertOrder); err != nil {
		return r, err
	}
	if r[0], err = b.backlog(ctx); err != nil {
		return r, err
	}
	if r[6], _, err = b.produce(ctx, s.tasks/2, b.countOrder); err != nil {
		return r, err
	}
	if _, r[2], err = b.produce(ctx, s.tasks, insertOrder); err != nil {
		return r, err
	}
	if err = b.settled(ctx); err != nil {
		return r, err
	}
	r[3], r[4], err = b.latency(ctx)
	return r, errors.Join(err, sys.stop(ctx))
}

// bench runs the measurements of one system.
type bench struct {
	settings
	system

	next   atomic.Int64
	worked atomic.Int64
	first  atomic.Pointer[time.Time] // when the first task of the backlog began

	mu     sync.Mutex
	begun  map[int64]time.Time // when each order of the latency measurement had been inserted
	waited []time.Duration
}

// insertOrder inserts an order. A transaction of this statement alone conflicts with no other
// transaction.
func insertOrder(ctx context.Context, tx querier, _ int, number int64) error {
	return tx.exec(ctx, "INSERT INTO orders (id, account) VALUES ($1, $2)", number, number%accounts)
}

// countOrder inserts an order and counts it in a random account of the producer.
func (b *bench) countOrder(ctx context.Context, tx querier, producer int, number int64) error {
	share := int64(accounts / b.producers)
	account := int64(producer)*share + rand.Int64N(share)
	n, err := tx.number(ctx, "SELECT orders FROM accounts WHERE id = $1", account)
	if err != nil {
		return err
	}
	if err := tx.exec(ctx, "UPDATE accounts SET orders = $1 WHERE id = $2", n+1, account); err != nil {
		return err
	}
	return insertOrder(ctx, tx, producer, number)
}

// produce runs n transactions, with all producers concurrently. It returns the number of
// retries as a percentage of n, and the number of transactions per second.
func (b *bench) produce(ctx context.Context, n int, statements func(context.Context, querier, int, int64) error) (repeated, perSecond float64, err error) {
	var attempts, left atomic.Int64
	left.Store(int64(n))
	errs := make([]error, b.producers)
	began := time.Now()
	var all sync.WaitGroup
	for i := range b.producers {
		all.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				number := b.next.Add(1)
				var tries int
				tries, errs[i] = b.transact(ctx, number, func(ctx context.Context, tx querier) error { return statements(ctx, tx, i, number) })
				attempts.Add(int64(tries))
			}
		})
	}
	all.Wait()
	return 100 * float64(attempts.Load()-int64(n)) / float64(n), float64(n) / time.Since(began).Seconds(), errors.Join(errs...)
}

func (b *bench) work(number int64) {
	if b.worked.Add(1); b.first.Load() == nil {
		now := time.Now()
		b.first.CompareAndSwap(nil, &now)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, ok := b.begun[number]; ok {
		b.waited = append(b.waited, time.Since(at))
		delete(b.begun, number)
	}
}

// backlog starts the workers and returns the number of tasks that they process per second, from the
// start of the first task until all tasks are completed.
func (b *bench) backlog(ctx context.Context) (float64, error) {
	n, err := b.left(ctx)
	if err != nil {
		return 0, err
	}
	b.first.Store(nil)
	if err := b.start(ctx, b.work); err != nil {
		return 0, err
	}
	err = b.settled(ctx)
	return float64(n) / time.Since(*b.first.Load()).Seconds(), err
}

// settled waits until all tasks are completed.
func (b *bench) settled(ctx context.Context) error {
	for {
		if b.worked.Load() >= b.next.Load() {
			if n, err := b.left(ctx); err != nil || n == 0 {
				return err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// latency returns two percentiles, in ms, of the time from the insertion of an order to the start
// of the task of its transaction, at a steady rate. The insertion of the task and the commit are
// part of that time.
func (b *bench) latency(ctx context.Context) (p50, p99 float64, err error) {
	b.mu.Lock()
	b.begun, b.waited = make(map[int64]time.Time), nil
	b.mu.Unlock()
	tick := time.NewTicker(time.Second / time.Duration(b.rate))
	defer tick.Stop()
	for range int(b.duration.Seconds() * float64(b.rate)) {
		<-tick.C
		number := b.next.Add(1)
		_, err := b.transact(ctx, number, func(ctx context.Context, tx querier) error {
			err := insertOrder(ctx, tx, 0, number)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.begun[number] = time.Now()
			return err
		})
		if err != nil {
			return 0, 0, err
		}
	}
	err = b.settled(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.Sort(b.waited)
	at := func(share float64) float64 {
		return float64(b.waited[int(share*float64(len(b.waited)-1))].Microseconds()) / 1000
	}
	return at(0.5), at(0.99), err
}
