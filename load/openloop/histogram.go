package openloop

import (
	"math/bits"
	"time"
)

const (
	subBits = 7 // 128 buckets for each power of two, so the error of a value is below 1/128
	buckets = (64 - subBits + 1) << subBits
)

// Histogram counts durations in log-linear buckets. The error of a percentile is at most 0.8 %; the
// maximum is exact. The zero value is an empty histogram. A Histogram uses 58 KiB of memory and is
// not safe for concurrent use.
type Histogram struct {
	counts  [buckets]uint64
	total   uint64
	longest time.Duration
}

// Record counts d. A negative d counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.longest = max(h.longest, d)
}

// Count returns the number of recorded durations.
func (h *Histogram) Count() uint64 { return h.total }

// Max returns the longest recorded duration, or 0 if nothing was recorded.
func (h *Histogram) Max() time.Duration { return h.longest }

// Percentile returns the p-th percentile, with p from 0 to 100, of the n recorded durations. It is
// the duration of rank ceil(p/100 x n) in ascending order, or 0 if nothing was recorded.
func (h *Histogram) Percentile(p float64) time.Duration {
	rank := rankOf(p, h.total)
	var seen uint64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			return min(valueOf(i), h.longest)
		}
	}
	return 0
}

// rankOf returns the rank, counted from 1, of the p-th percentile of n sorted values.
func rankOf(p float64, n uint64) uint64 {
	exact := p * float64(n) / 100
	rank := uint64(exact)
	if exact-float64(rank) > 1e-9*exact { // p x n is rounded, so a whole number may come out a hair above
		rank++
	}
	return min(max(rank, 1), n)
}

func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// valueOf returns the duration in the middle of a bucket.
func valueOf(bucket int) time.Duration {
	shift := max(bucket>>subBits-1, 0)
	low := uint64(bucket-shift<<subBits) << shift
	return time.Duration(low + (1<<shift)/2)
}
