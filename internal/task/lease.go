package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chassi-go/chassi/database"
)

const holdLease = "INSERT INTO chassi_leases (name, owner) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"

// Share divides the leases of a group, which are called GROUP/0, GROUP/1 and so on up to n, among
// the nodes that call Share, and returns the numbers of those that this node owns. It is called
// periodically, between two pieces of work: then a node gives up those that are too many for it.
// A write on behalf of a lease must have the condition that chassi_leases has a row with its name
// and the [Engine.Session] for which Share returned it, and lock that row FOR KEY SHARE before on
// PostgreSQL. Leases are lost with the session.
func (e *Engine) Share(ctx context.Context, group string, n int) (owned []int, session string, err error) {
	session = e.Session()
	member := group + "-node/"
	owners := make(map[string]string)
	err = e.db.BatchShared(ctx,
		database.Statement{SQL: holdLease, Args: []any{member + session, session}},
		database.Statement{
			SQL:  "SELECT name, owner FROM chassi_leases WHERE name >= $1 AND name < $2",
			Args: []any{group, group + "~"}, Rows: func(c database.Cursor) error {
				clear(owners)
				for c.Next() {
					var name, owner string
					if err := c.Scan(&name, &owner); err != nil {
						return err
					}
					owners[name] = owner
				}
				return nil
			},
		})
	if err != nil {
		return nil, session, err
	}
	members, free := 0, []int(nil)
	for name := range owners {
		if strings.HasPrefix(name, member) {
			members++
		}
	}
	for i := range n {
		switch owners[leaseName(group, i)] {
		case session:
			owned = append(owned, i)
		case "":
			free = append(free, i)
		}
	}
	fair := (n + members - 1) / max(members, 1)
	return e.balance(ctx, group, session, owned, free, fair)
}

// balance gives up leases or takes free ones, so that this node owns at most fair.
func (e *Engine) balance(ctx context.Context, group, session string, owned, free []int, fair int) ([]int, string, error) {
	var batch []database.Statement
	for len(owned) > fair {
		last := owned[len(owned)-1]
		owned = owned[:len(owned)-1]
		batch = append(batch, database.Statement{SQL: "DELETE FROM chassi_leases WHERE name = $1 AND owner = $2", Args: []any{leaseName(group, last), session}})
	}
	taken := make([]int64, len(free))
	for i := range free {
		if len(owned)+i >= fair {
			break
		}
		batch = append(batch, database.Statement{SQL: holdLease, Args: []any{leaseName(group, free[i]), session}, Affected: &taken[i]})
	}
	if len(batch) > 0 {
		if err := e.db.BatchShared(ctx, batch...); err != nil {
			return nil, session, err
		}
	}
	for i, n := range taken {
		if n == 1 {
			owned = append(owned, free[i])
		}
	}
	slices.Sort(owned)
	return owned, session, nil
}

func leaseName(group string, i int) string { return fmt.Sprint(group, "/", i) }

// Hold takes or keeps a lease that only one node may have. It reports whether this node has it,
// for the session that it returns; see [Engine.Share].
func (e *Engine) Hold(ctx context.Context, name string) (held bool, session string, err error) {
	session = e.Session()
	var owner string
	err = e.db.BatchShared(ctx, database.Statement{SQL: holdLease, Args: []any{name, session}}, database.Statement{
		SQL: "SELECT owner FROM chassi_leases WHERE name = $1", Args: []any{name}, Rows: func(c database.Cursor) error {
			if !c.Next() {
				return errors.New("task: the lease is gone")
			}
			return c.Scan(&owner)
		},
	})
	return owner == session, session, err
}
