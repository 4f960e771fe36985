package ratelimit_test

import (
	"testing"
	"time"

	"github.com/chassi-go/chassi/ratelimit"
)

func BenchmarkAllow(b *testing.B) {
	for name, keys := range map[string]int{"1key": 1, "10k": 10_000, "1M": 1_000_000, "16M": 16_000_000} {
		b.Run(name, func(b *testing.B) {
			l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(100, time.Hour)})
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				l.Allow(number(n * 7919 % keys))
				n++
			}
		})
	}
}

func BenchmarkAllowParallel(b *testing.B) {
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(100, time.Second)})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			l.Allow(number(n & 1023))
		}
	})
}

func BenchmarkStringKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ratelimit.StringKey("018f3f5e-7b1c-7a0e-9d2b-0c5b8a1f2e3d")
	}
}
