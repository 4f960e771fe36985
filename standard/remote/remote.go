// Package remote adds the client of another service to an App of package standard: discovery,
// load balancing, retries and circuit breakers. It is a separate package so that services
// without clients do not link it.
package remote

import (
	"fmt"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/telemetry"
)

// Config is a field of a program's configuration: the address of another service and the policy for
// calls of that service.
type Config struct {
	Target string `config:"target" help:"host:port; static:HOST:PORT,HOST:PORT; dns:HOST:PORT for all addresses of a name; srv:NAME for SRV records"`

	client.Policy
}

// Validate returns an error if the target is invalid.
func (c Config) Validate() error {
	if c.Target == "" {
		return nil
	}
	if _, err := discovery.Parse(c.Target); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// Add returns the cluster for calls of another service. The App starts and stops it, and
// exposes its state in the metrics and in the details of readiness. Name is the name of the
// service. If source is not nil, such as that of a registry, it replaces c.Target.
//
//	cluster, err := remote.Add(app, "auth", c.Auth, nil, func(addr string) (client.Caller, error) {
//		return grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
//	})
//	users, err := auth.NewClient(cluster, app.Outgoing...)
func Add(app *standard.App, name string, c Config, source discovery.Source, dial func(addr string) (client.Caller, error)) (*client.Cluster, error) {
	if source == nil && c.Target != "" {
		var err error
		if source, err = discovery.Parse(c.Target); err != nil {
			return nil, fmt.Errorf("target of %s: %w", name, err)
		}
	}
	cluster, err := client.NewCluster(client.ClusterOptions{Name: name, Policy: c.Policy, Source: source, Dial: dial, Logger: app.Logger})
	if err != nil {
		return nil, err //nolint:wrapcheck // says where
	}
	app.Add(cluster)
	app.AddStatus(name, func() (status, detail string) { stats := cluster.Stats(); return stats.Status(), stats.String() })
	return cluster, app.Telemetry.RegisterRemote(name, func() telemetry.RemoteStats { return statsOf(cluster.Stats()) }) //nolint:wrapcheck // says where
}

func statsOf(s client.Stats) telemetry.RemoteStats {
	r := telemetry.RemoteStats{
		InFlight:  s.InFlight,
		Instances: map[string]int{"closed": 0, "half-open": 0, "open": 0, "ejected": 0},
		Events: map[string]uint64{
			"retry": s.Retries, "hedge": s.Hedges, "bulkhead_full": s.BulkheadFull, "ejection": s.Ejections,
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
