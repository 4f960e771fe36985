// Package overload finds out how many calls a process can work on at once, and
// refuses the rest at once, instead of letting all of them take ever longer.
//
// A [Limiter] compares how long calls take with how long calls of their kind usually
// take. While they take much longer, work piles up somewhere, on the processor or on
// a database, and the limit falls to what was in flight when it did not; when they no
// longer do, it rises again. So it needs no knowledge of the machine, and a call that takes a
// second by nature is no sign of overload.
//
// Each kind may always have a few calls in flight, a quarter of MinInFlight, and if they take
// no longer than usual as many as usual, and as many again. So a slow database has the calls
// refused that wait for it, when they are too many, and no others. A standstill, in which no call of a kind succeeds, is no
// overload: what piled up in it says nothing about the calls that come afterwards.
package overload

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Config of a [Limiter]. The zero value of a field means the default in its tag.
type Config struct {
	MaxInFlight int     `config:"max_in_flight" default:"10000" min:"1" help:"calls under way that are never exceeded"`
	PerClient   int     `config:"max_in_flight_per_client" default:"0" min:"0" help:"calls under way of one client (network, or name at a broker); further ones get 429; 0 is a tenth of max_in_flight. one client never has more than half of what is let in at the moment"`
	MinInFlight int     `config:"min_in_flight" default:"32" min:"1" help:"the least that the limit falls to, but for probes; calls of normal priority may use three quarters of it, deferrable ones half"`
	Tolerance   float64 `config:"tolerance" default:"3" help:"how many times longer than usual calls may take before fewer are let in; 0 is the default, 1e9 is never"`
}

func (c Config) withDefaults() Config {
	if c.MaxInFlight <= 0 {
		c.MaxInFlight = 10_000
	}
	if c.PerClient <= 0 {
		c.PerClient = (c.MaxInFlight + 9) / 10
	}
	if c.MinInFlight <= 0 {
		c.MinInFlight = 32
	}
	if c.Tolerance <= 0 {
		c.Tolerance = 3
	}
	c.MinInFlight = min(c.MinInFlight, c.MaxInFlight)
	return c
}

// Limiter bounds the calls under way of each [Priority]. It is safe for concurrent use, starts no
// goroutine and needs no closing.
type Limiter struct {
	config   Config
	born     time.Time
	limit    atomic.Int64
	inFlight [priorities]atomic.Int64
	refused  atomic.Uint64
	samples  atomic.Int64 // in this window
	due      atomic.Int64 // when the window may end

	mu     sync.Mutex // held while a window is closed
	began  int64
	before uint64 // refused until this window
	kinds  []*Kind

	pressed int64 // since when there has been pressure, 0 for not
	probing int   // the window of a probe, 0 for none
	resume  int64 // the limit after it

	standstill atomic.Int64 // when the latest one ended, 0 for never
	catchUp    atomic.Int64 // when catching up after it ends at the latest, 0 for not under way
	backlog    atomic.Int64 // more calls than that are not what has piled up
	caughtUp   atomic.Int64 // when that was done: calls that began before say nothing
	usualBusy  atomic.Int64 // calls in flight without pressure, with room for chance
}

// Priority says who gives way to whom.
type Priority uint8

// The priorities. Calls of High may use all of the limit, of High and Normal together three
// quarters, of all together half, when one of the lowest comes: a call is never refused
// for ones of a lower priority, save at MaxInFlight.
const (
	Low Priority = iota
	Normal
	High
	priorities
)

var shares = [priorities]float64{Low: 0.5, Normal: 0.75, High: 1}

