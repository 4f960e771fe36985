package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceConfig configures tracing. The standard environment variables take precedence:
//
//   - OTEL_SDK_DISABLED=true disables tracing.
//   - OTEL_TRACES_EXPORTER (otlp, console, none, or a list) overrides Exporter, and
//     OTEL_EXPORTER_OTLP_PROTOCOL overrides the protocol in it. An OTLP endpoint in the
//     environment enables OTLP if Exporter is none.
//   - OTEL_EXPORTER_OTLP_ENDPOINT overrides Endpoint. Headers, certificates, compression and
//     timeout are set by OTEL_EXPORTER_OTLP_* variables only.
//   - OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG override Ratio.
//   - OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_PROPAGATORS (tracecontext, baggage,
//     none), OTEL_BSP_* and OTEL_SPAN_* have their standard meaning.
//
// As the specification requires, a variable with an unknown value is ignored with a warning.
// An unknown value of Exporter is an error. So is an invalid value of a variable that
// determines where OTLP sends spans and with which credentials: the endpoint, which must be an
// http or https URL, the headers and the certificates.
type TraceConfig struct {
	Exporter string  `config:"exporter" default:"none" oneof:"none,otlp-http,otlp-grpc,stdout" help:"exporter of spans"`
	Endpoint string  `config:"endpoint" format:"url:http,https" mask:"url" help:"URL of the collector; default http://localhost:4318, for otlp-grpc http://localhost:4317"`
	Ratio    float64 `config:"ratio" default:"0.01" min:"0" max:"1" help:"share of traces that are sampled, unless a trusted caller has made the decision"`

	// Exporters contains the exporters that the program links, by their names in Exporter.
	// Set it to exporters.All() of package telemetry/exporters, which is separate because
	// it links grpc-go.
	Exporters map[string]Exporter `config:"-"`

	// Trusted contains the networks of the callers whose trace context the tracing
	// middleware trusts. The zero value contains no networks; the default of the setting
	// is the loopback networks.
	Trusted []netip.Prefix `config:"trusted_networks" default:"127.0.0.0/8,::1/128" help:"networks of callers whose traceparent is trusted, besides clients that a broker names: it becomes the parent and decides sampling; any other call begins a new trace with a link to it"`
}

// Exporter is a function that returns an exporter to the collector at endpoint, a
// URL. If endpoint is empty, the OTEL_EXPORTER_OTLP_* variables determine the endpoint.
// The exporter to standard output ignores endpoint. The function does not wait for the collector.
type Exporter = func(ctx context.Context, endpoint string) (sdktrace.SpanExporter, error)

// tracing contains the tracer provider, and the counters of each of its exporters.
type tracing struct {
	provider trace.TracerProvider
	shutdown func(context.Context) error
	counters []*spanCounter
	giveUp   context.CancelFunc // ends exports that are in progress
}

// newTracing returns a tracer provider with the selected exporters, and their counters. Unless the
// environment sets a sampler, a span with a parent is sampled if its parent is. newTracing returns
// an error if the configuration or the environment is invalid.
func newTracing(ctx context.Context, c TraceConfig, env otelEnv, service, version string, logger *slog.Logger) (*tracing, error) {
	life, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	t := &tracing{provider: idProvider{}, shutdown: func(context.Context) error { return nil }, giveUp: giveUp}
	env.linked = c.Exporters
	names := env.exporters(c.Exporter)
	if len(names) == 0 {
		return t, nil
	}
	if err := env.validate(names); err != nil {
		giveUp()
		return nil, err
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(describe(ctx, service, version, logger)), sdktrace.WithIDGenerator(drawnIDs{}), sdktrace.WithRawSpanLimits(spanLimits()),
	}
	ours := !env.hasSampler() // otherwise the SDK reads it itself
	if ours {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Ratio))))
	}
	for _, name := range names {
		exporter, err := newExporter(ctx, name, env.endpoint(name, c.Endpoint), c.Exporters)
		if err != nil {
			giveUp()
			return nil, errors.Join(fmt.Errorf("telemetry: trace exporter: %w", err), sdktrace.NewTracerProvider(options...).Shutdown(ctx))
		}
		processor := newSpanProcessor(life, exporter, env.queueSize(), logger)
		t.counters = append(t.counters, processor.spanCounter)
		options = append(options, sdktrace.WithSpanProcessor(processor))
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.provider, t.shutdown = provider, provider.Shutdown
	if ours {
		t.provider = newRootProvider(provider, c.Ratio)
	}
	return t, nil
}

// describe returns the resource that the spans belong to: the service, its version, the
// SDK, and the attributes that the environment sets.
func describe(ctx context.Context, service, version string, logger *slog.Logger) *resource.Resource {
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		logger.Warn("OTEL_RESOURCE_ATTRIBUTES is invalid and partly ignored: want key=value,key=value", "error", err.Error())
	}
	return about
}

func newExporter(ctx context.Context, name, endpoint string, linked map[string]Exporter) (sdktrace.SpanExporter, error) {
	switch exporter, ok := linked[name]; {
	case ok:
		return exporter(ctx, endpoint)
	case name == exportHTTP || name == exportGRPC || name == exportStdout:
		return nil, fmt.Errorf("this program does not link the exporter %q: add the exporters of package telemetry/exporters, or set trace.exporter to none", name)
	default:
		return nil, fmt.Errorf("%q is unknown: want none, otlp-http, otlp-grpc or stdout", name)
	}
}

// stop sends waiting spans until soon is done, and drops the rest. It returns when ctx is done at
// the latest, with an error if the provider has not shut down by then or its shutdown has failed.
func (t *tracing) stop(ctx, soon context.Context) error {
	defer t.giveUp()
	defer context.AfterFunc(soon, t.giveUp)()
	return t.shutdown(ctx)
}
