package workpool_test

import (
	"context"
	"errors"
	"testing"

	"github.com/chassi-go/chassi/workpool"
)

func BenchmarkDo(b *testing.B) {
	p := workpool.New(workpool.Options{})
	defer p.Stop(context.Background())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := workpool.Do(b.Context(), p, func(context.Context) (int, error) { return 1, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDoParallel(b *testing.B) {
	p := workpool.New(workpool.Options{Queue: 1 << 20})
	defer p.Stop(context.Background())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := workpool.Do(b.Context(), p, func(context.Context) (int, error) { return 1, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSubmit(b *testing.B) {
	p := workpool.New(workpool.Options{Queue: 1024})
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Submit(b.Context(), func(context.Context) {}); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkRefuse(b *testing.B) {
	p := workpool.New(workpool.Options{Workers: 1, Queue: -1})
	open := make(barrier)
	if err := p.TrySubmit(b.Context(), open.task); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.TrySubmit(b.Context(), open.task); !errors.Is(err, workpool.ErrFull) {
			b.Fatal(err)
		}
	}
	close(open)
	if err := p.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
}
