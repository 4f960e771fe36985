package transport

import "time"

// maxRetryAfter is the maximum delay that a service may request.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns the delay that a service has requested, in units of unit, limited to the
// range from 0 to a day.
func RetryAfter(n int64, unit time.Duration) time.Duration {
	switch {
	case n <= 0:
		return 0
	case n > int64(maxRetryAfter/unit):
		return maxRetryAfter
	default:
		return time.Duration(n) * unit
	}
}
