package client

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/deadline"
	"github.com/chassi-go/chassi/retry"
	"github.com/chassi-go/chassi/transport"
)

// Policy is how the calls of one [Cluster] are made. The zero value of a field means
// the default in its tag.
type Policy struct {
	Timeout        time.Duration `config:"timeout" default:"5s" min:"1ms" help:"for a call with all its attempts; the caller's deadline, if that is earlier"`
	AttemptTimeout time.Duration `config:"attempt_timeout" default:"0s" min:"0s" help:"for one attempt, so that another may follow one that hangs; 0 is the call's"`
	MaxInFlight    int           `config:"max_in_flight" default:"1000" min:"1" help:"calls under way (bulkhead); further ones fail at once"`
	Balancing      string        `config:"balancing" default:"p2c" oneof:"p2c,round_robin" help:"p2c prefers the better of two instances by latency, failures and calls in flight; round_robin takes turns"`
	SlowStart      time.Duration `config:"slow_start" default:"10s" min:"1ms" help:"time in which a new instance comes to its full share"`
	HedgeAfter     time.Duration `config:"hedge_after" default:"0s" min:"0s" help:"send a second call of an idempotent endpoint when the first takes longer; 0 never; best is the 95th percentile. The request must not be changed after the call: the one that lost may still read it"`
	Retry          Retry         `config:"retry"`
	Eject          Eject         `config:"eject"`

	// Breaker is for each instance by itself.
	Breaker breaker.Config `config:"breaker"`
}

// Retry is for endpoints that are declared [chassi.Idempotent], and errors that say that
// another attempt may help: [chassi.Unavailable], [chassi.ResourceExhausted],
// [chassi.Aborted], and an attempt that took too long while the call has time left. A
// retry goes to another instance, if there is one, and waits as long as the error asks
// for (Retry-After, RetryInfo).
type Retry struct {
	retry.Config

	Budget float64 `config:"budget" default:"0.1" help:"retries and hedges for each success in the long run; 0 is the default, attempts=1 is no retries"`
	Burst  int     `config:"burst" default:"10" min:"1" help:"and how many at once; while nothing succeeds there are no more"`
}

// Eject leaves instances out that fail while others do not.
type Eject struct {
	Consecutive int           `config:"consecutive" default:"5" min:"1" help:"failures in a row after which an instance is left out"`
	Time        time.Duration `config:"time" default:"5s" min:"1ms" help:"for how long at first; each further time in a row it is that much longer, up to ten times"`
	Most        float64       `config:"most" default:"0.5" help:"share of the instances that may be left out at once, never all; 0 is the default"`
}

