package service_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
)

// One network that has passwords hashed without end, by whatever call, leaves the others
// half of the queue.
func TestOneNetworkDoesNotFillTheHashingQueue(t *testing.T) {
	t.Parallel()
	n := start(t, dbtest.SQLite(t), defaults(), 6, newClock())
	n.add(email, secret)
	issued := n.mustLogin()
	principal, err := n.Principal(t.Context(), issued)
	if err != nil {
		t.Fatal(err)
	}
	release := n.occupy(2) // both workers
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer release()
	keyed := n.keyedSignUp()
	for i := range 2 { // of the 4 places that a network has, of 2 workers and 6 in the queue
		waiting.Go(func() {
			_, err := n.login(fmt.Sprint("nobody", i, "@example.org"), "a guess that is wrong", home)
			want(t, "a login that waits", err, auth.ErrInvalidUser)
		})
	}
	waiting.Go(func() {
		_, err := n.SignUp(from(t.Context(), home), &auth.SignUpRequest{Email: "new@example.org", Password: secret})
		if err != nil {
			t.Errorf("a sign-up that waits: %v", err)
		}
	})
	waiting.Go(func() {
		if err := keyed(t.Context(), "key-of-one-that-waits", "keyed@example.org", secret, home); err != nil {
			t.Errorf("a sign-up with a key that waits: %v", err)
		}
	})
	eventually(t, func() bool { return n.pool.Stats().Queued == 4 })

	busy := func(what string, err error) {
		t.Helper()
		if e := chassi.ErrorOf(err); !errors.Is(err, auth.ErrBusy) || e.RetryAfter <= 0 {
			t.Errorf("%s: %v, want busy with a delay", what, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = n.Authenticate(from(ctx, home), &auth.AuthenticateRequest{Email: email, Password: secret})
	busy("a login of the same network", err)
	_, err = n.SignUp(from(ctx, home), &auth.SignUpRequest{Email: "more@example.org", Password: secret})
	busy("a sign-up of the same network", err)
	busy("a sign-up with a key of the same network", keyed(ctx, "key-of-one-too-many", "more@example.org", secret, home))
	call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(home), 1), Principal: principal}
	_, err = n.ChangePassword(call.Context(ctx), &auth.ChangePasswordRequest{OldPassword: secret, NewPassword: "another secret here"})
	busy("a change of password of the same network", err)

	waiting.Go(func() {
		if _, err := n.login(email, secret, "198.51.100.7"); err != nil {
			t.Errorf("another network: %v", err)
		}
	})
	eventually(t, func() bool { return n.pool.Stats().Queued == 5 })
	release()
	waiting.Wait()
	if _, err := n.login(email, secret, home); err != nil {
		t.Errorf("the same network, when its calls have ended: %v", err)
	}
}

// Calls that give up release their places.
func TestPlacesInTheHashingQueueAreReleased(t *testing.T) {
	t.Parallel()
	n := start(t, dbtest.SQLite(t), defaults(), 2, newClock())
	n.add(email, secret)
	release := n.occupy(2)
	defer release()
	for range 10 {
		ctx, cancel := context.WithCancel(from(t.Context(), home))
		gone := make(chan error, 1)
		go func() {
			_, err := n.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: secret})
			gone <- err
		}()
		eventually(t, func() bool { return n.pool.Stats().Queued == 1 })
		cancel()
		want(t, "the caller", <-gone, context.Canceled)
	}
	keyed := n.keyedSignUp()
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- keyed(ctx, "key-of-one-that-gives-up", email, secret, home) }()
		eventually(t, func() bool { return n.pool.Stats().Queued == 1 })
		cancel()
		want(t, "the caller with a key", <-gone, context.Canceled)
	}
}

