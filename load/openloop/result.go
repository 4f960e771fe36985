package openloop

import "time"

// Result is the result of a stream, without its warm-up. Due is Sent plus Dropped, and Sent is OK
// plus Refused plus Failed.
type Result struct {
	Name     string  `json:"name"`
	Rate     float64 `json:"rate"`     // scheduled calls per second
	Achieved float64 `json:"achieved"` // accepted calls per second: OK divided by Seconds
	Seconds  float64 `json:"seconds"`  // from the end of the warm-up to the last response, at least the duration
	Due      int64   `json:"due"`      // calls that were due
	Sent     int64   `json:"sent"`     // calls that were made
	OK       int64   `json:"ok"`       // calls without an error
	Refused  int64   `json:"refused"`  // calls with an error for which Config.Refused returned true
	Failed   int64   `json:"failed"`   // calls with any other error
	Dropped  int64   `json:"dropped"`  // calls that were not made because of Config.Outstanding
	// Late is the maximum delay with which [Run] itself queued a call. The delay is part of
	// the latency of the call. If Late is close to the percentiles, they measure the machine that
	// makes the calls.
	Late time.Duration `json:"late_ns"`
	// Accepted and RefusedIn are the latencies of the OK and of the Refused calls.
	Accepted  Latency `json:"accepted"`
	RefusedIn Latency `json:"refused_in"`
	// Errors is the number of failed calls by error text. It contains the first ten texts, and
	// counts all other errors as "other".
	Errors map[string]int64 `json:"errors,omitempty"`
}

// Latency contains percentiles and the maximum of the time from the scheduled time of a call to its
// response.
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
