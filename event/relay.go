package event

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// The maximum numbers of events in a batch of the relay: batchSize through a broker, and
// movedTogether within the database, where the server does not read the events themselves.
const (
	batchSize     = 250
	movedTogether = 1000
)

// inboxTime is how long the inbox remembers the ID of a received event, to recognize duplicates.
const inboxTime = 7 * 24 * time.Hour

// statements are the SQL statements of a server.
type statements struct {
	register, pending, pendingIDs, lock, distribute, forget, keep string
	expireOutbox, expireInbox, own, receive                       string
	oldest, unserved                                              string
}

// horizon is the SQL condition under which a row of the outbox may be relayed on PostgreSQL. A
// keyed or kept event may be relayed only if no running transaction can still commit an earlier
// event, so that the order of these events is final when they are relayed. Other events may always
// be relayed.
const horizon = "(key = '' AND keep = 0 OR xid < pg_snapshot_xmin(pg_current_snapshot()))"

func newStatements(d database.Dialect) statements {
	strict, lock := "TRUE", ""
	if d == database.Postgres {
		strict, lock = horizon, " FOR KEY SHARE"
	}
	ids := task.In(d, "o.id", "$2")
	now := task.Now(d)
	// Only the node that owns the lease of a shard relays the events of the shard.
	const mine = "relayed_at IS NULL AND EXISTS (SELECT 1 FROM chassi_leases AS l WHERE l.name = 'relay/' || o.shard AND l.owner = $1)"
	const ordered = "s.ordered AND o.key <> ''"
	as := " AS o "
	waiting := " FROM chassi_outbox WHERE relayed_at IS NULL AND " + task.In(d, "shard", "$1") + " AND " + strict
	const oldest = " ORDER BY xid, id LIMIT "
	age := func(label, condition string) string {
		return `SELECT '` + label + `', coalesce(` + now + ` - min(created_at), 0) / 1000000.0 FROM chassi_outbox WHERE relayed_at IS NULL AND ` + condition
	}
	return statements{
		register: `INSERT INTO chassi_subscriptions (name, topic, ordered, hold, seen_at) VALUES ($1, $2, $3, $4, ` + now + `)
			ON CONFLICT (name) DO UPDATE SET ordered = excluded.ordered, hold = excluded.hold, seen_at = excluded.seen_at
			RETURNING topic`,
		pending: `SELECT id, CASE WHEN replay = '' THEN event_id ELSE replay || '/' || event_id END, topic, key, target, headers, body` +
			waiting + " AND NOT " + task.In(d, "topic", "$2") + oldest + strconv.Itoa(batchSize),
		pendingIDs: `SELECT id` + waiting + oldest + strconv.Itoa(movedTogether),
		lock:       `SELECT 1 FROM chassi_leases WHERE owner = $1 AND name >= 'relay/' AND name < 'relay0'` + lock,
		distribute: `INSERT INTO chassi_tasks (queue, uid, key, hold, state, headers, body)
			SELECT s.name, o.event_id, CASE WHEN ` + ordered + ` THEN o.key ELSE '' END, s.hold, CASE WHEN ` + ordered + ` THEN 2 ELSE 0 END, o.headers, o.body
			FROM chassi_outbox AS o JOIN chassi_subscriptions AS s ON s.topic = o.topic AND o.target IN ('', s.name)
			WHERE ` + ids + ` AND o.` + mine + ` ORDER BY o.xid, o.id
			RETURNING queue, key`,
		forget: `DELETE FROM chassi_outbox` + as + `WHERE ` + ids + ` AND o.keep = 0 AND o.` + mine,
		keep:   `UPDATE chassi_outbox` + as + `SET relayed_at = ` + now + ` WHERE ` + ids + ` AND o.keep > 0 AND o.` + mine,
		expireOutbox: `DELETE FROM chassi_outbox WHERE id IN
			(SELECT id FROM chassi_outbox WHERE relayed_at IS NOT NULL AND relayed_at + keep < ` + now + ` LIMIT 1000)`,
		expireInbox: `DELETE FROM chassi_inbox WHERE (subscription, id) IN
			(SELECT subscription, id FROM chassi_inbox WHERE until < ` + now + ` ORDER BY until LIMIT 1000)`,
		own: `SELECT 1 FROM chassi_leases WHERE name = $1 AND owner = $2` + lock,
		receive: `INSERT INTO chassi_inbox (subscription, id, until) VALUES ($1, $2, ` + now + ` + ` + strconv.FormatInt(inboxTime.Microseconds(), 10) + `)
			ON CONFLICT (subscription, id) DO NOTHING`,
		oldest:   age("ready", strict) + " UNION ALL " + age("held", "NOT "+strict),
		unserved: `SELECT name, (` + now + ` - seen_at) / 1000000.0 FROM chassi_subscriptions`,
	}
}

