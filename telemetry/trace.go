package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/chassi-go/chassi/telemetry/otlp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceConfig sets up tracing. It fills in what the standard variables leave
// unset:
//
//   - OTEL_SDK_DISABLED=true switches tracing off.
//   - OTEL_TRACES_EXPORTER (otlp, console, none, or a list) wins over Exporter, and
//     OTEL_EXPORTER_OTLP_PROTOCOL over the protocol in it. An OTLP endpoint in the
//     environment switches OTLP on where Exporter says none.
//   - OTEL_EXPORTER_OTLP_ENDPOINT wins over Endpoint; headers, certificates,
//     compression and timeout are OTEL_EXPORTER_OTLP_* alone.
//   - OTEL_TRACES_SAMPLER and its _ARG win over Ratio.
//   - OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_PROPAGATORS (tracecontext,
//     baggage, none), OTEL_BSP_* and OTEL_SPAN_* are honoured.
//
// As the standard asks, a variable with a value that is unknown is warned of and
// ignored. In Config it is an error.
type TraceConfig struct {
	Exporter string  `config:"exporter" default:"none" oneof:"none,otlp-http,otlp-grpc,stdout" help:"where spans go"`
	Endpoint string  `config:"endpoint" mask:"url" help:"URL of the collector; default http://localhost:4318, for otlp-grpc http://localhost:4317"`
	Ratio    float64 `config:"ratio" default:"0.01" min:"0" max:"1" help:"share of traces that are sampled, unless a trusted caller has decided"`

	// Trusted is for the middleware that makes the spans. The zero value trusts nobody.
	Trusted []netip.Prefix `config:"trusted" default:"127.0.0.0/8,::1/128" help:"networks of the callers whose traceparent is believed, besides clients that a broker names: it then decides sampling and is the parent; a call from elsewhere begins a trace of its own with a link"`
}

// tracing is the provider and the counters of each of its exporters.
type tracing struct {
	provider trace.TracerProvider
	shutdown func(context.Context) error
	counters []*spanCounter
	giveUp   context.CancelFunc // ends exports that are under way
}

// newTracing makes the provider. The sampler follows the caller's decision.
func newTracing(ctx context.Context, c TraceConfig, env otelEnv, service, version string, logger *slog.Logger) (*tracing, error) {
	life, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	t := &tracing{provider: idProvider{}, shutdown: func(context.Context) error { return nil }, giveUp: giveUp}
	names := env.exporters(c.Exporter)
	if len(names) == 0 {
		return t, nil
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(describe(ctx, service, version, logger)), sdktrace.WithIDGenerator(drawnIDs{}), sdktrace.WithRawSpanLimits(spanLimits()),
	}
	ours := !env.hasSampler() // otherwise the SDK reads it itself
	if ours {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Ratio))))
	}
	for _, name := range names {
		exporter, err := newExporter(ctx, name, env.endpoint(name, c.Endpoint))
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

// describe tells who sends the spans.
func describe(ctx context.Context, service, version string, logger *slog.Logger) *resource.Resource {
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		logger.Warn("OTEL_RESOURCE_ATTRIBUTES is not used as a whole: want key=value,key=value", "error", err.Error())
	}
	return about
}

func newExporter(ctx context.Context, name, endpoint string) (sdktrace.SpanExporter, error) {
	switch name {
	case exportHTTP:
		return otlp.HTTP(ctx, endpoint) //nolint:wrapcheck // wrapped by the caller
	case exportGRPC:
		return otlp.GRPC(ctx, endpoint) //nolint:wrapcheck // wrapped by the caller
	case exportStdout:
		return stdouttrace.New(stdouttrace.WithWriter(os.Stdout)) //nolint:wrapcheck // wrapped by the caller
	default:
		return nil, fmt.Errorf("%q is unknown: want none, otlp-http, otlp-grpc or stdout", name)
	}
}

// stop sends what waits until soon ends; what is left then is dropped. It takes
// no longer than ctx.
func (t *tracing) stop(ctx, soon context.Context) error {
	defer t.giveUp()
	defer context.AfterFunc(soon, t.giveUp)()
	return t.shutdown(ctx)
}
