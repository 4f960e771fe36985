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
	"github.com/chassi-go/chassi/timeout"
)

// target is one instance of a service. Its times are in nanoseconds since the Cluster was created.
type target struct {
	cluster *Cluster
	addr    string
	caller  Caller
	methods atomic.Pointer[[]*targetMethod] // by clusterMethod.index
	breaker *breaker.Breaker

	warm      atomic.Int64 // end of slow start
	inFlight  atomic.Int64
	gone      atomic.Bool
	closeOnce sync.Once

	away   atomic.Int64 // end of the ejection
	open   atomic.Int64 // end of the time in which its breaker refuses all calls
	picked atomic.Int64 // latest pick

	calls, failures atomic.Uint64
	answered        atomic.Bool  // whether any call had the outcome breaker.Success and no refusal
	row, ejected    atomic.Int64 // consecutive failures, consecutive ejections

	mu      sync.Mutex
	seen    int64         // latest update of the averages
	latency atomic.Uint64 // average nanoseconds, as math.Float64bits
	badness atomic.Uint64 // average of 1 for a failure or refusal and 0 for a success
}

// targetMethod is one endpoint of one instance.
type targetMethod struct {
	call    chassi.Handler
	latency atomic.Uint64 // average nanoseconds of its successes, as math.Float64bits
}

// String returns the name of the service and the address of the instance, if it has one.
func (t *target) String() string {
	if t.addr == "" {
		return t.cluster.name
	}
	return t.cluster.name + " at " + t.addr
}

// add adds the handler of another endpoint.
func (t *target) add(call chassi.Handler) {
	methods := append(slices.Clone(*t.methods.Load()), &targetMethod{call: call})
	t.methods.Store(&methods)
}

// attempt makes one call to t, records the outcome and returns the error. T and done are
// results of pick.
func (m *clusterMethod) attempt(ctx context.Context, call *chassi.Call, t *target, done func(error)) (err error) {
	began := m.cluster.now()
	method := (*t.methods.Load())[m.index]
	err = errPanicked
	defer func() {
		t.ended(method, began, err, done)
		t.release()
	}()
	if ctx.Err() != nil {
		err = chassi.ErrorOf(ctx.Err())
		return err
	}
	if d := m.cluster.policy.AttemptTimeout; d > 0 && !m.files {
		bounded := timeout.With(ctx, d)
		defer bounded.End()
		ctx = bounded
	}
	err = method.call(ctx, call)
	return err
}

var errPanicked = chassi.NewError(chassi.Internal, "internal", "Internal error")

// ended records the outcome of a call, which began at began: in the breaker through
// done, and in the counters and averages of t and m.
func (t *target) ended(m *targetMethod, began int64, err error, done func(error)) {
	now := t.cluster.now()
	took := now - began
	if err != nil && chassi.ErrorOf(err).Code == chassi.DeadlineExceeded && float64(took) < math.Float64frombits(m.latency.Load()) {
		err = errImpatient
	}
	done(err)
	switch outcome := classify(err); {
	case outcome == breaker.Failure:
		t.failures.Add(1)
		t.learn(now, took, 1)
		if t.row.Add(1) >= int64(t.cluster.policy.Eject.Consecutive) {
			t.cluster.eject(t, now)
		}
	case outcome == breaker.Ignored:
		// A canceled call took at least that long, which is the only measurement of an
		// instance whose calls are hedged.
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
}

// release ends a call that acquire counted. It closes the client of t if t was removed
// and no call is left.
func (t *target) release() {
	if t.inFlight.Add(-1) == 0 && t.gone.Load() {
		t.close()
	}
}

// memory is the time constant of the averages. leastWeight is the minimum weight of a call, so that
// a fast burst of failures counts.
const (
	memory      = time.Second
	leastWeight = 0.05
)

// learn updates the averages with the duration of a call, and with bad, which is 1 for a failure or
// refusal and otherwise 0. The weight grows with the time since the last update. The duration of a
// failure or refusal is ignored.
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

// cost returns the cost of the instance for balancing: the expected latency of another
// call, thirty times as much if all calls fail, and more during slow start. While the
// latency of the instance is unknown, the latency of fallback applies.
func (t *target) cost(now int64, fallback *target) float64 {
	latency := math.Float64frombits(t.latency.Load())
	if latency == 0 {
		latency = max(math.Float64frombits(fallback.latency.Load()), 1)
	}
	return latency * float64(t.inFlight.Load()+1) * (1 + 29*math.Float64frombits(t.badness.Load())) / t.warmth(now)
}

// warmth returns the share of the usual number of calls that the instance should
// receive. It rises from a tenth to 1 during slow start.
func (t *target) warmth(now int64) float64 {
	missing := float64(t.warm.Load() - now)
	return min(1, max(0.1, 1-missing/float64(t.cluster.policy.SlowStart)))
}

// usable reports whether calls should be sent to the instance: it is not ejected, and
// its breaker does not refuse all calls.
func (t *target) usable(now int64) bool { return t.away.Load() <= now && t.open.Load() <= now }

func (t *target) breakerChanged(from, to breaker.State) {
	c := t.cluster
	switch to {
	case breaker.Open:
		c.opened.Add(1)
		t.open.Store(c.now() + int64(c.policy.Breaker.OpenDuration))
		c.logger.Warn("circuit breaker opened", "target", c.name, "addr", t.addr, "from", from.String())
	case breaker.HalfOpen:
		c.halfOpen.Add(1)
		c.logger.Info("circuit breaker tries again", "target", c.name, "addr", t.addr)
	case breaker.Closed:
		c.closed.Add(1)
		t.warm.Store(c.now() + int64(c.policy.SlowStart))
		c.logger.Info("circuit breaker closed", "target", c.name, "addr", t.addr)
	}
}

// leave marks the instance as removed. Its client is closed once its calls have ended.
func (t *target) leave() {
	t.gone.Store(true)
	if t.inFlight.Load() == 0 {
		t.close()
	}
}

func (t *target) close() { t.closeOnce.Do(func() { closeCaller(t.caller) }) }
