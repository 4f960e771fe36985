package chassi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
)

// dependent is a server that is unavailable while away holds a reason.
type dependent struct {
	chassi.Component
	away   atomic.Pointer[error]
	starts atomic.Int32
	checks atomic.Int32
}

func newDependent(name string, away error) *dependent {
	d := new(dependent)
	d.set(away)
	d.Component = chassi.ComponentFunc(name, func(context.Context) error {
		d.starts.Add(1)
		return d.reason()
	}, nil)
	return d
}

func (d *dependent) set(err error) { d.away.Store(&err) }

func (d *dependent) reason() error {
	if err := *d.away.Load(); err != nil {
		return chassi.NewError(chassi.Unavailable, "away", "It is away").WithCause(err)
	}
	return nil
}

func (d *dependent) Check(context.Context) error {
	d.checks.Add(1)
	return d.reason()
}

var errRefused = errors.New("connection refused")

// lines keeps what is logged, one line each, without its time.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// about returns the lines about a component.
func (l *lines) about(component string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, "component="+component) {
			_, line, _ = strings.Cut(line, " ")
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func (l *lines) want(t *testing.T, component string, want ...string) {
	t.Helper()
	got := l.about(component)
	if len(got) != len(want) {
		t.Errorf("%d lines about %s, want %d: %q", len(got), component, len(want), got)
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("line %d about %s is %s, want %s", i, component, got[i], want[i])
		}
	}
}

func newLoggedApp(o chassi.AppOptions) (*chassi.App, *lines) {
	l := new(lines)
	o.Logger = slog.New(slog.NewTextHandler(l, nil))
	return chassi.NewApp("test", o), l
}

// begin runs app; stop ends it and returns what Run did.
func begin(t *testing.T, app *chassi.App) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	return func() error { cancel(); return <-result }
}

func isStarted(app *chassi.App) bool {
	select {
	case <-app.Started():
		return true
	default:
		return false
	}
}

func statusOf(app *chassi.App, name string) (status, reason string) {
	for _, c := range app.RecentHealth(context.Background(), time.Second).Checks {
		if c.Name == name {
			if c.Err != nil {
				reason = c.Err.Error()
			}
			return c.Status, reason
		}
	}
	return "", ""
}

func wantStatus(t *testing.T, app *chassi.App, name, status, reason string) {
	t.Helper()
	gotStatus, gotReason := statusOf(app, name)
	if gotStatus != status || !strings.Contains(gotReason, reason) || reason == "" && gotReason != "" {
		t.Errorf("%s is %q because of %q, want %q because of %q", name, gotStatus, gotReason, status, reason)
	}
}

// R91: a database that is unavailable keeps the program alive, not ready, and telling why, for as
// long as it takes.
func TestManagedServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		database := newDependent("database", errRefused)
		app, log := newLoggedApp(chassi.AppOptions{})
		app.Add(d.plain("admin"), database, d.plain("keys"))
		app.AddServer(d.plain("http"))
		stop := begin(t, app)
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if h := app.Health(t.Context()); h.Ready || h.State != "starting" || isStarted(app) {
			t.Errorf("without the database: %+v", h)
		}
		wantStatus(t, app, "database", "starting", "connection refused")
		wantStatus(t, app, "keys", "starting", "")
		wantStatus(t, app, "http", "starting", "")
		wantStatus(t, app, "admin", "", "")
		d.want(t, "+admin")
		if n := database.starts.Load(); n < 7200 || n > 7210 {
			t.Errorf("%d attempts in ten hours, want one each 5 s and a few more at first", n)
		}
		log.want(t, "database", "level=ERROR")

		database.set(nil)
		time.Sleep(5 * time.Second)
		if h := app.Health(t.Context()); !h.Ready || !isStarted(app) {
			t.Errorf("with the database: %+v", h)
		}
		wantStatus(t, app, "database", "ok", "")
		d.want(t, "+admin", "+keys", "+http")
		log.want(t, "database", "level=ERROR", `level=INFO msg="component works again" component=database after=10h`)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// R90: a broker that is unavailable does not keep HTTP from serving. A required one keeps the App
