// Package discovery finds out at which addresses a service is reached, and keeps
// watching. This package has the sources that need nothing but Go: a fixed list and
// DNS. Those of registries are packages of their own below it; they speak the
// registries' HTTP APIs, so that none links a client library. NATS and AMQP need no
// discovery: there a service is called by its name.
//
// A [Source] is followed by [Follow]:
//
//	source, err := discovery.Parse("dns:auth.prod.svc.cluster.local:9090")
//	go discovery.Follow(ctx, source, discovery.Options{Name: "auth"}, func(addrs []string) { … })
package discovery

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/internal/outage"
)

// Source tells the addresses of one service. It belongs to one follower, which
// closes it in the end if it has a method Close() error.
type Source interface {
	// Next returns all addresses, as host:port. Called first, or after an error, it
	// returns them at once; otherwise when they may have changed. An error says that
	// the source cannot be asked now, or ctx's. An empty list is [ErrNone].
	Next(ctx context.Context) ([]string, error)
}

// ErrNone says that the source was asked and knows no address.
var ErrNone = errors.New("no instance is registered")

// Options of [Follow]. All have defaults.
type Options struct {
	Name   string        // of the service, for the log
	Logger *slog.Logger  // default slog.Default()
	Retry  time.Duration // mean pause after the first error; default 1s
	Most   time.Duration // and after many; default 30s
}

// Follow calls update with the addresses, sorted and each once, when they are known
// first and whenever they have changed, until ctx ends. While the source cannot be
// asked, or knows none, the last addresses stay in use: a registry that is down or
// has lost its data must not take down who depends on it. That is logged once, and
// once more when it is over.
func Follow(ctx context.Context, source Source, o Options, update func(addrs []string)) {
	if c, ok := source.(io.Closer); ok {
		defer func() { _ = c.Close() }()
	}
	f := follower{Options: o, update: update}
	if f.Logger == nil {
		f.Logger = slog.Default()
	}
	f.outage = outage.New(f.Logger.With("service", f.Name), slog.LevelWarn, "discovery fails: what is known stays in use", "discovery works again")
	f.Retry = orDefault(f.Retry, time.Second)
	f.Most = orDefault(f.Most, 30*time.Second)
	for ctx.Err() == nil {
		addrs, err := source.Next(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			f.outage.Failed(err, "addrs", f.last)
			f.wait(ctx, f.errors)
			f.errors++
		case len(addrs) == 0:
			f.outage.Failed(ErrNone, "addrs", f.last)
			f.errors = 0 // it has been asked, and waits by itself for the first instance
			f.wait(ctx, 0)
		default:
			f.found(addrs)
		}
	}
}

type follower struct {
	Options

	update func([]string)
	last   []string
	outage *outage.Log // errors and empty lists
	errors int         // one after the other, nothing between
}

func (f *follower) found(addrs []string) {
	f.outage.Succeeded()
	f.errors = 0
	addrs = slices.Clone(addrs)
	slices.Sort(addrs)
	addrs = slices.Compact(addrs)
	if slices.Equal(addrs, f.last) {
		return
	}
	f.Logger.Info("discovered", "service", f.Name, "addrs", addrs)
	f.last = addrs
	f.update(slices.Clone(addrs))
}

// wait lasts between half and all of a time that doubles with each error before.
func (f *follower) wait(ctx context.Context, before int) {
	pause := f.Most
	if shift := min(before, 62); f.Retry < f.Most>>shift {
		pause = f.Retry << shift
	}
	sleep(ctx, pause/2+rand.N(pause/2+1))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// checkAddr reports what is wrong with host:port.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err //nolint:wrapcheck // says what, with the address
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t\r\n,/@") {
		return errors.New("address " + strconv.Quote(addr) + ": want host:port")
	}
	return nil
}
