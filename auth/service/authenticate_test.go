package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
)

// T13: an unknown address, a wrong password and a disabled account are answered
// with one error after the work of one hash.
func TestT13BadCredentialsLookAlike(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		n.add("off@example.org", secret)
		if err := n.SetDisabled(t.Context(), "off@example.org", true); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct{ address, plain string }{
			"unknown":  {"nobody@example.org", secret},
			"wrong":    {email, "a guess that is wrong"},
			"disabled": {"off@example.org", secret},
		} {
			before := n.hashes()
			_, err := n.login(c.address, c.plain, home)
			if e := chassi.ErrorOf(err); !errors.Is(err, auth.ErrInvalidUser) || len(e.Violations) > 0 || e.RetryAfter != 0 || e.Message != "Invalid user" {
				t.Errorf("%s: %#v", name, err)
			}
			if spent := n.hashes() - before; spent != 1 {
				t.Errorf("%s: %d hashes, want 1", name, spent)
			}
		}
	})
}

// T15: a locked account refuses the right password, after the work of one hash, until
// the delay is over.
func TestT15LockedAccountRefusesTheRightPassword(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		for range 5 {
			_, err := n.login(email, "a guess that is wrong", home)
			want(t, "a guess", err, auth.ErrInvalidUser)
		}
		hashes, evaluated := n.hashes(), n.evaluated()
		_, err := n.login(email, secret, home)
		want(t, "the right password", err, auth.ErrInvalidUser)
		if n.evaluated() != evaluated || n.hashes() != hashes+1 || n.count("login_locked") != 1 {
			t.Errorf("%d guesses evaluated and %d hashes while locked, want 0 and 1; locked %d times",
				n.evaluated()-evaluated, n.hashes()-hashes, n.count("login_locked"))
		}
		n.clock.advance(time.Second)
		if _, err := n.login(email, secret, home); err != nil {
			t.Errorf("after the delay: %v", err)
		}
	})
}

// The delay doubles up to its bound, and a success ends it.
func TestTheDelayGrows(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	for range 5 {
		_, _ = n.login(email, "a guess that is wrong", home)
	}
	for delay := time.Second; delay <= 16*time.Second; delay *= 2 {
		n.clock.advance(delay - time.Millisecond)
		before := n.evaluated()
		_, _ = n.login(email, "a guess that is wrong", home)
		if n.evaluated() != before {
			t.Errorf("evaluated within %v", delay)
		}
		n.clock.advance(time.Millisecond)
		_, _ = n.login(email, "a guess that is wrong", home)
		if n.evaluated() != before+1 {
			t.Errorf("not evaluated after %v", delay)
		}
	}
	n.clock.advance(15 * time.Minute)
	n.mustLogin()
	before := n.evaluated()
	_, _ = n.login(email, "a guess that is wrong", home)
	if n.evaluated() != before+1 {
		t.Error("locked again right after a success")
	}
}

// T16: of 200 wrong passwords at once, on two nodes, no more than the limit are
// evaluated.
func TestT16ParallelGuesses(t *testing.T) {
	t.Parallel()
	two(t, func(t *testing.T, a, b *node) {
		a.add(email, secret)
		before := a.evaluated() + b.evaluated()
		var all sync.WaitGroup
		for i := range 200 {
			n := a
			if i%2 == 1 {
				n = b
			}
			all.Go(func() {
				_, err := n.login(email, fmt.Sprint("a wrong guess ", i), home)
				want(t, "a guess", err, auth.ErrInvalidUser)
			})
		}
		all.Wait()
		if spent := a.evaluated() + b.evaluated() - before; spent != 5 {
			t.Errorf("%d guesses evaluated, want 5", spent)
		}
	})
}

// T17: all spellings of an address share one counter.
func TestT17OneCounterForAllSpellings(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	for _, spelling := range []string{"ADA@example.org", "ada@EXAMPLE.org", " ada@example.org ", "ada@example.org.", "Ada@Example.Org"} {
		_, err := n.login(spelling, "a guess that is wrong", home)
		want(t, spelling, err, auth.ErrInvalidUser)
	}
	before := n.evaluated()
	_, err := n.login(email, secret, home)
	want(t, "the right password", err, auth.ErrInvalidUser)
	if n.evaluated() != before {
		t.Error("not locked")
	}
}

