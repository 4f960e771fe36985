package database_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi/database"
)

// files stands for an embed.FS with a folder per engine.
var files = fstest.MapFS{
	"sqlite/00001_users.sql": {Data: []byte("-- +goose Up\nCREATE TABLE users (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, created BIGINT NOT NULL);")},
}

func Example() {
	ctx := context.Background()
	db, err := database.Open(ctx, database.Config{URL: "sqlite::memory:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	applied, err := db.Migrate(ctx, files)
	fmt.Println(applied, err)

	const insert = "INSERT INTO users (id, email, created) VALUES ($1, $2, $3)"
	n, err := db.Exec(ctx, insert, "u1", "ana@example.com", time.UnixMilli(0).UnixMicro())
	fmt.Println(n, err)
	_, err = db.Exec(ctx, insert, "u2", "ana@example.com", 0)
	fmt.Println(database.IsUnique(err))

	var id string
	err = db.QueryRow(ctx, "SELECT id FROM users WHERE email = $1", "ana@example.com").Scan(&id)
	fmt.Println(id, err)
	err = db.QueryRow(ctx, "SELECT id FROM users WHERE email = $1", "bob@example.com").Scan(&id)
	fmt.Println(errors.Is(err, database.ErrNotFound))
	// Output:
	// [00001_users.sql] <nil>
	// 1 <nil>
	// true
	// u1 <nil>
	// true
}

// A helper that takes a Querier works alone and inside a transaction.
func emailOf(ctx context.Context, q database.Querier, id string) (email string, err error) {
	err = q.QueryRow(ctx, "SELECT email FROM users WHERE id = $1", id).Scan(&email)
	return email, err
}

func ExampleDB_Write() {
	ctx := context.Background()
	db, err := database.Open(ctx, database.Config{URL: "sqlite::memory:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(ctx, files); err != nil {
		fmt.Println(err)
		return
	}
	err = db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO users VALUES ($1, $2, $3)", "u1", "ana@example.com", 0); err != nil {
			return fmt.Errorf("add user: %w", err) // %w, so that a conflict is seen
		}
		email, err := emailOf(ctx, tx, "u1")
		fmt.Println("inside:", email)
		return errors.Join(err, errors.New("changed my mind"))
	})
	fmt.Println(err)
	_, err = emailOf(ctx, db, "u1")
	fmt.Println("afterwards:", err)
	// Output:
	// inside: ana@example.com
	// changed my mind
	// afterwards: database: not found: sql: no rows in result set
}
