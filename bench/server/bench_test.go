package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// discard is a response writer that keeps nothing, so that only the handler is
// measured.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

const body = `{"token":"eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6InVzZXJAZXhhbXBsZS5jb20ifQ.c2lnbmF0dXJl"}`

func drive(b *testing.B, h http.Handler) {
	b.Helper()
	probe := httptest.NewRecorder()
	h.ServeHTTP(probe, request(strings.NewReader(body)))
	if probe.Code != http.StatusOK || !strings.Contains(probe.Body.String(), "user@example.com") {
		b.Fatalf("%d %s", probe.Code, probe.Body)
	}
	reader := strings.NewReader(body)
	r, w := request(reader), &discard{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

func request(r io.Reader) *http.Request {
	request := httptest.NewRequest(http.MethodPost, "/v1/validate-token", r)
	request.Header.Set("Content-Type", "application/json")
	return request
}

func chassis(b *testing.B, around ...chassi.Middleware) http.Handler {
	b.Helper()
	server, err := httpapi.New(httpapi.Config{}, around...)
	if err != nil {
		b.Fatal(err)
	}
	err = server.Mount(chassi.NewService("bench.v1.Tokens",
		chassi.NewEndpoint("ValidateToken", func(_ context.Context, r *validateRequest) (*emailResponse, error) {
			email, err := trivial(r.Token)
			return &emailResponse{Email: email}, err
		}, chassi.Route("POST /v1/validate-token"), chassi.Public)))
	if err != nil {
		b.Fatal(err)
	}
	return server
}

func BenchmarkHandwritten(b *testing.B) { drive(b, handwritten(trivial)) }

func BenchmarkChassiBare(b *testing.B) { drive(b, chassis(b)) }

func BenchmarkChassiFull(b *testing.B) {
	b.Setenv("LOG", filepath.Join(b.TempDir(), "log"))
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
	b.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	telemetry, around, err := features(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer telemetry.Stop(context.Background())
	drive(b, chassis(b, around...))
}
