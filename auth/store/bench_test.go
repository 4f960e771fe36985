package store_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/redistest"
)

// BenchmarkLogin is what a login asks of the database and of Redis, the password left
// out: the account, its networks, the attempt counted and taken back. Callers are many,
// as are accounts.
func BenchmarkLogin(b *testing.B) {
	for engine, url := range map[string]string{"sqlite": dbtest.SQLite(b), "postgres": dbtest.Postgres(b)} {
		s := open(b, url)
		const accounts = 1000
		for i := range accounts {
			u := user(strconv.Itoa(i))
			if err := s.AddUser(b.Context(), u); err != nil {
				b.Fatal(err)
			}
		}
		c, _ := redistest.Config(b)
		for name, attempts := range map[string]store.Attempts{
			engine: s, engine + " and redis": store.NewSharedAttempts(s, redistest.Open(b, c), func() { b.Error("fell back") }),
		} {
			b.Run(name, func(b *testing.B) {
				var n atomic.Int64
				b.SetParallelism(16)
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if err := login(b, s, attempts, strconv.FormatInt(n.Add(1)%accounts, 10)); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func open(b *testing.B, url string) *store.Store {
	b.Helper()
	db, err := database.Open(b.Context(), database.Config{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if _, err := db.Migrate(b.Context(), store.Migrations()); err != nil {
		b.Fatal(err)
	}
	return store.New(db)
}

func login(b *testing.B, s *store.Store, a store.Attempts, who string) error {
	u := user(who)
	found, err := s.LoginByEmail(b.Context(), u.Email, "192.0.2.1")
	if err != nil {
		return err
	}
	pair, account := "pair:"+who, "account:"+who
	_, locked, err := a.Reserve(b.Context(), []store.Bucket{{Key: pair, Limit: 50, Longest: time.Minute}, {Key: account, Limit: 50, Longest: time.Minute}}, time.Now(), window)
	if err != nil || !locked.IsZero() {
		return fmt.Errorf("locked until %v: %w", locked, err)
	}
	return a.Settle(b.Context(), []string{pair, account}, nil, found.ID, "", time.Now())
}

// BenchmarkUserByID is what a validated token costs the database, once in 0.8 s for each
// account and node.
func BenchmarkUserByID(b *testing.B) {
	for engine, url := range map[string]string{"sqlite": dbtest.SQLite(b), "postgres": dbtest.Postgres(b)} {
		s, u := open(b, url), user("ada")
		if err := s.AddUser(b.Context(), u); err != nil {
			b.Fatal(err)
		}
		b.Run(engine, func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.UserByID(b.Context(), u.ID); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
