package chassi_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/chassi-go/chassi"
)

// holder is a server that holds something since it was made.
type holder struct {
	chassi.Component

	closed int
}

func (h *holder) Close() error { h.closed++; return nil }

// A start that fails half-way leaves nothing open: what has started is stopped, and what
// holds something without having started is closed.
func TestFailedStartClosesUnstartedComponents(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	up, failing, waiting, listener := &holder{Component: d.plain("up")}, &holder{Component: d.server("failing", fails(errors.New("no")), nil)},
		&holder{Component: d.plain("waiting")}, &holder{Component: d.plain("listener")}
	app.Add(up, failing, chassi.Optional(waiting), chassi.ComponentFunc("pool", nil, func(context.Context) error { d.write("-pool"); return nil }))
	app.AddServer(listener)
	wantText(t, app.Run(t.Context()), "start failing: no")
	if got := []int{up.closed, failing.closed, waiting.closed, listener.closed}; !slices.Equal(got, []int{0, 1, 1, 1}) {
		t.Errorf("closed %v", got)
	}
	d.want(t, "+up", "+failing", "-up", "-pool")
}

// A program that gives up before Run closes everything.
func TestCloseInsteadOfRun(t *testing.T) {
	t.Parallel()
	app, h := newApp(chassi.AppOptions{}), &holder{Component: chassi.ComponentFunc("database", nil, nil)}
	app.Add(h)
	for range 2 {
		if err := app.Close(); err != nil || h.closed != 1 {
			t.Errorf("Close = %v, closed %d times", err, h.closed)
		}
	}
	wantText(t, app.Run(t.Context()), "Run or Close of this App was already called")
}

// Run does not start what was assembled wrongly, and closes it.
func TestMisuseClosesAddedComponents(t *testing.T) {
	t.Parallel()
	var d diary
	app, h := newApp(chassi.AppOptions{}), &holder{Component: d.plain("database")}
	app.Add(h, nil)
	if err := app.Run(t.Context()); err == nil || h.closed != 1 {
		t.Errorf("Run = %v, closed %d times", err, h.closed)
	}
	d.want(t)
}

// What is drained asks clients to go elsewhere, wherever it was added.
func TestManagedServersAreDrained(t *testing.T) {
	t.Parallel()
	app := newApp(chassi.AppOptions{})
	managed, served := &breakable{Component: chassi.ComponentFunc("stream", nil, nil)}, &breakable{Component: chassi.ComponentFunc("http", nil, nil)}
	app.Add(managed)
	app.AddServer(served)
	if err := run(t, app)(); err != nil || !managed.drained.Load() || !served.drained.Load() {
		t.Errorf("Run = %v, drained %v and %v", err, managed.drained.Load(), served.drained.Load())
	}
}
