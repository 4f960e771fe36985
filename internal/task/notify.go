package task

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// channel is the PostgreSQL notification channel that the engines use. The payload is the ID of the
// session of the sender.
const channel = "chassi_tasks"

// notifyPause is the minimum time between two notifications that this node sends. PostgreSQL
// serializes the transactions that send notifications.
const notifyPause = 20 * time.Millisecond

// Notify wakes this node at once, and the other nodes that use the database a short time later.
// Nodes that receive no notifications find new work when they poll.
func (e *Engine) Notify() {
	e.Wake()
	Signal(e.sent)
}

// OnCommit calls [Engine.Notify] after the commit of tx. If tx has no method OnCommit, as is the
// case for a *sql.Tx, it calls Notify at once; tasks that are committed later are found by polling.
func (e *Engine) OnCommit(tx Execer) {
	if c, ok := tx.(interface{ OnCommit(f func()) }); ok {
		c.OnCommit(e.Notify)
		return
	}
	e.Notify()
}

// notify sends notifications to the other nodes until ctx is done. On databases other than
// PostgreSQL, it returns at once.
func (e *Engine) notify(ctx context.Context) {
	if e.db.Dialect() != database.Postgres {
		return
	}
	for {
		select {
		case <-e.sent:
		case <-ctx.Done():
			return
		}
		_ = e.db.BatchShared(ctx, database.Statement{SQL: "SELECT pg_notify($1, $2)", Args: []any{channel, e.Session()}}) // the others poll
		Sleep(ctx, notifyPause)
	}
}

// listen wakes this node when another node sends a notification, until ctx is done. It returns at
// once if the database does not support notifications.
func (e *Engine) listen(ctx context.Context) {
	for {
		err := e.db.Listen(ctx, channel, func(sender string) {
			if sender != e.Session() {
				e.Wake()
			}
		})
		if ctx.Err() != nil || errors.Is(err, database.ErrNoNotifications) {
			return
		}
		e.outages.Failed(err)
		Sleep(ctx, e.o.Poll)
	}
}
