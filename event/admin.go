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

// Selection selects dead letters.
type Selection = task.Selection

// DeadLetters returns the selected dead letters, at most a hundred, in the order of their ids,
// which is the order in which their tasks were inserted.
func DeadLetters(ctx context.Context, db *database.DB, s Selection) ([]DeadLetter, error) {
	return task.DeadLetters(ctx, db, s)
}

// ErrUniqueTaken is the error of [Redrive] if it leaves dead letters because other runs with the
// same job.Unique keys wait or run. Its cause lists the ids of the dead letters that are left, at
// most ten.
var ErrUniqueTaken = task.ErrUniqueTaken

// Redrive delivers dead letters to their subscriptions again, and repeats runs of jobs, in their
// original order and with all of their tries. It returns the number of dead letters that it has
// redriven. A run of a job has its job.Unique key again; see also [ErrUniqueTaken].
func Redrive(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return task.Redrive(ctx, db, s)
}

// Discard deletes dead letters, and returns the number of those that it has deleted.
func Discard(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return task.Discard(ctx, db, s)
}

// ReplayOptions selects the events that [Replay] publishes again, and the subscription that
// receives them.
type ReplayOptions struct {
	Topic        string
	Subscription string    // the only one that receives the events
	Since        time.Time // the earliest time of publication; zero for all
	SinceID      string    // the id of the first event; "" for all
}

// Replayed is the result of a replay.
type Replayed struct {
	ID     string // of the replay; the inbox recognizes by it events of the replay that arrive twice
	Events int    // the number of events that were published again
	Known  bool   // whether this database has the subscription; with a broker, another database may have it
}

// replayBatch is the number of events that are copied in one transaction.
const replayBatch = 1000

// Replay publishes the events of a topic that are kept ([Keep]) again, in their order and with
// their ids, to one subscription. It runs on the database of the publisher. If Replay fails, the
// events that the result counts have been published again, and the others have not. It returns an
// error if no event of the topic is kept.
func Replay(ctx context.Context, db *database.DB, o ReplayOptions) (r Replayed, err error) {
	r.ID = newID()
	var kept bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM chassi_subscriptions WHERE name = $1),
		EXISTS (SELECT 1 FROM chassi_outbox WHERE topic = $2 AND relayed_at IS NOT NULL)`, o.Subscription, o.Topic).Scan(&r.Known, &kept)
	if err == nil && !kept {
		err = fmt.Errorf("event: no event of topic %.100q is kept", o.Topic)
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

// position is the place of an event in the order of the outbox.
type position struct {
	xid string
	id  int64
}

func positionOf(ctx context.Context, db *database.DB, o ReplayOptions) (at position, err error) {
	err = db.QueryRow(ctx, `SELECT CAST(xid AS TEXT), id - 1 FROM chassi_outbox
		WHERE topic = $1 AND event_id = $2 AND replay = '' AND relayed_at IS NOT NULL`, o.Topic, o.SinceID).Scan(&at.xid, &at.id)
	if errors.Is(err, database.ErrNotFound) {
		err = fmt.Errorf("event: topic %s keeps no event with the id %.100q", o.Topic, o.SinceID)
	}
	return at, err
}

// copy inserts copies of the events after the position into the outbox, at most replayBatch. It
// returns the number of the copied events, and the position of the last one.
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

// servedFor is the time for which [Remove] refuses to remove a subscription after a program has
// last served it, if any program runs. It is longer than [housekeepInterval].
const servedFor = 2 * time.Minute

// Remove removes a subscription that no program has any more, with its waiting events and dead
// letters. It returns an error if there is no such subscription, or if a program has served it
// within the last two minutes and any program that uses the database runs. A broker may keep a
// queue of the subscription, which must be removed at the broker.
func Remove(ctx context.Context, db *database.DB, subscription string) (r Removed, err error) {
	var known int64
	var served bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM chassi_subscriptions WHERE name = $1 AND seen_at > $2 + `+task.Now(db.Dialect())+`)
		AND EXISTS (SELECT 1 FROM chassi_leases WHERE name LIKE 'node/%')`, subscription, -servedFor.Microseconds()).Scan(&served)
	if err != nil {
		return r, err
	}
	if served {
		return r, fmt.Errorf("event: a program has served the subscription %s within the last two minutes; remove it when no program has it", subscription)
	}
	const rows = " WHERE queue = $1 AND EXISTS (SELECT 1 FROM chassi_subscriptions WHERE name = $1)"
	args := []any{subscription}
	err = db.Batch(ctx,
		database.Statement{SQL: "DELETE FROM chassi_tasks" + rows, Args: args, Affected: &r.Tasks},
		database.Statement{SQL: "DELETE FROM chassi_dead" + rows, Args: args, Affected: &r.Dead},
		database.Statement{SQL: "DELETE FROM chassi_subscriptions WHERE name = $1", Args: args, Affected: &known})
	if err == nil && known == 0 {
		err = fmt.Errorf("event: no subscription %.100q", subscription)
	}
	return r, err
}

// Migrate creates or updates the tables of events in db. A [Server] does so when it starts; a
// program that publishes before that calls Migrate first. It returns a [chassi.Unavailable] error
// if the database is unavailable.
func Migrate(ctx context.Context, db *database.DB) error { return task.Migrate(ctx, db) }
