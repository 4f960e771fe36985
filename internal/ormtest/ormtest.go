// Package ormtest adapts package database to sqlx and ent, and tests both. It is a separate module,
// so that programs that use chassi do not depend on sqlx or ent.
package ormtest

import (
	"context"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/chassi-go/chassi/database"
	"github.com/jmoiron/sqlx"
)

// SQLX returns a [sqlx.DB] that uses the connections of db. The driver name "pgx" selects
// placeholders of the form $1, which both SQLite and PostgreSQL support.
func SQLX(db *database.DB) *sqlx.DB { return sqlx.NewDb(db.SQL(), "pgx") }

// Ent returns an ent driver that runs its statements on x, which must be the result of db.DBTX or
// of the DBTX method of a transaction of db. The driver does not begin transactions: use
// [database.DB.Write] to begin one.
func Ent(db *database.DB, x database.DBTX) dialect.Driver {
	name := dialect.SQLite
	if db.Dialect() == database.Postgres {
		name = dialect.Postgres
	}
	return driver{entsql.NewDriver(name, entsql.Conn{ExecQuerier: x})}
}

type driver struct{ dialect.Driver }

// Tx implements [dialect.Driver]. It begins no transaction: the result runs its statements on d,
// and its Commit and Rollback methods do nothing.
func (d driver) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d.Driver), nil }
