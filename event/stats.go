package event

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// Stats describes the outbox and the subscriptions, for metrics.
type Stats struct {
	OldestUnrelayed time.Duration            // age of the oldest event that was not relayed
	OldestReady     time.Duration            // the same of those that nothing delays
	OldestHeld      time.Duration            // the same of those that a running transaction delays, because they are kept or have a key
	Unserved        map[string]time.Duration // since no program has served the subscription
}

// Stats counts the rows. It counts at most every ten seconds, and returns the last counts while
// the database is unavailable.
func (s *Server) Stats() Stats { return s.stats.Get(s.count) }

func (s *Server) count(ctx context.Context) (st Stats, err error) {
	err = s.db.Read(ctx, func(ctx context.Context, tx *database.Tx) error {
		st = Stats{Unserved: make(map[string]time.Duration)}
		var ready, held int64
		err := tx.QueryRow(ctx, s.sql.oldest).Scan(&ready, &held)
		st.OldestReady, st.OldestHeld = time.Duration(ready)*time.Microsecond, time.Duration(held)*time.Microsecond
		st.OldestUnrelayed = max(st.OldestReady, st.OldestHeld)
		return errors.Join(err, task.Counts(ctx, tx, s.sql.unserved, func(name string, n int64) { st.Unserved[name] = time.Duration(n) * time.Microsecond }))
	})
	return st, err
}
