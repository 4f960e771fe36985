// Package remote adds clients of other services to an App of package standard, with discovery,
// load balancing, retries and circuit breakers. It is a separate package so that services without
// clients do not link it.
package remote

import (
	"fmt"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/telemetry"
)

// Config configures the client of another service: the address of the service and the policy for
// calls to it. It is the type of a field of a program's configuration.
type Config struct {
	Target string `config:"target" help:"host:port; static:HOST:PORT,HOST:PORT; dns:HOST:PORT for all addresses of a name; srv:NAME for SRV records"`

	client.Policy
}

// Validate returns an error if the target is invalid. An empty target is valid.
func (c Config) Validate() error {
	if c.Target == "" {
		return nil
	}
	if _, err := discovery.Parse(c.Target); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// Add returns the cluster for calls to another service. The App starts and stops the cluster, and
// exposes its state in the metrics and in the details of readiness. The argument name is the name
// of the service, and dial returns a client for one address. If source is not nil, for example a
// registry, it provides the addresses instead of c.Target. If source is nil and c.Target is empty,
// the only address is "". Add first calls dial for a placeholder address, or for "" if that is the
// only address. It returns an error if c is invalid, if this call of dial fails, or if the name was
// added before.
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
