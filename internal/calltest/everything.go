package calltest

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/schema/strictjson"
	"github.com/chassi-go/chassi/telemetry"
)

// Everything is what package standard puts around every call, with real sinks: the
// log goes to a file, one in a hundred traces to a collector that refuses them.
func Everything(b *testing.B) []chassi.Middleware {
	b.Helper()
	log, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	t, err := telemetry.New(b.Context(), "bench", "1", telemetry.Config{
		Trace: telemetry.TraceConfig{Exporter: "otlp-http", Endpoint: "http://127.0.0.1:1", Ratio: 0.01},
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
		middleware.Logging(t.Logger), counted, middleware.Exceptions(t.Report), middleware.Recover(),
		middleware.RateLimitPeer(unlimited, func(_ string, l ratelimit.Limit) middleware.Limiter {
			return ratelimit.New(ratelimit.Options{Limit: l})
		}),
		middleware.Deadline(10 * time.Second), middleware.Authentication(), middleware.RateLimitPrincipal(unlimited), middleware.Validation(),
	}
}

// DecodeJSON reads JSON as the transports do.
func DecodeJSON(data []byte, into any) error { return strictjson.Decode(data, into, 64) }
