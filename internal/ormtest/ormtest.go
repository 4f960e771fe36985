// Package ormtest uses sqlx and ent on databases of package database. It is a module of its own,
// so that programs that use chassi depend on neither of them.
package ormtest

import (
	"context"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/chassi-go/chassi/database"
	"github.com/jmoiron/sqlx"
)

// SQLX returns db for sqlx. SQLite and PostgreSQL both support placeholders of the form $1.
func SQLX(db *database.DB) *sqlx.DB { return sqlx.NewDb(db.SQL(), "pgx") }

// Ent returns a driver of ent that runs its statements on x, which is db.DBTX() or the DBTX of a
// transaction of db. It begins no transactions: use [database.DB.Write] for those.
func Ent(db *database.DB, x database.DBTX) dialect.Driver {
	name := dialect.SQLite
	if db.Dialect() == database.Postgres {
		name = dialect.Postgres
	}
	return driver{entsql.NewDriver(name, entsql.Conn{ExecQuerier: x})}
}

type driver struct{ dialect.Driver }

// Tx begins no transaction.
func (d driver) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d.Driver), nil }
