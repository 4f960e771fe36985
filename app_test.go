package chassi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// diary notes what servers do, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) write(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

func (d *diary) want(t *testing.T, entries ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.entries, entries) {
		t.Errorf("the diary says %q, want %q", d.entries, entries)
	}
}

// server writes its starts and stops into the diary before it does them.
func (d *diary) server(name string, start, stop func(context.Context) error) chassi.Component {
	inner := chassi.ComponentFunc(name, start, stop)
	return chassi.ComponentFunc(name,
		func(ctx context.Context) error { d.write("+" + name); return inner.Start(ctx) },
		func(ctx context.Context) error { d.write("-" + name); return inner.Stop(ctx) })
}

func (d *diary) plain(name string) chassi.Component { return d.server(name, nil, nil) }

// breakable is a server that can fail after its start.
type breakable struct {
	chassi.Component
	failed  chan error
	drained atomic.Bool
}

func (b *breakable) Failed() <-chan error { return b.failed }
func (b *breakable) Drain()               { b.drained.Store(true) }

func newApp(o chassi.AppOptions) *chassi.App {
	o.Logger = slog.New(slog.DiscardHandler)
	return chassi.NewApp("test", o)
}

// run runs app until it serves; stop ends it and returns what Run did.
func run(t *testing.T, app *chassi.App) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		cancel()
		t.Fatalf("the app did not start: %v", err)
	}
	return func() error { cancel(); return <-result }
}

func fails(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func untilDone(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v: want %q in it", err, text)
		}
	}
}

func took(t *testing.T, began time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(began); got != want {
		t.Errorf("it took %v, want %v", got, want)
	}
}

func TestAppStartsAndStopsInOrder(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	app.AddServer(d.plain("http"))
	app.Add(d.plain("telemetry"), d.plain("database"))
	app.Add(d.plain("pool"))
	if err := run(t, app)(); err != nil {
		t.Error(err)
	}
	d.want(t, "+telemetry", "+database", "+pool", "+http", "-http", "-pool", "-database", "-telemetry")
}

func TestFailureShutsDown(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{DrainDelay: time.Hour})
	broken := &breakable{Component: d.plain("http"), failed: make(chan error, 1)}
	app.Add(d.plain("database"))
	app.AddServer(broken, d.plain("grpc"))
	go func() {
		<-app.Started()
		broken.failed <- io.ErrUnexpectedEOF
	}()
	err := app.Run(t.Context())
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Run = %v, want the failure", err)
	}
	wantText(t, err, "http: unexpected EOF")
	slices.Sort(d.entries[1:3]) // listeners start together
	slices.Sort(d.entries[3:5]) // and stop together
	d.want(t, "+database", "+grpc", "+http", "-grpc", "-http", "-database")
}

func TestClosedFailedChannelIsNoFailure(t *testing.T) {
	t.Parallel()
	app := newApp(chassi.AppOptions{})
	healthy := &breakable{Component: chassi.ComponentFunc("http", nil, nil), failed: make(chan error)}
	close(healthy.failed)
	app.AddServer(healthy, &breakable{Component: chassi.ComponentFunc("nil channel", nil, nil)})
	if err := run(t, app)(); err != nil {
		t.Error(err)
	}
}
