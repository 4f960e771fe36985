package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Bucket counts failed attempts of one kind. With the Limit-th failure in a row it is
// locked for a second, with the next one for two, four, and so on up to Longest.
type Bucket struct {
	Key     string
	Limit   int
	Longest time.Duration
	Exempt  bool // the attempt is not counted in it, nor held up by it; only the work is the same
}

// Counted is one failure that Reserve has counted, to be taken back.
type Counted struct {
	Key   string
	Limit int   // of its bucket
	Lock  int64 // when the lock ends that it set, by the clock and in the unit of where it was counted; 0 for none
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
	// Reserve counts one attempt against every bucket that is not exempt, as if it had failed,
	// before anything is evaluated, unless one of those is locked. It is one step, so that
	// parallel attempts, on any number of nodes, cannot slip past a limit. Failures older
	// than window are forgotten. It returns what it counted, or until when a bucket is
	// locked. As much is read and written in either case, and whatever is exempt, so that
	// the time does not tell.
	Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (counted []Counted, locked time.Time, err error)

	// Settle takes a successful attempt back: the buckets of forget start anew, those of
	// refund lose the one failure that Reserve counted. The network, unless it is "", is
	// remembered as one of the user's own, of which the latest twenty are kept.
	Settle(ctx context.Context, forget []string, refund []Counted, userID, network string, now time.Time) error

	// Refund takes one attempt back that was counted and never evaluated. A lock ends with it
	// only if this attempt set it, or if fewer failures are left than the limit.
	Refund(ctx context.Context, counted []Counted) error
}

var (
	_ Attempts = (*Store)(nil)
	_ Attempts = (*SharedAttempts)(nil)
)

// Reserve is one transaction.
func (s *Store) Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (counted []Counted, locked time.Time, err error) {
	err = s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
		counted, locked, err = reserve(ctx, tx, buckets, now, window)
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return counted, locked, nil
}

// tally is what is stored of a bucket.
type tally struct {
	failures int
	until    time.Time
}

// reserve reads and writes as many rows as there are buckets. In place of one that is
// exempt it reads one that is not, because logins of others may be writing it; in place of
// one in which nothing is counted it writes one that is there again as it is.
func reserve(ctx context.Context, tx *database.Tx, buckets []Bucket, now time.Time, window time.Duration) (counted []Counted, locked time.Time, err error) {
	again := slices.IndexFunc(buckets, func(b Bucket) bool { return !b.Exempt })
	if again < 0 {
		return nil, locked, nil // nothing is counted at all
	}
	tallies := make([]tally, len(buckets))
	for i, b := range buckets {
		if b.Exempt {
			b = buckets[again]
		}
		if tallies[i], err = attempts(ctx, tx, b, now, window); err != nil {
			return nil, locked, err
		}
	}
	for i, t := range tallies {
		if !buckets[i].Exempt && t.until.After(now) && t.until.After(locked) {
			locked, again = t.until, i
		}
	}
	for i, b := range buckets {
		if locked.IsZero() && !b.Exempt {
			t := tally{failures: tallies[i].failures + 1} // until is not now: another node's clock may be behind
			if d := b.delay(t.failures); d > 0 {
				t.until = now.Add(d)
			}
			tallies[i], again = t, i
			counted = append(counted, Counted{b.Key, b.Limit, micros(t.until)})
		}
		if err := count(ctx, tx, buckets[again].Key, tallies[again], now); err != nil {
			return nil, locked, err
		}
	}
	return counted, locked, nil
}

// Settle implements [Attempts].
func (s *Store) Settle(ctx context.Context, forget []string, refund []Counted, userID, network string, now time.Time) error {
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
func (s *Store) Refund(ctx context.Context, counted []Counted) error {
	return s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error { return giveBack(ctx, tx, counted) })
}

func giveBack(ctx context.Context, q database.Querier, counted []Counted) error {
	for _, c := range counted {
		if _, err := q.Exec(ctx, `UPDATE attempts SET failures = failures - 1,
			locked_until = CASE WHEN failures <= $2 OR locked_until = $3 THEN 0 ELSE locked_until END
			WHERE bucket = $1 AND failures > 0`, c.Key, c.Limit, c.Lock); err != nil {
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

func attempts(ctx context.Context, q database.Querier, b Bucket, now time.Time, window time.Duration) (t tally, err error) {
	var until int64
	err = q.QueryRow(ctx, "SELECT failures, locked_until FROM attempts WHERE bucket = $1 AND updated_at > $2", b.Key, micros(now.Add(-window))).
		Scan(&t.failures, &until)
	if errors.Is(err, database.ErrNotFound) {
		err = nil
	}
	t.until = fromMicros(until)
	if latest := now.Add(b.Longest); t.until.After(latest) {
		t.until = latest // it was set by a clock that was ahead; no lock is longer
	}
	return t, err
}

func count(ctx context.Context, q database.Querier, key string, t tally, now time.Time) error {
	_, err := q.Exec(ctx, `INSERT INTO attempts (bucket, failures, locked_until, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (bucket) DO UPDATE SET failures = excluded.failures, locked_until = excluded.locked_until, updated_at = excluded.updated_at`,
		key, t.failures, micros(t.until), micros(now))
	return err
}
