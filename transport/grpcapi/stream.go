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

// serveStream handles one call of a method whose response is a stream; it is the counterpart of
// serve.
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

// endKey is the key of a trailer that comes with the error of an open stream. Without a trailer or
// a detail, grpc-go's client does not show whether a status is the server's.
const endKey = "stream-end"

// streamExchange is one call of a stream, and its codec.
type streamExchange struct {
	exchange

	client  ratelimit.Key // counted as a call until the stream is admitted
	counted bool
	opening *time.Timer // ends a call that does not open
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

// Begin implements [chassi.StreamCodec]. An admitted stream no longer counts as one of the client's
// calls, whose number is limited to bound the memory for messages.
func (x *streamExchange) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	ctx, open, err := x.method.server.open.Open(ctx, call)
	if err != nil {
		return nil, err
	}
	x.ctx, x.open = ctx, open
	x.uncount()
	return ctx, nil
}

// Open implements [chassi.StreamCodec]. Items are not compressed, because grpc-go would not return
// the buffers of compressed items to the queue.
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

// Send implements [chassi.StreamCodec].
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

// disconnected returns the error of the stream for err, an error of grpc-go that means only that the
// call is over. It is the cause of the end of the stream's context, or [chassi.Canceled] if the
// context has not ended.
func (x *streamExchange) disconnected(err error) error {
	if cause := context.Cause(x.ctx); cause != nil {
		return cause
	}
	return chassi.ErrorOf(context.Canceled).WithCause(err)
}

// sendTrailer passes the response's metadata to grpc-go as trailers, for a stream that did not open:
// a header would tell the client that it had opened. Pairs that do not fit beside the status are
// omitted.
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

// finish ends the stream. The stream stays counted until the client has taken all items that were
// sent, or until it is reset because the client takes none.
func (x *streamExchange) finish() {
	if x.open == nil {
		return
	}
	x.open.End(context.Canceled)
	stream, server := x.stream.Context(), x.method.server
	x.queue.end(server.open.Config().SendTimeout, x.open.Close, func() { server.reset(stream) })
}

// sendQueue accounts for the items of a stream that grpc-go has not written to the connection.
// grpc-go limits their size but not their number, blocks for ever while the client takes
// nothing, and keeps them after the end of the stream.
//
// It is the message that grpc-go encodes, and the pool to which grpc-go returns the buffer of an
// item that was written or dropped.
type sendQueue struct {
	next mem.BufferSlice // of one item

	mu           sync.Mutex
	items, bytes int
	taken        int           // number of items taken since the beginning
	free         chan struct{} // receives a value when a full queue is no longer full; nil if nothing waits
	timer        *time.Timer   // set at the end of the stream
	close        func()        // called when the queue is empty after the end of the stream; nil otherwise
}

// A queue is full when it has this number of items or bytes. While the queue is not full, SendMsg
// does not block: grpc-go takes 64 KiB of each call, and then one more message.
const (
	maxQueued      = 64
	maxQueuedBytes = 60 << 10
)

// itemBuffers are the buffers of items, and itemBytes is their minimum capacity: grpc-go returns no
// smaller buffers to a pool.
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

// keep retains a buffer for another item, unless its capacity is too small or too large.
func keep(buffer *[]byte) {
	if cap(*buffer) >= itemBytes && cap(*buffer) <= 64<<10 {
		itemBuffers.Put(buffer)
	}
}

// wait waits until the queue is not full. It returns [transport.ErrStalled] if the client takes no
// item for limit, and the cause of the end of ctx if ctx ends first.
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

// add makes buffer the next item.
func (q *sendQueue) add(buffer *[]byte) {
	q.mu.Lock()
	q.items++
	q.bytes += len(*buffer)
	q.mu.Unlock()
	q.next = mem.BufferSlice{mem.NewBuffer(buffer, q)}
}

// Get implements [mem.BufferPool]. It is not called.
func (q *sendQueue) Get(length int) *[]byte { return new(make([]byte, length)) }

// Put implements [mem.BufferPool].
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

// emptied returns the function to call if the stream has ended and the queue is empty, or nil. The
// caller holds mu.
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

// end marks the end of the stream: the queue calls closed once it is empty. If the client takes no
// item for limit before that, the queue calls closed, and then reset.
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

// abandoned reports whether the queue is not empty and still has taken items, which means that no
// item was taken. If items were taken, it updates taken and restarts the timer.
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
