package natsapi

import (
	"slices"
	"sync"

	"github.com/chassi-go/chassi/transport"
)

// fairQueue holds the requests that wait and gives them to a bounded number of workers:
// one of each client in turn, and of no named client more than its share, so that one
// client cannot use up what all have. Requests without a client's name share one line
// without a share of its own. It is safe for concurrent use.
type fairQueue struct {
	workers    *transport.Workers[struct{}] // an item for each request that waits and is not put off
	do         func(arrival)
	max        int // requests that wait or run
	maxRunning int // of one client
	maxClient  int // of one client, running or waiting
	trusted    []string

	mu      sync.Mutex
	clients map[string]*line
	ready   fifo[*line] // lines with a request that may run
	total   int         // requests that wait or run
	putOff  int         // requests of clients that have their share, left by a worker
}

// line is what one client has waiting and running.
type line struct {
	peerName string // "nats:alice"; "nats:" for requests without a name
	named    bool
	trusted  bool // its X-Forwarded-For is believed
	waiting  fifo[arrival]
	running  int
	isReady  bool // whether it is in ready
}

// maxIdle is how many clients without a request are remembered.
const maxIdle = 1024

func newFairQueue(c Config, do func(arrival)) *fairQueue {
	share := func(n int) int { return max(n*c.MaxClientShare/100, 1) }
	q := &fairQueue{
		do: do, max: c.MaxConcurrent + c.MaxQueued, trusted: c.TrustedClients,
		maxRunning: share(c.MaxConcurrent), maxClient: share(c.MaxConcurrent) + share(c.MaxQueued),
		clients: make(map[string]*line),
	}
	q.workers = transport.NewWorkers(c.MaxConcurrent, c.MaxQueued, func(struct{}) { q.work() })
	return q
}

// submit hands a request of the client called name over without waiting, "" for one that has
// none. It returns false when there are too many, of all or of this client.
func (q *fairQueue) submit(name string, a arrival) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(name)
	a.client = l
	if q.total >= q.max || l.named && l.running+l.waiting.len() >= q.maxClient || !q.workers.Submit(struct{}{}) {
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

// offer puts l among the lines whose turn will come, if it has a request that may run.
func (q *fairQueue) offer(l *line) {
	if !l.isReady && l.waiting.len() > 0 && (!l.named || l.running < q.maxRunning) {
		l.isReady = true
		q.ready.push(l)
	}
}

// work runs the request whose turn it is, and those that were put off meanwhile.
func (q *fairQueue) work() {
	for a, ok := q.next(); ok; a, ok = q.again(a.client) {
		q.do(a)
	}
}

// next takes the next request. If all that wait belong to clients that have their share it
// returns false, and one of them is run by the worker that ends first.
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

// again ends a request of l, and takes one if some were put off and one may run now.
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

// close takes no more requests and waits until all that were submitted are done.
func (q *fairQueue) close() { q.workers.Close() }

// fifo is a queue. The zero value is empty.
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
