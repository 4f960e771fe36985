package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/chassi-go/chassi/load/openloop"
)

// report is the result of a run. With --json, it is printed as JSON.
type report struct {
	Transport string   `json:"transport"`
	Target    string   `json:"target"`
	Scenario  string   `json:"scenario"`
	Phases    []*phase `json:"phases"`
}

// phase contains the results of the streams that ran concurrently, and the rate given for them.
type phase struct {
	Rate    float64            `json:"rate"`
	Streams []*openloop.Result `json:"streams"`
}

func (r *report) printJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// judge returns an error if calls of a stream were due and none was accepted, because the figures of
// the stream are then meaningless.
func (r *report) judge() error {
	for _, p := range r.Phases {
		for _, s := range p.Streams {
			if s.OK == 0 && s.Due > 0 {
				return fmt.Errorf("none of the %d calls of %s at %v per second was accepted", s.Due, s.Name, s.Rate)
			}
		}
	}
	return nil
}

func printHead(out io.Writer, o options) {
	fmt.Fprintf(out, "%s over %s at %s, %s arrivals, %v after %v of warm-up; ms from when each call was due\n",
		o.scenario, o.transport, redacted(o.target), o.arrivals, o.duration, o.warmup)
	fmt.Fprintf(out, "%-17s %8s %8s %8s %8s %8s %7s %7s %9s %9s %9s %9s %9s\n",
		"calls", "rate/s", "ok/s", "sent", "ok", "refused", "failed", "dropped", "p50", "p90", "p99", "p99.9", "max")
}

func (p *phase) print(out io.Writer) {
	for _, s := range p.Streams {
		fmt.Fprintf(out, "%-17s %8.4g %8.1f %8d %8d %8d %7d %7d%s\n",
			s.Name, s.Rate, s.Achieved, s.Sent, s.OK, s.Refused, s.Failed, s.Dropped, columns(s.Accepted))
		if s.Refused > 0 {
			fmt.Fprintf(out, "%-17s %59s%s\n", "  refused", "", columns(s.RefusedIn))
		}
		for _, text := range slices.Sorted(maps.Keys(s.Errors)) {
			fmt.Fprintf(out, "  failed: %d x %s\n", s.Errors[text], text)
		}
		if s.Late > s.Accepted.P99 && s.Late > time.Millisecond {
			fmt.Fprintf(out, "  the driver itself was late by up to %s ms: its machine is busy\n", ms(s.Late))
		}
	}
}

func columns(l openloop.Latency) string {
	return fmt.Sprintf(" %9s %9s %9s %9s %9s", ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