// T18: guesses from other networks do not lock the owner out of a known network.
func TestT18OtherNetworksDoNotLockTheOwnerOut(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		n.mustLogin()
		for i := range 60 { // more than the account's limit, from many networks
			_, _ = n.login(email, "a guess that is wrong", fmt.Sprintf("198.51.100.%d", i))
		}
		before := n.evaluated()
		_, err := n.login(email, secret, "203.0.113.1")
		want(t, "from an unknown network", err, auth.ErrInvalidUser)
		if n.evaluated() != before {
			t.Error("the account is not locked for other networks: the test shows nothing")
		}
		if _, err := n.login(email, secret, home); err != nil {
			t.Errorf("the owner at home: %v", err)
		}
	})
}

// T28: a stored hash with hostile parameters is refused before anything is
// allocated for it: the login fails, and the error is logged.
func TestT28HostileStoredHash(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		for i, hostile := range []string{
			"$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2U",
			"$argon2id$v=19$m=65536,t=4294967295,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2U",
			"$argon2id$v=19$m=64,t=1,p=255$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2U",
			"$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2U",
			"$argon2id$v=18$m=64,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2U",
			"$argon2id$v=19$m=64", "$2b$31$", "", "plain text",
		} {
			address := fmt.Sprintf("user%d@example.org", i)
			if err := n.store.AddUser(t.Context(), store.User{ID: address, Email: address, Password: hostile, Generation: 1}); err != nil {
				t.Fatal(err)
			}
			_, err := n.login(address, secret, fmt.Sprintf("192.0.2.%d", i))
			want(t, hostile, err, auth.ErrInvalidUser)
			if n.count("unusable_hash") != i+1 {
				t.Errorf("%s: not logged for the operator", hostile)
			}
		}
	})
}

// T32: a login under raised parameters stores a new hash, a wrong password does
// not, and the rehashed account can log in.
func TestT32RehashOnLogin(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at := newClock()
		start(t, url, defaults(), 100, at).add(email, secret)
		raised := defaults()
		raised.Password.Memory *= 2
		n := start(t, url, raised, 100, at)
		old, err := n.store.UserByEmail(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = n.login(email, "a guess that is wrong", home)
		if now, _ := n.store.UserByEmail(t.Context(), email); now.Password != old.Password {
			t.Error("a wrong password rewrote the hash")
		}
		token := n.mustLogin()
		now, _ := n.store.UserByEmail(t.Context(), email)
		if now.Password == old.Password || password.NeedsRehash(now.Password, raised.Password) {
			t.Errorf("not rehashed: %s", now.Password)
		}
		if now.Generation != old.Generation || n.validate(token) != nil {
			t.Error("the rehash ended tokens")
		}
		n.mustLogin()
	})
}

// T31: a login canceled while it waits for the pool frees its place, and the guess
// counts for nothing.
func TestT31GivingUpFreesThePlace(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	release := n.occupy(2)
	ctx, cancel := context.WithCancel(from(t.Context(), home))
	gone := make(chan error, 1)
	go func() {
		_, err := n.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: secret})
		gone <- err
	}()
	eventually(t, func() bool { return n.pool.Stats().Queued == 1 })
	before := n.evaluated()
	cancel()
	want(t, "the caller", <-gone, context.Canceled)
	if n.pool.Stats().Queued != 0 {
		t.Error("still in the queue")
	}
	release()
	for range 5 { // all that the limit gives: the one that gave up counted for nothing
		_, err := n.login(email, "a guess that is wrong", home)
		want(t, "a guess", err, auth.ErrInvalidUser)
	}
	eventually(t, func() bool { return n.pool.Stats().Busy == 0 })
	if spent := n.evaluated() - before; spent != 5 {
		t.Errorf("%d guesses evaluated, want 5", spent)
	}
}

