package metrics

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTPClient returns a function that counts and times the requests of a client of third-party
// APIs, each attempt separately, in these metrics:
//
//	http_client_requests_total{client,host,method,status}
//	http_client_request_duration_seconds{client,host,method}
//
// The label host is the class of the host: a value of the option HostClasses, or "other". The label
// status is the HTTP status, the kind of failure, such as "timeout" or "breaker_open", if there was
// no response, or "other" for a status that is not from 100 to 599.
// The function is for the Observe option of package client/httpclient. HTTPClient may be called for
// several clients with the same registerer. It returns an error if a metric cannot be registered.
func HTTPClient(registerer prometheus.Registerer, client string) (func(class, method string, status int, failure string, took time.Duration), error) {
	total, err := registered(registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_client_requests_total", Help: "Requests to third-party APIs, each attempt counted, by the response.",
	}, []string{"client", "host", "method", "status"}))
	if err != nil {
		return nil, err
	}
	seconds, err := registered(registerer, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "http_client_request_duration_seconds", Help: "Time from the request to the header of the response.", Buckets: buckets,
	}, []string{"client", "host", "method"}))
	if err != nil {
		return nil, err
	}
	return func(class, method string, status int, failure string, took time.Duration) {
		switch {
		case status >= 100 && status < 600:
			failure = strconv.Itoa(status)
		case failure == "":
			failure = "other"
		}
		total.WithLabelValues(client, class, method, failure).Inc()
		seconds.WithLabelValues(client, class, method).Observe(took.Seconds())
	}, nil
}

// registered registers collector and returns it. If an equal collector is already registered, it
// returns the registered collector.
func registered[T prometheus.Collector](registerer prometheus.Registerer, collector T) (T, error) {
	err := registerer.Register(collector)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := known.ExistingCollector.(T); ok {
			return same, nil
		}
	}
	return collector, err //nolint:wrapcheck // says which
}
