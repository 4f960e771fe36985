package workpool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/workpool"
	"pgregory.net/rapid"
)

// tally counts from outside what Stats counts from inside.
type tally struct {
	accepted, refused, started, panicked atomic.Int64
	running, most                        atomic.Int64
}

func (c *tally) task(ctx context.Context) {
	c.started.Add(1)
	now := c.running.Add(1)
	defer c.running.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	switch rand.IntN(10) {
	case 0:
		c.panicked.Add(1)
		panic("stress")
	case 1:
		select {
		case <-ctx.Done():
		case <-time.After(time.Microsecond):
		}
	default:
		runtime.Gosched()
	}
}

func (c *tally) note(err error) {
	if err == nil {
		c.accepted.Add(1)
	} else {
		c.refused.Add(1)
	}
}

// caller makes one random call.
func (c *tally) caller(p *workpool.Pool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rand.IntN(3) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(100))*time.Microsecond)
		defer cancel()
	}
	switch rand.IntN(3) {
	case 0:
		c.note(p.Submit(ctx, c.task))
	case 1:
		c.note(p.TrySubmit(ctx, c.task))
	case 2:
		workpool.Do(ctx, p, func(ctx context.Context) (int, error) { c.task(ctx); return 0, nil })
	}
}

func TestStressAccountsForEveryTaskF32(t *testing.T) {
	t.Parallel()
	for range 20 {
		p := workpool.New(workpool.Options{Workers: 3, Queue: 5, OnPanic: func(context.Context, any, []byte) {}})
		var c tally
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				for range 100 {
					c.caller(p)
					s := p.Stats()
					if s.Submitted != s.Completed+s.Panics+s.Canceled+uint64(s.Busy+s.Queued) || s.Busy > 3 || s.Queued > 5 {
						t.Errorf("inconsistent: %+v", s)
					}
				}
			})
		}
		if rand.IntN(2) == 0 {
			callers.Wait() // else the pool stops among its callers
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		started := c.started.Load()
		callers.Wait()
		checkTally(t, &c, p.Stats(), started)
	}
}

func checkTally(t *testing.T, c *tally, s workpool.Stats, started int64) {
	t.Helper()
	if got := c.started.Load(); got != started {
		t.Errorf("%d tasks started after Stop returned", got-started)
	}
	if s.Busy+s.Queued != 0 || s.Submitted+s.Refused != 1600 {
		t.Errorf("after Stop: %+v", s)
	}
	if uint64(started) != s.Completed+s.Panics || uint64(c.panicked.Load()) != s.Panics {
		t.Errorf("started %d, panicked %d: %+v", started, c.panicked.Load(), s)
	}
	if c.most.Load() > 3 {
		t.Errorf("%d tasks ran at once on 3 workers", c.most.Load())
	}
}

// Any order of arrivals, departures and completions against a model that is a
// plain slice: who runs, who is queued, who is refused.
func TestQueueAgreesWithModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		workers, size := rapid.IntRange(1, 3).Draw(rt, "workers"), rapid.IntRange(1, 4).Draw(rt, "queue")
		ops := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 60).Draw(rt, "ops")
		var failure string
		synctest.Test(t, func(t *testing.T) { failure = runModel(t, workers, size, ops) })
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// caller is one Do as the model sees it.
type caller struct {
	open     barrier
	cancel   context.CancelFunc
	response <-chan response
}

type model struct {
	pool            *workpool.Pool
	running, queued []*caller
	want            workpool.Stats
}

// runModel reads each op as: 0-49 arrive, 50-74 finish one, 75-99 give up one of the queued.
func runModel(t *testing.T, workers, size int, ops []int) string {
	m := &model{pool: workpool.New(workpool.Options{Workers: workers, Queue: size})}
	m.want.Workers, m.want.QueueSize = workers, size
	failure := ""
	for _, op := range ops {
		switch {
		case op < 50:
			failure = m.arrive(t)
		case op < 75 && len(m.running) > 0:
			failure = m.finish(op % len(m.running))
		case op >= 75 && len(m.queued) > 0:
			failure = m.giveUp(op % len(m.queued))
		}
		synctest.Wait()
		m.want.Busy, m.want.Queued = len(m.running), len(m.queued)
		if got := m.pool.Stats(); failure == "" && got != m.want {
			failure = "stats differ from the model's"
		}
		if failure != "" {
			break
		}
	}
	for len(m.running) > 0 {
		m.finish(0)
	}
	if err := m.pool.Stop(t.Context()); failure == "" && err != nil {
		failure = err.Error()
	}
	return failure
}

func (m *model) arrive(t *testing.T) string {
	ctx, cancel := context.WithCancel(t.Context())
	c := &caller{open: make(barrier), cancel: cancel}
	c.response = goDo(ctx, m.pool, c.open.call)
	synctest.Wait()
	switch {
	case len(m.running) < m.want.Workers:
		m.running = append(m.running, c)
	case len(m.queued) < m.want.QueueSize:
		m.queued = append(m.queued, c)
	default:
		cancel()
		m.want.Refused++
		if got := <-c.response; !errors.Is(got.err, workpool.ErrFull) {
			return "not refused: " + got.value
		}
		return ""
	}
	m.want.Submitted++
	return ""
}

func (m *model) finish(i int) string {
	c := m.running[i]
	m.running = append(m.running[:i:i], m.running[i+1:]...)
	m.want.Completed++
	if len(m.queued) > 0 {
		m.running, m.queued = append(m.running, m.queued[0]), m.queued[1:]
	}
	close(c.open)
	defer c.cancel()
	if got := <-c.response; got.err != nil {
		return "accepted call failed: " + got.err.Error()
	}
	return ""
}

func (m *model) giveUp(i int) string {
	c := m.queued[i]
	m.queued = append(m.queued[:i:i], m.queued[i+1:]...)
	m.want.Canceled++
	c.cancel()
	if got := <-c.response; !errors.Is(got.err, context.Canceled) {
		return "a queued call that gave up was answered: " + got.value
	}
	return ""
}
