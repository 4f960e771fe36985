package embedded

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Intervals at which the NATS server's entries for unanswered requests are counted.
const (
	unansweredInterval = 100 * time.Millisecond // for the entries of all clients together
	refusedInterval    = time.Second            // for the entries of clients that are refused
)

// unanswered limits the unanswered requests of each client. The NATS server keeps an entry for each
// request until the request is answered or times out, even after the client has disconnected. A
// client that exceeds the limit is disconnected, and refused until enough of its entries have been
// removed. The fields below max are guarded by accounts.mu.
type unanswered struct {
	max int // maximum number of unanswered requests of one client

	refused map[string]int // by name of a refused client, the number of its entries at the last count
	counted time.Time      // time of the last count
}

func (u *unanswered) refuses(name string) bool {
	_, ok := u.refused[name]
	return ok
}

// due reports whether the entries of each client must be counted, because a client may have
// exceeded the limit or may be admitted again. total is the number of entries of all clients.
func (u *unanswered) due(total int, now time.Time) bool {
	if len(u.refused) > 0 && now.Sub(u.counted) >= refusedInterval {
		return true
	}
	for _, n := range u.refused {
		total -= n
	}
	return total > u.max
}

// boundUnanswered disconnects and refuses clients with too many unanswered requests. It admits
// refused clients again when they no longer exceed the limit.
func (a *accounts) boundUnanswered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, now := &a.unanswered, time.Now()
	total := a.service.NumPendingAllResponses()
	if !u.due(total, now) {
		return
	}
	u.counted = now
	for _, name := range a.refusedFirst() {
		if total <= u.max && !u.refuses(name) {
			return // with so few, no other client exceeds its limit
		}
		n := a.pending(name)
		total -= n
		a.limit(name, n)
	}
}

// refusedFirst returns the names of all clients. The names of refused clients come first.
func (a *accounts) refusedFirst() []string {
	return slices.SortedFunc(maps.Keys(a.clients), func(x, y string) int {
		return cmp.Compare(a.unanswered.refused[y], a.unanswered.refused[x])
	})
}

// pending returns the number of unanswered requests of the client called name. The running time is
// proportional to the number of entries of all clients.
func (a *accounts) pending(name string) (n int) {
	for subject := range a.subjects {
		n += a.service.NumPendingResponses(exported(name, subject))
	}
	return n
}

// limit disconnects and refuses the client called name if n, the number of its unanswered requests,
// exceeds the limit, and otherwise admits the client.
func (a *accounts) limit(name string, n int) {
	u := &a.unanswered
	switch refused := u.refuses(name); {
	case n > u.max:
		if !refused {
			a.logger.Warn("NATS client disconnected: too many requests without a response",
				"client", name, "requests", n, "max_unanswered_per_client", u.max)
		}
		u.refused[name] = n
		a.disconnect(a.clients[name])
	case refused:
		delete(u.refused, name)
		a.logger.Info("NATS client admitted again", "client", name)
	}
}
