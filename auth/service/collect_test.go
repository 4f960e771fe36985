package service

import (
	"context"
	"runtime/metrics"
	"testing"

	"github.com/chassi-go/chassi/workpool"
)

// forced returns the number of forced collections.
func forced() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/forced:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// The memory of hashes is collected after every second one, with many workers after every half
// round of them. It is not parallel: it counts the collections of the process.
func TestMemoryOfHashesIsCollected(t *testing.T) {
	for workers, want := range map[int]uint64{1: 5, 2: 5, 4: 5, 8: 3} {
		pool := workpool.New(workpool.Options{Workers: workers, Queue: 1})
		s := unstored(t, Options{Pool: pool})
		before := forced()
		for range 9 {
			s.collect(1)
		}
		s.collect(3)
		if got := forced() - before; got != want {
			t.Errorf("%d workers: %d collections after 12 hashes, want %d", workers, got, want)
		}
		if err := pool.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
