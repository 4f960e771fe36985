package task

import (
	"context"

	"github.com/chassi-go/chassi/database"
)

// Key consists of the name of a queue and the key of tasks in that queue. Tasks with the same Key
// run one after the other, unless their key is "".
type Key struct{ Queue, Key string }

// Fields returns the destinations of the columns queue and key; see [Into].
func (k *Key) Fields() []any { return []any{&k.Queue, &k.Key} }

// keyed is the ID of a task or of a dead letter, with its key.
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

// Advance makes the first task of each key other than "" ready, unless another task of the key is
// ready, running or waiting for its next try, or a dead letter holds the key. It must be called
// after the commit of a transaction that inserts or deletes tasks with keys, or discards dead
// letters; the last of several such calls sees the changes of all transactions. If a crash prevents
// the call, the maintenance of any node makes up for it.
func Advance(ctx context.Context, db *database.DB, keys ...Key) error {
	return advancing(ctx, db, advance(keys))
}

// maxCollisions is the maximum number of times that [advancing] executes its statements.
const maxCollisions = 10

// advancing executes statements that include those of [Advance]. If they violate the unique index
// of active tasks, it executes them again, up to maxCollisions times in total. The violation occurs
// if a concurrent transaction has made another task of the key ready: an earlier task that was
// redriven or committed late. By then that transaction is committed, so that the repeated
// statements see its task.
func advancing(ctx context.Context, db *database.DB, batch []database.Statement) (err error) {
	for range maxCollisions {
		if err = db.BatchShared(ctx, batch...); !database.IsUnique(err) {
			break
		}
	}
	return err
}

// Advance calls the function [Advance] for keys. If there are any, and the call succeeds, Advance
// wakes this node.
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
