// Package metrics counts and times calls for Prometheus.
package metrics

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/prometheus/client_golang/prometheus"
)

// buckets of the latency histograms, in seconds: a cached answer takes a
// fraction of a millisecond, a password hash tens of them.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New counts and times every call on registerer. Over HTTP:
//
//	http_requests_total{method,route,status}
//	http_request_duration_seconds{method,route}
//
// and on the other transports:
//
//	rpc_requests_total{transport,route,code}
//	rpc_request_duration_seconds{transport,route}
//
// and on the calling side of any transport:
//
//	client_requests_total{transport,route,code}
//	client_request_duration_seconds{transport,route}
//
// Routes are patterns, never raw paths, so that the number of series is bounded.
// The handle of each series is looked up once.
func New(registerer prometheus.Registerer) (chassi.Middleware, error) {
	httpCalls, err := newFamily(registerer, "http", "method", "status")
	if err != nil {
		return nil, err
	}
	otherCalls, err := newFamily(registerer, "rpc", "transport", "code")
	if err != nil {
		return nil, err
	}
	clientCalls, err := newFamily(registerer, "client", "transport", "code")
	if err != nil {
		return nil, err
	}
	born := time.Now()
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		family, first := otherCalls, b.Transport
		switch {
		case b.Client:
			family = clientCalls
		case b.Transport == "http":
			family, first = httpCalls, b.Method
		}
		s := &series{total: family.total.MustCurryWith(prometheus.Labels{family.first: first, "route": b.Route}),
			last: family.last, seconds: family.seconds.WithLabelValues(first, b.Route)}
		return func(ctx context.Context, call *chassi.Call) error {
			began := time.Since(born) // reads one clock, where time.Now reads two
			err := next(ctx, call)
			s.seconds.Observe((time.Since(born) - began).Seconds())
			s.counter(b.Status(call, err)).Inc()
			return err
		}
	}, nil
}

// family is one counter and one histogram.
type family struct {
	first, last string // the labels beside "route"
	total       *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
}

func newFamily(registerer prometheus.Registerer, name, first, last string) (family, error) {
	f := family{first: first, last: last}
	f.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name + "_requests_total", Help: "Calls answered, by what the client got.",
	}, []string{first, "route", last})
	f.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name + "_request_duration_seconds", Help: "Time from the end of the request's header to the answer.", Buckets: buckets,
	}, []string{first, "route"})
	return f, errors.Join(registerer.Register(f.total), registerer.Register(f.seconds))
}

// series are the handles of one binding. The array has a place for each HTTP
// status; the codes of the other transports fit in it too.
type series struct {
	total    *prometheus.CounterVec
	last     string
	seconds  prometheus.Observer
	byStatus [600]atomic.Pointer[prometheus.Counter]
}

func (s *series) counter(status int) prometheus.Counter {
	if status < 0 || status >= len(s.byStatus) {
		status = 0
	}
	if c := s.byStatus[status].Load(); c != nil {
		return *c
	}
	c := s.total.With(prometheus.Labels{s.last: strconv.Itoa(status)})
	s.byStatus[status].Store(&c)
	return c
}
