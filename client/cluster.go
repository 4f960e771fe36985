package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/retry"
)

// ClusterOptions configures a [Cluster].
type ClusterOptions struct {
	Name   string // name of the service in logs, metrics and errors
	Policy Policy

	// Source returns the addresses of the instances. It may be nil for a transport without
	// addresses (NATS, AMQP): then there is one instance, whose address is "".
	Source discovery.Source

	// Dial returns the client of one instance. It must not wait for a connection, and may be called
	// with an address that does not exist, to validate endpoints. If the client has a method Close,
	// the Cluster calls that method when the instance is gone and its calls have ended.
	Dial func(addr string) (Caller, error)

	Logger *slog.Logger // default slog.Default()
}

// Cluster is the [Caller] of a service with several instances. It discovers the instances,
// balances the calls, and applies its [Policy]: timeouts, a bulkhead, retries and hedging to
// calls, and slow start, ejection and a circuit breaker to each instance. It is a
// [chassi.Component]. A call that is made before the first instance is known waits for an
// instance until the deadline of the call. A Cluster is safe for concurrent use.
type Cluster struct {
	name   string
	policy Policy
	retry  retry.Policy
	budget *retry.Budget
	source discovery.Source
	dial   func(string) (Caller, error)
	logger *slog.Logger
	born   time.Time

	targets atomic.Pointer[[]*target]
	known   chan struct{} // closed once there are targets
	turn    atomic.Uint64

	mu        sync.Mutex
	template  Caller
	endpoints []*chassi.Endpoint
	stop      context.CancelFunc
	following sync.WaitGroup

	inFlight                                                           atomic.Int64
	retries, hedges, bulkheadFull, ejections, opened, halfOpen, closed atomic.Uint64
}

var (
	_ Streamer         = (*Cluster)(nil)
	_ chassi.Component = (*Cluster)(nil)
)

// NewCluster returns a Cluster, which does not connect yet. It returns an error if
// Policy.Balancing is unknown or Dial fails.
func NewCluster(o ClusterOptions) (*Cluster, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	p := o.Policy.withDefaults()
	if p.Balancing != p2c && p.Balancing != roundRobin {
		return nil, fmt.Errorf("client: balancing of %s is %q: want %s or %s", o.Name, p.Balancing, p2c, roundRobin)
	}
	c := &Cluster{
		name: o.Name, policy: p, source: o.Source, dial: o.Dial, logger: o.Logger, known: make(chan struct{}), born: time.Now(),
		budget: retry.NewBudget(p.Retry.Budget, p.Retry.Burst),
	}
	c.retry = retry.Policy{Config: p.Retry.Config, Budget: c.budget, Retryable: retryable}
	c.targets.Store(new([]*target))
	addr := placeholder
	if o.Source == nil {
		addr = ""
	}
	var err error
	if c.template, err = o.Dial(addr); err != nil {
		return nil, fmt.Errorf("client: %s: %w", o.Name, err)
	}
	if o.Source == nil {
		c.targets.Store(&[]*target{c.newTarget("", c.template, true)})
		close(c.known)
	}
	return c, nil
}

// placeholder is the address for which Dial is called to validate endpoints. It has no listener.
const placeholder = "127.0.0.1:1"

// Name returns the name of the service.
func (c *Cluster) Name() string { return c.name }

// Start begins the discovery of instances, if there is a Source, and returns nil at once.
func (c *Cluster) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	if c.source != nil {
		c.following.Go(func() {
			discovery.Follow(ctx, c.source, discovery.Options{Name: c.name, Logger: c.logger}, c.update)
		})
	}
	return nil
}

// Stop ends the discovery and returns nil. The client of each instance is closed once
// its calls have ended; Stop does not wait for that. Later calls fail.
func (c *Cluster) Stop(context.Context) error {
	if c.stop != nil {
		c.stop()
	}
	c.following.Wait()
	c.update(nil)
	if c.source != nil {
		closeCaller(c.template)
	}
	return nil
}

// Close closes the clients of a Cluster that was not started, and returns nil. Later calls fail.
func (c *Cluster) Close() error { return c.Stop(context.Background()) }

// Bind implements [Caller]. It returns an error if the client of any instance cannot call e.
func (c *Cluster) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, _, err := bind(c.template, e)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says what
	}
	request, response := e.Files()
	files := request || response
	m := &clusterMethod{cluster: c, index: len(c.endpoints), repeatable: e.Idempotent() && !files, files: files}
	targets := *c.targets.Load()
	calls := make([]chassi.Handler, len(targets)) // all or none
	for i, t := range targets {
		if _, calls[i], err = bind(t.caller, e); err != nil {
			return nil, nil, err //nolint:wrapcheck // says what
		}
	}
	for i, t := range targets {
		t.add(calls[i])
	}
	c.endpoints = append(c.endpoints, e)
	if e.Streams() {
		return b, m.stream, nil
	}
	return b, m.call, nil
}

// BindStream implements [Streamer].
func (c *Cluster) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return c.Bind(e)
}

// update replaces the instances with those at addrs. It dials new addresses; if that fails
// for an address, it logs the error and skips the address. The clients of removed
// instances are closed once their calls have ended.
func (c *Cluster) update(addrs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := make(map[string]*target)
	for _, t := range *c.targets.Load() {
		old[t.addr] = t
	}
	first := len(old) == 0
	var targets []*target
	for _, addr := range addrs {
		t := old[addr]
		if t == nil {
			var err error
			if t, err = c.dialTarget(addr, first); err != nil {
				c.logger.Error("an instance cannot be used", "target", c.name, "addr", addr, "error", err.Error())
				continue
			}
		}
		delete(old, addr)
		targets = append(targets, t)
	}
	c.targets.Store(&targets)
	if len(targets) > 0 {
		select {
		case <-c.known:
		default:
			close(c.known)
		}
	}
	for _, t := range old {
		t.leave()
	}
}

func (c *Cluster) dialTarget(addr string, warm bool) (*target, error) {
	caller, err := c.dial(addr)
	if err != nil {
		return nil, err
	}
	t := c.newTarget(addr, caller, warm)
	for _, e := range c.endpoints {
		_, call, err := bind(caller, e)
		if err != nil {
			closeCaller(caller)
			return nil, err //nolint:wrapcheck // says what
		}
		t.add(call)
	}
	return t, nil
}

// newTarget returns the target of an address. The target begins with slow start unless
// warm is true. The first instances are warm, because no others can handle the calls.
func (c *Cluster) newTarget(addr string, caller Caller, warm bool) *target {
	t := &target{cluster: c, addr: addr, caller: caller}
	if !warm {
		t.warm.Store(c.now() + int64(c.policy.SlowStart))
	}
	t.methods.Store(new([]*targetMethod))
	t.breaker = breaker.New(breaker.Options{Config: c.policy.Breaker, Name: t.String(), Classify: classify, OnChange: t.breakerChanged})
	return t
}

// now returns the time since the cluster was created, in nanoseconds.
func (c *Cluster) now() int64 { return int64(time.Since(c.born)) }

func closeCaller(c Caller) {
	switch c := c.(type) {
	case interface{ Close() error }:
		_ = c.Close()
	case interface{ Close() }:
		c.Close()
	}
}
