package chassi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that [App.Run] returns when a shutdown was not orderly.
var (
	// ErrForced reports that a second signal ended the shutdown at once.
	ErrForced = errors.New("chassi: stopped immediately by a second signal")
	// ErrGrace reports that work was still running at the end of the grace period and was
	// abandoned. The text of the error names that work.
	ErrGrace = errors.New("chassi: the grace period ended before all work was finished")
)

// AppOptions configures an [App]. The zero value of a field means its default.
type AppOptions struct {
	Logger       *slog.Logger  // default slog.Default()
	StartTimeout time.Duration // maximum time to start all components that are not optional; default 0, no limit
	DrainDelay   time.Duration // time between failing readiness and closing listeners; skipped on SIGINT; default 0
	Grace        time.Duration // maximum time to stop servers, and again for other components, see [App]; default 20 s
	CheckTimeout time.Duration // timeout of one dependency probe; default 2 s

	// HeapFloor is the heap size in bytes below which the garbage collector does not run while
	// the App runs. With little live data the collector would otherwise run for each 4 MiB of
	// allocations, dozens of times per second under load. The default is 32 MiB; a negative
	// value disables the floor, as do GOGC in the environment and a memory limit (GOMEMLIMIT)
	// of less than eight times the floor.
	HeapFloor int
}

// App starts components, runs them and stops them.
//
// Start: the components of [App.Add] start one after the other, in the order they were added;
// then those of [App.AddServer] start concurrently. An [Optional] component does not delay the
// components after it. A component whose Start returns an [Unavailable] error is started again,
// with pauses of up to 5 s. Unless the component is optional, the App is not ready until it has
// started, and the start of the App fails when StartTimeout has passed. Any other error ends the
// start, and the components that have started are stopped.
//
// Run: the App calls the Check method of every component that has one, and every check of
// [App.AddCheck], every 5 s, and logs when one begins to fail and when it succeeds again.
//
// Stop, on SIGTERM, SIGINT, SIGHUP or the end of Run's context: first readiness fails while all
// components keep serving for the drain delay, which SIGINT (Ctrl-C) skips. Then the servers
// stop concurrently and complete their calls within the grace period. Then the other components
// stop one after the other, in reverse order, within another grace period. So a component may
// use the components added before it for as long as it runs. The failure of a component stops
// the App in the same way, without the drain delay. A component that was not started is closed,
// if it has a method Close.
//
// A second SIGTERM or SIGINT ends Run at once. A repetition of the same signal within 200 ms is
// ignored, because a terminal or a supervisor may send it to the process and to its group.
// SIGHUP is never a second signal: it stops the App unless [App.OnHangup] was called, or it was
// ignored when the process began (nohup). SIGPIPE is ignored.
//
// A component cannot block the shutdown: an interrupted Start has the grace period to return,
// and a Stop that exceeds its grace period has another 100 ms; then Run returns without it,
// with an error that names the component. A panic in either method is handled as an error.
type App struct {
	name    string
	options AppOptions
	managed []*component
	servers []*component
	all     []*component // managed, servers, and the entries of AddCheck and AddStatus
	rounds  rounds
	state   atomic.Int32
	tasks   sync.WaitGroup // for starts and health checks
	started chan struct{}
	failure chan error // first failure of a component; nil if the component ended normally
	ran     atomic.Bool
	errs    []error // of Add, AddServer and Mount
	mounted []*Service
	hangup  []func() // called on SIGHUP
}

type state int32

const (
	starting state = iota
	serving
	draining
	stopped
)

func (s state) String() string {
	return [...]string{"starting", "serving", "draining", "stopped"}[s]
}

// NewApp returns an App. Name is the name of the program in the log.
func NewApp(name string, o AppOptions) *App {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Grace = orDefault(o.Grace, 20*time.Second)
	o.CheckTimeout = orDefault(o.CheckTimeout, 2*time.Second)
	if o.HeapFloor == 0 {
		o.HeapFloor = 32 << 20
	}
	return &App{name: name, options: o, started: make(chan struct{}), failure: make(chan error, 1)}
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}

// holdHeap returns memory that is never written: the garbage collector counts it, although it uses
// only address space. Because it also counts against Go's memory limit, holdHeap returns nil under
// a low limit. It also returns nil if bytes is negative or GOGC is set.
func holdHeap(bytes int) []byte {
	if bytes < 0 || os.Getenv("GOGC") != "" || int64(bytes) > debug.SetMemoryLimit(-1)/8 {
		return nil
	}
	return make([]byte, bytes)
}

