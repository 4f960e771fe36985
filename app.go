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
	// abandoned. The returned error also names that work.
	ErrGrace = errors.New("chassi: the grace period ended before all work was finished")
)

// AppOptions configures an [App]. The zero value of a field means its default.
type AppOptions struct {
	Logger       *slog.Logger  // default slog.Default()
	StartTimeout time.Duration // maximum time to start all components that are not optional; default 0, no limit
	DrainDelay   time.Duration // from failing readiness to closing listeners; none after SIGINT or a failure; default 0
	Grace        time.Duration // maximum time to stop the servers, and again to stop the other components; default 20 s
	CheckTimeout time.Duration // timeout of one dependency probe; default 2 s

	// HeapFloor is the heap size in bytes below which the garbage collector does not run
	// while the App runs. With little live data the collector would otherwise run for each
	// 4 MiB of allocations, dozens of times per second under load. The default is 32 MiB.
	// The floor is disabled by a negative value, by GOGC in the environment, and by a
	// memory limit (GOMEMLIMIT) of less than eight times the floor.
	HeapFloor int
}

// App starts components, runs them and stops them.
//
// Start: the components of [App.Add] start one after the other, in the order they were added;
// then those of [App.AddServer] start concurrently. An [Optional] component does not delay the
// components after it. If the Start method of a component returns an [Unavailable] error, the App
// calls it again after a pause of up to 5 s. The start of the App fails if any component returns
// another error, or if it takes longer than StartTimeout, including up to 5 s for first attempts of
// optional components. The App then stops what has started. It is not ready before its start is complete.
//
// Run: every 5 s the App calls the checks of [App.AddCheck] and the Check methods of the started
// components. It logs when a check begins to fail or succeeds again, unless the component does so itself.
//
// Stop, on SIGTERM, SIGINT or SIGHUP, or when Run's context is done: first readiness fails
// while all components keep serving for the drain delay, which SIGINT (Ctrl-C) skips.
// Then the servers stop concurrently and complete their calls within the grace period.
// Then the other components stop one after the other, in reverse order, within another grace
// period. So a component of Add may use those added before it for as long as it runs, and a
// server may use all of them. The failure of a component stops the App in the same way, without
// the drain delay. A component that was not started is closed, if it has a method Close.
//
// A second SIGTERM or SIGINT ends Run at once. A repetition of the same signal within
// 200 ms is ignored, because a terminal or a supervisor may send it to the process and
// to its process group. SIGHUP is never a second signal. It stops the App unless [App.OnHangup]
// was called, or SIGHUP was ignored when the process began (nohup). SIGPIPE is ignored.
//
// A component cannot block the shutdown. The App abandons an interrupted Start after the grace
// period, and a Stop 100 ms after the end of its grace period; Run then returns an error that names
// the component. A panic in either method is handled as an error.
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
	errs    []error // errors of Add, AddServer and Mount
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

// NewApp returns an App with options o. Name is the name of the program in the log.
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

// holdHeap returns a slice of the given size in bytes, which raises the heap size at which the
// garbage collector runs. It is never written, so that it uses only address space. holdHeap
// returns nil if bytes is negative or exceeds an eighth of Go's memory limit, or if GOGC is set.
func holdHeap(bytes int) []byte {
	if bytes < 0 || os.Getenv("GOGC") != "" || int64(bytes) > debug.SetMemoryLimit(-1)/8 {
		return nil
	}
	return make([]byte, bytes)
}

// Add adds components that accept no work from outside, such as databases, pools and
// background work. They start before all servers, in the order in which they were added,
// and stop after the servers, in reverse order. Add must be called before Run.
func (a *App) Add(components ...Component) { a.managed = a.add(a.managed, components) }

// AddServer adds components that accept work from outside, such as listeners and
// consumers. They start after all other components and stop first, after they have
// completed the work that they accepted. AddServer must be called before Run.
func (a *App) AddServer(components ...Component) { a.servers = a.add(a.servers, components) }

func (a *App) add(list []*component, components []Component) []*component {
	for _, s := range components {
		c := new(component)
		for o, ok := s.(optional); ok; o, ok = s.(optional) {
			c.optional, s = true, o.Component
		}
		if s == nil {
			a.errs = append(a.errs, errors.New("chassi: a component passed to Add or AddServer is nil"))
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

// Mount mounts services on every [Transport] that AddServer has added so far. [App.Err]
// and [App.Run] return the errors of Mount.
func (a *App) Mount(services ...*Service) {
	for _, c := range a.servers {
		transport, ok := c.Component.(Transport)
		if !ok {
			continue
		}
		for _, s := range services {
			if s == nil {
				a.errs = append(a.errs, errors.New("chassi: a service passed to Mount is nil"))
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

// AddCheck adds a readiness check for a dependency that no component checks. The probe must
// use the dependency, return an error if that fails, and return when its context is done.
func (a *App) AddCheck(name string, probe func(context.Context) error) {
	a.all = append(a.all, &component{name: name, check: probe})
}

// AddStatus adds an entry to [Health] that does not affect readiness, such as the state of a
// client: an unavailable service must not make all of its clients unready. State returns the
// status and a detail without secrets. The status is "unknown" until the first success or
// failure, then "ok" after a success and "degraded" after a failure. State must not block.
func (a *App) AddStatus(name string, state func() (status, detail string)) {
	a.all = append(a.all, &component{name: name, optional: true, inform: state})
}

// OnHangup adds a function that the App calls on SIGHUP, for example to reload the
// configuration; SIGHUP then does not stop the App. The functions are called one after
// the other, in the order in which they were added. OnHangup must be called before Run.
func (a *App) OnHangup(f func()) { a.hangup = append(a.hangup, f) }

// Started returns a channel that is closed when all components have started, except for
// optional components that are unavailable or have not responded within 5 s.
func (a *App) Started() <-chan struct{} { return a.started }

// Close releases the resources of all components that were added, in reverse order (see
// [Component]), and returns their errors. It is for programs that cannot call Run because another
// part of their setup failed. After Run or an earlier Close it does nothing and returns nil.
func (a *App) Close() error {
	if a.ran.Swap(true) {
		return nil
	}
	return a.closeUnstarted()
}

// Run starts all components, serves until a signal arrives, ctx is done or a component
// fails, and stops all components. It returns nil after an orderly stop, even if the
// stop was requested during the start. Otherwise it returns the errors of the components,
// [ErrForced], [ErrGrace] or the error of an expired StartTimeout. If [App.Err] returns an error,
// Run only closes the components and returns that error. After a second signal Run returns at once
// and abandons the work that still runs. Run must be called at most once, and not after [App.Close].
func (a *App) Run(ctx context.Context) error {
	if a.ran.Swap(true) {
		return errors.New("chassi: Run or Close of this App was already called; create a new App")
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

// Err returns the errors of Add, AddServer and Mount so far, and those of the mounted
// services, or nil. Run returns them too.
func (a *App) Err() error {
	errs := slices.Clone(a.errs)
	for _, s := range a.mounted {
		errs = append(errs, s.Err()) // nil, unless it was changed after that
	}
	return errors.Join(errs...)
}

func (a *App) currentState() state { return state(a.state.Load()) }
