package ormtest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/fstest"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/ormtest"
	"github.com/chassi-go/chassi/internal/ormtest/ent"
	"github.com/chassi-go/chassi/internal/ormtest/ent/account"
	"github.com/jmoiron/sqlx"
)

const create = `-- +goose Up
CREATE TABLE accounts (id TEXT NOT NULL PRIMARY KEY, email TEXT NOT NULL UNIQUE, balance BIGINT NOT NULL);
`

var errUndo = errors.New("undo")

// engines runs test on SQLite and PostgreSQL, with an empty table accounts.
func engines(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, err := database.Open(t.Context(), database.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		file := &fstest.MapFile{Data: []byte(create)}
		if _, err := db.Migrate(t.Context(), fstest.MapFS{"sqlite/00001_accounts.sql": file, "postgres/00001_accounts.sql": file}); err != nil {
			t.Fatal(err)
		}
		test(t, db)
	})
}

type accountRow struct {
	ID      string `db:"id"`
	Email   string `db:"email"`
	Balance int64  `db:"balance"`
}

// sqlx over the pool: queries into structs, named parameters, its own transactions, and errors
// that package database recognizes.
func TestSQLXOverThePool(t *testing.T) {
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		x := ormtest.SQLX(db)
		insert := "INSERT INTO accounts (id, email, balance) VALUES (:id, :email, :balance)"
		ada := accountRow{"1", "ada@example.org", 7}
		if _, err := x.NamedExecContext(ctx, insert, ada); err != nil {
			t.Fatal(err)
		}
		if _, err := x.NamedExecContext(ctx, insert, accountRow{"2", "ada@example.org", 0}); !database.IsUnique(err) {
			t.Errorf("%v, want a violation of a unique constraint", err)
		}
		tx, err := x.BeginTxx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(ctx, tx.Rebind("UPDATE accounts SET balance = ?"), 0); err != nil {
			t.Error(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		var rows []accountRow
		if err := x.SelectContext(ctx, &rows, "SELECT * FROM accounts"); err != nil || !slices.Equal(rows, []accountRow{ada}) {
			t.Errorf("%+v, %v; want %+v", rows, err, ada)
		}
	})
}

// sqlx in a transaction of package database: its functions build the query and read the rows.
func TestSQLXInTransaction(t *testing.T) {
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		add := func(tx *database.Tx, a accountRow) error {
			query, args, err := sqlx.BindNamed(sqlx.DOLLAR, "INSERT INTO accounts (id, email, balance) VALUES (:id, :email, :balance)", a)
			if err != nil {
				return err
			}
			_, err = tx.DBTX().ExecContext(ctx, query, args...)
			return err
		}
		list := func(q database.DBTX) (rows []accountRow) {
			found, err := q.QueryContext(ctx, "SELECT * FROM accounts")
			if err != nil {
				t.Fatal(err)
			}
			if err := sqlx.StructScan(found, &rows); err != nil { // closes the rows
				t.Fatal(err)
			}
			return rows
		}
		ada := accountRow{"1", "ada@example.org", 7}
		err := db.Write(ctx, func(_ context.Context, tx *database.Tx) error { return add(tx, ada) })
		if err != nil {
			t.Fatal(err)
		}
		err = db.Write(ctx, func(_ context.Context, tx *database.Tx) error {
			if err := add(tx, accountRow{"2", "bob@example.org", 0}); err != nil {
				return err
			}
			if n := len(list(tx.DBTX())); n != 2 {
				t.Errorf("%d rows in the transaction, want 2", n)
			}
			return errUndo
		})
		if rows := list(db.DBTX()); !errors.Is(err, errUndo) || !slices.Equal(rows, []accountRow{ada}) {
			t.Errorf("%v; %+v, want %+v", err, rows, ada)
		}
		err = db.Write(ctx, func(_ context.Context, tx *database.Tx) error { return add(tx, ada) })
		if !database.IsUnique(err) {
			t.Errorf("%v, want a violation of a unique constraint", err)
		}
	})
}

// ent over the pool: queries, its own transactions, and errors that both recognize.
func TestEntOverThePool(t *testing.T) {
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		name := map[database.Dialect]string{database.SQLite: dialect.SQLite, database.Postgres: dialect.Postgres}[db.Dialect()]
		c := ent.NewClient(ent.Driver(entsql.OpenDB(name, db.SQL())))
		checkEnt(t, c)
		tx, err := c.Tx(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Account.Update().SetBalance(0).Exec(ctx); err != nil {
			t.Error(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if n := c.Account.Query().Where(account.Balance(7)).CountX(ctx); n != 1 {
			t.Errorf("%d accounts with the old balance, want 1", n)
		}
	})
}

// ent over a DBTX, outside and inside a transaction of package database.
func TestEntOverDBTX(t *testing.T) {
	engines(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		c := ent.NewClient(ent.Driver(ormtest.Ent(db, db.DBTX())))
		checkEnt(t, c)
		err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			inside := ent.NewClient(ent.Driver(ormtest.Ent(db, tx.DBTX())))
			if err := inside.Account.UpdateOneID("1").SetBalance(0).Exec(ctx); err != nil {
				return err
			}
			if n := inside.Account.Query().Where(account.Balance(0)).CountX(ctx); n != 1 {
				t.Errorf("%d changed accounts in the transaction, want 1", n)
			}
			return errUndo
		})
		if a := c.Account.GetX(ctx, "1"); !errors.Is(err, errUndo) || a.Balance != 7 {
			t.Errorf("%v; %v after the rollback", err, a)
		}
		err = db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			return ent.NewClient(ent.Driver(ormtest.Ent(db, tx.DBTX()))).Account.UpdateOneID("1").SetBalance(8).Exec(ctx)
		})
		if a := c.Account.GetX(ctx, "1"); err != nil || a.Balance != 8 {
			t.Errorf("%v; %v after the commit", err, a)
		}
	})
}

// checkEnt creates and queries the account with the ID 1.
func checkEnt(t *testing.T, c *ent.Client) {
	t.Helper()
	ctx := t.Context()
	if err := c.Account.Create().SetID("1").SetEmail("ada@example.org").SetBalance(7).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	err := c.Account.Create().SetID("2").SetEmail("ada@example.org").SetBalance(0).Exec(ctx)
	if !database.IsUnique(err) || !ent.IsConstraintError(err) {
		t.Errorf("%v, want a violation of a unique constraint", err)
	}
	if _, err := c.Account.Get(ctx, "3"); !ent.IsNotFound(err) {
		t.Errorf("%v, want an error of ent for a row that does not exist", err)
	}
	if a, err := c.Account.Query().Where(account.EmailHasSuffix("@example.org")).Only(ctx); err != nil || a.ID != "1" || a.Balance != 7 {
		t.Errorf("%v, %v", a, err)
	}
}