func (p Policy) withDefaults() Policy {
	p.Timeout = or(p.Timeout, 5*time.Second)
	p.MaxInFlight = or(p.MaxInFlight, 1000)
	p.Balancing = or(p.Balancing, p2c)
	p.SlowStart = or(p.SlowStart, 10*time.Second)
	p.Retry.Budget = or(p.Retry.Budget, 0.1)
	p.Retry.Burst = or(p.Retry.Burst, 10)
	p.Eject.Consecutive = or(p.Eject.Consecutive, 5)
	p.Eject.Time = or(p.Eject.Time, 5*time.Second)
	p.Eject.Most = or(p.Eject.Most, 0.5)
	p.Breaker.Open = or(p.Breaker.Open, 5*time.Second)
	p.Breaker.Window = max(or(p.Breaker.Window, 10*time.Second), 3*p.Timeout) // else calls that run out of time are too old to count
	return p
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// The errors that never left this process.
var (
	errCrowded     = chassi.NewError(chassi.Unavailable, "too_many_calls", "Too many calls to a service behind are under way")
	errCircuitOpen = chassi.NewError(chassi.Unavailable, "circuit_open", "A service behind is failing")
	errNoInstance  = chassi.NewError(chassi.Unavailable, "no_instance", "A service behind cannot be found")
)

// clusterMethod is one endpoint of a [Cluster].
type clusterMethod struct {
	cluster    *Cluster
	index      int // of the handlers of each target
	repeatable bool
}

func (m *clusterMethod) call(ctx context.Context, call *chassi.Call) error {
	c := m.cluster
	defer c.inFlight.Add(-1)
	if c.inFlight.Add(1) > int64(c.policy.MaxInFlight) {
		c.crowded.Add(1)
		return errCrowded
	}
	bounded := deadline.With(ctx, c.policy.Timeout)
	defer bounded.End()
	if !m.repeatable {
		t, done, err := c.pick(bounded, nil)
		if err != nil {
			return err
		}
		return m.attempt(bounded, call, t, done)
	}
	return m.retried(bounded, call)
}

// retried makes attempts until one succeeds or no more may be made. When no instance
// takes one, none will soon.
func (m *clusterMethod) retried(ctx context.Context, call *chassi.Call) error {
	c := m.cluster
	var last *target
	for n := 1; ; n++ {
		t, done, err := c.pick(ctx, last)
		if err != nil {
			return err
		}
		if c.policy.HedgeAfter > 0 {
			err = m.hedged(ctx, call, t, done)
		} else if err = m.attempt(ctx, call, t, done); err == nil {
			c.budget.Succeeded()
		}
		if err == nil || !c.retry.Next(ctx, n, err) {
			return err
		}
		c.retries.Add(1)
		forget(call)
		last = t
	}
}

// forget undoes what an attempt may have left in the call.
func forget(call *chassi.Call) {
	reflect.ValueOf(call.Response).Elem().SetZero()
	if out, ok := call.Out.(*transport.Pairs); ok {
		*out = (*out)[:0]
	}
}

// hedged makes an attempt, and a second one beside it that takes long, elsewhere if it
// can. Each has a call of its own, since the one that lost may still write into it.
func (m *clusterMethod) hedged(ctx context.Context, call *chassi.Call, first *target, done func(error)) error {
	c := m.cluster
	var attempts atomic.Int64
	won, err := retry.Hedge(ctx, c.policy.HedgeAfter, 2, c.budget, func(ctx context.Context) (own *chassi.Call, err error) {
		defer func() {
			if v := recover(); v != nil {
				err = chassi.Recovered(v)
			}
		}()
		own = twin(call)
		if attempts.Add(1) == 1 {
			return own, m.attempt(ctx, own, first, done)
		}
		c.hedges.Add(1)
		second, done, err := c.pick(ctx, first)
		if err != nil {
			return own, err
		}
		return own, m.attempt(ctx, own, second, done)
	})
	if err != nil {
		return chassi.ErrorOf(err)
	}
	reflect.ValueOf(call.Response).Elem().Set(reflect.ValueOf(won.Response).Elem())
	if from, ok := won.Out.(*transport.Pairs); ok {
		for _, pair := range *from {
			call.Out.Set(pair.Key, pair.Value)
		}
	}
	return nil
}

// twin is a call with the same request and an answer of its own.
func twin(call *chassi.Call) *chassi.Call {
	own := &chassi.Call{
		Binding: call.Binding, RequestID: call.RequestID, In: call.In, Out: new(transport.Pairs),
		Request: call.Request, Response: reflect.New(reflect.TypeOf(call.Response).Elem()).Interface(),
	}
	if in, ok := call.In.(*transport.Pairs); ok {
		pairs := slices.Clone(*in)
		own.In = &pairs
	}
	return own
}

// retryable is the policy's judgement of errors.
func retryable(err error) (time.Duration, bool) {
	e := chassi.ErrorOf(err)
	switch e.Code {
	case chassi.Unavailable, chassi.ResourceExhausted, chassi.Aborted, chassi.DeadlineExceeded:
		return e.RetryAfter, true
	default:
		return 0, false
	}
}

// judge tells what an error says about the instance that answered.
func judge(err error) breaker.Verdict {
	if err == nil {
		return breaker.Success
	}
	if errors.Is(err, errImpatient) {
		return breaker.Ignored
	}
	switch e := chassi.ErrorOf(err); {
	case e.Code == chassi.Canceled:
		return breaker.Ignored
	case isRefusal(e):
		return breaker.Success
	case e.Code == chassi.Unavailable, e.Code == chassi.DeadlineExceeded, e.Code.Fault():
		return breaker.Failure
	default:
		return breaker.Success // it works, and says no
	}
}

// isRefusal tells whether the instance works and wants fewer calls: a reason to go
// elsewhere, and none to stop calling.
func isRefusal(e *chassi.Error) bool {
	return e.Code == chassi.ResourceExhausted || e.Code == chassi.Unavailable && e.RetryAfter > 0
}

// errImpatient stands for a call that was given less time than such calls take: that
// says nothing about the instance.
var errImpatient = errors.New("client: less time than usual")
