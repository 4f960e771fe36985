package task

import (
	"context"
	"sync"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Gauge is a metric with one label. Its values are computed from the rows of the database, and so
// describe all programs that use the database. A Gauge is safe for concurrent use.
type Gauge struct {
	Name, Help, Label string

	db    *database.DB
	query string

	mu     sync.Mutex
	at     time.Time
	values map[string]float64
}

// NewGauge returns a gauge whose values are the result of query. Each row of the result has two
// columns: a value of the label, and a number.
func NewGauge(db *database.DB, query, name, label, help string) *Gauge {
	return &Gauge{Name: name, Help: help, Label: label, db: db, query: query}
}

// gaugeAge is how long the values of a gauge are cached.
const gaugeAge = 10 * time.Second

// Values returns the values of the gauge, in a map whose keys are the values of the label. It
// queries the database at most every ten seconds; if the query fails, it returns the last values,
// or nil if no query has succeeded. The caller must not modify the map.
func (g *Gauge) Values() map[string]float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) <= gaugeAge {
		return g.values
	}
	ctx, cancel := context.WithTimeout(context.Background(), gaugeAge/4)
	defer cancel()
	type row struct {
		label string
		value float64
	}
	rows, err := Select(ctx, g.db, func(r *row) []any { return []any{&r.label, &r.value} }, g.query)
	g.at = time.Now()
	if err != nil {
		return g.values
	}
	g.values = make(map[string]float64, len(rows))
	for _, r := range rows {
		g.values[r.label] = r.value
	}
	return g.values
}

// Gauges returns the metrics of all tasks and dead letters in the database.
func (e *Engine) Gauges() []*Gauge {
	return []*Gauge{
		NewGauge(e.db, `SELECT s.column2, count(t.id) FROM (VALUES (0, 'ready'), (1, 'waiting'), (2, 'blocked'), (3, 'running')) AS s
			LEFT JOIN chassi_tasks AS t ON t.state % 4 = s.column1 GROUP BY s.column2`,
			"tasks", "state", "Events and jobs that wait or run, by state."),
		NewGauge(e.db, `SELECT 'ready', CASE WHEN min(since) < `+e.o.Now+` THEN (`+e.o.Now+` - min(since)) / 1000000.0 ELSE 0 END
			FROM (SELECT CASE WHEN due_at > created_at THEN due_at ELSE created_at END AS since FROM chassi_tasks WHERE state IN (0, 4)) AS t`,
			"tasks_oldest_seconds", "state", "Time since the oldest event or job that is ready should have begun."),
		NewGauge(e.db, "SELECT queue, count(*) FROM chassi_dead GROUP BY queue",
			"dead_letters", "queue", "Events and jobs that failed for good, by subscription or job."),
	}
}
