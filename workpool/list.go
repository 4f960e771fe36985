package workpool

import "context"

// A task is in one list at most, and its fields belong to the pool's lock, save
// ctx and fn, which do not change.
type task struct {
	ctx   context.Context // of Do's caller, or detached from Submit's
	fn    func(context.Context)
	state state
	heard bool // a caller of Do waits, and will hear of a panic

	accepted chan error    // for a task waiting for a place: nil once it has one
	done     chan struct{} // for a task of Do: closed when it ran or never will
	failure  error         // why fn did not return, once done

	in         *list
	prev, next *task
}

type state int

const (
	outside  state = iota // not accepted
	queued                // accepted, not yet running
	running               // a worker has it
	finished              // returned, panicked or given up
)

// close wakes the caller of Do.
func (t *task) close() {
	if t.done != nil {
		close(t.done)
	}
}

// A list is a queue of tasks that can leave from the middle. Its zero value is
// empty.
type list struct {
	first, last *task
	len         int
}

func (l *list) push(t *task) {
	t.in, t.prev = l, l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.len++
}

// pop removes and returns the first task, nil for none.
func (l *list) pop() *task {
	t := l.first
	if t != nil {
		l.remove(t)
	}
	return t
}

// remove takes t out of l, in which it must be.
func (l *list) remove(t *task) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.in, t.prev, t.next = nil, nil, nil
	l.len--
}
