package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
)

// A deleted account takes its networks with it; a login that was under way meanwhile fails
// for that reason at no statement, and brings nothing back.
func TestDeleteUser(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		for _, id := range []string{"a", "b"} {
			u := store.User{ID: id, Email: id + "@example.org", Password: "hash", Generation: 1, CreatedAt: born}
			if err := errors.Join(s.AddUser(t.Context(), u), s.Remember(t.Context(), id, "192.0.2.1", born)); err != nil {
				t.Fatal(err)
			}
		}
		if id, err := s.DeleteUser(t.Context(), "a@example.org"); id != "a" || err != nil {
			t.Fatalf("%q, %v", id, err)
		}
		if err := errors.Join(s.Settle(t.Context(), nil, nil, "a", "192.0.2.1", born.Add(time.Hour)), s.Remember(t.Context(), "a", "192.0.2.1", born)); err != nil {
			t.Errorf("a login under way: %v", err)
		}
		if seen, err := s.LastSeen(t.Context(), "a", "192.0.2.1"); !seen.IsZero() || err != nil {
			t.Errorf("seen at %v, %v", seen, err)
		}
		if seen, err := s.LastSeen(t.Context(), "b", "192.0.2.1"); seen.IsZero() || err != nil {
			t.Errorf("the other account: %v, %v", seen, err)
		}
		if _, err := s.DeleteUser(t.Context(), "a@example.org"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
	})
}
