package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/redis"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/chassi-go/chassi/workpool"
	_ "github.com/jackc/pgx/v5/stdlib" // a service may use the driver by itself
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closedPort returns an address that nothing listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A method that returns what a driver says, and maps nothing by hand, answers that the service is
// unavailable while what it needs is unavailable, and no exception is reported. What may have been
// done, and what is wrong with the method itself, stays a fault.
func TestErrorsOfDependencies(t *testing.T) {
	t.Parallel()
	away := closedPort(t)
	postgres, err := database.Open(t.Context(), database.Config{URL: "postgres://u:secret@" + away + "/d", QueryTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer postgres.Close()
	lite, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	closed, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	closed.Close()
	plain, err := sql.Open("pgx", "postgres://u:secret@"+away+"/d")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	cache, err := redis.Open(redis.Config{URL: "redis://" + away})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	pool := workpool.New(workpool.Options{})
	if err := pool.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := breaker.New(breaker.Options{Config: breaker.Config{Consecutive: 1, OpenDuration: time.Hour}, Strict: true})
	_, _ = breaker.Do(open, func() (int, error) { return 0, errors.New("down") })

	for name, c := range map[string]struct {
		method   func(context.Context) error
		code     chassi.Code
		reported int
	}{
		"PostgreSQL is away": {func(ctx context.Context) error {
			_, err := postgres.Exec(ctx, "DELETE FROM orders")
			return err
		}, chassi.Unavailable, 0},
		"PostgreSQL is away, a query": {func(ctx context.Context) error {
			var n int
			return postgres.QueryRow(ctx, "SELECT 1").Scan(&n)
		}, chassi.Unavailable, 0},
		"the database is closed": {func(ctx context.Context) error {
			return closed.Write(ctx, func(context.Context, *database.Tx) error { return nil })
		}, chassi.Unavailable, 0},
		"database/sql alone": {func(ctx context.Context) error { return plain.PingContext(ctx) }, chassi.Unavailable, 0},
		"Redis is away":      {func(ctx context.Context) error { _, err := cache.Time(ctx); return err }, chassi.Unavailable, 0},
		"a breaker is open": {func(context.Context) error {
			_, err := breaker.Do(open, func() (int, error) { return 0, nil })
			return err
		}, chassi.Unavailable, 0},
		"a pool has stopped": {func(ctx context.Context) error { return pool.TrySubmit(ctx, func(context.Context) {}) }, chassi.Unavailable, 0},
		"the statement is bad": {func(ctx context.Context) error {
			_, err := lite.Exec(ctx, "DELETE FROM nothing")
			return err
		}, chassi.Internal, 1},
		"the call is late": {func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Nanosecond)
			defer cancel()
			<-ctx.Done()
			_, err := lite.Exec(ctx, "SELECT 1")
			return err
		}, chassi.DeadlineExceeded, 0},
	} {
		if reported, err := call(t, c.method); chassi.ErrorOf(err).Code != c.code || reported != c.reported {
			t.Errorf("%s: %v, %d exceptions", name, err, reported)
		}
	}
}

// A connection that breaks during COMMIT may have stored the work, so that the service does
// not invite to repeat it.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), database.Config{URL: dbtest.Postgres(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"CREATE TABLE orders (n int)",
		"CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
		"CREATE CONSTRAINT TRIGGER die AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()",
	} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	reported, err := call(t, func(ctx context.Context) error {
		return db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO orders VALUES (1)")
			return err
		})
	})
	if !errors.Is(err, database.ErrCommitUnknown) || chassi.ErrorOf(err).Code != chassi.Internal || reported != 1 {
		t.Errorf("%v, %d exceptions", err, reported)
	}
}

// call returns what the caller of a method gets, and how many exceptions are reported.
func call(t *testing.T, method func(context.Context) error) (reported int, err error) {
	t.Helper()
	report := func(context.Context, error) { reported++ }
	service := chassi.NewService("orders.v1.Orders", chassi.NewEndpoint("Delete", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		return &struct{}{}, fmt.Errorf("delete the orders: %w", method(ctx))
	}, chassi.Public))
	server := localapi.New(middleware.ErrorReporting(report))
	if err := server.Mount(service); err != nil {
		t.Fatal(err)
	}
	orders, err := client.New(service, server)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Invoke[struct{}](t.Context(), orders, "Delete", &struct{}{})
	return reported, err
}
