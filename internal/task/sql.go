package task

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/database"
)

// statements are the SQL statements of one engine. A state is a literal, so that the partial
// indexes are used.
type statements struct {
	claim, claimSuspect, owned                string
	done, doneAll, giveBack, retry            string
	bury, acquit                              string
	advance, sweep                            string
	nextDue, promote                          string
	join, renew, leave, expired, grace, evict string
	orphans, takeOver, giveAll                string
	freeLeases                                string
}

const columns = "id, queue, uid, key, tries, lost, fence, headers, body, created_at"

func newStatements(d database.Dialect, lease time.Duration, queues int) statements {
	return newStatementsAt(Now(d), d, lease, queues)
}

// newStatementsAt returns the statements with another expression of the time.
func newStatementsAt(now string, d database.Dialect, lease time.Duration, queues int) statements {
	skip := ""
	if d == database.Postgres {
		skip = " FOR UPDATE SKIP LOCKED"
	}
	// Together nine tenths, so that others notice both ends within the lease.
	firm, grace := lease.Microseconds()*5/10, lease.Microseconds()*4/10
	r := strings.NewReplacer("{now}", now, "{skip}", skip, "{columns}", columns,
		"{lease}", strconv.FormatInt(lease.Microseconds(), 10), "{firm}", strconv.FormatInt(firm, 10), "{grace}", strconv.FormatInt(grace, 10),
		"{mine}", "id = $1 AND fence = $2 AND owner = $3",
		// The session of a claimed task that no node answers for.
		"{orphan}", "state = 3 AND NOT EXISTS (SELECT 1 FROM chassi_leases WHERE name = 'node/' || chassi_tasks.owner)",
		"{expired}", fmt.Sprintf("(until < {now} OR until > {now} + %d)", lease.Microseconds()))
	f := func(s string) string { return r.Replace(r.Replace(s)) }
	// A node that has lost its lease and does not know it yet would lose the task at once.
	claim := `WITH next AS MATERIALIZED (SELECT id FROM chassi_tasks WHERE %s
			AND EXISTS (SELECT 1 FROM chassi_leases WHERE name = 'node/' || $1) ORDER BY %s LIMIT %s{skip})
		UPDATE chassi_tasks SET state = 3, owner = $1, fence = fence + 1, tries = tries + 1, lost = lost + %d WHERE id IN (SELECT id FROM next)
		RETURNING {columns}`
	// The suspect that was lost least often is the first, so that those that only ran beside the
	// cause are handled soon. A try of a suspect counts as lost until it returns.
	return statements{
		claim:        f(fmt.Sprintf(claim, "queue = $2 AND state = 0", "id", "$3", 0)),
		claimSuspect: f(fmt.Sprintf(claim, "state = 4 AND "+anyOf(queues, 2), "lost, id", "1", 1)),
		owned:        f(`SELECT {columns} FROM chassi_tasks WHERE state = 3 AND owner = $1`),
		done:         f(`DELETE FROM chassi_tasks WHERE {mine}`),
		doneAll:      f("DELETE FROM chassi_tasks WHERE " + In(d, "id", "$1") + " AND " + In(d, "id || '/' || fence || '/' || owner", "$2")),
		giveBack:     f(`UPDATE chassi_tasks SET state = 0, owner = '', fence = fence + 1, tries = tries - 1 WHERE {mine}`),
		acquit:       f(`UPDATE chassi_tasks SET lost = 0 WHERE id = $1`),
		retry:        f(`UPDATE chassi_tasks SET state = 1, owner = '', due_at = {now} + $4, last_error = $5 WHERE {mine}`),
		bury: f(`INSERT INTO chassi_dead (id, queue, uid, key, hold, tries, lost, headers, body, code, reason, error, created_at, died_at)
			SELECT id, queue, uid, key, hold, tries, CASE WHEN $5 = 'poison' THEN lost ELSE 0 END, headers, body, $4, $5, $6, created_at, {now}
			FROM chassi_tasks WHERE {mine}`),
		advance: f(`UPDATE chassi_tasks SET state = 0
			WHERE id = (SELECT min(id) FROM chassi_tasks WHERE queue = $1 AND key = $2 AND key <> '' AND state = 2) AND state = 2
			AND NOT EXISTS (SELECT 1 FROM chassi_tasks AS other WHERE other.queue = $1 AND other.key = $2 AND other.key <> '' AND other.state IN (0, 1, 3, 4))
			AND NOT EXISTS (SELECT 1 FROM chassi_dead AS d WHERE d.queue = $1 AND d.key = $2 AND d.hold AND d.id < chassi_tasks.id)`),
		sweep: f(`SELECT queue, key FROM (SELECT queue, key, min(id) AS first FROM chassi_tasks WHERE key <> '' GROUP BY queue, key HAVING min(state) = 2 AND max(state) = 2) AS k
			WHERE NOT EXISTS (SELECT 1 FROM chassi_dead AS d WHERE d.queue = k.queue AND d.key = k.key AND d.hold AND d.id < k.first) LIMIT 1000`),
		nextDue: f(`SELECT coalesce(min(due_at), 9000000000000000) - {now}, (SELECT count(*) FROM chassi_tasks WHERE state = 4 AND ` + anyOf(queues, 1) + `)
			FROM chassi_tasks WHERE state = 1`),
		promote: f(`WITH due AS MATERIALIZED (SELECT id FROM chassi_tasks WHERE state = 1 AND due_at <= {now} ORDER BY due_at LIMIT 1000{skip})
			UPDATE chassi_tasks SET state = 0 WHERE id IN (SELECT id FROM due)`),
		join:     f(`INSERT INTO chassi_leases (name, owner, until) VALUES ('node/' || $1, $1, {now} + {firm})`),
		renew:    f(`UPDATE chassi_leases SET until = {now} + {firm}, grace = FALSE WHERE name = 'node/' || $1`),
		leave:    f(`DELETE FROM chassi_leases WHERE name = 'node/' || $1`),
		expired:  f(`SELECT owner, grace FROM chassi_leases WHERE name >= 'node/' AND name < 'node0' AND {expired}`),
		grace:    f(`UPDATE chassi_leases SET grace = TRUE, until = {now} + {grace} WHERE name = 'node/' || $1 AND NOT grace AND {expired}`),
		evict:    f(`DELETE FROM chassi_leases WHERE name = 'node/' || $1 AND grace AND {expired}`),
		orphans:  f(`SELECT id, queue, key, lost, fence, owner FROM chassi_tasks WHERE {orphan}`),
		takeOver: f(`UPDATE chassi_tasks SET state = 4, owner = '', fence = fence + 1 WHERE {mine}`),
		giveAll:  f(`UPDATE chassi_tasks SET state = 0, lost = 0, owner = '', fence = fence + 1, tries = tries - 1 WHERE state = 3 AND owner = $1`),
		freeLeases: f(`DELETE FROM chassi_leases WHERE (name < 'node/' OR name >= 'node0')
			AND NOT EXISTS (SELECT 1 FROM chassi_leases AS n WHERE n.name = 'node/' || chassi_leases.owner)`),
	}
}

// anyOf returns the condition that a task is of a queue that is one of n arguments, the first of
// which has the given number.
func anyOf(n, first int) string {
	if n == 0 {
		return "FALSE"
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("$%d", first+i)
	}
	return "queue IN (" + strings.Join(names, ", ") + ")"
}