// from being ready, an optional one does not.
func TestServerOfServeIsWaitedForWhileOthersServe(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		mark         func(chassi.Component) chassi.Component
		ready        bool
		status, line string
	}{
		"required": {func(s chassi.Component) chassi.Component { return s }, false, "starting", "level=ERROR"},
		"optional": {chassi.Optional, true, "degraded", "level=WARN"},
		"twice":    {func(s chassi.Component) chassi.Component { return chassi.Optional(chassi.Optional(s)) }, true, "degraded", "level=WARN"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d diary
				broker := newDependent("nats", errRefused)
				app, log := newLoggedApp(chassi.AppOptions{})
				app.AddServer(c.mark(broker), d.plain("http"))
				stop := begin(t, app)
				time.Sleep(time.Hour)
				d.want(t, "+http")
				if got := app.Health(t.Context()).Ready; got != c.ready || isStarted(app) != c.ready {
					t.Errorf("ready is %v, started %v, want %v", got, isStarted(app), c.ready)
				}
				wantStatus(t, app, "nats", c.status, "connection refused")
				log.want(t, "nats", c.line)

				broker.set(nil)
				time.Sleep(5 * time.Second)
				if !app.Health(t.Context()).Ready {
					t.Error("not ready with the broker")
				}
				wantStatus(t, app, "nats", "ok", "")
				log.want(t, "nats", c.line, "level=INFO")
				if err := stop(); err != nil {
					t.Error(err)
				}
				d.want(t, "+http", "-http")
			})
		})
	}
}

func TestOptionalManagedServerHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newApp(chassi.AppOptions{StartTimeout: time.Minute})
		app.Add(chassi.Optional(newDependent("redis", errRefused)), newDependent("database", nil))
		stop := run(t, app)
		time.Sleep(time.Hour)
		wantStatus(t, app, "redis", "degraded", "connection refused")
		wantStatus(t, app, "database", "ok", "")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// An optional server that hangs holds up the others for a moment only.
func TestHungOptionalServerDelaysReadiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newApp(chassi.AppOptions{})
		app.AddServer(chassi.Optional(chassi.ComponentFunc("nats", untilDone, nil)), chassi.ComponentFunc("http", nil, nil))
		began := time.Now()
		stop := run(t, app)
		took(t, began, 5*time.Second)
		if !app.Health(t.Context()).Ready {
			t.Error("not ready")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStartThatHangsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts atomic.Int32
		app, log := newLoggedApp(chassi.AppOptions{})
		app.Add(chassi.ComponentFunc("database", func(ctx context.Context) error {
			if starts.Add(1) > 1 {
				return nil
			}
			<-ctx.Done()
			return errors.New("dial tcp: i/o timeout")
		}, nil))
		began := time.Now()
		stop := run(t, app)
		took(t, began, time.Minute+100*time.Millisecond)
		log.want(t, "database", `level=ERROR msg="component does not work" component=database status=starting error="unavailable (no_response): No response within 1m0s: dial tcp: i/o timeout"`, "level=INFO")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// R91: the error says why, and not only that the time was over.
func TestStartTimeoutReportsTheLastReasons(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		nats, amqp := newDependent("nats", errRefused), newDependent("amqp", errors.New("no such host"))
		app := newApp(chassi.AppOptions{StartTimeout: 10 * time.Second})
		app.Add(d.plain("database"), chassi.Optional(newDependent("redis", errors.New("redis is away"))))
		app.AddServer(d.plain("http"), nats, amqp)
		time.AfterFunc(5*time.Second, func() { amqp.set(errors.New("ACCESS_REFUSED")) })
		began := time.Now()
		err := app.Run(t.Context())
		took(t, began, 10*time.Second)
		wantText(t, err, "not started within 10s", "start nats: ", "connection refused", "start amqp: ", "ACCESS_REFUSED")
		for _, text := range []string{"redis", "http", "deadline", "no such host"} {
			if strings.Contains(err.Error(), text) {
				t.Errorf("%q is in the error: %v", text, err)
			}
		}
		d.want(t, "+database", "+http", "-http", "-database")
	})
}

// A start that waits only for the first attempt of an optional component says so.
func TestStartTimeoutReportsOptionalComponents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newApp(chassi.AppOptions{StartTimeout: time.Second})
		app.Add(chassi.Optional(chassi.ComponentFunc("redis", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, nil)))
		wantText(t, app.Run(t.Context()), "the App has not started within 1s: the first attempt of an optional component has not ended")
	})
}

func TestEndWhileWaitingIsClean(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		app, log := newLoggedApp(chassi.AppOptions{DrainDelay: time.Hour})
		app.Add(d.plain("admin"), newDependent("database", errRefused), d.plain("keys"))
		stop := begin(t, app)
		time.Sleep(time.Hour)
		began := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run = %v, want nil: the end was asked for", err)
		}
		took(t, began, 0)
		d.want(t, "+admin", "-admin")
		log.want(t, "database", "level=ERROR")
	})
}

