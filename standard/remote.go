package standard

import (
	"fmt"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/telemetry"
)

// Remote is the part of a program's configuration that says where another service is
// and how it is called.
type Remote struct {
	Target string `config:"target" help:"host:port; static:HOST:PORT,HOST:PORT; dns:HOST:PORT for all addresses of a name; srv:NAME for SRV records"`

	client.Policy
}

// Cluster makes what the client of another service calls through, and looks after it: the
// App starts and stops it, its metrics are registered, and the detail of readiness
// tells how its instances do. A source instead of r.Target is that of a registry. Name is the service's.
//
//	cluster, err := std.Cluster("auth", cfg.Auth, nil, func(addr string) (client.Caller, error) {
//		return grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
//	})
//	authService, err := auth.NewClient(cluster, std.Outgoing...)
func (s *Standard) Cluster(name string, r Remote, source discovery.Source, dial func(addr string) (client.Caller, error)) (*client.Cluster, error) {
	if source == nil && r.Target != "" {
		var err error
		if source, err = discovery.Parse(r.Target); err != nil {
			return nil, fmt.Errorf("target of %s: %w", name, err)
		}
	}
	c, err := client.NewCluster(client.ClusterOptions{Name: name, Policy: r.Policy, Source: source, Dial: dial, Logger: s.Telemetry.Logger})
	if err != nil {
		return nil, err //nolint:wrapcheck // says where
	}
	s.Manage(c)
	s.Inform(name, func() (status, detail string) { stats := c.Stats(); return stats.Status(), stats.String() })
	return c, s.Telemetry.RegisterRemote(name, func() telemetry.RemoteStats { return remoteStats(c.Stats()) }) //nolint:wrapcheck // says where
}

func remoteStats(s client.Stats) telemetry.RemoteStats {
	r := telemetry.RemoteStats{
		InFlight:  s.InFlight,
		Instances: map[string]int{"closed": 0, "half-open": 0, "open": 0, "ejected": 0},
		Events: map[string]uint64{
			"retry": s.Retries, "hedge": s.Hedges, "bulkhead_full": s.Crowded, "ejection": s.Ejections,
			"breaker_open": s.BreakersOpened, "breaker_half_open": s.BreakersHalfOpen, "breaker_closed": s.BreakersClosed,
		},
	}
	for _, i := range s.Instances {
		state := i.Breaker.String()
		if i.Ejected && i.Breaker == breaker.Closed {
			state = "ejected"
		}
		r.Instances[state]++
	}
	return r
}
