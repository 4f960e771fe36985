// Package telemetry makes logger, metrics, tracer and exception tracker from one
// [Config]. Nothing of it is global, and nothing of it makes a call wait: what a
// slow disk, a collector or a tracker cannot take is dropped and counted, in
// log_dropped_lines_total, trace_dropped_spans_total and exceptions_dropped_total.
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

// Config sets up a [Telemetry]. The zero value is a logger and metrics alone.
type Config struct {
	Log    LogConfig    `config:"log"`
	Trace  TraceConfig  `config:"trace"`
	Sentry SentryConfig `config:"sentry"`
}

// Telemetry is the four of them. It is a chassi.Server: the first to start and
// the last to stop, so that it hears the end of all others.
//
// Every line that is logged with the context of a call has its request_id and
// trace_id, and the span_id if the span is sampled. Values of attributes whose key
// sounds like a secret are not written; one inside a struct or map that is logged
// whole is not found.
type Telemetry struct {
	Logger     *slog.Logger
	Level      *slog.LevelVar // may be set at any time
	Registry   *prometheus.Registry
	Tracer     trace.TracerProvider          // never nil; without an exporter it makes ids for the log
	Propagator propagation.TextMapPropagator // W3C trace context and baggage
	Exceptions Reporter                      // never nil

	sink    *sink
	tracing *tracing
	tracker *tracker // nil without a DSN
}

// New sets everything up for the named service. Log lines go to out. It waits for
// no collector; a Telemetry that is given up must be stopped.
func New(ctx context.Context, service, version string, c Config, out io.Writer) (*Telemetry, error) {
	t := &Telemetry{Level: new(slog.LevelVar), Registry: prometheus.NewRegistry(), Exceptions: noReporter{}}
	var err error
	if t.Logger, t.sink, err = newLogger(c.Log, t.Level, service, out); err != nil {
		return nil, err
	}
	env := otelEnv{t.Logger}
	t.Propagator = env.propagator()
	if t.tracing, err = newTracing(ctx, c.Trace, env, service, version, t.Logger); err != nil {
		return nil, errors.Join(err, t.Stop(ctx))
	}
	t.Tracer = t.tracing.provider
	if t.tracker, err = newTracker(c.Sentry, service, version, t.Logger); err != nil {
		return nil, errors.Join(err, t.Stop(ctx))
	}
	if t.tracker != nil {
		t.Exceptions = t.tracker
	}
	if err := t.registerOwn(service, version); err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: %w", err), t.Stop(ctx))
	}
	return t, nil
}

// Handler serves the metrics in Prometheus' format. A collector that fails is
// logged and costs the others nothing.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(t.Logger.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}

// Report hands a fault of ours to Exceptions.
func (t *Telemetry) Report(ctx context.Context, err error) { t.Exceptions.Report(ctx, err) }

// Name returns "telemetry".
func (t *Telemetry) Name() string { return "telemetry" }

// Start does nothing: New has.
func (t *Telemetry) Start(context.Context) error { return nil }

// stopTime bounds what a collector that hangs can take of a shutdown.
const stopTime = 2 * time.Second

// Stop sends what is left, within two seconds or ctx. What a collector does not
// take in that time is dropped; that is logged, and no error. Lines that are
// logged later are written at once.
func (t *Telemetry) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	t.stopSenders(ctx)
	t.sink.close(ctx)
	return nil
}

// stopSenders stops tracing and tracker together. A quarter of the time is left
// for what they have to say, and for the log.
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
				t.Logger.Warn("spans were lost at the end", "error", err.Error())
			}
		})
	}
	if t.tracker != nil {
		senders.Go(func() { t.tracker.stop(ctx, soon) })
	}
	senders.Wait()
}

// Flush has the log lines so far written, for ways out of the process that pass
// by Stop. It gives up after timeout.
func (t *Telemetry) Flush(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t.sink.flush(ctx)
}
