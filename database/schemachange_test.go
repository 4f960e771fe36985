package database

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// A schema that changes under a running service fails none of its calls: the statements that
// connections have prepared are prepared anew.
func TestSchemaChangesUnderRunningCalls(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"sqlite": dbtest.SQLite(t), "postgres": dbtest.Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const connections = 4
			db := counters(t, Config{URL: url, MaxOpen: connections})
			const query = "SELECT * FROM counters WHERE id = $1" //nolint:unqueryvet // whose columns change
			scan := func(rows *Rows) error {
				if !rows.Next() {
					return fmt.Errorf("no row: %w", rows.Err())
				}
				return rows.Close()
			}
			kinds := map[string]func(context.Context) error{
				"Query": func(ctx context.Context) error {
					rows, err := db.Query(ctx, query, 1)
					if err != nil {
						return err
					}
					return scan(rows)
				},
				"Read": func(ctx context.Context) error {
					return db.Read(ctx, func(ctx context.Context, tx *Tx) error {
						rows, err := tx.Query(ctx, query, 1)
						if err != nil {
							return err
						}
						return scan(rows)
					})
				},
				"Write": func(ctx context.Context) error {
					return db.Write(ctx, func(ctx context.Context, tx *Tx) error {
						rows, err := tx.Query(ctx, "UPDATE counters SET n = n + 1 WHERE id = $1 RETURNING *", 1)
						if err != nil {
							return err
						}
						return scan(rows)
					})
				},
				"Batch": func(ctx context.Context) error {
					return db.Batch(ctx, Statement{SQL: query, Args: []any{1}, Rows: func(c Cursor) error {
						for c.Next() {
						}
						return nil
					}})
				},
			}
			calls := func() {
				t.Helper()
				for kind, call := range kinds {
					var all sync.WaitGroup
					for range 2 * connections { // on each connection
						all.Go(func() {
							if err := call(t.Context()); err != nil {
								t.Errorf("%s: %v", kind, err)
							}
						})
					}
					all.Wait()
				}
			}
			calls()
			calls()
			for i := range 3 {
				mustExec(t, db, fmt.Sprintf("ALTER TABLE counters ADD COLUMN extra%d BIGINT NOT NULL DEFAULT 7", i))
				calls()
			}
		})
	}
}
