package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/transport"
)

// maxError is how much is kept of the text of an error, in bytes.
const maxError = 2 << 10

// Fence returns the fencing number with which the task was claimed: while its row in
// chassi_tasks has it, the task is this node's.
func (t *Task) Fence() int64 { return t.fence }

// outcome returns what becomes of a run.
func (f finished) outcome() (Outcome, *chassi.Error) {
	switch {
	case f.err == nil:
		return Done, nil
	case f.drained:
		return GivenBack, nil
	}
	e := chassi.ErrorOf(f.err)
	q := transport.Queue{MaxAttempts: f.queue.Tries}
	if q.Classify(e, f.task.Try) == transport.DeadLetter {
		return Dead, e
	}
	return Retry, e
}

// doneTogether is the number of tasks in one statement, which may compare each with each.
const doneTogether = 100

// settle returns the statements that end runs: one for many that are done, since most are.
func (e *Engine) settle(ended []finished) (batch []database.Statement) {
	var changes []database.Statement
	var ids []int64
	var claims []string
	records := make(map[*queue][]Ended)
	for _, f := range ended {
		if f.suspect && !f.deleted { // also if another node has it by now, because this process has not ended
			batch = append(batch, database.Statement{SQL: e.sql.acquit, Args: []any{f.task.ID}})
		}
		if errors.Is(f.err, ErrLeaseLost) || f.deleted && f.queue.Ending == nil {
			continue
		}
		what, why := f.outcome()
		if f.queue.Ending != nil {
			records[f.queue] = append(records[f.queue], Ended{f.task, what, f.err, f.took})
		}
		add := func(sql string, more ...any) {
			changes = append(changes, database.Statement{SQL: sql, Args: append([]any{f.task.ID, f.fence(), f.session.id}, more...)})
		}
		switch what {
		case GivenBack:
			add(e.sql.giveBack)
		case Retry:
			delay := transport.Queue{Delay: f.queue.Delay, MaxDelay: f.queue.MaxDelay}.DelayAfter(f.task.Try)
			add(e.sql.retry, max(delay, why.RetryAfter).Microseconds(), safetext.Clip(f.err.Error(), maxError))
		case Dead:
			add(e.sql.bury, why.Code.String(), why.Reason, safetext.Clip(f.err.Error(), maxError))
		}
		if what == Done || what == Dead {
			ids = append(ids, f.task.ID)
			claims = append(claims, fmt.Sprint(f.task.ID, "/", f.fence(), "/", f.session.id))
		}
	}
	for q, list := range records {
		batch = append(batch, q.Ending(list)...)
	}
	batch = append(batch, changes...)
	for d := e.db.Dialect(); len(ids) > 0; {
		n := min(len(ids), doneTogether)
		batch = append(batch, database.Statement{SQL: e.sql.doneAll, Args: []any{List(d, ids[:n]), List(d, claims[:n])}})
		ids, claims = ids[n:], claims[n:]
	}
	return batch
}

// List returns a list as an argument of a statement, see [In].
func List[T any](d database.Dialect, list []T) any {
	if d == database.Postgres {
		return list
	}
	return JSON(list)
}

// In returns the condition that an expression is in the argument arg, which is of [List]. On
// PostgreSQL it is one that no estimate of the planner turns into a comparison of all pairs.
func In(d database.Dialect, expression, arg string) string {
	if d == database.Postgres {
		return expression + " = ANY(" + arg + ")"
	}
	return expression + " IN (SELECT value FROM json_each(" + arg + "))"
}

// JSON returns a list of texts and numbers as an argument for [Each].
func JSON[T any](list []T) string {
	text, _ := json.Marshal(list) //nolint:errchkjson // of texts and numbers
	return string(text)
}

// Each returns the FROM item j of an argument from [JSON]: its column value is an element.
func Each(d database.Dialect, arg string) string {
	if d == database.Postgres {
		return "json_array_elements(CAST(" + arg + " AS JSON)) AS j (value)"
	}
	return "json_each(" + arg + ") AS j"
}

// report logs a dead letter.
func (e *Engine) report(f finished) {
	if what, why := f.outcome(); what == Dead {
		e.o.Logger.Error("tasks: a dead letter", "queue", f.queue.Name, "id", f.task.ID, "uid", f.task.UID, "tries", f.task.Try, "error", why)
		e.o.DeadLettered(f.queue.Name)
	}
}

// unblocks returns the key whose next task may begin after the run.
func (f finished) unblocks() (Key, bool) {
	what, _ := f.outcome()
	return Key{f.queue.Name, f.task.Key}, f.task.Key != "" && (what == Done || what == Dead)
}

// Key is a key of a queue, whose tasks run one after the other.
type Key struct{ Queue, Key string }

// Advance makes the first task of each key ready, unless another one of the key is being worked
// on or a dead letter holds it. It must be called after the commit of a transaction that inserts
// tasks with keys, deletes them, or discards dead letters: whoever comes last sees what all have
// done. A call that a crash prevents is made up for by the maintenance of any node.
func (e *Engine) Advance(ctx context.Context, keys ...Key) error {
	if len(keys) == 0 {
		return nil
	}
	if err := e.db.BatchShared(ctx, e.advanceStatements(keys)...); err != nil {
		return err
	}
	e.Wake()
	return nil
}

func (e *Engine) advanceStatements(keys []Key) (batch []database.Statement) {
	seen := make(map[Key]bool, len(keys))
	for _, k := range keys {
		if !seen[k] {
			seen[k] = true
			batch = append(batch, database.Statement{SQL: e.sql.advance, Args: []any{k.Queue, k.Key}})
		}
	}
	return batch
}
