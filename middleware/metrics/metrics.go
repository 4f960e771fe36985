// Package metrics counts and times calls for Prometheus.
package metrics

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/prometheus/client_golang/prometheus"
)

// buckets are the buckets of the latency histograms, in seconds. They range from a cached
// response, which takes a fraction of a millisecond, to slow calls of several seconds.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New returns middleware that counts and times every call. It registers its metrics with
// registerer, and returns an error if that fails. The metrics over HTTP are
//
//	http_requests_total{server,method,route,status}
//	http_request_duration_seconds{server,method,route}
//
// where server identifies the listener of the program, such as "http" or "admin". The metrics
// of the other transports are
//
//	rpc_requests_total{transport,route,code}
//	rpc_request_duration_seconds{transport,route}
//
// and those of clients, over any transport, are
//
//	client_requests_total{transport,route,code}
//	client_request_duration_seconds{transport,route}
//
// A stream is counted when it ends, and its duration is not part of these histograms. Streams
// that have opened have their own metrics, whose names have the prefix client_ on clients:
//
//	streams_open{transport,route}
//	stream_items_total{transport,route}
//	stream_duration_seconds{transport,route}
//
// The value of the label code is the number of a [chassi.Code], or 0 for success. Routes are
// patterns, never raw paths, so that the number of series is bounded. Each series is looked up only
// once.
func New(registerer prometheus.Registerer) (chassi.Middleware, error) {
	httpCalls, err := newFamily(registerer, "http", "status", "server", "method")
	if err != nil {
		return nil, err
	}
	otherCalls, err := newFamily(registerer, "rpc", "code", "transport")
	if err != nil {
		return nil, err
	}
	clientCalls, err := newFamily(registerer, "client", "code", "transport")
	if err != nil {
		return nil, err
	}
	streams, err := newStreamFamily(registerer, "")
	if err != nil {
		return nil, err
	}
	clientStreams, err := newStreamFamily(registerer, "client_")
	if err != nil {
		return nil, err
	}
	born := time.Now()
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		family, labels := otherCalls, prometheus.Labels{"transport": b.Transport, "route": b.Route}
		switch {
		case b.Client:
			family = clientCalls
		case b.Transport == "http":
			family, labels = httpCalls, prometheus.Labels{"server": b.Server, "method": b.Method, "route": b.Route}
		}
		s := &series{total: family.total.MustCurryWith(labels), outcome: family.outcome}
		if b.Endpoint.Streams() {
			if b.Client {
				return clientStreams.observe(b, s, next)
			}
			return streams.observe(b, s, next)
		}
		s.seconds = family.seconds.With(labels)
		return func(ctx context.Context, call *chassi.Call) error {
			began := time.Since(born) // faster than time.Now: reads a single clock
			err := next(ctx, call)
			s.seconds.Observe((time.Since(born) - began).Seconds())
			s.counter(b.Status(call, err)).Inc()
			return err
		}
	}, nil
}

// family contains the counter and the histogram of one kind of call.
type family struct {
	outcome string // the label for how the call ended
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newFamily(registerer prometheus.Registerer, name, outcome string, labels ...string) (family, error) {
	labels = append(labels, "route")
	f := family{outcome: outcome}
	f.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: name + "_requests_total", Help: "Calls answered, by what the client got.",
	}, slices.Concat(labels, []string{outcome}))
	f.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name + "_request_duration_seconds", Help: "Time from the end of the request's header to the response.", Buckets: buckets,
	}, labels)
	return f, errors.Join(registerer.Register(f.total), registerer.Register(f.seconds))
}

// streamBuckets are the buckets of the histograms of stream durations, in seconds. They extend
// beyond the default maximum age of a stream, one hour.
var streamBuckets = []float64{.1, 1, 10, 60, 300, 900, 1800, 3600, 7200, 14400}

// streamFamily contains the metrics of streams, either those of servers or those of clients.
type streamFamily struct {
	open    *prometheus.GaugeVec
	items   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newStreamFamily(registerer prometheus.Registerer, prefix string) (streamFamily, error) {
	labels := []string{"transport", "route"}
	f := streamFamily{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "streams_open", Help: "Streams that are open."}, labels),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "stream_items_total", Help: "Items of streams, sent by a server or received by a client.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "stream_duration_seconds", Help: "Time from the opening of a stream to its end.", Buckets: streamBuckets,
		}, labels),
	}
	return f, errors.Join(registerer.Register(f.open), registerer.Register(f.items), registerer.Register(f.seconds))
}

// observe returns a handler for the calls of an endpoint that is a stream. The handler counts the
// calls in s, and records open streams, items and durations in f.
func (f streamFamily) observe(b *chassi.Binding, s *series, next chassi.Handler) chassi.Handler {
	open, items := f.open.WithLabelValues(b.Transport, b.Route), f.items.WithLabelValues(b.Transport, b.Route)
	seconds := f.seconds.WithLabelValues(b.Transport, b.Route)
	return func(ctx context.Context, call *chassi.Call) error {
		var opened time.Time
		call.Stream.OnOpen(func() {
			opened = time.Now()
			open.Inc()
		})
		call.Stream.OnItem(items.Inc)
		defer func() {
			if !opened.IsZero() {
				open.Dec()
				seconds.Observe(time.Since(opened).Seconds())
			}
		}()
		err := next(ctx, call)
		s.counter(b.Status(call, err)).Inc()
		return err
	}
}

// series contains the metrics of one binding. The index of byStatus is an HTTP status on an HTTP
// server and, on clients and other transports, a [chassi.Code] or 0 for success.
type series struct {
	total    *prometheus.CounterVec
	outcome  string
	seconds  prometheus.Observer // nil for a stream
	byStatus [600]atomic.Pointer[prometheus.Counter]
}

func (s *series) counter(status int) prometheus.Counter {
	if status < 0 || status >= len(s.byStatus) {
		status = 0
	}
	if c := s.byStatus[status].Load(); c != nil {
		return *c
	}
	c := s.total.With(prometheus.Labels{s.outcome: strconv.Itoa(status)})
	s.byStatus[status].Store(&c)
	return c
}
