package grpcapi

import (
	"context"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/transport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// serveStream handles one call of a method whose response is a stream, and returns its status
// error. grpc-go calls serveStream when the header of a request has arrived.
func (m *method) serveStream(_ any, stream grpc.ServerStream) (err error) {
	x := &streamExchange{exchange: exchange{method: m, stream: stream}}
	ctx := stream.Context()
	if client, _ := m.server.clientOf(ctx); client.IsValid() {
		x.client = ratelimit.AddrKey(client.Addr())
		if !m.server.streams.open.Acquire(x.client, 1, m.server.streams.max) {
			return m.server.streams.refuse
		}
		x.counted = true
	}
	defer x.uncount()
	opening, _ := ctx.Value(streamContextKey{}).(*streamContext)
	x.opening = time.AfterFunc(m.server.config.CallTimeout, func() { opening.end(context.DeadlineExceeded) })
	defer x.opening.Stop()
	defer x.lastResort(&err)
	defer x.finish()
	if err := x.run(ctx); err != nil {
		if x.opened {
			stream.SetTrailer(metadata.Pairs(endKey, "error"))
		}
		return statusOf(m.service, err).Err()
	}
	return nil
}

// endKey is the key of the trailer that accompanies the error of an open stream. Without a trailer
// or a detail, the client of grpc-go does not reveal whether the server sent a status.
const endKey = "stream-end"

// streamExchange is one call whose response is a stream. It is also the codec of the call.
type streamExchange struct {
	exchange

	client  ratelimit.Key // key of the client, for which the call is counted
	counted bool          // whether the call is counted; false once the stream is admitted
	opening *time.Timer   // ends the call if the stream does not open in time
	opened  bool
	ctx     context.Context       // nil before Begin
	open    *transport.OpenStream // nil before Begin
	queue   sendQueue
}

var _ chassi.StreamCodec = (*streamExchange)(nil)

func (x *streamExchange) run(ctx context.Context) error {
	x.method.calls.Acquire()
	defer x.method.calls.Release()
	x.begin(ctx, x)
	err := x.method.handler(x.call.Context(ctx), &x.call)
	if !x.opened {
		x.sendTrailer()
	}
	return err
}

func (x *streamExchange) uncount() {
	if x.counted {
		x.counted = false
		x.method.server.streams.open.Release(x.client, 1)
	}
}

// Begin implements [chassi.StreamCodec]. It returns the context of the stream, or an error if the
// stream is not admitted. An admitted stream no longer counts toward the client's limit of calls,
// which bounds the memory for messages.
func (x *streamExchange) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	ctx, open, err := x.method.server.open.Open(ctx, call)
	if err != nil {
		return nil, err
	}
	x.ctx, x.open = ctx, open
	x.uncount()
	return ctx, nil
}

// Open implements [chassi.StreamCodec]. It sends the header, and returns an error if the header
// cannot be sent or CallTimeout has passed. It disables compression, because grpc-go would not
// return the buffers of compressed items to the queue.
func (x *streamExchange) Open() error {
	if err := transport.CheckResponse(x.out); err != nil {
		return err
	}
	if !x.opening.Stop() {
		return context.DeadlineExceeded
	}
	x.opened = true
	if g := x.method.server.guardOf(x.stream.Context()); g != nil {
		g.opened.Add(1)
	}
	if err := grpc.SetSendCompressor(x.stream.Context(), encoding.Identity); err != nil {
		return x.disconnected(err)
	}
	if err := x.stream.SendHeader(metadataOf(x.out)); err != nil {
		return x.disconnected(err)
	}
	return nil
}

// Send implements [chassi.StreamCodec]. It waits until the queue is not full, sends item, and
// returns the size of the encoded item in bytes. It returns an error if item cannot be encoded or
// is too large, if the client reads no item for SendTimeout, or if the stream has ended.
func (x *streamExchange) Send(item any) (int, error) {
	streams, q := x.method.server.open, &x.queue
	if err := q.wait(x.ctx, streams.Config().SendTimeout); err != nil {
		x.open.End(err)
		return 0, err
	}
	buffer, _ := itemBuffers.Get().(*[]byte)
	body, err := x.method.response.Append((*buffer)[:0], item)
	*buffer = body
	if err == nil {
		err = streams.Fits(len(body))
	}
	if err != nil {
		keep(buffer)
		return 0, err
	}
	q.add(buffer)
	if err := x.stream.SendMsg(q); err != nil {
		return 0, x.disconnected(err)
	}
	return len(body), nil
}

// disconnected returns the error of the stream for err, an error of grpc-go that means only that
// the call is over. The result is [context.Cause] of the stream's context, or a [chassi.Canceled]
// error if the context is not done.
func (x *streamExchange) disconnected(err error) error {
	if cause := context.Cause(x.ctx); cause != nil {
		return cause
	}
	return chassi.ErrorOf(context.Canceled).WithCause(err)
}

// sendTrailer passes the metadata of the response to grpc-go as trailers, for a stream that did not
// open. A header would indicate to the client that the stream had opened. Metadata that does not
// fit into the trailers together with the status is omitted, as is all metadata if a part of it is
// invalid.
func (x *streamExchange) sendTrailer() {
	const maxBytes = 8<<10 - maxStatusBytes
	if size := 0; transport.CheckResponse(x.out) == nil {
		for _, p := range x.out {
			if size += len(p.Key) + len(p.Value); size <= maxBytes {
				x.stream.SetTrailer(metadata.Pairs(p.Key, p.Value))
			}
		}
	}
}

