package client

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/retry"
	"github.com/chassi-go/chassi/timeout"
	"github.com/chassi-go/chassi/transport"
)

// Policy determines how a [Cluster] makes calls. The zero value of a field means the default in its
// tag. Calls with a [chassi.File] are not retried or hedged, and have no timeout except that of the
// caller or the endpoint; Timeout limits how long they wait for an instance. For a stream,
// timeouts, bulkhead and retries apply until the stream is open; if the stream breaks off later,
// that counts as a failure of its instance.
type Policy struct {
	Timeout        time.Duration `config:"timeout" default:"5s" min:"1ms" help:"maximum time of a call, all attempts included; an earlier deadline of the caller applies"`
	AttemptTimeout time.Duration `config:"attempt_timeout" default:"0s" min:"0s" help:"maximum time of one attempt, so that a retry can follow an attempt that hangs; 0 is that of the call"`
	MaxInFlight    int           `config:"max_in_flight" default:"1000" min:"1" help:"maximum number of calls in flight (bulkhead); further calls fail immediately"`
	Balancing      string        `config:"balancing" default:"p2c" oneof:"p2c,round_robin" help:"p2c chooses the better of two random instances by latency, failures and calls in flight; round_robin uses instances in turn"`
	SlowStart      time.Duration `config:"slow_start" default:"10s" min:"1ms" help:"time after which a new instance receives its full share of calls"`
	HedgeAfter     time.Duration `config:"hedge_after" default:"0s" min:"0s" help:"delay before a second, concurrent attempt of an idempotent call; 0 disables hedging; the 95th percentile of the latency is a good value. The request must not be modified after the call, because the slower attempt may still read it"`
	Retry          Retry         `config:"retry"`
	Eject          Eject         `config:"eject"`

	// Breaker configures the breaker of each instance. A Window of less than three times Timeout is
	// raised to that.
	Breaker breaker.Config `config:"breaker"`
}

// Retry configures retries. A call is retried if its endpoint is declared
// [chassi.Idempotent] and the error is retryable: [chassi.Unavailable],
// [chassi.ResourceExhausted], [chassi.Aborted], or [chassi.DeadlineExceeded] of an attempt
// while the call has time left. A retry uses another instance if possible, and waits at
// least for the delay in the error (Retry-After, RetryInfo). If that delay would last beyond
// the deadline of the call or is longer than MaxRetryAfter, the error is returned at once.
type Retry struct {
	retry.Config

	Budget float64 `config:"budget" default:"0.1" help:"retries and hedges allowed per successful call on average; 0 is the default; set attempts to 1 to disable retries"`
	Burst  int     `config:"burst" default:"10" min:"1" help:"retries and hedges allowed in excess of the budget, until calls succeed again"`
}

// Eject configures the ejection of instances that fail while others do not.
type Eject struct {
	Consecutive int           `config:"consecutive" default:"5" min:"1" help:"consecutive failures after which an instance is ejected"`
	Duration    time.Duration `config:"duration" default:"5s" min:"1ms" help:"duration of the first ejection; each consecutive ejection is longer by the same amount, up to ten times"`
	MaxShare    float64       `config:"max_share" default:"0.5" help:"maximum share of instances that are ejected at the same time; one always remains; 0 is the default"`
}

func (p Policy) withDefaults() Policy {
	p.Timeout = cmp.Or(p.Timeout, 5*time.Second)
	p.MaxInFlight = cmp.Or(p.MaxInFlight, 1000)
	p.Balancing = cmp.Or(p.Balancing, p2c)
	p.SlowStart = cmp.Or(p.SlowStart, 10*time.Second)
	p.Retry.Budget = cmp.Or(p.Retry.Budget, 0.1)
	p.Retry.Burst = cmp.Or(p.Retry.Burst, 10)
	p.Eject.Consecutive = cmp.Or(p.Eject.Consecutive, 5)
	p.Eject.Duration = cmp.Or(p.Eject.Duration, 5*time.Second)
	p.Eject.MaxShare = cmp.Or(p.Eject.MaxShare, 0.5)
	p.Breaker.OpenDuration = cmp.Or(p.Breaker.OpenDuration, 5*time.Second)
	p.Breaker.Window = max(cmp.Or(p.Breaker.Window, 10*time.Second), 3*p.Timeout) // otherwise calls that time out would be older than the window
	return p
}

// Errors of calls, or of further attempts of calls, that were not sent.
var (
	errBulkheadFull = chassi.NewError(chassi.Unavailable, "too_many_calls", "Too many calls to an upstream service are in progress")
	errCircuitOpen  = chassi.NewError(chassi.Unavailable, "circuit_open", "An upstream service is failing")
	errNoInstance   = chassi.NewError(chassi.Unavailable, "no_instance", "No instance of an upstream service is known")
)

// clusterMethod is one endpoint of a [Cluster].
type clusterMethod struct {
	cluster    *Cluster
	index      int // index into the handlers of each target
	repeatable bool
	files      bool // the request or response has a file, which is read only once and may take long
}

func (m *clusterMethod) call(ctx context.Context, call *chassi.Call) error {
	c := m.cluster
	defer c.inFlight.Add(-1)
	if c.inFlight.Add(1) > int64(c.policy.MaxInFlight) {
		c.bulkheadFull.Add(1)
		return errBulkheadFull
	}
	if m.files {
		waiting := timeout.With(ctx, c.policy.Timeout)
		t, done, err := c.pick(waiting, nil)
		waiting.End()
		if err != nil {
			return err
		}
		return m.attempt(ctx, call, t, done)
	}
	bounded := timeout.With(ctx, c.policy.Timeout)
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

// retried makes attempts until one succeeds or no further attempt is allowed, and returns the error
// of the last attempt. If pick returns an error, retried returns that error and makes no further
// attempt.
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

// forget clears the response and the response metadata of call before its next attempt.
func forget(call *chassi.Call) {
	reflect.ValueOf(call.Response).Elem().SetZero()
	if out, ok := call.Out.(*transport.Pairs); ok {
		*out = (*out)[:0]
	}
}

// hedged makes an attempt and, if that takes longer than Policy.HedgeAfter and the budget permits,
// a concurrent second attempt, on another instance if possible. The first success sets the response
// in call. Each attempt uses its own copy of call, because the losing attempt may still write to
// its copy.
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

// twin returns a copy of call that shares its request and has its own metadata and response.
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

// retryable reports whether a call that failed with err may be retried, and the minimum delay
// before the retry.
func retryable(err error) (time.Duration, bool) {
	e := chassi.ErrorOf(err)
	switch e.Code {
	case chassi.Unavailable, chassi.ResourceExhausted, chassi.Aborted, chassi.DeadlineExceeded:
		return e.RetryAfter, true
	default:
		return 0, false
	}
}

// classify returns the outcome of a call with the error err, for the breaker of the instance.
func classify(err error) breaker.Outcome {
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
	case e.Code == chassi.Unavailable, e.Code == chassi.DeadlineExceeded, e.Code.IsServerError():
		return breaker.Failure
	default:
		return breaker.Success // the instance works
	}
}

// isRefusal reports whether e means that the instance works but refuses calls because of
// its load. The call should then use another instance, but the breaker should not open.
func isRefusal(e *chassi.Error) bool {
	return e.Code == chassi.ResourceExhausted || e.Code == chassi.Unavailable && e.RetryAfter > 0
}

// errImpatient is the error of a call that timed out before its usual duration had
// passed. Such a timeout shows nothing about the instance.
var errImpatient = errors.New("client: the deadline was shorter than the usual latency")
