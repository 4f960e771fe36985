package task

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/database"
)

// statements are the SQL statements of one engine. States are literals in them, so that the
// database can use the partial indexes.
type statements struct {
	claim, claimSuspect, owned               string
	done, doneAll, giveBack, retry           string
	bury, acquit                             string
	look, promote                            string
	join, renew, leave, evict, grace         string
	buryPoison, buried, takeOver, freeLeases string
	giveAll                                  string
}

// newStatements returns the statements of an engine with the given lease. The argument now is the
// SQL expression for the current time.
func newStatements(now string, d database.Dialect, lease time.Duration) statements {
	skip := ""
	if d == database.Postgres {
		skip = " FOR UPDATE SKIP LOCKED"
	}
	// Together nine tenths, so that others notice both ends within the lease.
	firm, grace := lease.Microseconds()*5/10, lease.Microseconds()*4/10
	r := strings.NewReplacer("{now}", now, "{skip}", skip, "{columns}", "id, queue, uid, key, tries, lost, fence, headers, body, created_at",
		"{lease}", strconv.FormatInt(lease.Microseconds(), 10), "{firm}", strconv.FormatInt(firm, 10), "{grace}", strconv.FormatInt(grace, 10),
		"{mine}", "id = $1 AND fence = $2 AND owner = $3", "{maxLost}", strconv.Itoa(maxLost),
		"{anotherTry}", another("tries"), "{anotherLoss}", another("lost"),
		// A claimed task whose node has no session.
		"{orphan}", "state = 3 AND NOT EXISTS (SELECT 1 FROM chassi_leases WHERE name = 'node/' || chassi_tasks.owner)",
		"{node}", "name >= 'node/' AND name < 'node0'",
		"{expired}", "(until < {now} OR until > {now} + {lease})",
		"{free}", `NOT ({node}) AND NOT EXISTS (SELECT 1 FROM chassi_leases AS n WHERE n.name = 'node/' || chassi_leases.owner)`)
	f := func(s string) string { return r.Replace(r.Replace(r.Replace(s))) }
	// A node that has lost its lease and does not know it yet would lose the task at once.
	claim := `WITH next AS MATERIALIZED (SELECT id FROM chassi_tasks WHERE %s
			AND EXISTS (SELECT 1 FROM chassi_leases WHERE name = 'node/' || $1) ORDER BY %s LIMIT %s{skip})
		UPDATE chassi_tasks SET state = 3, owner = $1, fence = fence + 1, tries = {anotherTry} WHERE id IN (SELECT id FROM next)
		RETURNING {columns}`
	bury := `INSERT INTO chassi_dead (id, queue, uid, unique_key, key, hold, tries, lost, headers, body, code, reason, error, created_at, died_at)
		SELECT id, queue, uid, unique_key, key, hold, tries, %s, headers, body, %s, created_at, {now} FROM chassi_tasks WHERE `
	// The suspect whose lease was lost least often is the first, so that those that only ran beside
	// the cause are handled soon.
	return statements{
		claim:        f(fmt.Sprintf(claim, "queue = $2 AND state = 0", "id", "$3")),
		claimSuspect: f(fmt.Sprintf(claim, "state = 4 AND "+In(d, "queue", "$2"), "lost, id", "1")),
		owned:        f(`SELECT {columns} FROM chassi_tasks WHERE state = 3 AND owner = $1`),
		done:         f(`DELETE FROM chassi_tasks WHERE {mine}`),
		doneAll:      f("DELETE FROM chassi_tasks WHERE " + In(d, "id", "$1") + " AND " + In(d, "id || '/' || fence || '/' || owner", "$2")),
		giveBack:     f(`UPDATE chassi_tasks SET state = 0, owner = '', fence = fence + 1, tries = tries - 1 WHERE {mine}`),
		acquit:       f(`UPDATE chassi_tasks SET lost = 0, state = CASE WHEN state = 4 THEN 0 ELSE state END WHERE id = $1`),
		retry:        f(`UPDATE chassi_tasks SET state = 1, owner = '', due_at = {now} + $4, last_error = $5 WHERE {mine}`),
		bury:         f(fmt.Sprintf(bury, "0", "$4, $5, $6") + "{mine}"),
		look: f(`SELECT (SELECT coalesce(min(due_at), 9000000000000000) FROM chassi_tasks WHERE state = 1) - {now},
			EXISTS (SELECT 1 FROM chassi_tasks WHERE state = 4 AND ` + In(d, "queue", "$1") + `),
			EXISTS (SELECT 1 FROM chassi_tasks WHERE {orphan}) OR EXISTS (SELECT 1 FROM chassi_leases WHERE {node} AND {expired} OR {free})`),
		promote: f(`WITH due AS MATERIALIZED (SELECT id FROM chassi_tasks WHERE state = 1 AND due_at <= {now} ORDER BY due_at LIMIT 1000{skip})
			UPDATE chassi_tasks SET state = 0 WHERE id IN (SELECT id FROM due)`),
		join:       f(`INSERT INTO chassi_leases (name, owner, until) VALUES ('node/' || $1, $1, {now} + {firm})`),
		renew:      f(`UPDATE chassi_leases SET until = {now} + {firm}, grace = FALSE WHERE name = 'node/' || $1`),
		leave:      f(`DELETE FROM chassi_leases WHERE name = 'node/' || $1`),
		evict:      f(`DELETE FROM chassi_leases WHERE {node} AND grace AND {expired}`),
		grace:      f(`UPDATE chassi_leases SET grace = TRUE, until = {now} + {grace} WHERE {node} AND NOT grace AND {expired}`),
		freeLeases: f(`DELETE FROM chassi_leases WHERE {free}`),
		buryPoison: f(fmt.Sprintf(bury, "{anotherLoss}", "'aborted', 'poison', $1") + "{orphan} AND lost >= {maxLost}{skip}"),
		// Only what was buried: another task may have become an orphan since.
		buried: f(`DELETE FROM chassi_tasks WHERE {orphan} AND lost >= {maxLost} AND EXISTS (SELECT 1 FROM chassi_dead AS d WHERE d.id = chassi_tasks.id)
			RETURNING id, queue, key`),
		takeOver: f(`UPDATE chassi_tasks SET state = CASE WHEN lost = 0 THEN 0 ELSE 4 END, lost = lost + 1, owner = '', fence = fence + 1
			WHERE {orphan} AND lost < {maxLost}`),
		giveAll: f(`UPDATE chassi_tasks SET state = 0, lost = 0, owner = '', fence = fence + 1, tries = tries - 1 WHERE state = 3 AND owner = $1`),
	}
}

// another returns an SQL expression for the value of a column of type INT plus one, limited to the
// maximum value of the type in PostgreSQL. An overflow would make each transaction that claims
// tasks fail.
func another(column string) string {
	return fmt.Sprintf("CASE WHEN %s < %d THEN %[1]s + 1 ELSE %[2]d END", column, math.MaxInt32)
}
