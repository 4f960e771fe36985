// Command rolling measures whether calls fail during a rolling restart. It starts two authd nodes
// with one PostgreSQL database and restarts them alternately. Meanwhile, it calls them at fixed
// rates: over HTTP through a load balancer that polls their readiness, and over gRPC with a client
// that follows the health service:
//
//	go run ./load/rolling --poll 100ms,2s,5s --rounds 20
//
// It exits with 1 if a call failed or another error occurred. docs/operations.md contains the
// results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	authd, postgres string
	polls           []time.Duration
	drain, pause    time.Duration
	rounds          int
	rate, grpcRate  float64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse()
	if err == nil {
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "rolling: %v\n", err)
		os.Exit(1) //nolint:gocritic // the process ends, and with it the signals
	}
}

func parse() (o options, err error) {
	var polls string
	flag.StringVar(&o.authd, "authd", "bin/authd", "the program")
	flag.StringVar(&o.postgres, "postgres", "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable", "a server, on which a database is made and dropped")
	flag.StringVar(&polls, "poll", "100ms,2s,5s", "how often the load balancer asks for readiness; a run for each")
	flag.DurationVar(&o.drain, "drain", 0, "shutdown.drain; 0 is authd's default")
	flag.DurationVar(&o.pause, "pause", 3*time.Second, "from a node that is ready to the restart of the other one; the interval of --poll if that is longer")
	flag.IntVar(&o.rounds, "rounds", 20, "how many times both nodes are restarted")
	flag.Float64Var(&o.rate, "rate", 300, "calls per second over HTTP: 80 % validate-token, 18 % me, 2 % login; 0 for none")
	flag.Float64Var(&o.grpcRate, "grpc-rate", 30, "calls per second over gRPC, validate-token; 0 for none")
	flag.Parse()
	if !(o.rate >= 0 && o.rate <= 1e6 && o.grpcRate >= 0 && o.grpcRate <= 1e6) { // NaN is neither
		return o, fmt.Errorf("--rate %g and --grpc-rate %g: each must be from 0 to 1,000,000", o.rate, o.grpcRate)
	}
	for word := range strings.SplitSeq(polls, ",") {
		d, parseErr := time.ParseDuration(word)
		if parseErr != nil || d <= 0 {
			return o, fmt.Errorf("--poll: %q is not a positive duration", word)
		}
		o.polls = append(o.polls, d)
	}
	return o, nil
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	url, drop, err := createDatabase(ctx, o.postgres)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	dir, err := os.MkdirTemp("", "rolling-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var failed int64
	fmt.Fprintf(out, "%-8s %-8s %8s %9s %9s %9s %7s %10s\n", "polled", "drain", "restarts", "HTTP", "failed", "gRPC", "failed", "took")
	for _, poll := range o.polls {
		r, err := measure(ctx, o, poll, url, dir)
		if err != nil {
			return err
		}
		drain := "default"
		if o.drain > 0 {
			drain = o.drain.String()
		}
		fmt.Fprintf(out, "%-8s %-8s %8d %9d %9d %9d %7d %10s\n", poll, drain, r.restarts, r.http.calls, r.http.failed, r.grpc.calls, r.grpc.failed, r.took.Round(time.Second))
		for text, n := range r.errors {
			fmt.Fprintf(out, "  %d: %s\n", n, text)
		}
		failed += r.http.failed + r.grpc.failed
	}
	if failed > 0 {
		return fmt.Errorf("%d calls failed", failed)
	}
	return nil
}
