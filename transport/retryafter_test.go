package transport_test

import (
	"math"
	"testing"
	"time"

	"github.com/chassi-go/chassi/transport"
)

func TestRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int64
		unit time.Duration
		want time.Duration
	}{
		{0, time.Second, 0}, {-1, time.Second, 0}, {math.MinInt64, time.Second, 0}, {3, time.Second, 3 * time.Second}, {1500, time.Millisecond, 1500 * time.Millisecond},
		{86400, time.Second, 24 * time.Hour}, {86401, time.Second, 24 * time.Hour}, {math.MaxInt64, time.Millisecond, 24 * time.Hour}, {math.MaxInt64, 1, 24 * time.Hour},
	} {
		if got := transport.RetryAfter(c.n, c.unit); got != c.want {
			t.Errorf("%d of %v: %v, want %v", c.n, c.unit, got, c.want)
		}
	}
}
