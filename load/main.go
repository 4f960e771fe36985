// Command load calls an authd server at a fixed rate and reports the latency of the calls, measured
// from the scheduled time of each call:
//
//	go run ./load --transport grpc --target 127.0.0.1:9090 --scenario validate --rate 500 --duration 20s
//
// It uses the accounts that load/seed creates. See README.md in this directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // the process ends, and with it the signals
}

// usageError wraps an error that the user can correct. The exit code is then 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run runs the command and returns its exit code: 0 on success, 2 for a usage error, and 1 for any
// other error. An interrupted run is an error, and so is a stream of which no call was accepted.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	err := load(ctx, args, out, errOut)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usageError{}):
		fmt.Fprintf(errOut, "load: %v\n", err)
		return 2
	default:
		fmt.Fprintf(errOut, "load: %v\n", err)
		return 1
	}
}

func load(ctx context.Context, args []string, out, errOut io.Writer) error {
	o, err := parse(args, errOut)
	if err != nil {
		return err
	}
	target, err := dial(ctx, o)
	if err != nil {
		return err
	}
	defer target.close()
	tokens, err := target.logIn(ctx, o)
	if err != nil {
		return err
	}
	report := &report{Transport: o.transport, Target: redacted(o.target), Scenario: o.scenario}
	if !o.json {
		printHead(out, o)
	}
	for _, rate := range o.steps {
		p, err := target.runPhase(ctx, o, rate, tokens)
		if err != nil {
			return err
		}
		report.Phases = append(report.Phases, p)
		if !o.json {
			p.print(out)
		}
	}
	if o.json {
		if err := report.printJSON(out); err != nil {
			return err
		}
	}
	return report.judge()
}
