package service_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/load/slowdisk"
	"github.com/chassi-go/chassi/password"
	"github.com/google/go-cmp/cmp"
)

// cost is what a call took of what takes time.
type cost struct {
	Tasks      uint64   // on the pool that hashes
	Hashes     int64    // of any cost
	Waits      int64    // for the disk
	Statements []string // that the database was sent; not seen with SQLite
}

// meter measures cost on one engine.
type meter struct {
	url        string
	waits      func() int64
	statements func() []string
}

func sqliteMeter(t *testing.T) meter {
	t.Helper()
	disk, err := slowdisk.SQLite()
	if err != nil {
		t.Fatal(err)
	}
	return meter{dbtest.SQLite(t), disk.Syncs, func() []string { return nil }}
}

func postgresMeter(t *testing.T) meter {
	t.Helper()
	u, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := slowdisk.Postgres(t.Context(), u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	u.Host = disk.Addr()
	return meter{u.String(), disk.Commits, disk.Statements}
}

func (m meter) of(n *node, call func()) cost {
	tasks, hashes, waits := n.hashes(), n.Hashed(), m.waits()
	m.statements()
	call()
	c := cost{Tasks: n.hashes() - tasks, Hashes: n.Hashed() - hashes, Waits: m.waits() - waits}
	for _, s := range m.statements() {
		if s != "-- ping" { // of a connection that was idle for a second
			c.Statements = append(c.Statements, strings.ReplaceAll(s, "INTO taken_sign_ups", "INTO users"))
		}
	}
	return c
}

// start makes a node without background work, which would be measured too.
func (m meter) start(t *testing.T, c service.Config) *node {
	t.Helper()
	n := start(t, m.url, c, 10, newClock())
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// onMeters runs test alone, because a meter of SQLite is one of the whole process.
func onMeters(t *testing.T, test func(t *testing.T, m meter)) {
	t.Helper()
	for name, newMeter := range map[string]func(*testing.T) meter{"sqlite": sqliteMeter, "postgres": postgresMeter} {
		t.Run(name, func(t *testing.T) { test(t, newMeter(t)) })
	}
}

// raised are defaults with dearer hashes.
func raised() (c struct{ before, after password.Params }) {
	c.before, c.after = cheap, cheap
	c.after.Memory, c.after.Time = 4*cheap.Memory, 2
	return c
}

// R78, and a guess that is locked: regardless of the account, a failed login sends the same
// statements, waits as often for the disk and computes a hash of each cost on one place of the
// pool.
func TestFailedLoginsTakeTheSameWork(t *testing.T) {
	onMeters(t, func(t *testing.T, m meter) {
		params, c := raised(), defaults()
		c.Password = params.before
		m.start(t, c).add("older@example.org", secret)
		c.Password = params.after
		n := m.start(t, c)
		for _, name := range []string{"newer", "known", "locked", "disabled"} {
			n.add(name+"@example.org", secret)
		}
		if err := n.SetDisabled(t.Context(), "disabled@example.org", true); err != nil {
			t.Fatal(err)
		}
		if err := n.store.AddUser(t.Context(), store.User{ID: "broken", Email: "broken@example.org", Password: "plain text", Generation: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.login("known@example.org", secret, home); err != nil {
			t.Fatal(err)
		}
		guess := func(name, plain string) func() {
			return func() {
				_, err := n.login(name+"@example.org", plain, home)
				want(t, name, err, auth.ErrInvalidUser)
			}
		}
		for range c.Lockout.Pair {
			guess("locked", "a wrong guess")()
		}
		locked := n.count("login_locked")
		usual := m.of(n, guess("newer", "a wrong guess"))
		for _, name := range []string{"older", "known", "unknown", "locked", "disabled", "broken"} {
			for _, plain := range []string{"a wrong guess", secret} {
				if plain == secret && (name == "older" || name == "known") {
					continue // that is no guess
				}
				if diff := cmp.Diff(usual, m.of(n, guess(name, plain))); diff != "" {
					t.Errorf("%s, with %q, takes another work than a wrong password:\n%s", name, plain, diff)
				}
			}
		}
		if n.count("login_locked") != locked+2 || usual.Tasks != 1 || usual.Hashes != 2 {
			t.Errorf("locked %d times, %d tasks, %d hashes: want 2, 1 and one of each cost", n.count("login_locked")-locked, usual.Tasks, usual.Hashes)
		}
	})
}

// R77: a sign-up sends the same statements and waits as often for the disk, whether its
// address is taken or not.
func TestSignUpsTakeTheSameWork(t *testing.T) {
	onMeters(t, func(t *testing.T, m meter) {
		n := m.start(t, defaults())
		signUp := func(address string) func() {
			return func() {
				if _, err := n.SignUp(t.Context(), &auth.SignUpRequest{Email: address, Password: secret}); err != nil {
					t.Error(err)
				}
			}
		}
		fresh, taken := m.of(n, signUp(email)), m.of(n, signUp(email))
		if diff := cmp.Diff(fresh, taken); diff != "" {
			t.Errorf("a taken address takes another work than a new one:\n%s", diff)
		}
		if fresh.Waits != 1 || fresh.Tasks != 1 {
			t.Errorf("%d waits for the disk and %d tasks, want 1 and 1", fresh.Waits, fresh.Tasks)
		}
	})
}

// Rows of sign-ups for taken addresses contain no data of the client, and are deleted.
func TestTakenSignUpsAreDeleted(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		own, err := n.store.UserByEmail(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := n.SignUp(t.Context(), &auth.SignUpRequest{Email: email, Password: "another engine"}); err != nil {
				t.Fatal(err)
			}
		}
		rows := func() (all, telling int) {
			t.Helper()
			if err := n.db.QueryRow(t.Context(), "SELECT count(*), count(CASE WHEN email = $1 OR email LIKE '%@%' OR password NOT LIKE '%AAAAAAAAAA' THEN 1 END) FROM taken_sign_ups",
				email).Scan(&all, &telling); err != nil {
				t.Fatal(err)
			}
			return all, telling
		}
		if all, telling := rows(); all != 3 || telling != 0 {
			t.Errorf("%d rows, %d of which tell something", all, telling)
		}
		if err := n.store.DeleteTakenSignUps(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, _ := rows(); all != 0 {
			t.Errorf("%d rows are left", all)
		}
		if now, err := n.store.UserByEmail(t.Context(), email); err != nil || now != own {
			t.Errorf("the account has changed: %+v, %v", now, err)
		}
		_, err = n.AddUser(t.Context(), email, secret)
		want(t, "an operator", err, store.ErrEmailTaken)
	})
}

// Sign-ups of one address at once make one account, and all are answered.
func TestSignUpsOfOneAddressAtOnce(t *testing.T) {
	t.Parallel()
	two(t, func(t *testing.T, a, b *node) {
		results := make(chan error, 20)
		for i := range cap(results) {
			n := []*node{a, b}[i%2]
			go func() {
				_, err := n.SignUp(context.WithoutCancel(t.Context()), &auth.SignUpRequest{Email: email, Password: secret})
				results <- err
			}()
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		a.mustLogin()
	})
}

// kinds returns how many kinds of hashes the log says that logins even out, in order.
func (n *node) kinds() (list []string) {
	for line := range strings.Lines(n.text()) {
		if _, after, ok := strings.Cut(line, `"kinds":`); ok {
			list = append(list, strings.TrimRight(after, "}\n"))
		}
	}
	return list
}

// R78: a node learns which kinds of hashes there are when it starts, from other nodes, and
// at the latest at a login; and that the last one of a kind has gone.
func TestNodesLearnTheKindsOfHashes(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, c := newClock(), defaults()
		older := start(t, url, c, 10, at)
		older.add(email, secret)
		if got := older.kinds(); len(got) != 0 {
			t.Errorf("with its own kind alone: %v", got)
		}
		c.Password = raised().after
		newer := start(t, url, c, 10, at)
		if got := newer.kinds(); fmt.Sprint(got) != "[2]" {
			t.Errorf("at start: %v, want 2", got)
		}
		newer.add("grace@example.org", secret)
		_, err := older.login("grace@example.org", "a wrong guess", home)
		want(t, "a guess", err, auth.ErrInvalidUser)
		if got := older.kinds(); fmt.Sprint(got) != "[2]" {
			t.Errorf("at a login: %v, want 2", got)
		}
		if _, err := newer.login(email, secret, home); err != nil { // which hashes it anew
			t.Fatal(err)
		}
		if err := newer.LoadCosts(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := newer.kinds(); fmt.Sprint(got) != "[2 1]" {
			t.Errorf("after the last one has gone: %v, want 2, 1", got)
		}
		if err := older.LoadCosts(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := older.kinds(); fmt.Sprint(got) != "[2]" {
			t.Errorf("on the other node: %v, want 2", got)
		}
	})
}

// The work of a login is bounded, and costs that are left out are logged.
func TestKindsOfHashesAreBounded(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at, c := newClock(), defaults()
		n := start(t, url, c, 10, at)
		for i := range 7 {
			p := cheap
			p.Memory += uint32(8 * i)
			encoded, err := password.Hash(p, secret)
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprint("user", i)
			if err := n.store.AddUser(t.Context(), store.User{ID: id, Email: id + "@example.org", Password: encoded, Generation: 1, CreatedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 40 { // of a kind that cannot be used, each with another salt
			id := fmt.Sprint("bcrypt", i)
			if err := n.store.AddUser(t.Context(), store.User{ID: id, Email: id, Password: fmt.Sprintf("$2b$10$salt.%d.hash", i), Generation: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if samples, err := n.store.HashKinds(t.Context()); err != nil || len(samples) != 7 {
			t.Errorf("%d kinds, %v", len(samples), err)
		}
		n = start(t, url, c, 10, at)
		if got := n.kinds(); fmt.Sprint(got) != "[4]" || !strings.Contains(n.text(), `"others":3`) {
			t.Errorf("%v, want 4; the log: %s", got, n.text())
		}
		for i := range 7 {
			if _, err := n.login(fmt.Sprintf("user%d@example.org", i), secret, home); err != nil {
				t.Error(err)
			}
		}
	})
}

// The root secret is one for all nodes, and cannot be had before the start.
func TestNodesShareTheRootSecret(t *testing.T) {
	t.Parallel()
	two(t, func(t *testing.T, a, b *node) {
		one, err := a.Secret("a purpose")
		other, err2 := b.Secret("a purpose")
		third, err3 := a.Secret("another purpose")
		if errors.Join(err, err2, err3) != nil || len(one) != 32 || string(one) != string(other) || string(one) == string(third) {
			t.Errorf("%x, %x, %x: %v", one, other, third, errors.Join(err, err2, err3))
		}
	})
}
