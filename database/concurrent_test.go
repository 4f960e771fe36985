package database

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// T55, fault 40: nothing is lost and no lock conflict reaches a caller, also when a
// second handle, as of another process, writes the same database.
func TestWriteConcurrentLosesNothing(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		c.QueryTimeout = time.Minute // this test is about loss, not about speed
		const writers, rounds = 64, 5
		first := counters(t, c)
		handles := []*DB{first, first}
		if first.target.path != "" || first.Dialect() == Postgres {
			handles[1] = open(t, c)
		}
		var group errgroup.Group
		for i := range writers {
			db := handles[i%len(handles)]
			group.Go(func() error {
				for range rounds {
					if err := db.Write(t.Context(), increment); err != nil {
						return err
					}
				}
				return nil
			})
			group.Go(func() error {
				var n int64
				return db.QueryRow(t.Context(), "SELECT n FROM counters WHERE id = $1", 1).Scan(&n)
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := count(t, first, "SELECT n FROM counters WHERE id = $1", 1); n != writers*rounds {
			t.Errorf("n = %d after %d increments", n, writers*rounds)
		}
	})
}

// Two transactions that read what the other writes, in step: PostgreSQL must fail
// one of them, and Write must run that one again.
func TestWriteRetriesSerializationFailure(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t)})
	var meet sync.WaitGroup
	meet.Add(2)
	runs := make(chan int, 2)
	var group errgroup.Group
	for range 2 {
		group.Go(func() error {
			tries := 0
			err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
				tries++
				if tries > 1 {
					return increment(ctx, tx)
				}
				var n int64
				err := tx.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 1).Scan(&n)
				meet.Done()
				meet.Wait()
				if err == nil {
					_, err = tx.Exec(ctx, "UPDATE counters SET n = $1 WHERE id = $2", n+1, 1)
				}
				return err
			})
			runs <- tries
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if total := <-runs + <-runs; total < 3 {
		t.Errorf("%d runs in all: none was run again", total)
	}
	if n := count(t, db, "SELECT n FROM counters WHERE id = $1", 1); n != 2 {
		t.Errorf("n = %d, want 2", n)
	}
}

func TestWriteRetriesDeadlock(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t)})
	mustExec(t, db, "INSERT INTO counters (id, n) VALUES ($1, $2)", 2, 0)
	var meet sync.WaitGroup
	meet.Add(2)
	var group errgroup.Group
	for i := range 2 {
		group.Go(func() error {
			tries := 0
			return db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
				tries++
				_, err := tx.Exec(ctx, "UPDATE counters SET n = n + 1 WHERE id = $1", 1+i)
				if tries == 1 {
					meet.Done()
					meet.Wait()
				}
				if err == nil {
					_, err = tx.Exec(ctx, "UPDATE counters SET n = n + 1 WHERE id = $1", 2-i)
				}
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT sum(n) FROM counters"); n != 4 {
		t.Errorf("sum = %d, want 4", n)
	}
}

// A conflict that never ends is given up, as an error worth a later try. Each try
// gives its connection back: there is but one.
func TestWriteStopsRetrying(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t), QueryTimeout: time.Second, MaxOpen: 1})
	tries := 0
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		tries++
		_, err := tx.Exec(ctx, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
		return fmt.Errorf("wrapped: %w", err)
	})
	if tries < 2 || !IsUnavailable(err) {
		t.Errorf("tries = %d, err = %v", tries, err)
	}
}

var errTest = errors.New("refused by the rules")

func TestWriteRollsBack(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			return errors.Join(increment(ctx, tx), errTest)
		})
		if !errors.Is(err, errTest) || IsUnavailable(err) {
			t.Errorf("err = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Write(ctx, func(ctx context.Context, tx *Tx) error {
			defer cancel()
			return increment(ctx, tx)
		})
		if !errors.Is(err, context.Canceled) || IsUnavailable(err) {
			t.Errorf("canceled: err = %v", err)
		}
		func() {
			defer func() {
				if got := recover(); got != errTest {
					t.Errorf("recovered %v", got)
				}
			}()
			_ = db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
				if err := increment(ctx, tx); err != nil {
					t.Error(err)
				}
				panic(errTest)
			})
		}()
		if n := count(t, db, "SELECT n FROM counters WHERE id = $1", 1); n != 0 {
			t.Errorf("n = %d: something was stored", n)
		}
		mustExec(t, db, "UPDATE counters SET n = 5") // the connection came back to the pool
	})
}

func TestNestedUseIsRefused(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			if err := db.Write(ctx, increment); !errors.Is(err, errNested) {
				t.Errorf("Write: %v", err)
			}
			if _, err := db.Query(ctx, "SELECT 1"); !errors.Is(err, errNested) {
				t.Errorf("Query: %v", err)
			}
			return increment(ctx, tx)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Read sees one state, whatever is written meanwhile, and cannot write.
func TestReadIsASnapshot(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": dbtest.SQLite(t), "postgres": dbtest.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := counters(t, Config{URL: url})
			err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
				var before, after int64
				err := tx.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 1).Scan(&before)
				mustExec(t, db, "UPDATE counters SET n = n + 1")
				err = errors.Join(err, tx.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 1).Scan(&after))
				if before != after {
					t.Errorf("n was %d, then %d", before, after)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			err = db.Read(t.Context(), increment)
			if err == nil || IsUnavailable(err) {
				t.Errorf("writing in Read: %v", err)
			}
		})
	}
}
