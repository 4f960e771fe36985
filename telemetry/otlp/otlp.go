// Package otlp makes the exporters for OpenTelemetry's own protocol. They are
// apart because both link grpc-go.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/trace"
)

// HTTP exports over HTTP to endpoint, the collector's URL, such as
// http://localhost:4318; without a path it gets the standard one, /v1/traces. An
// empty one leaves it to the OTEL_EXPORTER_OTLP_* variables. It does not wait for
// the collector.
func HTTP(ctx context.Context, endpoint string) (trace.SpanExporter, error) {
	var options []otlptracehttp.Option
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

// GRPC exports over gRPC to endpoint, such as http://localhost:4317; https is
// with TLS. See [HTTP].
func GRPC(ctx context.Context, endpoint string) (trace.SpanExporter, error) {
	var options []otlptracegrpc.Option
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

// errEndpoint does not repeat the URL, which may hold a password.
var errEndpoint = errors.New("the endpoint is not a URL of http or https with a host, such as http://localhost:4318")

func parse(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errEndpoint
	}
	return u, nil
}
