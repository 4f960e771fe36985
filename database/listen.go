package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrNoNotifications is returned by [DB.Listen] where the database cannot notify: SQLite, and
// PostgreSQL behind a pooler.
var ErrNoNotifications = errors.New("database: no notifications here")

// Listen calls notified for each notification of a channel of PostgreSQL (NOTIFY), and once when
// it listens, because earlier ones are lost. It uses a connection of its own and blocks until
// that breaks or ctx ends, and returns the error. notified must not block.
func (db *DB) Listen(ctx context.Context, channel string, notified func(payload string)) error {
	if db.target.dialect == SQLite || db.connector.behindPooler.Load() {
		return ErrNoNotifications
	}
	config, err := postgresConfig(db.config, db.target)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return db.writing().fail(ctx, "listen", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it only listened
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return db.writing().fail(ctx, "listen", err)
	}
	notified("")
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("database: listen: %w", err)
		}
		notified(n.Payload)
	}
}
