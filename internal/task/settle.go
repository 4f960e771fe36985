package task

import (
	"fmt"
	"slices"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/transport"
)

// maxError is the maximum length in bytes of the stored text of an error, excluding the ellipsis
// that follows a truncated text.
const maxError = 2 << 10

// maxDelay is the longest delay after a failed try.
const maxDelay = 15 * time.Minute

// Fence returns the fencing token with which the task was claimed. While the row of the task in
// chassi_tasks has this token, no other node has taken over or claimed the task.
func (t *Task) Fence() int64 { return t.fence }

// doneTogether is the maximum number of tasks that one statement deletes. It limits the cost of the
// statement, for which the database may compare all pairs of these tasks.
const doneTogether = 100

// settle returns the statements that end runs. It omits the runs whose own transactions have already
// deleted their tasks. The other tasks that are to be deleted share statements, because most runs
// succeed.
func (e *Engine) settle(ended []*run) (batch []database.Statement) {
	var changes []database.Statement
	var done []*run
	records := make(map[*queue][]Ended)
	for _, r := range ended {
		if r.deleted {
			continue
		}
		if r.losses > 0 || r.Outcome == lost { // this process has not ended
			batch = append(batch, database.Statement{SQL: e.sql.acquit, Args: []any{r.ID}})
		}
		if r.queue.Ending != nil && r.Outcome != lost {
			records[r.queue] = append(records[r.queue], r.Ended)
		}
		change := func(sql string, more ...any) {
			changes = append(changes, database.Statement{SQL: sql, Args: append([]any{r.ID, r.fence, r.session.id}, more...)})
		}
		switch r.Outcome {
		case Done:
			done = append(done, r)
		case Dead:
			change(e.sql.bury, r.failure.Code.String(), r.failure.Reason, safetext.Clip(r.Err.Error(), maxError))
			done = append(done, r)
		case Retry:
			delay := transport.Queue{Delay: r.queue.Delay, MaxDelay: maxDelay}.RetryDelay(r.Try, r.failure)
			change(e.sql.retry, delay.Microseconds(), safetext.Clip(r.Err.Error(), maxError))
		case GivenBack:
			change(e.sql.giveBack)
		case lost:
		}
	}
	for q, list := range records {
		batch = append(batch, q.Ending(list)...)
	}
	batch = append(batch, changes...)
	for some := range slices.Chunk(done, doneTogether) {
		var ids []int64
		var claims []string
		for _, r := range some {
			ids, claims = append(ids, r.ID), append(claims, fmt.Sprint(r.ID, "/", r.fence, "/", r.session.id))
		}
		d := e.db.Dialect()
		batch = append(batch, database.Statement{SQL: e.sql.doneAll, Args: []any{List(d, ids), List(d, claims)}})
	}
	return batch
}
