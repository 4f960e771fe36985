// Package openloop makes calls at times that are settled beforehand, whether
// earlier ones have been answered or not, as independent users do.
//
// A call's latency counts from when it was due, not from when it was sent. A
// server that stops for a second so shows in every call that fell into that
// second, and not, as with clients that wait for an answer before they ask again,
// in one of them (coordinated omission).
package openloop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes one stream of calls.
type Config struct {
	Name     string
	Rate     float64       // calls per second
	Warmup   time.Duration // calls due in it are made, and left out of the result
	Duration time.Duration // after the warm-up
	Poisson  bool          // arrivals at random, independent of each other; else at even intervals
	Seed     uint64        // of those random arrivals

	// Workers is how many calls are under way at once. One that finds all of them
	// busy waits, and its wait is part of its latency. Default 256.
	Workers int
	// Outstanding is how many calls may be due and without an answer, under way
	// or waiting; one that is due beyond that is dropped, and counted as dropped.
	// Default 10,000, and never less than Workers.
	Outstanding int
	// Timeout bounds each call, from when it was due. Default 30 s.
	Timeout time.Duration
	// Refused tells errors by which a server sheds load from failures. Nil is none.
	Refused func(error) bool
}

// Call makes the nth call of a stream, counted from 0 with the warm-up. It must
// end soon after ctx has, and be safe for concurrent use.
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
		return c, fmt.Errorf("rate is %v: give more than 0 and at most 1000000 calls per second", c.Rate)
	case c.Duration <= 0 || c.Warmup < 0:
		return c, errors.New("the duration must be above 0, and the warm-up not below it")
	}
	return c, nil
}

// stream is one run.
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

// Run makes the calls of one stream and returns when the last of them has its
// answer. When ctx ends it makes no more, and returns what it has with ctx's
// error. It starts Config.Workers goroutines and leaves none.
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

// dispatch hands every call out when it is due.
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

// arrivals returns the function that tells when the nth call is due, from the
// beginning on; it is asked for one after the other.
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

// hand gives j to a worker, or drops it. The queue has room for all that may be
// outstanding, so this does not wait.
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
		s.result.tell(err)
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