// Add adds components that accept no work from outside: databases, pools, background work. They
// start before all servers, in this order, and stop after the servers, in reverse order. Add
// must be called before Run.
func (a *App) Add(components ...Component) { a.managed = a.add(a.managed, components) }

// AddServer adds components that accept work from outside: listeners, consumers. They start
// after all other components and stop first, after they have completed the work that they
// accepted. AddServer must be called before Run.
func (a *App) AddServer(components ...Component) { a.servers = a.add(a.servers, components) }

func (a *App) add(list []*component, components []Component) []*component {
	for _, s := range components {
		c := new(component)
		for o, ok := s.(optional); ok; o, ok = s.(optional) {
			c.optional, s = true, o.Component
		}
		if s == nil {
			a.errs = append(a.errs, errors.New("chassi: a component is nil"))
			continue
		}
		c.Component, c.name = s, s.Name()
		if b, ok := s.(interface{ logTo(logger *slog.Logger) }); ok {
			b.logTo(a.options.Logger)
		}
		if checked, ok := s.(interface {
			Check(ctx context.Context) error
		}); ok {
			c.check = checked.Check
		}
		c.pending.Store(&CheckResult{Name: c.name, Status: starting.String(), Detail: "waits for others"})
		list, a.all = append(list, c), append(a.all, c)
	}
	return list
}

// Mount mounts services on every [Transport] that AddServer has added so far. [App.Err] and
// [App.Run] return the errors.
func (a *App) Mount(services ...*Service) {
	for _, c := range a.servers {
		transport, ok := c.Component.(Transport)
		if !ok {
			continue
		}
		for _, s := range services {
			if s == nil {
				a.errs = append(a.errs, errors.New("chassi: a service is nil"))
				continue
			}
			if s.Err() == nil && !slices.Contains(a.mounted, s) {
				a.mounted = append(a.mounted, s)
			}
			if err := transport.Mount(s); err != nil {
				a.errs = append(a.errs, fmt.Errorf("mount %s on %s: %w", s.Name(), transport.Name(), err))
			}
		}
	}
}

// AddCheck adds a check to readiness, for a dependency that no component checks. The probe must
// use the dependency and return when its context ends.
func (a *App) AddCheck(name string, probe func(context.Context) error) {
	a.all = append(a.all, &component{name: name, check: probe})
}

// AddStatus adds an entry to the details of readiness that does not affect readiness, such as
// the state of a client: an unavailable service must not make all of its clients unready. State
// must not block. It returns a status and a detail without secrets. The status is "ok" after a
// success, "unknown" before the first success or failure, and "degraded" after a failure.
func (a *App) AddStatus(name string, state func() (status, detail string)) {
	a.all = append(a.all, &component{name: name, optional: true, inform: state})
}

// OnHangup adds a function that is called on SIGHUP, for example to reload the configuration,
// instead of stopping the App. The functions are called one after the other, in the order in
// which they were added. OnHangup must be called before Run.
func (a *App) OnHangup(f func()) { a.hangup = append(a.hangup, f) }

// Started returns a channel that is closed when all components have started, except for
// optional components that are unavailable.
func (a *App) Started() <-chan struct{} { return a.started }

// Close releases the resources of all components that were added, see [Component]. It is for programs
// that cannot call Run because another part of their setup failed. After Run it does nothing.
func (a *App) Close() error {
	if a.ran.Swap(true) {
		return nil
	}
	return a.closeUnstarted()
}

// Run starts all components, serves until a signal, the end of ctx or the failure of a
// component, and stops all components. It returns nil after an orderly stop, also when the stop
// was requested during the start, and otherwise the errors of the components, [ErrForced] or
// [ErrGrace]. After a second signal it returns at once and abandons the work that still runs.
// Run must be called at most once.
func (a *App) Run(ctx context.Context) error {
	if a.ran.Swap(true) {
		return errors.New("chassi: the app has already run or was closed; create a new one")
	}
	if err := a.Err(); err != nil {
		return errors.Join(err, a.closeUnstarted())
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	forced := make(chan struct{})
	defer a.handleSignals(stop, forced)()

	defer runtime.KeepAlive(holdHeap(a.options.HeapFloor))
	result := make(chan error, 1)
	go func() { result <- a.run(ctx) }()
	select {
	case err := <-result:
		return err
	case <-forced:
		return ErrForced
	}
}

// Err returns the errors of Add, AddServer and Mount so far. Run returns them too.
func (a *App) Err() error {
	errs := slices.Clone(a.errs)
	for _, s := range a.mounted {
		errs = append(errs, s.Err()) // nil, unless it was changed after that
	}
	return errors.Join(errs...)
}

func (a *App) currentState() state { return state(a.state.Load()) }
