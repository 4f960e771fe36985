package redislimit_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/ratelimit/redislimit"
	"github.com/chassi-go/chassi/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func local(l ratelimit.Limit) *ratelimit.Limiter {
	return ratelimit.New(ratelimit.Options{Limit: l})
}

var key = ratelimit.StringKey("ada")

// Two nodes that are asked all the time, for a second, let as many calls through as the limit says,
// within 1 %.
func TestTwoNodesCountAsOne(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	for name, limit := range map[string]ratelimit.Limit{
		"slow": ratelimit.Per(1000, time.Hour), "with a rate": {Rate: 200, Burst: 100}, "odd": {Rate: 77.7, Burst: 33}, "fast": {Rate: 1e7, Burst: 5000},
	} {
		t.Run(name, func(t *testing.T) {
			var asked, allowed, fellBack atomic.Int64
			var all sync.WaitGroup
			dbs := []*redis.DB{redistest.Open(t, c), redistest.Open(t, c)}
			for _, db := range dbs {
				redislimit.New("connects", local(limit), db, func() { t.Error("no Redis") }).Take(t.Context(), key)
			}
			node := func(db *redis.DB) *redislimit.Limiter {
				return redislimit.New("test "+name, local(limit), db, func() { fellBack.Add(1) })
			}
			take := func(node *redislimit.Limiter) ratelimit.Decision {
				asked.Add(1)
				d := node.Take(t.Context(), key)
				if d.Allowed {
					allowed.Add(1)
				}
				return d
			}
			// A full bucket fills no more: half of it is taken before.
			half, full, before := node(dbs[0]), limit.Burst, time.Now()
			for n := 0; n < 100 && full > limit.Burst/2; n++ {
				before = time.Now()
				full = take(half).Remaining
			}
			began := time.Now()
			asked.Store(0)
			allowed.Store(0)
			for _, db := range dbs {
				node := node(db)
				for range 8 {
					all.Go(func() {
						for time.Since(began) < time.Second {
							d := take(node)
							if !d.Allowed && (d.RetryAfter <= 0 || d.Remaining != 0) || d.Limit != limit.Burst || d.Reset < 0 {
								t.Errorf("%+v", d)
							}
						}
					})
				}
			}
			all.Wait()
			ended := time.Since(began)
			left := take(node(dbs[0])).Remaining // what a busy machine had no time for
			byThen := func(d time.Duration, left int) float64 {
				return min(float64(full-left)+d.Seconds()*limit.Rate, float64(asked.Load()))
			}
			least, most := byThen(ended, left), byThen(time.Since(before), 0)
			t.Logf("%d asked, %d allowed, %.1f by the limit, %d left", asked.Load(), allowed.Load(), least, left)
			if n := float64(allowed.Load()); n < least*0.99-1 || n > most*1.01+1 || fellBack.Load() > 0 {
				t.Errorf("%v allowed, want %.1f to %.1f; fell back %d times", n, least, most, fellBack.Load())
			}
		})
	}
}

func TestKeysAndNamesAreApart(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	a, b := redislimit.New("a", local(ratelimit.Per(1, time.Hour)), db, nil), redislimit.New("b", local(ratelimit.Per(1, time.Hour)), db, nil)
	for i, first := range []ratelimit.Decision{a.Take(t.Context(), key), b.Take(t.Context(), key), a.Take(t.Context(), ratelimit.StringKey("bob"))} {
		if !first.Allowed || first.Remaining != 0 {
			t.Errorf("%d: %+v", i, first)
		}
	}
	restarted := redislimit.New("a", local(ratelimit.Per(1, time.Hour)), db, nil)
	if d := restarted.Take(t.Context(), key); d.Allowed || d.RetryAfter < 59*time.Minute {
		t.Errorf("a node that has just started: %+v", d)
	}
}

// Fault 37, T21: without Redis each node counts for itself, and says so; never is there no
// limit.
func TestFault37T21FallsBackToTheNode(t *testing.T) {
	t.Parallel()
	c, addr := redistest.Config(t)
	p := proxytest.New(t, addr)
	c.URL, c.Timeout = "redis://"+p.Addr, 50*time.Millisecond
	var fellBack atomic.Int64
	l := redislimit.New("x", local(ratelimit.Per(100, time.Hour)), redistest.Open(t, c), func() { fellBack.Add(1) })
	allowed := 0
	for range 1000 {
		if l.Take(t.Context(), key).Allowed {
			allowed++
		}
	}
	if allowed != 100 || fellBack.Load() != 100 {
		t.Errorf("%d allowed, fell back %d times", allowed, fellBack.Load())
	}
}

// R89: when the clock of Redis was set back what is stored is ahead of it. No bucket is
// emptier than empty then.
func TestARateHoldsWhenTheClockOfRedisWasSetBack(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	set := redis.NewScript("set", `redis.call('SET', KEYS[1], string.format('%.3f', (redis.call('TIME')[1] - 1735689600 + ARGV[1]) * 1000000)) return {0}`)
	for _, seconds := range []string{"3600", "86400"} {
		if _, err := db.Run(t.Context(), set, []string{"limit:x:" + key.String()}, []string{seconds}); err != nil {
			t.Fatal(err)
		}
		l := redislimit.New("x", local(ratelimit.Per(10, time.Minute)), db, nil)
		if d := l.Take(t.Context(), key); d.Allowed || d.RetryAfter > 6*time.Second || d.Reset > time.Minute {
			t.Errorf("a clock set back by %s s: %+v, want the next call in 6 s", seconds, d)
		}
	}
}

func TestOff(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	l := redislimit.New("off", local(ratelimit.Off()), redistest.Open(t, c), func() { t.Error("asked Redis") })
	if d := l.Take(t.Context(), key); !d.Allowed {
		t.Errorf("%+v", d)
	}
}

func BenchmarkTake(b *testing.B) {
	c, _ := redistest.Config(b)
	l := redislimit.New("bench", local(ratelimit.Limit{Rate: 1e7, Burst: 1e7}), redistest.Open(b, c), func() { b.Error("fell back") })
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			l.Take(b.Context(), key)
		}
	})
}
