package task

import (
	"context"
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
	Lost         int    // how often in succession its lease was lost, if that is the reason
	Code, Reason string // of its last error
	Error        string
	Created      time.Time
	Died         time.Time
	Headers      transport.Pairs
	Body         []byte
}

func (d *DeadLetter) fields() []any {
	return []any{
		&d.ID, &d.Queue, &d.UID, &d.Key, &d.Hold, &d.Tries, &d.Lost, &d.Code, &d.Reason, &d.Error,
		(*Time)(&d.Created), (*Time)(&d.Died), (*Headers)(&d.Headers), &d.Body,
	}
}

// Selection selects dead letters: those with the ids, or all of Queue if there are none, or all
// if Queue is "" too. At most a hundred are listed at a time.
type Selection struct {
	Queue string
	IDs   []int64
	After int64 // only those with a greater id
}

// query returns a query for columns of the first hundred, and its arguments.
func (s Selection) query(d database.Dialect, columns string) (sql string, args []any) {
	sql, args = "SELECT "+columns+" FROM chassi_dead WHERE id > $1 AND ($2 = '' OR queue = $2)", []any{s.After, s.Queue}
	if len(s.IDs) > 0 {
		sql, args = sql+" AND "+In(d, "id", "$3"), append(args, List(d, s.IDs))
	}
	return sql + " ORDER BY id LIMIT 100", args
}

// DeadLetters lists dead letters in the order of their ids, which is that of their insertion.
func DeadLetters(ctx context.Context, db *database.DB, s Selection) ([]DeadLetter, error) {
	query, args := s.query(db.Dialect(), "id, queue, uid, key, hold, tries, lost, code, reason, error, created_at, died_at, headers, body")
	return Select(ctx, db, (*DeadLetter).fields, query, args...)
}

// Redrive turns dead letters into tasks again, with their original place in the order and all of
// their tries. It returns how many.
func Redrive(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return s.remove(ctx, db, `INSERT INTO chassi_tasks (id, queue, uid, key, hold, state, headers, body, created_at)
		SELECT id, queue, uid, key, hold, CASE WHEN key = '' THEN 0 ELSE 2 END, headers, body, created_at FROM chassi_dead WHERE `)
}

// Discard deletes dead letters. It returns how many.
func Discard(ctx context.Context, db *database.DB, s Selection) (int, error) {
	return s.remove(ctx, db, "")
}

// remove deletes the selected dead letters, a hundred in each transaction. Before that it executes
// a statement, which ends with WHERE, unless that is "".
func (s Selection) remove(ctx context.Context, db *database.DB, before string) (n int, err error) {
	for {
		var letters []keyed
		err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
			query, args := s.query(db.Dialect(), "id, queue, key")
			if letters, err = Select(ctx, tx, (*keyed).fields, query, args...); err != nil {
				return err
			}
			ids := make([]int64, len(letters))
			for i, l := range letters {
				ids[i] = l.id
			}
			selected, list := In(db.Dialect(), "id", "$1"), List(db.Dialect(), ids)
			if before != "" {
				_, err = tx.Exec(ctx, before+selected, list)
			}
			if err == nil {
				_, err = tx.Exec(ctx, "DELETE FROM chassi_dead WHERE "+selected, list)
			}
			return err
		})
		if err != nil || len(letters) == 0 {
			return n, err
		}
		n += len(letters)
		s.After = letters[len(letters)-1].id
		if err := Advance(ctx, db, keysOf(letters)...); err != nil {
			return n, err
		}
	}
}
