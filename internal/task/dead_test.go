package task

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// A redriven task has its unique key again. While another task has it, the dead letter stays one,
// and the error names it.
func TestRedriveKeepsTheUniqueKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		e := start(t, db, Options{}, Queue{Name: "q", Run: func(context.Context, *Task) error {
			return chassi.NewError(chassi.NotFound, "gone", "It is gone")
		}})
		insert := func(uid string) (inserted bool) {
			must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) (err error) {
				inserted, err = Insert(ctx, tx, New{Queue: "q", UID: uid, Unique: "u"})
				return err
			}))
			return inserted
		}
		dead := func() int { return count(t, db, "SELECT count(*) FROM chassi_dead") }
		for n, uid := range []string{"first", "second"} {
			if !insert(uid) {
				t.Fatalf("%s is not inserted beside a dead letter", uid)
			}
			e.Wake()
			eventually(t, "it is a dead letter", func() bool { return dead() == n+1 })
		}
		must(t, e.Stop(t.Context()))
		letters, err := DeadLetters(t.Context(), db, Selection{})
		must(t, err)
		if letters[0].Unique != "u" || letters[1].Unique != "u" {
			t.Fatalf("%+v", letters)
		}
		add(t, db, nil, New{Queue: "q", UID: "other"})
		bury(t, db, "other")
		n, err := Redrive(t.Context(), db, Selection{})
		if n != 2 || !errors.Is(err, ErrUniqueTaken) || !strings.HasSuffix(err.Error(), fmt.Sprint(": dead letters ", letters[1].ID)) {
			t.Errorf("redrove %d, %v", n, err)
		}
		if got := count(t, db, "SELECT count(*) FROM chassi_dead WHERE uid = 'second'"); dead() != 1 || got != 1 {
			t.Errorf("%d dead letters, %d of the second", dead(), got)
		}
		if insert("third") {
			t.Error("inserted beside a redriven task with the same key")
		}
		_, err = db.Exec(t.Context(), "DELETE FROM chassi_tasks WHERE uid = 'first'")
		must(t, err)
		n, err = Redrive(t.Context(), db, Selection{IDs: []int64{letters[1].ID}})
		if n != 1 || err != nil || dead() != 0 {
			t.Errorf("redrove %d, %v; %d are left", n, err, dead())
		}
		if insert("fourth") {
			t.Error("inserted beside a redriven task with the same key")
		}
	})
}

// So many dead letters wait for one key that they are not selected together.
func TestRedriveOfManyWithOneUniqueKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		const letters = 250
		db := open(t, url)
		must(t, Migrate(t.Context(), db))
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			for i := range letters {
				if _, err := tx.Exec(ctx, `INSERT INTO chassi_dead (id, queue, uid, key, hold, tries, lost, headers, body, code, reason, error, created_at, died_at, unique_key)
					VALUES ($1, 'q', 'dead', '', FALSE, 1, 0, '{}', $2, '', '', '', 0, 0, 'u')`, i+1, []byte{}); err != nil {
					return err
				}
			}
			return nil
		}))
		n, err := Redrive(t.Context(), db, Selection{})
		if n != 1 || !errors.Is(err, ErrUniqueTaken) || !strings.HasSuffix(err.Error(), ": dead letters 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 239 more") {
			t.Errorf("redrove %d, %v", n, err)
		}
		if n, err := Discard(t.Context(), db, Selection{}); n != letters-1 || err != nil {
			t.Errorf("discarded %d, %v", n, err)
		}
	})
}
