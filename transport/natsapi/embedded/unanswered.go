package embedded

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// How often the requests without an answer are counted.
const (
	unansweredInterval = 100 * time.Millisecond // all of them
	refusedInterval    = time.Second            // those of clients that are refused
)

// unanswered bounds the requests of each client that have no answer. The NATS server keeps
// an entry for each until it is answered or its time is over, even after the client has
// disconnected. A client beyond its bound is disconnected, and refused until enough of its
// entries have ended. The fields below max are guarded by accounts.mu.
type unanswered struct {
	max int // of one client

	refused map[string]int // entries of the clients that are refused, when last counted
	counted time.Time      // when that was
}

func (u *unanswered) refuses(name string) bool {
	_, ok := u.refused[name]
	return ok
}

// due reports whether a client may have passed its bound, or may be admitted again, when
// there are total entries in all.
func (u *unanswered) due(total int, now time.Time) bool {
	if len(u.refused) > 0 && now.Sub(u.counted) >= refusedInterval {
		return true
	}
	for _, n := range u.refused {
		total -= n
	}
	return total > u.max
}

// boundUnanswered disconnects clients that have too many requests without an answer, and
// admits those again that no longer have.
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
			return // so few are left that no other client is beyond its bound
		}
		n := a.pending(name)
		total -= n
		a.judge(name, n)
	}
}

// refusedFirst returns the names of all clients, those that are refused first.
func (a *accounts) refusedFirst() []string {
	return slices.SortedFunc(maps.Keys(a.clients), func(x, y string) int {
		return cmp.Compare(a.unanswered.refused[y], a.unanswered.refused[x])
	})
}

// pending returns how many requests of the client called name have no answer. It takes time
// in proportion to the entries of all clients.
func (a *accounts) pending(name string) (n int) {
	for subject := range a.subjects {
		n += a.service.NumPendingResponses(exported(name, subject))
	}
	return n
}

// judge refuses or admits the client called name, which has n requests without an answer.
func (a *accounts) judge(name string, n int) {
	u := &a.unanswered
	switch refused := u.refuses(name); {
	case n > u.max:
		if !refused {
			a.logger.Warn("NATS client disconnected: too many requests without an answer",
				"client", name, "requests", n, "max_unanswered_per_client", u.max)
		}
		u.refused[name] = n
		a.disconnect(a.clients[name])
	case refused:
		delete(u.refused, name)
		a.logger.Info("NATS client admitted again", "client", name)
	}
}
