package sqlstore_test

import (
	"context"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
)

// The first attempt is carried out and keeps its outcome. The second one, with the same
// key and the same request, gets that outcome.
func Example() {
	ctx := context.Background()
	db, err := database.Open(ctx, database.Config{URL: "sqlite::memory:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	migrations := fstest.MapFS{"sqlite/00001_keys.sql": {Data: []byte(sqlstore.Schema(db.Dialect()))}}
	if _, err := db.Migrate(ctx, migrations); err != nil {
		fmt.Println(err)
		return
	}

	store := sqlstore.New(db)
	for range 2 {
		attempt := idempotency.NewAttempt("a digest of the key", []byte("a digest of the request"))
		state, outcome, err := store.Begin(ctx, attempt, time.Minute)
		switch {
		case err != nil:
			fmt.Println(err)
		case state == idempotency.Begun:
			fmt.Println("begun")
			err = store.Finish(ctx, attempt, []byte("order 7 is placed"), 24*time.Hour)
		case state == idempotency.Finished:
			fmt.Printf("finished before: %s\n", outcome)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// begun
	// finished before: order 7 is placed
}
