// Command streams measures the cost of open streams for a server with all middleware of package
// standard: the memory of each stream, and the latency of unary calls while the streams are open.
//
//	go run ./load/streams
//	go run ./load/streams --streams 2000 --transports nats --rounds 1
//
// For each transport, it starts the server as a separate process and calls a method at a fixed
// rate, first without streams and then while streams are open over the same transport. The streams
// have no items and default heartbeats. It exits with 1 if the p99 of the calls with streams is at
// least twice the p99 without streams, or if another error occurs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/load/openloop"
)

type options struct {
	streams    int
	transports []string
	rate       float64
	duration   time.Duration
	rounds     int
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		program().Main()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse()
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "streams: %v\n", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it the signals
	}
}

func parse() (o options, err error) {
	var transports string
	flag.IntVar(&o.streams, "streams", 10_000, "open streams")
	flag.StringVar(&transports, "transports", strings.Join(names(), ","), "over which")
	flag.Float64Var(&o.rate, "rate", 200, "unary calls per second")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "of the calls in each round, after a second that does not count")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds without and with streams; the maximum of the memory and the medians of the latency are reported")
	flag.Parse()
	o.transports = strings.Split(transports, ",")
	for _, name := range o.transports {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("--transports: %q: want one of %s", name, strings.Join(names(), ", "))
		}
	}
	if o.streams < 1 || o.rounds < 1 {
		return o, errors.New("--streams and --rounds must be at least 1")
	}
	return o, nil
}

func run(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintf(out, "| transport | streams | goroutines of a stream | KB of a stream | p50, p99 without streams | p50, p99 with streams | p99, ratio |\n")
	fmt.Fprintf(out, "| --- | --- | --- | --- | --- | --- | --- |\n")
	var slow []string
	for _, name := range o.transports {
		r, err := measure(ctx, o, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		ratio := r.with.P99.Seconds() / r.without.P99.Seconds()
		fmt.Fprintf(out, "| %s | %d | %.1f | %.1f | %s | %s | %.2f |\n", describe(name), o.streams,
			float64(r.goroutines)/float64(o.streams), float64(r.bytes)/1e3/float64(o.streams), both(r.without), both(r.with), ratio)
		if ratio >= 2 {
			slow = append(slow, name)
		}
	}
	if slow != nil {
		return fmt.Errorf("%s: the p99 with streams is at least twice the p99 without streams", strings.Join(slow, ", "))
	}
	return nil
}

func both(l openloop.Latency) string {
	return fmt.Sprintf("%.2f, %.2f ms", l.P50.Seconds()*1e3, l.P99.Seconds()*1e3)
}

// result contains the memory and the number of goroutines of the streams of one kind, and the
// latency of calls without and with open streams.
type result struct {
	bytes, goroutines int64 // maximum of all rounds, for all streams
	without, with     openloop.Latency
}

// measure measures the streams of the named kind in o.rounds rounds, each of which opens the
// streams and closes them again. It returns the maximum memory and number of goroutines, and the
// medians of the latencies.
func measure(ctx context.Context, o options, name string) (r result, err error) {
	s, err := startServer(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	t, err := connect(ctx, name, s)
	if err != nil {
		return r, err
	}
	defer t.close()
	var without, with []openloop.Latency
	var bytes, goroutines []int64
	for range o.rounds {
		before, err := t.memory(ctx)
		if err != nil {
			return r, err
		}
		if without, err = t.calls(ctx, o, without); err != nil {
			return r, err
		}
		shut, err := t.openAll(ctx, o.streams)
		if err != nil {
			return r, err
		}
		after, err := t.memory(ctx)
		if err == nil {
			with, err = t.calls(ctx, o, with)
		}
		open := shut()
		if err != nil {
			return r, err
		}
		if open < o.streams {
			return r, fmt.Errorf("only %d of %d streams were open until the end", open, o.streams)
		}
		bytes, goroutines = append(bytes, after.Resident-before.Resident), append(goroutines, after.Goroutines-before.Goroutines)
		if err := t.settle(ctx, before.Goroutines); err != nil {
			return r, err
		}
	}
	return result{slices.Max(bytes), slices.Max(goroutines), medians(without), medians(with)}, nil
}

// calls makes unary calls at the rate o.rate and returns the slice to with their latency appended.
// It returns an error if a call fails.
func (t *target) calls(ctx context.Context, o options, to []openloop.Latency) ([]openloop.Latency, error) {
	r, err := openloop.Run(ctx, openloop.Config{Rate: o.rate, Warmup: time.Second, Duration: o.duration, Workers: 64}, func(ctx context.Context, _ int) error {
		_, err := client.Invoke[pong](ctx, t.client, "Ping", &pingRequest{})
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.OK < r.Due {
		return nil, fmt.Errorf("%d of %d calls failed: %v", r.Due-r.OK, r.Due, r.Errors)
	}
	return append(to, r.Accepted), nil
}

// settle waits until the server has ended the streams of a round. goroutines is the number of
// goroutines before the round. settle returns an error if the streams have not ended after a
// minute.
func (t *target) settle(ctx context.Context, goroutines int64) error {
	for ends := time.Now().Add(time.Minute); ; {
		m, err := t.memory(ctx)
		switch {
		case err != nil:
			return err
		case m.Goroutines <= goroutines+5*connections: // those of open connections
			return nil
		case time.Now().After(ends):
			return fmt.Errorf("the server has %d goroutines a minute after the end of the streams, want at most %d", m.Goroutines, goroutines+5*connections)
		}
	}
}

func median(values []int64) int64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func medians(values []openloop.Latency) openloop.Latency {
	p50, p99 := make([]int64, len(values)), make([]int64, len(values))
	for i, l := range values {
		p50[i], p99[i] = int64(l.P50), int64(l.P99)
	}
	return openloop.Latency{P50: time.Duration(median(p50)), P99: time.Duration(median(p99))}
}