// finish ends the stream. The stream remains counted until grpc-go has written all items to the
// connection, or until the stream is reset because the client reads no further items.
func (x *streamExchange) finish() {
	if x.open == nil {
		return
	}
	x.open.End(context.Canceled)
	stream, server := x.stream.Context(), x.method.server
	x.queue.end(server.open.Config().SendTimeout, x.open.Close, func() { server.reset(stream) })
}

// sendQueue accounts for the items of a stream that grpc-go has not yet written to the connection.
// grpc-go limits the size of these items but not their number, blocks indefinitely while the client
// reads nothing, and keeps the items after the end of the stream.
//
// A sendQueue is also the message that grpc-go encodes, and the pool to which grpc-go returns the
// buffer of an item that it has written or dropped.
type sendQueue struct {
	next mem.BufferSlice // the encoded item to send next

	mu           sync.Mutex
	items, bytes int           // number and total size of the queued items
	taken        int           // number of items that have left the queue
	free         chan struct{} // receives a value at half full; nil if nothing waits
	timer        *time.Timer   // set at the end of the stream
	close        func()        // called when the queue is empty after the end of the stream; nil otherwise
}

// Limits of a queue, which is full if it has maxQueued items or maxQueuedBytes bytes. SendMsg does
// not block while the queue is not full: grpc-go accepts 64 KiB and one more message of a call.
const (
	maxQueued      = 64
	maxQueuedBytes = 60 << 10
)

// itemBuffers contains unused buffers for items. itemBytes is the minimum capacity of a buffer in
// bytes, because grpc-go does not return smaller buffers to a pool.
var (
	itemBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, itemBytes)) }}
	itemBytes   = func() int {
		n := 1152 // a size class of the allocator
		for mem.IsBelowBufferPoolingThreshold(n) {
			n *= 2
		}
		return n
	}()
)

// keep retains buffer for another item if its capacity is from itemBytes to 64 KiB.
func keep(buffer *[]byte) {
	if cap(*buffer) >= itemBytes && cap(*buffer) <= 64<<10 {
		itemBuffers.Put(buffer)
	}
}

// wait returns nil at once if the queue is not full, and otherwise when the queue is at most half
// full. It returns [transport.ErrStalled] if no item leaves the queue within limit, and
// context.Cause(ctx) if ctx is done first.
func (q *sendQueue) wait(ctx context.Context, limit time.Duration) error {
	free, taken := q.full()
	if free == nil {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		now := q.progress()
		if now == taken {
			return transport.ErrStalled
		}
		taken = now
		timer.Reset(limit)
	}
}

func (q *sendQueue) full() (free <-chan struct{}, taken int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items < maxQueued && q.bytes < maxQueuedBytes {
		return nil, 0
	}
	q.free = make(chan struct{}, 1)
	return q.free, q.taken
}

func (q *sendQueue) progress() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.taken
}

// add adds the item in buffer to the queue, as the item to send next.
func (q *sendQueue) add(buffer *[]byte) {
	q.mu.Lock()
	q.items++
	q.bytes += len(*buffer)
	q.mu.Unlock()
	q.next = mem.BufferSlice{mem.NewBuffer(buffer, q)}
}

// Get implements [mem.BufferPool]. It returns a new buffer. grpc-go does not call Get.
func (q *sendQueue) Get(length int) *[]byte { return new(make([]byte, length)) }

// Put implements [mem.BufferPool]. It removes the item in buffer from the queue.
func (q *sendQueue) Put(buffer *[]byte) {
	q.mu.Lock()
	q.items--
	q.bytes -= len(*buffer)
	q.taken++
	if q.free != nil && q.items <= maxQueued/2 && q.bytes <= maxQueuedBytes/2 {
		q.free <- struct{}{}
		q.free = nil
	}
	emptied := q.emptied()
	q.mu.Unlock()
	keep(buffer)
	if emptied != nil {
		emptied()
	}
}

// emptied returns the function to call if the stream has ended and the queue is empty, or nil. It
// stops the timer, and returns the function only once. The caller holds mu.
func (q *sendQueue) emptied() (closed func()) {
	if q.items > 0 || q.close == nil {
		return nil
	}
	if q.timer != nil {
		q.timer.Stop()
	}
	closed, q.close = q.close, nil
	return closed
}

// end marks the end of the stream. The queue calls closed as soon as it is empty. If it is not
// empty and no item leaves it within limit, the queue calls closed and then reset.
func (q *sendQueue) end(limit time.Duration, closed, reset func()) {
	q.mu.Lock()
	q.close = closed
	emptied := q.emptied()
	if emptied == nil {
		taken := q.taken
		q.timer = time.AfterFunc(limit, func() {
			if q.abandoned(limit, &taken) {
				closed() // before the client can know that it may open another stream
				reset()
			}
		})
	}
	q.mu.Unlock()
	if emptied != nil {
		emptied()
	}
}

// abandoned reports whether the queue is not empty and no item has left it since *taken was set to
// q.taken. If items have left the queue, abandoned updates *taken and restarts the timer.
func (q *sendQueue) abandoned(limit time.Duration, taken *int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.close == nil: // emptied in the meantime
		return false
	case q.taken != *taken:
		*taken = q.taken
		q.timer.Reset(limit)
		return false
	}
	q.close = nil
	return true
}
