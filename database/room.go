package database

import (
	"context"
	"fmt"
)

// CheckRoom reports whether PostgreSQL has room for all connections of db's pool beside
// those of others that are open now: max_connections less those reserved for superusers,
// and the limits of the role and of the database. It returns nil on SQLite, and the error
// says which limit is too low. The connections of a pooler in between are its own; there
// the result says nothing of this program's.
func (db *DB) CheckRoom(ctx context.Context) error {
	if db.target.dialect != Postgres {
		return nil
	}
	var server, role, database, all, ofRole, ofDatabase int
	row := db.QueryRow(ctx, `SELECT
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
		(SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
		(SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),
		(SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND usename = current_user),
		(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())`)
	if err := row.Scan(&server, &role, &database, &all, &ofRole, &ofDatabase); err != nil {
		return err
	}
	own := db.writer.Stats().OpenConnections
	for _, limit := range []struct {
		name       string
		value, use int
	}{{"max_connections", server, all}, {"the role's CONNECTION LIMIT", role, ofRole}, {"the database's CONNECTION LIMIT", database, ofDatabase}} {
		if others := max(limit.use-own, 0); limit.value >= 0 && others+db.config.MaxOpen > limit.value {
			return fmt.Errorf("database: PostgreSQL lets programs open %d connections (%s), others have %d open now, and max_open is %d", limit.value, limit.name, others, db.config.MaxOpen)
		}
	}
	return nil
}
