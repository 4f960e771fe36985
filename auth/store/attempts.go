package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/database"
)

// Bucket is a counter of failed attempts. The failure that reaches Limit locks the bucket for one
// second, the next failure for two seconds, then four, and so on up to Longest.
type Bucket struct {
	Key     string
	Limit   int
	Longest time.Duration
	Exempt  bool // the attempt is not counted in the bucket and not delayed by it, but does the same work
}

// Counted is one failure that Reserve has counted and that can be refunded.
type Counted struct {
	Key   string
	Limit int   // limit of the bucket
	Lock  int64 // end of the lock that it set, by the clock and in the unit of the store; 0 if it set no lock
}

// Attempts counts failed attempts. [*Store] implements it with a database, and [*SharedAttempts]
// with Redis. Methods are safe for concurrent use.
type Attempts interface {
	// Reserve counts one attempt as failed in every bucket that is not exempt, unless one of these
	// buckets is locked. It is atomic, so that concurrent attempts on any number of nodes cannot
	// exceed a limit. The failures in a bucket that was last written more than window ago are
	// ignored. Reserve returns what it counted, or the time until which a bucket is locked. It reads
	// and writes the same number of rows in either case, so that its duration does not reveal the
	// result.
	Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (counted []Counted, locked time.Time, err error)

	// Settle records a successful attempt. It clears the buckets whose keys are in forget, and
	// subtracts the failures in refund, which Reserve counted. Unless network is "", Settle stores
	// it as one of the user's known networks, of which the latest twenty are kept.
	Settle(ctx context.Context, forget []string, refund []Counted, userID, network string, now time.Time) error

	// Refund subtracts the failures of an attempt that was counted and not evaluated. It ends the
	// lock of a bucket only if this attempt set the lock or if fewer failures than the limit are
	// left.
	Refund(ctx context.Context, counted []Counted) error
}

var (
	_ Attempts = (*Store)(nil)
	_ Attempts = (*SharedAttempts)(nil)
)

// Reserve implements [Attempts] with one transaction and one round trip. It reads and writes
// one row per bucket. For an exempt bucket it uses a substitute row of a bucket that is not exempt,
// and counts nothing in that row, so that Reserve does not wait for other logins that write the
// exempt bucket. If a bucket is locked, its row and its substitute rows take the place of the rows
// of all buckets, so that rejected attempts do not add rows for each of their buckets. If all
// buckets are exempt, Reserve does nothing.
func (s *Store) Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (counted []Counted, locked time.Time, err error) {
	again := slices.IndexFunc(buckets, func(b Bucket) bool { return !b.Exempt })
	if again < 0 {
		return nil, locked, nil // nothing was counted
	}
	args := []any{micros(now), micros(now.Add(-window))}
	for i, b := range buckets {
		key, n := b.Key, 1
		if b.Exempt {
			key, n = buckets[again].Key+beside(i), 0
		}
		args = append(args, key, beside(i), b.Limit, b.Longest.Microseconds(), n)
	}
	var until int64
	locks := make(map[string]int64, len(buckets))
	err = s.db.BatchRelaxed(ctx,
		database.Statement{SQL: wanted(len(buckets)) + lockedUntil, Args: args, Rows: func(rows database.Cursor) error {
			until = 0
			if !rows.Next() {
				return nil
			}
			return rows.Scan(&until)
		}},
		database.Statement{SQL: wanted(len(buckets)) + countAttempt, Args: args, Rows: func(rows database.Cursor) error {
			clear(locks)
			for rows.Next() {
				var key string
				var lock int64
				if err := rows.Scan(&key, &lock); err != nil {
					return err
				}
				locks[key] = lock
			}
			return nil
		}})
	if err != nil || until > 0 {
		return nil, fromMicros(until), err
	}
	for _, b := range buckets {
		if !b.Exempt {
			counted = append(counted, Counted{b.Key, b.Limit, locks[b.Key]})
		}
	}
	return counted, locked, nil
}

// beside returns the suffix that is appended to the key of a bucket to form the key of its i-th
// substitute row. It is empty if i is 0, which stands for the row of the bucket itself.
func beside(i int) string {
	if i == 0 {
		return ""
	}
	return "#" + strconv.Itoa(i)
}

// wanted returns the beginning of a statement about n buckets. Its parameters are the time, the
// time after which failures count and, for each bucket, its key, [beside], its limit, its longest
// lock, and 1 or 0 for whether the attempt counts in it. Of the buckets in which the attempt counts,
// the table locked contains the one whose lock ends last, if any is locked. A lock that exceeds the
// longest lock of its bucket was set by a clock that was ahead, and is cut short.
func wanted(n int) string {
	var b strings.Builder
	b.WriteString("WITH wanted (bucket, beside, most, longest, counts) AS (VALUES ")
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		p := 3 + 5*i
		fmt.Fprintf(&b, "(CAST($%d AS TEXT), CAST($%d AS TEXT), CAST($%d AS BIGINT), CAST($%d AS BIGINT), CAST($%d AS BIGINT))", p, p+1, p+2, p+3, p+4)
	}
	b.WriteString(`), locked (bucket, until) AS (
		SELECT a.bucket, CASE WHEN a.locked_until > CAST($1 AS BIGINT) + w.longest THEN CAST($1 AS BIGINT) + w.longest ELSE a.locked_until END AS until
		FROM wanted w JOIN attempts a ON a.bucket = w.bucket
		WHERE w.counts = 1 AND a.updated_at > CAST($2 AS BIGINT) AND a.locked_until > CAST($1 AS BIGINT)
		ORDER BY until DESC, a.bucket LIMIT 1)`)
	return b.String()
}

