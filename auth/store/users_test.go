package store_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/google/go-cmp/cmp"
)

var born = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

func user(name string) store.User {
	return store.User{ID: "id-" + name, Email: name + "@example.org", Password: "$hash of " + name, Generation: 1, CreatedAt: born}
}

func add(t *testing.T, s *store.Store, users ...store.User) {
	t.Helper()
	for _, u := range users {
		if err := s.AddUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsersAreFoundAsTheyWereStored(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, want := open(), user("ada")
		add(t, s, want)
		byEmail, err := s.UserByEmail(t.Context(), want.Email)
		if diff := cmp.Diff(want, byEmail); diff != "" || err != nil {
			t.Errorf("by address: %v\n%s", err, diff)
		}
		byID, err := s.UserByID(t.Context(), want.ID)
		if diff := cmp.Diff(want, byID); diff != "" || err != nil {
			t.Errorf("by id: %v\n%s", err, diff)
		}
		for _, email := range []string{"ADA@example.org", "ada@example.or", "' OR 1=1 --", "%"} {
			if _, err := s.UserByEmail(t.Context(), email); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%q: %v, want not found", email, err)
			}
		}
	})
}

// Of many sign-ups with one address at once, one gets it.
func TestAddressIsUnique(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		results := make(chan error, 20)
		for i := range cap(results) {
			u := user("ada")
			u.ID = strconv.Itoa(i)
			go func() { results <- s.AddUser(t.Context(), u) }()
		}
		added := 0
		for range cap(results) {
			switch err := <-results; {
			case err == nil:
				added++
			case !errors.Is(err, store.ErrEmailTaken):
				t.Error(err)
			}
		}
		if added != 1 {
			t.Errorf("%d accounts with one address", added)
		}
	})
}

func TestUsersArePaged(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		add(t, s, user("cyd"), user("ada"), user("bob"))
		var got []string
		for after := ""; ; {
			page, err := s.Users(t.Context(), after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, u := range page {
				got, after = append(got, u.Email), u.Email
			}
		}
		if diff := cmp.Diff([]string{"ada@example.org", "bob@example.org", "cyd@example.org"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// T32: a password change wins over a rehash, in either order.
func TestT32RehashLosesToAPasswordChange(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, u := open(), user("ada")
		add(t, s, u)
		if err := s.Rehash(t.Context(), u.ID, u.Password, "$rehashed"); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.UserByID(t.Context(), u.ID); got.Password != "$rehashed" || got.Generation != 1 {
			t.Errorf("after a rehash: %+v", got)
		}
		generation, err := s.SetPassword(t.Context(), u.ID, 1, "$changed", born)
		if err != nil || generation != 2 {
			t.Fatalf("generation %d, %v", generation, err)
		}
		if err := s.Rehash(t.Context(), u.ID, "$rehashed", "$late"); err != nil {
			t.Error(err)
		}
		if got, _ := s.UserByID(t.Context(), u.ID); got.Password != "$changed" {
			t.Errorf("the rehash won: %+v", got)
		}
	})
}

// Of many changes that saw the same state, one is made.
func TestPasswordChangesDoNotOverwriteEachOther(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, u := open(), user("ada")
		add(t, s, u)
		var mu sync.Mutex
		var winners []string
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				password := fmt.Sprintf("$%d", i)
				_, err := s.SetPassword(t.Context(), u.ID, 1, password, born)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					winners = append(winners, password)
				} else if !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		got, err := s.UserByID(t.Context(), u.ID)
		if err != nil || len(winners) != 1 || got.Password != winners[0] || got.Generation != 2 {
			t.Errorf("winners %q, stored %+v, %v", winners, got, err)
		}
		if generation, err := s.SetPassword(t.Context(), u.ID, -1, "$any", born); err != nil || generation != 3 {
			t.Errorf("any generation: %d, %v", generation, err)
		}
		if _, err := s.SetPassword(t.Context(), "nobody", -1, "$any", born); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestDisablingEndsTokens(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, u := open(), user("ada")
		add(t, s, u)
		if err := s.SetDisabled(t.Context(), u.Email, true, born); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.UserByID(t.Context(), u.ID); !got.Disabled || got.Generation != 2 {
			t.Errorf("%+v", got)
		}
		if err := s.SetDisabled(t.Context(), "nobody@example.org", true, born); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}
