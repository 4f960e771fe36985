// Package telemetry creates the logger, metrics registry, tracer and error tracker of a service
// from one [Config]. It has no global state and never blocks a call: data that a slow disk, a
// collector or an error tracker cannot accept is dropped and counted, in log_dropped_lines_total,
// trace_dropped_spans_total and exceptions_dropped_total.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Config configures a [Telemetry]. The zero value enables the logger and the metrics only.
type Config struct {
	Log    LogConfig    `config:"log"`
	Trace  TraceConfig  `config:"trace"`
	Sentry SentryConfig `config:"sentry"`
}

// Telemetry contains the logger, metrics registry, tracer and error tracker of a
// service. It is a chassi.Component that must start first and stop last, so that it
// records the end of all other components.
//
// Every line that is logged with the context of a call contains the call's request_id and
// trace_id, and the span_id if the span is sampled. The value of an attribute whose key looks
// like a secret is masked, unless it is a number, a boolean, a time or a duration; a secret inside
// a logged struct or map is not detected. A duration is formatted as by [time.Duration.String], for
// example "1m30s", on a terminal and in JSON; the value of a key with a unit, such as latency_us,
// is a number.
type Telemetry struct {
	Logger     *slog.Logger
	Level      *slog.LevelVar // may be set at any time
	Registry   *prometheus.Registry
	Tracer     trace.TracerProvider          // never nil; without an exporter it only creates IDs
	Propagator propagation.TextMapPropagator // W3C Trace Context and Baggage by default
	Exceptions Reporter                      // never nil

	sink    *sink
	tracing *tracing
	tracker *tracker // nil without a DSN
}

// New returns a Telemetry for the named service. Log lines are written to out. New does not wait
// for a collector. It returns an error if c is invalid, or if an environment variable is invalid
// that [TraceConfig] does not allow to be ignored. The caller must call Stop on the Telemetry.
func New(ctx context.Context, service, version string, c Config, out io.Writer) (*Telemetry, error) {
	t := &Telemetry{Level: new(slog.LevelVar), Registry: prometheus.NewRegistry(), Exceptions: noReporter{}}
	var err error
	if t.Logger, t.sink, err = newLogger(c.Log, t.Level, service, out); err != nil {
		return nil, err
	}
	env := otelEnv{logger: t.Logger}
	t.Propagator = env.propagator()
	var wrong error
	t.tracing, err = newTracing(ctx, c.Trace, env, service, version, t.Logger)
	t.tracker, wrong = newTracker(c.Sentry, service, version, t.Logger)
	if err = errors.Join(err, wrong); err != nil {
		return nil, errors.Join(err, t.Stop(ctx))
	}
	t.Tracer = t.tracing.provider
	if t.tracker != nil {
		t.Exceptions = t.tracker
	}
	if err := t.registerOwn(service, version); err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: %w", err), t.Stop(ctx))
	}
	return t, nil
}

// Handler returns a handler that serves the metrics in the Prometheus format. An error of a
// collector is logged and does not affect the metrics of other collectors.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(t.Logger.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}

// Report passes err, a server error, to t.Exceptions. It does nothing if err is nil.
func (t *Telemetry) Report(ctx context.Context, err error) { t.Exceptions.Report(ctx, err) }

// Name returns "telemetry".
func (t *Telemetry) Name() string { return "telemetry" }

// Start is a no-op; New has already started everything.
func (t *Telemetry) Start(context.Context) error { return nil }

// Close calls [Telemetry.Stop] without a deadline other than Stop's own. It is for
// a Telemetry that was not started.
func (t *Telemetry) Close() error { return t.Stop(context.Background()) }

// stopTime is the maximum time that [Telemetry.Stop] takes.
const stopTime = 2 * time.Second

// Stop sends the remaining spans and exceptions for at most half of the time until the deadline of
// ctx, and for at most one second. It drops those that are not accepted in that time, and logs the
// loss. Then it writes the buffered log lines. It always returns nil, after at most two seconds and
// no later than when ctx is done. Later log lines are written at once, or dropped if the log output
// hangs.
func (t *Telemetry) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	t.stopSenders(ctx)
	t.sink.close(ctx)
	return nil
}

// stopSenders stops tracing and the error tracker concurrently. It leaves a quarter of the time
// until the deadline of ctx for writing their last log lines.
func (t *Telemetry) stopSenders(ctx context.Context) {
	until, _ := ctx.Deadline()
	left := time.Until(until)
	soon, cancel := context.WithTimeout(ctx, left/2)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, left*3/4)
	defer cancel()

	var senders sync.WaitGroup
	if t.tracing != nil {
		senders.Go(func() {
			if err := t.tracing.stop(ctx, soon); err != nil {
				t.Logger.Warn("spans were lost during shutdown", "error", err.Error())
			}
		})
	}
	if t.tracker != nil {
		senders.Go(func() { t.tracker.stop(ctx, soon) })
	}
	senders.Wait()
}

// Flush waits until all log lines so far are written, or until timeout has passed. Call it before
// the process exits without a call of [Telemetry.Stop].
func (t *Telemetry) Flush(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t.sink.flush(ctx)
}
