// Package exporters contains the exporters of spans: to a collector, with
// OpenTelemetry's own protocol (OTLP), and to standard output. A program that exports
// spans sets the exporters in standard.Program:
//
//	TraceExporters: exporters.All()
//
// The package is separate from package telemetry because the exporters to a collector
// link grpc-go.
package exporters

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
)

// HTTP returns an exporter that sends spans over HTTP to endpoint, the collector's URL,
// such as http://localhost:4318. If the URL has no path, the standard path /v1/traces is
// added. If endpoint is empty, the OTEL_EXPORTER_OTLP_* variables determine the endpoint.
// HTTP does not wait for the collector. It returns an error if endpoint is invalid, or if
// the environment names an unusable file of certificates or an invalid key pair.
func HTTP(ctx context.Context, endpoint string) (trace.SpanExporter, error) {
	client, err := newHTTPClient()
	if err != nil {
		return nil, err
	}
	options := []otlptracehttp.Option{otlptracehttp.WithHTTPClient(client), otlptracehttp.WithMaxResponseSize(maxResponseBytes)}
	if endpoint != "" {
		u, err := parse(endpoint)
		if err != nil {
			return nil, err
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/v1/traces"
		}
		options = append(options, otlptracehttp.WithEndpointURL(u.String()))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("OTLP over HTTP: %w", err)
	}
	return exporter, nil
}

// GRPC returns an exporter that sends spans over gRPC to endpoint, the collector's URL,
// such as http://localhost:4317; https enables TLS. If endpoint is empty, the
// OTEL_EXPORTER_OTLP_* variables determine the endpoint. GRPC does not wait for the
// collector. It returns an error if endpoint is invalid.
func GRPC(ctx context.Context, endpoint string) (trace.SpanExporter, error) {
	options := []otlptracegrpc.Option{otlptracegrpc.WithDialOption(
		grpc.WithMaxHeaderListSize(maxHeaderBytes), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponseBytes)),
	)}
	if endpoint != "" {
		u, err := parse(endpoint)
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracegrpc.WithEndpointURL(u.String()))
	}
	exporter, err := otlptracegrpc.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("OTLP over gRPC: %w", err)
	}
	return exporter, nil
}

// maxHeaderBytes is the maximum size of the headers and trailers of a collector's response,
// in bytes. The default of grpc-go is 16 MiB.
const maxHeaderBytes = 64 << 10

// errEndpoint is the error for an invalid endpoint. It does not contain the URL, which
// may include a password.
var errEndpoint = errors.New("the endpoint must be an http or https URL with a host, such as http://localhost:4318")

func parse(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errEndpoint
	}
	return u, nil
}

// Stdout returns an exporter that writes spans to standard output as JSON. It ignores
// its arguments.
func Stdout(context.Context, string) (trace.SpanExporter, error) {
	return stdouttrace.New(stdouttrace.WithWriter(os.Stdout)) //nolint:wrapcheck // wrapped by the caller
}

// All returns the exporters of this package, by their names in the setting trace.exporter:
// otlp-http, otlp-grpc and stdout.
func All() map[string]func(ctx context.Context, endpoint string) (trace.SpanExporter, error) {
	return map[string]func(context.Context, string) (trace.SpanExporter, error){"otlp-http": HTTP, "otlp-grpc": GRPC, "stdout": Stdout}
}
