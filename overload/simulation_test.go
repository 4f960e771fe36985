package overload_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// server works on so many calls at once, each for a while; further ones wait.
type server struct {
	places  chan struct{}
	takes   time.Duration
	timeout time.Duration // of waiting
	limiter *overload.Limiter
	class   *overload.Class
}

func newServer(places int, takes time.Duration, c overload.Config) *server {
	l := overload.New(c)
	return &server{places: make(chan struct{}, places), takes: takes, timeout: time.Hour, limiter: l, class: l.Class("normal", overload.Normal)}
}

func (s *server) serve(k *overload.Class) bool {
	began, ok := k.Acquire()
	if !ok {
		return false
	}
	outcome := overload.Succeeded
	defer func() { k.Release(began, outcome) }()
	select {
	case s.places <- struct{}{}:
	case <-time.After(s.timeout):
		outcome = overload.TimedOut
		return true
	}
	<-time.After(s.takes)
	<-s.places
	return true
}

// result is what came of the calls of one kind.
type result struct {
	mu      sync.Mutex
	sent    int
	latency []time.Duration // of those that were served
}

func (r *result) p99() time.Duration {
	slices.Sort(r.latency)
	if len(r.latency) == 0 {
		return 0
	}
	return r.latency[len(r.latency)*99/100]
}

// load sends calls at random moments (Poisson), whatever becomes of them, for a while.
func (s *server) load(k *overload.Class, perSecond int, d time.Duration) *result {
	r := new(result)
	var all sync.WaitGroup
	random := rand.New(rand.NewPCG(1, 2))
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-time.After(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(perSecond)))
		r.sent++
		all.Go(func() {
			began := time.Now()
			if s.serve(k) {
				r.mu.Lock()
				r.latency = append(r.latency, time.Since(began))
				r.mu.Unlock()
			}
		})
	}
	all.Wait()
	return r
}
