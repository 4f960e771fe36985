// Package overload determines how many calls a process can handle concurrently and refuses
// further calls immediately, so that the latency of accepted calls stays bounded.
//
// A [Limiter] compares the latency of calls with the usual latency of their [Class]. While calls
// take much longer than usual, work queues up, on the processor or on a database, and the
// limiter lowers its limit on calls in flight. Afterwards it raises the limit again. A limiter
// needs no configuration for the machine, and does not treat a class whose calls always take a
// second as overloaded. The parts of a limiter are:
//
//   - A window (window.go) is a period of at least a tenth of a second. The limiter measures the
//     calls that succeed or time out in it.
//   - A probe (probe.go) distinguishes overload from calls that have become slower permanently.
//   - A class (class.go) may have a few calls in flight regardless of the limit, and twice
//     its usual number while its own calls are not slow. A slow database therefore leads to
//     the refusal of calls that need it, and of no others.
//   - A recovery (recovery.go) follows a period in which no call succeeded. It gives the
//     calls that have piled up time to finish.
//   - A generation (generation.go) contains the calls that began in the same period. Calls
//     of old generations, such as streams, count only toward Config.MaxInFlight.
package overload

// Config configures a [Limiter]. The zero value of a field means the default in its tag.
type Config struct {
	MaxInFlight int     `config:"max_in_flight" default:"10000" min:"1" help:"upper limit of calls in flight"`
	PerClient   int     `config:"max_in_flight_per_client" default:"0" min:"0" help:"maximum number of calls in flight of one client (network, or name at a broker); further calls get 429; 0 is a tenth of max_in_flight. One client never gets more than half of the current limit"`
	MinInFlight int     `config:"min_in_flight" default:"32" min:"1" help:"lower limit of calls in flight, except during probes, or the calls of two seconds if those are fewer; calls of normal priority can use three quarters of the limit, those of low priority half"`
	Tolerance   float64 `config:"tolerance" default:"3" help:"factor by which the latency may exceed its usual value before the limit is lowered; 0 is the default, 1e9 disables it"`
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

// Priority determines the order in which calls are refused, the lowest priority first.
type Priority uint8

// The priorities. Calls of High may use the whole limit. A call of Normal is admitted if the calls
// of High and Normal, including this call, use at most three quarters of the limit, and a call of
// Low if all calls, including this call, use at most half of the limit. Therefore no call is refused
// because of calls of a lower priority, except at Config.MaxInFlight.
const (
	Low Priority = iota
	Normal
	High
	priorities
)

var shares = [priorities]float64{Low: 0.5, Normal: 0.75, High: 1}

// Outcome is the result of a call. It determines whether the latency of the call is measured.
type Outcome uint8

// The outcomes of a call.
const (
	Succeeded Outcome = iota // the latency counts
	TimedOut                 // the deadline passed; the latency counts unless it was shorter than usual
	Failed                   // refused, canceled or failed; the latency is ignored
)

// Stats is the state of a [Limiter].
type Stats struct {
	Limit, InFlight int    // InFlight includes long calls
	Refused         uint64 // calls refused so far
}
