// Package exporters has the exporters of spans: to a collector, by OpenTelemetry's own protocol,
// and to standard output. A program that is to export spans names it once, in
// standard.Program:
//
//	TraceExporters: exporters.All()
//
// It is a package of its own because the exporters to a collector link grpc-go.
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

// HTTP returns an exporter that sends spans over HTTP to endpoint, the collector's URL, such as
// http://localhost:4318; without a path the standard path /v1/traces is added. If endpoint is
// empty, the OTEL_EXPORTER_OTLP_* variables apply. HTTP does not wait for the collector.
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

// GRPC returns an exporter that sends spans over gRPC to endpoint, the collector's URL, such as
// http://localhost:4317; https enables TLS. If endpoint is empty, the OTEL_EXPORTER_OTLP_*
// variables apply. GRPC does not wait for the collector.
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

// maxHeaderBytes limits the headers and trailers of a collector's response. grpc-go's default is
// 16 MiB.
const maxHeaderBytes = 64 << 10

// errEndpoint does not contain the URL, which may include a password.
var errEndpoint = errors.New("the endpoint must be an http or https URL with a host, such as http://localhost:4318")

func parse(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errEndpoint
	}
	return u, nil
}

// Stdout returns an exporter that writes spans to standard output, as JSON. It ignores its
// arguments.
func Stdout(context.Context, string) (trace.SpanExporter, error) {
	return stdouttrace.New(stdouttrace.WithWriter(os.Stdout)) //nolint:wrapcheck // wrapped by the caller
}

// All returns the exporters of this package by their names in the setting trace.exporter:
// otlp-http, otlp-grpc and stdout.
func All() map[string]func(ctx context.Context, endpoint string) (trace.SpanExporter, error) {
	return map[string]func(context.Context, string) (trace.SpanExporter, error){"otlp-http": HTTP, "otlp-grpc": GRPC, "stdout": Stdout}
}
