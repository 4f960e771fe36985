// Command seed creates accounts for load tests directly in the database of an authd server:
//
//	go run ./load/seed --database sqlite:authd.db --users 1000000
//
// The accounts have the addresses user0000000@example.com, user0000001@example.com and so on, and
// all have the same password. A further run continues where the previous run stopped.
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

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/load/accounts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr)) //nolint:gocritic // the process ends, and with it the signals
}

type options struct {
	url      string
	users    int
	password string
}

func parse(args []string, out io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("seed", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.url, "database", "sqlite:authd.db", "sqlite:PATH or postgres://USER@HOST:PORT/NAME, as authd's database.url")
	flags.IntVar(&o.users, "users", 1000, "how many accounts there shall be, up to 10000000")
	flags.StringVar(&o.password, "password", accounts.DefaultPassword, "the password of all of them")
	err = flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(out, "seed makes the accounts user0000000@example.com and on in authd's database.")
		flags.SetOutput(out)
		flags.PrintDefaults()
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag: flags begin with --", flags.Arg(0))
	}
	return o, err
}

// run runs the command and returns its exit code: 0 on success and 2 on error.
func run(ctx context.Context, args []string, out io.Writer) int {
	o, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(out, "seed: %s; --help lists the flags\n", strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1))
		return 2
	}
	if err := seed(ctx, o, out); err != nil {
		fmt.Fprintf(out, "seed: %v\n", err)
		return 2
	}
	return 0
}

func seed(ctx context.Context, o options, out io.Writer) (err error) {
	db, err := database.Open(ctx, database.Config{URL: o.url, QueryTimeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	began := time.Now()
	before, err := accounts.Seed(ctx, db, accounts.Seeding{Users: o.users, Password: o.password, Progress: func(done int) {
		if done%100_000 == 0 {
			fmt.Fprintf(out, "%d accounts after %.1f s\n", done, time.Since(began).Seconds())
		}
	}})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d accounts added to %d in %.1f s\n", max(o.users-before, 0), before, time.Since(began).Seconds())
	return nil
}
