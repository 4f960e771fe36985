package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// brokenAttempts counts, and cannot take anything back.
type brokenAttempts struct{ *store.Store }

var errBroken = errors.New("cannot be taken back")

func (brokenAttempts) Settle(context.Context, []string, []store.Counted, string, string, time.Time) error {
	return errBroken
}

func (brokenAttempts) Refund(context.Context, []store.Counted) error { return errBroken }

// A login whose success cannot be stored fails: otherwise its attempts would add up unseen. One
// that was given up and cannot be taken back is logged.
func TestAttemptsThatCannotBeRefunded(t *testing.T) {
	t.Parallel()
	n := start(t, dbtest.SQLite(t), defaults(), 10, newClock(), func(o *service.Options) { o.Attempts = brokenAttempts{o.Store} })
	n.add(email, secret)
	if issued, err := n.login(email, secret, home); !errors.Is(err, errBroken) || issued != "" {
		t.Errorf("%q, %v", issued, err)
	}
	release := n.occupy(2)
	defer release()
	ctx, cancel := context.WithCancel(from(t.Context(), home))
	gone := make(chan error, 1)
	go func() {
		_, err := n.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: secret})
		gone <- err
	}()
	eventually(t, func() bool { return n.pool.Stats().Queued == 1 })
	cancel()
	want(t, "the caller", <-gone, context.Canceled)
	if !strings.Contains(n.text(), "an attempt that was not evaluated stays counted") {
		t.Errorf("not logged:\n%s", n.text())
	}
}

// uncounted fails so many times to count.
type uncounted struct {
	*store.Store

	failures atomic.Int64
}

func (u *uncounted) Reserve(ctx context.Context, buckets []store.Bucket, now time.Time, window time.Duration) ([]store.Counted, time.Time, error) {
	if u.failures.Add(-1) >= 0 {
		return nil, time.Time{}, errBroken
	}
	return u.Store.Reserve(ctx, buckets, now, window)
}

// Guesses that cannot be counted are not evaluated, and leave no trace: the others do not wait
// for them.
func TestGuessesThatCannotBeCounted(t *testing.T) {
	t.Parallel()
	attempts := &uncounted{}
	n := start(t, dbtest.SQLite(t), defaults(), 10, newClock(), func(o *service.Options) {
		attempts.Store, o.Attempts = o.Store, attempts
	})
	n.add(email, secret)
	attempts.failures.Store(6)
	before := n.hashes()
	for range 6 { // one more than may be evaluated at a time
		_, err := n.login(email, secret, home)
		want(t, "a guess that is not counted", err, errBroken)
	}
	if n.hashes() != before {
		t.Error("hashed")
	}
	n.mustLogin()
}

