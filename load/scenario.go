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

// stream is a sequence of calls of one kind, which are made at a fixed rate.
type stream struct {
	name string
	rate float64 // calls per second
	call openloop.Call
}

// streams returns the streams of a phase of the scenario with the given rate, in calls per second;
// only the logins of flood have their own rate, o.loginRate. The streams run concurrently and are
// reported separately.
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
			err = errors.New("the response contains no e-mail address")
		}
		return err
	}
}

func (t *target) me(o options, tokens []string) openloop.Call {
	return func(ctx context.Context, n int) error {
		response, err := t.service.Me(context.WithValue(ctx, tokenKey{}, tokens[o.pick(n, len(tokens))]), &auth.MeRequest{})
		if err == nil && response.ID == "" {
			err = errors.New("the response contains no ID")
		}
		return err
	}
}

func (t *target) login(o options) openloop.Call {
	return func(ctx context.Context, n int) error {
		response, err := t.logins.Authenticate(ctx, &auth.AuthenticateRequest{Email: accounts.Email(o.pick(n, o.users)), Password: o.password})
		if err == nil && response.Token == "" {
			err = errors.New("the response contains no token")
		}
		return err
	}
}

// pick returns the index, from 0 to total-1, of the account or token that call n uses. The index
// depends only on the seed, n and total, so that every run makes the same calls.
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
