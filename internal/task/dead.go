package task

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/transport"
)

// DeadLetter is a task that failed permanently.
type DeadLetter struct {
	ID           int64
	Queue, UID   string
	Key          string
	Hold         bool // whether later tasks of the key wait for it
	Tries        int
	Lost         int    // how often its lease was lost while it ran alone
	Code, Reason string // of its last error
	Error        string
	Created      time.Time
	Died         time.Time
	Headers      transport.Pairs
	Body         []byte
}

// Selection selects dead letters: those with the ids, or all of Queue if there are none, or all
// if Queue is "" too.
type Selection struct {
	Queue string
	IDs   []int64
	After int64 // only those with a greater id
	Limit int   // default 100
}

// where returns the condition and its arguments.
func (s Selection) where() (sql string, args []any) {
	var b strings.Builder
	b.WriteString("id > " + strconv.FormatInt(s.After, 10))
	if s.Queue != "" {
		b.WriteString(" AND queue = $1")
		args = append(args, s.Queue)
	}
	if len(s.IDs) > 0 {
		list := make([]string, len(s.IDs))
		for i, id := range s.IDs {
			list[i] = strconv.FormatInt(id, 10)
		}
		b.WriteString(" AND id IN (" + strings.Join(list, ", ") + ")")
	}
	limit := s.Limit
	if limit <= 0 {
		limit = 100
	}
	b.WriteString(" ORDER BY id LIMIT " + strconv.Itoa(limit))
	return b.String(), args
}

// DeadLetters lists dead letters in the order of their ids, which is that of their insertion.
func DeadLetters(ctx context.Context, q database.Querier, s Selection) (list []DeadLetter, err error) {
	where, args := s.where()
	rows, err := q.Query(ctx, `SELECT id, queue, uid, key, hold, tries, lost, code, reason, error, created_at, died_at, headers, body
		FROM chassi_dead WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var d DeadLetter
		var created, died int64
		var headers string
		if err := rows.Scan(&d.ID, &d.Queue, &d.UID, &d.Key, &d.Hold, &d.Tries, &d.Lost, &d.Code, &d.Reason, &d.Error,
			&created, &died, &headers, &d.Body); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		d.Created, d.Died, d.Headers = time.UnixMicro(created).UTC(), time.UnixMicro(died).UTC(), DecodeHeaders(headers)
		list = append(list, d)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// Redrive turns dead letters into tasks again, with their original place in the order and all of
// their tries. It returns how many.
func Redrive(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return bulk(ctx, db, s, func(ctx context.Context, tx *database.Tx, d DeadLetter) error {
		state := ready
		if d.Key != "" {
			state = blocked
		}
		_, err := tx.Exec(ctx, `INSERT INTO chassi_tasks (id, queue, uid, key, hold, state, headers, body, created_at)
			SELECT id, queue, uid, key, hold, $2, headers, body, created_at FROM chassi_dead WHERE id = $1`, d.ID, state)
		return err
	})
}

// Discard deletes dead letters. It returns how many.
func Discard(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return bulk(ctx, db, s, func(context.Context, *database.Tx, DeadLetter) error { return nil })
}

// bulk calls do for each selected dead letter and deletes it, a hundred in each transaction.
func bulk(ctx context.Context, db *database.DB, s Selection, do func(context.Context, *database.Tx, DeadLetter) error) (n int, err error) {
	e := NewEngine(db, Options{})
	e.sql = newStatements(db.Dialect(), e.o.Lease, 0)
	for s.Limit = 100; ; {
		var list []DeadLetter
		err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
			list, err = take(ctx, tx, s, do)
			return err
		})
		if err != nil || len(list) == 0 {
			return n, err
		}
		n += len(list)
		s.After = list[len(list)-1].ID
		var keys []Key
		for _, d := range list {
			if d.Key != "" {
				keys = append(keys, Key{d.Queue, d.Key})
			}
		}
		if err := e.Advance(ctx, keys...); err != nil {
			return n, err
		}
	}
}

// take calls do for each selected dead letter, deletes it, and returns them.
func take(ctx context.Context, tx *database.Tx, s Selection, do func(context.Context, *database.Tx, DeadLetter) error) ([]DeadLetter, error) {
	list, err := DeadLetters(ctx, tx, s)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if err := do(ctx, tx, d); err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM chassi_dead WHERE id = $1", d.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}
