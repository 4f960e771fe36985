// Package keeper maintains a registration: it checks the health of the service periodically and
// reports it to the registry.
package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
)

// Registry is the connection to a registry for one service. Beat and Remove are called sequentially
// and must limit their own duration.
type Registry interface {
	// Beat registers the service, or renews its registration. The argument health is nil, or the
	// error of the health check.
	Beat(ctx context.Context, health error) error
	// Remove ends the registration, if there is one.
	Remove(ctx context.Context) error
	// Close closes the connections to the registry. It may be called while Beat or Remove runs.
	Close()
}

// Options configures [New].
type Options struct {
	Name     string                      // name of the registry, also in the log, such as "consul"
	Service  string                      // name of the service in the log
	Probe    func(context.Context) error // health check; nil if the service is always healthy
	Interval time.Duration               // between two beats
	Timeout  time.Duration               // timeout of the probe, set in its context
	Logger   *slog.Logger
}

// soon is the maximum delay before the next beat while the service is unhealthy, and after the first
// failed beat, so that the registry is informed of a recovery early.
const soon = time.Second

// Keeper keeps a service registered. It is a chassi.Component.
type Keeper struct {
	o        Options
	registry Registry
	cancel   context.CancelFunc
	drained  chan struct{}
	drain    sync.Once
	done     chan struct{}

	// Fields used by run, and by Stop after run has returned.
	failures int
	logged   bool // whether the registration was logged
	unwell   string
	removed  bool
}

// New returns a Keeper that has not been started.
func New(o Options, r Registry) *Keeper {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Keeper{o: o, registry: r, cancel: func() {}, drained: make(chan struct{}), done: make(chan struct{})}
}

// Name returns the name of the registry.
func (k *Keeper) Name() string { return k.o.Name }

// Start begins to register the service and returns at once. While the registry is unavailable, the
// registration is retried.
func (k *Keeper) Start(ctx context.Context) error {
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go k.run(ctx)
	return nil
}

// Drain begins to end the registration, so that clients use other instances, and returns at once.
func (k *Keeper) Drain() { k.drain.Do(func() { close(k.drained) }) }

// Stop ends the registration. If the registry is unavailable, Stop logs the error and returns nil,
// because the registration expires by itself. It returns an error if the probe or an earlier call to
// the registry has not returned when ctx is done.
func (k *Keeper) Stop(ctx context.Context) error {
	k.cancel()
	defer k.registry.Close()
	select {
	case <-k.done:
	case <-ctx.Done():
		return fmt.Errorf("%s: the registration of %s has not ended, because its probe or a call to the registry has not returned: %w", k.o.Name, k.o.Service, ctx.Err())
	}
	if k.removed {
		return nil
	}
	if err := k.registry.Remove(ctx); err != nil {
		k.o.Logger.Warn("cannot deregister: the registration ends by its TTL", "registry", k.o.Name, "registration", k.o.Service, "error", err.Error())
		return nil
	}
	k.o.Logger.Info("deregistered", "registry", k.o.Name, "registration", k.o.Service)
	return nil
}

func (k *Keeper) run(ctx context.Context) {
	defer close(k.done)
	for drained := k.drained; ctx.Err() == nil; {
		timer := time.NewTimer(k.beat(ctx))
		select {
		case <-ctx.Done():
		case <-drained:
			drained = nil // once
		case <-timer.C:
		}
		timer.Stop()
	}
}

// beat updates the registry: after Drain it ends the registration, and otherwise it reports the
// health of the service. It returns the time until the next beat.
func (k *Keeper) beat(ctx context.Context) time.Duration {
	var err, health error
	switch {
	case k.removed:
		return time.Hour
	case k.isDrained():
		err = k.registry.Remove(ctx)
		k.removed = err == nil
	default:
		if health = k.probe(ctx); ctx.Err() == nil {
			err = k.registry.Beat(ctx, health)
		}
	}
	if ctx.Err() != nil {
		return 0
	}
	k.tell(err, health)
	switch {
	case err != nil:
		return jitter(min(soon<<min(k.failures-1, 20), max(k.o.Interval, soon)))
	case health != nil:
		return jitter(min(soon, k.o.Interval))
	default:
		return jitter(k.o.Interval)
	}
}

func (k *Keeper) isDrained() bool {
	select {
	case <-k.drained:
		return true
	default:
		return false
	}
}

func (k *Keeper) probe(ctx context.Context) error {
	if k.o.Probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.o.Timeout)
	defer cancel()
	return contain.Call(func() error { return k.o.Probe(ctx) })
}

// tell logs changes: the registration, the health of the service, the deregistration, and the
// beginning and the end of failures to update the registry.
func (k *Keeper) tell(err, health error) {
	log := k.o.Logger.With("registry", k.o.Name, "registration", k.o.Service)
	if err != nil {
		if k.failures++; k.failures == 1 {
			log.Warn("the registry cannot be updated; trying again", "error", err.Error())
		}
		return
	}
	unwell := ""
	if health != nil {
		unwell = health.Error()
	}
	switch {
	case k.removed:
		log.Info("deregistered")
		return
	case unwell != "" && k.unwell == "":
		log.Warn("registered as not healthy", "reason", unwell)
	case !k.logged || k.failures > 0 || unwell == "" && k.unwell != "":
		log.Info("registered", "failures", k.failures)
	}
	k.failures, k.logged, k.unwell = 0, true, unwell
}

// jitter returns a random duration between three quarters of d and d.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/4+1) }
