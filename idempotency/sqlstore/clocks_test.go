package sqlstore_test

import (
	"testing"
	"time"

	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/idemtest"
)

// R89: keys are kept by the database's clock, also when that is set. Set back, no key is
// forgotten too soon; set forward, they end by what the clock shows.
func TestKeysWhenTheDatabasesClockIsSet(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			at, setClock := dbtest.PostgresWithClock(t)
			store := sqlstore.New(open(t, at))
			const keep = 30 * time.Minute
			running, finished, ended := idemtest.Attempt(), idemtest.Attempt(), idemtest.Attempt()
			for _, a := range []idempotency.Attempt{running, finished, ended} {
				if state, _, err := store.Begin(t.Context(), a, keep); err != nil || state != idempotency.Begun {
					t.Fatal(state, err)
				}
			}
			for a, kept := range map[*idempotency.Attempt]time.Duration{&finished: keep, &ended: -time.Second} {
				if err := store.Finish(t.Context(), *a, []byte("done"), kept); err != nil {
					t.Fatal(err)
				}
			}
			setClock(by)
			deleted, kept := int64(3), idempotency.Begun
			if by < 0 {
				deleted, kept = 0, idempotency.Finished
			}
			if n, err := store.DeleteExpired(t.Context()); n != deleted || err != nil {
				t.Errorf("%d keys forgotten, %v, want %d", n, err, deleted)
			}
			again := finished
			again.Token = "another"
			if state, _, err := store.Begin(t.Context(), again, keep); state != kept || err != nil {
				t.Errorf("state %d of what is kept, %v, want %d", state, err, kept)
			}
			setClock(max(by, 0) + keep + time.Second)
			again.Token = "a third"
			if state, _, err := store.Begin(t.Context(), again, keep); state != idempotency.Begun || err != nil {
				t.Errorf("state %d, %v, after the time to keep it", state, err)
			}
		})
	}
}
