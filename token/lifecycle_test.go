package token

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// clock is a clock that tests set.
type clock struct{ nanos atomic.Int64 }

func (c *clock) set(t time.Time) { c.nanos.Store(t.UnixNano()) }
func (c *clock) now() time.Time  { return time.Unix(0, c.nanos.Load()) }

// Fault 46: whatever the clock does, a token is good within its time and at no
// other, remembered or not.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, leeway := range []time.Duration{0, 5 * time.Second, -time.Hour} {
		for _, cacheSize := range []int{-1, 1000} {
			var c clock
			o := sampleOptions()
			o.Leeway, o.CacheSize, o.Now = leeway, cacheSize, c.now
			keys := mustSet(t, mustKey(t, EdDSA))
			v := NewVerifier(o, keys)
			text := mustSign(t, keys, sampleClaims())
			begin, end := noon.Add(-max(leeway, 0)), noon.Add(time.Hour+max(leeway, 0))
			for _, at := range []time.Time{
				noon, begin, begin.Add(-1), begin.Add(-time.Hour), begin.Add(-24 * time.Hour), noon.Add(time.Minute),
				end.Add(-1), end, end.Add(time.Hour), noon, end.Add(24 * time.Hour), {}, noon,
			} {
				c.set(at)
				_, err := v.Verify(text)
				if at = c.now(); (err == nil) != (!at.Before(begin) && at.Before(end)) {
					t.Errorf("leeway %v, cache %d, %v after iat: %v", leeway, cacheSize, at.Sub(noon), err)
				}
			}
		}
	}
}

func TestSignAndVerifyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		keys := mustSet(t, k)
		v := NewVerifier(sampleOptions(), keys)
		text := mustSign(t, keys, sampleClaims())
		want := sampleClaims()
		for range 2 { // not from memory, then from memory
			if diff := cmp.Diff(&want, wantAccepted(t, v, text)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", alg, diff)
			}
		}
		if !isGoodHeader(text, k) {
			t.Errorf("%s: the header is not the one that older verifiers compare with", alg)
		}
	}
}

func isGoodHeader(text string, k *Key) bool {
	want := encode([]byte(goodHeader(k))) + "."
	return len(text) > len(want) && text[:len(want)] == want
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	keys := mustSet(t, mustKey(t, EdDSA))
	for name, spoil := range map[string]func(*Claims){
		"no issuer": func(c *Claims) { c.Issuer = "" }, "no subject": func(c *Claims) { c.Subject = "" },
		"no audience": func(c *Claims) { c.Audience = "" }, "no ID": func(c *Claims) { c.ID = "" },
		"no issue time": func(c *Claims) { c.IssuedAt = time.Time{} }, "no expiry": func(c *Claims) { c.ExpiresAt = time.Time{} },
		"expiry = issue time": func(c *Claims) { c.ExpiresAt = c.IssuedAt.Add(time.Millisecond) },
		"negative generation": func(c *Claims) { c.Generation = -1 },
		"purpose at":          func(c *Claims) { c.Purpose = "at" }, "purpose with quote": func(c *Claims) { c.Purpose = `a"` },
		"invalid UTF-8": func(c *Claims) { c.Email = "\xff" }, "too large": func(c *Claims) { c.Email = string(make([]byte, 4000)) },
	} {
		c := sampleClaims()
		spoil(&c)
		if text, err := Sign(keys, c); err == nil {
			t.Errorf("%s: signed as %s", name, text)
		}
	}
	if _, err := Sign(mustSet(t), sampleClaims()); err == nil {
		t.Error("signed without a key")
	}
	spent := mustKey(t, EdDSA)
	spent.ExpiresAt = noon
	if _, err := Sign(mustSet(t, spent), sampleClaims()); err == nil {
		t.Error("signed with an expired key")
	}
}