// A sign-up with an Idempotency-Key that would be refused anyway costs no hash and gets
// the response of one without a key.
func TestRefusedSignUpWithAKeyIsNotHashed(t *testing.T) {
	t.Parallel()
	off := defaults()
	off.SignUp = false
	for name, c := range map[string]struct {
		config          service.Config
		email, password string
		want            error
	}{
		"sign-up is off":        {off, email, secret, auth.ErrSignUpDisabled},
		"no address":            {defaults(), "no address", secret, auth.ErrInvalidEmail},
		"a short password":      {defaults(), email, "short", auth.ErrWeakPassword},
		"a password that leaks": {defaults(), email, "of ada@example.org", auth.ErrWeakPassword},
		"a password not text":   {defaults(), email, "not UTF-8: \xff", auth.ErrWeakPassword},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, dbtest.SQLite(t), c.config, 6, newClock())
			before := n.Hashed()
			_, plain := n.SignUp(from(t.Context(), home), &auth.SignUpRequest{Email: c.email, Password: c.password})
			keyed := n.keyedSignUp()(t.Context(), "a-key", c.email, c.password, home)
			want(t, "without a key", plain, c.want)
			want(t, "with a key", keyed, c.want)
			if a, b := chassi.ErrorOf(plain), chassi.ErrorOf(keyed); !reflect.DeepEqual(a.Violations, b.Violations) {
				t.Errorf("violations %v, with a key %v", a.Violations, b.Violations)
			}
			if hashes := n.Hashed() - before; hashes != 0 {
				t.Errorf("%d hashes", hashes)
			}
			if rows := n.rows("idempotency_keys"); rows != 0 {
				t.Errorf("%d rows", rows)
			}
		})
	}
}

// keyedSignUp returns a function that calls SignUp over a binding that takes keys, as
// authd does.
func (n *node) keyedSignUp() func(ctx context.Context, key, email, plain, addr string) error {
	n.t.Helper()
	s := auth.Endpoints(n.Service)
	o := middleware.IdempotencyOptions{
		Check: n.CheckSignUp, Stretch: n.Stretch, Secret: func(context.Context) ([]byte, error) { return n.Secret("idempotency") },
	}
	if err := middleware.Idempotency(s, sqlstore.New(n.db), o, "SignUp"); err != nil {
		n.t.Fatal(err)
	}
	b := &chassi.Binding{Endpoint: s.Endpoint("SignUp"), Transport: "test"}
	handle := b.Handler()
	return func(ctx context.Context, key, email, plain, addr string) error {
		in := new(transport.Pairs)
		in.Set("Idempotency-Key", key)
		call := &chassi.Call{
			Binding: b, Peer: netip.AddrPortFrom(netip.MustParseAddr(addr), 1234), In: in, Out: new(transport.Pairs),
			Codec: signUpCodec{Email: email, Password: plain},
		}
		return handle(call.Context(ctx), call)
	}
}

// signUpCodec is a request that has arrived.
type signUpCodec auth.SignUpRequest

func (c signUpCodec) Decode(request any) error {
	*request.(*auth.SignUpRequest) = auth.SignUpRequest(c)
	return nil
}

func (signUpCodec) Encode(any) error { return nil }

// One network that guesses at ever new addresses leaves no more rows than its bucket lets
// through, and none after the window.
func TestGuessesOfOneNetworkLeaveFewRows(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Lockout.Network = 20
	dbtest.Engines(t, func(t *testing.T, url string) {
		n := start(t, url, c, 1000, newClock())
		for i := range 60 {
			_, err := n.login(fmt.Sprint("nobody", i, "@example.org"), "a guess that is wrong", home)
			want(t, "a guess", err, auth.ErrInvalidUser)
		}
		// An account and a pair for each of the guesses that were evaluated, and three for the
		// network: refused attempts write as many as others.
		if rows := n.rows("attempts"); rows != 43 {
			t.Errorf("%d rows, want 43", rows)
		}
		n.clock.advance(25 * time.Hour)
		if err := n.store.DeleteAttempts(t.Context(), n.clock.Now().Add(-24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if rows := n.rows("attempts"); rows != 0 {
			t.Errorf("%d rows after the window", rows)
		}
	})
}

// One account that logs in from everywhere leaves twenty networks.
func TestNetworksOfOneAccountAreFew(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		for i := range 30 {
			if _, err := n.login(email, secret, fmt.Sprint("198.51.100.", i)); err != nil {
				t.Fatal(err)
			}
			n.clock.advance(time.Minute)
		}
		if rows := n.rows("networks"); rows != 20 {
			t.Errorf("%d rows, want 20", rows)
		}
	})
}

func (n *node) rows(table string) (count int) {
	n.t.Helper()
	if strings.Trim(table, "abcdefghijklmnopqrstuvwxyz_") != "" {
		n.t.Fatalf("%q is no table", table)
	}
	if err := n.db.QueryRow(n.t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&count); err != nil && !errors.Is(err, database.ErrNotFound) {
		n.t.Fatal(err)
	}
	return count
}
