package service_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// Invalid requests of an operator return an error and change nothing.
func TestOperatorsAreRefused(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	before, _ := n.Users(t.Context(), "", 10)
	for what, change := range map[string]func(ctx context.Context, address string) error{
		"add": func(ctx context.Context, address string) error { _, err := n.AddUser(ctx, address, secret); return err },
		"set password": func(ctx context.Context, address string) error {
			return n.SetPassword(ctx, address, "a difference engine")
		},
		"disable": func(ctx context.Context, address string) error { return n.SetDisabled(ctx, address, true) },
		"delete":  n.DeleteUser,
	} {
		want(t, what+" no address", change(t.Context(), "no address"), auth.ErrInvalidEmail)
		if what != "add" {
			want(t, what+" nobody", change(t.Context(), "nobody@example.org"), store.ErrNotFound)
		}
	}
	want(t, "a weak password of nobody", n.SetPassword(t.Context(), "nobody@example.org", "short"), store.ErrNotFound)
	err := n.SetPassword(t.Context(), email, "short")
	want(t, "a weak password", err, auth.ErrWeakPassword)
	if e := chassi.ErrorOf(err); len(e.Violations) != 1 || e.Violations[0].Field != "password" || e.Violations[0].Message != "is too short" {
		t.Errorf("a weak password: %+v", e.Violations)
	}
	if now, err := n.Users(t.Context(), "", 10); err != nil || len(now) != 1 || now[0] != before[0] {
		t.Errorf("%+v, %v, want %+v", now, err, before)
	}
	n.mustLogin()
}

// An account deleted during a call of its owner has no valid token.
func TestCallsOfADeletedAccount(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		principal, err := n.Principal(t.Context(), n.mustLogin())
		if err != nil {
			t.Fatal(err)
		}
		call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(home), 1234), Principal: principal}
		ctx := call.Context(t.Context())
		if me, err := n.Me(ctx, &auth.MeRequest{}); err != nil || me.ID != principal.Subject || me.Email != email || me.CreatedAt.IsZero() {
			t.Errorf("before: %+v, %v", me, err)
		}
		if err := n.DeleteUser(t.Context(), "Ada@Example.org"); err != nil {
			t.Fatal(err)
		}
		n.add(email, secret) // another account with the address
		_, err = n.Me(ctx, &auth.MeRequest{})
		want(t, "me", err, auth.ErrInvalidToken)
		_, err = n.ChangePassword(ctx, &auth.ChangePasswordRequest{OldPassword: secret, NewPassword: "a difference engine"})
		want(t, "change of the password", err, auth.ErrInvalidToken)
		n.mustLogin()
	})
}

// Without its database the service responds that it is not available, and when to retry.
func TestWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	principal, err := n.Principal(t.Context(), n.mustLogin())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.db.Close(); err != nil {
		t.Fatal(err)
	}
	n.clock.advance(time.Second) // what is remembered is old
	call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(home), 1234), Principal: principal}
	for what, do := range map[string]func(ctx context.Context) error{
		"login":   func(context.Context) error { _, err := n.login(email, secret, home); return err },
		"sign-up": func(context.Context) error { return n.signUp("new@example.org") },
		"me":      func(ctx context.Context) error { _, err := n.Me(ctx, &auth.MeRequest{}); return err },
		"change of the password": func(ctx context.Context) error {
			_, err := n.ChangePassword(ctx, &auth.ChangePasswordRequest{OldPassword: secret, NewPassword: "a difference engine"})
			return err
		},
		"new account": func(ctx context.Context) error { _, err := n.AddUser(ctx, "new@example.org", secret); return err },
		"start":       n.Start,
	} {
		err := do(call.Context(t.Context()))
		if e := chassi.ErrorOf(err); !errors.Is(err, auth.ErrUnavailable) || e.RetryAfter != time.Second {
			t.Errorf("%s: %v, want unavailable for a second", what, err)
		}
	}
	for what, do := range map[string]func(ctx context.Context) error{
		"set password": func(ctx context.Context) error { return n.SetPassword(ctx, email, secret) },
		"disable":      func(ctx context.Context) error { return n.SetDisabled(ctx, email, true) },
		"delete":       func(ctx context.Context) error { return n.DeleteUser(ctx, email) },
		"list":         func(ctx context.Context) error { _, err := n.Users(ctx, "", 1); return err },
		"keys":         func(ctx context.Context) error { _, err := n.Keys(ctx); return err },
		"rotate":       func(ctx context.Context) error { _, err := n.RotateKey(ctx, false); return err },
		"reset":        func(ctx context.Context) error { _, err := n.ResetKeys(ctx); return err },
		"forget":       func(ctx context.Context) error { return n.DeleteKeys(ctx, true) },
		"poll":         n.PollKeys, "kinds": n.LoadCosts, "clean-up": n.CleanUp,
	} {
		if err := do(t.Context()); !store.IsUnavailable(err) {
			t.Errorf("%s: %v, want the database unavailable", what, err)
		}
	}
}