// lockedUntil completes the statement that returns the time at which the last of the locks expires, if
// a bucket is locked.
const lockedUntil = ` SELECT until FROM locked`

// countAttempt completes the statement that counts an attempt, unless a bucket is locked. The
// lock that the attempt sets lasts a second, doubled with each failure above the limit, and at most
// as long as the longest lock of the bucket. It replaces the earlier lock without a comparison,
// because another node's clock may be behind.
const countAttempt = `,
	chosen (bucket, most, longest, counts) AS (
		SELECT CASE WHEN l.bucket IS NULL THEN w.bucket ELSE l.bucket || w.beside END, w.most, w.longest, CASE WHEN l.bucket IS NULL THEN w.counts ELSE 0 END
		FROM wanted w LEFT JOIN locked l ON 1 = 1),
	counted (bucket, most, longest, counts, failures, locked_until) AS (
		SELECT c.bucket, c.most, c.longest, c.counts, COALESCE(a.failures, 0) + c.counts, COALESCE(l.until, a.locked_until, 0)
		FROM chosen c LEFT JOIN attempts a ON a.bucket = c.bucket AND a.updated_at > CAST($2 AS BIGINT) LEFT JOIN locked l ON l.bucket = c.bucket),
	timed (bucket, longest, counts, failures, locked_until, lasts) AS (
		SELECT bucket, longest, counts, failures, locked_until, CASE WHEN failures < most THEN 0
			WHEN failures - most > 30 THEN longest ELSE 1000000 * (CAST(1 AS BIGINT) << CAST(failures - most AS INTEGER)) END
		FROM counted)
	INSERT INTO attempts (bucket, failures, locked_until, updated_at)
	SELECT bucket, failures, CASE WHEN counts = 0 THEN locked_until WHEN lasts = 0 THEN 0
		ELSE CAST($1 AS BIGINT) + CASE WHEN lasts > longest THEN longest ELSE lasts END END, CAST($1 AS BIGINT)
	FROM timed WHERE true
	ON CONFLICT (bucket) DO UPDATE SET failures = excluded.failures, locked_until = excluded.locked_until, updated_at = excluded.updated_at
	RETURNING bucket, locked_until`

// Settle implements [Attempts].
func (s *Store) Settle(ctx context.Context, forget []string, refund []Counted, userID, network string, now time.Time) error {
	batch := giveBack(refund)
	for _, key := range forget {
		batch = append(batch, database.Statement{
			SQL:  "DELETE FROM attempts WHERE bucket IN ($1, $2, $3)",
			Args: []any{key, key + beside(1), key + beside(2)},
		})
	}
	if network != "" {
		batch = append(batch, remember(userID, network, now)...)
	}
	return unlessDeleted(s.db.BatchRelaxed(ctx, batch...))
}

// Refund implements [Attempts].
func (s *Store) Refund(ctx context.Context, counted []Counted) error {
	return s.db.BatchRelaxed(ctx, giveBack(counted)...)
}

func giveBack(counted []Counted) (batch []database.Statement) {
	for _, c := range counted {
		batch = append(batch, database.Statement{SQL: `UPDATE attempts SET failures = failures - 1,
			locked_until = CASE WHEN failures <= $2 OR locked_until = $3 THEN 0 ELSE locked_until END
			WHERE bucket = $1 AND failures > 0`, Args: []any{c.Key, c.Limit, c.Lock}})
	}
	return batch
}

// Remember stores a network as one of the user's known networks.
func (s *Store) Remember(ctx context.Context, userID, network string, now time.Time) error {
	return unlessDeleted(s.db.BatchRelaxed(ctx, remember(userID, network, now)...))
}

// unlessDeleted returns nil if err means that the account of a network was deleted during the
// login, and err unchanged otherwise.
func unlessDeleted(err error) error {
	if database.IsForeignKey(err) {
		return nil
	}
	return err
}

func remember(userID, network string, now time.Time) []database.Statement {
	return []database.Statement{
		{SQL: `INSERT INTO networks (user_id, network, last_seen) VALUES ($1, $2, $3)
			ON CONFLICT (user_id, network) DO UPDATE SET last_seen = excluded.last_seen`, Args: []any{userID, network, micros(now)}},
		{SQL: `DELETE FROM networks WHERE user_id = $1 AND network NOT IN
			(SELECT network FROM networks WHERE user_id = $1 ORDER BY last_seen DESC LIMIT 20)`, Args: []any{userID}},
	}
}

// DeleteAttempts deletes the buckets that have not changed since the given time.
func (s *Store) DeleteAttempts(ctx context.Context, before time.Time) error {
	_, err := s.db.Exec(ctx, "DELETE FROM attempts WHERE updated_at < $1", micros(before))
	return err
}
