package accounts_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/password"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var cheap = password.Params{Memory: 64, Time: 1, Parallelism: 1, SaltLen: 8, KeyLen: 16}

func open(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url, QueryTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func seed(t *testing.T, db *database.DB, s accounts.Seeding) (before int) {
	t.Helper()
	before, err := accounts.Seed(t.Context(), db, s)
	if err != nil {
		t.Fatal(err)
	}
	return before
}

func size(t *testing.T, db *database.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A run that is interrupted leaves whole batches, and the next one makes the rest.
func TestSeedContinuesWhereItStopped(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		ctx, cancel := context.WithCancel(t.Context())
		s := accounts.Seeding{Users: 21_234, Params: cheap, Progress: func(int) { cancel() }}
		if _, err := accounts.Seed(ctx, db, s); !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %v", err)
		}
		if n := size(t, db); n != 10_000 {
			t.Errorf("%d accounts after the first batch", n)
		}
		s.Progress = nil
		if before := seed(t, db, s); before != 10_000 || size(t, db) != 21_234 {
			t.Errorf("went on after %d, to %d accounts", before, size(t, db))
		}
		if before := seed(t, db, s); before != 21_234 || size(t, db) != 21_234 {
			t.Errorf("a third run found %d and left %d", before, size(t, db))
		}
		for _, n := range []int{0, 499, 500, 9_999, 10_000, 21_233} {
			u, err := store.New(db).UserByEmail(t.Context(), accounts.Email(n))
			if err != nil || u.Disabled || u.Generation != 1 || len(u.ID) != 26 || time.Since(u.CreatedAt).Abs() > time.Minute {
				t.Errorf("account %d: %+v, %v", n, u, err)
			}
			if fits, err := password.Verify(u.Password, accounts.DefaultPassword); !fits || err != nil {
				t.Errorf("account %d: its password does not fit, %v", n, err)
			}
			if normal, ok := service.NormalizeEmail(u.Email); !ok || normal != u.Email {
				t.Errorf("%s is not how the service stores an address", u.Email)
			}
		}
	})
}

func TestSeedKeepsToOnePassword(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		seed(t, db, accounts.Seeding{Users: 3, Params: cheap, Password: "first of many"})
		if _, err := accounts.Seed(t.Context(), db, accounts.Seeding{Users: 5, Params: cheap}); !errors.Is(err, accounts.ErrOtherPassword) {
			t.Errorf("another password: %v", err)
		}
		if before := seed(t, db, accounts.Seeding{Users: 5, Params: cheap, Password: "first of many"}); before != 3 {
			t.Errorf("%d before", before)
		}
	})
}

// People may have addresses that look like ours.
func TestSeedBesideOtherAccounts(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		seed(t, db, accounts.Seeding{Users: 2, Params: cheap})
		for _, email := range []string{"user0b00000@example.com", "user5@example.com", "userabcdefg@example.com", "zoe@example.com"} {
			if err := store.New(db).AddUser(t.Context(), store.User{ID: email, Email: email, Generation: 1, CreatedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		if before := seed(t, db, accounts.Seeding{Users: 4, Params: cheap}); before != 2 || size(t, db) != 8 {
			t.Errorf("%d before, %d accounts, want 2 and 8", before, size(t, db))
		}
	})
}

func TestSeedReportsInvalidOptions(t *testing.T) {
	t.Parallel()
	db := open(t, dbtest.SQLite(t))
	for _, n := range []int{0, -1, accounts.Max + 1} {
		if _, err := accounts.Seed(t.Context(), db, accounts.Seeding{Users: n}); err == nil {
			t.Errorf("%d accounts", n)
		}
	}
}
