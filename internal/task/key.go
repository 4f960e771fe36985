package task

import (
	"context"

	"github.com/chassi-go/chassi/database"
)

// Key is a key of a queue, whose tasks run one after the other.
type Key struct{ Queue, Key string }

// Fields returns the destinations of the columns queue and key, see [Into].
func (k *Key) Fields() []any { return []any{&k.Queue, &k.Key} }

// keyed is a task or a dead letter, with the key that its end may advance.
type keyed struct {
	Key

	id int64
}

func (k *keyed) fields() []any { return []any{&k.id, &k.Queue, &k.Key.Key} }

func keysOf(list []keyed) []Key {
	keys := make([]Key, len(list))
	for i, k := range list {
		keys[i] = k.Key
	}
	return keys
}

// Advance makes the first task of each key ready, unless another task of the key is ready, waiting
// for its next try or running, or a dead letter holds the key. It must be called after the commit
// of a transaction that inserts tasks with keys, deletes them, or discards dead letters: the last
// call sees what all transactions have done. If a crash prevents a call, the maintenance of any
// node makes up for it.
func Advance(ctx context.Context, db *database.DB, keys ...Key) error {
	return advancing(ctx, db, advance(keys))
}

// maxCollisions is the maximum number of times that [advancing] executes its statements.
const maxCollisions = 10

// advancing executes statements that include those of [Advance]. These violate the unique index of
// active tasks if another transaction, which does not see the same tasks of a key, makes another
// task of the key ready: an earlier task that is redriven or whose transaction was committed late.
// The other transaction is committed by then, so that the statements see its task when they are
// executed again.
func advancing(ctx context.Context, db *database.DB, batch []database.Statement) (err error) {
	for range maxCollisions {
		if err = db.BatchShared(ctx, batch...); !database.IsUnique(err) {
			break
		}
	}
	return err
}

// Advance calls the function [Advance], and wakes this node if there are keys.
func (e *Engine) Advance(ctx context.Context, keys ...Key) error {
	err := Advance(ctx, e.db, keys...)
	if err == nil && len(keys) > 0 {
		e.Wake()
	}
	return err
}

// advance returns the statements of [Advance].
func advance(keys []Key) (batch []database.Statement) {
	seen := make(map[Key]bool, len(keys))
	for _, k := range keys {
		if k.Key != "" && !seen[k] {
			seen[k] = true
			batch = append(batch, database.Statement{SQL: advanceKey, Args: []any{k.Queue, k.Key}})
		}
	}
	return batch
}

const advanceKey = `UPDATE chassi_tasks SET state = 0
	WHERE id = (SELECT min(id) FROM chassi_tasks WHERE queue = $1 AND key = $2 AND key <> '' AND state = 2) AND state = 2
	AND NOT EXISTS (SELECT 1 FROM chassi_tasks AS other WHERE other.queue = $1 AND other.key = $2 AND other.key <> '' AND other.state <> 2)
	AND NOT EXISTS (SELECT 1 FROM chassi_dead AS d WHERE d.queue = $1 AND d.key = $2 AND d.hold AND d.id < chassi_tasks.id)`
