package task

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi/database"
)

// Share divides the n leases of a group, which have the names GROUP/0, GROUP/1 and so on, among the
// nodes that call Share. It returns the numbers of the leases that this node owns, and the ID of
// the session that owns them. It must be called periodically, but not during work that requires a
// lease, because it gives up leases that exceed the share of this node. The name of a group
// consists of letters, digits, '-', '_' and '/'.
//
// A statement that requires a lease must have the condition that chassi_leases has a row with the
// name of the lease and the ID of this session as the owner. On PostgreSQL, its transaction must
// first lock this row with FOR KEY SHARE. When a session ends, its leases are lost.
func (e *Engine) Share(ctx context.Context, group string, n int) (owned []int, session string, err error) {
	session = e.Session()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("('%s/%d')", group, i)
	}
	r := strings.NewReplacer(
		"{leases}", "(VALUES "+strings.Join(names, ", ")+") AS lease", // its column is called column1
		"{mine}", "owner = $1 AND "+begins(group+"/"),
		"{fair}", fmt.Sprintf("(SELECT (%d + count(*) - 1) / count(*) FROM chassi_leases WHERE %s)", n, begins("member/"+group+"/")),
		"{group}", group, "{begin}", strconv.Itoa(len(group)+2))
	statement := func(sql string) database.Statement {
		return database.Statement{SQL: r.Replace(r.Replace(sql)), Args: []any{session}}
	}
	owns := statement("SELECT CAST(substr(name, {begin}) AS INTEGER) FROM chassi_leases WHERE {mine} ORDER BY 1")
	owns.Rows = Into(&owned, func(i *int) []any { return []any{i} })
	err = e.db.BatchShared(ctx,
		statement("INSERT INTO chassi_leases (name, owner) VALUES ('member/{group}/' || $1, $1) ON CONFLICT (name) DO NOTHING"),
		statement(`DELETE FROM chassi_leases WHERE name IN
			(SELECT name FROM (SELECT name, row_number() OVER (ORDER BY name) AS place FROM chassi_leases WHERE {mine}) AS mine WHERE place > {fair})`),
		statement(`INSERT INTO chassi_leases (name, owner)
			SELECT name, $1 FROM (SELECT column1 AS name, row_number() OVER (ORDER BY column1) AS place FROM {leases}
				WHERE column1 NOT IN (SELECT name FROM chassi_leases)) AS free
			WHERE place <= {fair} - (SELECT count(*) FROM chassi_leases WHERE {mine})
				AND EXISTS (SELECT 1 FROM chassi_leases WHERE name = 'node/' || $1)
			ORDER BY name ON CONFLICT (name) DO NOTHING`),
		owns)
	return owned, session, err
}

// begins returns the SQL condition that the column "name" begins with text. It does not use LIKE,
// which has wildcards and, on SQLite, ignores case.
func begins(text string) string {
	return fmt.Sprintf("substr(name, 1, %d) = '%s'", len(text), text)
}