// Kind is a kind of calls that take about the same time, such as those of one
// endpoint.
type Kind struct {
	limiter  *Limiter
	name     string
	priority Priority
	inFlight atomic.Int64
	reserved atomic.Int64  // calls in flight that the limit does not hold for
	worked   atomic.Int64  // when the latest call succeeded
	silent   atomic.Int64  // from when on none did for long, the last time,
	resumed  atomic.Int64  // and until when
	taken    atomic.Int64  // nanoseconds in this window,
	logs     atomic.Int64  // the sums of their logarithms and of the squares of those, in
	squares  atomic.Int64  // millionths,
	calls    atomic.Int64  // and of how many calls
	usual    atomic.Uint64 // the mean logarithm without overload, 0 for not known yet, as math.Float64bits

	seenTaken, seenLog, seenSpread, seenCalls float64 // in the last window: sum, mean, variance, number
	trend                                     float64 // how much longer than usual, a logarithm, over the latest calls
	usualInFlight                             float64
}

const (
	window     = 100 * time.Millisecond // at least
	fewSamples = 10                     // are not enough to close a window
	longWindow = 2 * time.Second        // is thrown away

	probeAfter    = time.Second // of pressure
	probeInterval = 10 * time.Second
)

// New makes a limiter that lets Config.MaxInFlight calls in until it knows better.
func New(c Config) *Limiter {
	c = c.withDefaults()
	l := &Limiter{config: c, born: time.Now()}
	l.limit.Store(int64(c.MaxInFlight))
	l.due.Store(int64(window))
	l.usualBusy.Store(fewSamples)
	return l
}

// Kind returns the kind of calls with this name, which it adds if there is none. Its
// priority is that of the first time. Kinds are made before calls are.
func (l *Limiter) Kind(name string, p Priority) *Kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.kinds {
		if k.name == name {
			return k
		}
	}
	k := &Kind{limiter: l, name: name, priority: p}
	l.kinds = append(l.kinds, k)
	return k
}

// Enter lets a call in, which is then to Leave, or refuses it.
func (k *Kind) Enter() (began Entered, ok bool) {
	l := k.limiter
	n := l.inFlight[k.priority].Add(1)
	for p := k.priority + 1; p < priorities; p++ {
		n += l.inFlight[p].Load()
	}
	own := k.inFlight.Add(1)
	limit := float64(l.limit.Load()) * shares[k.priority]
	if k.priority == High {
		limit = max(limit, float64(l.config.MinInFlight)) // also during a probe
	}
	all := n
	for p := range k.priority {
		all += l.inFlight[p].Load()
	}
	if float64(n) > max(limit, 1) && own > k.reserved.Load() || all > int64(l.config.MaxInFlight) {
		l.inFlight[k.priority].Add(-1)
		k.inFlight.Add(-1)
		l.refused.Add(1)
		return 0, false
	}
	return Entered(time.Since(l.born)), true
}

// PerClient returns Config.PerClient, or what stands for its 0.
func (l *Limiter) PerClient() int { return l.config.PerClient }

// Share returns how many calls one client may have under way when it makes one of that
// priority, so that the other clients have as many: half of what calls of the priority may
// use. It does not fall below half of their share of Config.MinInFlight. The limiter does
// not know clients: callers keep them to it, and report with [Limiter.Refuse].
func (l *Limiter) Share(p Priority) int {
	limit := max(l.limit.Load(), int64(l.config.MinInFlight))
	return max(1, int(float64(limit)*shares[p]/2))
}

// Refuse counts a call that was refused because its client had its [Limiter.Share].
func (l *Limiter) Refuse() { l.refused.Add(1) }

// Entered is when a call was let in.
type Entered int64

// Outcome says what a call shows about how long its kind takes.
type Outcome uint8

// The outcomes.
const (
	Worked   Outcome = iota // it did its work
	TimedOut                // it ran out of time, which says something if that was longer than usual
	Failed                  // it was refused, or broke off
)

