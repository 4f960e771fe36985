// Package discovery finds the addresses of a service and watches them for changes. This package
// contains the sources without dependencies: a fixed list and DNS. The subdirectories contain a
// package for each registry. These packages use the HTTP APIs of the registries without their
// client libraries. NATS and AMQP need no discovery, because a service is called by its name.
//
// [Follow] watches a [Source]:
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
	"slices"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
	"github.com/chassi-go/chassi/internal/outage"
)

// Source returns the addresses of one service. It is used by one goroutine at a time. [Follow]
// closes a Source that has a method Close() error.
type Source interface {
	// Next returns all addresses, as host:port. The first call and any call after an error return
	// at once; other calls return when the addresses may have changed. An error means that the
	// source is unavailable or that ctx is done. If the source is available and has no address,
	// Next returns no addresses and no error.
	//
	// The response of a registry is not trusted: the result may contain strings that are not
	// addresses, such as host:0 or the description of an unreadable entry. [Follow] skips them.
	Next(ctx context.Context) ([]string, error)
}

// ErrNoInstances means that the source is available and has no usable address. [Follow] logs it as
// the reason for an outage.
var ErrNoInstances = errors.New("the service has no usable address")

// Options configures [Follow]. All fields are optional. After an error or a response without a usable
// address, Follow waits for a random time between half of a delay and the whole delay. The delay is
// RetryDelay at first, and doubles with each consecutive error, up to MaxRetryDelay.
type Options struct {
	Name          string        // name of the service in the log
	Logger        *slog.Logger  // default slog.Default()
	RetryDelay    time.Duration // delay after the first error, or if no address is usable; default 1s
	MaxRetryDelay time.Duration // maximum delay; default 30s
}

// Follow calls update with the addresses, sorted and without duplicates, when they are first known
// and after each change, until ctx is done. While the source is unavailable or has no usable
// address, Follow does not call update, so that the caller continues to use the last addresses.
// Follow logs the beginning and the end of such an outage.
//
// Follow skips entries that cannot be addresses, and, in sorted order, all addresses beyond the first
// 5,000. When it skips entries, and their number or the first five that cannot be addresses have
// changed, it logs a warning, which names these five.
func Follow(ctx context.Context, source Source, o Options, update func(addrs []string)) {
	if c, ok := source.(io.Closer); ok {
		defer func() { _ = contain.Call(c.Close) }()
	}
	f := follower{Options: o, update: update}
	if f.Logger == nil {
		f.Logger = slog.Default()
	}
	f.outage = outage.New(f.Logger.With("target", f.Name), slog.LevelWarn, "discovery fails: the known addresses stay in use", "discovery works again")
	f.RetryDelay = orDefault(f.RetryDelay, time.Second)
	f.MaxRetryDelay = orDefault(f.MaxRetryDelay, 30*time.Second)
	for ctx.Err() == nil {
		var addrs []string
		err := contain.Call(func() (err error) { addrs, err = source.Next(ctx); return err })
		switch {
		case ctx.Err() != nil:
		case err != nil:
			f.outage.Failed(err, "addrs", f.last[:min(len(f.last), maxLogged)])
			f.wait(ctx, f.errors)
			f.errors++
		case len(f.usable(addrs)) == 0:
			f.outage.Failed(ErrNoInstances, "addrs", f.last[:min(len(f.last), maxLogged)])
			f.errors = 0 // the source was available, and the next call waits for the first instance
			f.wait(ctx, 0)
		default:
			f.found()
		}
	}
}

type follower struct {
	Options

	update func([]string)
	last   []string
	now    []string // of the last response
	skips  skipped
	outage *outage.Log // errors and empty lists
	errors int         // consecutive errors
}

// usable returns the usable addresses of a response. If entries are skipped, and the description of
// them differs from that for the previous response, it logs a warning.
func (f *follower) usable(entries []string) []string {
	var skips skipped
	f.now, skips = usable(entries)
	if !skips.equal(f.skips) && (skips.count > 0 || skips.over > 0) {
		f.Logger.Warn("discovery: entries are skipped: want host:port of one host, and at most "+strconv.Itoa(maxAddrs)+" addresses",
			"target", f.Name, "skipped", skips.count, "entries", skips.names, "too_many", skips.over)
	}
	f.skips = skips
	return f.now
}

func (f *follower) found() {
	f.outage.Succeeded()
	f.errors = 0
	if slices.Equal(f.now, f.last) {
		return
	}
	f.Logger.Info("discovered", "target", f.Name, "count", len(f.now), "addrs", f.now[:min(len(f.now), maxLogged)])
	f.last = f.now
	contain.Run(f.Logger, "the update function of discovery", func() { f.update(slices.Clone(f.now)) })
}

// maxLogged is the maximum number of addresses in a log line.
const maxLogged = 100

// wait waits for a random time between half of a delay and the whole delay, or until ctx is done. The
// delay doubles with each consecutive error, up to MaxRetryDelay. The argument before is the number
// of consecutive errors before the last one.
func (f *follower) wait(ctx context.Context, before int) {
	pause := f.MaxRetryDelay
	if shift := min(before, 62); f.RetryDelay < f.MaxRetryDelay>>shift {
		pause = f.RetryDelay << shift
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

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}
