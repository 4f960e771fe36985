package store

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Bucket counts failed attempts of one kind. With the Limit-th failure in a row it is
// locked for a second, with the next one for two, four, and so on up to Longest.
type Bucket struct {
	Key     string
	Limit   int
	Longest time.Duration
}

func (b Bucket) delay(failures int) time.Duration {
	over := failures - b.Limit
	switch {
	case over < 0:
		return 0
	case over > 30:
		return b.Longest
	default:
		return min(time.Second<<over, b.Longest)
	}
}

// Attempts counts failed attempts: a [*Store] in its database, a [*SharedAttempts] in
// Redis.
type Attempts interface {
	// Reserve counts one attempt against every bucket as if it had failed, before
	// anything is evaluated, unless one of them is locked. It is one step, so that parallel
	// attempts, on any number of nodes, cannot slip past a limit. Failures older than
	// window are forgotten. It returns until when a bucket is locked, zero if the attempt may
	// go on.
	Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (locked time.Time, err error)

	// Settle takes a successful attempt back: the buckets of forget start anew, those of
	// refund lose the one failure that Reserve counted. The network, unless it is "", is
	// remembered as one of the user's own, of which the latest twenty are kept.
	Settle(ctx context.Context, forget, refund []string, userID, network string, now time.Time) error

	// Refund takes one attempt back that was counted and never evaluated.
	Refund(ctx context.Context, keys []string) error
}

var (
	_ Attempts = (*Store)(nil)
	_ Attempts = (*SharedAttempts)(nil)
)

// Reserve is one transaction.
func (s *Store) Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (locked time.Time, err error) {
	err = s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error {
		locked = time.Time{}
		counts := make([]int, len(buckets))
		for i, b := range buckets {
			failures, until, err := attempts(ctx, tx, b.Key, now.Add(-window))
			if err != nil {
				return err
			}
			if until.After(now) && until.After(locked) {
				locked = until
			}
			counts[i] = failures + 1
		}
		if !locked.IsZero() {
			return nil
		}
		for i, b := range buckets {
			var until time.Time // not now: another node's clock may be behind
			if d := b.delay(counts[i]); d > 0 {
				until = now.Add(d)
			}
			if err := count(ctx, tx, b.Key, counts[i], until, now); err != nil {
				return err
			}
		}
		return nil
	})
	return locked, err
}

// Settle implements [Attempts].
func (s *Store) Settle(ctx context.Context, forget, refund []string, userID, network string, now time.Time) error {
	err := s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error {
		for _, key := range forget {
			if _, err := tx.Exec(ctx, "DELETE FROM attempts WHERE bucket = $1", key); err != nil {
				return err
			}
		}
		if err := giveBack(ctx, tx, refund); err != nil {
			return err
		}
		if network == "" {
			return nil
		}
		return remember(ctx, tx, userID, network, now)
	})
	return unlessDeleted(err)
}

// Refund implements [Attempts].
func (s *Store) Refund(ctx context.Context, keys []string) error {
	return s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error { return giveBack(ctx, tx, keys) })
}

func giveBack(ctx context.Context, q database.Querier, keys []string) error {
	for _, key := range keys {
		if _, err := q.Exec(ctx, "UPDATE attempts SET failures = failures - 1, locked_until = 0 WHERE bucket = $1 AND failures > 0", key); err != nil {
			return err
		}
	}
	return nil
}

// Remember keeps a network as one of the user's own.
func (s *Store) Remember(ctx context.Context, userID, network string, now time.Time) error {
	return unlessDeleted(s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error { return remember(ctx, tx, userID, network, now) }))
}

// unlessDeleted returns err, or nil when a network was to be remembered of an account that
// was deleted while it logged in.
func unlessDeleted(err error) error {
	if database.IsForeignKey(err) {
		return nil
	}
	return err
}

func remember(ctx context.Context, tx *database.Tx, userID, network string, now time.Time) error {
	if _, err := tx.Exec(ctx, `INSERT INTO networks (user_id, network, last_seen) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, network) DO UPDATE SET last_seen = excluded.last_seen`, userID, network, micros(now)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM networks WHERE user_id = $1 AND network NOT IN
		(SELECT network FROM networks WHERE user_id = $1 ORDER BY last_seen DESC LIMIT 20)`, userID)
	return err
}

// LastSeen returns when the user last logged in from the network, zero for never.
func (s *Store) LastSeen(ctx context.Context, userID, network string) (time.Time, error) {
	var seen int64
	err := s.db.QueryRow(ctx, "SELECT last_seen FROM networks WHERE user_id = $1 AND network = $2", userID, network).Scan(&seen)
	if errors.Is(err, database.ErrNotFound) {
		return time.Time{}, nil
	}
	return fromMicros(seen), err
}

// ForgetAttempts deletes buckets untouched since the given time.
func (s *Store) ForgetAttempts(ctx context.Context, before time.Time) error {
	_, err := s.db.Exec(ctx, "DELETE FROM attempts WHERE updated_at < $1", micros(before))
	return err
}

func attempts(ctx context.Context, q database.Querier, key string, since time.Time) (failures int, until time.Time, err error) {
	var locked int64
	err = q.QueryRow(ctx, "SELECT failures, locked_until FROM attempts WHERE bucket = $1 AND updated_at > $2", key, micros(since)).
		Scan(&failures, &locked)
	if errors.Is(err, database.ErrNotFound) {
		err = nil
	}
	return failures, fromMicros(locked), err
}

func count(ctx context.Context, q database.Querier, key string, failures int, until, now time.Time) error {
	_, err := q.Exec(ctx, `INSERT INTO attempts (bucket, failures, locked_until, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (bucket) DO UPDATE SET failures = excluded.failures, locked_until = excluded.locked_until, updated_at = excluded.updated_at`,
		key, failures, micros(until), micros(now))
	return err
}
