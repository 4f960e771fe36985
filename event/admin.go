package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// DeadLetter is an event, or a run of a job, that failed permanently.
type DeadLetter = task.DeadLetter

// Selection selects dead letters by their queues and IDs.
type Selection = task.Selection

// DeadLetters returns the first hundred of the selected dead letters in the order of their IDs,
// which is the order in which their tasks were inserted.
func DeadLetters(ctx context.Context, db *database.DB, s Selection) ([]DeadLetter, error) {
	return task.DeadLetters(ctx, db, s)
}

// ErrUniqueTaken is returned by [Redrive] if it leaves dead letters because other runs with the
// same job.Unique keys are waiting or running. The cause of the error lists the IDs of the
// remaining dead letters, at most ten.
var ErrUniqueTaken = task.ErrUniqueTaken

// Redrive turns the selected dead letters into waiting events and job runs again, in their original
// order and with the full number of tries. It returns the number of dead letters that it has
// redriven. Runs of jobs keep their job.Unique keys; if another run has the key of a dead letter,
// Redrive leaves the dead letter and returns [ErrUniqueTaken].
func Redrive(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return task.Redrive(ctx, db, s)
}

// Discard deletes the selected dead letters and returns the number of dead letters that it has
// deleted.
func Discard(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return task.Discard(ctx, db, s)
}

// ReplayOptions selects the events that [Replay] publishes again, and the subscription that
// receives them.
type ReplayOptions struct {
	Topic        string
	Subscription string    // the only subscription that receives the events
	Since        time.Time // the earliest time of publication, in milliseconds on SQLite; zero for no limit
	SinceID      string    // the ID of the first event; "" for the first kept event
}

// Replayed is the result of [Replay].
type Replayed struct {
	ID     string // ID of the replay, by which the inbox recognizes duplicates
	Events int    // the number of events that were published again
	Known  bool   // whether this database has the subscription; with a broker, others may have it
}

// replayBatch is the maximum number of events that are copied in one transaction.
const replayBatch = 1000

// Replay publishes the kept events of a topic again for one subscription, in their original order
// and with their original IDs; see [Keep]. db must be the database of the publisher. Replay returns
// an error if no event of the topic is kept, or if no kept event has the ID o.SinceID. If it fails
// later, the result still counts the events that have been published again.
func Replay(ctx context.Context, db *database.DB, o ReplayOptions) (r Replayed, err error) {
	r.ID = newID()
	var kept bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM chassi_subscriptions WHERE name = $1),
		EXISTS (SELECT 1 FROM chassi_outbox WHERE topic = $2 AND relayed_at IS NOT NULL)`, o.Subscription, o.Topic).Scan(&r.Known, &kept)
	if err == nil && !kept {
		err = fmt.Errorf("event: topic %.100q has no retained events", o.Topic)
	}
	if err != nil {
		return r, err
	}
	at := position{xid: "0"}
	if o.SinceID != "" {
		if at, err = positionOf(ctx, db, o); err != nil {
			return r, err
		}
	}
	for {
		var n int
		var next position
		err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
			n, next, err = at.copy(ctx, tx, o, r.ID)
			return err
		})
		if err != nil || n == 0 {
			return r, err
		}
		r.Events, at = r.Events+n, next
	}
}

// position is the position of an event in the order of the outbox.
type position struct {
	xid string
	id  int64
}

func positionOf(ctx context.Context, db *database.DB, o ReplayOptions) (at position, err error) {
	err = db.QueryRow(ctx, `SELECT CAST(xid AS TEXT), id - 1 FROM chassi_outbox
		WHERE topic = $1 AND event_id = $2 AND replay = '' AND relayed_at IS NOT NULL`, o.Topic, o.SinceID).Scan(&at.xid, &at.id)
	if errors.Is(err, database.ErrNotFound) {
		err = fmt.Errorf("event: topic %s has no retained event with the ID %.100q", o.Topic, o.SinceID)
	}
	return at, err
}

// copy inserts copies of at most replayBatch kept events after the position into the outbox. It
// returns the number of copied events and the position of the last one.
func (at position) copy(ctx context.Context, tx *database.Tx, o ReplayOptions, replay string) (n int, next position, err error) {
	const selected = ` FROM chassi_outbox
		WHERE topic = $1 AND relayed_at IS NOT NULL AND (xid, id) > (CAST(CAST($2 AS TEXT) AS xid8), $3) AND created_at >= $4
		ORDER BY xid, id LIMIT $5`
	args := []any{o.Topic, at.xid, at.id, max(o.Since.UnixMicro(), 0), replayBatch}
	copied, err := task.Select(ctx, tx, func(p *position) []any { return []any{&p.xid, &p.id} }, "SELECT CAST(xid AS TEXT), id"+selected, args...)
	if err != nil || len(copied) == 0 {
		return 0, at, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO chassi_outbox (event_id, topic, key, shard, headers, body, target, replay)
		SELECT event_id, topic, key, shard, headers, body, $6, $7`+selected, append(args, o.Subscription, replay)...)
	return len(copied), copied[len(copied)-1], err
}

// Removed is the result of [Remove]: the numbers of deleted tasks and dead letters.
type Removed struct{ Tasks, Dead int64 }

// servedFor is how long [Remove] refuses to remove a subscription after a program has last served
// it, while any program uses the database. It is longer than [housekeepInterval], the interval at
// which servers record that they serve a subscription.
const servedFor = 2 * time.Minute

// Remove removes a subscription that no program serves anymore, with its waiting events and dead
// letters, and returns the numbers of deleted rows. It returns an error if the subscription does
// not exist, or if it was served within the last two minutes and any program that uses the database
// is running. Remove does not delete a queue that a broker keeps for the subscription.
func Remove(ctx context.Context, db *database.DB, subscription string) (r Removed, err error) {
	var known int64
	var served bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM chassi_subscriptions WHERE name = $1 AND seen_at > $2 + `+task.Now(db.Dialect())+`)
		AND EXISTS (SELECT 1 FROM chassi_leases WHERE name LIKE 'node/%')`, subscription, -servedFor.Microseconds()).Scan(&served)
	if err != nil {
		return r, err
	}
	if served {
		return r, fmt.Errorf("event: a program has served the subscription %s within the last two minutes; stop all programs that serve it, and try again two minutes later", subscription)
	}
	const rows = " WHERE queue = $1 AND EXISTS (SELECT 1 FROM chassi_subscriptions WHERE name = $1)"
	args := []any{subscription}
	err = db.Batch(ctx,
		database.Statement{SQL: "DELETE FROM chassi_tasks" + rows, Args: args, Affected: &r.Tasks},
		database.Statement{SQL: "DELETE FROM chassi_dead" + rows, Args: args, Affected: &r.Dead},
		database.Statement{SQL: "DELETE FROM chassi_subscriptions WHERE name = $1", Args: args, Affected: &known})
	if err == nil && known == 0 {
		err = fmt.Errorf("event: there is no subscription %.100q", subscription)
	}
	return r, err
}

// Migrate creates or updates the tables of events in db. A [Server] does this when it starts; a
// program that publishes events earlier must call Migrate first. Migrate returns a
// [chassi.Unavailable] error if the database is unavailable.
func Migrate(ctx context.Context, db *database.DB) error { return task.Migrate(ctx, db) }