// Leave ends a call.
func (k *Kind) Leave(began Entered, o Outcome) {
	l := k.limiter
	l.inFlight[k.priority].Add(-1)
	k.inFlight.Add(-1)
	if o == Failed {
		return
	}
	now := int64(time.Since(l.born))
	if k.waited(now, int64(began), o) {
		return
	}
	taken := max(now-int64(began), 1)
	log := math.Log(float64(taken))
	if o == TimedOut && log < math.Float64frombits(k.usual.Load()) {
		return
	}
	k.taken.Add(taken)
	k.logs.Add(int64(log * 1e6))
	k.squares.Add(int64(log * log * 1e6))
	k.calls.Add(1)
	l.samples.Add(1)
	if now >= l.due.Load() && l.mu.TryLock() {
		l.close(now)
		l.mu.Unlock()
	}
}

// close ends a window, if it is one, and moves the limit.
func (l *Limiter) close(now int64) {
	length := now - l.began
	if now < l.due.Load() || length < int64(longWindow) && l.samples.Load() < fewSamples {
		return
	}
	l.began = now
	if length >= int64(longWindow) {
		l.forget(now)
		return
	}
	l.samples.Store(0)
	refused := l.refused.Load()
	crowded := refused > l.before
	l.before = refused
	taken, excess, spread, calls := 0.0, 0.0, 0.0, 0.0
	for _, k := range l.kinds {
		k.look()
		taken += k.seenTaken
		excess += k.seenCalls * (k.seenLog - math.Float64frombits(k.usual.Load()))
		spread += k.seenCalls * k.seenSpread
		calls += k.seenCalls
	}
	if calls == 0 {
		return
	}
	// What a limit does is seen when the calls that it let in have ended.
	l.due.Store(now + max(int64(window), min(int64(taken/calls), int64(time.Second))))
	// Three standard deviations of the mean may be chance.
	slowness := math.Exp(excess/calls - 3*math.Sqrt(spread)/calls)
	if slowness > math.Sqrt(l.config.Tolerance) {
		// It has begun, and if more are under way than were in the mean (Little's law),
		// what comes in now will take still longer.
		slowness *= max(1, float64(l.busy())*float64(length)/taken)
	}
	usualBusy := float64(fewSamples)
	for _, k := range l.kinds {
		k.reserve(float64(length), !crowded && slowness < math.Sqrt(l.config.Tolerance))
		usualBusy += 2 * k.usualInFlight
	}
	l.usualBusy.Store(int64(usualBusy))
	idle := l.busy() <= int64(l.config.MinInFlight)
	if l.probe(now, crowded || slowness > l.config.Tolerance && !idle) {
		return
	}
	for _, k := range l.kinds {
		k.learn(idle)
	}
	l.move(slowness, crowded)
}

// forget drops what was seen over a time so long that it was hardly anything: there is
// no overload then.
func (l *Limiter) forget(now int64) {
	l.due.Store(now + int64(window))
	l.samples.Store(0)
	for _, k := range l.kinds {
		k.look()
	}
	l.limit.Store(int64(l.config.MaxInFlight))
	l.pressed, l.probing = 0, 0
}

// probe finds out, while there is pressure, whether it is overload or calls have become
// slower by nature: for one window it lets in a quarter of the least, and what calls take
// in the next one is what they take. It reports whether it does that.
func (l *Limiter) probe(now int64, pressure bool) bool {
	switch {
	case l.probing == 1: // the calls of before have ended
		l.probing = 2
		return true
	case l.probing == 2:
		for _, k := range l.kinds {
			if k.settle() > l.config.Tolerance {
				l.resume = int64(l.config.MaxInFlight) // there was no overload
			}
		}
		l.limit.Store(l.resume)
		l.probing, l.pressed = 0, now+int64(probeInterval-probeAfter)
		return true
	case !pressure:
		l.pressed = 0
		return false
	case l.pressed == 0:
		l.pressed = now
		return false
	case now-l.pressed < int64(probeAfter):
		return false
	}
	l.resume = l.limit.Load()
	l.limit.Store(min(l.resume, int64(l.least())))
	l.probing = 1
	for _, k := range l.kinds {
		k.setReserved()
	}
	return true
}