// Errors other than Unavailable are final, for every component and at any time.
func TestOtherErrorsAreFinal(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		first error
		wait  time.Duration
	}{
		"at first": {nil, 0}, "after a while": {chassi.NewError(chassi.Unavailable, "away", "It is away"), 100 * time.Millisecond},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var starts atomic.Int32
				app := newApp(chassi.AppOptions{})
				app.AddServer(chassi.ComponentFunc("http", nil, nil), chassi.Optional(chassi.ComponentFunc("nats", func(context.Context) error {
					if starts.Add(1) == 1 && c.first != nil {
						return c.first
					}
					return errors.New("nats.ca_file: no such file")
				}, nil)))
				began := time.Now()
				wantText(t, app.Run(t.Context()), "start nats: nats.ca_file: no such file")
				took(t, began, c.wait)
			})
		})
	}
}

// The App itself notices and logs when something begins to fail and when it works again.
func TestAppWatchesItsChecks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		database, redis := newDependent("database", nil), newDependent("redis", nil)
		var keys atomic.Bool
		app, log := newLoggedApp(chassi.AppOptions{})
		app.Add(database, chassi.Optional(redis))
		app.AddStatus("keys", func() (status, detail string) {
			if keys.Load() {
				return "degraded", "one cannot be read"
			}
			return "unknown", ""
		})
		stop := run(t, app)
		time.Sleep(time.Second)
		database.set(errRefused)
		redis.set(io.EOF)
		keys.Store(true)
		time.Sleep(time.Hour)
		log.want(t, "database", `level=ERROR msg="component does not work" component=database status=failing error="unavailable (away): It is away: connection refused"`)
		log.want(t, "redis", `level=WARN msg="component does not work" component=redis status=degraded`)
		log.want(t, "keys", `level=WARN msg="component does not work" component=keys status=degraded error="one cannot be read"`)

		probes := database.checks.Load()
		if h := app.RecentHealth(t.Context(), 10*time.Second); h.Ready || database.checks.Load() != probes {
			t.Errorf("%+v after %d probes more", h, database.checks.Load()-probes)
		}
		database.set(nil)
		redis.set(nil)
		keys.Store(false)
		time.Sleep(5 * time.Second)
		for _, name := range []string{"database", "redis", "keys"} {
			if got := log.about(name); len(got) != 2 || !strings.Contains(got[1], "level=INFO") || !strings.Contains(got[1], "after=1h0m0s") {
				t.Errorf("%s: %q", name, got)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if n := len(log.about("database")); n != 2 {
			t.Errorf("after the end: %q", log.about("database"))
		}
	})
}

// logging is a server that logs its outages itself.
type logging struct{ *dependent }

func (logging) LogsOutage() bool { return true }

// An outage that a server has logged is not logged again, nor is its end.
func TestAppLeavesOutagesToServersThatLogThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis := newDependent("redis", nil)
		app, log := newLoggedApp(chassi.AppOptions{})
		app.Add(chassi.Optional(logging{redis}))
		stop := run(t, app)
		redis.set(io.EOF)
		time.Sleep(time.Minute)
		if h := app.Health(t.Context()); h.Checks[0].Status != "degraded" {
			t.Errorf("%+v", h)
		}
		redis.set(nil)
		time.Sleep(time.Minute)
		if got := log.about("redis"); len(got) != 0 {
			t.Errorf("%q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

type everything struct {
	*transport
	*breakable
}

func (e everything) Name() string                    { return "nats" }
func (e everything) Start(context.Context) error     { return nil }
func (e everything) Stop(context.Context) error      { return nil }
func (e everything) Check(ctx context.Context) error { return io.EOF }

// Optional changes nothing else about a server.
func TestOptionalServerIsServerOfItsKind(t *testing.T) {
	t.Parallel()
	nats := everything{&transport{}, &breakable{failed: make(chan error, 1)}}
	app := newApp(chassi.AppOptions{})
	app.AddServer(chassi.Optional(nats))
	app.Mount(chassi.NewService("a.v1.A"))
	stop := run(t, app)
	wantStatus(t, app, "nats", "degraded", "EOF")
	if err := stop(); err != nil || len(nats.mounted) != 1 || !nats.drained.Load() {
		t.Errorf("%v; mounted %q, drained %v", err, nats.mounted, nats.drained.Load())
	}

	app = newApp(chassi.AppOptions{})
	app.AddServer(chassi.Optional(nats))
	nats.failed <- io.ErrUnexpectedEOF
	wantText(t, app.Run(t.Context()), "nats: unexpected EOF")

	app = newApp(chassi.AppOptions{})
	app.Add(chassi.Optional(nil))
	wantText(t, app.Run(t.Context()), "a component passed to Add or AddServer is nil")
}
