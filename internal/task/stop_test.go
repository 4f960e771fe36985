package task

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Ending the session may wait for the database as long as the whole stop may: on SQLite another
// write can be in progress.
func TestTimeToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		within := func(d time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return ctx
		}
		canceled, cancel := context.WithTimeout(t.Context(), time.Hour)
		cancel()
		for _, c := range []struct {
			name string
			ctx  context.Context
			want time.Duration // 0: no deadline
		}{
			{"much time", within(time.Minute), time.Minute},
			{"little time", within(time.Millisecond), reserve},
			{"canceled", canceled, reserve},
			{"no deadline", t.Context(), 0},
		} {
			ending, cancel := toEnd(c.ctx)
			defer cancel()
			var got time.Duration
			if ends, ok := ending.Deadline(); ok {
				got = time.Until(ends)
			}
			if got != c.want || ending.Err() != nil {
				t.Errorf("%s: %v (%v), want %v", c.name, got, ending.Err(), c.want)
			}
		}
	})
}
