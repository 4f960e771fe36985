package telemetry

import (
	"database/sql"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// PoolStats contains the statistics of a worker pool: its size, and the numbers of
// tasks now and in total.
type PoolStats struct {
	Workers, Busy, Queued, QueueSize                int
	Submitted, Completed, Refused, Canceled, Panics uint64
}

// RegisterPool registers the metrics workpool_*{pool} of the worker pool with the
// given name. Each scrape calls stats. RegisterPool returns an error if the name is
// already registered.
func (t *Telemetry) RegisterPool(name string, stats func() PoolStats) error {
	labels := prometheus.Labels{"pool": name}
	gauge := func(metric, help string, read func(PoolStats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "workpool_" + metric, Help: help, ConstLabels: labels},
			func() float64 { return float64(read(contained(stats))) })
	}
	count := func(metric, help string, read func(PoolStats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "workpool_" + metric + "_total", Help: help, ConstLabels: labels},
			func() float64 { return float64(read(contained(stats))) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		gauge("workers", "Tasks that may run at once.", func(s PoolStats) int { return s.Workers }),
		gauge("busy", "Tasks that run.", func(s PoolStats) int { return s.Busy }),
		gauge("queued", "Tasks that wait.", func(s PoolStats) int { return s.Queued }),
		gauge("queue_size", "Tasks that may wait.", func(s PoolStats) int { return s.QueueSize }),
		count("submitted", "Tasks accepted.", func(s PoolStats) uint64 { return s.Submitted }),
		count("completed", "Tasks done.", func(s PoolStats) uint64 { return s.Completed }),
		count("refused", "Tasks refused because the pool was full.", func(s PoolStats) uint64 { return s.Refused }),
		count("canceled", "Tasks whose caller gave up while they waited.", func(s PoolStats) uint64 { return s.Canceled }),
		count("panics", "Tasks that panicked.", func(s PoolStats) uint64 { return s.Panics }),
	} {
		errs = append(errs, t.Registry.Register(c))
	}
	return errors.Join(errs...)
}

// dbCollector collects the metrics of a database pool. It reads the statistics at each scrape, so
// that the pool may be opened after the registration.
type dbCollector struct {
	stats func() sql.DBStats
	open  *prometheus.Desc
	inUse *prometheus.Desc
	idle  *prometheus.Desc
	waits *prometheus.Desc
	spent *prometheus.Desc
	limit *prometheus.Desc
}

// RegisterConnections registers the metrics connections_{open,refused_total}{server} of
// a server. Each scrape calls counts, which returns the number of open connections
// and the total number of refused connections. RegisterConnections returns an error
// if the server is already registered.
func (t *Telemetry) RegisterConnections(server string, counts func() (open, refused int64)) error {
	labels := prometheus.Labels{"server": server}
	return errors.Join(
		t.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "connections_open", Help: "Connections open.", ConstLabels: labels,
		}, func() float64 { return contained(func() float64 { open, _ := counts(); return float64(open) }) })),
		t.Registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "connections_refused_total", Help: "Connections refused because too many were open.", ConstLabels: labels,
		}, func() float64 { return contained(func() float64 { _, refused := counts(); return float64(refused) }) })))
}

// RegisterRefusedClients registers the counter connections_refused_clients_total{server} of the
// connections refused because their client had too many open. Each scrape calls refused, which
// returns the total number of these connections. RegisterRefusedClients returns an error if the
// server is already registered.
func (t *Telemetry) RegisterRefusedClients(server string, refused func() int64) error {
	return t.Registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{ //nolint:wrapcheck // says enough
		Name: "connections_refused_clients_total", Help: "Connections refused because their client had too many open.",
		ConstLabels: prometheus.Labels{"server": server},
	}, func() float64 { return float64(contained(refused)) }))
}

// RegisterEvents registers a counter with the label "event". It returns a function that
// counts an event, and an error if the name is invalid or already registered. The set of
// events must be small and fixed.
func (t *Telemetry) RegisterEvents(name, help string) (count func(event string), err error) {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"event"})
	return func(event string) { counter.WithLabelValues(event).Inc() }, t.Registry.Register(counter)
}

