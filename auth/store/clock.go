package store

import (
	"context"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Clock returns the current time by the database's clock, which for SQLite is the clock of this
// machine. It also returns the highest time that [Store.KeepHighest] has stored, or the zero time
// if there is none.
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

// KeepHighest replaces the stored highest time with highest if the stored time still equals
// replaced. If it was changed concurrently, KeepHighest does nothing and returns nil.
func (s *Store) KeepHighest(ctx context.Context, replaced, highest time.Time) error {
	return s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE clock SET highest = $1 WHERE highest = $2", micros(highest), micros(replaced))
		return err
	})
}
