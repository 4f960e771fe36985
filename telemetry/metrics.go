package telemetry

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registerOwn registers the metrics of the runtime, the process, the build and telemetry itself.
func (t *Telemetry) registerOwn(service, version string) error {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "build_info", Help: "Always 1; the labels identify the service and its version.",
		ConstLabels: prometheus.Labels{"service": service, "version": version},
	})
	build.Set(1)
	all := []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(), build,
		counter("log_dropped_lines_total", "Log lines that the sink was too slow for or refused.", "", &t.sink.dropped),
	}
	if c := t.tracing.counters; len(c) > 0 {
		const dropped, help = "trace_dropped_spans_total", "Sampled spans that were lost, by reason."
		all = append(all,
			sum("trace_exported_spans_total", "Spans that a collector took.", "", c, func(c *spanCounter) uint64 { return c.exported.Load() }),
			sum(dropped, help, "queue_full", c, func(c *spanCounter) uint64 { return c.refused.Load() }),
			sum(dropped, help, "export_failed", c, func(c *spanCounter) uint64 { return c.failed.Load() }))
	}
	if s := t.tracker; s != nil {
		const dropped, help = "exceptions_dropped_total", "Exceptions that were lost, by reason."
		all = append(all,
			counter("exceptions_sent_total", "Exceptions that the tracker took.", "", &s.sent),
			counter(dropped, help, "queue_full", &s.refused),
			counter(dropped, help, "send_failed", &s.failed))
	}
	return t.register(append(all, t.outputsUp()...)...)
}

func (t *Telemetry) register(all ...prometheus.Collector) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, t.Registry.Register(c))
	}
	return errors.Join(errs...)
}

func counter(name, help, reason string, value *atomic.Uint64) prometheus.Collector {
	return counterFunc(name, help, reason, value.Load)
}

// sum returns a counter that adds up the results of value for all exporters.
func sum(name, help, reason string, of []*spanCounter, value func(*spanCounter) uint64) prometheus.Collector {
	return counterFunc(name, help, reason, func() (n uint64) {
		for _, c := range of {
			n += value(c)
		}
		return n
	})
}

func counterFunc(name, help, reason string, value func() uint64) prometheus.Collector {
	o := prometheus.CounterOpts{Name: name, Help: help}
	if reason != "" {
		o.ConstLabels = prometheus.Labels{"reason": reason}
	}
	return prometheus.NewCounterFunc(o, func() float64 { return float64(value()) })
}
