package chassi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Reasons why [App.Run] returns an error after a shutdown was asked for.
var (
	// ErrForced is returned at once on the second signal.
	ErrForced = errors.New("chassi: stopped at once by a second signal")
	// ErrGrace is returned when work was still under way at the end of the grace
	// period and was given up. The error's text names it.
	ErrGrace = errors.New("chassi: the grace period ended with work under way")
)

// AppOptions set up an [App]. A zero field means the default.
type AppOptions struct {
	Logger       *slog.Logger  // default slog.Default()
	StartTimeout time.Duration // for all that is not optional to start; default 0, no bound
	DrainDelay   time.Duration // from readiness' no to closed listeners; default 0
	Grace        time.Duration // for calls in flight, then again for the rest, see [App]; default 20 s
	CheckTimeout time.Duration // for one dependency probe; default 2 s

	// HeapFloor is the heap, in bytes, below which the garbage collector does not
	// bother while the app runs. With little live data it would otherwise run each
	// time that 4 MiB were allocated, dozens of times per second under load.
	// Default 32 MiB, negative for none; GOGC in the environment switches it off.
	HeapFloor int
}

// App runs servers from start to stop.
//
// Start: the servers given to [App.Manage] one after the other, then those given to
// [App.Serve] all at once, as optional managed ones are. One that is [Unavailable] is
// tried again, with pauses of up to 5 s, until StartTimeout; meanwhile the App is not
// ready, unless the server is [Optional], and what has started serves. Any other error
// ends the start, and those that were started are stopped.
//
// While it runs, the App probes every server that has a Check, and everything given to
// [App.Check], every 5 s, and logs when one begins to fail and when it works again.
//
// Stop, on SIGTERM, SIGINT or the end of Run's context, in two phases:
// readiness says no while everything keeps serving for the drain delay; then the
// servers of Serve stop together and finish their calls within the grace period,
// and after them the managed ones one by one, last started first, within another.
// The same happens at once when a server fails.
//
// No server can hold up the end: a Start that is cut short has the grace period
// to return, a Stop that overruns its own a moment; then they are left behind,
// and Run's error names them. A panic in either is an error like any other.
type App struct {
	name    string
	options AppOptions
	managed []*component
	servers []*component
	all     []*component // these, and what Check and Inform have added
	rounds  rounds
	state   atomic.Int32
	tasks   sync.WaitGroup // of starts and of watching the health
	started chan struct{}
	failure chan error // the first one of a server
	ran     atomic.Bool
	errs    []error // from Manage, Serve and Mount
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

// NewApp makes an App. Name is the program's, for the log.
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

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// holdHeap makes the garbage collector count bytes that nothing was ever written
// to, so that they take address space but no memory.
func holdHeap(bytes int) []byte {
	if bytes < 0 || os.Getenv("GOGC") != "" {
		return nil
	}
	return make([]byte, bytes)
}

// Manage adds servers that others rely on: telemetry, databases, pools. They
// start before every listener and stop after it.
func (a *App) Manage(servers ...Server) { a.managed = a.add(a.managed, servers) }

// Serve adds servers that take work from outside.
func (a *App) Serve(servers ...Server) { a.servers = a.add(a.servers, servers) }

func (a *App) add(list []*component, servers []Server) []*component {
	for _, s := range servers {
		c := new(component)
		for o, ok := s.(optional); ok; o, ok = s.(optional) {
			c.optional, s = true, o.Server
		}
		if s == nil {
			a.errs = append(a.errs, errors.New("chassi: the app was given a nil Server"))
			continue
		}
		c.Server, c.name = s, s.Name()
		if checked, ok := s.(interface{ Check(context.Context) error }); ok {
			c.check = checked.Check
		}
		c.pending.Store(&CheckResult{Name: c.name, Status: starting.String(), Detail: "waits for others"})
		list, a.all = append(list, c), append(a.all, c)
	}
	return list
}

// Mount gives services to every [Transport] that Serve was given so far. Errors
// are kept for Run.
func (a *App) Mount(services ...*Service) {
	for _, c := range a.servers {
		transport, ok := c.Server.(Transport)
		if !ok {
			continue
		}
		for _, s := range services {
			if s == nil {
				a.errs = append(a.errs, errors.New("chassi: the app was given a nil Service"))
				continue
			}
			if err := transport.Mount(s); err != nil {
				a.errs = append(a.errs, fmt.Errorf("mount %s on %s: %w", s.Name(), transport.Name(), err))
			}
		}
	}
}

// Check adds a dependency that readiness stands or falls with and that no server
// checks itself. The probe must try the real thing, within its context.
func (a *App) Check(name string, probe func(context.Context) error) {
	a.all = append(a.all, &component{name: name, check: probe})
}

// Inform adds something to the detail of readiness that readiness does not depend on,
// such as the state of a client: one service that is down must not make all unready that
// call it. State must not block. It returns a detail without secrets and the status: "ok" if
// the thing was seen to work and nothing since says otherwise, "unknown" if it was seen
// neither to work nor to fail, "degraded" if it fails and the program does without.
func (a *App) Inform(name string, state func() (status, detail string)) {
	a.all = append(a.all, &component{name: name, optional: true, inform: state})
}

// Started returns a channel that is closed once everything serves, except for optional
// servers that are unavailable.
func (a *App) Started() <-chan struct{} { return a.started }

// Run starts everything, serves until SIGTERM, SIGINT, the end of ctx or the
// failure of a server, and stops everything. It returns nil after an orderly
// stop, one that was asked for during the start included; [ErrForced] and
// [ErrGrace] tell the other ways. A second signal makes it return at once,
// leaving what still runs to the end of the process. An App runs once.
func (a *App) Run(ctx context.Context) error {
	if err := errors.Join(a.errs...); err != nil {
		return err
	}
	if a.ran.Swap(true) {
		return errors.New("chassi: the app has run already; make a new one")
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	forced := make(chan struct{})
	finished := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { a.watch(signals, stop, forced, finished) })
	defer watcher.Wait()
	defer close(finished)

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

// watch turns the first signal into the end of the run and the second into force.
func (a *App) watch(signals <-chan os.Signal, stop context.CancelCauseFunc, forced chan<- struct{}, finished <-chan struct{}) {
	for count := 0; ; {
		select {
		case s := <-signals:
			if count++; count == 2 {
				a.options.Logger.Warn("second signal: stopping at once", "signal", s.String())
				close(forced)
				return
			}
			stop(fmt.Errorf("signal %s", s))
		case <-finished:
			return
		}
	}
}

func (a *App) currentState() state { return state(a.state.Load()) }
