package calltest

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

// Everything returns the middleware that package standard adds to every call, except the layers
// Concurrency and LoadShedding, with real outputs: the log is written to a file, and one trace in a
// hundred is exported to a collector that is not running. The rate limits per client and per
// principal are too high to be reached; the limits that endpoints declare apply.
func Everything(b *testing.B) []chassi.Middleware {
	b.Helper()
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	t, err := telemetry.New(b.Context(), "bench", "1", telemetry.Config{
		Trace: telemetry.TraceConfig{Exporter: "otlp-http", Exporters: exporters.All(), Endpoint: "http://127.0.0.1:1", Ratio: 0.01},
	}, log)
	if err == nil {
		err = t.Start(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = t.Stop(ctx) // the collector refuses what is left
		_ = log.Close()
	})
	counted, err := metrics.New(t.Registry)
	if err != nil {
		b.Fatal(err)
	}
	unlimited := ratelimit.New(ratelimit.Options{Limit: ratelimit.Limit{Rate: 10_000_000, Burst: 10_000_000}})
	return []chassi.Middleware{
		tracing.New(t.Tracer, t.Propagator, tracing.TrustNetworks(netip.MustParsePrefix("127.0.0.0/8"))),
		middleware.Logging(t.Logger), counted, middleware.ErrorReporting(t.Report), middleware.Recover(),
		middleware.RateLimitPeer(unlimited, func(_ string, l ratelimit.Limit) middleware.Limiter {
			return ratelimit.New(ratelimit.Options{Limit: l})
		}),
		middleware.Timeout(10 * time.Second), middleware.Authentication(), middleware.RateLimitPrincipal(unlimited), middleware.Validation(),
	}
}

// DecodeJSON decodes data, a JSON object with at most 64 levels of nesting, into the struct to
// which into points, as the transports do.
func DecodeJSON(data []byte, into any) error { return strictjson.Decode(data, into, 64) }
