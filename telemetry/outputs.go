package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Output is a destination of telemetry data.
type Output struct {
	Name string // "log", "traces" or "exceptions"
	// State returns "ok" or "degraded", and a summary of the output so far, such as "3 lines
	// dropped" or "9 spans exported, 3 dropped". It does not block.
	State func() (status, detail string)
}

// Outputs returns the enabled outputs, for the detailed readiness report.
func (t *Telemetry) Outputs() []Output {
	outputs := []Output{{"log", func() (string, string) {
		return state(!t.sink.failing.Load()), fmt.Sprintf("%d lines dropped", t.sink.dropped.Load())
	}}}
	if len(t.tracing.counters) > 0 {
		outputs = append(outputs, Output{"traces", func() (string, string) {
			var exported, dropped uint64
			up := true
			for _, c := range t.tracing.counters {
				exported += c.exported.Load()
				dropped += c.refused.Load() + c.failed.Load()
				up = up && !c.outage.Down()
			}
			return state(up), fmt.Sprintf("%d spans exported, %d dropped", exported, dropped)
		}})
	}
	if s := t.tracker; s != nil {
		outputs = append(outputs, Output{"exceptions", func() (string, string) {
			return state(!s.outage.Down()), fmt.Sprintf("%d exceptions sent, %d dropped", s.sent.Load(), s.refused.Load()+s.failed.Load())
		}})
	}
	return outputs
}

func state(up bool) string {
	if up {
		return "ok"
	}
	return "degraded"
}

// outputsUp returns the metrics that show which outputs accepted their latest data.
func (t *Telemetry) outputsUp() (all []prometheus.Collector) {
	for _, o := range t.Outputs() {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "telemetry_output_up", Help: "Whether an output of telemetry took what was last sent to it.",
			ConstLabels: prometheus.Labels{"output": o.Name},
		}, func() float64 { status, _ := o.State(); return number(status == "ok") }))
	}
	return all
}
