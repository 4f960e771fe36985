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

// The exporters by the names of [TraceConfig].
const (
	exportNone   = "none"
	exportHTTP   = "otlp-http"
	exportGRPC   = "otlp-grpc"
	exportStdout = "stdout"
)

// otelEnv reads the standard variables (OpenTelemetry specification, Environment
// Variable Specification) that the SDK leaves to us. An empty one counts as unset.
type otelEnv struct {
	logger *slog.Logger // hears of values that are unknown
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

// exporters returns where spans go, nothing for nowhere.
func (e otelEnv) exporters(configured string) []string {
	if disabled, _ := strconv.ParseBool(e.get("OTEL_SDK_DISABLED")); disabled {
		return nil
	}
	if names, ok := e.listedExporters(); ok {
		return names
	}
	switch configured {
	case "", exportNone:
		if e.hasEndpoint() {
			return []string{e.protocol(exportHTTP)}
		}
		return nil
	case exportHTTP, exportGRPC:
		return []string{e.protocol(configured)}
	default:
		return []string{configured}
	}
}

// listedExporters reports false if the variable says nothing that is known.
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

// protocol returns the OTLP exporter that the environment asks for.
func (e otelEnv) protocol(otherwise string) string {
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
	return otherwise
}

func (e otelEnv) hasEndpoint() bool {
	return e.has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
}

// endpoint returns what to tell the exporter, "" where it reads it from the
// environment itself. The libraries' own default is TLS, unlike the standard's.
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

// hasSampler reports whether the SDK will find a sampler that it knows.
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

// queueSize returns how many spans may wait.
func (e otelEnv) queueSize() int {
	if n, err := strconv.Atoi(e.get("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil && n > 0 {
		return n
	}
	return sdktrace.DefaultMaxQueueSize
}

// propagator returns W3C trace context and baggage unless told otherwise.
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
