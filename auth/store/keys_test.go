package store_test

import (
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

// T50: many nodes that start at once on an empty database agree on one key.
func TestT50FirstKeyIsOne(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		nodes := [2]*store.Store{open(), open()}
		type result struct {
			keys []store.SigningKey
			err  error
		}
		results := make(chan result, 10)
		for i := range cap(results) {
			go func() {
				keys, err := nodes[i%2].FirstSigningKey(t.Context(), key(strconv.Itoa(i), born), born)
				results <- result{keys, err}
			}()
		}
		first := <-results
		for range cap(results) - 1 {
			if r := <-results; r.err != nil || !cmp.Equal(ids(r.keys), ids(first.keys)) {
				t.Errorf("%v, %v, want %v", ids(r.keys), r.err, ids(first.keys))
			}
		}
		stored, err := nodes[0].SigningKeys(t.Context(), born)
		if err != nil || len(stored) != 1 || first.err != nil {
			t.Errorf("%v stored, %v, %v", ids(stored), err, first.err)
		}
	})
}

func TestKeysRotateAndExpire(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		if _, err := s.FirstSigningKey(t.Context(), key("a", born), born); err != nil {
			t.Fatal(err)
		}
		end := born.Add(time.Hour)
		if err := s.RotateSigningKey(t.Context(), key("b", born.Add(time.Minute)), end); err != nil {
			t.Fatal(err)
		}
		// A second rotation must not let the first key live longer.
		if err := s.RotateSigningKey(t.Context(), key("c", born.Add(2*time.Minute)), end.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		a, b, c := key("a", born), key("b", born.Add(time.Minute)), key("c", born.Add(2*time.Minute))
		a.ExpiresAt, b.ExpiresAt = end, end.Add(time.Hour)
		for at, want := range map[time.Time][]store.SigningKey{
			born: {a, b, c}, end: {b, c}, end.Add(time.Hour): {c},
		} {
			got, err := s.SigningKeys(t.Context(), at)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("at %v: %v\n%s", at, err, diff)
			}
		}
		if err := s.ReplacePrivate(t.Context(), "c", []byte("sealed"), true); err != nil {
			t.Fatal(err)
		}
		if err := s.ForgetSigningKeys(t.Context(), end.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		c.Private, c.Sealed = []byte("sealed"), true
		got, err := s.SigningKeys(t.Context(), born)
		if diff := cmp.Diff([]store.SigningKey{b, c}, got); diff != "" || err != nil {
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
