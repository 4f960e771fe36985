package store_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/google/go-cmp/cmp"
)

func key(id string, active time.Time) store.SigningKey {
	return store.SigningKey{ID: id, Algorithm: "EdDSA", Private: []byte{0, 1, 2, 255}, CreatedAt: born, ActiveAt: active}
}

func ids(keys []store.SigningKey) (ids []string) {
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

// T50: changes of the keys by many nodes at once happen one after the other: of those that
// add the first key one does.
func TestT50FirstKeyIsOne(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		nodes := [2]*store.Store{open(), open()}
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				err := nodes[i%2].ChangeKeys(t.Context(), func(ring *store.KeyRing) error {
					if len(ring.Keys) == 0 {
						ring.Keys = append(ring.Keys, key(strconv.Itoa(i), born))
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		ring, err := nodes[0].KeyRing(t.Context())
		if err != nil || len(ring.Keys) != 1 {
			t.Errorf("%v stored, %v", ids(ring.Keys), err)
		}
	})
}

// What is stored comes back as it was, the check value included, and a change that fails
// changes nothing.
func TestKeysAreStoredAsAWhole(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		if ring, err := s.KeyRing(t.Context()); err != nil || ring.Check != nil || ring.Keys != nil {
			t.Errorf("%+v, %v, want nothing", ring, err)
		}
		a, b, c := key("a", born), key("b", born.Add(time.Minute)), key("c", born.Add(2*time.Minute))
		end := born.Add(time.Hour)
		a.ExpiresAt, b.Sealed = end, true
		want := store.KeyRing{Check: []byte{1, 0, 255}, Keys: []store.SigningKey{a, b, c}}
		if err := s.ChangeKeys(t.Context(), func(ring *store.KeyRing) error { *ring = want; return nil }); err != nil {
			t.Fatal(err)
		}
		failed := errors.New("a change that fails")
		err := s.ChangeKeys(t.Context(), func(ring *store.KeyRing) error {
			if diff := cmp.Diff(want, *ring); diff != "" {
				t.Error(diff)
			}
			*ring = store.KeyRing{}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Error(err)
		}
		ring, err := s.KeyRing(t.Context())
		if diff := cmp.Diff(want, ring); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		for at, want := range map[time.Time][]store.SigningKey{born: {a, b, c}, end: {b, c}} {
			if diff := cmp.Diff(want, ring.Live(at)); diff != "" {
				t.Errorf("live at %v:\n%s", at, diff)
			}
		}
		if err := s.DeleteExpiredKeys(t.Context(), end.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		ring, err = s.KeyRing(t.Context())
		if diff := cmp.Diff([]store.SigningKey{b, c}, ring.Keys); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

// Nodes that bring the schema up to date at once do it once.
func TestMigrationsAtOnce(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		var stores [3]*store.Store
		var all sync.WaitGroup
		for i := range stores {
			all.Go(func() { stores[i] = open() })
		}
		all.Wait()
		for _, s := range stores {
			if s == nil || s.Check(t.Context()) != nil {
				t.Error("not usable")
			}
		}
	})
}
