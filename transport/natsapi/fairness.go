package natsapi

import (
	"context"
	"slices"
	"sync"

	"github.com/chassi-go/chassi/workpool"
)

// fairQueue queues requests for a limited number of workers. The workers serve the clients in turn.
// A named client may use at most maxRunning workers, its share, so that it cannot use all workers.
// All requests without the name of a client form a single line, which may use all workers. A
// fairQueue is safe for concurrent use.
type fairQueue struct {
	pool       *workpool.Pool        // has a task for each waiting request that is not postponed
	task       func(context.Context) // calls work
	do         func(arrival)
	max        int // maximum number of waiting and running requests
	maxRunning int // maximum number of running requests of one client
	maxClient  int // maximum number of waiting and running requests of one client
	trusted    []string

	mu      sync.Mutex
	clients map[string]*line
	ready   fifo[*line] // lines with a request that may run
	total   int         // number of waiting and running requests
	putOff  int         // number of postponed requests, whose clients have reached their share
}

// line holds the waiting requests of one client, or of all clients without a name, and counts the
// running requests.
type line struct {
	peerName string // "nats:alice"; "nats:" for requests without a name
	named    bool
	trusted  bool // whether the client's X-Forwarded-For is trusted
	waiting  fifo[arrival]
	running  int
	isReady  bool // whether the line is in fairQueue.ready
}

// maxIdle limits the lines without a request: if there are maxIdle lines or more, those without a
// request are removed before another line is added.
const maxIdle = 1024

func newFairQueue(c Config, do func(arrival)) *fairQueue {
	q := &fairQueue{
		do: do, max: c.MaxConcurrent + c.MaxQueued, trusted: c.TrustedClients,
		maxRunning: c.MaxConcurrentPerClient, maxClient: c.MaxConcurrentPerClient + c.MaxQueuedPerClient,
		clients: make(map[string]*line),
	}
	q.task = func(context.Context) { q.work() }
	q.pool = workpool.New(workpool.Options{Name: "natsapi", Workers: c.MaxConcurrent, Queue: c.MaxQueued})
	return q
}

// submit queues a request of the client called name, and does not block. name is "" for an
// anonymous client. submit returns false if there are too many requests, in total or of this
// client, or after close.
func (q *fairQueue) submit(name string, a arrival) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(name)
	a.client = l
	if q.total >= q.max || l.named && l.running+l.waiting.len() >= q.maxClient {
		return false
	}
	if q.pool.TrySubmit(context.Background(), q.task) != nil {
		return false
	}
	q.total++
	l.waiting.push(a)
	q.offer(l)
	return true
}

func (q *fairQueue) line(name string) *line {
	if l, ok := q.clients[name]; ok {
		return l
	}
	if len(q.clients) >= maxIdle {
		for name, l := range q.clients {
			if l.running+l.waiting.len() == 0 {
				delete(q.clients, name)
			}
		}
	}
	l := &line{peerName: "nats:" + name, named: name != "", trusted: slices.Contains(q.trusted, name)}
	q.clients[name] = l
	return l
}

// offer adds l to the ready lines, unless l is already among them or has no request that may run.
func (q *fairQueue) offer(l *line) {
	if !l.isReady && l.waiting.len() > 0 && (!l.named || l.running < q.maxRunning) {
		l.isReady = true
		q.ready.push(l)
	}
}

// work runs the next request, and then the postponed requests that may run as a result.
func (q *fairQueue) work() {
	for a, ok := q.next(); ok; a, ok = q.again(a.client) {
		q.do(a)
	}
}

// next returns the next request. It returns false if all waiting requests belong to clients that
// have reached their share. In this case, one request is postponed: it is run later, by a worker
// that has finished another request.
func (q *fairQueue) next() (arrival, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ready.len() == 0 {
		q.putOff++
		return arrival{}, false
	}
	return q.take(), true
}

func (q *fairQueue) take() arrival {
	l := q.ready.pop()
	l.isReady = false
	a := l.waiting.pop()
	l.running++
	q.offer(l)
	return a
}

// again records the end of a request of l, and returns a postponed request that may now run, or
// false if there is none.
func (q *fairQueue) again(l *line) (arrival, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	l.running--
	q.offer(l)
	if q.putOff == 0 || q.ready.len() == 0 {
		return arrival{}, false
	}
	q.putOff--
	return q.take(), true
}

// close refuses further requests and waits until all submitted requests have ended.
func (q *fairQueue) close() {
	_ = q.pool.Stop(context.Background()) // fails only if its context is done
}

// fifo is a first-in, first-out queue. The zero value is an empty queue.
type fifo[T any] struct {
	items []T
	first int
}

func (f *fifo[T]) len() int { return len(f.items) - f.first }

func (f *fifo[T]) push(item T) {
	if f.first > 0 && len(f.items) == cap(f.items) && f.first >= len(f.items)/2 { // reuse what was taken
		n := copy(f.items, f.items[f.first:])
		clear(f.items[n:])
		f.items, f.first = f.items[:n], 0
	}
	f.items = append(f.items, item)
}

func (f *fifo[T]) pop() T {
	var zero T
	item := f.items[f.first]
	f.items[f.first] = zero
	if f.first++; f.first == len(f.items) {
		f.items, f.first = f.items[:0], 0
	}
	return item
}
