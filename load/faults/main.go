// Command faults makes the dependencies of authd fail in different ways while it calls authd at a
// low constant rate. It prints which calls succeeded during each fault, how long the recovery took,
// and whether a write was lost or done twice:
//
//	go run ./load/faults
//	go run ./load/faults --only 'PostgreSQL|NATS, hung' --details
//
// It uses the servers of the integration tests, configured by the same environment variables. Each
// fault is caused by a proxy in front of a server, or affects only what the command creates, such
// as databases, users and processes, so that other users of the servers are not affected. The
// command exits with 1 if an expectation does not hold or a measurement fails, and with 2 on any
// other error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // the process ends, and with it the signals
}

type options struct {
	only     *regexp.Regexp
	short    bool
	details  bool
	hold     time.Duration
	parallel int
	authd    string
}

func parse(args []string, errOut io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(errOut)
	only := flags.String("only", "", "a regular expression for \"DEPENDENCY, FAULT\": run no other cells")
	flags.BoolVar(&o.short, "short", false, "the short form, as the tests run it")
	flags.BoolVar(&o.details, "details", false, "print what the log said, too")
	flags.DurationVar(&o.hold, "hold", 6*time.Second, "how long a fault lasts")
	flags.IntVar(&o.parallel, "parallel", 2, "cells at once")
	flags.StringVar(&o.authd, "authd", "", "the program, where it is not to be built from here")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("faults: unexpected argument %q; --help lists the flags", flags.Arg(0))
	}
	if o.parallel < 1 || o.hold <= 0 {
		return o, errors.New("faults: --parallel and --hold must be greater than 0")
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("faults: --only: %w", err)
	}
	return o, nil
}

// run runs the command and returns its exit code: 0 on success, 1 if an expectation does not hold
// or a measurement fails, and 2 on any other error.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errOut, err)
		return 2
	}
	failed, err := faults(ctx, o, out, errOut)
	switch {
	case err != nil:
		fmt.Fprintf(errOut, "faults: %v\n", err)
		return 2
	case failed:
		return 1
	default:
		return 0
	}
}

func faults(ctx context.Context, o options, out, errOut io.Writer) (failed bool, err error) {
	root, err := repository()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	program, err := filepath.Abs(o.authd)
	if o.authd == "" {
		program, err = build(ctx, root, dir)
	}
	if err != nil {
		return false, err
	}
	r, done, err := newRunner(ctx, root, program, o.hold, o.parallel, errOut)
	if err != nil {
		return false, err
	}
	results := r.run(ctx, o.cells())
	err = done()
	table(out, results)
	for _, result := range results {
		problems := result.problems()
		failed = failed || len(problems) > 0
		if o.details || len(problems) > 0 {
			result.explain(errOut)
		}
	}
	return failed, err
}

// cells returns the cells that the options select.
func (o options) cells() []*cell {
	cells := allCells()
	if o.short {
		cells = short(cells)
	}
	return slices.DeleteFunc(cells, func(c *cell) bool { return !o.only.MatchString(c.String()) })
}

// short removes the cells that are not part of the short form and returns the others.
func short(cells []*cell) []*cell {
	return slices.DeleteFunc(cells, func(c *cell) bool { return !c.short })
}

// newRunner returns a runner and a function that deletes what its cells share: the authd whose
// clock can be set and the virtual host of RabbitMQ.
func newRunner(ctx context.Context, root, program string, hold time.Duration, parallel int, progress io.Writer) (r *runner, done func() error, err error) {
	s, err := findServers(root)
	if err != nil {
		return nil, nil, err
	}
	var dir string
	s.clockProgram = sync.OnceValues(func() (string, error) {
		if dir, err = os.MkdirTemp("", "faults"); err != nil {
			return "", err
		}
		return buildClock(ctx, root, dir)
	})
	var made *vhost
	s.vhost = sync.OnceValues(func() (_ *vhost, err error) {
		made, err = s.newVhost()
		return made, err
	})
	done = func() error {
		var errs []error
		if dir != "" {
			errs = append(errs, os.RemoveAll(dir))
		}
		if made != nil {
			errs = append(errs, made.delete())
		}
		return errors.Join(errs...)
	}
	return &runner{servers: s, program: program, hold: hold, parallel: parallel, progress: progress}, done, nil
}

// repository returns the nearest directory that contains go.mod, beginning with the current
// directory and continuing with its parents. It returns an error if there is no such directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in the current directory or its parents: run this program in the repository")
		}
	}
}

// explain writes to w the details of a result that do not fit in the table.
func (r *result) explain(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.cell)
	for _, problem := range r.problems() {
		fmt.Fprintf(w, "  does not hold: %s\n", problem)
	}
	for _, probe := range r.probes() {
		if part, calls := r.share(probe); part < 1 {
			fmt.Fprintf(w, "  %s, during the fault: %.0f %% of %d calls: %s\n", probe, 100*part, calls, firstError(r.fault[probe]))
		}
	}
	for _, part := range []struct {
		name  string
		lines []line
	}{{"begins", r.begins}, {"ends", r.ends}} {
		for _, l := range part.lines[:min(len(part.lines), 12)] {
			fmt.Fprintf(w, "  log, %s: %s\n", part.name, l.text)
		}
	}
}
