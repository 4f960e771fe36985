package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/load/accounts"
)

type options struct {
	transport, target, amqpPrefix, natsKey string
	scenario                               string
	steps                                  []float64 // calls per second, one rate for each phase
	loginRate                              float64
	duration, warmup, timeout              time.Duration
	users, tokens                          int
	password                               string
	arrivals                               string
	workers, outstanding                   int
	seed                                   uint64
	json                                   bool
}

// targets maps each transport to its default target: the default address of authd or, for AMQP,
// that of RabbitMQ.
//
//nolint:gosec // the password that every RabbitMQ comes with
var targets = map[string]string{
	"http": "http://127.0.0.1:8080", "grpc": "127.0.0.1:9090", "nats": "nats://127.0.0.1:4223", "amqp": "amqp://guest:guest@127.0.0.1:5672/",
}

var scenarios = []string{"validate", "login", "me", "mixed", "flood"}

func parse(args []string, errOut io.Writer) (o options, err error) {
	var rate float64
	var steps string
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.transport, "transport", "http", "http, grpc, nats or amqp")
	flags.StringVar(&o.target, "target", "", "URL, for grpc host:port; by default where authd listens by default")
	flags.StringVar(&o.natsKey, "nats-key", "", "file with the seed of the nkey that logs in to NATS")
	flags.StringVar(&o.amqpPrefix, "amqp-prefix", "", "authd's amqp.prefix")
	flags.StringVar(&o.scenario, "scenario", "validate",
		"validate; login; me; mixed: 80 % validate, 15 % me, 5 % login; flood: validate at --rate and login at --login-rate")
	flags.Float64Var(&rate, "rate", 500, "calls per second")
	flags.Float64Var(&o.loginRate, "login-rate", 200, "logins per second of flood")
	flags.StringVar(&steps, "steps", "", "rates in place of --rate, such as 200,400,800: a phase for each")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "of each phase, after its warm-up")
	flags.DurationVar(&o.warmup, "warmup", 2*time.Second, "calls due in it are left out of the result")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "of a call, from when it was due")
	flags.IntVar(&o.users, "users", 1000, "how many accounts of load/seed are there")
	flags.IntVar(&o.tokens, "tokens", 32, "how many of them, evenly spread, are logged in beforehand")
	flags.StringVar(&o.password, "password", accounts.DefaultPassword, "of the accounts")
	flags.StringVar(&o.arrivals, "arrivals", "poisson", "poisson or even")
	flags.IntVar(&o.workers, "workers", 256, "calls under way at once; further ones wait, which counts")
	flags.IntVar(&o.outstanding, "outstanding", 10_000, "calls due and without a response; further ones are dropped, and counted")
	flags.Uint64Var(&o.seed, "seed", 1, "of the random arrivals and choices")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON")
	if err = flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(errOut, "load makes calls of an authd at a fixed rate and tells how long they took, from when each was due.")
			flags.SetOutput(errOut)
			flags.PrintDefaults()
			return o, err
		}
		return o, usage("%s; --help lists the flags", strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1))
	}
	if flags.NArg() > 0 {
		return o, usage("%q is not a flag: flags begin with --", flags.Arg(0))
	}
	if o.target == "" {
		o.target = targets[o.transport]
	}
	if o.steps, err = parseSteps(steps, rate); err != nil {
		return o, err
	}
	return o, o.check()
}

func parseSteps(text string, rate float64) (rates []float64, err error) {
	if text == "" {
		return []float64{rate}, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		r, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil {
			return nil, usage("--steps: %q is not a rate: give numbers separated by commas, such as 200,400,800", word)
		}
		rates = append(rates, r)
	}
	return rates, nil
}

func (o options) check() error {
	switch {
	case targets[o.transport] == "":
		return usage("--transport: %q must be one of http, grpc, nats, amqp", o.transport)
	case !slices.Contains(scenarios, o.scenario):
		return usage("--scenario: %q must be one of %s", o.scenario, strings.Join(scenarios, ", "))
	case o.arrivals != "poisson" && o.arrivals != "even":
		return usage("--arrivals: %q is neither poisson nor even", o.arrivals)
	case o.users < 1 || o.users > accounts.Max:
		return usage("--users: %d: must be the number of accounts that go run ./load/seed has created, from 1 to %d", o.users, accounts.Max)
	case o.tokens < 1:
		return usage("--tokens: %d: must be at least 1", o.tokens)
	case o.duration <= 0 || o.warmup < 0 || o.timeout <= 0:
		return usage("--duration and --timeout must be above 0, and --warmup must be at least 0")
	case o.workers < 1 || o.outstanding < o.workers:
		return usage("--workers must be at least 1, and --outstanding must be at least --workers")
	}
	for _, rate := range append(o.steps, o.loginRate) {
		if !(rate > 0 && rate <= 1e6) {
			return usage("--rate, --steps and --login-rate must be above 0 and at most 1000000 calls per second: got %v", rate)
		}
	}
	return nil
}