func TestSigningKey(t *testing.T) {
	t.Parallel()
	key := func(id string, begins, expires time.Time) *Key {
		k := mustKey(t, EdDSA)
		k.ID, k.NotBefore, k.ExpiresAt = id, begins, expires
		return k
	}
	var never time.Time
	old, next := key("old", noon.Add(-time.Hour), noon.Add(time.Hour)), key("next", noon.Add(time.Minute), never)
	tests := []struct {
		name string
		keys []*Key
		at   time.Time
		want string
	}{
		{"the old one until the new one begins", []*Key{old, next}, noon, "old"},
		{"the new one from then on", []*Key{old, next}, noon.Add(time.Minute), "next"},
		{"none has begun", []*Key{next, key("later", noon.Add(time.Hour), never)}, noon, "next"},
		{"the last to begin", []*Key{key("a", noon, never), key("b", noon.Add(-1), never)}, noon, "a"},
		{"begun together", []*Key{key("a", noon, never), key("b", noon, never)}, noon, "b"},
		{"newest was retired by hand", []*Key{key("a", noon.Add(-1), never), key("b", noon, noon.Add(1))}, noon, "a"},
		{"retired and expired", []*Key{old}, noon.Add(time.Hour), ""},
		{"none", nil, noon, ""},
	}
	for _, tt := range tests {
		got, ok := mustSet(t, tt.keys...).SigningKey(tt.at)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, ok, tt.want)
		}
	}
}

func TestKeyExpiryEndsItsTokens(t *testing.T) {
	t.Parallel()
	var c clock
	c.set(noon)
	o := sampleOptions()
	o.Now = c.now
	k := mustKey(t, EdDSA)
	v := NewVerifier(o, mustSet(t, k))
	text := mustSign(t, mustSet(t, k), sampleClaims())
	wantAccepted(t, v, text)
	k.ExpiresAt = noon.Add(time.Minute) // retired: the same key, so the token stays remembered
	v.SetKeys(mustSet(t, k))
	wantAccepted(t, v, text)
	if v.cache.len() != 1 {
		t.Error("the token was forgotten")
	}
	c.set(noon.Add(time.Minute))
	wantRefused(t, v, text, unknownKey)
}

func TestT45RotationUnderLoad(t *testing.T) {
	t.Parallel()
	before, after := mustKey(t, EdDSA), mustKey(t, EdDSA)
	after.NotBefore = noon.Add(time.Second)
	oldSet, bothSet := mustSet(t, before), mustSet(t, before, after)
	v, cold := NewVerifier(sampleOptions(), oldSet), NewVerifier(sampleOptions(), bothSet)
	late := sampleClaims()
	late.IssuedAt = after.NotBefore
	oldToken, newToken := mustSign(t, oldSet, sampleClaims()), mustSign(t, bothSet, late)
	if isGoodHeader(newToken, before) || !isGoodHeader(newToken, after) {
		t.Fatal("the new key does not sign")
	}
	var load sync.WaitGroup
	var failed atomic.Int64
	for range 4 {
		load.Go(func() {
			for range 2000 {
				if _, err := v.Verify(oldToken); err != nil {
					failed.Add(1)
				}
				if _, err := cold.Verify(newToken); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	load.Go(func() {
		for range 500 {
			v.SetKeys(bothSet)
			cold.SetKeys(bothSet)
			cold.Purge()
			v.Evict(oldToken)
			v.SetKeys(oldSet)
		}
		v.SetKeys(bothSet)
	})
	load.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d good tokens were refused", n)
	}
	wantAccepted(t, v, newToken)
}

func TestT46EmergencyRemoval(t *testing.T) {
	t.Parallel()
	leaked, fresh := mustKey(t, EdDSA), mustKey(t, EdDSA)
	leakedSet, freshSet := mustSet(t, leaked), mustSet(t, fresh)
	impostor := mustKey(t, EdDSA) // other material under the leaked key's ID
	impostor.ID = leaked.ID
	text := mustSign(t, leakedSet, sampleClaims())
	for _, next := range []*KeySet{freshSet, mustSet(t, fresh, impostor), mustSet(t), nil} {
		v := NewVerifier(sampleOptions(), leakedSet)
		stop := make(chan struct{})
		var load sync.WaitGroup
		for range 4 { // verifies run while the key is removed
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = v.Verify(text)
						v.Evict(text)
					}
				}
			})
		}
		wantAccepted(t, v, text)
		v.SetKeys(next)
		for range 200 {
			wantRefused(t, v, text, "")
		}
		close(stop)
		load.Wait()
		wantRefused(t, v, text, "")
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	k := mustKey(t, HS256)
	keys := mustSet(t, k)
	for _, size := range []int{1, 3, 16, 100} {
		o := sampleOptions()
		o.CacheSize = size
		v := NewVerifier(o, keys)
		for i := range 1000 {
			c := sampleClaims()
			c.ID = strconv.Itoa(i)
			wantAccepted(t, v, mustSign(t, keys, c))
		}
		if got := v.cache.len(); got > size || got == 0 {
			t.Errorf("size %d: %d tokens are remembered", size, got)
		}
		v.Purge()
		if got := v.cache.len(); got != 0 {
			t.Errorf("%d tokens are left after Purge", got)
		}
	}
}

