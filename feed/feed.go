// Package feed keeps the latest items of a stream in memory, so that readers that reconnect can
// continue after the last item that they have received.
package feed

import (
	"context"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
)

// Errors of [Feed.From] and of the iterator that it returns.
var (
	// ErrPositionLost means that items after a position are no longer in memory, or that
	// the position belongs to another feed, such as a feed before a restart. The reader
	// must begin again: read the current state, then follow the feed without a position.
	ErrPositionLost = chassi.NewError(chassi.OutOfRange, "position_lost", "This position is unknown, or items after it are no longer available")
	// ErrTooSlow means that the feed has overtaken the reader, whose next item is no longer
	// in memory.
	ErrTooSlow = chassi.NewError(chassi.ResourceExhausted, "reader_too_slow", "The reader is slower than the feed")
)

// Feed passes items to any number of readers and keeps the latest items. It belongs to
// one process: readers in another process do not see its items. It is safe for
// concurrent use, starts no goroutine and need not be closed.
type Feed[T any] struct {
	setID func(item *T, id string)
	epoch string // distinguishes the positions of this feed from those of others

	mu        sync.Mutex
	ring      []*T
	published uint64        // number of items so far; item n is at n-1 modulo the length
	changed   chan struct{} // closed by the next Publish
}

// New returns a feed that keeps the latest items: as many as size, but at least one. The function
// setID stores the position of an item in the item, usually in the string field with the tag
// stream:"id". setID may be nil.
func New[T any](size int, setID func(item *T, id string)) *Feed[T] {
	if setID == nil {
		setID = func(*T, string) {}
	}
	return &Feed[T]{
		setID: setID, epoch: strconv.FormatUint(rand.Uint64(), 36),
		ring: make([]*T, max(size, 1)), changed: make(chan struct{}),
	}
}

// Publish sets the position of item and passes item to all readers. The item must not be changed
// afterwards. Publish never waits for readers.
func (f *Feed[T]) Publish(item *T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setID(item, f.epoch+"-"+strconv.FormatUint(f.published+1, 10))
	f.ring[f.published%uint64(len(f.ring))] = item
	f.published++
	close(f.changed)
	f.changed = make(chan struct{})
}

// From returns an iterator over the items that follow the item at the position after. If after
// is "", the iterator begins with the next item to be published. It waits for further items
// until ctx is done. If the feed overtakes the reader, the iterator yields [ErrTooSlow],
// with a retry delay, and ends. From returns [ErrPositionLost] if items after the
// position are missing, or if the position is not one of this feed.
//
// The method of a [chassi.NewStream] endpoint can return the results of From.
func (f *Feed[T]) From(ctx context.Context, after string) (iter.Seq2[*T, error], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next, err := f.position(after)
	if err != nil {
		return nil, err
	}
	return func(yield func(*T, error) bool) {
		var batch []*T
		for {
			items, changed, ok := f.read(next, batch[:0])
			if !ok {
				yield(nil, ErrTooSlow.WithRetryAfter(time.Second))
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			next += uint64(len(items))
			if batch = items; len(items) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// position returns the number of items published up to and including the item at the position
// after, or the number of all published items if after is "". It returns [ErrPositionLost]
// if after is not a position of this feed, or if items that follow are no longer in the ring.
func (f *Feed[T]) position(after string) (uint64, error) {
	if after == "" {
		return f.published, nil
	}
	epoch, number, _ := strings.Cut(after, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || epoch != f.epoch || n > f.published || f.published-n > uint64(len(f.ring)) {
		return 0, ErrPositionLost
	}
	return n, nil
}

// maxBatch is the maximum number of items that a reader takes from the ring at once.
const maxBatch = 64

// read appends to batch the items that follow item number next of the feed, but at most
// maxBatch. It returns the batch and a channel that is closed when a further item is
// published. The result ok is false if some items after next are no longer in the ring.
func (f *Feed[T]) read(next uint64, batch []*T) (items []*T, changed <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.published-next > uint64(len(f.ring)) {
		return nil, nil, false
	}
	for n := next; n < f.published && len(batch) < maxBatch; n++ {
		batch = append(batch, f.ring[n%uint64(len(f.ring))])
	}
	return batch, f.changed, true
}
