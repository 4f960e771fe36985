package transport

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chassi-go/chassi"
)

// ErrStopping is the error of a call that arrives while the server is stopping.
var ErrStopping = chassi.NewError(chassi.Unavailable, "stopping", "The service is stopping")

// InFlight counts the calls in flight of a server by route. After [InFlight.Close], it admits no
// further calls. The zero value is ready to use. It is safe for concurrent use.
type InFlight struct {
	closed atomic.Bool

	mu     sync.Mutex
	routes []*RouteInFlight
	empty  chan struct{} // made by Close; closed when no call is left
	end    sync.Once     // closes empty
}

// RouteInFlight counts the calls in flight of one route. It is safe for concurrent use.
type RouteInFlight struct {
	name string
	all  *InFlight
	n    atomic.Int64
}

// Route returns a new counter for the calls in flight of the route called name.
func (f *InFlight) Route(name string) *RouteInFlight {
	r := &RouteInFlight{name: name, all: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes = append(f.routes, r)
	return r
}

// Acquire counts a call and returns true; the caller must call Release once when the call has
// ended. After [InFlight.Close], Acquire counts nothing and returns false.
func (r *RouteInFlight) Acquire() bool {
	r.n.Add(1)
	if r.all.closed.Load() {
		r.Release()
		return false
	}
	return true
}

// Release stops counting a call that Acquire has counted.
func (r *RouteInFlight) Release() {
	r.n.Add(-1)
	if r.all.closed.Load() {
		r.all.checkEmpty()
	}
}

// Len returns the total number of calls in flight of all routes.
func (f *InFlight) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.len()
}

func (f *InFlight) len() (total int) {
	for _, r := range f.routes {
		total += int(r.n.Load())
	}
	return total
}

func (f *InFlight) checkEmpty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.len() == 0 {
		f.end.Do(func() { close(f.empty) })
	}
}

// Close makes f refuse new calls and waits until the calls in flight have ended. If ctx is done
// first, Close returns an error that wraps ctx.Err() and names the routes that still have calls in
// flight, each with the number of its calls.
func (f *InFlight) Close(ctx context.Context) error {
	f.mu.Lock()
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	f.mu.Unlock()
	f.closed.Store(true)
	f.checkEmpty()
	select {
	case <-f.empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopped with calls in flight: %s: %w", f, ctx.Err())
	}
}

// String returns the routes with calls in flight, sorted by name, each with the number of its
// calls, for example "auth.v1.Auth/Login (1), auth.v1.Auth/Me (3)".
func (f *InFlight) String() string {
	f.mu.Lock()
	routes := slices.Clone(f.routes)
	f.mu.Unlock()
	slices.SortStableFunc(routes, func(a, b *RouteInFlight) int { return cmp.Compare(a.name, b.name) })
	var list []string
	for _, r := range routes {
		if n := r.n.Load(); n > 0 {
			list = append(list, fmt.Sprintf("%s (%d)", r.name, n))
		}
	}
	return strings.Join(list, ", ")
}
