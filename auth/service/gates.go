package service

import (
	"context"
	"slices"
	"sync"

	"github.com/chassi-go/chassi/workpool"
)

// gates let no more attempts of one bucket be evaluated at a time, on this node,
// than may fail before the bucket is locked. Further ones wait: what becomes of
// them depends on how those end. Without it, somebody with the right password who
// logs in often at once would be locked out by those own logins.
type gates struct {
	mu    sync.Mutex
	byKey map[string]*gateway
}

type gateway struct {
	inside  int
	waiting []chan struct{} // closed for who may go in
}

// enter waits for a place behind the gate of key, until ctx ends. If as many wait
// as there is room for it returns [workpool.ErrFull].
func (g *gates) enter(ctx context.Context, key string, places, room int) error {
	g.mu.Lock()
	way := g.byKey[key]
	if way == nil {
		way = new(gateway)
		g.byKey[key] = way
	}
	if way.inside < places {
		way.inside++
		g.mu.Unlock()
		return nil
	}
	if len(way.waiting) >= room {
		g.mu.Unlock()
		return workpool.ErrFull
	}
	turn := make(chan struct{})
	way.waiting = append(way.waiting, turn)
	g.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(way.waiting, turn)
	if i >= 0 {
		way.waiting = slices.Delete(way.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // let in at the same moment
		g.leave(key)
	}
	return ctx.Err()
}

// leave gives the place to who waits longest.
func (g *gates) leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	way := g.byKey[key]
	if len(way.waiting) > 0 {
		close(way.waiting[0])
		way.waiting = way.waiting[1:]
		return
	}
	if way.inside--; way.inside == 0 {
		delete(g.byKey, key)
	}
}
