package event

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Stats describes the tables of events and jobs, for metrics.
type Stats struct {
	OldestUnrelayed time.Duration            // age of the oldest event that was not relayed
	Tasks           map[string]float64       // by state: "ready", "waiting", "blocked", "running"
	Dead            map[string]float64       // dead letters by subscription or job
	Unserved        map[string]time.Duration // since no program has served the subscription
}

// statsAge is how long Stats are cached.
const statsAge = 10 * time.Second

type statsCache struct {
	mu    sync.Mutex
	at    time.Time
	stats Stats
}

var stateNames = [...]string{"ready", "waiting", "blocked", "running", "ready"}

// Stats counts the rows. It counts at most every ten seconds, and returns the last counts while
// the database is unavailable.
func (s *Server) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	if time.Since(s.stats.at) > statsAge {
		ctx, cancel := context.WithTimeout(context.Background(), statsAge/4)
		defer cancel()
		if stats, err := s.count(ctx); err == nil {
			s.stats.at, s.stats.stats = time.Now(), stats
		}
	}
	return s.stats.stats
}

func (s *Server) count(ctx context.Context) (Stats, error) {
	st := Stats{
		Tasks: map[string]float64{"ready": 0, "waiting": 0, "blocked": 0, "running": 0},
		Dead:  make(map[string]float64), Unserved: make(map[string]time.Duration),
	}
	var oldest int64
	err := s.db.Read(ctx, func(ctx context.Context, tx *database.Tx) error {
		if err := tx.QueryRow(ctx, s.sql.oldest).Scan(&oldest); err != nil {
			return err
		}
		for name := range st.Tasks {
			st.Tasks[name] = 0
		}
		return errors.Join(
			counts(ctx, tx, "SELECT state, count(*) FROM chassi_tasks GROUP BY state", func(state int, n int64) { st.Tasks[stateNames[state]] += float64(n) }),
			counts(ctx, tx, "SELECT queue, count(*) FROM chassi_dead GROUP BY queue", func(queue string, n int64) { st.Dead[queue] = float64(n) }),
			counts(ctx, tx, s.sql.unserved, func(name string, n int64) { st.Unserved[name] = time.Duration(n) * time.Microsecond }))
	})
	st.OldestUnrelayed = time.Duration(oldest) * time.Microsecond
	return st, err
}

func counts[K any](ctx context.Context, tx *database.Tx, query string, f func(K, int64)) error {
	return each(ctx, tx, query, func(c database.Cursor) error {
		var key K
		var n int64
		err := c.Scan(&key, &n)
		f(key, n)
		return err
	})
}

// each calls f for each row of a query.
func each(ctx context.Context, q database.Querier, query string, f func(database.Cursor) error, args ...any) error {
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
