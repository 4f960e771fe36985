package telemetry

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chassi-go/chassi/internal/contain"
)

// Component is the state of a component of the service, such as a database that it depends on.
type Component struct {
	Name     string
	Required bool // whether the service is not ready without the component
	Up       bool // whether the component works
}

// RegisterComponents registers the gauge component_up{component,required} of the
// components of a service. Each scrape calls components. RegisterComponents returns an
// error if the gauge is already registered.
func (t *Telemetry) RegisterComponents(components func() []Component) error {
	return t.Registry.Register(&componentsCollector{ //nolint:wrapcheck // says enough
		components: components,
		up: prometheus.NewDesc("component_up", "Whether a component of the service works, as readiness says; without a required one the service is not ready.",
			[]string{"component", "required"}, nil),
	})
}

type componentsCollector struct {
	components func() []Component
	up         *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *componentsCollector) Describe(to chan<- *prometheus.Desc) { to <- c.up }

// Collect implements [prometheus.Collector].
func (c *componentsCollector) Collect(to chan<- prometheus.Metric) {
	for _, one := range contained(c.components) {
		to <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, number(one.Up), one.Name, strconv.FormatBool(one.Required))
	}
}

// contained returns the result of f, or the zero value if f panics. The registry calls collectors
// in its own goroutines, where a panic would end the process.
func contained[T any](f func() T) (result T) {
	contain.Run(nil, "a function that metrics are read from", func() { result = f() })
	return result
}

// number returns 1 for true and 0 for false.
func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// BrokerStats contains the statistics of a server or client of a message broker.
type BrokerStats struct {
	Connected    map[string]bool   // whether a connection is up, by connection
	Reconnects   map[string]uint64 // number of reconnects, by connection
	Consumers    int               // queues and subjects that are consumed
	InFlight     int               // calls and messages in progress
	DeadLettered map[string]uint64 // number of dead-lettered messages, by work queue
}

// RegisterBroker registers the metrics broker_{connected,reconnects_total}{broker,connection},
// broker_{consumers,in_flight}{broker} and broker_dead_lettered_total{broker,queue} of a server
// or client of a message broker, with name as the value of the label broker. Each scrape calls
// stats. RegisterBroker returns an error if the name is already registered.
func (t *Telemetry) RegisterBroker(name string, stats func() BrokerStats) error {
	labels := prometheus.Labels{"broker": name}
	desc := func(metric, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("broker_"+metric, help, variable, labels)
	}
	return t.Registry.Register(&brokerCollector{ //nolint:wrapcheck // says enough
		stats:      stats,
		connected:  desc("connected", "Whether the connection is up.", "connection"),
		reconnects: desc("reconnects_total", "Times that the connection was made again.", "connection"),
		consumers:  desc("consumers", "Queues and subjects that are consumed now."),
		inFlight:   desc("in_flight", "Calls and messages that are worked on."),
		dead:       desc("dead_lettered_total", "Messages that were moved to the dead-letter queue.", "queue"),
	})
}

type brokerCollector struct {
	stats                                            func() BrokerStats
	connected, reconnects, consumers, inFlight, dead *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *brokerCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connected, c.reconnects, c.consumers, c.inFlight, c.dead} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *brokerCollector) Collect(to chan<- prometheus.Metric) {
	s := contained(c.stats)
	for connection, up := range s.Connected {
		to <- prometheus.MustNewConstMetric(c.connected, prometheus.GaugeValue, number(up), connection)
	}
	for connection, n := range s.Reconnects {
		to <- prometheus.MustNewConstMetric(c.reconnects, prometheus.CounterValue, float64(n), connection)
	}
	to <- prometheus.MustNewConstMetric(c.consumers, prometheus.GaugeValue, float64(s.Consumers))
	to <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(s.InFlight))
	for queue, n := range s.DeadLettered {
		to <- prometheus.MustNewConstMetric(c.dead, prometheus.CounterValue, float64(n), queue)
	}
}

// CertificateStats contains the statistics of a server's certificate.
type CertificateStats struct {
	NotAfter       float64 // when the certificate expires, in seconds since 1970
	FailedReloads  uint64  // changes of the files that could not be used
	ReloadsFailing bool    // whether the current files are unusable
}

// RegisterCertificate registers the metrics
// tls_certificate_{not_after_seconds,reload_failures_total,reload_failing}{server} of the
// certificate of a server. Each scrape calls stats. RegisterCertificate returns an error if
// the server is already registered.
func (t *Telemetry) RegisterCertificate(server string, stats func() CertificateStats) error {
	labels := prometheus.Labels{"server": server}
	return t.register(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tls_certificate_not_after_seconds", Help: "When the certificate expires, in seconds since 1970.", ConstLabels: labels,
		}, func() float64 { return contained(stats).NotAfter }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tls_certificate_reload_failing", ConstLabels: labels,
			Help: "Whether the files hold a certificate that cannot be used, so that an older one stays in use.",
		}, func() float64 { return number(contained(stats).ReloadsFailing) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tls_certificate_reload_failures_total", Help: "Changes of the files that could not be used.", ConstLabels: labels,
		}, func() float64 { return float64(contained(stats).FailedReloads) }))
}