// While the pool is full, every call that hashes passwords is rejected before any work is done.
func TestAFullPoolSheds(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	attempts := n.rows("attempts")
	defer n.occupy(2 + 1000)()
	for what, do := range map[string]func() error{
		"sign-up":                func() error { return n.signUp("new@example.org") },
		"login":                  func() error { _, err := n.login("nobody@example.org", secret, "198.51.100.7"); return err },
		"change of the password": func() error { _, err := n.change(raw, secret, "a difference engine"); return err },
		"new account":            func() error { _, err := n.AddUser(t.Context(), "new@example.org", secret); return err },
		"digest":                 func() error { _, err := n.Stretch(t.Context(), []byte("some salt"), []byte("text")); return err },
	} {
		shed, err := n.count("shed"), do()
		if e := chassi.ErrorOf(err); !errors.Is(err, auth.ErrBusy) || e.RetryAfter != time.Second || n.count("shed") != shed+1 {
			t.Errorf("%s: %v, shed %d times, want busy for a second", what, err, n.count("shed")-shed)
		}
	}
	if users, now := n.rows("users"), n.rows("attempts"); users != 1 || now != attempts {
		t.Errorf("%d accounts, %d attempts counted", users, now-attempts)
	}
}

// The places that a source has in the queue are given back when its calls end.
func TestPlacesOfEndedCallsAreReleased(t *testing.T) {
	t.Parallel()
	n := start(t, dbtest.SQLite(t), defaults(), 2, newClock()) // two places of one source
	n.add(email, secret)
	plain := secret
	for i := range 3 {
		raw, err := n.login(email, plain, home)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.change(raw, plain, plain+"!"); err != nil {
			t.Fatal(err)
		}
		plain += "!"
		if _, err := n.SignUp(from(t.Context(), home), &auth.SignUpRequest{Email: fmt.Sprint("user", i, "@example.org"), Password: secret}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Stretch(from(t.Context(), home), []byte("some salt"), []byte("text")); err != nil {
			t.Fatal(err)
		}
	}
}

// Where no token can be issued no password is changed: the caller would be left with neither.
func TestNoPasswordIsChangedWithoutASigningKey(t *testing.T) {
	t.Parallel()
	url, at := dbtest.SQLite(t), newClock()
	n := start(t, url, defaults(), 10, at, under(newMaster(), nil))
	n.add(email, secret)
	principal, err := n.Principal(t.Context(), n.mustLogin())
	if err != nil {
		t.Fatal(err)
	}
	other := start(t, url, defaults(), 10, at, under(newMaster(), nil))
	call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(home), 1234), Principal: principal}
	_, err = other.ChangePassword(call.Context(t.Context()), &auth.ChangePasswordRequest{OldPassword: secret, NewPassword: "a difference engine"})
	want(t, "the change", err, auth.ErrUnavailable)
	n.mustLogin()
}

// Logins that succeed do not count against their network, however many accounts log in from there.
func TestLoginsThatSucceedDoNotLockTheirNetwork(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Lockout.Network = 3
	n := start(t, dbtest.SQLite(t), c, 10, newClock())
	for i := range 6 {
		address := fmt.Sprint("user", i, "@example.org")
		n.add(address, secret)
		if _, err := n.login(address, secret, home); err != nil {
			t.Errorf("login %d: %v", i, err)
		}
	}
}
