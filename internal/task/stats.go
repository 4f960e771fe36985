package task

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Stats describes the tasks and dead letters of all programs that use the database, for metrics.
type Stats struct {
	Tasks  map[string]float64 // by state: "ready", "waiting", "blocked", "running"
	Dead   map[string]float64 // dead letters by queue
	Oldest time.Duration      // age of the oldest task that is ready
}

var stateNames = [...]string{"ready", "waiting", "blocked", "running", "ready"}

// Stats counts the rows, see [Cache].
func (e *Engine) Stats() Stats { return e.stats.Get(e.count) }

func (e *Engine) count(ctx context.Context) (st Stats, err error) {
	err = e.db.Read(ctx, func(ctx context.Context, tx *database.Tx) error {
		st = Stats{Tasks: make(map[string]float64), Dead: make(map[string]float64)}
		for _, name := range stateNames {
			st.Tasks[name] = 0
		}
		var oldest int64
		err := tx.QueryRow(ctx, "SELECT coalesce("+e.o.Now+` - min(CASE WHEN due_at > created_at THEN due_at ELSE created_at END), 0)
			FROM chassi_tasks WHERE state IN (0, 4)`).Scan(&oldest)
		st.Oldest = time.Duration(max(oldest, 0)) * time.Microsecond
		return errors.Join(err,
			Counts(ctx, tx, "SELECT state, count(*) FROM chassi_tasks GROUP BY state", func(state int, n int64) {
				if state >= 0 && state < len(stateNames) { // another version may have more
					st.Tasks[stateNames[state]] += float64(n)
				}
			}),
			Counts(ctx, tx, "SELECT queue, count(*) FROM chassi_dead GROUP BY queue", func(queue string, n int64) { st.Dead[queue] = float64(n) }))
	})
	return st, err
}

// Counts calls f for each row of a query, which has a key and a number.
func Counts[K any](ctx context.Context, q database.Querier, query string, f func(K, int64)) error {
	return Rows(ctx, q, func(c database.Cursor) error {
		var key K
		var n int64
		err := c.Scan(&key, &n)
		f(key, n)
		return err
	}, query)
}

// Rows calls f for each row of a query.
func Rows(ctx context.Context, q database.Querier, f func(database.Cursor) error, query string, args ...any) error {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := f(rows); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// cacheAge is how long the value of a [Cache] is kept.
const cacheAge = 10 * time.Second

// Cache keeps a value for ten seconds, and longer while the database is unavailable.
type Cache[T any] struct {
	mu    sync.Mutex
	at    time.Time
	value T
}

// Get returns the value, which count computes.
func (c *Cache[T]) Get(count func(context.Context) (T, error)) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) > cacheAge {
		ctx, cancel := context.WithTimeout(context.Background(), cacheAge/4)
		defer cancel()
		if value, err := count(ctx); err == nil {
			c.at, c.value = time.Now(), value
		}
	}
	return c.value
}