// A caller that gives up takes back what was counted for it, and nothing of what others' guesses
// count in: from a known network that is the pair alone.
func TestGivingUpUnlocksNoOtherAccount(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Lockout.Account = 3
	n := start(t, dbtest.SQLite(t), c, 1000, newClock())
	n.add(email, secret)
	if _, err := n.login(email, secret, home); err != nil { // which makes it known
		t.Fatal(err)
	}
	const elsewhere = "203.0.113.9"
	guess := func(password string) error {
		_, err := n.login(email, password, elsewhere)
		return err
	}
	want(t, "a guess", guess("wrong"), auth.ErrInvalidUser)
	want(t, "a guess", guess("wrong too"), auth.ErrInvalidUser)
	release := n.occupy(2)
	for range 2 {
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
	release()
	want(t, "the third guess", guess("wrong again"), auth.ErrInvalidUser)
	want(t, "the right password, from where the account is locked", guess(secret), auth.ErrInvalidUser)
	if _, err := n.login(email, secret, home); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// T30: with workers busy and the queue full, a login gets ErrBusy with a retry delay, and
// tokens are validated as ever.
func TestT30FullPoolShedsLogins(t *testing.T) {
	t.Parallel()
	n := start(t, dbtest.SQLite(t), defaults(), 1, newClock())
	n.add(email, secret)
	raw := n.mustLogin()
	release := n.occupy(3) // two workers and the one place
	defer release()
	_, err := n.login(email, secret, home)
	if e := chassi.ErrorOf(err); !errors.Is(err, auth.ErrBusy) || e.RetryAfter <= 0 {
		t.Errorf("%v, want busy with a delay", err)
	}
	if err := n.validate(raw); err != nil {
		t.Errorf("validation: %v", err)
	}
	if n.count("shed") != 1 {
		t.Errorf("%d shed", n.count("shed"))
	}
}

// occupy fills the pool with tasks that end at release.
func (n *node) occupy(tasks int) (release func()) {
	n.t.Helper()
	hold := make(chan struct{})
	for range tasks {
		if err := n.pool.TrySubmit(n.t.Context(), func(context.Context) { <-hold }); err != nil {
			n.t.Fatal(err)
		}
	}
	eventually(n.t, func() bool { s := n.pool.Stats(); return s.Busy+s.Queued >= tasks })
	return sync.OnceFunc(func() { close(hold) })
}

func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("did not come true within 10 s")
		}
	}
}