// move sets the limit for what was seen. It rises slowly while calls are refused,
// to find out how far, and fast when all is well.
func (l *Limiter) move(slowness float64, crowded bool) {
	limit := float64(l.limit.Load())
	switch {
	case slowness > l.config.Tolerance:
		limit = min(limit, float64(l.busy()+1)) * max(l.config.Tolerance/slowness, 0.2)
	case crowded:
		limit += max(limit/50, 1)
	default:
		limit += max(limit/10, 1)
	}
	l.limit.Store(int64(min(max(limit, float64(l.config.MinInFlight)), float64(l.config.MaxInFlight))))
}

// look takes what the kind's calls took in a window, and how many they were.
func (k *Kind) look() {
	k.seenTaken, k.seenCalls = float64(k.taken.Swap(0)), float64(k.calls.Swap(0))
	logs, squares := float64(k.logs.Swap(0))/1e6, float64(k.squares.Swap(0))/1e6
	if k.seenCalls == 0 {
		return
	}
	k.seenLog = logs / k.seenCalls
	k.seenSpread = max(squares/k.seenCalls-k.seenLog*k.seenLog, 0)
	if k.usual.Load() == 0 {
		k.usual.Store(math.Float64bits(k.seenLog))
	}
}

// reserve lets the kind have a few calls in flight, whatever other kinds have, and twice as
// many as it usually has unless its latest calls took longer than usual, of which a few may
// be chance. Calm is a window without pressure. During a probe slow kinds have nothing
// reserved, because what they take without others is to be seen.
func (k *Kind) reserve(length float64, calm bool) {
	if calm {
		k.usualInFlight += (k.seenTaken/length - k.usualInFlight) * faster
	}
	k.trend += (k.seenLog - math.Float64frombits(k.usual.Load()) - k.trend) * k.seenCalls / (k.seenCalls + fewSamples)
	k.setReserved()
}

func (k *Kind) setReserved() {
	reserved := k.limiter.least()
	switch slow := k.trend > math.Log(k.limiter.config.Tolerance)/2; {
	case !slow:
		reserved = max(reserved, 2*k.usualInFlight)
	case k.limiter.probing > 0:
		reserved = 0
	}
	k.reserved.Store(int64(reserved))
}

// least is how few calls are let in during a probe.
func (l *Limiter) least() float64 { return float64((l.config.MinInFlight + 3) / 4) }

// How fast the usual time follows what is seen: faster down than up, and up only while
// few calls are under way. If many are, that may be their own doing, which a probe tells.
// Times are compared by the mean of their logarithms, so that the few long ones of a kind
// that mostly takes short say little, and a slowness of all of them much.
const (
	faster = 0.05
	slower = 0.02
)

func (k *Kind) learn(idle bool) {
	switch old := math.Float64frombits(k.usual.Load()); {
	case k.seenCalls == 0:
	case k.seenLog < old:
		k.usual.Store(math.Float64bits(old + (k.seenLog-old)*faster))
	case idle:
		k.usual.Store(math.Float64bits(old + (k.seenLog-old)*slower))
	}
}

// settle believes what a probe saw, the more the more it was, and returns how many times
// longer calls take than was believed.
func (k *Kind) settle() (slower float64) {
	if k.seenCalls == 0 {
		return 1
	}
	step := (k.seenLog - math.Float64frombits(k.usual.Load())) * min(1, k.seenCalls/fewSamples)
	k.usual.Store(math.Float64bits(math.Float64frombits(k.usual.Load()) + step))
	return math.Exp(step)
}

func (l *Limiter) busy() (n int64) {
	for p := range l.inFlight {
		n += l.inFlight[p].Load()
	}
	return n
}

// Stats is what a [Limiter] tells of itself.
type Stats struct {
	Limit, InFlight int
	Refused         uint64
}

// Stats returns the state now.
func (l *Limiter) Stats() Stats {
	return Stats{Limit: int(l.limit.Load()), InFlight: int(l.busy()), Refused: l.refused.Load()}
}
