package telemetry

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chassi-go/chassi/telemetry/exporters"
)

func TestExportersFromTheEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env        map[string]string
		configured string
		want       []string
		warned     bool
	}{
		"nothing":             {nil, "", nil, false},
		"config":              {nil, "otlp-grpc", []string{"otlp-grpc"}, false},
		"disabled":            {map[string]string{"OTEL_SDK_DISABLED": "true"}, "otlp-http", nil, false},
		"not disabled":        {map[string]string{"OTEL_SDK_DISABLED": "false"}, "otlp-http", []string{"otlp-http"}, false},
		"none wins":           {map[string]string{"OTEL_TRACES_EXPORTER": "none"}, "otlp-http", nil, false},
		"otlp wins":           {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "none", []string{"otlp-http"}, false},
		"otlp over gRPC":      {map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", []string{"otlp-grpc"}, false},
		"list":                {map[string]string{"OTEL_TRACES_EXPORTER": "console, otlp"}, "", []string{"stdout", "otlp-http"}, false},
		"unknown":             {map[string]string{"OTEL_TRACES_EXPORTER": "jaeger"}, "stdout", []string{"stdout"}, true},
		"partly unknown":      {map[string]string{"OTEL_TRACES_EXPORTER": "jaeger,console"}, "", []string{"stdout"}, true},
		"protocol":            {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "otlp-http", []string{"otlp-grpc"}, false},
		"protocol of traces":  {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "otlp-grpc", []string{"otlp-http"}, false},
		"unknown protocol":    {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "otlp-grpc", []string{"otlp-grpc"}, true},
		"endpoint is enough":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "none", []string{"otlp-http"}, false},
		"empty counts as not": {map[string]string{"OTEL_TRACES_EXPORTER": "", "OTEL_EXPORTER_OTLP_ENDPOINT": " "}, "none", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range c.env {
				t.Setenv(key, value)
			}
			w := newWriter()
			close(w.opened)
			got := otelEnv{slog.New(newJSONHandler(w, slog.LevelInfo)), exporters.All()}.exporters(c.configured)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("exporters (-want +got):\n%s", diff)
			}
			if warned := strings.Contains(w.String(), "unknown value"); warned != c.warned {
				t.Errorf("warned: %v, want %v: %s", warned, c.warned, w)
			}
		})
	}
}

func TestEndpointFromTheEnvironmentWins(t *testing.T) {
	ours, theirs := newCollector(t), newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", theirs.URL)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	t.Setenv("OTEL_SERVICE_NAME", "named-by-the-environment")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=blue,broken")
	tel, w := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: ours.URL}})
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "x")
	span.End()
	stopInTime(t, tel)
	if len(ours.paths) != 0 || !slices.Equal(theirs.paths, []string{"/v1/traces"}) {
		t.Errorf("the configured collector got %q, the environment's %q", ours.paths, theirs.paths)
	}
	if got := theirs.body.String(); !strings.Contains(got, "named-by-the-environment") || strings.Contains(got, "shop") || !strings.Contains(got, "blue") {
		t.Error("the service's name is not the environment's, or its attributes are not there")
	}
	if !strings.Contains(w.String(), "OTEL_RESOURCE_ATTRIBUTES") {
		t.Errorf("nothing is said of the broken attribute: %s", w)
	}
}

func TestEndpointDefaults(t *testing.T) {
	t.Parallel()
	env := otelEnv{logger: slog.New(slog.DiscardHandler)}
	for _, c := range []struct{ exporter, configured, want string }{
		{exportHTTP, "", "http://localhost:4318"},
		{exportGRPC, "", "http://localhost:4317"},
		{exportGRPC, "https://c", "https://c"},
	} {
		if got := env.endpoint(c.exporter, c.configured); got != c.want {
			t.Errorf("endpoint(%q, %q) = %q, want %q", c.exporter, c.configured, got, c.want)
		}
	}
}

func TestSamplerFromTheEnvironment(t *testing.T) {
	for value, want := range map[string]bool{"": false, "always_on": true, "Always_On": true, "always_off": false, "jaeger_remote": false} {
		t.Run(value, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", value)
			tel, w := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: newCollector(t).URL, Ratio: 0}})
			_, span := tel.Tracer.Tracer("test").Start(t.Context(), "x")
			span.End()
			stopInTime(t, tel)
			if got := span.SpanContext().IsSampled(); got != want {
				t.Errorf("sampled: %v, want %v", got, want)
			}
			if warned := strings.Contains(w.String(), "unknown value"); warned != (value == "jaeger_remote") {
				t.Errorf("warned: %v: %s", warned, w)
			}
		})
	}
}

func TestQueueSizeFromTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
	tel, _ := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: "http://" + hungListener(t), Ratio: 1}})
	for range 100 {
		_, span := tel.Tracer.Tracer("test").Start(t.Context(), "x")
		span.End()
	}
	if n := metric(t, tel, "trace_dropped_spans_total", "queue_full"); n != 90 {
		t.Errorf("%d of 100 spans were dropped with a queue of 10, want 90", n)
	}
	stopInTime(t, tel)
}

func TestPropagatorFromTheEnvironment(t *testing.T) {
	for value, want := range map[string][]string{
		"":                     {"baggage", "traceparent", "tracestate"},
		"tracecontext":         {"traceparent", "tracestate"},
		"baggage,tracecontext": {"baggage", "traceparent", "tracestate"},
		"none":                 nil,
		"b3":                   {"baggage", "traceparent", "tracestate"},
		"b3,baggage":           {"baggage"},
	} {
		t.Run(value, func(t *testing.T) {
			t.Setenv("OTEL_PROPAGATORS", value)
			got := otelEnv{logger: slog.New(slog.DiscardHandler)}.propagator().Fields()
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSDKDisabled(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true")
	tel, err := New(t.Context(), "s", "1", Config{Trace: TraceConfig{Exporter: exportHTTP, Ratio: 1}}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Stop(t.Context())
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "x")
	if span.IsRecording() || !span.SpanContext().IsValid() {
		t.Errorf("the span is %+v, want ids and no recording", span.SpanContext())
	}
}