// T22: only the exact password matches, however much of it is alike.
func TestT22LongPasswordsAreNotCut(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	for _, length := range []int{72, 73, 128} {
		address, long := fmt.Sprintf("user%d@example.org", length), strings.Repeat("ab cd ef ", 15)[:length]
		n.add(address, long)
		for _, other := range []string{long[:length-1], long + "x", long[:length-1] + "#"} {
			_, err := n.login(address, other, home)
			want(t, other, err, auth.ErrInvalidUser)
		}
		if _, err := n.login(address, long, home); err != nil {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

// T23: length is counted in code points, size in bytes; what cannot be a password
// is refused before any hashing.
func TestT23OddPasswords(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	before := n.hashes()
	for name, plain := range map[string]string{
		"seven code points of four bytes": strings.Repeat("𐀀", 7),
		"NUL":                             "correct\x00horse battery",
		"a lone surrogate":                "correct horse \xed\xa0\x80",
		"1 MB":                            strings.Repeat("a b ", 1<<18),
	} {
		_, err := n.AddUser(t.Context(), email, plain)
		want(t, name, err, auth.ErrWeakPassword)
		if e := chassi.ErrorOf(err); len(e.Violations) == 0 || e.Violations[0].Field != "password" {
			t.Errorf("%s: %+v, want the field named", name, e)
		}
	}
	if n.hashes() != before {
		t.Error("hashed")
	}
	n.add(email, "длинный пароль")
	if _, err := n.login(email, "длинный пароль", home); err != nil {
		t.Error(err)
	}
}

// T24: the composed and the decomposed form of a password are one; case and
// spaces are kept.
func TestT24UnicodeForms(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, "caf\u00e9 de la gare")
	if _, err := n.login(email, "cafe\u0301 de la gare", home); err != nil {
		t.Errorf("decomposed: %v", err)
	}
	for _, other := range []string{"Caf\u00e9 de la gare", "caf\u00e9 de la gare ", "cafe de la gare"} {
		_, err := n.login(email, other, home)
		want(t, other, err, auth.ErrInvalidUser)
	}
}

// T27: neither passwords nor tokens nor control characters of an address get into
// the log.
func TestT27NothingSecretIsLogged(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	_, _ = n.login(email, "canary password", home)
	_, _ = n.login("canary@example.org", "canary password", home)
	_, _ = n.login("a@b\r\n{\"level\":\"ERROR\"}", "canary password", home)
	_ = n.validate(raw + "x")
	if _, err := n.change(raw, secret, "canary next password"); err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{secret, "canary", raw, raw[strings.LastIndexByte(raw, '.')+1:], `{\"level`} {
		if strings.Contains(n.text(), leak) {
			t.Errorf("the log holds %q:\n%s", leak, n.text())
		}
	}
}

func TestSignUpCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.SignUp = false
	n := start(t, dbtest.SQLite(t), c, 10, newClock())
	_, err := n.SignUp(t.Context(), &auth.SignUpRequest{Email: email, Password: secret})
	want(t, "sign-up", err, auth.ErrSignUpDisabled)
}

// T14: sign-up with a taken address has the response of one with a new address, after the same
// work, and changes nothing.
func TestT14SignUpRevealsNothing(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		var responses []string
		for _, plain := range []string{secret, "another password"} {
			before := n.hashes()
			response, err := n.SignUp(t.Context(), &auth.SignUpRequest{Email: "Ada@Example.org", Password: plain})
			responses = append(responses, fmt.Sprintf("%+v %v, %d hashes", response, err, n.hashes()-before))
		}
		if responses[0] != responses[1] || responses[0] != "&{Email:ada@example.org} <nil>, 1 hashes" {
			t.Errorf("new: %s\ntaken: %s", responses[0], responses[1])
		}
		n.mustLogin()
		_, err := n.login(email, "another password", home)
		want(t, "the second password", err, auth.ErrInvalidUser)
	})
}

var _ auth.Service = (*service.Service)(nil)

// Many logins at once with the right password are all let in, from one place and
// into one account.
func TestParallelLoginsOfTheOwner(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		for range 4 { // one short of the limit
			_, _ = n.login(email, "a guess that is wrong", home)
		}
		n.mustLogin()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := n.login(email, secret, home); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// Attempts that are canceled while they wait for others are not counted.
func TestGivingUpInTheQueue(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	release := n.occupy(2)
	ctx, cancel := context.WithCancel(from(t.Context(), home))
	results := make(chan error, 8)
	for range cap(results) { // five run or wait for a worker, three wait in the attempt queue
		go func() {
			_, err := n.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: secret})
			results <- err
		}()
	}
	eventually(t, func() bool { return n.pool.Stats().Queued == 5 })
	cancel()
	for range cap(results) {
		want(t, "a caller who gave up", <-results, context.Canceled)
	}
	release()
	for range 10 {
		n.mustLogin()
	}
}

// Fault 48: guesses at many accounts from one address do not lock out accounts that have
// logged in from there before. Other accounts wait at most a minute.
func TestFault48NeighboursDoNotLockEachOtherOut(t *testing.T) {
	t.Parallel()
	c := defaults()
	c.Lockout.Network = 10
	n := start(t, dbtest.SQLite(t), c, 100, newClock())
	n.add(email, secret)
	n.add("grace@example.org", secret)
	n.mustLogin()
	for i := range 40 {
		_, _ = n.login(fmt.Sprintf("victim%d@example.org", i), "a guess that is wrong", home)
		n.clock.advance(time.Minute)
	}
	_, _ = n.login("victim@example.org", "a guess that is wrong", home)
	before := n.evaluated()
	_, err := n.login("grace@example.org", secret, home)
	want(t, "a newcomer", err, auth.ErrInvalidUser)
	if n.evaluated() != before {
		t.Error("the network is not locked: the test shows nothing")
	}
	n.mustLogin()
	n.clock.advance(time.Minute)
	if _, err := n.login("grace@example.org", secret, home); err != nil {
		t.Errorf("a newcomer after a minute: %v", err)
	}
}
