package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/load/openloop"
)

var errEmpty = errors.New("the response is empty")

// stream is one kind of call at a rate of its own.
type stream struct {
	name string
	rate float64
	call openloop.Call
}

// streams returns the streams of a phase, which run concurrently and are reported separately.
func (t *target) streams(o options, rate float64, tokens []string) []stream {
	validate := func(rate float64) stream { return stream{"validate", rate, t.validate(o, tokens)} }
	login := func(rate float64) stream { return stream{"login", rate, t.login(o)} }
	me := func(rate float64) stream { return stream{"me", rate, t.me(o, tokens)} }
	switch o.scenario {
	case "login":
		return []stream{login(rate)}
	case "me":
		return []stream{me(rate)}
	case "mixed":
		return []stream{validate(0.80 * rate), me(0.15 * rate), login(0.05 * rate)}
	case "flood":
		return []stream{validate(rate), login(o.loginRate)}
	default:
		return []stream{validate(rate)}
	}
}

func (t *target) validate(o options, tokens []string) openloop.Call {
	return func(ctx context.Context, n int) error {
		response, err := t.service.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: tokens[o.pick(n, len(tokens))]})
		if err == nil && response.Email == "" {
			err = errEmpty
		}
		return err
	}
}

func (t *target) me(o options, tokens []string) openloop.Call {
	return func(ctx context.Context, n int) error {
		response, err := t.service.Me(context.WithValue(ctx, tokenKey{}, tokens[o.pick(n, len(tokens))]), &auth.MeRequest{})
		if err == nil && response.ID == "" {
			err = errEmpty
		}
		return err
	}
}

func (t *target) login(o options) openloop.Call {
	return func(ctx context.Context, n int) error {
		response, err := t.logins.Authenticate(ctx, &auth.AuthenticateRequest{Email: accounts.Email(o.pick(n, o.users)), Password: o.password})
		if err == nil && response.Token == "" {
			err = errEmpty
		}
		return err
	}
}

// pick returns the index of the account, out of total accounts, that call n uses. It depends only
// on the seed, n and total, so it is the same in each run.
func (o options) pick(n, total int) int {
	return rand.New(rand.NewPCG(o.seed, uint64(n))).IntN(total)
}

// runPhase runs the streams of a phase concurrently and returns their results.
func (t *target) runPhase(ctx context.Context, o options, rate float64, tokens []string) (*phase, error) {
	streams := t.streams(o, rate, tokens)
	p := &phase{Rate: rate, Streams: make([]*openloop.Result, len(streams))}
	errs := make([]error, len(streams))
	var running sync.WaitGroup
	for i, s := range streams {
		c := openloop.Config{
			Name: s.name, Rate: s.rate, Warmup: o.warmup, Duration: o.duration, Poisson: o.arrivals == "poisson", Seed: o.seed + uint64(i),
			Workers: o.workers, Outstanding: o.outstanding, Timeout: o.timeout, Refused: t.isRefusal,
		}
		running.Go(func() { p.Streams[i], errs[i] = openloop.Run(ctx, c, s.call) })
	}
	running.Wait()
	return p, errors.Join(errs...)
}
