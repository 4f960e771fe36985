package telemetry

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/telemetry/exporters"
)

// What says where spans go, and with which credentials, is an error if it cannot be used;
// the rest is warned of.
func TestOTLPVariablesThatCannotBeUsed(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	const endpoint, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for name, c := range map[string]struct {
		env           map[string]string
		problem, warn string
	}{
		"no scheme":           {map[string]string{endpoint: "127.0.0.1:14317"}, endpoint + ` ("127.0.0.1:14317") must be an http or https URL`, ""},
		"a name and a port":   {map[string]string{endpoint: "collector:4318"}, endpoint + ` ("collector:4318") must be an http or https URL`, ""},
		"no host":             {map[string]string{endpoint: "http://"}, "such as http://HOST:4318", ""},
		"of traces":           {map[string]string{traces: "collector"}, traces, ""},
		"with a password":     {map[string]string{endpoint: "ftp://u:canary@h"}, endpoint, ""},
		"unused":              {map[string]string{endpoint: "collector", "OTEL_TRACES_EXPORTER": "none"}, "", ""},
		"disabled":            {map[string]string{endpoint: "collector", "OTEL_SDK_DISABLED": "true"}, "", ""},
		"not over OTLP":       {map[string]string{endpoint: "collector", "OTEL_TRACES_EXPORTER": "console"}, "", ""},
		"over gRPC":           {map[string]string{endpoint: "collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, endpoint, ""},
		"headers":             {map[string]string{endpoint: "http://h", "OTEL_EXPORTER_OTLP_HEADERS": "a=b,canary"}, "header 2 is invalid", ""},
		"name of a header":    {map[string]string{endpoint: "http://h", "OTEL_EXPORTER_OTLP_HEADERS": "a b=canary"}, "header 1 is invalid", ""},
		"value of a header":   {map[string]string{endpoint: "http://h", "OTEL_EXPORTER_OTLP_HEADERS": "a=canary%0a"}, "header 1 is invalid", ""},
		"no such certificate": {map[string]string{endpoint: "https://h", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such"}, "OTEL_EXPORTER_OTLP_CERTIFICATE must be a file", ""},
		"not a certificate":   {map[string]string{endpoint: "https://h", "OTEL_EXPORTER_OTLP_CERTIFICATE": text}, "certificates in PEM", ""},
		"half a pair":         {map[string]string{endpoint: "https://h", "OTEL_EXPORTER_OTLP_CLIENT_KEY": text}, "must be set together", ""},
		"not a pair":          {map[string]string{endpoint: "https://h", "OTEL_EXPORTER_OTLP_CLIENT_KEY": text, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": text}, "a certificate and its key", ""},
		"two at once":         {map[string]string{endpoint: "h", "OTEL_EXPORTER_OTLP_HEADERS": "canary"}, "\nOTEL_EXPORTER_OTLP_HEADERS", ""},

		"timeout":     {map[string]string{endpoint: "http://h", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "", "OTEL_EXPORTER_OTLP_TIMEOUT"},
		"compression": {map[string]string{endpoint: "http://h", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "", "OTEL_EXPORTER_OTLP_COMPRESSION"},
		"insecure":    {map[string]string{endpoint: "http://h", "OTEL_EXPORTER_OTLP_INSECURE": "yes"}, "", "OTEL_EXPORTER_OTLP_INSECURE"},
		"queue":       {map[string]string{endpoint: "http://h", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "", "OTEL_BSP_MAX_QUEUE_SIZE"},
		"limit":       {map[string]string{endpoint: "http://h", "OTEL_SPAN_EVENT_COUNT_LIMIT": "many"}, "", "OTEL_SPAN_EVENT_COUNT_LIMIT"},
		"ratio":       {map[string]string{endpoint: "http://h", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "50%"}, "", "OTEL_TRACES_SAMPLER_ARG"},
		"disable":     {map[string]string{endpoint: "http://h", "OTEL_SDK_DISABLED": "yes"}, "", "OTEL_SDK_DISABLED"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range c.env {
				t.Setenv(key, value)
			}
			w := newWriter()
			close(w.opened)
			tel, err := New(t.Context(), "shop", "1.2.3", Config{Trace: TraceConfig{Exporters: exporters.All()}}, w)
			if err == nil {
				stopInTime(t, tel)
			}
			if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%v, want %q", err, c.problem)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("shows a secret: %v", err)
			}
			if c.warn != "" && !strings.Contains(w.String(), c.warn) {
				t.Errorf("no warning of %s in: %s", c.warn, w)
			}
		})
	}
}

// A collector that responds with rubbish costs a bounded log line, and receives no other collector's
// API key.
func TestHostileCollectors(t *testing.T) {
	stolen := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if key := r.Header.Get("X-Api-Key"); key != "" {
			stolen <- key
		}
	}))
	defer thief.Close()
	large := bytes.Repeat([]byte("x"), 8<<20)
	for name, handler := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		},
		"large error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(large)
		},
		"large success": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(large) },
		"large header":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Large", string(large[:1<<20])) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			_, _ = w.Write([]byte("<html>"))
		},
		"absurd pause": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9223372036854775807")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=canary")
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
			server := httptest.NewServer(handler)
			defer server.Close()
			tel, w := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: server.URL, Ratio: 1}})
			_, span := tel.Tracer.Tracer("test").Start(t.Context(), "x")
			span.End()
			stopInTime(t, tel)
			if text := w.String(); len(text) > 4<<10 || !strings.Contains(text, "spans") || strings.Contains(text, "canary") {
				t.Errorf("%d bytes logged: %.500s", len(text), text)
			}
		})
	}
	select {
	case key := <-stolen:
		t.Errorf("the redirect carried the API key %q elsewhere", key)
	case <-time.After(time.Millisecond):
	}
}
