package store

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Clock returns the time of the database's clock, which for SQLite is the clock of this machine,
// and the highest time that [Store.KeepHighest] has stored, or the zero time if there is none.
func (s *Store) Clock(ctx context.Context) (now, highest time.Time, err error) {
	query := "SELECT 0, highest FROM clock"
	if s.db.Dialect() == database.Postgres {
		query = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT), highest FROM clock"
	}
	var micros, reached int64
	if err := s.db.QueryRow(ctx, query).Scan(&micros, &reached); err != nil {
		return now, highest, err
	}
	if now = fromMicros(micros); now.IsZero() {
		now = time.Now().UTC().Round(0)
	}
	return now, fromMicros(reached), nil
}

// KeepHighest stores highest as the highest time in place of replaced. It does nothing if the
// stored time is no longer replaced, because it was changed concurrently.
func (s *Store) KeepHighest(ctx context.Context, replaced, highest time.Time) error {
	return s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE clock SET highest = $1 WHERE highest = $2", micros(highest), micros(replaced))
		return err
	})
}
