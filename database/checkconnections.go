package database

import (
	"context"
	"fmt"
)

// CheckConnections returns an error if PostgreSQL does not permit [Config.MaxOpen] connections in
// addition to those that other programs have open now. It checks max_connections, minus the
// connections reserved for superusers, and the connection limits of the role and of the database.
// The error names the limit. CheckConnections also returns an error if the limits cannot be read.
// It returns nil on SQLite. Behind a pooler, the result describes the pooler's connections, not
// those of this program.
func (db *DB) CheckConnections(ctx context.Context) error {
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
	}{
		{"max_connections minus superuser_reserved_connections", server, all},
		{"the role's CONNECTION LIMIT", role, ofRole},
		{"the database's CONNECTION LIMIT", database, ofDatabase},
	} {
		if others := max(limit.use-own, 0); limit.value >= 0 && others+db.config.MaxOpen > limit.value {
			return fmt.Errorf("database: PostgreSQL permits %d connections (%s), other programs have %d open, and database.max_connections is %d: "+
				"lower database.max_connections, or raise PostgreSQL's limit", limit.value, limit.name, others, db.config.MaxOpen)
		}
	}
	return nil
}
