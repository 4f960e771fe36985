package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/token"
	"github.com/chassi-go/chassi/workpool"
)

// Parameters of the password hashes. Half of the accounts have hashes with the older parameters.
// Hashing is cheap with both, so that a run takes about a minute and a difference between two kinds
// of calls is a larger part of the duration of a call.
var (
	older = password.Params{Memory: 1 << 10, Time: 1, Parallelism: 1, SaltLen: 16, KeyLen: 32}
	newer = password.Params{Memory: 4 << 10, Time: 2, Parallelism: 1, SaltLen: 16, KeyLen: 32}
)

const (
	right = "an analytical engine"
	wrong = "a difference engine"
	// limit is the number of failed logins that lock an account for one network.
	limit = 3
)

// The kinds of calls. Each call uses a different address and comes from a different network.
const (
	loginOlder    = "older hash"
	loginNewer    = "newer hash"
	loginKnown    = "known network" // a network from which the owner has logged in
	loginUnknown  = "unknown"
	loginLocked   = "locked"
	loginDisabled = "disabled"
	signUpNew     = "new"
	signUpTaken   = "taken"
)

var (
	logins  = []string{loginOlder, loginNewer, loginKnown, loginUnknown, loginLocked, loginDisabled}
	signUps = []string{signUpNew, signUpTaken}
)

// bench is the service under test with its accounts.
type bench struct {
	*service.Service
	options options
	store   *store.Store
	hashes  [2]string // hashes with the older and the newer parameters
}

// compare measures the calls on one engine, prints the results to out under title, and returns the
// number of comparisons that show a difference.
func (e *engine) compare(ctx context.Context, o options, out io.Writer, title string) (differ int, err error) {
	e.setDelay(0)
	pool := workpool.New(workpool.Options{Queue: 1000})
	defer func() { err = errors.Join(err, pool.Stop(context.WithoutCancel(ctx))) }()
	b := &bench{options: o, store: store.New(e.db)}
	if b.hashes[0], err = password.Hash(older, right); err != nil {
		return 0, err
	}
	if b.hashes[1], err = password.Hash(newer, right); err != nil {
		return 0, err
	}
	if err := b.addAccounts(ctx); err != nil {
		return 0, err
	}
	// Start the service with the newer parameters.
	if b.Service, err = newService(b.store, pool); err != nil {
		return 0, err
	}
	if err := b.Start(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Stop(context.WithoutCancel(ctx))) }()
	if err := b.prepare(ctx); err != nil {
		return 0, err
	}
	e.setDelay(o.commit)
	defer e.setDelay(0)
	waited := e.waits()
	took, err := b.measure(ctx)
	if err != nil {
		return 0, err
	}
	differ = report(out, title+": failed logins", took.of(logins), o.alpha)
	differ += report(out, title+": sign-ups", took.of(signUps), o.alpha)
	fmt.Fprintf(out, "  %d calls waited %d times for the disk\n", o.samples*(len(logins)+len(signUps)), e.waits()-waited)
	return differ, nil
}

func newService(s *store.Store, pool *workpool.Pool) (*service.Service, error) {
	// A clock that advances by less than the duration of a lock, so that locks do not expire.
	began, ticks := time.Now(), time.Duration(0)
	var mu sync.Mutex
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		ticks += time.Microsecond
		return began.Add(ticks)
	}
	return service.New(service.Config{
		SignUp: true, Password: newer,
		Token:   service.TokenConfig{Algorithm: token.EdDSA, Issuer: "authd", Audience: "authd", TTL: time.Hour, CacheSize: 1},
		Lockout: service.Lockout{Pair: limit, Account: 50, Network: 100, MaxDelay: 15 * time.Minute, Window: 24 * time.Hour, KnownFor: 24 * time.Hour},
	}, service.Options{Store: s, Pool: pool, Now: now, Logger: slog.New(slog.DiscardHandler)})
}

// address returns the e-mail address of call i of a kind. All addresses have 37 characters.
func address(kind string, i int) string {
	name := fmt.Sprintf("%016x%06d", kind, i)
	return name[len(name)-16:] + "@" + fmt.Sprintf("%08x", len(kind)*7919+int(kind[0])) + ".example.org"
}

