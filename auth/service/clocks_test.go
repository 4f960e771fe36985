package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	sharedclock "github.com/chassi-go/chassi/clock"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/token"
)

// clocks are those of two nodes, of the host of the command line and of the database,
// each so far ahead of the time that passes.
type clocks struct {
	mu     sync.Mutex
	start  time.Time
	passed time.Duration
	ahead  map[string]time.Duration
	all    []*sharedclock.Clock
}

const (
	nodeClock, hostClock, databaseClock = "node", "host", "database"

	ttl = 30 * time.Minute // shorter than every step
)

func (c *clocks) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += d
}

func (c *clocks) shows(whose string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start.Add(c.passed + c.ahead[whose])
}

// of gives a service the clock that it has in authd, on the machine of whose.
func (c *clocks) of(t *testing.T, whose string) func(*service.Options) {
	return func(o *service.Options) {
		shared := sharedclock.New(sharedclock.Options{
			Name: "database", Keep: o.Store.KeepHighest, Logger: o.Logger,
			Machine: func() (time.Time, time.Duration) {
				shown := c.shows(whose)
				c.mu.Lock()
				defer c.mu.Unlock()
				return shown, c.passed
			},
			Read: func(ctx context.Context) (time.Time, time.Time, error) {
				_, highest, err := o.Store.Clock(ctx)
				return c.shows(databaseClock), highest, err
			},
		})
		c.all = append(c.all, shared)
		o.Now, o.Issued = shared.Now, shared.Source
		if err := shared.Measure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// step sets a clock, and waits until the nodes have looked at the database's.
func (c *clocks) step(t *testing.T, whose string, by time.Duration) {
	t.Helper()
	c.mu.Lock()
	c.ahead[whose] += by
	c.mu.Unlock()
	c.pass(5 * time.Second)
	for _, shared := range c.all {
		if err := shared.Measure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// stepped is one row of the matrix.
type stepped struct {
	*clocks
	t    *testing.T
	url  string
	whom string
	by   time.Duration
	a, b *node // a is the one whose clock is set
	host *node // what the command line does
}

// R89: every end holds when a clock is set, by an hour and by a day, forward and back, on
// one of the nodes, on the command line's host and on the database. The database's decides;
// set back, it revives nothing and lets nothing last more than a quarter longer.
func TestEndsHoldWhenClocksAreSet(t *testing.T) {
	t.Parallel()
	for _, whom := range []string{nodeClock, hostClock, databaseClock} {
		for _, by := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
			t.Run(fmt.Sprintf("%s %v", whom, by), func(t *testing.T) {
				t.Parallel()
				dbtest.Engines(t, func(t *testing.T, url string) {
					c := &clocks{start: time.Now().Truncate(time.Second), ahead: make(map[string]time.Duration)}
					config := defaults()
					config.Token.TTL = ttl
					s := &stepped{clocks: c, t: t, url: url, whom: whom, by: by}
					s.a, s.b = start(t, url, config, 100, nil, c.of(t, nodeClock)), start(t, url, config, 100, nil, c.of(t, "other node"))
					config.Token.TTL += by.Abs() // so that a step back could revive its tokens
					s.host = start(t, url, config, 100, nil, c.of(t, hostClock))
					s.host.add(email, secret)
					s.holds()
				})
			})
		}
	}
}

func (s *stepped) nodes() [2]*node { return [2]*node{s.a, s.b} }

// accepted checks whether all nodes accept a token.
func (s *stepped) accepted(what, raw string, accepted bool) {
	s.t.Helper()
	for i, n := range s.nodes() {
		if err := n.validate(raw); (err == nil) != accepted || err != nil && !errors.Is(err, auth.ErrInvalidToken) {
			s.t.Errorf("%s: node %d: %v, want it accepted: %t", what, i, err, accepted)
		}
	}
}

// loggedIn returns a new token of each node, which all nodes accept, and third parties by
// the database's clock.
func (s *stepped) loggedIn(what string) (tokens [2]string) {
	s.t.Helper()
	for i, n := range s.nodes() {
		tokens[i] = n.mustLogin()
		s.accepted(what, tokens[i], true)
		if err := s.abroad(tokens[i]); err != nil {
			s.t.Errorf("%s: a third party: %v", what, err)
		}
	}
	return tokens
}

// abroad verifies like another service that knows the keys and the database's time.
func (s *stepped) abroad(raw string) error {
	ring, err := s.a.store.KeyRing(s.t.Context())
	if err != nil {
		return err
	}
	var keys []*token.Key
	for _, k := range ring.Keys {
		key, err := token.ParseKey(k.ID, token.Algorithm(k.Algorithm), k.Private)
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	set, err := token.NewKeySet(keys...)
	if err != nil {
		return err
	}
	v := token.NewVerifier(token.Options{Issuer: "authd", Audience: "authd", MaxLifetime: 720 * time.Hour, Now: func() time.Time { return s.shows(databaseClock) }}, set)
	_, err = v.Verify(raw)
	return err
}

// slow returns the maximum duration of d while the time runs more slowly.
func (s *stepped) slow(d time.Duration) time.Duration {
	if s.whom == databaseClock && s.by < 0 {
		return d * 5 / 4
	}
	return d
}

func (s *stepped) holds() {
	const leeway = 5 * time.Second
	disabled := s.b.mustLogin()
	for _, set := range []bool{true, false} {
		if err := s.host.SetDisabled(s.t.Context(), email, set); err != nil {
			s.t.Fatal(err)
		}
	}
	s.pass(time.Second)
	s.accepted("a token of before the account was disabled", disabled, false)
	ended := s.host.mustLogin()
	s.pass(s.by.Abs() + ttl + leeway)
	s.accepted("a token that has ended", ended, false)
	before := s.loggedIn("before the step")
	const locked = "locked@example.org"
	s.host.add(locked, secret)
	left := s.lock(locked)

	s.step(s.t, s.whom, s.by)

	forward := s.whom == databaseClock && s.by > 0
	s.accepted("a token that had ended", ended, false)
	s.accepted("a token of before the account was disabled, after the step", disabled, false)
	for _, raw := range before {
		s.accepted("a token of before the step", raw, !forward)
	}
	s.cleanUp()
	s.free(locked, forward)
	s.loggedIn("after the step")
	s.pass(s.slow(left))
	s.free(locked, true)

	s.keys()

	after := s.loggedIn("at the end")
	s.pass(ttl - 2*time.Second)
	for _, raw := range after {
		s.accepted("a token that has not ended", raw, true)
	}
	s.pass(s.slow(ttl) - ttl + s.slow(leeway) + 2*time.Second)
	for _, raw := range after {
		s.accepted("a token of after the step that has ended", raw, false)
	}
}

// lock lets logins fail until the account is locked for a minute, and returns how long
// it still is.
func (s *stepped) lock(address string) time.Duration {
	s.t.Helper()
	for range 4 {
		_, err := s.b.login(address, "wrong", home)
		want(s.t, "a wrong password", err, auth.ErrInvalidUser)
	}
	for lock := time.Second; lock <= time.Minute; lock *= 2 {
		_, err := s.b.login(address, "wrong", home)
		want(s.t, "a wrong password", err, auth.ErrInvalidUser)
		if lock < 32*time.Second {
			s.pass(lock)
		} else {
			return lock
		}
	}
	return 0
}

// free reports whether all nodes accept the right password.
func (s *stepped) free(address string, free bool) {
	s.t.Helper()
	for i, n := range s.nodes() {
		if _, err := n.login(address, secret, home); (err == nil) != free {
			s.t.Errorf("node %d: the login of a locked account: %v, want it to succeed: %t", i, err, free)
		}
	}
}

// cleanUp deletes expired rows on every node.
func (s *stepped) cleanUp() {
	s.t.Helper()
	for _, n := range s.nodes() {
		if err := errors.Join(n.CleanUp(s.t.Context()), n.store.DeleteTakenSignUps(s.t.Context())); err != nil {
			s.t.Error(err)
		}
	}
	if _, err := s.a.SignUp(from(s.t.Context(), home), &auth.SignUpRequest{Email: "new@example.org", Password: secret}); err != nil {
		s.t.Error(err)
	}
	if _, err := s.b.login("new@example.org", secret, home); err != nil {
		s.t.Errorf("a new account: %v", err)
	}
}

// keys rotates and revokes by the command line.
func (s *stepped) keys() {
	s.t.Helper()
	old := s.loggedIn("before the rotation")
	s.change(false)
	atOnce := s.loggedIn("at once after the rotation")
	if kids := keyIDs(append(old[:], atOnce[:]...)); len(kids) != 1 {
		s.t.Errorf("the new key signs at once, before all nodes know it: %q", kids)
	}
	s.pass(s.slow(11 * time.Second))
	rotated := s.loggedIn("after the rotation")
	if kids := keyIDs(append(old[:], rotated[:]...)); len(kids) != 2 {
		s.t.Errorf("tokens are signed by %q, want the new key to sign now", kids)
	}
	for _, raw := range old {
		s.accepted("a token of before the rotation", raw, true)
	}
	s.change(true)
	for _, raw := range rotated {
		s.accepted("a token of a revoked key", raw, false)
	}
	s.loggedIn("after the revocation")
	s.pass(ttl)
	s.change(false)
	s.change(true)
	s.loggedIn("after another revocation")
}

// change makes a new key, which the nodes notice.
func (s *stepped) change(revoke bool) {
	s.t.Helper()
	if _, err := s.host.RotateKey(s.t.Context(), revoke); err != nil {
		s.t.Fatal(err)
	}
	for _, n := range s.nodes() {
		if err := n.PollKeys(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}
