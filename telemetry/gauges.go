package telemetry

import "github.com/prometheus/client_golang/prometheus"

// RegisterGauges registers a gauge with the given name, help text and label. Each
// scrape calls values, which returns the value of the gauge for each value of the
// label. The values of the label must be few and fixed. RegisterGauges returns an error
// if the name is invalid or already registered.
func (t *Telemetry) RegisterGauges(name, help, label string, values func() map[string]float64) error {
	return t.Registry.Register(&gaugesCollector{ //nolint:wrapcheck // says enough
		desc: prometheus.NewDesc(name, help, []string{label}, nil), values: values,
	})
}

type gaugesCollector struct {
	desc   *prometheus.Desc
	values func() map[string]float64
}

// Describe implements [prometheus.Collector].
func (c *gaugesCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements [prometheus.Collector].
func (c *gaugesCollector) Collect(to chan<- prometheus.Metric) {
	for label, value := range contained(c.values) {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, label)
	}
}
