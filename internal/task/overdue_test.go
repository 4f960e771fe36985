package task

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
)

// A method that does not return when its context ends is logged once, and once more when it has
// returned; one that returns soon is not.
func TestOverdueMethodIsLogged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		transactional, lost bool // whether the lease is lost, instead of a timeout
		after               time.Duration
		want                int
	}{
		"timeout":       {after: time.Millisecond, want: 1},
		"transactional": {after: time.Millisecond, want: 1, transactional: true},
		"lost lease":    {after: time.Millisecond, want: 1, lost: true},
		"in time":       {after: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out logged
			var looks atomic.Int64
			db := open(t, dbtest.SQLite(t))
			began, ended, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
			timeout := time.Millisecond
			if c.lost {
				timeout = time.Hour
			}
			endpoint := chassi.NewEndpoint("Deaf", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
				close(began)
				<-ctx.Done()
				close(ended)
				<-release
				return new(struct{}), nil
			}, chassi.Public, chassi.Timeout(timeout))
			run, err := Bind(endpoint, "job", middleware.Timeout(time.Hour))
			must(t, err)
			e := NewEngine(db, Options{Logger: slog.New(slog.NewTextHandler(&out, nil)), Poll: 5 * time.Millisecond})
			e.overdueAfter = c.after
			e.OnWake(func() { looks.Add(1) })
			must(t, e.Handle(Queue{Name: "q", Run: run, Transactional: c.transactional}))
			must(t, e.Start(t.Context()))
			add(t, db, e, New{Queue: "q", UID: "deaf", Body: []byte("{}")})
			if <-began; c.lost {
				e.cancel(ErrLeaseLost)
			}
			<-ended
			const overdue, returned = `level=WARN msg="tasks: the function has not returned`, `level=INFO msg="tasks: the function that did not return has returned" queue=q id=1 uid=deaf ran_for=`
			if c.want > 0 {
				eventually(t, "it is logged", func() bool { return strings.Contains(out.String(), overdue) })
			}
			before := looks.Load()
			eventually(t, "the node looks again", func() bool { return looks.Load() > before+3 || c.transactional }) // which holds SQLite's only writer
			if strings.Contains(out.String(), returned) {
				t.Error("it has returned")
			}
			close(release)
			eventually(t, "the queue is empty", empty(t, db))
			must(t, e.Stop(context.Background()))
			text := out.String()
			if n, m := strings.Count(text, overdue), strings.Count(text, returned); n != c.want || m != c.want {
				t.Errorf("logged %d and %d times, want %d: %s", n, m, c.want, text)
			}
			if c.want > 0 && !strings.Contains(text, "queue=q id=1 uid=deaf running_for=") {
				t.Errorf("logged %s", text)
			}
		})
	}
}