// network returns the peer address of call i of kind k. Each peer address is in a different
// network.
func network(k, i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(k), byte(i >> 8), byte(i)}), 1234)
}

// addAccounts stores the accounts, and the known networks of loginKnown. Half of the accounts of
// each kind have the older hash, except that all accounts of loginOlder have the older hash and all
// of loginNewer have the newer hash.
func (b *bench) addAccounts(ctx context.Context) error {
	for k, kind := range append(logins, signUpTaken) {
		if kind == loginUnknown {
			continue
		}
		for i := range b.options.samples {
			u := store.User{
				ID: fmt.Sprintf("%02d-%023d", k, i), Email: address(kind, i), Password: b.hashes[i%2], Generation: 1,
				Disabled: kind == loginDisabled, CreatedAt: time.Now(),
			}
			switch kind {
			case loginOlder:
				u.Password = b.hashes[0]
			case loginNewer:
				u.Password = b.hashes[1]
			}
			if err := b.store.AddUser(ctx, u); err != nil {
				return err
			}
			if kind == loginKnown {
				if err := b.store.Remember(ctx, u.ID, network(k, i).Addr().String(), time.Now()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// prepare makes one login with a wrong password for the address of each login call, so that all
// these addresses have a count of failures. For the addresses of loginLocked, it makes the number
// of logins that locks the account. It also makes sign-ups that are not measured.
func (b *bench) prepare(ctx context.Context) error {
	for k, kind := range logins {
		guesses := 1
		if kind == loginLocked {
			guesses = limit
		}
		for i := range b.options.samples {
			for range guesses {
				if _, err := b.call(ctx, k, i); err != nil {
					return err
				}
			}
		}
	}
	for i := range 20 { // those that have no effect on what is measured
		for _, kind := range signUps {
			if err := b.signUp(ctx, address("prepare "+kind, i/2)); err != nil {
				return err
			}
		}
	}
	return nil
}

// times contains the durations of the calls of each kind in milliseconds.
type times map[string][]float64

func (t times) of(kinds []string) (groups []group) {
	for _, kind := range kinds {
		groups = append(groups, group{kind, t[kind]})
	}
	return groups
}

// measure makes all calls sequentially in random order and returns their durations.
func (b *bench) measure(ctx context.Context) (times, error) {
	type one struct{ k, i int }
	var calls []one
	kinds := append(append([]string(nil), logins...), signUps...)
	for k := range kinds {
		for i := range b.options.samples {
			calls = append(calls, one{k, i})
		}
	}
	rand.New(rand.NewPCG(b.options.seed, 0)).Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	took := make(times)
	for _, c := range calls {
		d, err := b.call(ctx, c.k, c.i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kinds[c.k], err)
		}
		took[kinds[c.k]] = append(took[kinds[c.k]], float64(d)/float64(time.Millisecond))
	}
	return took, nil
}

// call makes call i of kind k and returns its duration. It returns an error if the result is not
// the expected one.
func (b *bench) call(ctx context.Context, k, i int) (time.Duration, error) {
	ctx = (&chassi.Call{Peer: network(k, i)}).Context(ctx)
	kind := append(append([]string(nil), logins...), signUps...)[k]
	to := address(kind, i)
	began := time.Now()
	if b.options.plant > 0 && (kind == loginUnknown || kind == signUpTaken) {
		time.Sleep(b.options.plant)
	}
	if kind == signUpNew || kind == signUpTaken {
		err := b.signUp(ctx, to)
		return time.Since(began), err
	}
	_, err := b.Authenticate(ctx, &auth.AuthenticateRequest{Email: to, Password: wrong})
	took := time.Since(began)
	switch {
	case err == nil:
		return 0, fmt.Errorf("log in as %s with a wrong password: got no error, want %q", to, auth.ErrInvalidUser.Reason)
	case !errors.Is(err, auth.ErrInvalidUser):
		return 0, fmt.Errorf("log in as %s with a wrong password: got %w, want %q", to, err, auth.ErrInvalidUser.Reason)
	}
	return took, nil
}

func (b *bench) signUp(ctx context.Context, to string) error {
	_, err := b.SignUp(ctx, &auth.SignUpRequest{Email: to, Password: right})
	return err
}
