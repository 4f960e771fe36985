package tracing_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

// BenchmarkServer measures calls of which none is sampled, without an exporter and with
// one: without a traceparent, and with one from a peer that is trusted or is not.
func BenchmarkServer(b *testing.B) {
	for _, exporter := range []string{"none", "otlp-http"} {
		t, err := telemetry.New(b.Context(), "bench", "1", telemetry.Config{
			Trace: telemetry.TraceConfig{Exporter: exporter, Endpoint: "http://127.0.0.1:1", Ratio: 0, Exporters: exporters.All()},
		}, io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = t.Stop(ctx) // nothing was sampled
		})
		unsampled := traceparent[:len(traceparent)-1] + "0"
		for name, c := range map[string]struct {
			parent  string
			trusted tracing.Trust
		}{
			"no parent": {"", loopback}, "trusted": {unsampled, everybody}, "untrusted": {unsampled, loopback},
		} {
			b.Run(exporter+"/"+name, func(b *testing.B) {
				th := calltest.New(calltest.Fine, chassi.Public)
				th.Call.In.Set("Traceparent", c.parent)
				handler := tracing.New(t.Tracer, t.Propagator, c.trusted)(th.Binding, func(context.Context, *chassi.Call) error { return nil })
				b.ReportAllocs()
				for b.Loop() {
					_ = handler(b.Context(), th.Call)
				}
			})
		}
	}
}
