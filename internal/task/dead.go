package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/transport"
)

// DeadLetter is a task that failed permanently.
type DeadLetter struct {
	ID           int64
	Queue, UID   string
	Key          string
	Hold         bool   // whether later tasks of the key wait for it
	Unique       string // the unique key, which the task has again when it is redriven; "" for none
	Tries        int
	Lost         int    // number of lost leases in succession, if they are the reason; otherwise 0
	Code, Reason string // code and reason of the last error
	Error        string
	Created      time.Time
	Died         time.Time
	Headers      transport.Pairs
	Body         []byte
}

func (d *DeadLetter) fields() []any {
	return []any{
		&d.ID, &d.Queue, &d.UID, &d.Key, &d.Hold, &d.Unique, &d.Tries, &d.Lost, &d.Code, &d.Reason, &d.Error,
		(*Time)(&d.Created), (*Time)(&d.Died), (*Headers)(&d.Headers), &d.Body,
	}
}

// Selection selects the dead letters that match all of its nonzero fields. The zero value selects
// all dead letters.
type Selection struct {
	Queue string
	IDs   []int64 // if it is empty, the IDs do not matter
	After int64   // selects only dead letters with a greater ID
}

// query returns an SQL query for the given columns of the first hundred selected dead letters, and
// the arguments of the query.
func (s Selection) query(d database.Dialect, columns string) (sql string, args []any) {
	sql, args = "SELECT "+columns+" FROM chassi_dead WHERE id > $1 AND ($2 = '' OR queue = $2)", []any{s.After, s.Queue}
	if len(s.IDs) > 0 {
		sql, args = sql+" AND "+In(d, "id", "$3"), append(args, List(d, s.IDs))
	}
	return sql + " ORDER BY id LIMIT 100", args
}

// DeadLetters returns the first hundred of the selected dead letters in the order of their IDs,
// which is the order in which their tasks were inserted.
func DeadLetters(ctx context.Context, db *database.DB, s Selection) ([]DeadLetter, error) {
	query, args := s.query(db.Dialect(), `id, queue, uid, key, hold, coalesce(unique_key, ''), tries, lost, code, reason, error,
		created_at, died_at, headers, body`)
	return Select(ctx, db, (*DeadLetter).fields, query, args...)
}

// ErrUniqueTaken is returned by [Redrive] if it leaves dead letters because other tasks with the
// same unique keys are waiting or running. The cause of the error lists the IDs of the remaining
// dead letters; it contains at most maxListed IDs and the number of the others.
var ErrUniqueTaken = chassi.NewError(chassi.AlreadyExists, "unique_key_taken",
	"Some dead letters were not redriven, because tasks with the same unique keys are waiting or running; "+
		"redrive them after those tasks have ended, or discard them")

// Redrive turns the selected dead letters into tasks again, with their original places in the
// order, their unique keys and the full number of tries. It returns the number of dead letters that
// it has redriven, and [ErrUniqueTaken] if it has left dead letters because of their unique keys.
func Redrive(ctx context.Context, db *database.DB, s Selection) (int, error) {
	n, left, err := s.remove(ctx, db, `INSERT INTO chassi_tasks (id, queue, uid, unique_key, key, hold, state, headers, body, created_at)
		SELECT id, queue, uid, unique_key, key, hold, CASE WHEN key = '' THEN 0 ELSE 2 END, headers, body, created_at
		FROM chassi_dead WHERE {selected} ORDER BY id
		ON CONFLICT (queue, unique_key) WHERE unique_key IS NOT NULL DO NOTHING`, " AND id IN (SELECT id FROM chassi_tasks)")
	if err == nil && len(left) > 0 {
		err = ErrUniqueTaken.WithCause(errors.New("dead letters " + listed(left)))
	}
	return n, err
}

// maxListed is the maximum number of IDs in an error.
const maxListed = 10

// listed returns a string that contains the first maxListed IDs and the number of the remaining
// IDs.
func listed(ids []int64) string {
	var texts []string
	for _, id := range ids[:min(len(ids), maxListed)] {
		texts = append(texts, strconv.FormatInt(id, 10))
	}
	text := strings.Join(texts, ", ")
	if more := len(ids) - len(texts); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Discard deletes the selected dead letters and returns the number of dead letters that it has
// deleted.
func Discard(ctx context.Context, db *database.DB, s Selection) (int, error) {
	n, _, err := s.remove(ctx, db, "", "")
	return n, err
}

// remove deletes the selected dead letters that meet condition, which is "" or begins with " AND ",
// and advances their keys. Each transaction selects at most a hundred dead letters. Unless before
// is "", each transaction first executes the SQL statement before, in which {selected} stands for
// the condition that selects these dead letters. remove returns the number of deleted dead letters,
// and the IDs of the selected dead letters that it has left.
func (s Selection) remove(ctx context.Context, db *database.DB, before, condition string) (n int, left []int64, err error) {
	for {
		var letters, deleted []keyed
		err := db.Write(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
			query, args := s.query(db.Dialect(), "id, queue, key")
			if letters, err = Select(ctx, tx, (*keyed).fields, query, args...); err != nil {
				return err
			}
			selected, list := In(db.Dialect(), "id", "$1"), List(db.Dialect(), idsWithout(letters, nil))
			if before != "" {
				if _, err = tx.Exec(ctx, strings.ReplaceAll(before, "{selected}", selected), list); err != nil {
					return err
				}
			}
			deleted, err = Select(ctx, tx, (*keyed).fields, "DELETE FROM chassi_dead WHERE "+selected+condition+" RETURNING id, queue, key", list)
			return err
		})
		if err != nil || len(letters) == 0 {
			return n, left, err
		}
		left = append(left, idsWithout(letters, deleted)...)
		n += len(deleted)
		s.After = letters[len(letters)-1].id
		if err := Advance(ctx, db, keysOf(deleted)...); err != nil {
			return n, left, err
		}
	}
}

// idsWithout returns the IDs of those letters that others does not contain.
func idsWithout(letters, others []keyed) (ids []int64) {
	for _, l := range letters {
		if !slices.Contains(others, l) {
			ids = append(ids, l.id)
		}
	}
	return ids
}
