package transport

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/chassi-go/chassi"
)

// ErrStopping is what a call gets that comes while a server stops.
var ErrStopping = chassi.NewError(chassi.Unavailable, "stopping", "The service is stopping")

// InFlight counts calls by route, until it is closed. The zero value is ready. It
// is safe for concurrent use.
type InFlight struct {
	mu     sync.Mutex
	routes map[string]int
	total  int
	closed bool
	empty  chan struct{} // closed when the last call has left, once closed
}

// Enter takes a call in, or tells that no more are taken.
func (f *InFlight) Enter(route string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	if f.routes == nil {
		f.routes = make(map[string]int)
	}
	f.routes[route]++
	f.total++
	return true
}

// Leave ends what Enter took in.
func (f *InFlight) Leave(route string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[route]--
	if f.total--; f.total == 0 && f.closed {
		close(f.empty)
	}
}

// Len returns how many calls are in flight.
func (f *InFlight) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// Close takes no more calls in and waits for those that are. When ctx ends first
// it returns an error that counts the rest by route.
func (f *InFlight) Close(ctx context.Context) error {
	f.mu.Lock()
	if !f.closed {
		f.closed, f.empty = true, make(chan struct{})
		if f.total == 0 {
			close(f.empty)
		}
	}
	empty := f.empty
	f.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gave up calls in flight: %s: %w", f, ctx.Err())
	}
}

// String lists the routes that calls are in: "auth.v1.Auth/Me (3)".
func (f *InFlight) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, route := range slices.Sorted(maps.Keys(f.routes)) {
		if n := f.routes[route]; n > 0 {
			list = append(list, fmt.Sprintf("%s (%d)", route, n))
		}
	}
	return strings.Join(list, ", ")
}
