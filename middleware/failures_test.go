package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/workpool"
)

var (
	errAway = chassi.NewError(chassi.Unavailable, "unavailable", "Not available").WithCause(errors.New("connection refused"))
	errBusy = chassi.NewError(chassi.Unavailable, "busy", "Busy")
)

// What is the service's fault or a dependency's is above INFO; what it declines on purpose,
// and what its clients do, is not.
func TestLoggingDistinguishesOutagesFromRefusals(t *testing.T) {
	t.Parallel()
	full := workpool.New(workpool.Options{Workers: 1, Queue: -1})
	release, held := make(chan struct{}), make(chan struct{})
	if err := full.TrySubmit(t.Context(), func(context.Context) { close(held); <-release }); err != nil {
		t.Fatal(err)
	}
	<-held
	defer full.Stop(context.Background())
	defer close(release)
	poolFull := full.TrySubmit(t.Context(), func(context.Context) {})
	of := func(code chassi.Code) error { return chassi.NewError(code, "reason", "Message") }
	cases := map[string]struct {
		err    error
		client bool
		want   string
	}{
		"dependency away":           {errAway, false, "WARN"},
		"unavailable without cause": {of(chassi.Unavailable), false, "WARN"},
		"time of ours":              {context.DeadlineExceeded, false, "WARN"},
		"other side is slow":        {of(chassi.DeadlineExceeded), true, "WARN"},
		"other side sheds":          {of(chassi.Unavailable), true, "WARN"},
		"fault":                     {errors.New("broken"), false, "ERROR"},
		"foreign error":             {of(chassi.Unknown), false, "ERROR"},
		"data loss":                 {of(chassi.DataLoss), false, "ERROR"},
		"pool full":                 {errBusy.WithCause(poolFull), false, "INFO"},
		"pool stopped":              {errBusy.WithCause(fmt.Errorf("hashing: %w", workpool.ErrStopped)), false, "INFO"},
		"limit":                     {of(chassi.ResourceExhausted), false, "INFO"},
		"client gave up":            {context.Canceled, false, "INFO"},
		"bad request":               {of(chassi.InvalidArgument), false, "INFO"},
		"no token":                  {of(chassi.Unauthenticated), false, "INFO"},
	}
	for name, c := range cases {
		var log lines
		th := calltest.New(func(context.Context) error { return c.err }, chassi.Public)
		th.Binding.Client = c.client
		_ = th.Run(t.Context(), middleware.Logging(log.logger()))
		if line := log.one(t); line["level"] != c.want {
			t.Errorf("%s: %v, want %s", name, line, c.want)
		}
	}
}

// Load shedding is no outage.
func TestLoggingOfSheddingIsInfo(t *testing.T) {
	t.Parallel()
	var log lines
	limiter := overload.New(overload.Config{MaxInFlight: 1})
	shed := middleware.LoadShedding(limiter)
	var inner *calltest.Thing
	outer := calltest.New(func(ctx context.Context) error { return inner.Run(ctx, middleware.Logging(log.logger()), shed) }, chassi.Public)
	inner = calltest.New(calltest.Fine, chassi.Public)
	if err := outer.Run(t.Context(), shed); chassi.ErrorOf(err).Reason != "overloaded" {
		t.Fatalf("%v, want an inner call that is shed", err)
	}
	if line := log.one(t); line["level"] != "INFO" {
		t.Errorf("%v, want INFO", line)
	}
}

// A call whose caller has set too short a time is no failure of ours.
func TestLoggingOfTheCallersDeadlineIsInfo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = calltest.New(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, chassi.Public).
			Run(ctx, middleware.Logging(log.logger()), middleware.Timeout(time.Minute))
		if line := log.one(t); line["level"] != "INFO" {
			t.Errorf("the caller's time: %v, want INFO", line)
		}
		log.Reset()
		_ = calltest.New(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, chassi.Public).
			Run(t.Context(), middleware.Logging(log.logger()), middleware.Timeout(time.Second))
		if line := log.one(t); line["level"] != "WARN" {
			t.Errorf("our time: %v, want WARN", line)
		}
	})
}

type failureLine struct {
	Level, Msg, Route, Transport, Lasted, Code string
	Failed                                     int
	LastError                                  struct{ Cause string } `json:"last_error"`
}

// An outage at 500 calls a second writes a line at its beginning and one in ten seconds
// above INFO, which together account for every failed call, and one when it is over.
func TestLoggingOfAnOutageIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		level string
		lines int // of calls above INFO in 30 s
	}{
		"dependency": {errAway, "WARN", 1},
		"fault":      {errors.New("connection refused"), "ERROR", 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				logging := middleware.Logging(slog.New(slog.NewJSONHandler(&log, nil)))
				var err error
				call := calltest.New(func(context.Context) error { return err }, chassi.Public)
				run := call.Binding.Handler(logging)
				const seconds, perSecond = 30, 500
				makeCalls := func(seconds int) {
					for range seconds * perSecond {
						time.Sleep(time.Second / perSecond)
						_ = run(call.Call.Context(t.Context()), call.Call)
					}
				}
				makeCalls(1)
				err = c.err
				makeCalls(seconds)
				err = nil
				makeCalls(30)

				calls, above, summaries, counted, ended := 0, 0, 0, 0, 0
				for d := json.NewDecoder(&log); d.More(); {
					var l failureLine
					if err := d.Decode(&l); err != nil {
						t.Fatal(err)
					}
					switch {
					case l.Route != "/v1/things/{id}" || l.Transport != "http":
						t.Errorf("%+v does not say which calls", l)
					case l.Msg == "call":
						calls++
						if l.Level != "INFO" {
							above++
						}
					case l.Msg == "calls fail" && l.Level == c.level && l.LastError.Cause == "connection refused":
						summaries++
						counted += l.Failed
					case l.Msg == "calls no longer fail" && l.Level == "INFO" && l.Lasted != "" && l.Code != "":
						ended++
					default:
						t.Errorf("%+v", l)
					}
				}
				if calls != 61*perSecond {
					t.Errorf("%d access lines for %d calls", calls, 61*perSecond)
				}
				if above != c.lines || summaries < 3 || summaries > 4 || counted != seconds*perSecond || ended != 1 {
					t.Errorf("%d lines above INFO, want %d; %d summaries of %d calls, want 3 of %d; %d ends, want 1",
						above, c.lines, summaries, counted, seconds*perSecond, ended)
				}
			})
		})
	}
}

// One failed call has one line.
func TestLoggingOfOneFailureIsOneLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		_ = calltest.New(func(context.Context) error { return errAway }, chassi.Public).Run(t.Context(), middleware.Logging(log.logger()))
		time.Sleep(time.Minute)
		log.one(t)
	})
}
