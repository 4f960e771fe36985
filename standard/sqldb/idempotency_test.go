package sqldb_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/sqldb"
)

// Keys that have expired are deleted while the program runs.
func TestExpiredIdempotencyKeysAreDeleted(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	c := standard.Config{}
	c.HTTP.Addr, c.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
	app, err := standard.New(t.Context(), "test", "1", c, standard.Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	migration := fstest.MapFS{"sqlite/00001_keys.sql": {Data: []byte(sqlstore.Schema(database.SQLite))}}
	db, err := sqldb.Add(t.Context(), app, database.Config{URL: url}, migration)
	if err != nil {
		t.Fatal(err)
	}
	expired := idempotency.NewAttempt("key", []byte("request"))
	app.Add(chassi.ComponentFunc("an expired key", func(ctx context.Context) error {
		_, _, err := sqlstore.New(db).Begin(ctx, expired, -time.Hour)
		return err
	}, nil))
	s := chassi.NewService("orders.v1.Orders", chassi.NewEndpoint("Create", func(context.Context, *struct{}) (*struct{}, error) { return &struct{}{}, nil }, chassi.Public))
	secret := func(context.Context) ([]byte, error) { return bytes.Repeat([]byte{1}, 32), nil }
	if err := sqldb.AddIdempotency(app, db, s, middleware.IdempotencyOptions{Secret: secret}, "Create"); err != nil {
		t.Fatal(err)
	}
	if err := sqldb.AddIdempotency(app, db, s, middleware.IdempotencyOptions{Secret: secret, Observe: func(string) {}}, "Cancel"); err == nil || !strings.Contains(err.Error(), "Cancel") {
		t.Errorf("%v, want an error that names the endpoint", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatalf("the app did not start: %v", err)
	}
	for n := 1; n > 0; {
		if err := db.QueryRow(t.Context(), "SELECT count(*) FROM idempotency_keys").Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
}
