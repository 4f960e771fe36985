package transport

import "time"

// maxRetryAfter is the maximum delay that a service may request.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns n times unit, the delay that a service has requested, limited to the range
// from 0 to 24 hours.
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
