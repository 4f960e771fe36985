package service_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/token"
)

// T37: once a change was acknowledged no older token is good, here at once and on
// another node after the second for which it may have remembered.
func TestT37ChangesEndTokens(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, n *node, raw string) error{
		"password change": func(_ *testing.T, n *node, raw string) error {
			_, err := n.change(raw, secret, "a difference engine")
			return err
		},
		"operator sets the password": func(t *testing.T, n *node, _ string) error {
			return n.SetPassword(t.Context(), email, "a difference engine")
		},
		"disable": func(t *testing.T, n *node, _ string) error { return n.SetDisabled(t.Context(), email, true) },
		"delete":  func(t *testing.T, n *node, _ string) error { return n.DeleteUser(t.Context(), email) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			two(t, func(t *testing.T, a, b *node) {
				a.add(email, secret)
				raw := a.mustLogin()
				if a.validate(raw) != nil || b.validate(raw) != nil {
					t.Fatal("the token is not good")
				}
				if err := end(t, a, raw); err != nil {
					t.Fatal(err)
				}
				want(t, "here", a.validate(raw), auth.ErrInvalidToken)
				b.clock.advance(time.Second)
				want(t, "on the other node", b.validate(raw), auth.ErrInvalidToken)
			})
		})
	}
}

// T37: many changes at once with one token: one wins, and only its token is good.
func TestT37OneOfManyChangesWins(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, n *node) {
		n.add(email, secret)
		raw := n.mustLogin()
		var mu sync.Mutex
		var fresh []string
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				issued, err := n.change(raw, secret, fmt.Sprint("a difference engine ", i))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					fresh = append(fresh, issued)
				} else if !errors.Is(err, auth.ErrInvalidToken) && !errors.Is(err, auth.ErrWrongPassword) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(fresh) != 1 || n.validate(fresh[0]) != nil {
			t.Errorf("%d changes succeeded", len(fresh))
		}
		want(t, "the old token", n.validate(raw), auth.ErrInvalidToken)
	})
}

// T19: the old password of a change is guarded by the lockout of logins.
func TestT19PasswordChangeIsGuarded(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	for range 5 {
		_, err := n.change(raw, "a guess that is wrong", "a difference engine")
		want(t, "a guess", err, auth.ErrWrongPassword)
	}
	_, err := n.change(raw, secret, "a difference engine")
	want(t, "the right one while locked", err, auth.ErrWrongPassword)
	if n.count("login_locked") != 1 {
		t.Error("not locked")
	}
	_, err = n.Me(t.Context(), &auth.MeRequest{})
	want(t, "nobody", err, auth.ErrInvalidToken)
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	n.clock.advance(time.Hour + 4*time.Second)
	if err := n.validate(raw); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	n.clock.advance(2 * time.Second)
	want(t, "after it, although it is in the cache", n.validate(raw), auth.ErrInvalidToken)
}

// T45: while keys rotate, every token is good on every node, and on one that has
// seen neither token nor key before.
func TestT45Rotation(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []token.Algorithm{token.EdDSA, token.ES256, token.HS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			dbtest.Engines(t, func(t *testing.T, url string) {
				at, c := newClock(), defaults()
				c.Token.Algorithm = algorithm
				a, b := start(t, url, c, 100, at), start(t, url, c, 100, at)
				a.add(email, secret)
				tokens := []string{a.mustLogin()}
				for range 3 {
					if _, err := a.RotateKey(t.Context(), false); err != nil {
						t.Fatal(err)
					}
					at.advance(11 * time.Second) // the new key is announced to all nodes
					reload(t, a)
					tokens = append(tokens, a.mustLogin())
					for i, raw := range tokens {
						if err := errors.Join(a.validate(raw), b.validate(raw)); err != nil {
							t.Errorf("token %d of %d: %v", i, len(tokens), err)
						}
					}
				}
				if kids := keyIDs(tokens); len(kids) < 2 {
					t.Errorf("all tokens were signed by %q: nothing rotated", kids)
				}
				cold := start(t, url, c, 100, at)
				for i, raw := range tokens {
					if err := cold.validate(raw); err != nil {
						t.Errorf("cold: token %d: %v", i, err)
					}
				}
				// An old key leaves with the last token it signed.
				at.advance(2 * time.Hour)
				if keys, err := a.Keys(t.Context()); err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			})
		})
	}
}