// entries are messages of the log with the account that they name.
func (n *node) entries() (list []string) {
	n.t.Helper()
	for line := range strings.Lines(n.text()) {
		var entry struct {
			Level, Msg string
			User       *string `json:"user_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			n.t.Fatal(err)
		}
		if entry.User != nil {
			list = append(list, strings.TrimSpace(entry.Level+" "+entry.Msg+" "+*entry.User))
		}
	}
	return list
}

// Outcomes of logins are logged with the ID of the account. Unknown addresses are not logged.
func TestLoginsAreLogged(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	users, err := n.Users(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	id := users[0].ID
	raw := n.mustLogin()
	if _, err := n.change(raw, secret, "a difference engine"); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		_, _ = n.login(email, secret, home)
	}
	_, _ = n.login("nobody@example.org", secret, home)
	wanted := []string{"INFO login " + id, "INFO password changed " + id}
	for range 5 {
		wanted = append(wanted, "INFO login failed "+id)
	}
	wanted = append(wanted, "INFO login refused: locked "+id, "INFO login failed")
	if got := n.entries(); !slices.Equal(got, wanted) {
		t.Errorf("%q, want %q", got, wanted)
	}
	for event, times := range map[string]int{"login_ok": 1, "login_failed": 6, "login_locked": 1} {
		if n.count(event) != times {
			t.Errorf("%s is counted %d times, want %d", event, n.count(event), times)
		}
	}
}

// keepPasswords makes SQLite refuse to store another password of an account.
func (n *node) keepPasswords() {
	n.t.Helper()
	err := n.db.Write(n.t.Context(), func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TRIGGER kept BEFORE UPDATE OF password ON users BEGIN SELECT RAISE(ABORT, 'kept'); END")
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// A password that cannot be stored is not changed, and the caller keeps the token.
func TestAPasswordThatCannotBeStored(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	n.keepPasswords()
	if issued, err := n.change(raw, secret, "a difference engine"); err == nil || issued != "" || !strings.Contains(err.Error(), "kept") {
		t.Errorf("%q, %v", issued, err)
	}
	if err := n.SetPassword(t.Context(), email, "a difference engine"); err == nil {
		t.Error("an operator's change is taken for one")
	}
	if err := n.validate(raw); err != nil {
		t.Errorf("the token: %v", err)
	}
	n.mustLogin()
}

// A hash that cannot be renewed is no reason to refuse a login.
func TestALoginSucceedsThoughItsHashCannotBeRenewed(t *testing.T) {
	t.Parallel()
	url, at := dbtest.SQLite(t), newClock()
	start(t, url, defaults(), 10, at).add(email, secret)
	c := defaults()
	c.Password.Memory *= 2
	n := start(t, url, c, 10, at)
	n.keepPasswords()
	if err := n.validate(n.mustLogin()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(n.text(), "rehash put off to the next login") {
		t.Errorf("not logged:\n%s", n.text())
	}
}

// A panic while a password is held against a hash is a fault of the service, and the guess counts.
func TestAPanicWhileHashing(t *testing.T) {
	t.Parallel()
	n := start(t, dbtest.SQLite(t), defaults(), 10, newClock(), func(o *service.Options) {
		observe := o.Observe
		o.Observe = func(event string) {
			if observe(event); event == "unusable_hash" {
				panic("a defect")
			}
		}
	})
	if err := n.store.AddUser(t.Context(), store.User{ID: "ada", Email: email, Password: "plain text", Generation: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		_, err := n.login(email, secret, home)
		panicked, ok := errors.AsType[*chassi.PanicError](err)
		if !ok || panicked.Value != "a defect" || len(panicked.Stack) == 0 || chassi.ErrorOf(err).Code != chassi.Internal {
			t.Errorf("guess %d: %v", i, err)
		}
	}
	_, err := n.login(email, secret, home)
	want(t, "a guess too many", err, auth.ErrInvalidUser)
}

// An old password that no password can be is a wrong one, and costs no guess.
func TestAnOldPasswordThatIsNoText(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	before := n.hashes()
	for range 6 {
		_, err := n.change(raw, "not UTF-8: \xff", "a difference engine")
		want(t, "the change", err, auth.ErrWrongPassword)
	}
	if n.hashes() != before {
		t.Error("hashed")
	}
	if _, err := n.change(raw, secret, "a difference engine"); err != nil {
		t.Error(err)
	}
	_, err := n.Principal(t.Context(), raw+"x")
	want(t, "a principal without a good token", err, auth.ErrInvalidToken)
}

// A token lasts no longer than its issue allows where clocks are set back, and is good all the
// same: the issue that it shows may be behind the time by which it ends.
func TestTheLongestTokenIsGood(t *testing.T) {
	t.Parallel()
	c, at := defaults(), newClock()
	c.Token.TTL = 720 * time.Hour
	n := start(t, dbtest.SQLite(t), c, 10, at, func(o *service.Options) {
		o.Issued = func() time.Time { return at.Now().Add(-time.Hour) }
	})
	n.add(email, secret)
	raw := n.mustLogin()
	if err := n.validate(raw); err != nil {
		t.Fatal(err)
	}
	at.advance(719*time.Hour - time.Second)
	if err := n.validate(raw); err != nil {
		t.Errorf("before its end: %v", err)
	}
	at.advance(10 * time.Second)
	want(t, "720 hours after its issue", n.validate(raw), auth.ErrInvalidToken)
}

// Expired rows are deleted: attempts after the window, signing keys after a day.
func TestEndedEntriesAreDeleted(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		_, _ = n.login(email, "a guess that is wrong", home)
		if _, err := n.RotateKey(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		counted := n.rows("attempts")
		for _, step := range []struct {
			after          time.Duration
			attempts, keys int
		}{
			{23 * time.Hour, counted, 2},
			{time.Hour + time.Minute, 0, 2}, // the old key verified for an hour
			{time.Hour, 0, 1},
		} {
			n.clock.advance(step.after)
			if err := n.CleanUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(n.rows("attempts"), len(n.ring().Keys)), fmt.Sprint(step.attempts, step.keys); got != want {
				t.Errorf("attempts and keys: %s, want %s", got, want)
			}
		}
	})
}
