package telemetry

import (
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The names of the exporters, as in TraceConfig.Exporter.
const (
	exportNone   = "none"
	exportHTTP   = "otlp-http"
	exportGRPC   = "otlp-grpc"
	exportStdout = "stdout"
)

// otelEnv reads standard environment variables of OpenTelemetry (OpenTelemetry specification,
// Environment Variable Specification). An empty variable counts as unset.
type otelEnv struct {
	logger *slog.Logger        // for warnings about unknown values
	linked map[string]Exporter // exporters that the program links, by name
}

func (otelEnv) get(names ...string) string {
	for _, name := range names {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			return v
		}
	}
	return ""
}

func (e otelEnv) has(names ...string) bool { return e.get(names...) != "" }

func (e otelEnv) warn(name, value, want string) {
	e.logger.Warn("an environment variable has an unknown value and is ignored", "variable", name, "value", value, "want", want)
}

// exporters returns the names of the exporters that receive the spans. Variables take precedence
// over the configured name. The result is empty if spans are not exported.
func (e otelEnv) exporters(configured string) []string {
	if disabled, _ := strconv.ParseBool(e.get("OTEL_SDK_DISABLED")); disabled {
		return nil
	}
	if names, ok := e.listedExporters(); ok {
		return e.onlyLinked("OTEL_TRACES_EXPORTER", names...)
	}
	switch configured {
	case "", exportNone:
		if e.hasEndpoint() {
			return e.onlyLinked("OTEL_EXPORTER_OTLP_ENDPOINT", e.protocol(exportHTTP))
		}
		return nil
	case exportHTTP, exportGRPC:
		name := e.protocol(configured)
		if _, ok := e.linked[configured]; ok && name != configured && len(e.onlyLinked("OTEL_EXPORTER_OTLP_PROTOCOL", name)) == 0 {
			name = configured
		}
		return []string{name}
	default:
		return []string{configured}
	}
}

// onlyLinked returns the elements of names whose exporters the program links. It logs a warning
// for each other element and returns no error: a variable that is set for all programs of a cluster
// must not stop a program that links no exporters.
func (e otelEnv) onlyLinked(variable string, names ...string) (linked []string) {
	for _, name := range names {
		if _, ok := e.linked[name]; ok {
			linked = append(linked, name)
			continue
		}
		e.logger.Warn("an environment variable names an exporter that this program does not link, and is ignored", "variable", variable, "exporter", name)
	}
	return linked
}

// listedExporters returns the names of the exporters that OTEL_TRACES_EXPORTER selects. It
// returns false if the variable contains no known value.
func (e otelEnv) listedExporters() (names []string, ok bool) {
	for _, word := range e.list("OTEL_TRACES_EXPORTER") {
		switch word {
		case "otlp":
			names, ok = append(names, e.protocol(exportHTTP)), true
		case "console":
			names, ok = append(names, exportStdout), true
		case exportNone:
			ok = true
		default:
			e.warn("OTEL_TRACES_EXPORTER", word, "otlp, console, none")
		}
	}
	return names, ok
}

func (e otelEnv) list(name string) []string {
	var words []string
	for word := range strings.SplitSeq(e.get(name), ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// protocol returns the name of the OTLP exporter for the protocol that the environment sets, or
// fallback if the environment sets no known protocol.
func (e otelEnv) protocol(fallback string) string {
	const name = "OTEL_EXPORTER_OTLP_PROTOCOL"
	switch value := e.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", name); value {
	case "":
	case "grpc":
		return exportGRPC
	case "http/protobuf", "http/json":
		return exportHTTP
	default:
		e.warn(name, value, "grpc, http/protobuf, http/json")
	}
	return fallback
}

func (e otelEnv) hasEndpoint() bool {
	return e.has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
}

// endpoint returns the endpoint to pass to the exporter, or "" if the exporter reads it
// from the environment. The default is the standard's endpoint without TLS: contrary to
// the standard, OpenTelemetry's exporters default to TLS.
func (e otelEnv) endpoint(exporter, configured string) string {
	switch {
	case e.hasEndpoint():
		return ""
	case configured != "":
		return configured
	case exporter == exportGRPC:
		return "http://localhost:4317"
	default:
		return "http://localhost:4318"
	}
}

// hasSampler reports whether the environment names a sampler that the SDK supports.
func (e otelEnv) hasSampler() bool {
	const name, known = "OTEL_TRACES_SAMPLER", "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio"
	value := strings.ToLower(e.get(name))
	switch {
	case value == "":
		return false
	case slices.Contains(strings.Split(known, ", "), value):
		return true
	default:
		e.warn(name, value, known)
		return false
	}
}

// queueSize returns the maximum number of spans that wait for export: OTEL_BSP_MAX_QUEUE_SIZE,
// or the SDK's default.
func (e otelEnv) queueSize() int {
	if n, err := strconv.Atoi(e.get("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil && n > 0 {
		return n
	}
	return sdktrace.DefaultMaxQueueSize
}

// propagator returns the propagators that OTEL_PROPAGATORS selects. The default is
// W3C Trace Context and Baggage.
func (e otelEnv) propagator() propagation.TextMapPropagator {
	var chosen []propagation.TextMapPropagator
	known := false
	for _, word := range e.list("OTEL_PROPAGATORS") {
		switch word {
		case "tracecontext":
			chosen, known = append(chosen, propagation.TraceContext{}), true
		case "baggage":
			chosen, known = append(chosen, propagation.Baggage{}), true
		case "none":
			known = true
		default:
			e.warn("OTEL_PROPAGATORS", word, "tracecontext, baggage, none")
		}
	}
	if !known {
		chosen = []propagation.TextMapPropagator{propagation.TraceContext{}, propagation.Baggage{}}
	}
	return propagation.NewCompositeTextMapPropagator(chosen...)
}
