package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/job"
)

// candidate is a system to measure.
type candidate struct {
	name string
	open opener
}

type opener func(ctx context.Context, dialect, url string) (system, error)

var systems = []candidate{
	{"chassi, jobs, 16 workers (default)", openJobs(16)},
	{"chassi, jobs, 100 workers", openJobs(100)},
	{"river, 100 workers, other defaults", openRiver(defaults)},
	{"chassi, jobs, 2000 workers", openJobs(2000)},
	{"chassi, events, 2000 workers", openEvents(2000)},
	{"river, 2000 workers, as in its benchmark", openRiver(asInItsBenchmark)},
}

// newDatabase creates a database. It returns the path of an SQLite database or the URL of a
// PostgreSQL database, and a function that removes the database.
func newDatabase(ctx context.Context, dialect, postgres string) (address string, remove func(), err error) {
	if dialect == "SQLite" {
		dir, err := os.MkdirTemp("", "river")
		return filepath.Join(dir, "bench.db"), func() { _ = os.RemoveAll(dir) }, err
	}
	u, err := url.Parse(postgres)
	if err != nil {
		return "", nil, err
	}
	server, err := sql.Open("pgx", postgres)
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprintf("bench_river_%d", rand.Uint64())
	if _, err := server.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	return u.String(), func() {
		_, _ = server.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		_ = server.Close()
	}, nil
}

// chassi is a system that runs its tasks as jobs or as events of chassi.
type chassi struct {
	db  *database.DB
	add func(ctx context.Context, tx *database.Tx, number int64) error
	run interface {
		Start(context.Context) error
		Stop(context.Context) error
	}
	work func(number int64)
}

var quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

type order struct {
	Number int64 `json:"number"`
}

func openChassi(ctx context.Context, dialect, url string) (*chassi, error) {
	if dialect == "SQLite" {
		url = "sqlite:" + url
	}
	db, err := database.Open(ctx, database.Config{URL: url})
	if err != nil {
		return nil, err
	}
	c := &chassi{db: db}
	for _, table := range tables {
		if _, err := db.Exec(ctx, table); err != nil {
			return nil, err
		}
	}
	return c, job.Migrate(ctx, db)
}

func openJobs(workers int) opener {
	return func(ctx context.Context, dialect, url string) (system, error) {
		c, err := openChassi(ctx, dialect, url)
		if err != nil {
			return nil, err
		}
		return c, c.addJobs(workers)
	}
}

func (c *chassi) addJobs(workers int) error {
	ship := job.New("ship", func(_ context.Context, o *order) error { c.work(o.Number); return nil }, job.Concurrency(workers))
	c.add = func(ctx context.Context, tx *database.Tx, number int64) error {
		_, err := ship.Enqueue(ctx, tx.DBTX(), &order{number})
		return err
	}
	server := job.NewServer(c.db, job.Options{Logger: quiet})
	c.run = server
	return server.Add(nil, ship)
}

func openEvents(workers int) opener {
	return func(ctx context.Context, dialect, url string) (system, error) {
		c, err := openChassi(ctx, dialect, url)
		if err != nil {
			return nil, err
		}
		return c, c.addEvents(workers)
	}
}

func (c *chassi) addEvents(workers int) error {
	ordered := event.NewTopic[order]("bench.v1.Ordered")
	c.add = func(ctx context.Context, tx *database.Tx, number int64) error {
		return ordered.Publish(ctx, tx, &order{number})
	}
	server := event.NewServer(c.db, event.Options{Logger: quiet})
	c.run = server
	if err := server.Publishes(ordered); err != nil {
		return err
	}
	return server.Add(event.Subscribe(ordered, "ship", func(_ context.Context, o *order) error { c.work(o.Number); return nil }, event.Concurrency(workers)))
}

func (c *chassi) transact(ctx context.Context, number int64, statements func(context.Context, querier) error) (attempts int, err error) {
	err = c.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		attempts++
		if err := statements(ctx, chassiTx{tx}); err != nil {
			return err
		}
		return c.add(ctx, tx, number)
	})
	return attempts, err
}

func (c *chassi) start(ctx context.Context, work func(int64)) error {
	c.work = work
	return c.run.Start(ctx)
}

func (c *chassi) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.run.Stop(ctx)
}

func (c *chassi) left(ctx context.Context) (n int, err error) {
	err = c.db.QueryRow(ctx, "SELECT (SELECT count(*) FROM chassi_tasks) + (SELECT count(*) FROM chassi_outbox)").Scan(&n)
	return n, err
}

func (c *chassi) close() { _ = c.db.Close() }

type chassiTx struct{ tx *database.Tx }

func (t chassiTx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.Exec(ctx, query, args...)
	return err
}

func (t chassiTx) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = t.tx.QueryRow(ctx, query, args...).Scan(&n)
	return n, err
}
