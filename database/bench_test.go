package database

import (
	"context"
	"database/sql"
	"testing"

	"modernc.org/sqlite"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// BenchmarkRead is one row by its key. "uncached" is SQLite through database/sql
// alone, which prepares the statement every time.
func BenchmarkRead(b *testing.B) {
	const query = "SELECT n FROM counters WHERE id = $1"
	lite := counters(b, Config{URL: dbtest.SQLite(b)})
	connector, err := sqlite.NewConnector(lite.target.sqliteReader())
	if err != nil {
		b.Fatal(err)
	}
	uncached := sql.OpenDB(connector)
	defer func() { _ = uncached.Close() }()
	b.Run("sqlite", func(b *testing.B) { benchmarkRead(b, lite, query) })
	b.Run("sqlite/uncached", func(b *testing.B) {
		benchmarkRead(b, &DB{config: lite.config, target: lite.target, reader: uncached, writer: uncached}, query)
	})
	b.Run("postgres", func(b *testing.B) { benchmarkRead(b, counters(b, Config{URL: dbtest.Postgres(b)}), query) })
}

func benchmarkRead(b *testing.B, db *DB, query string) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var n int64
			if err := db.QueryRow(b.Context(), query, 1).Scan(&n); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkWrite is a transaction of one statement on one row, from one writer.
func BenchmarkWrite(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { benchmarkWrite(b, counters(b, Config{URL: dbtest.SQLite(b)})) })
	b.Run("memory", func(b *testing.B) { benchmarkWrite(b, counters(b, Config{URL: "sqlite::memory:"})) })
	b.Run("postgres", func(b *testing.B) { benchmarkWrite(b, counters(b, Config{URL: dbtest.Postgres(b)})) })
}

func benchmarkWrite(b *testing.B, db *DB) {
	b.ReportAllocs()
	for b.Loop() {
		err := db.Write(b.Context(), func(ctx context.Context, tx *Tx) error {
			_, err := tx.Exec(ctx, "UPDATE counters SET n = n + 1 WHERE id = $1", 1)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
