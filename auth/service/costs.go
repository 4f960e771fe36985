package service

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/password"
)

const (
	// costsPollInterval is the interval at which a node reads the kinds of stored password hashes.
	costsPollInterval = 10 * time.Second
	// maxCosts is the maximum number of costs. A login computes one hash more than that if the
	// parameters of its stored hash were left out.
	maxCosts = 4
)

// costs contains the hashing parameters of every login: the configured ones and those of stored
// hashes, at most maxCosts in total. Each login computes one hash with each of them, whatever the
// parameters of its account and whether or not the account exists. Otherwise, after a change of
// argon2.*, the duration of a login would distinguish an unknown address from an account that has
// not logged in since. A login computes a further hash if the parameters of its account were left
// out because of maxCosts.
type costs struct {
	mu   sync.Mutex // held while list changes
	list atomic.Pointer[[]password.Params]
}

func (c *costs) set(list []password.Params) { c.list.Store(&list) }

func (c *costs) get() []password.Params { return *c.list.Load() }

// costsFor returns the costs of every login. If the parameters of encoded, a stored hash, are not
// among these costs, costsFor first adds them; changeCosts limits the number of costs.
func (s *Service) costsFor(ctx context.Context, encoded string) []password.Params {
	params, err := password.ParamsOf(encoded)
	if err != nil || hasCost(s.costs.get(), params) {
		return s.costs.get()
	}
	s.costs.mu.Lock()
	defer s.costs.mu.Unlock()
	s.changeCosts(ctx, append([]password.Params{params}, s.costs.get()...))
	return s.costs.get()
}

// loadCosts sets the costs of every login according to the kinds of hashes in the database.
func (s *Service) loadCosts(ctx context.Context) error {
	s.costs.mu.Lock()
	defer s.costs.mu.Unlock()
	samples, err := s.store.HashKinds(ctx)
	if err != nil {
		return err
	}
	var found []password.Params
	for _, encoded := range samples {
		if params, err := password.ParamsOf(encoded); err == nil {
			found = append(found, params)
		}
	}
	s.changeCosts(ctx, found)
	return nil
}

// changeCosts sets the costs of every login to the configured parameters and the parameters in
// found. If there are more than maxCosts in total, the cheapest parameters in found are left out.
func (s *Service) changeCosts(ctx context.Context, found []password.Params) {
	slices.SortStableFunc(found, func(a, b password.Params) int {
		return cmp.Or(cmp.Compare(work(b), work(a)), cmp.Compare(b.Memory, a.Memory), cmp.Compare(b.Parallelism, a.Parallelism))
	})
	list, left := []password.Params{s.config.Password}, 0
	for _, params := range found {
		switch {
		case hasCost(list, params):
		case len(list) < maxCosts:
			list = append(list, params)
		default:
			left++
		}
	}
	if slices.EqualFunc(list, s.costs.get(), password.Params.SameCost) {
		return
	}
	s.costs.set(list)
	s.options.Logger.InfoContext(ctx, "kinds of password hashes changed: each login takes the work of all of them", "kinds", len(list))
	if left > 0 {
		s.options.Logger.WarnContext(ctx, "too many kinds of password hashes: the duration of a login reveals accounts with the cheapest kinds",
			"evened_out", maxCosts, "others", left)
	}
}

func work(p password.Params) uint64 { return uint64(p.Memory) * uint64(p.Time) }

func hasCost(list []password.Params, params password.Params) bool {
	return slices.ContainsFunc(list, params.SameCost)
}