// relay relays events until ctx is done.
func (s *Server) relay(ctx context.Context) {
	var owned []int
	var session string
	var shared time.Time
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		var err error
		refused := make(map[string]error) // by topic
		for more := true; err == nil && more; {
			if time.Since(shared) >= s.o.Poll || session != s.engine.Session() {
				owned, session, err = s.engine.Share(ctx, "relay", shards)
				shared = time.Now()
			}
			if more = false; err == nil && len(owned) > 0 {
				more, err = s.relayBatch(ctx, session, owned, refused)
			}
		}
		err = errors.Join(append(slices.Collect(maps.Values(refused)), err)...)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.outages.Failed(err)
			shared = time.Time{}
			if !task.Sleep(ctx, s.o.Poll/2) {
				return
			}
			task.Signal(s.wake)
		default:
			s.outages.Succeeded()
		}
	}
}

// relayBatch relays the oldest events of the owned shards, except for those of the topics in
// refused. If the broker refuses an event, relayBatch adds the topic and the error to refused. It
// reports whether there may be more events to relay.
func (s *Server) relayBatch(ctx context.Context, session string, owned []int, refused map[string]error) (more bool, err error) {
	shards := task.List(s.db.Dialect(), owned)
	var ids []int64
	if s.o.Backend == nil {
		ids, err = task.Select(ctx, s.db, func(id *int64) []any { return []any{id} }, s.sql.pendingIDs, shards)
		more = len(ids) == movedTogether
	} else {
		var events []Message
		without := task.List(s.db.Dialect(), slices.AppendSeq([]string{}, maps.Keys(refused)))
		if events, err = task.Select(ctx, s.db, (*Message).fields, s.sql.pending, shards, without); err == nil {
			ids = s.send(ctx, events, refused)
			more = len(events) == batchSize
		}
	}
	if err == nil && len(ids) > 0 {
		err = s.settle(ctx, session, ids)
	}
	return more, err
}

// settle records that the events with the given IDs are relayed: it marks those that are to be kept
// and deletes the others. Without a broker, it first inserts a task for each event and each
// subscription that receives the event.
func (s *Server) settle(ctx context.Context, session string, ids []int64) error {
	args := []any{session, task.List(s.db.Dialect(), ids)}
	var keys []task.Key
	batch := []database.Statement{{SQL: s.sql.lock, Args: args[:1]}}
	if s.o.Backend == nil {
		batch = append(batch, database.Statement{SQL: s.sql.distribute, Args: args, Rows: task.Into(&keys, (*task.Key).Fields)})
	}
	batch = append(batch, database.Statement{SQL: s.sql.keep, Args: args}, database.Statement{SQL: s.sql.forget, Args: args})
	err := s.db.BatchShared(ctx, batch...)
	if err != nil {
		return err
	}
	s.observe.Count("relayed", len(ids))
	if s.o.Backend == nil {
		err = s.engine.Advance(ctx, keys...)
		s.engine.Notify()
	}
	return err
}

// fields returns the destinations into which a row of the outbox is scanned.
func (m *Message) fields() []any {
	return []any{&m.row, &m.ID, &m.Topic, &m.key, &m.target, (*task.Headers)(&m.Headers), &m.Body}
}

// send publishes events through the broker, and waits for the result of an event before it
// publishes the next event of the same key. If the broker refuses an event, send skips the later
// events of its key, so that they do not overtake it, and adds the topic and the error to refused.
// It returns the row IDs of the published events.
func (s *Server) send(ctx context.Context, events []Message, refused map[string]error) (sent []int64) {
	failed := make(map[string]bool)
	for len(events) > 0 {
		var wave, rest []Message
		keys := make(map[string]bool)
		for _, m := range events {
			m.address()
			switch key := m.Topic + " " + m.key; {
			case m.key != "" && failed[key]:
			case m.key != "" && keys[key]:
				rest = append(rest, m)
			default:
				keys[key] = true
				wave = append(wave, m)
			}
		}
		for i, e := range s.o.Backend.Publish(ctx, wave) {
			m := wave[i]
			if e == nil {
				sent = append(sent, m.row)
				continue
			}
			failed[m.Topic+" "+m.key] = true
			refused[m.Topic] = fmt.Errorf("event %s of topic %s: %w", m.ID, m.Topic, e)
		}
		events = rest
	}
	return sent
}
