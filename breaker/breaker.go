// Package breaker implements circuit breakers for any function, such as a call of a payment
// gateway's SDK. A breaker opens when too many calls fail: it then refuses calls for a time,
// and afterwards admits a few calls as probes.
//
//	b := breaker.New(breaker.Options{Name: "payments"})
//	receipt, err := breaker.Do(b, func() (*Receipt, error) { return gateway.Charge(ctx, amount) })
//
// The state machine is that of github.com/sony/gobreaker; this package decides which
// calls count as failures.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
	"github.com/sony/gobreaker/v2"
)

// Config determines when a breaker opens and for how long. A zero or negative value of a field
// means the default in its tag.
type Config struct {
	Consecutive  int           `config:"consecutive" default:"10" min:"1" help:"consecutive failures that open the breaker, unless the previous failure ratio makes such a sequence likely"`
	Ratio        float64       `config:"ratio" default:"0.5" help:"share of failed calls in the window that opens the breaker, once it is exceeded by four standard deviations; above 0 and at most 1"`
	MinCalls     int           `config:"min_calls" default:"20" min:"1" help:"minimum number of calls in the window before the ratio applies"`
	Window       time.Duration `config:"window" default:"10s" min:"10ms" help:"period over which calls are counted, also consecutive ones; it should be longer than several calls that time out"`
	OpenDuration time.Duration `config:"open_duration" default:"5s" min:"1ms" help:"how long the breaker stays open before it admits probes"`
	Probes       int           `config:"probes" default:"3" min:"1" help:"maximum number of concurrent probes; all must succeed to close the breaker"`
}

func (c Config) withDefaults() Config {
	c.Consecutive = or(c.Consecutive, 10)
	c.Ratio = or(c.Ratio, 0.5)
	c.MinCalls = or(c.MinCalls, 20)
	c.Window = or(c.Window, 10*time.Second)
	c.OpenDuration = or(c.OpenDuration, 5*time.Second)
	c.Probes = or(c.Probes, 3)
	return c
}

func or[T int | float64 | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

// Options configures a [Breaker].
type Options struct {
	Config

	Name string // name of the called service, for errors

	// Strict opens the breaker after Config.Consecutive failures in a row, whatever the failure
	// ratio was before.
	Strict bool

	// Classify returns the outcome of a call with the given error. If Classify is nil, a nil error
	// is a [Success], [context.Canceled] is [Ignored], and any other error is a [Failure].
	Classify func(error) Outcome

	// OnChange is called for each change of state, sequentially. It must not block and
	// must not use the breaker. It may be nil.
	OnChange func(from, to State)
}

// Outcome determines whether a call counts as a success, as a failure, or not at all.
type Outcome uint8

// The outcomes of a call.
const (
	Success Outcome = iota
	Failure
	Ignored // not counted, for example because the caller canceled the call
)

// State is the state of a breaker.
type State uint8

// The states of a breaker.
const (
	Closed   State = iota // calls are admitted
	HalfOpen              // probes are admitted
	Open                  // no calls are admitted
)

// String returns "closed", "half-open" or "open".
func (s State) String() string {
	return [...]string{Closed: "closed", HalfOpen: "half-open", Open: "open"}[s]
}

// OpenError is the error of a refused call.
type OpenError struct {
	Name       string
	RetryAfter time.Duration // until probes are admitted; 0 while probes are in flight
}

// Error returns a message with the name of the breaker and the time until it admits probes, if
// that is known.
func (e *OpenError) Error() string {
	if e.RetryAfter <= 0 {
		return fmt.Sprintf("circuit breaker of %s is half-open and awaits the outcome of its probes", e.Name)
	}
	return fmt.Sprintf("circuit breaker of %s is open for another %v", e.Name, e.RetryAfter.Round(time.Millisecond))
}

// Unavailable returns true, which makes a service return the code Unavailable for the error.
func (*OpenError) Unavailable() bool { return true }

// Breaker is a circuit breaker. It is safe for concurrent use, starts no goroutine and needs no
// Close.
type Breaker struct {
	options Options
	machine *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened  atomic.Int64 // latest opening, in Unix nanoseconds
}

// New returns a closed breaker with the options o.
func New(o Options) *Breaker {
	o.Config = o.withDefaults()
	if o.Classify == nil {
		o.Classify = classify
	}
	b := &Breaker{options: o}
	b.machine = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: o.Name, MaxRequests: uint32(o.Probes), Timeout: o.OpenDuration,
		Interval: o.Window, BucketPeriod: o.Window / 10,
		ReadyToTrip:   o.failing,
		IsSuccessful:  func(err error) bool { return o.Classify(err) == Success },
		IsExcluded:    func(err error) bool { return o.Classify(err) == Ignored },
		OnStateChange: b.changed,
	})
	return b
}

func classify(err error) Outcome {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, context.Canceled):
		return Ignored
	default:
		return Failure
	}
}

// failing reports whether the breaker must open: n contains more failures than random variation
// explains or, if o.Strict is set, o.Consecutive failures in a row.
func (o Options) failing(n gobreaker.Counts) bool {
	failures, calls := float64(n.TotalFailures), float64(n.TotalFailures+n.TotalSuccesses)
	row := float64(n.ConsecutiveFailures)
	if row >= float64(o.Consecutive) && (o.Strict || isNoChance(row, failures-row, calls-row)) {
		return true
	}
	beyondChance := 4 * math.Sqrt(calls*o.Ratio*(1-o.Ratio))
	return calls >= float64(o.MinCalls) && failures >= o.Ratio*calls+beyondChance
}

// isNoChance reports whether row consecutive failures are improbable at the failure ratio of
// the calls before them. At a ratio of 49 %, ten consecutive failures have a probability of
// about 1 in 1,250, and thirty of about 1 in two billion.
func isNoChance(row, failures, calls float64) bool {
	return failures <= 0 || math.Pow(failures/calls, row) < 1e-9
}

var states = [...]State{gobreaker.StateClosed: Closed, gobreaker.StateHalfOpen: HalfOpen, gobreaker.StateOpen: Open}

func (b *Breaker) changed(_ string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		b.opened.Store(time.Now().UnixNano())
	}
	if b.options.OnChange != nil {
		contain.Run(nil, "the OnChange function of a breaker", func() { b.options.OnChange(states[from], states[to]) })
	}
}

// Allow admits or refuses a call. If err is nil, the call is admitted, and done must be called
// once with the call's error. Otherwise err is an [*OpenError].
func (b *Breaker) Allow() (done func(error), err error) {
	done, err = b.machine.Allow()
	if err == nil {
		return done, nil
	}
	refused := &OpenError{Name: b.options.Name}
	if errors.Is(err, gobreaker.ErrOpenState) {
		refused.RetryAfter = max(time.Until(time.Unix(0, b.opened.Load()).Add(b.options.OpenDuration)), time.Millisecond)
	}
	return nil, refused
}

// State returns the current state of the breaker.
func (b *Breaker) State() State { return states[b.machine.State()] }

// Do calls f and returns its results if b admits the call. Otherwise it returns an [*OpenError].
// If f panics, the call counts as one that returned an internal error of this package, by default
// a failure, and the panic continues.
func Do[T any](b *Breaker, f func() (T, error)) (result T, err error) {
	done, err := b.Allow()
	if err != nil {
		return result, err
	}
	outcome := errPanicked
	defer func() { done(outcome) }()
	result, outcome = f()
	return result, outcome
}

var errPanicked = errors.New("breaker: the function panicked")
