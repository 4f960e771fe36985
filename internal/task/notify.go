package task

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/database"
)

// channel is the channel of PostgreSQL's notifications. The payload is the session of the
// sender.
const channel = "chassi_tasks"

// notifyPause is the shortest time between two notifications of this node, because PostgreSQL
// serializes the transactions that send them.
const notifyPause = 20 * time.Millisecond

// Notify wakes this node, and soon after the others that use the database.
func (e *Engine) Notify() {
	e.Wake()
	Signal(e.sent)
}

// OnCommit calls [Engine.Notify] after the commit of tx. If tx has no method OnCommit, such as a
// *sql.Tx, it calls Notify at once; what is committed later is found by polling.
func (e *Engine) OnCommit(tx Execer) {
	if c, ok := tx.(interface{ OnCommit(f func()) }); ok {
		c.OnCommit(e.Notify)
		return
	}
	e.Notify()
}

// notify sends notifications to the other nodes on PostgreSQL, until ctx ends.
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

// listen wakes this node when another node notifies it, until ctx ends.
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
