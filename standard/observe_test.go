package standard_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/transport"
)

// part is a server whose Check fails when it is to.
type part struct {
	chassi.Component
	broken atomic.Bool
}

func newPart(name string) *part { return &part{Component: chassi.ComponentFunc(name, nil, nil)} }

func (p *part) Check(context.Context) error {
	if p.broken.Load() {
		return errors.New("connection refused")
	}
	return nil
}

// Each component is among the metrics, with its state and whether readiness needs it; so are
// the figures of brokers, outputs and certificates, whose trouble leaves the service ready.
func TestComponentsAreInMetricsAndReadiness(t *testing.T) {
	t.Parallel()
	files, issued := t.TempDir(), certtest.Issue(t, "test", nil, time.Now().Add(24*time.Hour))
	args := []string{"--grpc.tls.cert_file=" + filepath.Join(files, "cert"), "--grpc.tls.key_file=" + filepath.Join(files, "key")}
	for name, data := range map[string][]byte{"cert": issued.Cert, "key": issued.Key} {
		if err := os.WriteFile(filepath.Join(files, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, cache := newPart("store"), newPart("cache")
	r := startWith(t, defaults(t, args...), func(r *running) {
		r.Add(store, chassi.Optional(cache))
		if err := r.ObserveBroker("other", func() transport.BrokerStats {
			return transport.BrokerStats{Connected: map[string]bool{"client": true}, DeadLettered: map[string]uint64{"jobs": 3}}
		}); err != nil {
			t.Error(err)
		}
	})
	defer r.stop(t)
	shows := func(what string, lines ...string) {
		t.Helper()
		var text string
		await(t, what, func() bool {
			_, text = get(t, r.Admin.Addr(), "/metrics")
			for _, line := range lines {
				if !strings.Contains(text, line+"\n") {
					return false
				}
			}
			return true
		})
	}
	shows("all is well",
		`component_up{component="store",required="true"} 1`, `component_up{component="cache",required="false"} 1`,
		`component_up{component="nats",required="true"} 1`, `component_up{component="log",required="false"} 1`,
		`component_up{component="tls_grpc",required="false"} 0`, // it expires tomorrow
		`broker_connected{broker="nats",connection="requests"} 1`, `broker_reconnects_total{broker="nats",connection="responses"} 0`,
		`broker_connected{broker="other",connection="client"} 1`, `broker_dead_lettered_total{broker="other",queue="jobs"} 3`,
		`telemetry_output_up{output="log"} 1`, `tls_certificate_reload_failures_total{server="grpc"} 0`)
	if status, text := get(t, r.Admin.Addr(), "/readyz"); status != 200 || !strings.Contains(text, `"tls_grpc":{"status":"degraded","detail":"expires in 2`) || !strings.Contains(text, `"log":{"status":"ok","detail":"0 lines dropped"`) {
		t.Errorf("%d %s", status, text)
	}
	store.broken.Store(true)
	cache.broken.Store(true)
	shows("both are away", `component_up{component="store",required="true"} 0`, `component_up{component="cache",required="false"} 0`)
	store.broken.Store(false)
	shows("one is back", `component_up{component="store",required="true"} 1`, `component_up{component="cache",required="false"} 0`)
	if status, text := get(t, r.Admin.Addr(), "/readyz"); status != 200 {
		t.Errorf("%d %s", status, text)
	}
}
