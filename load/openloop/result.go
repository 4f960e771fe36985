package openloop

import "time"

// Result is the result of a stream without the warm-up. Due is Sent plus Dropped, and Sent is OK
// plus Refused plus Failed.
type Result struct {
	Name     string  `json:"name"`
	Rate     float64 `json:"rate"`     // scheduled calls per second
	Achieved float64 `json:"achieved"` // calls per second that were accepted, until the last response
	Seconds  float64 `json:"seconds"`  // from the end of the warm-up to the last response, at least the duration
	Due      int64   `json:"due"`
	Sent     int64   `json:"sent"`
	OK       int64   `json:"ok"`
	Refused  int64   `json:"refused"`
	Failed   int64   `json:"failed"`
	Dropped  int64   `json:"dropped"`
	// Late is the maximum delay by which the driver itself started a call. It is part of that
	// call's latency: if it is close to the percentiles, they measure the driver's machine.
	Late time.Duration `json:"late_ns"`
	// Accepted and RefusedIn are the latencies of accepted and of refused calls.
	Accepted  Latency `json:"accepted"`
	RefusedIn Latency `json:"refused_in"`
	// Errors counts failures by error text: the first ten texts by name, all others as "other".
	Errors map[string]int64 `json:"errors,omitempty"`
}

// Latency contains percentiles of the time from the scheduled time of a call to its response.
type Latency struct {
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

const maxErrors = 10

func (r *Result) addError(err error) {
	text := err.Error()
	if _, known := r.Errors[text]; !known && len(r.Errors) >= maxErrors {
		text = "other"
	}
	r.Errors[text]++
}

func latencyOf(h *Histogram) Latency {
	return Latency{P50: h.Percentile(50), P90: h.Percentile(90), P99: h.Percentile(99), P999: h.Percentile(99.9), Max: h.Max()}
}