// reload makes n read its keys again: a token of a key that it does not
// know makes it do so at once.
func reload(t *testing.T, n *node) {
	t.Helper()
	foreign, err := token.GenerateKey(token.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.NewKeySet(foreign)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := token.Sign(set, token.Claims{Issuer: "authd", Audience: "authd", Subject: "x", ID: "x", ExpiresAt: n.clock.Now().Add(time.Minute), IssuedAt: n.clock.Now(), NotBefore: n.clock.Now()})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "a token of a foreign key", n.validate(raw), auth.ErrInvalidToken)
}

func keyIDs(tokens []string) (kids []string) {
	for _, raw := range tokens {
		if header, _, _ := strings.Cut(raw, "."); !slices.Contains(kids, header) {
			kids = append(kids, header)
		}
	}
	return kids
}

// T46: revoking a key invalidates its tokens.
func TestT46Revocation(t *testing.T) {
	t.Parallel()
	two(t, func(t *testing.T, a, b *node) {
		a.add(email, secret)
		raw := a.mustLogin()
		if a.validate(raw) != nil || b.validate(raw) != nil {
			t.Fatal("the token is not good")
		}
		if _, err := a.RotateKey(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*node{a, b} {
			reload(t, n)
			want(t, "the token", n.validate(raw), auth.ErrInvalidToken)
			if err := n.validate(n.mustLogin()); err != nil {
				t.Errorf("a new token: %v", err)
			}
		}
	})
}

// T50: nodes that start together on an empty database have one key set.
func TestT50OneKeySet(t *testing.T) {
	t.Parallel()
	two(t, func(t *testing.T, a, b *node) {
		first, err := a.JWKS(t.Context(), &auth.JWKSRequest{})
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.JWKS(t.Context(), &auth.JWKSRequest{})
		if err != nil || len(first.Keys) != 1 || fmt.Sprint(first) != fmt.Sprint(second) {
			t.Errorf("%v, %v, %v", first, second, err)
		}
	})
}

// T06: tokens with unknown keys make a node look for new keys once a second at
// most, however many they are.
func TestT06UnknownKeysAreLookedForOnceASecond(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at := newClock()
		n := start(t, url, defaults(), 10, at)
		n.add(email, secret)
		reload(t, n) // the one look of this second
		if _, err := n.RotateKey(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		raw := start(t, url, defaults(), 10, at).mustLogin() // of the new key
		want(t, "within the second", n.validate(raw), auth.ErrInvalidToken)
		at.advance(time.Second)
		if err := n.validate(raw); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// Fault 37: without its database the service accepts no unverified token for longer than a second,
// and answers that it is not available.
func TestFault37RevocationFailsClosed(t *testing.T) {
	t.Parallel()
	n := onSQLite(t)
	n.add(email, secret)
	raw := n.mustLogin()
	if err := n.validate(raw); err != nil {
		t.Fatal(err)
	}
	if err := n.db.Close(); err != nil {
		t.Fatal(err)
	}
	n.clock.advance(time.Second)
	if err := n.validate(raw); err == nil || errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("%v, want neither yes nor no", err)
	}
}

// Parameters that no hash can have are refused.
func TestNewRejectsInvalidConfig(t *testing.T) {
	t.Parallel()
	if _, err := service.New(service.Config{}, service.Options{}); err == nil || (password.Params{}).Validate() == nil {
		t.Errorf("%v, want the parameters refused", err)
	}
}