func TestCacheDistinguishesEqualHashes(t *testing.T) {
	t.Parallel()
	k := mustKey(t, HS256)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	text := forge(t, k, goodHeader(k), goodBody)
	wantAccepted(t, v, text)
	if v.cache.get(v.cache.sum(text), text) == nil {
		t.Fatal("the token is not remembered")
	}
	if v.cache.get(v.cache.sum(text), text+"x") != nil {
		t.Error("another token with the same hash is taken for it")
	}
}

func TestCacheHitDoesNotAllocate(t *testing.T) {
	k := mustKey(t, EdDSA)
	v := NewVerifier(sampleOptions(), mustSet(t, k))
	text := forge(t, k, goodHeader(k), goodBody)
	wantAccepted(t, v, text)
	if got := testing.AllocsPerRun(100, func() { _, _ = v.Verify(text) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func (c *cache) len() (n int) {
	for i := range c.shards {
		c.shards[i].mu.RLock()
		n += len(c.shards[i].entries)
		c.shards[i].mu.RUnlock()
	}
	return n
}

func TestAnyChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		k := mustKey(t, alg)
		v := NewVerifier(sampleOptions(), mustSet(t, k))
		good := forge(t, k, goodHeader(k), goodBody)
		wantAccepted(t, v, good)
		rapid.Check(t, func(t *rapid.T) {
			changed := []byte(good)
			at := rapid.IntRange(0, len(changed)-1).Draw(t, "at")
			changed[at] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
			if claims, err := v.Verify(string(changed)); err == nil {
				t.Fatalf("%s accepted as %+v", changed, claims)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	issued := make(map[string]bool)
	var keys []*Key
	for _, alg := range algorithms {
		k := mustKey(f, alg)
		keys = append(keys, k)
		good := mustSign(f, mustSet(f, k), sampleClaims())
		issued[good] = true
		f.Add(good)
		f.Add(good + "=")
		f.Add(forge(f, k, `{"alg":"none"}`, goodBody))
	}
	f.Add("..")
	f.Add("")
	v := NewVerifier(sampleOptions(), mustSet(f, keys...))
	f.Fuzz(func(t *testing.T, text string) {
		if claims, err := v.Verify(text); (err == nil) != issued[text] || (err == nil) != (claims != nil) {
			t.Errorf("Verify(%q) = %v, %v", text, claims, err)
		}
	})
}

// FuzzPayload looks at what the signature of our own key would let through.
func FuzzPayload(f *testing.F) {
	k := mustKey(f, HS256)
	v := NewVerifier(sampleOptions(), mustSet(f, k))
	f.Add(goodBody)
	f.Add(change("exp", "null"))
	f.Add(change("aud", `["api"]`))
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 2000 {
			return
		}
		claims, err := v.Verify(forge(t, k, goodHeader(k), body))
		if err != nil {
			return
		}
		if claims.Issuer != "authd" || claims.Audience != "api" || claims.Subject == "" || claims.ID == "" || claims.Generation < 0 ||
			claims.ExpiresAt.Sub(claims.IssuedAt) > DefaultMaxLifetime || !claims.ExpiresAt.After(v.options.Now()) {
			t.Errorf("%q is accepted as %+v", body, claims)
		}
	})
}
