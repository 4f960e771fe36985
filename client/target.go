package client

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/deadline"
)

// target is one instance of a service. Times are the cluster's.
type target struct {
	cluster *Cluster
	addr    string
	caller  Caller
	methods atomic.Pointer[[]*targetMethod] // by clusterMethod.index
	breaker *breaker.Breaker

	warm      atomic.Int64 // when slow start ends
	inFlight  atomic.Int64
	gone      atomic.Bool
	closeOnce sync.Once

	away   atomic.Int64 // until when it is ejected
	open   atomic.Int64 // until when its breaker lets nothing through
	picked atomic.Int64 // when last

	calls, failures atomic.Uint64
	answered        atomic.Bool  // whether any call succeeded
	row, ejected    atomic.Int64 // failures, and ejections, in a row

	mu      sync.Mutex
	seen    int64         // when the averages were last brought up to date
	latency atomic.Uint64 // average nanoseconds, as math.Float64bits
	badness atomic.Uint64 // average of 1 for a failure or refusal and 0 for a success
}

// targetMethod is one endpoint of one instance.
type targetMethod struct {
	call    chassi.Handler
	latency atomic.Uint64 // average of its successes, as math.Float64bits
}

// String names the instance.
func (t *target) String() string {
	if t.addr == "" {
		return t.cluster.name
	}
	return t.cluster.name + " at " + t.addr
}

// add takes over the call of one more endpoint.
func (t *target) add(call chassi.Handler) {
	methods := append(slices.Clone(*t.methods.Load()), &targetMethod{call: call})
	t.methods.Store(&methods)
}

// attempt makes one call of one instance that was picked for it, and lets everybody
// know how it went.
func (m *clusterMethod) attempt(ctx context.Context, call *chassi.Call, t *target, done func(error)) (err error) {
	began := m.cluster.now()
	method := (*t.methods.Load())[m.index]
	err = errPanicked
	defer func() { t.ended(method, began, err, done) }()
	if ctx.Err() != nil {
		err = chassi.ErrorOf(ctx.Err())
		return err
	}
	if d := m.cluster.policy.AttemptTimeout; d > 0 {
		bounded := deadline.With(ctx, d)
		defer bounded.End()
		ctx = bounded
	}
	err = method.call(ctx, call)
	return err
}

var errPanicked = chassi.NewError(chassi.Internal, "internal", "Internal error")

// ended takes the outcome of a call into account.
func (t *target) ended(m *targetMethod, began int64, err error, done func(error)) {
	now := t.cluster.now()
	took := now - began
	if err != nil && chassi.ErrorOf(err).Code == chassi.DeadlineExceeded && float64(took) < math.Float64frombits(m.latency.Load()) {
		err = errImpatient
	}
	done(err)
	switch verdict := judge(err); {
	case verdict == breaker.Failure:
		t.failures.Add(1)
		t.learn(now, took, 1)
		if t.row.Add(1) >= int64(t.cluster.policy.Eject.Consecutive) {
			t.cluster.eject(t, now)
		}
	case verdict == breaker.Ignored:
		// Who gave up has at least seen that long, which is all that is seen of an instance
		// whose calls are hedged.
		if float64(took) > math.Float64frombits(t.latency.Load()) && float64(took) > math.Float64frombits(m.latency.Load()) {
			t.learn(now, took, 0)
		}
	case err != nil && isRefusal(chassi.ErrorOf(err)):
		t.learn(now, took, 1)
	default:
		if !t.answered.Load() {
			t.answered.Store(true)
		}
		t.row.Store(0)
		t.ejected.Store(0)
		t.learn(now, took, 0)
		move(&m.latency, float64(took), m.weight())
	}
	t.left()
}

// left ends what enter began.
func (t *target) left() {
	if t.inFlight.Add(-1) == 0 && t.gone.Load() {
		t.close()
	}
}

// memory is how long the averages reach back, unless leastWeight makes it shorter: a
// burst of failures counts though it takes no time.
const (
	memory      = time.Second
	leastWeight = 0.05
)

// learn moves the averages by what a call that took so long shows, the more the longer
// nothing was learnt. A failure shows no latency.
func (t *target) learn(now, took int64, bad float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	weight := max(leastWeight, 1-math.Exp(-float64(now-t.seen)/float64(memory)))
	t.seen = max(t.seen, now)
	move(&t.badness, bad, weight)
	if bad > 0 {
		return
	}
	if t.latency.Load() == 0 {
		weight = 1
	}
	move(&t.latency, float64(took), weight)
}

func (m *targetMethod) weight() float64 {
	if m.latency.Load() == 0 {
		return 1
	}
	return leastWeight
}

func move(average *atomic.Uint64, to, weight float64) {
	average.Store(math.Float64bits(math.Float64frombits(average.Load())*(1-weight) + to*weight))
}

// cost is what balancing holds against the instance: the latency that a further call
// would meet, thirty times that if it always fails, and more while it is new. The latency of
// one that has not yet succeeded is otherwise's.
func (t *target) cost(now int64, otherwise *target) float64 {
	latency := math.Float64frombits(t.latency.Load())
	if latency == 0 {
		latency = max(math.Float64frombits(otherwise.latency.Load()), 1)
	}
	return latency * float64(t.inFlight.Load()+1) * (1 + 29*math.Float64frombits(t.badness.Load())) / t.warmth(now)
}

// warmth is the share of its calls that an instance takes that is new or back, from a
// tenth to all.
func (t *target) warmth(now int64) float64 {
	missing := t.warm.Load() - now
	if missing <= 0 {
		return 1
	}
	return max(0.1, 1-float64(missing)/float64(t.cluster.policy.SlowStart))
}

// usable tells whether calls should go there.
func (t *target) usable(now int64) bool { return t.away.Load() <= now && t.open.Load() <= now }

func (t *target) breakerChanged(from, to breaker.State) {
	c := t.cluster
	switch to {
	case breaker.Open:
		c.opened.Add(1)
		t.open.Store(c.now() + int64(c.policy.Breaker.Open))
		c.logger.Warn("circuit breaker opened", "service", c.name, "addr", t.addr, "from", from.String())
	case breaker.HalfOpen:
		c.halfOpen.Add(1)
		t.open.Store(0)
		c.logger.Info("circuit breaker tries again", "service", c.name, "addr", t.addr)
	case breaker.Closed:
		c.closed.Add(1)
		t.open.Store(0)
		t.warm.Store(c.now() + int64(c.policy.SlowStart))
		c.logger.Info("circuit breaker closed", "service", c.name, "addr", t.addr)
	}
}

// leave closes the caller once its calls are done.
func (t *target) leave() {
	t.gone.Store(true)
	if t.inFlight.Load() == 0 {
		t.close()
	}
}

func (t *target) close() { t.closeOnce.Do(func() { closeCaller(t.caller) }) }
