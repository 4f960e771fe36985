package chassi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
)

func TestPartialStartIsUndone(t *testing.T) {
	t.Parallel()
	errInUse := errors.New("address in use")
	cases := map[string]struct {
		start func(context.Context) error
		want  string
	}{
		"error":  {fails(errInUse), "start grpc: address in use"},
		"panic":  {func(context.Context) error { panic(errInUse) }, "start grpc: internal (internal): Internal error: panic: address in use"},
		"goexit": {func(context.Context) error { runtime.Goexit(); return nil }, "start grpc: the goroutine exited before the function returned"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d diary
			app := newApp(chassi.AppOptions{DrainDelay: time.Hour})
			app.Add(d.plain("telemetry"), d.plain("database"))
			app.AddServer(d.server("grpc", c.start, nil))
			err := app.Run(t.Context())
			if err == nil || err.Error() != c.want {
				t.Errorf("Run = %v, want %s", err, c.want)
			}
			d.want(t, "+telemetry", "+database", "+grpc", "-database", "-telemetry")
			if h := app.Health(t.Context()); h.Ready || h.State != "stopped" {
				t.Errorf("after a failed start the health is %+v", h)
			}
			select {
			case <-app.Started():
				t.Error("Started is closed though the start failed")
			default:
			}
		})
	}
}

func TestFailedManagedStartIsUndone(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	app.Add(d.plain("telemetry"), d.server("database", fails(io.EOF), nil), d.plain("pool"))
	app.AddServer(d.plain("http"))
	wantText(t, app.Run(t.Context()), "start database: EOF")
	d.want(t, "+telemetry", "+database", "-telemetry")
}

// An error while undoing a failed start is reported beside the reason.
func TestErrorsOfTheUndoingAreJoined(t *testing.T) {
	t.Parallel()
	app := newApp(chassi.AppOptions{})
	app.Add(chassi.ComponentFunc("database", nil, fails(io.ErrClosedPipe)))
	app.AddServer(chassi.ComponentFunc("http", fails(io.EOF), nil))
	wantText(t, app.Run(t.Context()), "start http: EOF", "stop database: io: read/write on closed pipe")
}

// Each of several errors of a Start names the component, and the log has them too.
func TestEachErrorOfAStartNamesItsComponent(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	app := chassi.NewApp("app", chassi.AppOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	app.Add(chassi.ComponentFunc("ports", fails(errors.Join(io.EOF, errors.Join(io.ErrNoProgress, io.ErrShortBuffer))), nil))
	err := app.Run(t.Context())
	want := "start ports: EOF\nstart ports: multiple Read calls return no data or error\nstart ports: short buffer"
	if err == nil || err.Error() != want || !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("err = %v, want %s", err, want)
	}
	if !strings.Contains(log.String(), "error="+strconv.Quote(want)+" app=app clean=false") {
		t.Errorf("log: %s", log.String())
	}
}

func TestStartTimeoutNamesTheSlowServer(t *testing.T) {
	t.Parallel()
	ignore := func(d time.Duration) func(context.Context) error {
		return func(context.Context) error { time.Sleep(d); return nil }
	}
	cases := map[string]struct {
		start func(context.Context) error
		took  time.Duration
		diary []string
		grace bool
	}{
		"follows ctx":        {untilDone, 10 * time.Second, []string{"+database", "+slow", "-database"}, false},
		"ignores it a while": {ignore(12 * time.Second), 12 * time.Second, []string{"+database", "+slow", "-slow", "-database"}, false},
		"ignores it":         {ignore(time.Hour), 15 * time.Second, []string{"+database", "+slow", "-database"}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d diary
				app := newApp(chassi.AppOptions{StartTimeout: 10 * time.Second, Grace: 5 * time.Second})
				app.Add(d.plain("database"), d.server("slow", c.start, nil))
				app.AddServer(d.plain("http"))
				began := time.Now()
				err := app.Run(t.Context())
				took(t, began, c.took)
				wantText(t, err, "start slow", "deadline exceeded")
				if errors.Is(err, chassi.ErrGrace) != c.grace {
					t.Errorf("Run = %v; is it ErrGrace? want %v", err, c.grace)
				}
				d.want(t, c.diary...)
				time.Sleep(time.Hour) // what was left behind ends within the bubble
			})
		})
	}
}

func TestEndDuringStartIsClean(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		app := newApp(chassi.AppOptions{DrainDelay: time.Hour})
		app.Add(d.plain("database"))
		app.AddServer(d.server("http", untilDone, nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := app.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil: somebody asked for the end", err)
		}
		took(t, began, time.Second)
		d.want(t, "+database", "+http", "-database")
	})
}

func TestRunAfterItsEndStartsNothing(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	app.AddServer(d.plain("http"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := app.Run(ctx); err != nil {
		t.Error(err)
	}
	d.want(t)
}

func TestFailureDuringStartCutsItShort(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	broken := &breakable{Component: d.plain("telemetry"), failed: make(chan error, 1)}
	broken.failed <- io.ErrUnexpectedEOF
	app.Add(broken, d.server("database", untilDone, nil))
	err := app.Run(t.Context())
	wantText(t, err, "telemetry: unexpected EOF")
	if len(d.entries) == 0 || d.entries[len(d.entries)-1] != "-telemetry" {
		t.Errorf("the diary says %q, want the end of telemetry last", d.entries)
	}
}

type transport struct {
	chassi.Component
	mounted []string
	err     error
}

func (tr *transport) Mount(s *chassi.Service) error {
	tr.mounted = append(tr.mounted, s.Name())
	return errors.Join(s.Err(), tr.err)
}

func TestMountAddsEveryServiceToEveryTransport(t *testing.T) {
	t.Parallel()
	a, b := &transport{Component: chassi.ComponentFunc("http", nil, nil)}, &transport{Component: chassi.ComponentFunc("grpc", nil, nil)}
	app := newApp(chassi.AppOptions{})
	app.AddServer(a, chassi.ComponentFunc("no transport", nil, nil), b)
	app.Mount(chassi.NewService("a.v1.A"), chassi.NewService("b.v1.B"))
	for _, tr := range []*transport{a, b} {
		if !slices.Equal(tr.mounted, []string{"a.v1.A", "b.v1.B"}) {
			t.Errorf("%s has %q", tr.Name(), tr.mounted)
		}
	}
}

func TestRunRejectsInvalidComponents(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	app.Add(nil)
	app.AddServer(&transport{Component: d.plain("http"), err: io.EOF}, nil)
	app.Mount(chassi.NewService("bad name"), nil)
	err := app.Run(t.Context())
	wantText(t, err, `mount bad name on http: `, `service name "bad name"`, "EOF", "a component passed to Add or AddServer is nil", "a service passed to Mount is nil")
	if !errors.Is(err, io.EOF) {
		t.Errorf("Run = %v hides the transport's error", err)
	}
	d.want(t)
}

func TestAppRunsOnce(t *testing.T) {
	t.Parallel()
	app := newApp(chassi.AppOptions{})
	if err := run(t, app)(); err != nil {
		t.Fatal(err)
	}
	wantText(t, app.Run(t.Context()), "Run or Close of this App was already called")
}

func TestAppWithoutServersServes(t *testing.T) {
	t.Parallel()
	if err := run(t, newApp(chassi.AppOptions{}))(); err != nil {
		t.Error(err)
	}
}
