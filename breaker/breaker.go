// Package breaker stops calling what fails, and tries it again with care: a
// circuit breaker for any function, such as one of a payment gateway's SDK.
//
//	b := breaker.New(breaker.Options{Name: "payments"})
//	receipt, err := breaker.Do(b, func() (*Receipt, error) { return gateway.Charge(ctx, amount) })
//
// The state machine is gobreaker's; what counts as failing is decided here.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Config says when a breaker opens and for how long. The zero value of a field means
// the default in its tag.
type Config struct {
	Consecutive int           `config:"consecutive" default:"10" min:"1" help:"failures in a row that open it, unless such a row is to be expected of the failures before it"`
	Ratio       float64       `config:"ratio" default:"0.5" help:"failures among the calls of the window that open it, once that is no chance (four standard deviations); above 0, at most 1"`
	MinCalls    int           `config:"min_calls" default:"20" min:"1" help:"calls in the window before the ratio counts"`
	Window      time.Duration `config:"window" default:"10s" min:"10ms" help:"calls that began longer ago are forgotten, also those of a row: make it longer than a few calls that run out of time"`
	Open        time.Duration `config:"open" default:"5s" min:"1ms" help:"how long it stays open before it lets probes through"`
	Probes      int           `config:"probes" default:"3" min:"1" help:"calls let through then, at once at most; all must succeed to close it"`
}

func (c Config) withDefaults() Config {
	c.Consecutive = or(c.Consecutive, 10)
	c.Ratio = or(c.Ratio, 0.5)
	c.MinCalls = or(c.MinCalls, 20)
	c.Window = or(c.Window, 10*time.Second)
	c.Open = or(c.Open, 5*time.Second)
	c.Probes = or(c.Probes, 3)
	return c
}

func or[T int | float64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Options of a [Breaker].
type Options struct {
	Config

	Name string // of what is called, for errors and the log

	// Strict lets a row of failures open it however many failed before.
	Strict bool

	// Judge tells what an error says about what was called. By default nil is
	// a [Success], [context.Canceled] is [Ignored], all else is a [Failure].
	Judge func(error) Verdict

	// OnChange is told of each change of state, one after the other. It must not block,
	// nor use the breaker.
	OnChange func(from, to State)
}

// Verdict is what the outcome of a call says about what was called.
type Verdict uint8

// The verdicts.
const (
	Success Verdict = iota
	Failure
	Ignored // nothing: the caller gave up, say
)

// State is the state of a breaker.
type State uint8

// The states.
const (
	Closed   State = iota // calls pass
	HalfOpen              // probes pass
	Open                  // nothing passes
)

// String returns "closed", "half-open" or "open".
func (s State) String() string {
	return [...]string{Closed: "closed", HalfOpen: "half-open", Open: "open"}[s]
}

// OpenError refuses a call.
type OpenError struct {
	Name       string
	RetryAfter time.Duration // until probes are let through; 0 while those are under way
}

// Error says which breaker is open, and for how long.
func (e *OpenError) Error() string {
	if e.RetryAfter <= 0 {
		return fmt.Sprintf("circuit breaker of %s: its probes are under way", e.Name)
	}
	return fmt.Sprintf("circuit breaker of %s is open for another %v", e.Name, e.RetryAfter.Round(time.Millisecond))
}

// Breaker is safe for concurrent use. It starts no goroutine and needs no closing.
type Breaker struct {
	options Options
	machine *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened  atomic.Int64 // when last, as Unix nanoseconds
}

// New makes a closed breaker.
func New(o Options) *Breaker {
	o.Config = o.withDefaults()
	if o.Judge == nil {
		o.Judge = judge
	}
	b := &Breaker{options: o}
	b.machine = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: o.Name, MaxRequests: uint32(o.Probes), Timeout: o.Open,
		Interval: o.Window, BucketPeriod: o.Window / 10,
		ReadyToTrip:   o.failing,
		IsSuccessful:  func(err error) bool { return o.Judge(err) == Success },
		IsExcluded:    func(err error) bool { return o.Judge(err) == Ignored },
		OnStateChange: b.changed,
	})
	return b
}

func judge(err error) Verdict {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, context.Canceled):
		return Ignored
	default:
		return Failure
	}
}

// failing decides whether failures are more than bad luck.
func (o Options) failing(n gobreaker.Counts) bool {
	failures, calls := float64(n.TotalFailures), float64(n.TotalFailures+n.TotalSuccesses)
	row := float64(n.ConsecutiveFailures)
	if row >= float64(o.Consecutive) && (o.Strict || isNoChance(row, failures-row, calls-row)) {
		return true
	}
	beyondChance := 4 * math.Sqrt(calls*o.Ratio*(1-o.Ratio))
	return calls >= float64(o.MinCalls) && failures >= o.Ratio*calls+beyondChance
}

// isNoChance tells whether so many failures in a row are too many for the failure
// ratio before them: at 49 % a row of ten comes every few seconds, and one of thirty
// once in a billion calls.
func isNoChance(row, failures, calls float64) bool {
	return failures <= 0 || math.Pow(failures/calls, row) < 1e-9
}

var states = [...]State{gobreaker.StateClosed: Closed, gobreaker.StateHalfOpen: HalfOpen, gobreaker.StateOpen: Open}

func (b *Breaker) changed(_ string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		b.opened.Store(time.Now().UnixNano())
	}
	if b.options.OnChange != nil {
		b.options.OnChange(states[from], states[to])
	}
}

// Allow asks whether a call may be made. If so, done must be called once with its
// outcome. Otherwise the error is an [*OpenError].
func (b *Breaker) Allow() (done func(error), err error) {
	done, err = b.machine.Allow()
	if err == nil {
		return done, nil
	}
	refused := &OpenError{Name: b.options.Name}
	if errors.Is(err, gobreaker.ErrOpenState) {
		refused.RetryAfter = max(time.Until(time.Unix(0, b.opened.Load()).Add(b.options.Open)), time.Millisecond)
	}
	return nil, refused
}

// State returns the state now.
func (b *Breaker) State() State { return states[b.machine.State()] }

// Do calls f if b lets it, and returns what f does, or an [*OpenError]. A panic of
// f is a failure, and goes on.
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
