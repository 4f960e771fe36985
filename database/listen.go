package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrNoNotifications is returned by [DB.Listen] for a database that does not support notifications:
// SQLite, and PostgreSQL after an earlier connection of the DB has detected a pooler.
var ErrNoNotifications = errors.New("database: notifications are not supported on SQLite or through a pooler")

// Listen calls notified with the payload of each notification that PostgreSQL sends to channel
// (NOTIFY). It also calls notified once, with an empty payload, when it begins to listen, because
// earlier notifications are lost. notified must not block. Listen uses a separate connection. It returns
// [ErrNoNotifications] if the database does not support notifications, and otherwise blocks until the
// connection breaks or ctx is done. The error is never nil.
func (db *DB) Listen(ctx context.Context, channel string, notified func(payload string)) error {
	if err := db.refuseClosed("listen"); err != nil {
		return err
	}
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
