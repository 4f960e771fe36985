package service_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
)

// slow takes long enough for a caller to give up in the middle.
var slow = password.Params{Memory: 16 << 10, Time: 3, Parallelism: 1, SaltLen: 8, KeyLen: 16}

// interrupt makes a guess, and ends its caller while the hash is being computed.
func (n *node) interrupt(t *testing.T, address, plain string, end func(context.Context) (context.Context, context.CancelFunc)) {
	t.Helper()
	ctx, cancel := end(from(t.Context(), home))
	defer cancel()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = n.Authenticate(ctx, &auth.AuthenticateRequest{Email: address, Password: plain})
	}()
	eventually(t, func() bool { return n.pool.Stats().Busy == 1 || isClosed(gone) })
	cancel()
	<-gone
	eventually(t, func() bool { return n.pool.Stats().Busy == 0 })
}

// pastDeadline ends as one whose deadline has passed, but at a moment of the test's choice:
// a deadline in time may pass before the hash begins, which counts for nothing.
type pastDeadline struct{ context.Context }

func (c pastDeadline) Err() error {
	if c.Context.Err() == nil {
		return nil
	}
	return context.DeadlineExceeded
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// R80: a guess whose hash began counts, however its caller ends.
func TestStartedGuessesAreCounted(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"canceled": context.WithCancel,
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			return pastDeadline{ctx}, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := defaults()
			c.Password = slow
			n := start(t, dbtest.SQLite(t), c, 100, newClock())
			n.add(email, secret)
			for i := 0; n.count("login_failed") < c.Lockout.Pair && i < 20; i++ {
				n.interrupt(t, email, fmt.Sprint("a wrong guess ", i), end)
			}
			_, err := n.login(email, secret, home)
			want(t, "after as many guesses as there may be", err, auth.ErrInvalidUser)
			if n.count("login_locked") != 1 {
				t.Errorf("locked %d times, want once: the guesses were not counted", n.count("login_locked"))
			}
		})
	}
}

// A login with the right password that is canceled does not count as a failure.
func TestRightPasswordIsNotCountedAfterCancellation(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Password = slow
	n := start(t, dbtest.SQLite(t), c, 100, newClock())
	n.add(email, secret)
	for range c.Lockout.Pair + 1 {
		n.interrupt(t, email, secret, context.WithCancel)
	}
	n.mustLogin()
}

// R80: the old password of a change is a guess like that of a login.
func TestStartedOldPasswordsAreCounted(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Password = slow
	n := start(t, dbtest.SQLite(t), c, 100, newClock())
	n.add(email, secret)
	raw := n.mustLogin()
	for i := 0; n.count("login_failed") < c.Lockout.Pair && i < 20; i++ {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = n.changeIn(ctx, raw, fmt.Sprint("a wrong guess ", i), "a difference engine")
		}()
		eventually(t, func() bool { return n.pool.Stats().Busy == 1 || isClosed(gone) })
		cancel()
		<-gone
		eventually(t, func() bool { return n.pool.Stats().Busy == 0 })
	}
	_, err := n.change(raw, secret, "a difference engine")
	want(t, "after as many guesses as there may be", err, auth.ErrWrongPassword)
}