// RegisterDB registers the metrics db_pool_*{pool} of the database pool with the given name. Each
// scrape calls stats. RegisterDB returns an error if the name is already registered.
func (t *Telemetry) RegisterDB(name string, stats func() sql.DBStats) error {
	labels := prometheus.Labels{"pool": name}
	desc := func(metric, help string) *prometheus.Desc {
		return prometheus.NewDesc("db_pool_"+metric, help, nil, labels)
	}
	return t.Registry.Register(&dbCollector{ //nolint:wrapcheck // says enough
		stats: stats,
		open:  desc("open", "Connections open."),
		inUse: desc("in_use", "Connections in use."),
		idle:  desc("idle", "Connections open and not in use."),
		limit: desc("max_open", "Connections that may be open; 0 is no limit."),
		waits: desc("waits_total", "Times that a connection was waited for."),
		spent: desc("wait_seconds_total", "Time spent waiting for connections."),
	})
}

// Describe implements [prometheus.Collector].
func (c *dbCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.open, c.inUse, c.idle, c.limit, c.waits, c.spent} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *dbCollector) Collect(to chan<- prometheus.Metric) {
	s := contained(c.stats)
	to <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, float64(s.OpenConnections))
	to <- prometheus.MustNewConstMetric(c.inUse, prometheus.GaugeValue, float64(s.InUse))
	to <- prometheus.MustNewConstMetric(c.idle, prometheus.GaugeValue, float64(s.Idle))
	to <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(s.MaxOpenConnections))
	to <- prometheus.MustNewConstMetric(c.waits, prometheus.CounterValue, float64(s.WaitCount))
	to <- prometheus.MustNewConstMetric(c.spent, prometheus.CounterValue, s.WaitDuration.Seconds())
}

var _ prometheus.Collector = (*dbCollector)(nil)

// RemoteStats contains the statistics of the client of another service.
type RemoteStats struct {
	Instances map[string]int    // by state: "ejected", or that of the breaker, such as "open"
	InFlight  int               // calls in flight
	Events    map[string]uint64 // by kind, such as "retry", "hedge" or "breaker_open"
}

// RegisterRemote registers the metrics client_instances{service,state}, client_in_flight{service}
// and client_events_total{service,event} of the client of another service. Each scrape calls stats.
// There is no series per instance, because instances change. RegisterRemote returns an error if the
// service is already registered.
func (t *Telemetry) RegisterRemote(service string, stats func() RemoteStats) error {
	labels := prometheus.Labels{"service": service}
	return t.Registry.Register(&remoteCollector{ //nolint:wrapcheck // says enough
		stats:     stats,
		instances: prometheus.NewDesc("client_instances", "Instances of a service that is called, by the state of their breakers.", []string{"state"}, labels),
		inFlight:  prometheus.NewDesc("client_in_flight", "Calls of a service under way.", nil, labels),
		events:    prometheus.NewDesc("client_events_total", "What the client of a service did about failures.", []string{"event"}, labels),
	})
}

type remoteCollector struct {
	stats                       func() RemoteStats
	instances, inFlight, events *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *remoteCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.instances, c.inFlight, c.events} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *remoteCollector) Collect(to chan<- prometheus.Metric) {
	s := contained(c.stats)
	for state, n := range s.Instances {
		to <- prometheus.MustNewConstMetric(c.instances, prometheus.GaugeValue, float64(n), state)
	}
	to <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(s.InFlight))
	for event, n := range s.Events {
		to <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), event)
	}
}

// OverloadStats contains the statistics of an overload limiter.
type OverloadStats struct {
	Limit, InFlight int    // calls that may be in flight, and calls in flight
	Refused         uint64 // calls refused so far
}

// RegisterOverload registers the metrics overload_{limit,in_flight,refused_total}{server} of
// the overload limiter of a server. Each scrape calls stats. RegisterOverload returns an error
// if the server is already registered.
func (t *Telemetry) RegisterOverload(server string, stats func() OverloadStats) error {
	labels := prometheus.Labels{"server": server}
	gauge := func(name, help string, read func(OverloadStats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "overload_" + name, Help: help, ConstLabels: labels},
			func() float64 { return float64(read(contained(stats))) })
	}
	return errors.Join(
		t.Registry.Register(gauge("limit", "Calls that may be under way.", func(s OverloadStats) int { return s.Limit })),
		t.Registry.Register(gauge("in_flight", "Calls that are under way.", func(s OverloadStats) int { return s.InFlight })),
		t.Registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "overload_refused_total", Help: "Calls refused because too many were under way.", ConstLabels: labels,
		}, func() float64 { return float64(contained(stats).Refused) })),
	)
}
