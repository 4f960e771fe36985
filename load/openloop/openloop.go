// Package openloop makes calls at scheduled times, as independent users do: a call does not wait
// until earlier calls have completed.
//
// The latency of a call is measured from its scheduled time, not from when it was sent. A server
// that stops for a second therefore affects the latency of every call scheduled in that second.
// Clients that wait for a response before the next call would measure only one slow call each
// (coordinated omission).
package openloop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures one stream of calls.
type Config struct {
	Name     string        // the name of the stream in the result
	Rate     float64       // calls per second, more than 0 and at most 1,000,000
	Warmup   time.Duration // calls due in the warm-up are made but not counted in the result
	Duration time.Duration // time after the warm-up in which calls are due; must be greater than 0
	Poisson  bool          // true: random, independent arrivals; false: even intervals
	Seed     uint64        // seed of the random arrivals

	// Workers is the maximum number of concurrent calls. A call that is due while all workers are
	// busy waits, and the wait is part of its latency. The default is 256.
	Workers int
	// Outstanding is the maximum number of calls that are due and have not completed. A call that
	// would exceed it is not made and is counted as dropped. The default is 10,000. A value below
	// Workers is raised to Workers.
	Outstanding int
	// Timeout is the timeout of each call, measured from its scheduled time. The default is 30 s.
	Timeout time.Duration
	// Refused reports whether the error of a call means that the server sheds load. If Refused is
	// nil, all errors count as failures.
	Refused func(error) bool
}

// Call makes call n of a stream and returns its error. Calls are numbered from 0, including those
// of the warm-up. A Call must return soon after ctx is done, and must be safe for concurrent use.
type Call func(ctx context.Context, n int) error

func (c Config) withDefaults() (Config, error) {
	if c.Workers <= 0 {
		c.Workers = 256
	}
	if c.Outstanding <= 0 {
		c.Outstanding = 10_000
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Refused == nil {
		c.Refused = func(error) bool { return false }
	}
	c.Outstanding = max(c.Outstanding, c.Workers)
	switch {
	case !(c.Rate > 0) || c.Rate > 1e6:
		return c, fmt.Errorf("openloop: rate %v must be above 0 and at most 1000000 calls per second", c.Rate)
	case c.Duration <= 0 || c.Warmup < 0:
		return c, fmt.Errorf("openloop: duration %v must be above 0, and warm-up %v must be at least 0", c.Duration, c.Warmup)
	}
	return c, nil
}

// stream is the state of one [Run].
type stream struct {
	config      Config
	call        Call
	jobs        chan job
	outstanding atomic.Int64

	mu       sync.Mutex // guards all below
	result   Result
	accepted Histogram
	refused  Histogram
	last     time.Time // when the last measured call ended
}

// job is one call to make.
type job struct {
	n        int
	due      time.Time
	measured bool
}

// Run makes the calls of one stream and returns the result when all have completed. When ctx is done,
// Run schedules no further calls and returns the result so far with ctx.Err(). If c is
// invalid, Run returns a nil result and an error. It starts Config.Workers goroutines, which end
// before it returns.
func Run(ctx context.Context, c Config, call Call) (*Result, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &stream{config: c, call: call, jobs: make(chan job, c.Outstanding)}
	s.result = Result{Name: c.Name, Rate: c.Rate, Errors: make(map[string]int64)}
	var workers sync.WaitGroup
	for range c.Workers {
		workers.Go(func() { s.work(ctx) })
	}
	began := time.Now()
	s.dispatch(ctx, began)
	close(s.jobs)
	workers.Wait()
	s.finish(began.Add(c.Warmup))
	return &s.result, ctx.Err()
}

// dispatch queues or drops each call when the call is due. It returns at the end of the schedule or
// when ctx is done.
func (s *stream) dispatch(ctx context.Context, began time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := s.arrivals()
	for n := 0; ; n++ {
		offset := next(n)
		if offset >= s.config.Warmup+s.config.Duration {
			return
		}
		j := job{n: n, due: began.Add(offset), measured: offset >= s.config.Warmup}
		if wait := time.Until(j.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.hand(j)
	}
}

// arrivals returns a function that returns the scheduled time of call n, relative to the start. The
// function must be called with n = 0, 1, 2 and so on.
func (s *stream) arrivals() func(n int) time.Duration {
	if !s.config.Poisson {
		return func(n int) time.Duration { return time.Duration(float64(n) / s.config.Rate * float64(time.Second)) }
	}
	random := rand.New(rand.NewPCG(s.config.Seed, 0))
	var at float64
	return func(int) time.Duration {
		at += random.ExpFloat64() / s.config.Rate
		return time.Duration(at * float64(time.Second))
	}
}

// hand queues j for the workers, or drops it if too many calls are outstanding. The queue has a
// capacity of Outstanding, so hand does not block.
func (s *stream) hand(j job) {
	dropped := s.outstanding.Load() >= int64(s.config.Outstanding)
	if j.measured {
		s.countDue(j, dropped)
	}
	if !dropped {
		s.outstanding.Add(1)
		s.jobs <- j
	}
}

func (s *stream) countDue(j job, dropped bool) {
	late := time.Since(j.due)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Due++
	s.result.Late = max(s.result.Late, late)
	if dropped {
		s.result.Dropped++
	}
}

func (s *stream) work(ctx context.Context) {
	for j := range s.jobs {
		err := s.make(ctx, j)
		s.outstanding.Add(-1)
		if j.measured {
			s.count(j, err)
		}
	}
}

func (s *stream) make(ctx context.Context, j job) error {
	ctx, cancel := context.WithDeadline(ctx, j.due.Add(s.config.Timeout))
	defer cancel()
	return s.call(ctx, j.n)
}

func (s *stream) count(j job, err error) {
	now := time.Now()
	took := now.Sub(j.due)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = now
	s.result.Sent++
	switch {
	case err == nil:
		s.result.OK++
		s.accepted.Record(took)
	case s.config.Refused(err):
		s.result.Refused++
		s.refused.Record(took)
	default:
		s.result.Failed++
		s.result.addError(err)
	}
}

func (s *stream) finish(began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := began.Add(s.config.Duration)
	if s.last.After(end) {
		end = s.last
	}
	s.result.Seconds = end.Sub(began).Seconds()
	s.result.Achieved = float64(s.result.OK) / s.result.Seconds
	s.result.Accepted, s.result.RefusedIn = latencyOf(&s.accepted), latencyOf(&s.refused)
}
