// Command timing measures whether the time of a login or a sign-up reveals anything about an
// account:
//
//	go run ./load/timing
//
// It exits with 1 if two kinds of calls differ or another error occurs, and with 2 for a usage
// error. See README.md in the parent directory.
package main

import (
	"cmp"
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

	"github.com/chassi-go/chassi/database"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // the process ends, and with it the signals
}

type options struct {
	samples  int
	engines  []string
	given    bool // whether --engines was set, so that no engine may be left out
	postgres string
	commit   time.Duration
	alpha    float64
	seed     uint64
	plant    time.Duration
}

const localPostgres = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"

// usageError wraps an error that the user can correct. The exit code is then 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func parse(args []string, errOut io.Writer) (o options, err error) {
	var engines string
	flags := flag.NewFlagSet("timing", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.IntVar(&o.samples, "samples", 400, "calls of each kind")
	flags.StringVar(&engines, "engines", "sqlite,postgres", "sqlite, postgres or both; PostgreSQL is left out when it does not respond, unless this is given")
	flags.StringVar(&o.postgres, "postgres", cmp.Or(os.Getenv("CHASSI_TEST_POSTGRES"), localPostgres), "URL of the server; a schema is made in it and dropped")
	flags.DurationVar(&o.commit, "commit", 5*time.Millisecond, "how much longer each commit takes that waits for the disk")
	flags.Float64Var(&o.alpha, "alpha", 0.01, "the chance of a false alarm for one engine and kind of call")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the random order")
	flags.DurationVar(&o.plant, "plant", 0, "delay logins of unknown addresses and sign-ups of taken ones by so much, to see that it is found")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	flags.Visit(func(f *flag.Flag) { o.given = o.given || f.Name == "engines" })
	o.engines = strings.Split(engines, ",")
	for _, engine := range o.engines {
		if engine != "sqlite" && engine != "postgres" {
			return o, usage("--engines: %q is neither sqlite nor postgres", engine)
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, usage("unexpected argument %q: flags begin with --", flags.Arg(0))
	case o.samples < 20 || o.samples > 10_000:
		return o, usage("--samples: %d: must be from 20 to 10000; the statistics need at least 20", o.samples)
	case o.commit < 0 || o.commit > time.Second || o.plant < 0 || o.plant > time.Second:
		return o, usage("--commit and --plant must be from 0s to 1s: got %v and %v", o.commit, o.plant)
	case !(o.alpha > 0 && o.alpha < 1):
		return o, usage("--alpha: %v: must be above 0 and below 1", o.alpha)
	}
	return o, nil
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	differ := 0
	if err == nil {
		differ, err = measure(ctx, o, out)
	}
	switch {
	case errors.As(err, &usageError{}):
		fmt.Fprintf(errOut, "timing: %v\n", err)
		return 2
	case err != nil:
		fmt.Fprintf(errOut, "timing: %v\n", err)
		return 1
	case differ > 0:
		fmt.Fprintf(out, "\n%d comparisons show a difference at p < %v\n", differ, o.alpha)
		return 1
	}
	fmt.Fprintf(out, "\nno difference at p < %v\n", o.alpha)
	return 0
}

// measure measures the calls on each engine of o.engines and returns the number of comparisons that
// show a difference. If o.given is false, it omits PostgreSQL when the server is unavailable.
func measure(ctx context.Context, o options, out io.Writer) (differ int, err error) {
	fmt.Fprintf(out, "%d calls of each kind in random order (seed %d); commits that wait for the disk take %v more; p-values adjusted by Holm's method\n",
		o.samples, o.seed, o.commit)
	for _, engine := range o.engines {
		open := openSQLite
		if engine == "postgres" {
			open = openPostgres
		}
		e, err := open(ctx, o)
		if err != nil && engine == "postgres" && !o.given && database.IsUnavailable(err) {
			fmt.Fprintf(out, "\npostgres: left out, it does not respond at %s\n", redacted(o.postgres))
			o.engines = slices.DeleteFunc(slices.Clone(o.engines), func(s string) bool { return s == engine })
			continue
		}
		if err != nil {
			return differ, err
		}
		n, err := e.compare(ctx, o, out, engine)
		differ += n
		if err := errors.Join(err, e.close()); err != nil {
			return differ, err
		}
	}
	return differ, nil
}
